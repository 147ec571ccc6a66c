package allocator

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestLadder(t *testing.T) {
	rates := Bitrates{{60, 90, 150}, {200, 300, 500}, {680, 1020, 1700}}
	for _, tc := range []struct {
		name string
		d    Demand
		want []Layer
	}{
		{"camera", Demand{Max: Layer{2, 2}, Bitrates: rates}, []Layer{{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 1}, {2, 2}}},
		{"screen", Demand{Max: Layer{1, 2}, Bitrates: rates, ScreenShare: true}, []Layer{{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1}, {1, 2}}},
		{"fewer frames wanted", Demand{Max: Layer{2, 0}, Bitrates: rates}, []Layer{{0, 0}, {1, 0}, {2, 0}}},
		{"one layer", Demand{Max: Layer{2, 3}, Bitrates: Bitrates{{150}}}, []Layer{{0, 0}}},
		{"the lowest is missing", Demand{Max: Layer{2, 1}, Bitrates: Bitrates{{}, {100, 200}}}, []Layer{{1, 0}, {1, 1}}},
		{"only one that is too good", Demand{Max: Layer{0, 1}, Bitrates: Bitrates{{}, {}, {100, 200}}}, []Layer{{2, 0}, {2, 1}}},
		{"a better one costs less", Demand{Max: Layer{1, 0}, Bitrates: Bitrates{{300}, {200}}}, []Layer{{1, 0}}},
		{"two temporal layers, counted up to four", Demand{Max: Layer{1, 7}, Bitrates: Bitrates{{60, 150, 150, 150}, {200, 500, 500, 500}}}, []Layer{{0, 0}, {0, 3}, {1, 0}, {1, 3}}},
		{"three, counted up to four", Demand{Max: Layer{1, 7}, Bitrates: Bitrates{{60, 90, 150, 150}, {200, 300, 500, 500}}}, []Layer{{0, 0}, {0, 1}, {0, 3}, {1, 1}, {1, 3}}},
		{"none, counted up to four", Demand{Max: Layer{1, 7}, Bitrates: Bitrates{{150, 150, 150, 150}, {500, 500, 500, 500}}}, []Layer{{0, 3}, {1, 3}}},
		{"nothing is wanted", Demand{Max: Layer{-1, 2}, Bitrates: rates}, nil},
		{"nothing is measured", Demand{Max: Layer{2, 2}}, nil},
		{"more than there can be", Demand{Max: Layer{100, 100}, Bitrates: rates}, []Layer{{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 1}, {2, 2}}},
	} {
		l := climb(&tc.d)
		if !slices.Equal(l.layers[:l.n], tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, l.layers[:l.n], tc.want)
		}
		for i := range l.levels() {
			if l.cost(i+1) <= l.cost(i) {
				t.Errorf("%s: level %d costs no more than the one below", tc.name, i+1)
			}
		}
	}
}

func TestFollow(t *testing.T) {
	b := Bitrates{{100_000, 200_000}}
	for range 30 { // a key frame's second
		b = b.Follow(Bitrates{{100_000, 300_000}}, 33*time.Millisecond)
	}
	if b[0][0] != 100_000 || b[0][1] < 220_000 || b[0][1] > 235_000 {
		t.Errorf("%v after a second of one half more", b)
	}
	if b = b.Follow(Bitrates{{100_000, 300_000}, {1000_000}}, 10*time.Second); b[0][1] != 300_000 || b[1][0] != 1000_000 {
		t.Errorf("%v after a long time, with a new layer", b)
	}
	if b = b.Follow(Bitrates{{}, {900_000}}, time.Second/10); b[0][0] != 0 || b[0][1] != 0 || b[1][0] > 1000_000 || b[1][0] < 990_000 {
		t.Errorf("%v after a layer has gone", b)
	}
}

// TestChainKeepsOrder: a track's steps come in their order, and each once, however
// small steps are moved.
func TestChainKeepsOrder(t *testing.T) {
	var in Input
	for i := range 6 {
		d := newDemand([]string{"camera", "screen", "camera"}[i%3], fmt.Sprint(i))
		d.Priority = uint8(i / 2)
		d.MayPause = i != 3
		in.Demands = append(in.Demands, d)
	}
	p := newPlan(in)
	next := map[int]int{}
	for _, s := range p.steps {
		if next[s.track]++; s.level != next[s.track] {
			t.Fatalf("track %d: level %d before level %d", s.track, s.level, next[s.track])
		}
	}
	for i := range p.tracks {
		if next[i] != p.tracks[i].ladder.levels() {
			t.Errorf("track %d has %d steps of %d", i, next[i], p.tracks[i].ladder.levels())
		}
	}
	if !(p.steps[0].track == 3 && p.steps[0].level == 1) {
		t.Errorf("what may not be paused is not first: %+v", p.steps[0])
	}
}

func TestNothingToDivide(t *testing.T) {
	targets, x := Allocate(Input{Now: t0, Bitrate: 1000})
	if len(targets) != 0 || x.All != 0 || x.Next != 0 || x.String() == "" {
		t.Errorf("%v %+v", targets, x)
	}
	d := newDemand("camera", "ann")
	if targets, _ = Allocate(Input{Now: t0, Bitrate: -5, Demands: []Demand{d}}); targets[0].Layer.Spatial != Paused {
		t.Errorf("%v of a negative bitrate", targets)
	}
}

// TestUnmeasured: of a track that has just been published the lowest layer is asked
// for; it can be no other at first.
func TestUnmeasured(t *testing.T) {
	d := Demand{TrackID: "ann", Kind: Video, MayPause: true, Max: Layer{2, 2}}
	in := Input{Now: t0, Bitrate: 1_000_000, Demands: []Demand{d}}
	targets, _ := Allocate(in)
	if targets[0].Layer != (Layer{0, 2}) || !targets[0].Changed || targets[0].Why != NothingSent {
		t.Errorf("%+v", targets[0])
	}
	apply(&in, targets)
	if targets, _ = Allocate(in); targets[0].Changed {
		t.Errorf("%+v", targets[0])
	}
	in.Demands[0].Max.Spatial = Paused
	if targets, _ = Allocate(in); targets[0].Layer.Spatial != Paused {
		t.Errorf("%+v although nothing is wanted", targets[0])
	}
}

// TestDemandTells: what is needed next is enough for something, and all is enough
// for everything.
func TestDemandTells(t *testing.T) {
	in := Input{Now: t0, Bitrate: 400_000, Demands: []Demand{newDemand("camera", "ann"), newDemand("audio", "mic"), newDemand("camera", "bob")}}
	targets, x := Allocate(in)
	apply(&in, targets)
	for range 30 {
		in.Now = in.Now.Add(5 * time.Second)
		in.Bitrate = x.Next - 10
		targets, x = Allocate(in)
		if n := apply(&in, targets); n != 0 {
			t.Fatalf("%d changes with less than the next step needs: %v", n, x)
		}
		in.Bitrate = x.Next
		targets, x = Allocate(in)
		if n := apply(&in, targets); n != 1 {
			t.Fatalf("%d changes with what the next step needs: %v", n, x)
		}
		if x.Next == 0 {
			break
		}
	}
	if x.Next != 0 || x.Deficient != 0 {
		t.Fatalf("does not end: %v", x)
	}
	fresh := []Demand{newDemand("camera", "ann"), newDemand("audio", "mic"), newDemand("camera", "bob")}
	_, x = Allocate(Input{Now: t0, Bitrate: 100_000, Demands: fresh})
	if _, x = Allocate(Input{Now: t0, Bitrate: x.All, Demands: fresh}); x.Deficient != 0 {
		t.Errorf("all of it is not enough: %v", x)
	}
}

func TestReasonsInWords(t *testing.T) {
	seen := map[string]bool{}
	for r := Kept; r <= NetworkCongested; r++ {
		if s := r.String(); seen[s] || s == "unknown" {
			t.Errorf("%d reads %q", r, s)
		} else {
			seen[s] = true
		}
	}
	if Reason(99).String() != "unknown" || (Layer{Spatial: Paused}).String() != "paused" {
		t.Error("no words for the unknown")
	}
}

// BenchmarkAllocate is a viewer of a meeting: 8 cameras, 8 microphones, one screen.
func BenchmarkAllocate(b *testing.B) {
	in := Input{Now: t0, Bitrate: 4_000_000}
	for i := range 8 {
		in.Demands = append(in.Demands, newDemand("camera", fmt.Sprint("cam", i)), newDemand("audio", fmt.Sprint("mic", i)))
	}
	in.Demands = append(in.Demands, newDemand("screen", "desk"))
	targets, _ := Allocate(in)
	apply(&in, targets)
	b.ReportAllocs()
	for b.Loop() {
		Allocate(in)
	}
}
