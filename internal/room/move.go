package room

import (
	"errors"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/transport"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// A move by hand-over: the client is told to resume, its ICE restart is answered
// with the address of the other host and the same fingerprint, and when it has
// nominated that, its connections go on there at the next packet (package peer,
// HandOver). Sid, publications and subscriptions stay, and nobody else notices.

// handOverTimeout bounds a move from the word to the client until its media has
// come over. A client that takes longer reconnects.
const handOverTimeout = 5 * time.Second

var (
	errMoveTimeout   = errors.New("the client did not come in time")
	errMoveUnfit     = errors.New("the client cannot be handed over")
	errMoveUncertain = errors.New("the client's media is not up")
)

// handOver is a participant's way to another host. Actor owned.
type handOver struct {
	started  time.Time
	deadline time.Time
	host     *transport.Host
	missing  int // connections that are not there yet
}

// migrate moves p between this process's hosts, as a drain moves it to another
// node. Actor.
func (r *Room) migrate(p *Participant) {
	if p.move != nil {
		return
	}
	if err := p.mayMove(); err != nil {
		r.giveUpMove(p, err)
		return
	}
	now := time.Now()
	p.move = &handOver{started: now, deadline: now.Add(handOverTimeout)}
	r.wg.Go(func() {
		spare, err := r.deps.SpareHost()
		r.mail.post(func() { r.beginMove(p, spare, err) })
	})
}

// mayMove tells why p has to reconnect instead. Pion clients lose their data
// channels in a hand-over: their SCTP refuses the restart of its peer.
func (p *Participant) mayMove() error {
	switch {
	case p.room.deps.SpareHost == nil, p.quirks().Go, !p.supportsLeaveAction():
		return errMoveUnfit
	case p.state != livekit.ParticipantInfo_ACTIVE, !p.mediaLost().IsZero():
		return errMoveUncertain
	}
	return nil
}

// beginMove prepares p's connections at the host where it is not, and tells the
// client to resume. Actor.
func (r *Room) beginMove(p *Participant, spare *transport.Host, err error) {
	if p.left || p.move == nil {
		return
	}
	m := p.move
	if m.host = spare; p.host == spare {
		m.host = r.deps.Host
	}
	if err == nil {
		err = r.handOver(p, p.up)
	}
	if err == nil && !p.single {
		err = r.handOver(p, p.down)
	}
	if err != nil {
		r.giveUpMove(p, err)
		return
	}
	p.log.Info("participant is moving")
	p.send(reply.Leave(livekit.DisconnectReason_MIGRATION, livekit.LeaveRequest_RESUME))
	if s := p.sink.Swap(nil); s != nil {
		s.Close("moving")
	}
	p.signalGone()
}

// handOver prepares one connection of p. Actor.
func (r *Room) handOver(p *Participant, c *peer.Peer) error {
	m := p.move
	m.missing++
	return c.HandOver(peer.HandOver{
		Host:  m.host,
		Again: func(bytes uint64) [][]byte { return r.reliable.Newest(p.identity, p.sid, bytes) },
		Done:  func(err error) { r.mail.post(func() { r.handedOver(p, m, err) }) },
	})
}

// handedOver: one connection of p has come over, or never will. Actor.
func (r *Room) handedOver(p *Participant, m *handOver, err error) {
	if p.left || p.move != m {
		return
	}
	if err != nil {
		r.giveUpMove(p, err)
		return
	}
	if m.missing--; m.missing > 0 {
		return
	}
	p.host, p.move = m.host, nil
	r.totals.Moves.Add(1)
	p.log.Info("participant moved", "ms", time.Since(m.started).Milliseconds())
}

// giveUpMove makes the client start anew. Actor.
func (r *Room) giveUpMove(p *Participant, why error) {
	p.log.Warn("participant is not moved, it has to reconnect", "error", why)
	r.remove(p, livekit.DisconnectReason_MIGRATION, livekit.LeaveRequest_RECONNECT, true)
}
