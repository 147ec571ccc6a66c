package bwe

import "math"

// Tuning of the rate control (draft-ietf-rmcat-gcc-02 section 6).
const (
	backOff          = 0.85 // of what is delivered, when a queue grows
	backOffQueue     = 0.35 // less of it when the queue is long, so that it drains
	queueShort       = 100_000.0
	queueLong        = 500_000.0
	queueDrained     = 40_000 // micros of queue that count as none
	drainTimeout     = 2_500_000
	decreaseInterval = 150_000
	burstRoom        = 1.05 // delivered above what is sent on average: a burst
	burstQueue       = 400_000
	burstTime        = 800_000
	burstKept        = 0.95 // of what is delivered meanwhile
	deliveredWindow  = 150_000
	growthPerSecond  = 1.08
	ackedFactor      = 1.5 // how far the estimate grows above what is used
	ackedExtra       = 10_000
	growthKnown      = 1.1   // the same where the capacity is known
	minGrowth        = 4_000 // bit/s each second, near capacity
	packetBits       = 1200 * 8
	maxGrowthStep    = 200_000 // micros that one report may count for
	silenceTimeout   = 1_000_000
)

// rateControl holds the estimate and what is known of the capacity.
type rateControl struct {
	bitrate   float64
	low, high float64 // limits

	capacity  float64 // delivered while a queue grew, 0 is unknown
	deviation float64 // of it, relative and squared

	updated   micros // when the estimate last had a chance to grow
	decreased micros // when it was last lowered, 0 is never
	draining  bool   // since then the queue has not gone
	burst     micros // when a burst began to queue, 0 is none
	grown     bool   // the last report raised the estimate
}

func (r *rateControl) init(c Config) {
	r.bitrate, r.low, r.high = float64(c.Start), float64(c.Min), float64(c.Max)
}

func (r *rateControl) set(bps float64) { r.bitrate = min(max(bps, r.low), r.high) }

// noteCapacity learns what the narrowest link carries.
func (r *rateControl) noteCapacity(bps float64) {
	if r.capacity == 0 {
		r.capacity, r.deviation = bps, 0.01
		return
	}
	off := (bps - r.capacity) / r.capacity
	if off*off > 9*r.deviation {
		r.capacity, r.deviation = bps, 0.01 // another network
		return
	}
	r.capacity += 0.1 * (bps - r.capacity)
	r.deviation = min(max(0.95*r.deviation+0.05*off*off, 0.0025), 0.04)
}

// nearCapacity reports whether the estimate is where queues have grown before.
func (r *rateControl) nearCapacity() bool {
	return r.capacity > 0 && r.bitrate > r.capacity*(1-3*math.Sqrt(r.deviation))
}

// control follows a report: it lowers the estimate when a queue grows or packets
// are lost, waits while a queue drains, and lets it grow otherwise, but only as
// far as it is used.
func (e *Estimator) control(now micros) {
	r := &e.rate
	r.grown = false
	used := e.acked.rate()
	verdict, fraction := e.loss.judge(now, max(e.rtt.Microseconds(), 0))
	switch {
	case e.trend.seen == overuse:
		e.overused(now, used)
	case verdict == lossHigh:
		e.lost(now, used, fraction)
	case r.draining:
		e.drain(now)
	case e.trend.seen == underuse || verdict == lossHold || e.probe.running():
	default:
		e.grow(now, used)
	}
	r.updated = now
}

// overused lowers the estimate below what is delivered, the more the longer the
// queue is.
func (e *Estimator) overused(now micros, used float64) {
	r := &e.rate
	if now-r.decreased < decreaseInterval {
		return
	}
	delivered := e.groups.delivered(deliveredWindow)
	if delivered == 0 {
		delivered = used
	}
	if delivered == 0 {
		delivered = r.bitrate
	}
	queue := e.waiting(delivered)
	factor := backOff - backOffQueue*min(max((queue-queueShort)/(queueLong-queueShort), 0), 1)
	r.noteCapacity(delivered)
	before := r.bitrate
	if e.burst(now, delivered, queue) {
		if r.bitrate > burstKept*delivered {
			r.set(burstKept * delivered)
			e.explain(Explanation{Reason: BurstQueued, From: before, To: r.bitrate, Delivered: delivered, Queue: duration(int64(queue))})
		}
		return
	}
	r.set(min(r.bitrate, factor*delivered))
	r.decreased, r.draining = now, true
	e.stats.Overuses++
	e.probe.congested(now)
	if r.bitrate < before {
		e.explain(Explanation{Reason: QueueGrew, From: before, To: r.bitrate, Delivered: delivered, Queue: duration(int64(queue))})
	}
}

// waiting returns how long the queue is by now, in microseconds: at least what the
// newest reported packet met, or what is under way beyond what the path holds.
func (e *Estimator) waiting(delivered float64) float64 {
	underWay := float64(e.sent.after(e.reports.end)) * 8e6 / delivered
	return max(float64(e.queue.delay()), underWay-float64(e.path.least()))
}

// burst reports whether the queue is that of a burst, such as a key frame, and
// will go by itself because less is sent than is delivered. It is given some time
// to do so.
func (e *Estimator) burst(now micros, delivered, queue float64) bool {
	r := &e.rate
	sent := e.output.rate(now)
	if sent == 0 || delivered < burstRoom*sent || queue > burstQueue {
		r.burst = 0
		return false
	}
	if r.burst == 0 || now-r.burst > 2*burstTime {
		r.burst = now
	}
	return now-r.burst < burstTime
}

// lost lowers the estimate because more packets are lost than the network loses
// anyway.
func (e *Estimator) lost(now micros, used, fraction float64) {
	r := &e.rate
	before := r.bitrate
	to := max(r.bitrate*(1-fraction/2), backOff*used)
	if fraction > lossSevere && used > 0 { // a policer: what arrives is what there is
		to = burstKept * used
		r.noteCapacity(used)
	}
	r.set(min(r.bitrate, to))
	r.decreased = now
	e.stats.LossDecreases++
	e.probe.congested(now)
	if r.bitrate < before {
		e.explain(Explanation{Reason: PacketsLost, From: before, To: r.bitrate, Delivered: used, Loss: fraction})
	}
}

// drain waits until the queue is gone, then goes back to just below capacity.
func (e *Estimator) drain(now micros) {
	r := &e.rate
	gone := e.queue.delay() < queueDrained
	if !gone && (e.trend.seen == underuse || now-r.decreased < drainTimeout) {
		return
	}
	r.draining = false
	if before, to := r.bitrate, backOff*r.capacity; gone && to > before {
		r.set(to)
		r.grown = true
		e.explain(Explanation{Reason: QueueGone, From: before, To: r.bitrate, Delivered: r.capacity})
	}
}

// grow raises the estimate, by a share while capacity is far or unknown, by a
// packet for each response time near it. What is not used does not grow: there
// is nothing to learn from it.
func (e *Estimator) grow(now micros, used float64) {
	r := &e.rate
	if sent := e.output.rate(now); sent > 0 { // half a second alone is a few pictures
		used = min(used, sent)
	}
	if used == 0 || r.updated == 0 {
		return
	}
	elapsed := float64(min(now-r.updated, maxGrowthStep)) / 1e6
	if r.capacity > 0 && used > r.capacity*(1+3*math.Sqrt(r.deviation)) {
		r.capacity = 0 // there is more than was thought
	}
	to := r.bitrate * math.Pow(growthPerSecond, elapsed)
	if r.nearCapacity() {
		response := e.rtt.Seconds() + 0.1
		to = r.bitrate + max(packetBits/response, minGrowth)*elapsed
	}
	limit := ackedFactor*used + ackedExtra
	if r.capacity > 0 { // beyond what was seen to be there only what is used counts
		limit = min(limit, max(growthKnown*used, burstKept*r.capacity))
	}
	// What arrives without a queue goes through, whatever was thought before.
	to = max(min(to, limit), burstKept*used)
	if to <= r.bitrate {
		return
	}
	before := r.bitrate
	r.set(to)
	r.grown = r.bitrate > before
	e.explain(Explanation{Reason: RoomLeft, From: before, To: r.bitrate, Delivered: used})
}

// silence halves the estimate each second while packets go out and nothing is
// heard of them.
func (e *Estimator) silence(now micros) {
	r, s := &e.rate, &e.reports
	if s.last == 0 || s.unheard == 0 || now-max(s.unheard, s.halvedAt) < silenceTimeout {
		return
	}
	s.halvedAt = now
	before := r.bitrate
	r.set(r.bitrate / 2)
	r.decreased = now
	e.probe.congested(now)
	if r.bitrate < before {
		e.explain(Explanation{Reason: NothingHeard, From: before, To: r.bitrate})
	}
}
