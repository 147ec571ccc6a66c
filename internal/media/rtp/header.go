package rtp

import "encoding/binary"

// Header is the fixed part of an RTP header as [AppendHeader] writes it. CSRCs
// are never written: the SFU mixes nothing.
type Header struct {
	Timestamp      uint32
	SSRC           uint32
	SequenceNumber uint16
	PayloadType    uint8
	Marker         bool
	// Padding sets the P bit; the caller appends the padding to the payload.
	Padding bool
}

// Extension is one header extension element to write. An element with ID 0 or
// nil data is skipped, so that an extension which is not negotiated or not there
// needs no test at the caller.
type Extension struct {
	ID   uint8
	Data []byte
}

// AppendHeader appends the header with its extensions to dst and returns the
// longer slice. It uses the one-byte form and changes to the two-byte form when
// an element needs it (identifier above 14, more than 16 bytes, or none; RFC 8285
// section 4.2). Elements longer than 255 bytes are left out. It allocates only
// when dst is too small; 12 + 4 + 2 per element + their data + 3 always suffice.
func AppendHeader(dst []byte, h Header, exts ...Extension) []byte {
	first := byte(0x80)
	if h.Padding {
		first |= 0x20
	}
	second := h.PayloadType & 0x7f
	if h.Marker {
		second |= 0x80
	}
	start := len(dst)
	dst = append(dst, first, second)
	dst = binary.BigEndian.AppendUint16(dst, h.SequenceNumber)
	dst = binary.BigEndian.AppendUint32(dst, h.Timestamp)
	dst = binary.BigEndian.AppendUint32(dst, h.SSRC)

	used, wide := scan(exts)
	if !used {
		return dst
	}
	dst[start] |= 0x10
	block := len(dst)
	profile := uint16(profileOneByte)
	if wide {
		profile = profileTwoByte
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(profile)<<16)
	for _, e := range exts {
		switch {
		case e.skipped():
			continue
		case wide:
			dst = append(dst, e.ID, byte(len(e.Data)))
		default:
			dst = append(dst, e.ID<<4|byte(len(e.Data)-1))
		}
		dst = append(dst, e.Data...)
	}
	for (len(dst)-block)%4 != 0 {
		dst = append(dst, 0)
	}
	binary.BigEndian.PutUint16(dst[block+2:], uint16((len(dst)-block)/4-1)) //nolint:gosec // bounded by the elements
	return dst
}

// scan reports whether there is any element to write and whether one of them
// needs the two-byte form.
func scan(exts []Extension) (used, wide bool) {
	for _, e := range exts {
		if e.skipped() {
			continue
		}
		used = true
		wide = wide || e.ID > 14 || len(e.Data) > 16 || len(e.Data) == 0
	}
	return used, wide
}

func (e *Extension) skipped() bool { return e.ID == 0 || e.Data == nil || len(e.Data) > 255 }
