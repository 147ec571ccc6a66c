package allocator

import (
	"fmt"
	"strings"
)

// Reason is what decided about a track.
type Reason uint8

// The reasons.
const (
	// Kept: nothing calls for a change.
	Kept Reason = iota
	// AudioFirst: audio is always sent.
	AudioFirst
	// NothingSent: the publisher sends nothing, or nothing has been measured yet.
	NothingSent
	// Lowest: the track may not be paused, so its lowest layer is sent.
	Lowest
	// Fits: there is room for more.
	Fits
	// Resumed: there is room for the track again.
	Resumed
	// NoRoom: more does not fit, with the margin that raising needs.
	NoRoom
	// DoesNotFit: what the track had does not fit any more.
	DoesNotFit
	// GivenAway: something more important took the place.
	GivenAway
	// NotWanted: the viewer wants to see less.
	NotWanted
	// TooSoon: the target changed a short while ago.
	TooSoon
	// NetworkCongested: nothing is raised while a queue drains.
	NetworkCongested
)

// String returns the reason in words.
func (r Reason) String() string {
	switch r {
	case Kept:
		return "nothing calls for a change"
	case AudioFirst:
		return "audio is always sent"
	case NothingSent:
		return "the publisher sends nothing"
	case Lowest:
		return "it may not be paused"
	case Fits:
		return "there is room"
	case Resumed:
		return "there is room again"
	case NoRoom:
		return "more does not fit"
	case DoesNotFit:
		return "it does not fit any more"
	case GivenAway:
		return "something more important needs the room"
	case NotWanted:
		return "the viewer wants less"
	case TooSoon:
		return "it changed a short while ago"
	case NetworkCongested:
		return "the network is congested"
	}
	return "unknown"
}

// String returns the layer as "s1t2", or "paused".
func (l Layer) String() string {
	if l.Spatial < 0 {
		return "paused"
	}
	return fmt.Sprintf("s%dt%d", l.Spatial, l.Temporal)
}

// Explanation tells what an allocation rests on. Rates are in bits per second.
type Explanation struct {
	// Bitrate was there to divide; Audio and Video is what the targets take.
	Bitrate, Audio, Video int64
	// Next is the bitrate with which something more could be sent, 0 when
	// everything is; All is what everything takes. They are what to tell the
	// bandwidth estimator.
	Next, All int64
	// Changes are what is different from before.
	Changes []Change
	// Deficient counts tracks that get less than the viewer wants.
	Deficient int
}

// Change is one target that is different from before.
type Change struct {
	TrackID  string
	From, To Layer
	New      bool
	Why      Reason
}

// String tells a change in a line.
func (c Change) String() string {
	if c.New {
		return fmt.Sprintf("%s: new, %v: %v", c.TrackID, c.To, c.Why)
	}
	return fmt.Sprintf("%s: %v → %v: %v", c.TrackID, c.From, c.To, c.Why)
}

// String tells an allocation in a few lines, one for each change.
func (x Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d kbps used, %d for audio", (x.Audio+x.Video)/1000, x.Bitrate/1000, x.Audio/1000)
	if x.Deficient > 0 {
		fmt.Fprintf(&b, "; %d tracks below what is wanted, the next step needs %d kbps, all %d", x.Deficient, x.Next/1000, x.All/1000)
	}
	for _, c := range x.Changes {
		b.WriteString("\n" + c.String())
	}
	return b.String()
}

// explain sums the plan up.
func (p *plan) explain(targets []Target) Explanation {
	x := Explanation{Bitrate: p.in.Bitrate, Audio: p.audio, Video: p.used, All: p.audio}
	for i := range targets {
		t := &p.tracks[i]
		if targets[i].Changed {
			x.Changes = append(x.Changes, Change{
				TrackID: t.demand.TrackID, From: t.demand.Target, To: targets[i].Layer,
				New: t.demand.Since.IsZero(), Why: targets[i].Why,
			})
		}
		if t.fixed {
			continue
		}
		x.All += t.ladder.cost(t.ladder.levels())
		if t.held < t.ladder.levels() {
			x.Deficient++
		}
	}
	x.Next = p.next()
	if x.Deficient > 0 {
		x.All = int64(float64(x.All)/(1-p.policy.RaiseMargin)) + 1
	}
	return x
}

// next returns the bitrate that the first step needs which nobody has.
func (p *plan) next() int64 {
	total := int64(0)
	for _, s := range p.steps {
		t := &p.tracks[s.track]
		total += s.cost
		if t.held < s.level {
			return int64(float64(total)/(1-p.margin(t, s))) + p.audio + 1
		}
	}
	return 0
}
