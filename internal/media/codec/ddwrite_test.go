package codec

import (
	"testing"

	"pgregory.net/rapid"
)

// TestAppendRewrittenCaptures changes the descriptors of real streams and reads
// them back: nothing but what was to change may.
func TestAppendRewrittenCaptures(t *testing.T) {
	for _, name := range []string{"chrome_av1_L3T3_KEY.txt", "chrome_vp9_L3T3_KEY.txt", "chrome_vp8_L1T3.txt", "chrome_av1_L1T2.txt"} {
		for _, change := range []DescriptorChange{
			{FrameNumber: 7},
			{FrameNumber: 0xfffe, SetActive: true, Active: 3},
			{FrameNumber: 9, SetActive: true, Active: 1, Attach: true},
		} {
			var in, out DescriptorReader
			for i, p := range loadCapture(t, name) {
				if p.dd == nil {
					continue
				}
				var d, got Descriptor
				if err := in.Read(p.dd, &d); err != nil {
					t.Fatal(err)
				}
				c := change
				c.FrameNumber += d.FrameNumber
				b := d.AppendRewritten([]byte{0xaa}, p.dd, c)[1:]
				if err := out.Read(b, &got); err != nil {
					t.Fatalf("%s %d: %x from %x: %v", name, i, b, p.dd, err)
				}
				want := d
				want.FrameNumber = c.FrameNumber
				if c.SetActive {
					want.Active, want.ActiveAttached = c.Active, true
				}
				want.Attached = want.Attached || c.Attach
				got.KeyPicture, want.KeyPicture = false, false // it depends on earlier packets
				if diff := diffDescriptors(want, got); diff != "" {
					t.Fatalf("%s %d: %x from %x: %s", name, i, b, p.dd, diff)
				}
			}
		}
	}
}

// TestAppendRewrittenProperties does the same with descriptors of every form,
// also custom ones.
func TestAppendRewrittenProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawStructure(t)
		var r DescriptorReader
		var d Descriptor
		first := Descriptor{First: true, Attached: true, Structure: s}
		if err := r.Read(writeDescriptor(&first, 0, false), &d); err != nil {
			t.Fatal(err)
		}
		in := Descriptor{
			First: rapid.Bool().Draw(t, "first"), FrameNumber: rapid.Uint16().Draw(t, "number"), Structure: s,
			Attached: rapid.Bool().Draw(t, "attached"), ActiveAttached: rapid.Bool().Draw(t, "mask"),
			Active: rapid.Uint32Range(0, allTargets(s.NumTargets)).Draw(t, "active"),
			Frame:  drawTemplate(t, s, 4096, 255),
		}
		template, custom := rapid.Uint8Range(0, s.NumTemplates-1).Draw(t, "template"), rapid.Bool().Draw(t, "custom")
		b := writeDescriptor(&in, template, custom)
		other := r
		if err := other.Read(b, &d); err != nil {
			t.Fatal(err)
		}
		c := DescriptorChange{
			FrameNumber: rapid.Uint16().Draw(t, "new number"), SetActive: rapid.Bool().Draw(t, "set"),
			Active: rapid.Uint32Range(0, allTargets(s.NumTargets)).Draw(t, "new active"), Attach: rapid.Bool().Draw(t, "attach"),
		}
		var got Descriptor
		reader := r
		if err := reader.Read(d.AppendRewritten(nil, b, c), &got); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		want := d
		want.FrameNumber = c.FrameNumber
		want.Attached = d.Attached || c.Attach && d.Structure.WireBits > 0
		switch {
		case c.SetActive:
			want.ActiveAttached, want.Active = true, c.Active
		case want.Attached && !d.ActiveAttached:
			want.Active = allTargets(s.NumTargets)
		}
		if !want.Attached && !want.ActiveAttached {
			got.Active, want.Active = 0, 0 // as of earlier packets
		}
		got.KeyPicture, want.KeyPicture = false, false
		if diff := diffDescriptors(want, got); diff != "" {
			t.Fatalf("%x: %s", b, diff)
		}
	})
}

func TestAppendRewrittenAllocatesNothing(t *testing.T) {
	packets := loadCapture(t, "chrome_av1_L3T3_KEY.txt")
	var r DescriptorReader
	var d Descriptor
	buf := make([]byte, 0, 255)
	if n := testing.AllocsPerRun(20, func() {
		for _, p := range packets {
			if p.dd != nil && r.Read(p.dd, &d) == nil {
				buf = d.AppendRewritten(buf[:0], p.dd, DescriptorChange{SetActive: true, Active: 7, Attach: true})
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestDescriptorStateGoesOn: a restored reader reads the rest of a real stream as
// the first one does.
func TestDescriptorStateGoesOn(t *testing.T) {
	packets := loadCapture(t, "chrome_vp9_L3T3_KEY.txt")
	var a, b DescriptorReader
	for i, p := range packets {
		if i == 40 {
			if err := b.Restore(a.State()); err != nil {
				t.Fatal(err)
			}
		}
		if p.dd == nil {
			continue
		}
		var da, db Descriptor
		if err := a.Read(p.dd, &da); err != nil {
			t.Fatal(err)
		}
		if i < 40 {
			continue
		}
		if err := b.Read(p.dd, &db); err != nil {
			t.Fatal(err)
		}
		if diff := diffDescriptors(da, db); diff != "" {
			t.Fatalf("packet %d: %s", i, diff)
		}
	}
	var empty DescriptorReader
	if err := b.Restore(empty.State()); err != nil || b.Structure() != nil {
		t.Errorf("restored to nothing: %v, %v", err, b.Structure())
	}
	if err := b.Restore(DescriptorState{Structure: []byte{0xc0, 0, 1}}); err == nil {
		t.Error("a state without structure was accepted")
	}
}

// TestWithin: in K-SVC the layers do not contain each other once the key picture
// is over, in full SVC they do.
func TestWithin(t *testing.T) {
	var r DescriptorReader
	var d Descriptor
	if err := r.Read(loadCapture(t, "chrome_vp9_L3T3_KEY.txt")[0].dd, &d); err != nil {
		t.Fatal(err)
	}
	for target, want := range []uint32{0o001, 0o003, 0o007, 0o010, 0o030, 0o070, 0o100, 0o300, 0o700} {
		if got := d.Structure.Within[target]; got != want {
			t.Errorf("target %d contains %o, want %o", target, got, want)
		}
	}
	_, s := l2t2Key(t)
	s.Templates[1].DTIs[2], s.Templates[1].DTIs[3] = DTIRequired, DTIRequired
	s.Templates[2].DTIs[3] = DTIDiscardable
	s.setTargetLayers()
	for target, want := range []uint32{0b0001, 0b0011, 0b0101, 0b1111} {
		if got := s.Within[target]; got != want {
			t.Errorf("full SVC: target %d contains %b, want %b", target, got, want)
		}
	}
}

func TestInspectEncryptedPayload(t *testing.T) {
	packets := loadCapture(t, "chrome_av1_L3T3_KEY.txt")
	in := NewInspector(KindAV1)
	var f Frame
	if err := in.Inspect([]byte{0x10, 0x7f, 0xff}, packets[0].dd, false, &f); err != nil {
		t.Fatal(err)
	}
	in.kind = KindH264
	if err := in.Inspect([]byte{0xff, 0xff}, packets[0].dd, false, &f); err != nil || f.PayloadErr == nil || !f.KeyFrame || !f.StartOfFrame || !f.HasDescriptor {
		t.Errorf("%v, %+v", err, f)
	}
	if err := in.Inspect([]byte{0xff, 0xff}, []byte{0xc0}, false, &f); err == nil || f.DescriptorErr == nil {
		t.Errorf("neither can be read: %v, %+v", err, f)
	}
}

func FuzzAppendRewritten(f *testing.F) {
	for _, p := range loadCapture(f, "chrome_av1_L3T3_KEY.txt")[:5] {
		if p.dd != nil {
			f.Add(p.dd, uint32(3), true, true)
		}
	}
	structure := loadCapture(f, "chrome_av1_L3T3_KEY.txt")[0].dd
	f.Fuzz(func(t *testing.T, b []byte, active uint32, set, attach bool) {
		var r DescriptorReader
		var d, got Descriptor
		if r.Read(structure, &d) != nil || r.Read(b, &d) != nil {
			return
		}
		other := r
		out := d.AppendRewritten(nil, b, DescriptorChange{FrameNumber: 5, SetActive: set, Active: active, Attach: attach})
		if err := other.Read(out, &got); err != nil {
			t.Fatalf("%x became %x: %v", b, out, err)
		}
		if got.Frame != d.Frame || got.First != d.First || got.Last != d.Last || got.FrameNumber != 5 {
			t.Fatalf("%+v became %+v", d, got)
		}
	})
}
