package codec

// NAL unit and packet types of H.265 (RFC 7798 section 4.4).
const (
	hevcFirstIRAP = 16
	hevcLastIRAP  = 21
	hevcVPS       = 32
	hevcPPS       = 34
	hevcAP        = 48
	hevcFU        = 49
	hevcPACI      = 50
)

// inspectH265 recognises key frames and the temporal layer. The size is not
// read: no publisher's H.265 is transcoded or measured here.
func inspectH265(payload []byte, marker bool, f *Frame) error {
	if len(payload) < 2 {
		return ErrTruncated
	}
	f.EndOfFrame = marker
	if tid := payload[1] & 0x07; tid > 0 {
		f.Temporal = tid - 1
	} else {
		return ErrInvalid
	}
	switch t := hevcType(payload[0]); t {
	case hevcAP:
		return inspectH265Aggregation(payload[2:], f)
	case hevcFU:
		if len(payload) < 3 {
			return ErrTruncated
		}
		if start := payload[2]&0x80 != 0; start {
			f.readH265NALU(payload[2]&0x3f, payload[3:])
		}
	case hevcPACI:
		return ErrUnsupported
	default:
		f.readH265NALU(t, payload[2:])
	}
	return nil
}

func inspectH265Aggregation(b []byte, f *Frame) error {
	for len(b) > 0 {
		if len(b) < 2 {
			return ErrTruncated
		}
		size := int(b[0])<<8 | int(b[1])
		b = b[2:]
		if size < 2 || size > len(b) {
			return ErrTruncated
		}
		f.readH265NALU(hevcType(b[0]), b[2:size])
		b = b[size:]
	}
	return nil
}

// readH265NALU looks at a NAL unit that starts in the packet; b follows its
// header. A slice starts a picture when first_slice_segment_in_pic_flag is set.
func (f *Frame) readH265NALU(t uint8, b []byte) {
	slice := t < hevcVPS
	if key := t >= hevcFirstIRAP && t <= hevcLastIRAP || t >= hevcVPS && t <= hevcPPS; key {
		f.KeyFrame, f.SpatialSync = true, true
	}
	if !slice || len(b) > 0 && b[0]&0x80 != 0 {
		f.StartOfFrame = true
	}
	f.LayerSync = f.StartOfFrame && f.Temporal == 0
}

func hevcType(b byte) uint8 { return b >> 1 & 0x3f }
