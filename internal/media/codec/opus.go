package codec

// OpusMode is the coding mode of an Opus packet.
type OpusMode uint8

// The coding modes (RFC 6716 section 3.1).
const (
	OpusSILK OpusMode = iota
	OpusHybrid
	OpusCELT
)

// OpusTOC is the table of contents of an Opus packet (RFC 6716 section 3.1).
type OpusTOC struct {
	// Mode is the coding mode.
	Mode OpusMode
	// Bandwidth is the highest audio frequency in Hz: 4000, 6000, 8000, 12000
	// or 20000.
	Bandwidth uint16
	// FrameSamples is the duration of one frame in RTP timestamp units, that
	// is samples at 48 kHz.
	FrameSamples uint16
	// Frames is the number of frames, at most 48.
	Frames uint8
	// Stereo says that the packet holds two channels.
	Stereo bool
}

// Samples returns the duration of the packet in RTP timestamp units.
func (t OpusTOC) Samples() uint32 { return uint32(t.FrameSamples) * uint32(t.Frames) }

// maxOpusSamples is 120 ms, the longest Opus packet (RFC 6716, rule R5).
const maxOpusSamples = 5760

// OpusSilence is an Opus packet with one 20 ms mono frame of silence, for the
// server to send when a track falls silent, so that decoders do not conceal.
const OpusSilence = "\xf8\xff\xfe"

// Parse reads the table of contents of payload into t.
func (t *OpusTOC) Parse(payload []byte) error {
	*t = OpusTOC{}
	if len(payload) < 1 {
		return ErrTruncated
	}
	t.readConfig(payload[0] >> 3)
	t.Stereo = payload[0]&0x04 != 0
	switch payload[0] & 0x03 {
	case 0:
		t.Frames = 1
	case 1, 2:
		t.Frames = 2
	default:
		if len(payload) < 2 {
			return ErrTruncated
		}
		t.Frames = payload[1] & 0x3f
	}
	if t.Frames == 0 || t.Samples() > maxOpusSamples {
		return ErrInvalid
	}
	return nil
}

// readConfig decodes the configuration number (RFC 6716 table 2).
func (t *OpusTOC) readConfig(config byte) {
	const msSamples = 48
	step := uint16(config & 0x03)
	switch {
	case config < 12:
		t.Mode = OpusSILK
		t.Bandwidth = 4000 + 2000*uint16(config>>2)
		if step == 0 {
			t.FrameSamples = 10 * msSamples
		} else {
			t.FrameSamples = 20 * msSamples * step
		}
	case config < 16:
		t.Mode = OpusHybrid
		t.Bandwidth = 12000
		if config >= 14 {
			t.Bandwidth = 20000
		}
		t.FrameSamples = 10 * msSamples << (config & 0x01)
	default:
		t.Mode = OpusCELT
		switch config >> 2 {
		case 4:
			t.Bandwidth = 4000
		case 5:
			t.Bandwidth = 8000
		case 6:
			t.Bandwidth = 12000
		default:
			t.Bandwidth = 20000
		}
		t.FrameSamples = 5 * msSamples / 2 << step
	}
}

// OpusDTX reports whether an Opus packet stands for silence: the encoder sends
// at most two bytes then (RFC 7587 section 3.1.3, libopus).
func OpusDTX(payload []byte) bool { return len(payload) == 1 || len(payload) == 2 }

func inspectOpus(payload []byte, f *Frame) error {
	var t OpusTOC
	if err := t.Parse(payload); err != nil {
		return err
	}
	f.KeyFrame, f.StartOfFrame, f.EndOfFrame = true, true, true
	f.LayerSync, f.SpatialSync = true, true
	f.DTX = OpusDTX(payload)
	return nil
}
