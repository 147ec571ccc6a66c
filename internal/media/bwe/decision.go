package bwe

import (
	"fmt"
	"time"
)

// State is the condition of the network to one viewer.
type State uint8

// The states.
const (
	// Stable: the estimate holds.
	Stable State = iota
	// Growing: the estimate has just been raised, or a probe is under way.
	Growing
	// Congested: a queue is there or packets are lost, and less should be sent.
	Congested
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Growing:
		return "growing"
	case Congested:
		return "congested"
	case Stable:
		return "stable"
	}
	return "unknown"
}

// Estimate is what is known of the network to one viewer.
type Estimate struct {
	// Bitrate is in bits per second, over everything that is sent.
	Bitrate int64
	// State says where it goes.
	State State
	// Delivered is the rate at which packets arrived during the last half second,
	// in bits per second.
	Delivered int64
	// Resent is the part, 0 to 1, of what was sent lately that had been sent
	// before, without probes.
	Resent float64
	// Loss is the part of packets, 0 to 1, that does not arrive, before
	// retransmission.
	Loss float64
	// Queue is how long packets wait in the network.
	Queue time.Duration
	// RTT is the time until a packet is reported on, the receiver's interval of
	// reports included.
	RTT time.Duration
}

// Media returns what of the estimate is left for media that is sent the first
// time, in bits per second.
func (e Estimate) Media() int64 {
	return int64(float64(e.Bitrate) * (1 - min(e.Resent, 0.5)))
}

// Decision is what [Estimator.Tick] returns.
type Decision struct {
	Estimate
	// Probe is the cluster to be sent now; the zero value is none. While it is
	// set send what [Estimator.ProbeDeficit] asks for.
	Probe Probe
	// Why tells the last change, or why a probe did not change anything.
	Why Explanation
}

// Reason is what changed an estimate.
type Reason uint8

// The reasons.
const (
	// Unchanged: nothing has changed yet.
	Unchanged Reason = iota
	// QueueGrew: packets waited longer and longer.
	QueueGrew
	// BurstQueued: a burst waits, but less is sent than is delivered.
	BurstQueued
	// PacketsLost: more was lost than usual.
	PacketsLost
	// NothingHeard: reports stopped while packets went out.
	NothingHeard
	// QueueGone: after congestion the queue has drained.
	QueueGone
	// RoomLeft: what was sent arrived without a queue.
	RoomLeft
	// ProbeGood: a probe arrived as fast as it was sent.
	ProbeGood
	// ProbeFull: a probe arrived slower than it was sent.
	ProbeFull
	// ProbeShort: too little was sent or reported to tell.
	ProbeShort
	// ProbeUnheard: a probe was not reported on.
	ProbeUnheard
	// ViewerEstimate: the viewer's own estimate (REMB) changed.
	ViewerEstimate
)

// Explanation tells why the estimate is what it is. Rates are in bits per second.
type Explanation struct {
	Reason   Reason
	From, To float64
	// Delivered is the rate at which packets arrived, Goal that of a probe.
	Delivered, Goal float64
	Queue           time.Duration
	Loss            float64
	// At is when.
	At time.Time
}

// String tells it in a sentence.
func (x Explanation) String() string {
	change := fmt.Sprintf("%s → %s", kbps(x.From), kbps(x.To))
	switch x.Reason {
	case QueueGrew:
		return fmt.Sprintf("%s: a queue grew to %d ms while %s arrived", change, x.Queue.Milliseconds(), kbps(x.Delivered))
	case BurstQueued:
		return fmt.Sprintf("%s: a burst waits %d ms while %s arrive", change, x.Queue.Milliseconds(), kbps(x.Delivered))
	case PacketsLost:
		return fmt.Sprintf("%s: %.0f %% of packets lost", change, 100*x.Loss)
	case NothingHeard:
		return change + ": packets go out, no report comes back"
	case QueueGone:
		return fmt.Sprintf("%s: the queue has drained, %s had been delivered", change, kbps(x.Delivered))
	case RoomLeft:
		return fmt.Sprintf("%s: %s arrive without a queue", change, kbps(x.Delivered))
	case ProbeGood:
		return fmt.Sprintf("%s: a probe of %s arrived", change, kbps(x.Goal))
	case ProbeFull:
		return fmt.Sprintf("%s: of a probe of %s only %s came through", change, kbps(x.Goal), kbps(x.Delivered))
	case ProbeShort:
		return fmt.Sprintf("%s: a probe of %s could not be sent in full", change, kbps(x.Goal))
	case ProbeUnheard:
		return change + ": a probe was not reported on"
	case ViewerEstimate:
		return change + ": the viewer's own estimate"
	case Unchanged:
	}
	return "nothing has changed yet"
}

func kbps(bps float64) string { return fmt.Sprintf("%.0f kbps", bps/1000) }

func duration(us micros) time.Duration { return time.Duration(us) * time.Microsecond }

func (e *Estimator) explain(x Explanation) {
	e.why = x
	e.why.At = e.epoch.Add(duration(e.now))
}

// Tick returns the present decision. Call it every 20 to 100 ms, and every few
// milliseconds while a probe is under way; it is what begins and ends probes and
// notices silence.
func (e *Estimator) Tick(now time.Time) Decision {
	at := e.micros(now)
	e.silence(at)
	e.probeDue(at)
	d := Decision{
		Estimate: Estimate{
			Bitrate: int64(e.rate.bitrate), State: e.state(at),
			Delivered: int64(e.acked.rate()), Resent: e.output.resent(),
			Loss: e.loss.smoothed, Queue: duration(e.queue.delay()), RTT: e.rtt,
		},
		Why: e.why,
	}
	if e.probe.phase == probeSending {
		d.Probe = Probe{ID: e.probe.id, Bitrate: int64(e.probe.goal), Until: e.epoch.Add(duration(e.probe.end))}
	}
	return d
}

// congestedFor is how long after a decrease the state stays congested at least.
const congestedFor micros = 300_000

func (e *Estimator) state(now micros) State {
	r := &e.rate
	switch {
	case r.draining, r.decreased > 0 && now-r.decreased < congestedFor, e.reports.halvedAt > e.reports.last:
		return Congested
	case r.grown, e.probe.phase == probeSending:
		return Growing
	}
	return Stable
}
