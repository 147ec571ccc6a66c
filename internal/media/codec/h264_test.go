package codec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// spsBaseline is what x264 writes for 160x120, baseline profile.
const spsBaseline = "6742c00ad902847e5c0440000003004000000783c48992"

func TestH264Parse(t *testing.T) {
	sps := H264{SPS: true, StartsPicture: true, Width: 160, Height: 120}
	for _, tc := range []struct {
		name string
		hex  string
		want H264
		err  error
	}{
		{"empty", "", H264{}, ErrTruncated},
		{"type 0", "0000", H264{}, ErrInvalid},
		{"SPS", spsBaseline, sps, nil},
		{"cut SPS", "6742", H264{SPS: true, StartsPicture: true}, nil},
		{"PPS", "68ce3c80", H264{PPS: true, StartsPicture: true}, nil},
		{"IDR, first slice", "6588", H264{IDR: true, StartsPicture: true}, nil},
		{"IDR, later slice", "6548", H264{IDR: true}, nil},
		{"slice", "4188", H264{StartsPicture: true}, nil},
		{"slice without references", "0188", H264{StartsPicture: true, NonReference: true}, nil},
		{"AUD", "0930", H264{StartsPicture: true}, nil},
		{"end of sequence", "0a", H264{}, nil},
		{"STAP-A of SPS and PPS", "780017" + spsBaseline + "000468ce3c80",
			H264{SPS: true, PPS: true, StartsPicture: true, Width: 160, Height: 120}, nil},
		{"STAP-A with an empty unit", "78000000026588", H264{IDR: true}, nil},
		{"STAP-A cut in a length", "7800", H264{}, ErrTruncated},
		{"STAP-A cut in a unit", "78000365", H264{}, ErrTruncated},
		{"FU-A start of IDR", "7c8588", H264{IDR: true, StartsPicture: true}, nil},
		{"FU-A middle of IDR", "7c0588", H264{}, nil},
		{"FU-A end of a slice without references", "1c4188", H264{NonReference: true}, nil},
		{"FU-A without header", "7c", H264{}, ErrTruncated},
		{"STAP-B", "7900", H264{}, ErrUnsupported},
		{"FU-B", "7d85", H264{}, ErrUnsupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got H264
			err := got.Parse(unhex(t, tc.hex))
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err == nil {
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

// TestH264Size reads parameter sets written by x264.
func TestH264Size(t *testing.T) {
	for _, tc := range []struct {
		name, hex     string
		width, height uint16
	}{
		{"baseline", spsBaseline, 160, 120},
		{"high, cropped", "67640028acd940780227e5c044000003000400000300783c60c658", 1920, 1080},
		{"high 4:2:2, cropped", "677a001ebcd940d83de6f0110000030001000003001e0f162d96", 854, 480},
		{"high 4:4:4, cropped", "67f4000c919b282a10f1f1f80880000003008000000f078a14cb", 322, 242},
		{"interlaced", "6764001eacd940b424d8088000000300800000190f8a14cb", 720, 576},
		{"of a browser", "6742c0158c8d40a0f9350606060784423500", 320, 240},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := unhex(t, tc.hex)
			if w, h := h264Size(b[1:]); w != tc.width || h != tc.height {
				t.Errorf("%dx%d, want %dx%d", w, h, tc.width, tc.height)
			}
		})
	}
}

// TestH264SizeOfUnusualSets writes the branches encoders rarely take.
func TestH264SizeOfUnusualSets(t *testing.T) {
	for name, tc := range map[string]struct {
		matrix    bool
		orderType uint32
		crop      uint32
		want      uint16
	}{
		"scaling matrix":        {true, 2, 0, 64},
		"picture order type 1":  {false, 1, 0, 64},
		"cropped to nothing":    {false, 2, 32, 0},
		"cropped by two pixels": {false, 0, 1, 62},
	} {
		t.Run(name, func(t *testing.T) {
			var w bitWriter
			w.bits(100, 8) // high profile
			w.bits(0, 16)
			w.expGolomb(0)
			w.expGolomb(1) // 4:2:0
			w.expGolomb(0)
			w.expGolomb(0)
			w.bits(0, 1)
			w.flag(tc.matrix)
			if tc.matrix {
				for i := range 8 {
					w.bits(1, 1)
					size := 16
					if i >= 6 {
						size = 64
					}
					for j := range size {
						w.expGolomb(uint32(j%2) + 1) // +1, -1 and so on
					}
				}
			}
			w.expGolomb(0)
			w.expGolomb(tc.orderType)
			switch tc.orderType {
			case 0:
				w.expGolomb(2)
			case 1:
				w.bits(0, 1)
				w.expGolomb(1)
				w.expGolomb(2)
				w.expGolomb(3)
				for range 3 {
					w.expGolomb(5)
				}
			}
			w.expGolomb(1)
			w.bits(0, 1)
			w.expGolomb(3) // 4 macroblocks wide
			w.expGolomb(3)
			w.bits(3, 2)
			w.flag(tc.crop > 0)
			if tc.crop > 0 {
				w.expGolomb(tc.crop)
				w.expGolomb(0)
				w.expGolomb(0)
				w.expGolomb(0)
			}
			if got, _ := h264Size(w.buf); got != tc.want {
				t.Errorf("width %d, want %d", got, tc.want)
			}
		})
	}
}

func (w *bitWriter) expGolomb(v uint32) {
	n := 0
	for x := v + 1; x > 1; x >>= 1 {
		n++
	}
	w.bits(0, n)
	w.bits(v+1, n+1)
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"000003":             "0000",
		"00000300000301":     "0000000001",
		"000103":             "000103",
		"00000003":           "000000",
		"0000030003":         "00000003",
		"ff00000303000003ff": "ff0000030000ff",
	} {
		b := unhex(t, in)
		if got := unescape(make([]byte, 16), b); string(got) != string(unhex(t, want)) {
			t.Errorf("%s became %x, want %s", in, got, want)
		}
	}
	if got := unescape(make([]byte, 2), []byte{1, 2, 3}); len(got) != 2 {
		t.Errorf("more than fits: %x", got)
	}
}

func TestInspectH265(t *testing.T) {
	for _, tc := range []struct {
		name string
		hex  string
		want Frame
		err  error
	}{
		{"short", "40", Frame{}, ErrTruncated},
		{"temporal id 0 is forbidden", "4000", Frame{}, ErrInvalid},
		{"VPS", "400100", Frame{KeyFrame: true, SpatialSync: true, StartOfFrame: true, LayerSync: true}, nil},
		{"IDR, first slice", "260180", Frame{KeyFrame: true, SpatialSync: true, StartOfFrame: true, LayerSync: true}, nil},
		{"IDR, later slice", "260100", Frame{KeyFrame: true, SpatialSync: true}, nil},
		{"slice of layer 1", "020280", Frame{StartOfFrame: true, Temporal: 1}, nil},
		{"aggregation of SPS and slice", "6001" + "0003420100" + "0003020180", Frame{KeyFrame: true, SpatialSync: true, StartOfFrame: true, LayerSync: true}, nil},
		{"cut aggregation", "600100", Frame{}, ErrTruncated},
		{"aggregation with a short unit", "6001000142", Frame{}, ErrTruncated},
		{"fragment, start of IDR", "62019380", Frame{KeyFrame: true, SpatialSync: true, StartOfFrame: true, LayerSync: true}, nil},
		{"fragment, middle of IDR", "62011380", Frame{}, nil},
		{"fragment without header", "6201", Frame{}, ErrTruncated},
		{"PACI", "640100", Frame{}, ErrUnsupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := NewInspector(KindH265)
			var got Frame
			err := in.Inspect(unhex(t, tc.hex), nil, false, &got)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err == nil {
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func FuzzH264(f *testing.F) {
	for _, p := range loadCapture(f, "h264.hex")[:8] {
		f.Add(p.payload)
	}
	f.Add(unhex(f, "67f4000c919b282a10f1f1f80880000003008000000f078a14cb"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var h H264
		if h.Parse(payload) == nil && h.Width != 0 && !h.SPS {
			t.Fatal("size without SPS")
		}
	})
}
