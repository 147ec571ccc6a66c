package bwe

import (
	"time"

	"github.com/pion/rtcp"
)

// micros is an instant or a duration in microseconds. Instants of sending count
// from the estimator's epoch, instants of arrival on the viewer's clock.
type micros = int64

// Packet is one packet as it was handed to the network.
type Packet struct {
	// Seq is its transport-wide sequence number. Numbers are given in the order
	// of sending.
	Seq uint16
	// Size is in bytes, from the RTP header to the end of what is sent in one
	// datagram.
	Size int
	// At is when it was sent.
	At time.Time
	// RTX is set on retransmissions.
	RTX bool
	// Probe is set on padding that was sent for [Estimator.ProbeDeficit]. Media
	// that goes out meanwhile needs no mark.
	Probe bool
}

// Config holds the limits of an estimate, in bits per second. A field that is
// zero has its default.
type Config struct {
	// Start is the estimate before anything is known, by default 1 Mbit/s.
	Start int64
	// Min is the lowest estimate, by default 50 kbit/s.
	Min int64
	// Max is the highest estimate, by default 100 Mbit/s.
	Max int64
}

func (c Config) withDefaults() Config {
	if c.Start <= 0 {
		c.Start = 1_000_000
	}
	if c.Min <= 0 {
		c.Min = 50_000
	}
	if c.Max <= 0 {
		c.Max = 100_000_000
	}
	c.Max = max(c.Max, c.Min)
	c.Start = min(max(c.Start, c.Min), c.Max)
	return c
}

// Demand tells the estimator what more bandwidth would be good for. It probes
// only when there is something to gain.
type Demand struct {
	// Next is the estimate that would improve something for the viewer, 0 when
	// nothing would. All is the estimate with which nothing would be left to
	// wish. Both in bits per second.
	Next, All int64
	// CanProbe says that padding can be sent: there is a stream with
	// retransmissions that is not muted.
	CanProbe bool
}

// Estimator estimates the bandwidth to one viewer. Its methods are called by one
// goroutine at a time; the owner of the connection serialises them. Make one
// with [New].
type Estimator struct {
	config Config
	epoch  time.Time // instants of sending count from here
	now    micros    // of the present call
	demand Demand

	sent    history
	output  output
	reader  feedbackReader
	groups  grouper
	trend   trend
	acked   meter
	queue   baseline // one-way delay
	path    baseline // round trips
	loss    lossControl
	rate    rateControl
	probe   prober
	remb    rembInput
	rtt     time.Duration // smoothed, feedback interval included
	reports reportState
	stats   Stats
	// unreported are the bytes whose reports were lost. They most likely came
	// with what is reported next; without them the network would seem slow.
	unreported int

	why Explanation
}

// reportState is what is remembered from one feedback to the next.
type reportState struct {
	seen     bool
	last     micros // when the newest came
	unheard  micros // when the first packet after it was sent, 0 is none
	end      int64  // what comes behind the numbers reported on
	count    uint8  // its feedback packet count
	halvedAt micros // when silence last cut the estimate
}

// Stats count what the estimator has seen.
type Stats struct {
	// Sent counts packets, Acked those reported as received, Lost those reported
	// as missing and not received later.
	Sent, Acked, Lost uint64
	// Feedbacks counts reports used, FeedbacksLost gaps in their numbering,
	// Malformed those that could not be read.
	Feedbacks, FeedbacksLost, Malformed uint64
	// Unknown counts reported packets that are not in the history, Repeated those
	// that were reported before.
	Unknown, Repeated uint64
	// Overuses counts decreases because of a growing queue, LossDecreases those
	// because of losses.
	Overuses, LossDecreases uint64
	// Probes counts clusters sent, ProbesGood those that raised the estimate.
	Probes, ProbesGood uint64
}

// New returns an estimator that knows nothing yet.
func New(c Config) *Estimator {
	e := &Estimator{config: c.withDefaults()}
	e.trend.init()
	e.rate.init(e.config)
	return e
}

// SetDemand says what more bandwidth would be good for. Call it after each
// allocation.
func (e *Estimator) SetDemand(d Demand) { e.demand = d }

// Stats returns the counters.
func (e *Estimator) Stats() Stats { return e.stats }

// micros returns an instant on the estimator's time line.
func (e *Estimator) micros(at time.Time) micros {
	if e.epoch.IsZero() {
		// Not at zero, so that "never" is before everything.
		e.epoch = at.Add(-time.Minute)
	}
	e.now = at.Sub(e.epoch).Microseconds()
	return e.now
}

// Sent notes a packet that was handed to the network. It allocates once, for the
// history, at the first packet.
func (e *Estimator) Sent(p Packet) {
	at := e.micros(p.At)
	cluster := e.probe.sent(at, p.Size)
	e.sent.add(p.Seq, at, p.Size, cluster)
	e.output.add(at, p.Size, p.RTX && !p.Probe)
	if e.reports.unheard == 0 {
		e.reports.unheard = at
	}
	e.stats.Sent++
}

// Feedback takes a report of the viewer. FeedbackBytes does the same without
// making garbage. Reports may be lost, repeated or out of order.
func (e *Estimator) Feedback(fb *rtcp.TransportLayerCC, now time.Time) error {
	if err := e.reader.fromPacket(fb); err != nil {
		e.stats.Malformed++
		return err
	}
	e.report(e.micros(now))
	return nil
}

// FeedbackBytes takes a report of the viewer as one RTCP packet off the wire,
// header included. The bytes are not kept.
func (e *Estimator) FeedbackBytes(raw []byte, now time.Time) error {
	if err := e.reader.parse(raw); err != nil {
		e.stats.Malformed++
		return err
	}
	e.report(e.micros(now))
	return nil
}

// report brings what the reader holds into the books and adjusts the estimate.
func (e *Estimator) report(now micros) {
	r := &e.reader
	if e.reports.seen {
		if gap := r.count - e.reports.count - 1; gap < 128 {
			e.stats.FeedbacksLost += uint64(gap)
		}
	}
	e.reports.seen, e.reports.count = true, r.count
	e.stats.Feedbacks++
	base, ok := e.sent.place(r.base)
	if !ok {
		return
	}
	newest := micros(-1)
	e.trend.begin()
	if e.reports.end > 0 && base > e.reports.end {
		e.unreported += e.sent.assume(e.reports.end, base)
	}
	for _, a := range r.arrivals {
		newest = max(newest, e.arrived(base+int64(a.offset), r.epoch+a.at, now))
	}
	end := base + int64(r.packets)
	e.stats.Lost += e.sent.markLost(base, end, &e.loss)
	e.reports.end = max(e.reports.end, end)
	if newest < 0 {
		return
	}
	e.reports.last, e.reports.unheard = now, 0
	e.path.add(now-newest, now)
	e.noteRTT(time.Duration(now-newest) * time.Microsecond)
	e.probeResult(now)
	e.control(now)
}

// arrived notes that a packet has reached the viewer and returns when it was
// sent, -1 when that says nothing new.
func (e *Estimator) arrived(seq int64, arrival, now micros) micros {
	p := e.sent.get(seq)
	switch {
	case p == nil:
		e.stats.Unknown++
		return -1
	case p.flags&flagAcked != 0:
		e.stats.Repeated++
		return -1
	}
	if p.flags&flagLost != 0 {
		e.stats.Lost--
		e.loss.found()
	}
	p.flags = p.flags&^flagLost | flagAcked
	e.stats.Acked++
	e.loss.acked()
	at, size := p.sentAt(now), e.unreported
	if p.flags&flagAssumed == 0 {
		size += int(p.size)
	}
	e.unreported = 0
	e.acked.add(arrival, size)
	e.probe.acked(p, at, arrival)
	switch e.groups.add(at, arrival, size) {
	case groupRestarted:
		e.queue.reset()
		e.trend.reset()
	case groupComplete:
		e.groupComplete(now)
	case groupOpen:
	}
	return at
}

// groupComplete compares the newest complete burst with the one before.
func (e *Estimator) groupComplete(now micros) {
	g, before := e.groups.newest()
	e.queue.add(g.delay(), now)
	if e.probe.covers(g.sendFirst) {
		// The queue that a probe makes is no sign of what media does.
		e.probe.queued(e.queue.delay())
		e.trend.reset()
		return
	}
	if before.bytes > 0 {
		e.trend.update(g, before)
	}
}

// noteRTT smooths the time from sending to hearing about it.
func (e *Estimator) noteRTT(rtt time.Duration) {
	if rtt < 0 {
		return
	}
	if e.rtt == 0 {
		e.rtt = rtt
		return
	}
	e.rtt += (rtt - e.rtt) / 8
}
