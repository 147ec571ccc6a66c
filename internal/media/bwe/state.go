package bwe

import "time"

// EstimatorState is what another node needs to go on with a viewer where this one
// stops: the estimate and what it rests on, not the history. Packets that are
// under way when a viewer moves are not judged.
type EstimatorState struct {
	// Bitrate is the estimate and Capacity what the narrowest link was seen to
	// carry (0 is unknown), in bits per second; Deviation is the relative
	// variance of Capacity.
	Bitrate, Capacity, Deviation float64
	// Sequence is the extended transport-wide number sent last, Started whether
	// there is one. The next packet has the number after it.
	Sequence int64
	Started  bool
	// UsualLoss is the part of packets that the network loses anyway.
	UsualLoss float64
	// Threshold is that of the delay detector, in milliseconds.
	Threshold float64
	// RTT is the smoothed time until a packet is reported on.
	RTT time.Duration
	// ProbeInterval is how long to wait after the next probe that fails, Probes
	// how many there were.
	ProbeInterval time.Duration
	Probes        uint64
}

// State returns the estimator as a value.
func (e *Estimator) State() EstimatorState {
	highest, started := e.sent.seq.Highest()
	return EstimatorState{
		Bitrate: e.rate.bitrate, Capacity: e.rate.capacity, Deviation: e.rate.deviation,
		Sequence: highest, Started: started, UsualLoss: e.loss.usual, Threshold: e.trend.threshold,
		RTT: e.rtt, ProbeInterval: duration(e.probe.interval), Probes: e.probe.id,
	}
}

// Restore makes a fresh estimator go on where the one that gave the state
// stopped. The path may be another one now: what is known is a beginning, and
// the first reports correct it.
func (e *Estimator) Restore(s EstimatorState) {
	e.rate.set(s.Bitrate)
	e.rate.capacity, e.rate.deviation = max(s.Capacity, 0), min(max(s.Deviation, 0.0025), 0.04)
	if s.Started {
		e.sent.seq.Restart(s.Sequence)
	}
	e.loss.lowest = min(max(s.UsualLoss, 0), lossUsualMax)
	e.loss.before, e.loss.usual = e.loss.lowest, e.loss.lowest
	e.trend.threshold = min(max(s.Threshold, thresholdMin), thresholdMax)
	e.rtt = max(s.RTT, 0)
	e.probe.interval = min(max(s.ProbeInterval.Microseconds(), 0), probeLast)
	e.probe.id = s.Probes
}
