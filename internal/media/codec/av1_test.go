package codec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAV1Parse(t *testing.T) {
	// Sequence headers of libaom, SVT-AV1 and a still picture.
	const (
		seq320  = "0a0b000000043cfeccdaf90040"
		seq1080 = "0a0b00000042abbfc3732be401"
		svt640  = "0a0b00000024c4ffdf3efe4010"
		still   = "0a07192627fefb4010"
	)
	for _, tc := range []struct {
		name string
		hex  string
		want AV1
		err  error
	}{
		{"empty", "", AV1{}, ErrTruncated},
		{"header only", "00", AV1{}, nil},
		{"continues a new sequence", "88", AV1{}, ErrInvalid},
		{"new sequence", "18" + seq320, AV1{NewSequence: true, SequenceHeader: true, StartsFrame: true, Width: 320, Height: 180}, nil},
		{"1080", "18" + seq1080, AV1{NewSequence: true, SequenceHeader: true, StartsFrame: true, Width: 1920, Height: 1080}, nil},
		{"SVT", "18" + svt640, AV1{NewSequence: true, SequenceHeader: true, StartsFrame: true, Width: 640, Height: 480}, nil},
		{"still picture", "18" + still, AV1{NewSequence: true, SequenceHeader: true, StartsFrame: true, Width: 640, Height: 480}, nil},
		{"sequence header and frame with lengths", "00" + "0d" + seq320 + "023210", AV1{SequenceHeader: true, StartsFrame: true, Width: 320, Height: 180}, nil},
		{"frame, goes on", "5030ab", AV1{Continued: true, StartsFrame: true}, nil},
		{"frame goes on to its end", "9030ab", AV1{Continues: true}, nil},
		{"end of one frame, start of another", "a00130" + "30ab", AV1{Continues: true, StartsFrame: true}, nil},
		{"layers", "10" + "3628ab", AV1{StartsFrame: true, Temporal: 1, Spatial: 1}, nil},
		{"tile group", "1020ab", AV1{}, nil},
		{"cut extension", "1036", AV1{}, nil},
		{"forbidden bit", "10b0ab", AV1{}, nil},
		{"length beyond the end", "0005300000", AV1{}, ErrTruncated},
		{"endless length", "00ffffffffffff", AV1{}, ErrTruncated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got AV1
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

func TestAV1KeyFrame(t *testing.T) {
	for _, tc := range []struct {
		a    AV1
		want bool
	}{
		{AV1{NewSequence: true}, true},
		{AV1{SequenceHeader: true}, true},
		{AV1{StartsFrame: true}, false},
		{AV1{SequenceHeader: true, Continues: true}, false},
	} {
		if got := tc.a.KeyFrame(); got != tc.want {
			t.Errorf("%+v: %t", tc.a, got)
		}
	}
}

// TestAV1SizeWithDecoderModel writes the fields browsers leave out.
func TestAV1SizeWithDecoderModel(t *testing.T) {
	var w bitWriter
	w.bits(0, 5)
	w.bits(1, 1) // timing info
	w.bits(1, 32)
	w.bits(30, 32)
	w.bits(1, 1)   // equal picture interval
	w.expGolomb(0) // ticks per picture
	w.bits(1, 1)   // decoder model
	w.bits(9, 5)   // 10 bit delays
	w.bits(1, 32)
	w.bits(0, 10)
	w.bits(1, 1) // display delay
	w.bits(1, 5) // two operating points
	for _, level := range []uint32{5, 9} {
		w.bits(0, 12)
		w.bits(level, 5)
		if level > 7 {
			w.bits(1, 1)
		}
		w.bits(1, 1)
		w.bits(0, 21)
		w.bits(1, 1)
		w.bits(3, 4)
	}
	w.bits(9, 4)
	w.bits(8, 4)
	w.bits(639, 10)
	w.bits(359, 9)
	if width, height := av1SequenceSize(w.buf); width != 640 || height != 360 {
		t.Errorf("%dx%d", width, height)
	}
	for n := range w.buf[:len(w.buf)-1] {
		if width, _ := av1SequenceSize(w.buf[:n]); width != 0 {
			t.Errorf("size from %d of %d bytes", n, len(w.buf))
		}
	}
}

func TestLEB128(t *testing.T) {
	for in, want := range map[string]struct {
		v uint32
		n int
	}{
		"00": {0, 1}, "7f": {127, 1}, "8001": {128, 2}, "ffffffff0f": {1<<32 - 1, 5},
		"": {}, "80": {}, "ffffffff1f": {}, "8080808080": {}, "808080808000": {},
	} {
		if v, n := leb128(unhex(t, in)); v != want.v || n != want.n {
			t.Errorf("%s: %d in %d bytes", in, v, n)
		}
	}
}

func FuzzAV1(f *testing.F) {
	for _, p := range loadCapture(f, "chrome_av1_L3T3_KEY.txt")[:12] {
		f.Add(p.payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var a AV1
		if a.Parse(payload) == nil && a.Width != 0 && !a.SequenceHeader {
			t.Fatal("size without sequence header")
		}
	})
}
