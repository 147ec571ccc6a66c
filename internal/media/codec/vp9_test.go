package codec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp/codecs"
)

func TestVP9Parse(t *testing.T) {
	for _, tc := range []struct {
		name string
		hex  string
		want VP9
		err  error
	}{
		{"empty", "", VP9{}, ErrTruncated},
		{"bare, start and end", "0c", VP9{Begin: true, End: true, HeaderLen: 1}, nil},
		{"7 bit picture id", "807f", VP9{HasPictureID: true, PictureID: 127, HeaderLen: 2}, nil},
		{"15 bit picture id", "80ffff", VP9{HasPictureID: true, LongPictureID: true, PictureID: 0x7fff, HeaderLen: 3}, nil},
		{"layer, not flexible", "28d3aa", VP9{HasLayer: true, Begin: true, TID: 6, SwitchingUp: true, SID: 1, InterLayer: true, TL0PICIDX: 0xaa, HeaderLen: 3}, nil},
		{"layer, flexible", "38d3", VP9{HasLayer: true, Flexible: true, Begin: true, TID: 6, SwitchingUp: true, SID: 1, InterLayer: true, HeaderLen: 2}, nil},
		{"three references", "50030506", VP9{InterPicture: true, Flexible: true, PDiffs: [3]uint8{1, 2, 3}, NumPDiffs: 3, HeaderLen: 4}, nil},
		{"four references", "5003050701", VP9{}, ErrInvalid},
		{"not a reference for upper layers", "09", VP9{Begin: true, NotUpperReference: true, HeaderLen: 1}, nil},
		{"structure with sizes and group", "0a38" + "014000b4" + "02800168" + "02" + "10" + "2401", VP9{
			Begin: true, HasStructure: true, SpatialLayers: 2, HasSizes: true,
			Widths: [8]uint16{320, 640}, Heights: [8]uint16{180, 360}, GroupPictures: 2, HeaderLen: 14,
		}, nil},
		{"cut picture id", "80", VP9{}, ErrTruncated},
		{"cut long picture id", "8080", VP9{}, ErrTruncated},
		{"cut layer", "20", VP9{}, ErrTruncated},
		{"cut TL0PICIDX", "2000", VP9{}, ErrTruncated},
		{"cut references", "5003", VP9{}, ErrTruncated},
		{"cut structure", "02", VP9{}, ErrTruncated},
		{"cut sizes", "02100140", VP9{}, ErrTruncated},
		{"cut group", "0208", VP9{}, ErrTruncated},
		{"cut group references", "02080104", VP9{}, ErrTruncated},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got VP9
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

// TestVP9AgreesWithPion compares with an independent parser on real packets.
func TestVP9AgreesWithPion(t *testing.T) {
	for i, p := range loadCapture(t, "chrome_vp9_L3T3_KEY.txt") {
		if len(p.payload) == 0 {
			continue
		}
		var got VP9
		var want codecs.VP9Packet
		if err := got.Parse(p.payload); err != nil {
			t.Fatal(err)
		}
		rest, err := want.Unmarshal(p.payload)
		if err != nil {
			t.Fatal(err)
		}
		if got.PictureID != want.PictureID || got.TID != want.TID || got.SID != want.SID || got.InterPicture != want.P ||
			got.Begin != want.B || got.End != want.E || got.InterLayer != want.D || got.SwitchingUp != want.U ||
			got.TL0PICIDX != want.TL0PICIDX || int(got.NumPDiffs) != len(want.PDiff) || got.HeaderLen != len(p.payload)-len(rest) {
			t.Errorf("packet %d: %+v, pion %+v", i, got, want)
		}
		if want.V && (int(got.SpatialLayers) != int(want.NS)+1 || len(want.Width) > 0 && got.Widths[0] != want.Width[0]) {
			t.Errorf("packet %d: structure %+v, pion %+v", i, got, want)
		}
	}
}

func TestInspectVP9(t *testing.T) {
	for _, tc := range []struct {
		name string
		hex  string
		want Frame
	}{
		{"key frame, size in the frame header", "08" + "824983420013f00b36",
			Frame{KeyFrame: true, StartOfFrame: true, LayerSync: true, SpatialSync: true, Width: 320, Height: 180}},
		{"upper spatial layer of a key picture", "280300",
			Frame{StartOfFrame: true, LayerSync: true, SpatialSync: true, Spatial: 1}},
		{"independent upper spatial layer", "280200",
			Frame{StartOfFrame: true, LayerSync: true, SpatialSync: true, Spatial: 1}},
		{"inter frame", "48", Frame{StartOfFrame: true, LayerSync: true}},
		{"temporal layer without switch", "682000", Frame{StartOfFrame: true, Temporal: 1}},
		{"temporal layer with switch", "6c3000", Frame{StartOfFrame: true, EndOfFrame: true, LayerSync: true, Temporal: 1}},
		{"middle of a key frame", "00", Frame{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := NewInspector(KindVP9)
			var got Frame
			if err := in.Inspect(unhex(t, tc.hex), nil, true, &got); err != nil {
				t.Fatal(err)
			}
			got.VP9 = VP9{}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzVP9(f *testing.F) {
	for _, p := range loadCapture(f, "chrome_vp9_L3T3_KEY.txt")[:12] {
		f.Add(p.payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var d VP9
		if d.Parse(payload) != nil {
			return
		}
		if d.HeaderLen < 1 || d.HeaderLen > len(payload) {
			t.Fatalf("header of %d bytes in a payload of %d", d.HeaderLen, len(payload))
		}
		vp9FrameSize(payload[d.HeaderLen:])
	})
}
