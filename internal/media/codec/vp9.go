package codec

// Limits of the VP9 payload descriptor.
const (
	maxVP9SpatialLayers = 8
	maxVP9PDiffs        = 3
)

// VP9 is the payload descriptor of one VP9 packet (RFC 9628 section 4.2).
type VP9 struct {
	// HasPictureID, HasLayer and HasStructure are the I, L and V bits.
	HasPictureID, HasLayer, HasStructure bool
	// InterPicture is the P bit: the frame is predicted from other pictures.
	InterPicture bool
	// Flexible is the F bit: references are given per frame.
	Flexible bool
	// Begin and End are the B and E bits: first and last packet of a layer
	// frame.
	Begin, End bool
	// NotUpperReference is the Z bit: no higher spatial layer of this picture
	// refers to the frame.
	NotUpperReference bool

	// LongPictureID is the M bit: PictureID has 15 bits and not 7.
	LongPictureID bool
	// PictureID counts pictures; all spatial layers of a picture share it.
	PictureID uint16
	// TID and SID are the temporal and spatial layer.
	TID, SID uint8
	// SwitchingUp is the U bit: from here on, higher temporal layers may be
	// forwarded.
	SwitchingUp bool
	// InterLayer is the D bit: the frame is predicted from the next lower
	// spatial layer of the same picture.
	InterLayer bool
	// TL0PICIDX counts pictures of temporal layer 0, without Flexible only.
	TL0PICIDX uint8
	// PDiffs are the distances to the referenced pictures, NumPDiffs of them,
	// with Flexible and InterPicture.
	PDiffs    [maxVP9PDiffs]uint8
	NumPDiffs uint8

	// SpatialLayers is the number of spatial layers of the scalability
	// structure, 0 without one.
	SpatialLayers uint8
	// HasSizes says that the structure gives Widths and Heights, in pixels.
	HasSizes bool
	Widths   [maxVP9SpatialLayers]uint16
	Heights  [maxVP9SpatialLayers]uint16
	// GroupPictures is the number of pictures in the structure's picture
	// group, 0 when it has none.
	GroupPictures uint8

	// HeaderLen is the length of the descriptor in bytes; the VP9 frame data
	// follows it.
	HeaderLen int
}

// KeyFrame reports whether the packet is the first one of a key picture: the
// start of a frame of the lowest spatial layer that is predicted from nothing.
func (d *VP9) KeyFrame() bool {
	return d.Begin && !d.InterPicture && d.SID == 0 && !d.InterLayer
}

// Parse reads the descriptor at the start of payload into d, overwriting all of
// it.
func (d *VP9) Parse(payload []byte) error {
	*d = VP9{}
	if len(payload) < 1 {
		return ErrTruncated
	}
	first := payload[0]
	d.HasPictureID = first&0x80 != 0
	d.InterPicture = first&0x40 != 0
	d.HasLayer = first&0x20 != 0
	d.Flexible = first&0x10 != 0
	d.Begin = first&0x08 != 0
	d.End = first&0x04 != 0
	d.HasStructure = first&0x02 != 0
	d.NotUpperReference = first&0x01 != 0

	n, err := d.parseIDs(payload, 1)
	if err != nil {
		return err
	}
	if d.Flexible && d.InterPicture {
		if n, err = d.parsePDiffs(payload, n); err != nil {
			return err
		}
	}
	if d.HasStructure {
		if n, err = d.parseStructure(payload, n); err != nil {
			return err
		}
	}
	d.HeaderLen = n
	return nil
}

func (d *VP9) parseIDs(b []byte, n int) (int, error) {
	if d.HasPictureID {
		if len(b) < n+1 {
			return 0, ErrTruncated
		}
		d.PictureID = uint16(b[n] & 0x7f)
		d.LongPictureID = b[n]&0x80 != 0
		n++
		if d.LongPictureID {
			if len(b) < n+1 {
				return 0, ErrTruncated
			}
			d.PictureID = d.PictureID<<8 | uint16(b[n])
			n++
		}
	}
	if !d.HasLayer {
		return n, nil
	}
	if len(b) < n+1 {
		return 0, ErrTruncated
	}
	d.TID = b[n] >> 5
	d.SwitchingUp = b[n]&0x10 != 0
	d.SID = b[n] >> 1 & 0x07
	d.InterLayer = b[n]&0x01 != 0
	n++
	if !d.Flexible {
		if len(b) < n+1 {
			return 0, ErrTruncated
		}
		d.TL0PICIDX = b[n]
		n++
	}
	return n, nil
}

func (d *VP9) parsePDiffs(b []byte, n int) (int, error) {
	for {
		if len(b) < n+1 {
			return 0, ErrTruncated
		}
		if d.NumPDiffs == maxVP9PDiffs {
			return 0, ErrInvalid
		}
		d.PDiffs[d.NumPDiffs] = b[n] >> 1
		d.NumPDiffs++
		n++
		if b[n-1]&0x01 == 0 {
			return n, nil
		}
	}
}

// parseStructure reads the scalability structure (section 4.2.1). Of the
// picture group only the length is kept.
func (d *VP9) parseStructure(b []byte, n int) (int, error) {
	if len(b) < n+1 {
		return 0, ErrTruncated
	}
	d.SpatialLayers = b[n]>>5 + 1
	d.HasSizes = b[n]&0x10 != 0
	hasGroup := b[n]&0x08 != 0
	n++
	if d.HasSizes {
		if len(b) < n+4*int(d.SpatialLayers) {
			return 0, ErrTruncated
		}
		for i := range int(d.SpatialLayers) {
			d.Widths[i] = uint16(b[n])<<8 | uint16(b[n+1])
			d.Heights[i] = uint16(b[n+2])<<8 | uint16(b[n+3])
			n += 4
		}
	}
	if !hasGroup {
		return n, nil
	}
	if len(b) < n+1 {
		return 0, ErrTruncated
	}
	d.GroupPictures = b[n]
	n++
	for range int(d.GroupPictures) {
		if len(b) < n+1 {
			return 0, ErrTruncated
		}
		n += 1 + int(b[n]>>2&0x03)
	}
	if len(b) < n {
		return 0, ErrTruncated
	}
	return n, nil
}

func inspectVP9(payload []byte, f *Frame) error {
	d := &f.VP9
	if err := d.Parse(payload); err != nil {
		return err
	}
	f.StartOfFrame, f.EndOfFrame = d.Begin, d.End
	f.KeyFrame = d.KeyFrame()
	f.Spatial, f.Temporal = d.SID, d.TID
	f.LayerSync = d.Begin && (d.SwitchingUp || d.TID == 0)
	f.SpatialSync = d.Begin && !d.InterPicture
	switch {
	case d.HasSizes && d.SID < d.SpatialLayers:
		f.Width, f.Height = d.Widths[d.SID], d.Heights[d.SID]
	case f.KeyFrame:
		f.Width, f.Height = vp9FrameSize(payload[d.HeaderLen:])
	}
	return nil
}

// vp9FrameSize reads the size from the uncompressed header of a key frame (VP9
// bitstream specification, section 6.2), or returns 0, 0 if it is not readable.
func vp9FrameSize(b []byte) (width, height uint16) {
	const (
		frameMarker = 2
		syncCode    = 0x498342
		colorRGB    = 7
	)
	r := bitReader{buf: b}
	if r.bits(2) != frameMarker {
		return 0, 0
	}
	profile := r.bits(1) | r.bits(1)<<1
	if profile == 3 {
		r.skip(1)
	}
	showExisting, interFrame := r.bit(), r.bit()
	r.skip(2) // show_frame, error_resilient_mode
	if showExisting || interFrame || r.bits(24) != syncCode {
		return 0, 0
	}
	if profile >= 2 {
		r.skip(1) // ten_or_twelve_bit
	}
	odd := profile == 1 || profile == 3
	if r.bits(3) != colorRGB {
		r.skip(1) // color_range
		if odd {
			r.skip(3) // subsampling, reserved
		}
	} else if odd {
		r.skip(1)
	}
	w, h := r.bits(16)+1, r.bits(16)+1
	if r.failed || w > 0xffff || h > 0xffff {
		return 0, 0
	}
	return uint16(w), uint16(h)
}
