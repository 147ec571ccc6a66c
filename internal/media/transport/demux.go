package transport

import "encoding/binary"

// packetKind is what RFC 7983 section 7 makes of a datagram.
type packetKind uint8

const (
	packetUnknown packetKind = iota
	packetSTUN
	packetDTLS
	packetRTP
	packetRTCP
)

const (
	stunHeaderSize = 20
	stunCookie     = 0x2112A442
	dtlsHeaderSize = 13
	rtpHeaderSize  = 12
	rtcpHeaderSize = 8
)

// classify demultiplexes by the first byte (RFC 7983 section 7), tells RTCP
// from RTP by the packet type (RFC 5761 section 4), and rejects what is too
// short to be what it claims.
func classify(b []byte) packetKind {
	if len(b) < rtcpHeaderSize {
		return packetUnknown
	}
	switch first := b[0]; {
	case first <= 3:
		if len(b) >= stunHeaderSize && binary.BigEndian.Uint32(b[4:]) == stunCookie {
			return packetSTUN
		}
	case first >= 20 && first <= 63:
		if len(b) >= dtlsHeaderSize {
			return packetDTLS
		}
	case first >= 128 && first <= 191:
		if b[1] >= 192 && b[1] <= 223 {
			return packetRTCP
		}
		if len(b) >= rtpHeaderSize {
			return packetRTP
		}
	}
	return packetUnknown
}
