package allocator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Unix(1_700_000_000, 0)

// drawDemands draws what a viewer may watch: any mix of kinds, layers that are
// missing, costs that contradict the order of layers.
func drawDemands(t *rapid.T, fresh bool) []Demand {
	n := rapid.IntRange(0, 8).Draw(t, "tracks")
	out := make([]Demand, n)
	for i := range out {
		d := &out[i]
		d.TrackID = fmt.Sprintf("TR_%d", i)
		d.Kind = rapid.SampledFrom([]Kind{Audio, Video, Video, Video}).Draw(t, "kind")
		d.MayPause = rapid.Bool().Draw(t, "mayPause")
		d.Muted = rapid.IntRange(0, 9).Draw(t, "muted") == 0
		d.ScreenShare = rapid.IntRange(0, 3).Draw(t, "screen") == 0
		d.Priority = uint8(rapid.IntRange(0, 2).Draw(t, "priority"))
		d.Max = Layer{int8(rapid.IntRange(-1, 2).Draw(t, "maxS")), int8(rapid.IntRange(0, 3).Draw(t, "maxT"))}
		if d.Kind == Audio {
			d.Bitrates[0][0] = int64(rapid.IntRange(0, 60).Draw(t, "audio")) * 1000
		} else {
			d.Bitrates = drawBitrates(t)
		}
		if !fresh && rapid.Bool().Draw(t, "known") {
			d.Since = t0.Add(-time.Duration(rapid.IntRange(0, 10_000).Draw(t, "since")) * time.Millisecond)
			d.Target = Layer{int8(rapid.IntRange(-1, 2).Draw(t, "targetS")), int8(rapid.IntRange(0, 3).Draw(t, "targetT"))}
			d.Current = Layer{int8(rapid.IntRange(-1, 2).Draw(t, "currentS")), 0}
		}
	}
	return out
}

func drawBitrates(t *rapid.T) (b Bitrates) {
	for s := range MaxSpatial {
		temporal := rapid.IntRange(0, MaxTemporal).Draw(t, "temporal")
		cost := int64(0)
		for l := range temporal {
			cost += int64(rapid.IntRange(1, 900<<s).Draw(t, "cost")) * 1000
			b[s][l] = cost
		}
	}
	return b
}

// cost is what a target takes.
func cost(d *Demand, l Layer) int64 {
	if d.Muted || d.Kind == Audio || l.Spatial < 0 {
		return 0
	}
	return d.Bitrates[l.Spatial][l.Temporal]
}

func sums(in Input, targets []Target) (audio, video, forced int64) {
	for i := range in.Demands {
		d := &in.Demands[i]
		switch {
		case d.Kind == Audio && !d.Muted:
			audio += d.Bitrates[0][0]
		case d.Kind == Video:
			video += cost(d, targets[i].Layer)
			if !d.MayPause && !d.Muted {
				if l := climb(d); l.levels() > 0 {
					forced += l.cost(1)
				}
			}
		}
	}
	return audio, video, forced
}

// TestWithinBitrate: targets never take more than there is, except for audio and
// the lowest layers of tracks that may not be paused; and the explanation adds up.
func TestWithinBitrate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Input{
			Now: t0, Bitrate: int64(rapid.IntRange(0, 8000).Draw(t, "kbps")) * 1000,
			Congested: rapid.Bool().Draw(t, "congested"), Demands: drawDemands(t, false),
		}
		targets, x := Allocate(in)
		audio, video, forced := sums(in, targets)
		if limit := max(in.Bitrate-audio, forced); video > limit {
			t.Fatalf("video takes %d of %d: %v", video, limit, targets)
		}
		if x.Audio != audio || x.Video != video {
			t.Fatalf("explained %d + %d, is %d + %d", x.Audio, x.Video, audio, video)
		}
		for i, target := range targets {
			checkTarget(t, &in.Demands[i], target)
		}
	})
}

func checkTarget(t *rapid.T, d *Demand, target Target) {
	if target.TrackID != d.TrackID {
		t.Fatalf("target of %s at the place of %s", target.TrackID, d.TrackID)
	}
	if target.Changed != (d.Since.IsZero() || target.Layer != d.Target) {
		t.Fatalf("%v: changed is wrong", target)
	}
	if d.Kind == Audio && target.Layer.Spatial < 0 {
		t.Fatal("audio is paused")
	}
	if d.Muted || d.Kind == Audio {
		return
	}
	ladder := climb(d)
	switch {
	case target.Layer.Spatial < 0 && !d.MayPause && ladder.levels() > 0:
		t.Fatalf("%s may not be paused", d.TrackID)
	case target.Layer.Spatial >= 0 && ladder.levels() > 0 && !slices.Contains(ladder.layers[:ladder.n], target.Layer):
		t.Fatalf("%v is not among %v", target, ladder.layers[:ladder.n])
	case target.Layer.Spatial >= 0 && d.Max.Spatial < 0:
		t.Fatalf("%v, although nothing is wanted", target)
	}
}

// TestMonotone: of two viewers who begin at the same moment the one with more
// bandwidth gets no less of anything.
func TestMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Input{Now: t0, Demands: drawDemands(t, true), Bitrate: int64(rapid.IntRange(0, 6000).Draw(t, "kbps")) * 1000}
		less, _ := Allocate(in)
		in.Bitrate += int64(rapid.IntRange(0, 3000).Draw(t, "more")) * 1000
		more, _ := Allocate(in)
		for i := range less {
			if better(less[i].Layer, more[i].Layer) {
				t.Fatalf("%v with more bandwidth, %v with less", more[i], less[i])
			}
		}
	})
}

// apply makes the targets what the tracks have.
func apply(in *Input, targets []Target) (changes int) {
	for i, target := range targets {
		if target.Changed {
			changes++
			in.Demands[i].Target, in.Demands[i].Since = target.Layer, in.Now
		}
	}
	return changes
}

// TestSettles: as long as nothing changes nothing is changed again, and time alone
// brings everybody to rest.
func TestSettles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := Input{Now: t0, Demands: drawDemands(t, false), Bitrate: int64(rapid.IntRange(0, 8000).Draw(t, "kbps")) * 1000}
		for range 3 + 2*len(in.Demands) {
			targets, _ := Allocate(in)
			apply(&in, targets)
			again, _ := Allocate(in)
			if n := apply(&in, again); n > 0 {
				t.Fatalf("%d changes at the second call: first %v, then %v", n, targets, again)
			}
			in.Now = in.Now.Add(3 * time.Second)
		}
		targets, x := Allocate(in)
		if n := apply(&in, targets); n > 0 {
			t.Fatalf("does not come to rest: %v\n%v", targets, x)
		}
	})
}

// TestNoiseDoesNotFlap: an estimate that wanders by less than the margin, once
// settled, changes nothing.
func TestNoiseDoesNotFlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := int64(rapid.IntRange(50, 8000).Draw(t, "kbps")) * 1000
		in := Input{Now: t0, Demands: drawDemands(t, true), Bitrate: base}
		for i := range in.Demands {
			if in.Demands[i].Kind == Audio {
				in.Demands[i].Bitrates = Bitrates{}
			}
		}
		for range 10 {
			in.Now = in.Now.Add(3 * time.Second)
			targets, _ := Allocate(in)
			apply(&in, targets)
		}
		in.Bitrate = base * 103 / 100
		for range 10 { // whoever rises at the upper end
			in.Now = in.Now.Add(3 * time.Second)
			targets, _ := Allocate(in)
			apply(&in, targets)
		}
		for i := range 10 {
			in.Now = in.Now.Add(3 * time.Second)
			in.Bitrate = base * int64(100+rapid.IntRange(0, 3).Draw(t, "noise")) / 100
			targets, x := Allocate(in)
			if n := apply(&in, targets); n > 0 {
				t.Fatalf("call %d: %v", i, x)
			}
		}
	})
}
