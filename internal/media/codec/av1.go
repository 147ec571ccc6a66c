package codec

// AV1 is the aggregation header of one AV1 packet and what the OBUs behind it
// show (RTP Payload Format For AV1, section 4.4).
type AV1 struct {
	// Continues is the Z bit: the first OBU element goes on from the packet
	// before.
	Continues bool
	// Continued is the Y bit: the last OBU element goes on in the next packet.
	Continued bool
	// NewSequence is the N bit: first packet of a coded video sequence.
	NewSequence bool
	// SequenceHeader says that the packet starts a sequence header.
	SequenceHeader bool
	// StartsFrame says that the packet starts a frame header, or the OBUs that
	// come before one. A later frame of the same picture sets it too.
	StartsFrame bool
	// Spatial and Temporal are from the first OBU extension header, else 0.
	Spatial, Temporal uint8
	// Width and Height are the largest size of the sequence, in pixels, from
	// its sequence header; 0 without one.
	Width, Height uint16
}

// OBU types (AV1 specification, section 6.2.2).
const (
	obuSequenceHeader = 1
	obuFrameHeader    = 3
	obuMetadata       = 5
	obuFrame          = 6
)

// KeyFrame reports whether the packet is the first one of a key frame.
func (a *AV1) KeyFrame() bool {
	return !a.Continues && (a.NewSequence || a.SequenceHeader)
}

// Parse reads the aggregation header and the OBU headers of payload into a,
// overwriting all of it.
func (a *AV1) Parse(payload []byte) error {
	*a = AV1{}
	if len(payload) < 1 {
		return ErrTruncated
	}
	first := payload[0]
	a.Continues = first&0x80 != 0
	a.Continued = first&0x40 != 0
	a.NewSequence = first&0x08 != 0
	if a.Continues && a.NewSequence {
		return ErrInvalid
	}
	count := int(first >> 4 & 0x03) // W; 0: every element has a length
	b := payload[1:]
	for i := 1; len(b) > 0; i++ {
		element := b
		if i == count {
			b = nil
		} else {
			size, n := leb128(b)
			if n == 0 || int64(size) > int64(len(b)-n) {
				return ErrTruncated
			}
			element, b = b[n:n+int(size)], b[n+int(size):]
		}
		if i > 1 || !a.Continues {
			a.readOBU(element)
		}
	}
	return nil
}

// readOBU looks at one OBU that starts in this packet. Its end may be missing.
func (a *AV1) readOBU(b []byte) {
	if len(b) < 1 || b[0]&0x80 != 0 {
		return
	}
	kind := b[0] >> 3 & 0x0f
	hasExtension, hasSize := b[0]&0x04 != 0, b[0]&0x02 != 0
	b = b[1:]
	if hasExtension {
		if len(b) < 1 {
			return
		}
		if a.Spatial == 0 && a.Temporal == 0 {
			a.Temporal, a.Spatial = b[0]>>5, b[0]>>3&0x03
		}
		b = b[1:]
	}
	if hasSize {
		_, n := leb128(b)
		b = b[n:]
	}
	switch kind {
	case obuSequenceHeader:
		a.SequenceHeader, a.StartsFrame = true, true
		a.Width, a.Height = av1SequenceSize(b)
	case obuFrameHeader, obuFrame, obuMetadata:
		a.StartsFrame = true
	}
}

// av1SequenceSize reads the largest frame size from a sequence header OBU (AV1
// specification, section 5.5.1), or returns 0, 0 if it is not readable.
func av1SequenceSize(b []byte) (width, height uint16) {
	r := bitReader{buf: b}
	r.skip(4) // seq_profile, still_picture
	if reduced := r.bit(); reduced {
		r.skip(5) // seq_level_idx
	} else {
		av1SkipOperatingPoints(&r)
	}
	widthBits, heightBits := int(r.bits(4))+1, int(r.bits(4))+1
	w, h := r.bits(widthBits)+1, r.bits(heightBits)+1
	if r.failed || w > 0xffff || h > 0xffff {
		return 0, 0
	}
	return uint16(w), uint16(h)
}

func av1SkipOperatingPoints(r *bitReader) {
	decoderModel, delayBits := false, 0
	if timing := r.bit(); timing {
		r.skip(64)
		if equalInterval := r.bit(); equalInterval {
			r.expGolomb()
		}
		if decoderModel = r.bit(); decoderModel {
			delayBits = int(r.bits(5)) + 1
			r.skip(32 + 5 + 5)
		}
	}
	displayDelay := r.bit()
	points := int(r.bits(5)) + 1
	for i := 0; i < points && !r.failed; i++ {
		r.skip(12) // operating_point_idc
		if level := r.bits(5); level > 7 {
			r.skip(1) // seq_tier
		}
		if decoderModel && r.bit() {
			r.skip(2*delayBits + 1)
		}
		if displayDelay && r.bit() {
			r.skip(4)
		}
	}
}

func inspectAV1(payload []byte, marker bool, f *Frame) error {
	var a AV1
	if err := a.Parse(payload); err != nil {
		return err
	}
	f.KeyFrame = a.KeyFrame()
	f.StartOfFrame = !a.Continues && a.StartsFrame
	f.EndOfFrame = marker
	f.Spatial, f.Temporal = a.Spatial, a.Temporal
	f.LayerSync = f.KeyFrame
	f.SpatialSync = f.KeyFrame
	f.Width, f.Height = a.Width, a.Height
	return nil
}
