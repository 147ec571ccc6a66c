package layer

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSelect walks through scripts: each line changes the selector or offers it a
// packet and states what becomes of it.
func TestSelect(t *testing.T) {
	type step struct {
		do   func(*Selector)
		f    Frame
		want Decision
		need int8 // NeedKeyFrame after the step
	}
	alive := func(mask uint8) func(*Selector) { return func(s *Selector) { s.SetAlive(mask) } }
	maximum := func(spatial, temporal int8) func(*Selector) {
		return func(s *Selector) { s.SetMax(Layer{spatial, temporal}) }
	}
	key := func(l int8) Frame { return Frame{Spatial: l, KeyFrame: true, Start: true, Sync: true} }
	delta := func(l int8) Frame { return Frame{Spatial: l, Start: true} }
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"begins with a key frame", []step{
			{do: alive(1), f: delta(0), want: Drop, need: 0},
			{f: key(0), want: Switch, need: None},
			{f: delta(0), want: Forward, need: None},
		}},
		{"the first picture counts, the right one follows", []step{
			{do: alive(7), f: key(0), want: Switch, need: 2},
			{f: delta(2), want: Drop, need: 2},
			{f: delta(0), want: Forward, need: 2},
			{f: key(1), want: Switch, need: 2},
			{f: key(0), want: Drop, need: 2},
			{f: key(2), want: Switch, need: None},
			{f: key(1), want: Drop, need: None},
		}},
		{"not above the limit", []step{
			{do: func(s *Selector) { s.SetAlive(7); s.SetMax(Layer{1, 7}) }, f: key(2), want: Drop, need: 1},
			{f: key(1), want: Switch, need: None},
		}},
		{"the lower of maximum and target", []step{
			{do: func(s *Selector) { s.SetAlive(7); s.SetTarget(Layer{0, 7}) }, f: key(0), want: Switch, need: None},
			{f: key(1), want: Drop, need: None},
			{do: func(s *Selector) { s.SetTarget(Layer{1, 7}) }, f: key(1), want: Switch, need: None},
		}},
		{"down on a key frame, forwarding until then", []step{
			{do: alive(7), f: key(2), want: Switch, need: None},
			{do: maximum(0, 7), f: delta(2), want: Forward, need: 0},
			{f: delta(0), want: Drop, need: 0},
			{f: key(1), want: Switch, need: 0},
			{f: key(0), want: Switch, need: None},
		}},
		{"the layer dies: the lower living one", []step{
			{do: alive(7), f: key(2), want: Switch, need: None},
			{do: alive(3), f: delta(1), want: Drop, need: 1},
			{f: key(1), want: Switch, need: None},
			{do: alive(7), f: delta(1), want: Forward, need: 2},
			{f: key(2), want: Switch, need: None},
		}},
		{"only a higher one lives", []step{
			{do: func(s *Selector) { s.SetAlive(4); s.SetMax(Layer{0, 7}) }, f: key(2), want: Switch, need: None},
			{do: alive(5), f: delta(2), want: Forward, need: 0},
			{f: key(0), want: Switch, need: None},
		}},
		{"pause ends with the frame and begins with a key frame", []step{
			{do: alive(1), f: key(0), want: Switch, need: None},
			{do: func(s *Selector) { s.SetPaused(true) }, f: Frame{Continues: true}, want: Forward, need: 0 - 1},
			{f: delta(0), want: Drop, need: None},
			{f: key(0), want: Drop, need: None},
			{do: func(s *Selector) { s.SetPaused(false) }, f: delta(0), want: Drop, need: 0},
			{f: key(0), want: Switch, need: None},
		}},
		{"a negative maximum is a pause", []step{
			{do: func(s *Selector) { s.SetAlive(1); s.SetMax(Layer{None, 0}) }, f: key(0), want: Drop, need: None},
			{do: maximum(2, 7), f: key(0), want: Switch, need: None},
		}},
		{"opaque begins with any frame", []step{
			{do: alive(1), f: Frame{Opaque: true}, want: Drop, need: 0},
			{f: Frame{Opaque: true, Start: true}, want: Switch, need: None},
			{f: Frame{Opaque: true}, want: Forward, need: None},
		}},
		{"lost continuity", []step{
			{do: alive(1), f: key(0), want: Switch, need: None},
			{do: (*Selector).Lose, f: delta(0), want: Drop, need: 0},
			{f: key(0), want: Switch, need: None},
		}},
		{"temporal: up on sync only, down at any frame", []step{
			{do: func(s *Selector) { s.SetAlive(1); s.SetMax(Layer{2, 0}) }, f: key(0), want: Switch, need: None},
			{f: Frame{Start: true, Temporal: 2}, want: Drop, need: None},
			{do: maximum(2, 2), f: Frame{Start: true, Temporal: 2}, want: Drop, need: None},
			{f: Frame{Temporal: 1, Sync: true}, want: Drop, need: None}, // not at the start of the frame
			{f: Frame{Start: true, Temporal: 1, Sync: true}, want: Forward, need: None},
			{f: Frame{Temporal: 1}, want: Forward, need: None},
			{f: Frame{Start: true, Temporal: 2}, want: Drop, need: None},
			{f: Frame{Start: true, Temporal: 2, Sync: true}, want: Forward, need: None},
			{do: maximum(2, 1), f: Frame{Temporal: 2}, want: Forward, need: None}, // the frame is finished
			{f: Frame{Start: true, Temporal: 2, Sync: true}, want: Drop, need: None},
			{f: Frame{Start: true, Temporal: 1}, want: Forward, need: None},
			{do: maximum(2, 7), f: key(0), want: Forward, need: None},
			{f: Frame{Start: true, Temporal: 2}, want: Forward, need: None}, // after a key frame everything is
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := NewSelector()
			for i, st := range tc.steps {
				if st.do != nil {
					st.do(&s)
				}
				if got := s.Select(st.f); got != st.want {
					t.Fatalf("step %d: %v, want %v", i, got, st.want)
				}
				if got := s.NeedKeyFrame(); got != st.need {
					t.Fatalf("step %d: needs a key frame of %d, want %d", i, got, st.need)
				}
			}
		})
	}
}

// TestSelectProperties: whatever happens, a viewer is switched only by a packet a
// decoder can begin with, gets packets of one layer at a time, and is brought to
// the layer it should be on by the key frame it asks for.
func TestSelectProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewSelector()
		for range 100 {
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0:
				s.SetMax(Layer{rapid.Int8Range(-1, 2).Draw(t, "max"), rapid.Int8Range(0, 2).Draw(t, "maxT")})
			case 1:
				s.SetTarget(Layer{rapid.Int8Range(-1, 2).Draw(t, "target"), rapid.Int8Range(0, 2).Draw(t, "targetT")})
			case 2:
				s.SetAlive(rapid.Uint8Range(0, 7).Draw(t, "alive"))
			case 3:
				s.SetPaused(rapid.Bool().Draw(t, "paused"))
			case 4:
				if need := s.NeedKeyFrame(); need != None {
					if got := s.Select(Frame{Spatial: need, KeyFrame: true, Start: true}); got != Switch || s.NeedKeyFrame() != None {
						t.Fatalf("the key frame asked for (%d) gives %v, then needs %d", need, got, s.NeedKeyFrame())
					}
				}
			default:
				f := Frame{
					Spatial: rapid.Int8Range(0, 2).Draw(t, "spatial"), Temporal: rapid.Int8Range(0, 2).Draw(t, "temporal"),
					KeyFrame: rapid.Bool().Draw(t, "key"), Start: rapid.Bool().Draw(t, "start"),
					Sync: rapid.Bool().Draw(t, "sync"), Opaque: rapid.IntRange(0, 5).Draw(t, "opaque") == 0,
				}
				if f.KeyFrame {
					f.Temporal = 0
				}
				checkSelect(t, &s, f)
			}
		}
	})
}

func checkSelect(t *rapid.T, s *Selector, f Frame) {
	s.SetAlive(s.alive | 1<<f.Spatial) // what sends is alive
	before, limit, wanted := s.Current(), s.limit(), s.Wanted()
	got := s.Select(f)
	after := s.Current()
	switch got {
	case Switch:
		if !f.KeyFrame && !(f.Opaque && f.Start) {
			t.Fatalf("switched on %+v", f)
		}
		if after.Spatial != f.Spatial || before.Spatial == f.Spatial {
			t.Fatalf("switched from %v to %v on %+v", before, after, f)
		}
		if f.Spatial > limit && f.Spatial != wanted && f.Spatial > before.Spatial {
			t.Fatalf("switched up to %d, above the limit %d", f.Spatial, limit)
		}
		if s.Paused() {
			t.Fatal("switched while paused")
		}
	case Forward:
		if f.Spatial != before.Spatial || after.Spatial != before.Spatial {
			t.Fatalf("forwarded %+v on %v", f, before)
		}
		if f.Temporal > after.Temporal {
			t.Fatalf("forwarded temporal layer %d on %v", f.Temporal, after)
		}
		if f.Temporal > before.Temporal && !(f.Start && f.Sync) && !f.KeyFrame {
			t.Fatalf("moved up in time without sync: %+v on %v", f, before)
		}
	case Drop:
		if after.Spatial != before.Spatial && after.Spatial != None {
			t.Fatalf("dropped a packet and moved from %v to %v", before, after)
		}
	}
}

func TestLimitsAndCurrent(t *testing.T) {
	s := NewSelector()
	s.SetMax(Layer{1, 2})
	s.SetTarget(Layer{2, 1})
	s.SetCurrent(Layer{1, 1}, ScalableState{})
	if m, target := s.Limits(); m != (Layer{1, 2}) || target != (Layer{2, 1}) || s.Current() != (Layer{1, 1}) {
		t.Errorf("limits %v %v, current %v", m, target, s.Current())
	}
}
