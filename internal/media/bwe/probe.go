package bwe

import "time"

// Tuning of probes.
const (
	probeDuration   micros = 120_000
	probeREMB       micros = 600_000 // the receiver's own estimate is slower
	probePackets           = 5       // fewer say nothing
	probeMinBytes          = 4 * 1200
	probeFactor            = 2.0 // how far above the estimate
	probeFactorKnow        = 1.5 // after one has failed
	probeStretch           = 4.0 // how far when the next improvement needs it
	probeBeyond            = 1.1 // above what is wanted
	probeFull              = 0.8 // of a cluster's rate must have been sent
	probeKept              = 0.9 // of the rate sent must arrive, or the link is full
	probeShare             = 0.9 // of what arrives over a full link is ours to use
	probeQueue      micros = 80_000
	probeTimeout    micros = 1_000_000
	probeFirst      micros = 1_000_000
	probeLast       micros = 5_000_000
	probeAgain      micros = 150_000   // after one that was good
	probeAfter      micros = 1_500_000 // after congestion
	probeShadow     micros = 500_000   // for that long the queue may be the probe's
)

type probePhase uint8

const (
	probeIdle    probePhase = iota
	probeSending            // padding is wanted
	probeWaiting            // for the reports
)

// Probe is a cluster of packets under way. The zero value is none.
type Probe struct {
	// ID numbers clusters from 1.
	ID uint64
	// Bitrate is the rate, media included, that is to be reached until Until.
	Bitrate int64
	Until   time.Time
}

// prober sends clusters and reads from their arrival what the link carries.
type prober struct {
	phase    probePhase
	id       uint64
	failed   bool // the last one found the link full
	goal     float64
	start    micros
	end      micros
	interval micros
	next     micros // not before

	packets, bytes int    // sent
	shadow         micros // what was sent before then may have waited behind it
	queueBefore    micros
	highestQueue   micros

	arrived, arrivedBytes  int
	sentFrom, sentTo       micros // of what arrived
	arrivedFrom, arrivedTo micros
	sizeFirst, sizeLast    int  // of the first to arrive, of the last to be sent
	passed                 bool // something sent after it has been reported
}

// cluster is the mark of the present cluster in the history.
func (p *prober) cluster() uint8 { return uint8(p.id%255) + 1 } //nolint:gosec // below 256

// sent counts a packet for the cluster under way and returns its mark.
func (p *prober) sent(at micros, size int) uint8 {
	if p.phase != probeSending || at >= p.end {
		return 0
	}
	p.packets++
	p.bytes += size
	return p.cluster()
}

// acked notes the arrival of a packet.
func (p *prober) acked(s *sentPacket, at, arrival micros) {
	if p.phase == probeIdle {
		return
	}
	if s.cluster != p.cluster() {
		p.passed = p.passed || p.phase == probeWaiting && at >= p.end
		return
	}
	size := int(s.size)
	if p.arrived == 0 || arrival < p.arrivedFrom {
		p.arrivedFrom, p.sizeFirst = arrival, size
	}
	if p.arrived == 0 || at >= p.sentTo {
		p.sentTo, p.sizeLast = at, size
	}
	if p.arrived == 0 || at < p.sentFrom {
		p.sentFrom = at
	}
	p.arrivedTo = max(p.arrivedTo, arrival)
	if p.arrived == 0 {
		p.arrivedTo = arrival
	}
	p.arrived++
	p.arrivedBytes += size
}

// covers reports whether a packet sent then is part of a probe, or waited behind
// one.
func (p *prober) covers(at micros) bool {
	if p.phase == probeSending {
		return at >= p.start
	}
	return at >= p.start && at < p.shadow
}

// queued notes the queue that the probe makes; when it is long the link has
// answered.
func (p *prober) queued(queue micros) {
	p.highestQueue = max(p.highestQueue, queue)
}

func (p *prober) running() bool { return p.phase != probeIdle }

// congested puts the next probe off and ends the present one.
func (p *prober) congested(now micros) {
	p.phase, p.interval = probeIdle, probeFirst
	p.next = max(p.next, now+probeAfter)
	p.shadow = min(p.shadow, now)
}

// begin starts a cluster.
func (p *prober) begin(now micros, goal float64, duration, queue micros) {
	if bytes := goal / 8 * float64(duration) / 1e6; bytes < probeMinBytes {
		duration = micros(probeMinBytes * 8e6 / goal)
	}
	*p = prober{
		phase: probeSending, id: p.id + 1, goal: goal, start: now, end: now + duration,
		interval: p.interval, failed: p.failed, queueBefore: queue, shadow: now + duration,
	}
}

// rates returns the bit rates at which the cluster was sent and at which it
// arrived; ok is false when too little of it is known.
func (p *prober) rates() (sent, arrived float64, ok bool) {
	sendSpan, arrivalSpan := p.sentTo-p.sentFrom, p.arrivedTo-p.arrivedFrom
	if p.arrived < probePackets || sendSpan <= 0 || arrivalSpan <= 0 || p.arrivedBytes*10 < p.bytes*7 {
		return 0, 0, false
	}
	sent = float64(p.arrivedBytes-p.sizeLast) * 8e6 / float64(sendSpan)
	arrived = float64(p.arrivedBytes-p.sizeFirst) * 8e6 / float64(arrivalSpan)
	return sent, arrived, true
}

// ProbeDeficit returns how many bytes of padding to send now, so that the cluster
// under way keeps its rate; 0 when there is none or media alone is fast enough.
// Ask every few milliseconds while [Decision].Probe is set.
func (e *Estimator) ProbeDeficit(now time.Time) int {
	p, at := &e.probe, e.micros(now)
	if p.phase != probeSending || at >= p.end {
		return 0
	}
	due := p.goal / 8e6 * float64(at-p.start)
	return max(int(due)-p.bytes, 0)
}

// probeDue begins a cluster when there is something to gain and nothing against.
func (e *Estimator) probeDue(now micros) {
	p, r := &e.probe, &e.rate
	if p.phase == probeSending {
		full := p.highestQueue-p.queueBefore > probeQueue
		if now < p.end && !full {
			return
		}
		p.end = min(p.end, now)
		p.phase, p.shadow = probeWaiting, now+probeShadow
		e.stats.Probes++
	}
	if p.phase == probeWaiting && now > p.end+probeTimeout {
		e.probeFailed(now, Explanation{Reason: ProbeUnheard, From: r.bitrate, To: r.bitrate})
	}
	if p.phase != probeIdle || now < p.next || !e.demand.CanProbe || r.draining || e.trend.state != normal {
		return
	}
	wanted := float64(e.demand.All)
	fresh := e.reports.last > 0 && now-e.reports.last < probeTimeout
	duration := probeDuration
	if e.rembOnly(now) {
		fresh, duration = true, probeREMB
	}
	if !fresh || wanted <= r.bitrate || e.loss.verdict == lossHigh {
		return
	}
	factor := probeFactor
	if p.failed {
		factor = probeFactorKnow
	}
	goal := max(factor*r.bitrate, min(probeBeyond*float64(e.demand.Next), probeStretch*r.bitrate))
	goal = min(goal, probeBeyond*wanted, probeBeyond*r.high)
	p.begin(now, goal, duration, e.queue.delay())
}

// probeResult reads the cluster once all of it, or something after it, has been
// reported.
func (e *Estimator) probeResult(now micros) {
	p, r := &e.probe, &e.rate
	if p.phase != probeWaiting || p.arrived < p.packets && !p.passed {
		return
	}
	sent, arrived, ok := p.rates()
	x := Explanation{From: r.bitrate, To: r.bitrate, Goal: p.goal, Delivered: arrived}
	switch {
	case !ok || sent < probeFull*p.goal && arrived > probeKept*sent:
		// Not sent as wanted: it tells only that this much goes through.
		x.Reason = ProbeShort
		e.probeRaise(min(sent, arrived), ok)
		x.To = r.bitrate
		e.probeFailed(now, x)
	case arrived < probeKept*min(sent, p.goal):
		x.Reason = ProbeFull
		p.failed = true
		r.noteCapacity(arrived)
		e.probeRaise(probeShare*arrived, true)
		x.To = r.bitrate
		e.probeFailed(now, x)
	default:
		x.Reason = ProbeGood
		e.probeRaise(min(sent, arrived), true)
		x.To = r.bitrate
		if r.capacity < arrived {
			r.capacity = 0
		}
		p.failed = false
		p.phase, p.interval, p.next = probeIdle, probeFirst, now+probeAgain
		p.shadow = min(p.shadow, now)
		e.explain(x)
	}
}

// probeRaise raises the estimate to what a probe has shown.
func (e *Estimator) probeRaise(bps float64, ok bool) {
	if r := &e.rate; ok && bps > r.bitrate {
		r.set(bps)
		r.grown = true
		e.stats.ProbesGood++
	}
}

// probeFailed waits longer before the next.
func (e *Estimator) probeFailed(now micros, x Explanation) {
	p := &e.probe
	p.phase = probeIdle
	p.interval = min(max(2*p.interval, probeFirst), probeLast)
	p.next = now + p.interval
	e.explain(x)
}
