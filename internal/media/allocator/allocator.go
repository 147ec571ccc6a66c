// Package allocator divides the bandwidth to one viewer over the tracks that the
// viewer watches.
//
// It owns the rules: what goes before what, when a track may be raised, when it
// is lowered or paused, and why. It does not own the estimate that is divided
// (bwe), how a target becomes packets (layer, sfu), nor what a viewer asks for
// (room). All memory is in the input, so that the same input gives the same
// targets, live, in a test and when asked "why?".
//
// The package is pure: no clock, no I/O, no locks, no goroutines.
//
// Start reading at [Allocate]; chain.go has the order in which bandwidth is given
// out.
package allocator

import "time"

// MaxSpatial and MaxTemporal are the numbers of layers a track can have.
const (
	MaxSpatial  = 3
	MaxTemporal = 4
)

// Paused is the spatial layer of a target of which nothing is sent.
const Paused int8 = -1

// Kind is the kind of media of a track.
type Kind uint8

// The kinds of media.
const (
	Audio Kind = iota + 1
	Video
)

// Layer names a spatial layer, from 0, and a temporal layer in it. Its spatial
// layer is Paused when nothing is sent.
type Layer struct{ Spatial, Temporal int8 }

// Bitrates are what it takes to receive a spatial layer up to a temporal layer,
// in bits per second, everything below it included, as measured; 0 says that the
// layer is not being received.
type Bitrates [MaxSpatial][MaxTemporal]int64

// followTime is how long Follow takes for most of a change.
const followTime = 3 * time.Second

// Follow returns what to expect of each layer after a new measurement, which was
// taken that long after b was: single key frames and quiet seconds move it little,
// so that they do not move targets. Layers that appear or vanish do so at once.
func (b Bitrates) Follow(measured Bitrates, elapsed time.Duration) Bitrates {
	part := min(max(float64(elapsed)/float64(followTime), 0), 1)
	for s := range measured {
		if b[s][0] == 0 || measured[s][0] == 0 {
			continue
		}
		for t, now := range measured[s] {
			if before := b[s][t]; before > 0 && now > 0 {
				measured[s][t] = before + int64(part*float64(now-before))
			}
		}
	}
	return measured
}

// Demand is one track that the viewer watches.
type Demand struct {
	// TrackID names the track; it is unique in an input.
	TrackID string
	Kind    Kind
	// Priority puts a track before others of its class: higher goes first.
	Priority uint8
	// ScreenShare puts a video track before all others.
	ScreenShare bool
	// Muted says that nothing is sent by the publisher. The target is kept and
	// costs nothing.
	Muted bool
	// MayPause says that the track may be paused when not even its lowest layer
	// fits.
	MayPause bool
	// Max is what the viewer's application wants to see at most.
	Max Layer
	// Bitrates are the costs. For audio the first one counts.
	Bitrates Bitrates
	// Target is what Allocate gave the track last, and Since when it last changed;
	// Since is zero for a track that is new.
	Target Layer
	Since  time.Time
	// Current is the layer that goes out at present: after a change the old one
	// goes on until a key frame of the new one.
	Current Layer
}

// Policy tunes when targets are raised. A field that is zero has its default.
type Policy struct {
	// RaiseMargin and ResumeMargin are how much of the estimate, 0 to 1, must be
	// left over after a track has been raised or resumed; by default 0.05 and 0.1.
	RaiseMargin, ResumeMargin float64
	// RaiseAfter and ResumeAfter are how long a target must have been kept before
	// the track is raised or resumed; by default 1 s and 2 s.
	RaiseAfter, ResumeAfter time.Duration
}

func (p Policy) withDefaults() Policy {
	if p.RaiseMargin <= 0 {
		p.RaiseMargin = 0.05
	}
	if p.ResumeMargin <= 0 {
		p.ResumeMargin = 0.1
	}
	if p.RaiseAfter <= 0 {
		p.RaiseAfter = time.Second
	}
	if p.ResumeAfter <= 0 {
		p.ResumeAfter = 2 * time.Second
	}
	return p
}

// Input is everything that an allocation depends on.
type Input struct {
	Now time.Time
	// Bitrate is what may be sent, in bits per second.
	Bitrate int64
	// Congested says that the network has a queue: nothing is raised or resumed.
	Congested bool
	Demands   []Demand
	Policy    Policy
}

// Target is what a track is given.
type Target struct {
	TrackID string
	// Layer is what to send; its spatial layer is Paused for nothing.
	Layer Layer
	// Limit is what to send while the viewer is still on a higher spatial layer
	// and waits for a key frame of this one: the old layer then goes on with fewer
	// frames. It is Layer otherwise.
	Limit Layer
	// Drop says that the old layer does not even fit with fewer frames: stop it
	// now. What waits in the network is shown meanwhile.
	Drop bool
	// Changed says that Layer differs from the demand's target: set Target to it
	// and Since to now for the next allocation.
	Changed bool
	// Why tells what decided.
	Why Reason
}

// Allocate divides the bandwidth. Audio comes first and is never paused; then
// each video track, screen shares first, then by priority, gets its lowest layer
// before any gets more; what is left raises them in the same order. Targets are
// lowered at once when they no longer fit, the least important first, and raised
// only with a margin and after a while. The targets are in the order of the
// demands.
//
// The sum stays within the bitrate, except for audio and the lowest layers of
// tracks that may not be paused.
func Allocate(in Input) ([]Target, Explanation) {
	p := newPlan(in)
	p.keep()
	p.lower()
	p.raise()
	return p.result()
}
