package codec

// VP8 is the payload descriptor of one VP8 packet (RFC 7741 section 4.2), with
// what the frame header after it tells on the first packet of a key frame.
type VP8 struct {
	// NonReference is the N bit: the frame may be dropped without harm.
	NonReference bool
	// Start is the S bit: the packet starts a VP8 partition.
	Start bool
	// Partition is the partition index, PID.
	Partition uint8

	// HasPictureID, HasTL0PICIDX, HasTID and HasKeyIndex are the I, L, T and K
	// bits: which of the optional fields are present.
	HasPictureID, HasTL0PICIDX, HasTID, HasKeyIndex bool
	// LongPictureID is the M bit: PictureID has 15 bits and not 7.
	LongPictureID bool
	// PictureID counts frames.
	PictureID uint16
	// TL0PICIDX counts frames of temporal layer 0.
	TL0PICIDX uint8
	// TID is the temporal layer.
	TID uint8
	// LayerSync is the Y bit: the frame depends on temporal layer 0 only.
	LayerSync bool
	// KeyIndex is KEYIDX, which changes with each key frame; 5 bits.
	KeyIndex uint8

	// KeyFrame is set on the first packet of a key frame.
	KeyFrame bool
	// Width and Height are in pixels, on the first packet of a key frame.
	Width, Height uint16

	// HeaderLen is the length of the descriptor in bytes; the VP8 frame data
	// follows it.
	HeaderLen int
}

// MaxVP8Header is the longest VP8 payload descriptor in bytes.
const MaxVP8Header = 6

// Bits of the VP8 payload descriptor.
const (
	vp8X = 0x80 // first byte
	vp8N = 0x20
	vp8S = 0x10

	vp8I = 0x80 // extension byte
	vp8L = 0x40
	vp8T = 0x20
	vp8K = 0x10

	vp8M = 0x80 // picture id byte
	vp8Y = 0x20 // TID, Y, KEYIDX byte
)

// Parse reads the descriptor at the start of payload into d, overwriting all of
// it. The frame header is read as far as it is there.
func (d *VP8) Parse(payload []byte) error {
	*d = VP8{}
	if len(payload) < 1 {
		return ErrTruncated
	}
	first := payload[0]
	d.NonReference = first&vp8N != 0
	d.Start = first&vp8S != 0
	d.Partition = first & 0x07
	n := 1
	if first&vp8X != 0 {
		var err error
		if n, err = d.parseExtension(payload); err != nil {
			return err
		}
	}
	d.HeaderLen = n
	d.parseFrameHeader(payload[n:])
	return nil
}

func (d *VP8) parseExtension(b []byte) (int, error) {
	if len(b) < 2 {
		return 0, ErrTruncated
	}
	ext := b[1]
	d.HasPictureID = ext&vp8I != 0
	d.HasTL0PICIDX = ext&vp8L != 0
	d.HasTID = ext&vp8T != 0
	d.HasKeyIndex = ext&vp8K != 0
	n := 2
	if d.HasPictureID {
		if len(b) < n+1 {
			return 0, ErrTruncated
		}
		d.PictureID = uint16(b[n] & 0x7f)
		d.LongPictureID = b[n]&vp8M != 0
		n++
		if d.LongPictureID {
			if len(b) < n+1 {
				return 0, ErrTruncated
			}
			d.PictureID = d.PictureID<<8 | uint16(b[n])
			n++
		}
	}
	if d.HasTL0PICIDX {
		if len(b) < n+1 {
			return 0, ErrTruncated
		}
		d.TL0PICIDX = b[n]
		n++
	}
	if d.HasTID || d.HasKeyIndex {
		if len(b) < n+1 {
			return 0, ErrTruncated
		}
		d.parseLayerByte(b[n])
		n++
	}
	return n, nil
}

// parseLayerByte reads the byte shared by TID, Y and KEYIDX. TID and Y mean
// nothing without the T bit, KEYIDX nothing without K.
func (d *VP8) parseLayerByte(b byte) {
	if d.HasTID {
		d.TID = b >> 6
		d.LayerSync = b&vp8Y != 0
	}
	if d.HasKeyIndex {
		d.KeyIndex = b & 0x1f
	}
}

// parseFrameHeader reads the frame tag and, on key frames, the size (RFC 6386
// section 9.1).
func (d *VP8) parseFrameHeader(b []byte) {
	if !d.Start || d.Partition != 0 || len(b) < 1 {
		return
	}
	d.KeyFrame = b[0]&0x01 == 0
	if !d.KeyFrame || len(b) < 10 {
		return
	}
	if b[3] != 0x9d || b[4] != 0x01 || b[5] != 0x2a {
		return
	}
	d.Width = (uint16(b[7])<<8 | uint16(b[6])) & 0x3fff
	d.Height = (uint16(b[9])<<8 | uint16(b[8])) & 0x3fff
}

// Marshal writes the descriptor to dst and returns its length. A picture id is
// written with 15 bits if LongPictureID is set or if it needs them.
func (d *VP8) Marshal(dst []byte) (int, error) {
	if len(dst) < d.marshalLen() {
		return 0, ErrShortBuffer
	}
	first := d.Partition & 0x07
	first |= flag(d.NonReference, vp8N) | flag(d.Start, vp8S)
	if !d.hasExtension() {
		dst[0] = first
		return 1, nil
	}
	dst[0] = first | vp8X
	dst[1] = flag(d.HasPictureID, vp8I) | flag(d.HasTL0PICIDX, vp8L) |
		flag(d.HasTID, vp8T) | flag(d.HasKeyIndex, vp8K)
	n := 2
	if d.HasPictureID {
		if d.long() {
			dst[n] = vp8M | byte(d.PictureID>>8)
			n++
		}
		dst[n] = byte(d.PictureID)
		n++
	}
	if d.HasTL0PICIDX {
		dst[n] = d.TL0PICIDX
		n++
	}
	if d.HasTID || d.HasKeyIndex {
		dst[n] = 0
		if d.HasTID {
			dst[n] = d.TID<<6 | flag(d.LayerSync, vp8Y)
		}
		if d.HasKeyIndex {
			dst[n] |= d.KeyIndex & 0x1f
		}
		n++
	}
	return n, nil
}

func (d *VP8) hasExtension() bool {
	return d.HasPictureID || d.HasTL0PICIDX || d.HasTID || d.HasKeyIndex
}

func (d *VP8) long() bool { return d.LongPictureID || d.PictureID > 0x7f }

func (d *VP8) marshalLen() int {
	if !d.hasExtension() {
		return 1
	}
	n := 2
	if d.HasPictureID {
		n++
		if d.long() {
			n++
		}
	}
	if d.HasTL0PICIDX {
		n++
	}
	if d.HasTID || d.HasKeyIndex {
		n++
	}
	return n
}

func inspectVP8(payload []byte, marker bool, f *Frame) error {
	d := &f.VP8
	if err := d.Parse(payload); err != nil {
		return err
	}
	f.StartOfFrame = d.Start && d.Partition == 0
	f.EndOfFrame = marker
	f.KeyFrame = d.KeyFrame
	f.Temporal = d.TID
	f.LayerSync = f.StartOfFrame && (d.LayerSync || d.KeyFrame || d.TID == 0)
	f.SpatialSync = d.KeyFrame
	f.Discardable = d.NonReference
	f.Width, f.Height = d.Width, d.Height
	return nil
}

// flag returns bit if on, else 0.
func flag(on bool, bit byte) byte {
	if on {
		return bit
	}
	return 0
}
