package peer

import (
	"errors"
	"fmt"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/sdp"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// ErrHandOver means that a connection cannot go to another host, at least not now.
var ErrHandOver = errors.New("peer: no hand-over")

// HandOver is how a connection goes on at another host of this process, without
// the client's tracks and channels noticing.
type HandOver struct {
	// Host is where to. It has the certificate of the present one.
	Host *transport.Host
	// Again returns the last messages that were sent on the Reliable channel,
	// oldest first, of at least so many bytes together. They are sent once more,
	// because the client has not acknowledged them and SCTP does not carry them
	// over; it must know repeated messages. nil is allowed.
	Again func(bytes uint64) [][]byte
	// Done is told when the client is at the new host, or why it never will be.
	// After an error the peer can only be closed, unless it wraps
	// [transport.ErrTimeout]: then the client never came and all is as before. It
	// is called like the Handler.
	Done func(error)
}

// moving is a hand-over under way. Guarded by Peer.mu.
type moving struct {
	HandOver
	conn    *transport.Conn // prepared at the new host
	handler *transportHandler
	// active is set once descriptions are of the new host: with the client's ICE
	// restart, since an answer cannot restart by itself.
	active bool
	// offerBy is when a Subscriber's offer must go out.
	offerBy dueTime
}

// Before the new host's address is told, the client is given time to acknowledge
// reliable messages; media goes on meanwhile.
const (
	drainTime = 200 * time.Millisecond
	drainPoll = 2 * time.Millisecond
)

// HandOver prepares the move to another host. The client's next ICE restart (or
// the next RestartICE of a Subscriber) is answered with that host's address; when
// the client has nominated it, the present connection falls silent and goes on
// there at the next packet. Until then media flows as before. Errors:
// [ErrClosed], and [ErrHandOver] when one is under way already, when the client
// is not connected, or when the host has another certificate.
func (p *Peer) HandOver(h HandOver) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	conn := p.link.load()
	state := conn.State()
	switch unused := state == transport.StateNew && p.remote.Ufrag == ""; {
	case p.closed:
		return ErrClosed
	case p.moving != nil:
		return fmt.Errorf("%w: one is under way", ErrHandOver)
	case h.Host.Fingerprint() != p.host.Fingerprint():
		return fmt.Errorf("%w: the host has another certificate", ErrHandOver)
	case unused:
		return p.replace(h)
	case state != transport.StateConnected && state != transport.StateDisconnected:
		return fmt.Errorf("%w: the connection is %v", ErrHandOver, state)
	}
	m := &moving{HandOver: h, handler: &transportHandler{peer: p}}
	m.handler.become(standby)
	next, err := h.Host.Prepare(transport.Params{Handler: m.handler, Log: p.log})
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	m.conn, p.moving = next, m
	return nil
}

// replace gives a peer that no client has used yet a connection of another host.
// The caller holds mu.
func (p *Peer) replace(h HandOver) error {
	handler := &transportHandler{peer: p}
	next, err := h.Host.NewConn(p.transportParams(handler))
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	p.handler.become(former)
	_ = p.link.load().Close() // never fails
	p.link.store(next)
	p.host, p.handler = h.Host, handler
	p.events.post(func() { h.Done(nil) })
	return nil
}

// negotiated returns the connection that descriptions are about, and its host.
// The caller holds mu.
func (p *Peer) negotiated() (*transport.Conn, *transport.Host) {
	if m := p.moving; m != nil && m.active {
		return m.conn, m.Host
	}
	return p.link.load(), p.host
}

// restartICE makes the next description one with new credentials. The caller
// holds mu.
func (p *Peer) restartICE() error {
	if m := p.moving; m != nil && !m.active {
		m.active = true
		return nil
	}
	conn, _ := p.negotiated()
	return conn.RestartICE()
}

// quiesce lets the client acknowledge what it was sent before the answer to its
// ICE restart moves it; later messages wait for the new host.
func (p *Peer) quiesce(offer *sdp.Session) {
	p.mu.Lock()
	moves := p.params.Mode == Single && p.moving != nil && p.restarts(offer)
	p.mu.Unlock()
	if !moves {
		return
	}
	p.data.hold()
	for deadline := time.Now().Add(drainTime); !p.data.drained() && time.Now().Before(deadline); {
		time.Sleep(drainPoll)
	}
}

// offers reports whether it is time for the offer of a Subscriber that moves.
func (m *moving) offers(now time.Time, data *dataChannels) bool {
	if m.offerBy.at.IsZero() || !m.offerBy.passed(now) && !data.drained() {
		return false
	}
	m.offerBy.clear()
	return true
}

// switchOver moves the connection when the client has nominated the new host.
func (p *Peer) switchOver(h *transportHandler) {
	p.mu.Lock()
	m := p.moving
	if p.closed || m == nil || m.handler != h {
		p.mu.Unlock()
		return
	}
	old := p.link.load()
	started := time.Now()
	p.handler.become(former)
	p.link.suspend()
	p.data.detach(m.Again)
	err := p.carry(old, m)
	if err != nil {
		p.link.resume(nil)
		_ = m.conn.Close() // never fails
	} else {
		p.link.resume(m.conn)
		p.host, p.handler = m.Host, h
	}
	addConnStats(&p.past, old.Stats())
	p.moving = nil
	p.mu.Unlock()
	p.log.Debug("connection handed over", "took", time.Since(started), "error", err)
	m.Done(err)
	_ = old.Close() // already ended, without a close_notify
	old.Wait()
}

// carry exports the old connection and resumes it at the new host, in the form in
// which it would go to another node. The caller holds mu.
func (p *Peer) carry(old *transport.Conn, m *moving) error {
	state, err := old.Export()
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	defer state.Wipe()
	b, err := state.MarshalBinary()
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	defer clear(b)
	var carried transport.ConnState
	if err := carried.UnmarshalBinary(b); err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	defer carried.Wipe()
	m.handler.become(present)
	if err := m.conn.Resume(carried); err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	return nil
}

// abandon gives up a hand-over for which the client never came.
func (p *Peer) abandon(h *transportHandler) {
	p.mu.Lock()
	m := p.moving
	if p.closed || m == nil || m.handler != h {
		p.mu.Unlock()
		return
	}
	p.dropMoving()
	if err := p.data.release(); err != nil {
		p.log.Debug("data channel", "error", err)
	}
	p.mu.Unlock()
	m.Done(fmt.Errorf("peer: %w", m.conn.Err()))
}

// dropMoving ends a hand-over that is not to be. The caller holds mu.
func (p *Peer) dropMoving() {
	if m := p.moving; m != nil {
		p.moving = nil
		m.handler.become(former)
		_ = m.conn.Close() // never fails
	}
}
