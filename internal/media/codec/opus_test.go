package codec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOpusTOC(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   []byte
		want OpusTOC
		err  error
	}{
		{"empty", nil, OpusTOC{}, ErrTruncated},
		{"SILK narrow 10 ms", []byte{0 << 3}, OpusTOC{OpusSILK, 4000, 480, 1, false}, nil},
		{"SILK medium 20 ms", []byte{5 << 3}, OpusTOC{OpusSILK, 6000, 960, 1, false}, nil},
		{"SILK wide 60 ms stereo", []byte{11<<3 | 4}, OpusTOC{OpusSILK, 8000, 2880, 1, true}, nil},
		{"hybrid super wide 10 ms", []byte{12 << 3}, OpusTOC{OpusHybrid, 12000, 480, 1, false}, nil},
		{"hybrid full 20 ms", []byte{15 << 3}, OpusTOC{OpusHybrid, 20000, 960, 1, false}, nil},
		{"CELT narrow 2.5 ms", []byte{16 << 3}, OpusTOC{OpusCELT, 4000, 120, 1, false}, nil},
		{"CELT wide 5 ms", []byte{21 << 3}, OpusTOC{OpusCELT, 8000, 240, 1, false}, nil},
		{"CELT super wide 10 ms", []byte{26 << 3}, OpusTOC{OpusCELT, 12000, 480, 1, false}, nil},
		{"silence", []byte(OpusSilence), OpusTOC{OpusCELT, 20000, 960, 1, false}, nil},
		{"two frames", []byte{31<<3 | 1, 0}, OpusTOC{OpusCELT, 20000, 960, 2, false}, nil},
		{"two frames of different size", []byte{31<<3 | 2, 0}, OpusTOC{OpusCELT, 20000, 960, 2, false}, nil},
		{"48 frames", []byte{16<<3 | 3, 48}, OpusTOC{OpusCELT, 4000, 120, 48, false}, nil},
		{"frame count with flags", []byte{31<<3 | 3, 0xc3}, OpusTOC{OpusCELT, 20000, 960, 3, false}, nil},
		{"longer than 120 ms", []byte{31<<3 | 3, 7}, OpusTOC{}, ErrInvalid},
		{"no frames", []byte{31<<3 | 3, 0}, OpusTOC{}, ErrInvalid},
		{"no frame count", []byte{31<<3 | 3}, OpusTOC{}, ErrTruncated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got OpusTOC
			err := got.Parse(tc.in)
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

func TestInspectOpus(t *testing.T) {
	in := NewInspector(KindOpus)
	for n, dtx := range map[int]bool{1: true, 2: true, 3: false} {
		var f Frame
		if err := in.Inspect(make([]byte, n), []byte{1, 2, 3}, true, &f); err != nil {
			t.Fatal(err)
		}
		if f.DTX != dtx || !f.KeyFrame || !f.StartOfFrame || !f.EndOfFrame || f.HasDescriptor {
			t.Errorf("%d bytes: %+v", n, f)
		}
	}
	if OpusDTX(nil) {
		t.Error("an empty payload is padding, not silence")
	}
}

// TestRealOpusIsSteady: a browser sends one 20 ms frame a packet.
func TestRealOpusIsSteady(t *testing.T) {
	for _, p := range loadCapture(t, "chrome_red.txt") {
		if len(p.payload) == 0 {
			continue
		}
		primary, _, err := REDPrimary(p.payload)
		if err != nil {
			t.Fatal(err)
		}
		var toc OpusTOC
		if err := toc.Parse(primary); err != nil || toc.Samples() != 960 {
			t.Errorf("%x: %+v, %v", primary, toc, err)
		}
	}
}

func FuzzOpusTOC(f *testing.F) {
	f.Add([]byte(OpusSilence))
	f.Add([]byte{31<<3 | 3, 6})
	f.Fuzz(func(t *testing.T, payload []byte) {
		var toc OpusTOC
		if toc.Parse(payload) == nil && (toc.Samples() == 0 || toc.Samples() > maxOpusSamples) {
			t.Fatalf("%+v", toc)
		}
	})
}
