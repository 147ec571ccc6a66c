package bwe

import "time"

// rembFresh is how long after transport-wide feedback the viewer's own estimate
// is not looked at.
const rembFresh micros = 3_000_000

// rembFall is the fall of the viewer's estimate that is congestion.
const rembFall = 0.95

// rembInput is the viewer's own estimate.
type rembInput struct {
	bitrate float64 // 0 is none
	at      micros
}

// REMB takes the viewer's own estimate in bits per second
// (draft-alvestrand-rmcat-remb-03). It counts only where no transport-wide
// feedback comes, because it is slower and knows less.
func (e *Estimator) REMB(bps uint64, now time.Time) {
	at := e.micros(now)
	e.remb = rembInput{bitrate: float64(bps), at: at}
	if !e.rembOnly(at) || bps == 0 {
		return
	}
	r := &e.rate
	before := r.bitrate
	r.set(e.remb.bitrate)
	r.grown = r.bitrate > before
	if r.bitrate < rembFall*before {
		r.decreased = at
		e.probe.congested(at)
	}
	if e.probe.phase == probeWaiting {
		e.rembProbed(at)
	}
	if r.bitrate != before {
		e.why = Explanation{Reason: ViewerEstimate, From: before, To: r.bitrate, At: now}
	}
}

// rembOnly reports whether the viewer's own estimate is all there is.
func (e *Estimator) rembOnly(now micros) bool {
	return e.remb.bitrate > 0 && (e.reports.last == 0 || now-e.reports.last > rembFresh)
}

// rembProbed ends a probe with the first estimate after it.
func (e *Estimator) rembProbed(now micros) {
	p := &e.probe
	p.phase = probeIdle
	if e.rate.bitrate < 0.9*p.goal {
		p.interval = min(max(2*p.interval, probeFirst), probeLast)
		p.next = now + p.interval
		return
	}
	p.interval, p.next = probeFirst, now+probeAgain
}
