package codec

// H264 is what one H.264 packet holds (RFC 6184).
type H264 struct {
	// SPS, PPS and IDR say which of these NAL units start in the packet.
	SPS, PPS, IDR bool
	// StartsPicture says that the packet starts with the first slice of a
	// picture or with a NAL unit that comes before it.
	StartsPicture bool
	// NonReference says that all slices in the packet have nal_ref_idc 0.
	NonReference bool
	// Width and Height are in pixels, from an SPS in the packet, else 0.
	Width, Height uint16
}

// NAL unit and packet types of H.264 (RFC 6184 section 5.2).
const (
	nalSlice = 1
	nalIDR   = 5
	nalSEI   = 6
	nalSPS   = 7
	nalPPS   = 8
	nalAUD   = 9
	nalSTAPA = 24
	nalFUA   = 28
)

// KeyFrame reports whether the packet holds an SPS or the start of an IDR
// picture.
func (h *H264) KeyFrame() bool { return h.SPS || h.IDR }

// Parse reads the NAL unit headers of payload into h, overwriting all of it.
// STAP-B, MTAP and FU-B, which WebRTC does not use, give ErrUnsupported.
func (h *H264) Parse(payload []byte) error {
	*h = H264{}
	if len(payload) < 1 {
		return ErrTruncated
	}
	switch t := payload[0] & 0x1f; {
	case t >= nalSlice && t < nalSTAPA:
		h.StartsPicture = startsH264Picture(payload[0], payload[1:])
		h.readNALU(payload[0], payload[1:])
	case t == nalSTAPA:
		return h.parseSTAPA(payload[1:])
	case t == nalFUA:
		if len(payload) < 2 {
			return ErrTruncated
		}
		header := payload[0]&0xe0 | payload[1]&0x1f
		if start := payload[1]&0x80 != 0; !start {
			h.NonReference = payload[0]&0x60 == 0
			return nil
		}
		h.StartsPicture = startsH264Picture(header, payload[2:])
		h.readNALU(header, payload[2:])
	case t == 0:
		return ErrInvalid
	default:
		return ErrUnsupported
	}
	return nil
}

func (h *H264) parseSTAPA(b []byte) error {
	for first := true; len(b) > 0; first = false {
		if len(b) < 2 {
			return ErrTruncated
		}
		size := int(b[0])<<8 | int(b[1])
		b = b[2:]
		if size > len(b) {
			return ErrTruncated
		}
		if size == 0 {
			continue
		}
		if first {
			h.StartsPicture = startsH264Picture(b[0], b[1:size])
		}
		h.readNALU(b[0], b[1:size])
		b = b[size:]
	}
	return nil
}

func (h *H264) readNALU(header byte, b []byte) {
	switch header & 0x1f {
	case nalSPS:
		h.SPS = true
		h.Width, h.Height = h264Size(b)
	case nalPPS:
		h.PPS = true
	case nalIDR:
		h.IDR = true
	case nalSlice:
		h.NonReference = header&0x60 == 0
	}
}

// startsH264Picture tells whether a NAL unit can be the first of a picture. A
// slice is when its first_mb_in_slice is 0, which is coded as a single 1 bit.
func startsH264Picture(header byte, b []byte) bool {
	switch header & 0x1f {
	case nalSEI, nalSPS, nalPPS, nalAUD:
		return true
	case nalSlice, nalIDR:
		return len(b) > 0 && b[0]&0x80 != 0
	default:
		return false
	}
}

func inspectH264(payload []byte, marker bool, f *Frame) error {
	var h H264
	if err := h.Parse(payload); err != nil {
		return err
	}
	f.KeyFrame = h.KeyFrame()
	f.StartOfFrame = h.StartsPicture
	f.EndOfFrame = marker
	f.LayerSync = f.StartOfFrame
	f.SpatialSync = f.KeyFrame
	f.Discardable = h.NonReference
	f.Width, f.Height = h.Width, h.Height
	return nil
}

// maxSPS is how much of an SPS is looked at. The size comes early; real ones
// have 10 to 60 bytes.
const maxSPS = 256

// unescape copies a NAL unit to dst without its emulation prevention bytes (00
// 00 03 becomes 00 00) and returns what fitted.
func unescape(dst, src []byte) []byte {
	n, zeros := 0, 0
	for _, c := range src {
		if n == len(dst) {
			break
		}
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst[n] = c
		n++
	}
	return dst[:n]
}

// h264Size reads the cropped picture size from an SPS without its NAL header
// (H.264 section 7.3.2.1.1), or returns 0, 0 if it is not readable.
func h264Size(sps []byte) (width, height uint16) {
	var buf [maxSPS]byte
	r := bitReader{buf: unescape(buf[:], sps)}
	profile := r.bits(8)
	r.skip(16)    // constraints, level
	r.expGolomb() // seq_parameter_set_id
	chroma := uint32(1)
	separatePlanes := false
	if hasH264ChromaFormat(profile) {
		chroma = r.expGolomb()
		if chroma == 3 {
			separatePlanes = r.bit()
		}
		r.expGolomb() // bit_depth_luma_minus8
		r.expGolomb() // bit_depth_chroma_minus8
		r.skip(1)     // qpprime_y_zero_transform_bypass_flag
		if hasMatrix := r.bit(); hasMatrix {
			skipH264ScalingLists(&r, chroma)
		}
	}
	skipH264FrameOrder(&r)
	r.expGolomb() // max_num_ref_frames
	r.skip(1)     // gaps_in_frame_num_value_allowed_flag
	w := uint64(r.expGolomb()) + 1
	h := uint64(r.expGolomb()) + 1
	field := uint64(1)
	if frameOnly := r.bit(); !frameOnly {
		field = 2
		r.skip(1) // mb_adaptive_frame_field_flag
	}
	r.skip(1) // direct_8x8_inference_flag
	w, h = w*16, h*16*field
	if cropped := r.bit(); cropped {
		if separatePlanes {
			chroma = 0
		}
		unitX, unitY := h264CropUnits(chroma)
		cropX := (uint64(r.expGolomb()) + uint64(r.expGolomb())) * unitX
		cropY := (uint64(r.expGolomb()) + uint64(r.expGolomb())) * unitY * field
		if cropX >= w || cropY >= h {
			return 0, 0
		}
		w, h = w-cropX, h-cropY
	}
	if r.failed || w > 0xffff || h > 0xffff {
		return 0, 0
	}
	return uint16(w), uint16(h)
}

func hasH264ChromaFormat(profile uint32) bool {
	switch profile {
	case 44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244:
		return true
	default:
		return false
	}
}

func skipH264ScalingLists(r *bitReader, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if present := r.bit(); !present {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for j := 0; j < size && !r.failed; j++ {
			if next != 0 {
				next = (last + r.signedExpGolomb() + 256) & 0xff
			}
			if next != 0 {
				last = next
			}
		}
	}
}

func skipH264FrameOrder(r *bitReader) {
	r.expGolomb() // log2_max_frame_num_minus4
	switch r.expGolomb() {
	case 0:
		r.expGolomb() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.skip(1)     // delta_pic_order_always_zero_flag
		r.expGolomb() // offset_for_non_ref_pic
		r.expGolomb() // offset_for_top_to_bottom_field
		n := r.expGolomb()
		for i := uint32(0); i < n && !r.failed; i++ {
			r.expGolomb()
		}
	}
}

// h264CropUnits returns the cropping unit in luma samples by chroma_format_idc
// (H.264 table 6-1).
func h264CropUnits(chroma uint32) (x, y uint64) {
	switch chroma {
	case 1:
		return 2, 2
	case 2:
		return 2, 1
	default:
		return 1, 1
	}
}
