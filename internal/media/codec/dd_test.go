package codec

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// bitWriter writes what bitReader reads.
type bitWriter struct {
	buf []byte
	n   int
}

func (w *bitWriter) bits(v uint32, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.n&7 == 0 {
			w.buf = append(w.buf, 0)
		}
		w.buf[w.n>>3] |= byte(v>>i&1) << (7 - w.n&7)
		w.n++
	}
}

// ignoreWire leaves out of a comparison where something stood on the wire.
var ignoreWire = cmp.Options{cmpopts.IgnoreTypes(DescriptorLayout{}), cmpopts.IgnoreFields(Structure{}, "Wire", "WireBits")}

// diffDescriptors says what two descriptors have different, but for where it stood
// on the wire; "" for nothing. cmp.Diff alone is slow for structures.
func diffDescriptors(want, got Descriptor) string {
	a, b := want, got
	a.Layout, b.Layout = DescriptorLayout{}, DescriptorLayout{}
	a.Structure, b.Structure = nil, nil
	if a == b && want.Structure != nil && got.Structure != nil {
		s := *got.Structure
		s.Wire, s.WireBits = want.Structure.Wire, want.Structure.WireBits
		if s == *want.Structure {
			return ""
		}
	}
	return cmp.Diff(want, got, ignoreWire)
}

func (w *bitWriter) flag(on bool) { w.bits(uint32(flag(on, 1)), 1) }

func (w *bitWriter) nonSymmetric(v, n uint32) {
	width := 0
	for x := n; x != 0; x >>= 1 {
		width++
	}
	m := uint32(1)<<width - n
	if v < m {
		w.bits(v, width-1)
	} else {
		w.bits(v+m, width)
	}
}

// writeDescriptor is the specification's syntax written down a second time. The
// frame is written wholly custom when custom is set, else as its template.
func writeDescriptor(d *Descriptor, template uint8, custom bool) []byte {
	var w bitWriter
	s := d.Structure
	w.flag(d.First)
	w.flag(d.Last)
	w.bits(uint32((s.ID+template)%maxTemplates), 6)
	w.bits(uint32(d.FrameNumber), 16)
	if !d.Attached && !d.ActiveAttached && !custom {
		return w.buf
	}
	for _, f := range []bool{d.Attached, d.ActiveAttached, custom, custom, custom} {
		w.flag(f)
	}
	if d.Attached {
		writeStructure(&w, s)
	}
	if d.ActiveAttached {
		w.bits(d.Active, int(s.NumTargets))
	}
	if custom {
		f := &d.Frame
		for _, dti := range f.DTIs[:s.NumTargets] {
			w.bits(uint32(dti), 2)
		}
		for _, diff := range f.FrameDiffs[:f.NumDiffs] {
			size := uint32(1)
			for uint32(diff-1)>>(4*size) != 0 {
				size++
			}
			w.bits(size, 2)
			w.bits(uint32(diff-1), int(4*size))
		}
		w.bits(0, 2)
		for _, c := range f.ChainDiffs[:s.NumChains] {
			w.bits(uint32(c), 8)
		}
	}
	return w.buf
}

func writeStructure(w *bitWriter, s *Structure) {
	w.bits(uint32(s.ID), 6)
	w.bits(uint32(s.NumTargets-1), 5)
	templates := s.Templates[:s.NumTemplates]
	for i := range templates {
		switch {
		case i+1 == len(templates):
			w.bits(3, 2)
		case templates[i+1].Spatial > templates[i].Spatial:
			w.bits(2, 2)
		case templates[i+1].Temporal > templates[i].Temporal:
			w.bits(1, 2)
		default:
			w.bits(0, 2)
		}
	}
	for _, t := range templates {
		for _, dti := range t.DTIs[:s.NumTargets] {
			w.bits(uint32(dti), 2)
		}
	}
	for _, t := range templates {
		for _, diff := range t.FrameDiffs[:t.NumDiffs] {
			w.bits(1, 1)
			w.bits(uint32(diff-1), 4)
		}
		w.bits(0, 1)
	}
	w.nonSymmetric(uint32(s.NumChains), uint32(s.NumTargets)+1)
	if s.NumChains > 0 {
		for _, target := range s.Targets[:s.NumTargets] {
			w.nonSymmetric(uint32(target.Chain), uint32(s.NumChains))
		}
		for _, t := range templates {
			for _, c := range t.ChainDiffs[:s.NumChains] {
				w.bits(uint32(c), 4)
			}
		}
	}
	w.flag(s.HasResolutions)
	if s.HasResolutions {
		for _, r := range s.Resolutions[:templates[len(templates)-1].Spatial+1] {
			w.bits(uint32(r.Width-1), 16)
			w.bits(uint32(r.Height-1), 16)
		}
	}
}

func drawTemplate(t *rapid.T, s *Structure, maxDiff uint16, maxChain uint8) FrameTemplate {
	f := FrameTemplate{NumDiffs: rapid.Uint8Range(0, 5).Draw(t, "diffs")}
	for i := range int(f.NumDiffs) {
		f.FrameDiffs[i] = rapid.Uint16Range(1, maxDiff).Draw(t, "diff")
	}
	for i := range int(s.NumTargets) {
		f.DTIs[i] = DTI(rapid.IntRange(0, 3).Draw(t, "dti"))
	}
	for i := range int(s.NumChains) {
		f.ChainDiffs[i] = rapid.Uint8Range(0, maxChain).Draw(t, "chain diff")
	}
	return f
}

func drawStructure(t *rapid.T) *Structure {
	s := &Structure{
		ID:             rapid.Uint8Range(0, 63).Draw(t, "id"),
		NumTemplates:   rapid.Uint8Range(1, 12).Draw(t, "templates"),
		NumTargets:     rapid.Uint8Range(1, 32).Draw(t, "targets"),
		HasResolutions: rapid.Bool().Draw(t, "resolutions"),
	}
	s.NumChains = rapid.Uint8Range(0, s.NumTargets).Draw(t, "chains")
	var spatial, temporal uint8
	for i := range int(s.NumTemplates) {
		if i > 0 {
			switch rapid.IntRange(0, 2).Draw(t, "next") {
			case 1:
				temporal = min(temporal+1, maxDescTemporalID)
			case 2:
				if spatial < maxDescSpatialID {
					spatial, temporal = spatial+1, 0
				}
			}
		}
		s.Templates[i] = drawTemplate(t, s, 16, 15)
		s.Templates[i].Spatial, s.Templates[i].Temporal = spatial, temporal
	}
	for i := range int(s.NumTargets) {
		if s.NumChains > 0 {
			s.Targets[i].Chain = rapid.Uint8Range(0, s.NumChains-1).Draw(t, "chain")
		}
	}
	if s.HasResolutions {
		for i := range int(spatial) + 1 {
			s.Resolutions[i] = Resolution{rapid.Uint16Min(1).Draw(t, "w"), rapid.Uint16Min(1).Draw(t, "h")}
		}
	}
	s.setTargetLayers()
	return s
}

func TestDescriptorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r DescriptorReader
		want := Descriptor{
			First: true, Structure: drawStructure(t), Attached: true,
			FrameNumber: rapid.Uint16().Draw(t, "number"),
		}
		for range 4 {
			s := want.Structure
			want.ActiveAttached = rapid.Bool().Draw(t, "active attached")
			switch {
			case want.ActiveAttached:
				want.Active = rapid.Uint32Range(0, allTargets(s.NumTargets)).Draw(t, "active")
			case want.Attached:
				want.Active = allTargets(s.NumTargets)
			}
			template := rapid.Uint8Range(0, s.NumTemplates-1).Draw(t, "template")
			want.Frame = s.Templates[template]
			custom := rapid.Bool().Draw(t, "custom")
			if custom {
				want.Frame = drawTemplate(t, s, 4096, 255)
				want.Frame.Spatial, want.Frame.Temporal = s.Templates[template].Spatial, s.Templates[template].Temporal
			}
			b := writeDescriptor(&want, template, custom)
			var got Descriptor
			if err := r.Read(b, &got); err != nil {
				t.Fatalf("%x: %v", b, err)
			}
			got.KeyPicture = false // see TestDescriptorKeyPicture
			if d := diffDescriptors(want, got); d != "" {
				t.Fatalf("%x: %s", b, d)
			}
			for n := range b {
				var d Descriptor
				other := r
				if n == 3 {
					continue // the rest is optional
				}
				if err := other.Read(b[:n], &d); err == nil {
					t.Fatalf("%d of %d bytes accepted", n, len(b))
				}
			}
			want.Attached, want.First = false, false
			want.FrameNumber++
		}
	})
}

// l2t2Key reads the first frames of two spatial and two temporal layers.
func l2t2Key(t *testing.T) (*DescriptorReader, *Structure) {
	t.Helper()
	s := &Structure{ID: 7, NumTemplates: 5, NumTargets: 4, HasResolutions: true}
	s.Resolutions[0], s.Resolutions[1] = Resolution{320, 180}, Resolution{640, 360}
	set := func(i int, spatial, temporal uint8, dtis [4]DTI, diffs ...uint16) {
		f := &s.Templates[i]
		f.Spatial, f.Temporal, f.NumDiffs = spatial, temporal, uint8(len(diffs))
		copy(f.FrameDiffs[:], diffs)
		copy(f.DTIs[:], dtis[:])
	}
	const n, d, sw, r = DTINotPresent, DTIDiscardable, DTISwitch, DTIRequired
	set(0, 0, 0, [4]DTI{sw, sw, sw, sw})
	set(1, 0, 0, [4]DTI{sw, sw, n, n}, 4)
	set(2, 0, 1, [4]DTI{n, d, n, n}, 2)
	set(3, 1, 0, [4]DTI{n, n, sw, sw}, 1)
	set(4, 1, 0, [4]DTI{n, n, r, r}, 4)
	s.setTargetLayers()
	r0 := &DescriptorReader{}
	key := Descriptor{First: true, Last: true, Attached: true, FrameNumber: 65535, Structure: s}
	var got Descriptor
	if err := r0.Read(writeDescriptor(&key, 0, false), &got); err != nil {
		t.Fatal(err)
	}
	if !got.KeyFrame() || !got.KeyPicture || got.Active != 0xf {
		t.Fatalf("key frame: %+v", got)
	}
	return r0, s
}

func TestDescriptorKeyPicture(t *testing.T) {
	reader, s := l2t2Key(t)
	if s.Targets[1].Temporal != 1 || s.Targets[3].Spatial != 1 || s.Targets[0].Spatial != 0 {
		t.Errorf("targets %+v", s.Targets[:4])
	}
	if spatial, temporal := s.MaxLayers(); spatial != 1 || temporal != 1 {
		t.Errorf("layers %d, %d", spatial, temporal)
	}
	for _, tc := range []struct {
		number                                  uint16
		template                                uint8
		keyFrame, keyPicture, sync, discardable bool
	}{
		{0, 3, false, true, true, false},  // upper layer of the key picture
		{1, 2, false, false, false, true}, // upper temporal layer
		{3, 1, false, false, true, false},
		{4, 3, false, false, true, false}, // predicted from a later lower frame
		{4, 4, false, false, false, false},
	} {
		d := Descriptor{First: true, FrameNumber: tc.number, Structure: s}
		var got Descriptor
		if err := reader.Read(writeDescriptor(&d, tc.template, false), &got); err != nil {
			t.Fatal(err)
		}
		if got.KeyFrame() != tc.keyFrame || got.KeyPicture != tc.keyPicture || got.HasSwitch() != tc.sync || got.Discardable() != tc.discardable {
			t.Errorf("%+v: key %t, picture %t, switch %t, discardable %t", tc, got.KeyFrame(), got.KeyPicture, got.HasSwitch(), got.Discardable())
		}
	}
}

// TestDescriptorLateStructure: a structure that comes late does not replace a
// newer one, and packets of neither are misread.
func TestDescriptorLateStructure(t *testing.T) {
	reader, first := l2t2Key(t)
	second := *first
	second.ID = 20
	var d Descriptor
	key := Descriptor{First: true, Attached: true, FrameNumber: 30, Structure: &second}
	if err := reader.Read(writeDescriptor(&key, 0, false), &d); err != nil {
		t.Fatal(err)
	}
	late := Descriptor{First: true, Attached: true, FrameNumber: 65535, Structure: first}
	if err := reader.Read(writeDescriptor(&late, 0, false), &d); err != nil {
		t.Fatal(err)
	}
	if d.Structure.ID != 7 || reader.Structure().ID != 20 {
		t.Errorf("late packet has structure %d, the stream %d", d.Structure.ID, reader.Structure().ID)
	}
	old := Descriptor{First: true, FrameNumber: 2, Structure: first}
	if err := reader.Read(writeDescriptor(&old, 1, false), &d); !errors.Is(err, ErrNoStructure) {
		t.Errorf("packet of the old structure: %v", err)
	}
	now := Descriptor{First: true, FrameNumber: 31, Structure: &second, ActiveAttached: true, Active: 3}
	if err := reader.Read(writeDescriptor(&now, 1, false), &d); err != nil || d.Active != 3 {
		t.Errorf("active %x, %v", d.Active, err)
	}
	now.ActiveAttached, now.FrameNumber = false, 32
	if err := reader.Read(writeDescriptor(&now, 1, false), &d); err != nil || d.Active != 3 {
		t.Errorf("active afterwards %x, %v", d.Active, err)
	}
	now.ActiveAttached, now.Active, now.FrameNumber = true, 1, 30 // late
	if err := reader.Read(writeDescriptor(&now, 1, false), &d); err != nil || d.Active != 1 {
		t.Errorf("active of a late packet %x, %v", d.Active, err)
	}
	now.ActiveAttached, now.FrameNumber = false, 33
	if err := reader.Read(writeDescriptor(&now, 1, false), &d); err != nil || d.Active != 3 {
		t.Errorf("active after a late packet %x, %v", d.Active, err)
	}
	reader.Reset()
	if err := reader.Read(writeDescriptor(&now, 1, false), &d); !errors.Is(err, ErrNoStructure) || reader.Structure() != nil {
		t.Errorf("after Reset: %v", err)
	}
}

// TestDescriptorSharesStructure: the same structure again is the same pointer.
func TestDescriptorSharesStructure(t *testing.T) {
	reader, s := l2t2Key(t)
	before := reader.Structure()
	var d Descriptor
	key := Descriptor{First: true, Attached: true, FrameNumber: 9, Structure: s}
	if err := reader.Read(writeDescriptor(&key, 0, false), &d); err != nil {
		t.Fatal(err)
	}
	if d.Structure != before || reader.Structure() != before || !cmp.Equal(before, s, ignoreWire) {
		t.Error("structure replaced by an equal one")
	}
	if _, ok := s.Resolution(2); ok {
		t.Error("resolution of a layer that is not there")
	}
	var none *Structure
	if _, ok := none.Resolution(0); ok {
		t.Error("resolution of no structure")
	}
	if r, ok := s.Resolution(1); !ok || r != (Resolution{640, 360}) {
		t.Errorf("resolution %v", r)
	}
}

func FuzzDescriptor(f *testing.F) {
	for _, name := range []string{"chrome_av1_L3T3_KEY.txt", "chrome_vp8_L1T3.txt"} {
		packets := loadCapture(f, name)
		for _, p := range packets[1:10] {
			f.Add(packets[0].dd, p.dd)
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var r DescriptorReader
		for _, b := range [][]byte{first, second, first} {
			var d Descriptor
			before := r.Structure()
			if err := r.Read(b, &d); err != nil {
				if r.Structure() != before {
					t.Fatal("a broken descriptor changed the structure")
				}
				continue
			}
			s := d.Structure
			if s == nil || s.NumTargets == 0 || s.NumTargets > MaxDecodeTargets || s.NumChains > s.NumTargets {
				t.Fatalf("structure %+v", s)
			}
			if d.Frame.Spatial > maxDescSpatialID || d.Frame.Temporal > maxDescTemporalID {
				t.Fatalf("frame %+v", d.Frame)
			}
			if d.Active&^allTargets(s.NumTargets) != 0 && d.ActiveAttached {
				t.Fatalf("active %x of %d", d.Active, s.NumTargets)
			}
			_, _ = d.HasSwitch(), d.Discardable()
		}
	})
}
