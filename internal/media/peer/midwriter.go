package peer

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/concertina-rtc/concertina/internal/media/sfu"
)

// midWriter is a down track's way to the connection. It adds the section's mid to
// every retransmission and, in Single mode, to every packet until the client
// reports on the stream.
//
// Firefox takes retransmissions from an SSRC only when their payload type is that
// of one section or when they name theirs, whatever a=ssrc-group says: without a
// mid one lost packet freezes the picture until the next key frame.
//
// A Single peer sends from the moment it has made the answer, so packets can
// overtake it. Without a mid a client takes them for an unannounced stream:
// Firefox gives them to another section of the same payload type, which then
// loses its own stream; Chromium makes a stream nobody hears. With an unknown
// mid both drop them (RFC 8843 section 9.2).
type midWriter struct {
	sfu.Writer
	id        uint8 // of the header extension
	mid       string
	rtx       uint32 // SSRC of retransmissions, 0 = none
	confirmed atomic.Bool
	header    []byte // scratch; a down track writes one packet at a time
}

// Extension blocks of RFC 8285.
const (
	oneByteProfile  = 0xBEDE
	twoByteProfile  = 0x1000
	extensionBit    = 0x10
	fixedHeader     = 12
	maxOneByteID    = 14
	maxOneByteValue = 16
)

// WriteRTP implements sfu.Writer.
func (w *midWriter) WriteRTP(header, payload []byte) (int, error) {
	if !w.confirmed.Load() || w.resends(header) {
		if b, ok := appendMid(w.header[:0], header, w.id, w.mid); ok {
			w.header, header = b, b
		}
	}
	return w.Writer.WriteRTP(header, payload)
}

// resends reports whether a packet is a retransmission.
func (w *midWriter) resends(header []byte) bool {
	return len(header) >= fixedHeader && w.rtx != 0 && binary.BigEndian.Uint32(header[8:]) == w.rtx
}

// appendMid appends to dst a copy of an RTP header with one more extension
// element. It reports false when the header's block cannot take it.
func appendMid(dst, header []byte, id uint8, mid string) ([]byte, bool) {
	if len(header) < fixedHeader || len(mid) == 0 || len(mid) > 255 {
		return dst, false
	}
	fixed := fixedHeader + 4*int(header[0]&0x0f)
	if len(header) < fixed {
		return dst, false
	}
	profile, block := uint16(oneByteProfile), []byte(nil)
	if header[0]&extensionBit != 0 {
		if len(header) < fixed+4 {
			return dst, false
		}
		profile = binary.BigEndian.Uint16(header[fixed:])
		block = header[fixed+4:]
	} else if len(header) != fixed {
		return dst, false
	}
	dst = append(dst, header[:fixed]...)
	dst[0] |= extensionBit
	dst = binary.BigEndian.AppendUint16(dst, profile)
	dst = append(dst, 0, 0) // the length follows
	start := len(dst)
	dst = append(dst, block...)
	switch {
	case profile == oneByteProfile && id >= 1 && id <= maxOneByteID && len(mid) <= maxOneByteValue:
		dst = append(dst, id<<4|byte(len(mid)-1))
	case profile&0xfff0 == twoByteProfile && id != 0:
		dst = append(dst, id, byte(len(mid)))
	default:
		return dst[:0], false
	}
	dst = append(dst, mid...)
	for (len(dst)-start)%4 != 0 {
		dst = append(dst, 0)
	}
	binary.BigEndian.PutUint16(dst[start-2:], uint16((len(dst)-start)/4)) //nolint:gosec // a header is small
	return dst, true
}
