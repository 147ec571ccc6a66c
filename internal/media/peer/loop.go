package peer

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// loopInterval is the resolution of all periodic work.
const loopInterval = 20 * time.Millisecond

// Loop does the periodic work of peers on one goroutine: reports, requests for
// retransmission and key frames, transport-wide feedback, negotiation timers.
// One serves a process.
type Loop struct {
	mu    sync.Mutex // serialises changes of peers
	peers atomic.Pointer[map[*Peer]struct{}]
	stop  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup
	// busy is how long the last round took.
	busy atomic.Int64
}

// NewLoop starts a loop.
func NewLoop() *Loop {
	l := &Loop{stop: make(chan struct{})}
	l.peers.Store(&map[*Peer]struct{}{})
	l.wg.Go(l.run)
	return l
}

// Close stops the loop and waits for it. Peers that are still open get no
// reports any more. It is idempotent.
func (l *Loop) Close() {
	l.once.Do(func() { close(l.stop) })
	l.wg.Wait()
}

// Busy returns how long the last round over all peers took. Rounds begin every
// 20 ms; when they take longer than that, one loop is not enough.
func (l *Loop) Busy() time.Duration { return time.Duration(l.busy.Load()) }

func (l *Loop) run() {
	t := time.NewTicker(loopInterval)
	defer t.Stop()
	for {
		select {
		case <-l.stop:
			return
		case now := <-t.C:
			for p := range *l.peers.Load() {
				p.tick(now)
			}
			l.busy.Store(int64(time.Since(now)))
		}
	}
}

func (l *Loop) add(p *Peer)    { l.change(func(m map[*Peer]struct{}) { m[p] = struct{}{} }) }
func (l *Loop) remove(p *Peer) { l.change(func(m map[*Peer]struct{}) { delete(m, p) }) }

// change replaces the set, so that a round never waits for one.
func (l *Loop) change(f func(map[*Peer]struct{})) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := *l.peers.Load()
	next := make(map[*Peer]struct{}, len(old)+1)
	for p := range old {
		next[p] = struct{}{}
	}
	f(next)
	l.peers.Store(&next)
}

// dueTime is a time that may be set.
type dueTime struct{ at time.Time }

func (d *dueTime) set(in time.Duration) { d.at = time.Now().Add(in) }
func (d *dueTime) clear()               { d.at = time.Time{} }

func (d *dueTime) setIfUnset(in time.Duration) {
	if d.at.IsZero() {
		d.set(in)
	}
}

// passed reports whether the time was set and has come.
func (d *dueTime) passed(now time.Time) bool { return !d.at.IsZero() && !now.Before(d.at) }

// tick does what is due. It is called by the loop only.
func (p *Peer) tick(now time.Time) {
	routes := p.routes.Load()
	pkts := p.feedback.due(now, p.senderSSRC)
	for _, u := range routes.uplinks {
		if u.receiver != nil {
			pkts = append(pkts, u.receiver.Tick(now)...)
		}
	}
	for _, d := range routes.downs {
		if sr := d.due(now); sr != nil {
			pkts = append(pkts, sr)
		}
		if p.params.Quirks.Go && !d.reports.primed && now.Sub(d.reports.bound) > primeAfter && p.State() == transport.StateConnected {
			d.reports.primed = true
			d.track.Prime()
		}
	}
	if len(pkts) > 0 {
		p.sendRTCP(pkts)
	}
	p.tickRTT(now, routes)
	p.tickNegotiation(now)
}

// primeAfter is how long after its negotiation a silent down track is primed: the
// answer, which tells the client its SSRC, must have arrived.
const primeAfter = 400 * time.Millisecond

// due returns the down track's sender report when it is time for one.
func (d *downRoute) due(now time.Time) *rtcp.SenderReport {
	s := d.reports
	if now.Before(s.next) {
		return nil
	}
	sr := d.track.SenderReport(now)
	switch {
	case sr == nil:
		s.next = now.Add(reportRetry)
		return nil
	case s.sent < firstReports:
		s.next = now.Add(reportEveryFirst)
	default:
		s.next = now.Add(reportEvery)
	}
	s.sent++
	return sr
}

// tickRTT tells the receivers the round-trip time, which paces their requests.
func (p *Peer) tickRTT(now time.Time, routes *routes) {
	if len(routes.uplinks) == 0 || now.Sub(p.rttAt) < time.Second {
		return
	}
	p.rttAt = now
	if rtt, ok := p.link.load().RTT(); ok {
		for _, u := range routes.uplinks {
			if u.receiver != nil {
				u.receiver.SetRTT(rtt)
			}
		}
	}
}

// tickNegotiation runs the timers of negotiation. The work itself is done on the
// event goroutine; a peer that is negotiating right now is left for the next
// round.
func (p *Peer) tickNegotiation(now time.Time) {
	if !p.mu.TryLock() {
		return
	}
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	later := func(f func()) {
		p.events.post(func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if !p.closed {
				f()
			}
		})
	}
	switch p.params.Mode {
	case Subscriber:
		if m := p.moving; m != nil && m.offers(now, &p.data) {
			later(p.makeOffer)
		}
		if p.offering.due.passed(now) {
			p.offering.due.clear()
			later(p.makeOffer)
		}
		if p.offering.deadline.passed(now) {
			p.negotiationTimeout()
		}
	case Single:
		if p.asking.due.passed(now) {
			p.asking.due.clear()
			later(p.askSections)
		}
		if p.asking.waiting && p.asking.since.passed(now) {
			p.log.Debug("client adds no media sections, asking again")
			p.asking = asking{}
			later(p.askSections)
		}
	}
}
