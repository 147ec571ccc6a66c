package codec

import (
	"bufio"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pion/rtp"
)

// packet is one captured packet.
type packet struct {
	dd, payload []byte
	marker      bool
	sequence    uint16
	timestamp   uint32
}

// loadCapture reads a capture made by testdata/gen.
func loadCapture(t testing.TB, name string) []packet {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []packet
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		fields := strings.Split(sc.Text(), " ")
		if len(fields) == 1 {
			var p rtp.Packet
			if err := p.Unmarshal(unhex(t, fields[0])); err != nil {
				t.Fatal(err)
			}
			out = append(out, packet{nil, p.Payload, p.Marker, p.SequenceNumber, p.Timestamp})
			continue
		}
		p := packet{payload: unhex(t, fields[1]), marker: fields[2] == "true"}
		if fields[0] != "-" {
			p.dd = unhex(t, fields[0])
		}
		sn, _ := strconv.ParseUint(fields[3], 10, 16)
		ts, _ := strconv.ParseUint(fields[4], 10, 32)
		p.sequence, p.timestamp = uint16(sn), uint32(ts)
		out = append(out, p)
	}
	if len(out) == 0 {
		t.Fatalf("%s: empty", name)
	}
	return out
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestInspectEncoders runs whole streams of ffmpeg's encoders and packers: one
// second, 15 frames a second, a key frame every 8 frames, 160x120.
func TestInspectEncoders(t *testing.T) {
	for _, tc := range []struct {
		file string
		kind Kind
		size bool
	}{
		{"vp8.hex", KindVP8, true},
		{"h264.hex", KindH264, true},
		{"h265.hex", KindH265, false},
	} {
		t.Run(tc.file, func(t *testing.T) {
			in := NewInspector(tc.kind)
			starts := map[uint32]int{}
			keys := map[uint32]bool{}
			frames, ends := map[uint32]bool{}, 0
			sized := false
			for _, p := range loadCapture(t, tc.file) {
				var f Frame
				if err := in.Inspect(p.payload, nil, p.marker, &f); err != nil {
					t.Fatalf("%x: %v", p.payload, err)
				}
				frames[p.timestamp] = true
				if f.StartOfFrame {
					starts[p.timestamp]++
				}
				if f.EndOfFrame {
					ends++
					if !p.marker {
						t.Error("end of frame without marker")
					}
				}
				if f.KeyFrame {
					keys[p.timestamp] = true
				}
				if f.Width != 0 {
					sized = true
					if !f.KeyFrame || f.Width != 160 || f.Height != 120 {
						t.Errorf("size %dx%d, key %t", f.Width, f.Height, f.KeyFrame)
					}
				}
			}
			if len(frames) != 15 || ends != 15 {
				t.Errorf("%d frames, %d ends, want 15", len(frames), ends)
			}
			if len(keys) != 2 {
				t.Errorf("%d key frames, want 2", len(keys))
			}
			for ts := range frames {
				if starts[ts] == 0 {
					t.Errorf("frame %d has no start", ts)
				}
				if tc.kind == KindVP8 && starts[ts] != 1 {
					t.Errorf("frame %d has %d starts", ts, starts[ts])
				}
			}
			if sized != tc.size {
				t.Errorf("size seen %t, want %t", sized, tc.size)
			}
		})
	}
}

// TestInspectChrome runs what a browser sends, with dependency descriptors.
func TestInspectChrome(t *testing.T) {
	for _, tc := range []struct {
		file              string
		kind              Kind
		spatial, temporal uint8
		width, height     uint16
		descriptor        bool
	}{
		{"chrome_vp8_L1T3.txt", KindVP8, 0, 2, 320, 180, true},
		{"chrome_vp9_L3T3_KEY.txt", KindVP9, 2, 2, 320, 180, true},
		{"chrome_av1_L3T3_KEY.txt", KindAV1, 2, 2, 320, 180, true},
		{"chrome_av1_L1T2.txt", KindAV1, 0, 1, 320, 180, true},
		{"chrome_h264.txt", KindH264, 0, 0, 0, 0, false},
	} {
		t.Run(tc.file, func(t *testing.T) {
			in := NewInspector(tc.kind)
			keys, syncs, starts, ends := 0, 0, 0, 0
			var spatial, temporal uint8
			for i, p := range loadCapture(t, tc.file) {
				if len(p.payload) == 0 {
					continue // padding
				}
				var f Frame
				if err := in.Inspect(p.payload, p.dd, p.marker, &f); err != nil {
					t.Fatalf("packet %d: %v", i, err)
				}
				if f.DescriptorErr != nil || f.HasDescriptor != tc.descriptor {
					t.Fatalf("packet %d: descriptor %t: %v", i, f.HasDescriptor, f.DescriptorErr)
				}
				if i == 0 {
					if !f.KeyFrame || !f.StartOfFrame || !f.SpatialSync {
						t.Errorf("first packet: %+v", f)
					}
					if tc.width != 0 && (f.Width != tc.width || f.Height != tc.height) {
						t.Errorf("size %dx%d, want %dx%d", f.Width, f.Height, tc.width, tc.height)
					}
				}
				if f.KeyFrame && f.Width != 0 {
					keys++
				}
				if f.LayerSync && !f.KeyFrame {
					syncs++
				}
				if f.StartOfFrame {
					starts++
				}
				if f.EndOfFrame {
					ends++
				}
				spatial, temporal = max(spatial, f.Spatial), max(temporal, f.Temporal)
			}
			if spatial != tc.spatial || temporal != tc.temporal {
				t.Errorf("layers up to %d, %d, want %d, %d", spatial, temporal, tc.spatial, tc.temporal)
			}
			if keys != 1 {
				t.Errorf("%d key frames, want 1", keys)
			}
			if tc.temporal > 0 && syncs == 0 {
				t.Error("no switch point of an upper temporal layer")
			}
			if tc.descriptor && starts-ends > 1 {
				t.Errorf("%d starts, %d ends", starts, ends)
			}
		})
	}
}

// TestDescriptorAgreesWithVP9 holds two independent descriptions of one real
// stream, the dependency descriptor and the VP9 payload descriptor, against
// each other.
func TestDescriptorAgreesWithVP9(t *testing.T) {
	var r DescriptorReader
	for i, p := range loadCapture(t, "chrome_vp9_L3T3_KEY.txt") {
		if len(p.payload) == 0 {
			continue
		}
		var d Descriptor
		var v VP9
		if err := errors.Join(r.Read(p.dd, &d), v.Parse(p.payload)); err != nil {
			t.Fatalf("packet %d: %v", i, err)
		}
		if d.First != v.Begin || d.Last != v.End || d.Frame.Spatial != v.SID || d.Frame.Temporal != v.TID {
			t.Errorf("packet %d: descriptor %+v, payload %+v", i, d, v)
		}
		if d.KeyFrame() != v.KeyFrame() {
			t.Errorf("packet %d: key frame %t by descriptor, %t by payload", i, d.KeyFrame(), v.KeyFrame())
		}
		if refs := d.Frame.NumDiffs > 0; refs != (v.InterPicture || v.InterLayer) {
			t.Errorf("packet %d: %d references, payload %+v", i, d.Frame.NumDiffs, v)
		}
	}
}

// TestDescriptorAgreesWithAV1 does the same with the AV1 payload.
func TestDescriptorAgreesWithAV1(t *testing.T) {
	for _, name := range []string{"chrome_av1_L3T3_KEY.txt", "chrome_av1_L1T2.txt"} {
		var r DescriptorReader
		for i, p := range loadCapture(t, name) {
			if len(p.payload) == 0 {
				continue
			}
			var d Descriptor
			var a AV1
			if err := errors.Join(r.Read(p.dd, &d), a.Parse(p.payload)); err != nil {
				t.Fatalf("packet %d: %v", i, err)
			}
			if d.KeyFrame() != a.KeyFrame() {
				t.Errorf("%s %d: key frame %t by descriptor, payload %+v", name, i, d.KeyFrame(), a)
			}
			if d.First != (a.StartsFrame && !a.Continues) {
				t.Errorf("%s %d: start %t by descriptor, payload %+v", name, i, d.First, a)
			}
			if a.KeyFrame() && a.Width == 0 {
				t.Errorf("%s %d: no size", name, i)
			}
		}
	}
}

func TestInspectFallsBackToPayload(t *testing.T) {
	p := loadCapture(t, "chrome_av1_L1T2.txt")[0]
	in := NewInspector(KindAV1)
	var f Frame
	// A delta descriptor before any structure.
	if err := in.Inspect(p.payload, []byte{0x40, 0, 1}, false, &f); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(f.DescriptorErr, ErrNoStructure) || f.HasDescriptor {
		t.Errorf("descriptor error %v", f.DescriptorErr)
	}
	if !f.KeyFrame || f.Width != 320 || f.Height != 180 {
		t.Errorf("frame from payload: %+v", f)
	}
}

func TestInspectRejects(t *testing.T) {
	for k := KindUnknown; k <= KindH265; k++ {
		in := NewInspector(k)
		f := Frame{KeyFrame: true}
		if err := in.Inspect(nil, nil, true, &f); err == nil {
			t.Errorf("%v: empty payload accepted", k)
		}
		if f.KeyFrame {
			t.Errorf("%v: old frame left in place", k)
		}
	}
}

func TestInspectAllocatesNothing(t *testing.T) {
	for file, kind := range map[string]Kind{
		"vp8.hex": KindVP8, "h264.hex": KindH264, "h265.hex": KindH265,
		"chrome_av1_L3T3_KEY.txt": KindAV1, "chrome_vp9_L3T3_KEY.txt": KindVP9, "chrome_red.txt": KindRED,
	} {
		packets := loadCapture(t, file)
		in := NewInspector(kind)
		var f Frame
		run := func() {
			for _, p := range packets {
				_ = in.Inspect(p.payload, p.dd, p.marker, &f)
			}
		}
		run() // the first structure is allocated once
		run()
		if n := testing.AllocsPerRun(20, run); n != 0 {
			t.Errorf("%s: %v allocations", file, n)
		}
	}
}

func FuzzInspect(f *testing.F) {
	for file, kind := range map[string]Kind{
		"vp8.hex": KindVP8, "h264.hex": KindH264, "h265.hex": KindH265,
		"chrome_av1_L3T3_KEY.txt": KindAV1, "chrome_vp9_L3T3_KEY.txt": KindVP9, "chrome_red.txt": KindRED,
	} {
		for _, p := range loadCapture(f, file)[:8] {
			f.Add(uint8(kind), p.payload, p.dd)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, payload, dd []byte) {
		in := NewInspector(Kind(kind % uint8(KindH265+1)))
		var frame Frame
		err := in.Inspect(payload, dd, false, &frame)
		if err == nil && len(payload) == 0 {
			t.Error("empty payload accepted")
		}
		if frame.HasDescriptor && frame.Descriptor.Structure == nil {
			t.Error("descriptor without structure")
		}
		_ = in.Inspect(payload, dd, true, &frame)
	})
}

func BenchmarkInspect(b *testing.B) {
	for file, kind := range map[string]Kind{
		"vp8.hex": KindVP8, "h264.hex": KindH264, "chrome_vp9_L3T3_KEY.txt": KindVP9, "chrome_av1_L3T3_KEY.txt": KindAV1,
	} {
		b.Run(kind.String(), func(b *testing.B) {
			packets := loadCapture(b, file)
			in := NewInspector(kind)
			var f Frame
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p := &packets[i%len(packets)]
				_ = in.Inspect(p.payload, p.dd, p.marker, &f)
			}
		})
	}
}

func TestParseMIME(t *testing.T) {
	for s, want := range map[string]Kind{
		"audio/opus": KindOpus, "AUDIO/OPUS": KindOpus, "audio/red": KindRED,
		"video/vp8": KindVP8, "video/VP9": KindVP9, "video/av1": KindAV1, " video/H264 ": KindH264,
		"video/h264;profile-level-id=42e01f": KindH264, "video/H265": KindH265, "video/hevc": KindH265,
		"": KindUnknown, "video/rtx": KindUnknown, "audio/VP8": KindUnknown, "video": KindUnknown, "/": KindUnknown,
	} {
		if got := ParseMIME(s); got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
	for k := KindOpus; k <= KindH265; k++ {
		if ParseMIME(k.MIME()) != k {
			t.Errorf("%v does not survive", k)
		}
		media := "video"
		if k.IsAudio() {
			media = "audio"
		}
		if ParseEncodingName(media, strings.ToUpper(k.String())) != k {
			t.Errorf("%v not found by its encoding name", k)
		}
		if k.IsAudio() == k.IsVideo() || k.ClockRate() == 0 {
			t.Errorf("%v: audio %t, video %t, clock %d", k, k.IsAudio(), k.IsVideo(), k.ClockRate())
		}
	}
	if KindUnknown.MIME() != "" || KindUnknown.String() != "unknown" || KindUnknown.IsAudio() || KindUnknown.IsVideo() || KindUnknown.ClockRate() != 0 {
		t.Error("KindUnknown is not empty")
	}
	if ParseEncodingName("audio", "VP8") != KindUnknown {
		t.Error("audio/VP8 accepted")
	}
}
