package rtp

import (
	"encoding/binary"
	"errors"
)

// Errors of [Packet.Unmarshal].
var (
	// ErrShort means that the packet ends before its header, its extensions or
	// its padding do.
	ErrShort = errors.New("rtp: packet is cut short")
	// ErrVersion means that the version field is not 2 (RFC 3550 section 5.1).
	ErrVersion = errors.New("rtp: version is not 2")
	// ErrPadding means that the padding count is zero or larger than the payload.
	ErrPadding = errors.New("rtp: bad padding count")
)

// Extension block profiles (RFC 8285 sections 4.2 and 4.3).
const (
	profileOneByte = 0xBEDE
	profileTwoByte = 0x1000 // the low four bits are application bits
)

// FixedHeaderSize is the size of an RTP header without CSRCs and extensions, in bytes.
const FixedHeaderSize = 12

// MaxPacketSize is the largest RTP packet that the packet path carries, in bytes.
// Peers keep to about 1200; the rest is room for Ethernet-sized senders.
const MaxPacketSize = 1500

// Packet is a parsed view of one RTP packet. It owns no memory: Raw, Payload and
// extensions point into the bytes given to Unmarshal and live as long as they do.
type Packet struct {
	// Raw is the whole packet as given to Unmarshal.
	Raw []byte
	// Payload is the payload without padding.
	Payload []byte
	// Timestamp, SSRC and SequenceNumber are those of the header.
	Timestamp      uint32
	SSRC           uint32
	SequenceNumber uint16
	// PayloadType is 7 bits wide.
	PayloadType uint8
	// PaddingSize is the number of padding bytes, the count byte included.
	PaddingSize uint8
	// Marker is the M bit.
	Marker bool

	profile    uint16
	extensions []byte
}

// Unmarshal parses b in place. On an error the packet's contents are undefined.
func (p *Packet) Unmarshal(b []byte) error {
	if len(b) < FixedHeaderSize {
		return ErrShort
	}
	if b[0]>>6 != 2 {
		return ErrVersion
	}
	p.Raw = b
	p.Marker = b[1]&0x80 != 0
	p.PayloadType = b[1] & 0x7f
	p.SequenceNumber = binary.BigEndian.Uint16(b[2:])
	p.Timestamp = binary.BigEndian.Uint32(b[4:])
	p.SSRC = binary.BigEndian.Uint32(b[8:])
	p.profile, p.extensions, p.PaddingSize = 0, nil, 0

	n := FixedHeaderSize + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return ErrShort
		}
		p.profile = binary.BigEndian.Uint16(b[n:])
		size := 4 * int(binary.BigEndian.Uint16(b[n+2:]))
		n += 4
		if len(b) < n+size {
			return ErrShort
		}
		p.extensions = b[n : n+size]
		n += size
	}
	if len(b) < n {
		return ErrShort
	}
	end := len(b)
	if b[0]&0x20 != 0 {
		pad := int(b[end-1])
		if end == n || pad == 0 || pad > end-n {
			return ErrPadding
		}
		p.PaddingSize = uint8(pad) //nolint:gosec // one byte
		end -= pad
	}
	p.Payload = b[n:end]
	return nil
}

// PaddingOnly reports whether the packet carries no media.
func (p *Packet) PaddingOnly() bool { return len(p.Payload) == 0 }

// Extension returns the data of the header extension with that local identifier,
// in its one-byte or two-byte form (RFC 8285), or nil when there is none. An
// extension of length zero (two-byte form) is not nil. Identifier 0 is nil.
func (p *Packet) Extension(id uint8) []byte {
	if id == 0 || len(p.extensions) == 0 {
		return nil
	}
	switch {
	case p.profile == profileOneByte:
		return findOneByte(p.extensions, id)
	case p.profile&0xfff0 == profileTwoByte:
		return findTwoByte(p.extensions, id)
	}
	return nil
}

func findOneByte(b []byte, id uint8) []byte {
	for i := 0; i < len(b); {
		if b[i] == 0 { // padding between elements
			i++
			continue
		}
		at, size := b[i]>>4, int(b[i]&0x0f)+1
		i++
		if at == 15 || i+size > len(b) { // 15 stops processing
			return nil
		}
		if at == id {
			return b[i : i+size : i+size]
		}
		i += size
	}
	return nil
}

func findTwoByte(b []byte, id uint8) []byte {
	for i := 0; i+1 < len(b); {
		if b[i] == 0 {
			i++
			continue
		}
		at, size := b[i], int(b[i+1])
		i += 2
		if i+size > len(b) {
			return nil
		}
		if at == id {
			return b[i : i+size : i+size]
		}
		i += size
	}
	return nil
}
