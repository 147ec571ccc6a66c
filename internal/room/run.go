package room

import (
	"time"

	"github.com/livekit/protocol/livekit"
)

// idleTick is how often a room without audio looks at its timeouts.
const idleTick = time.Second

// run is the room's goroutine: work that was posted, and the clock.
func (r *Room) run() {
	r.emitRoomStarted()
	timer := time.NewTimer(idleTick)
	defer timer.Stop()
	for !r.closing {
		select {
		case <-r.mail.wake:
			for _, f := range r.mail.take() {
				f()
			}
		case now := <-timer.C:
			timer.Reset(r.doTick(now))
		}
	}
	r.finish()
	close(r.done)
	r.wg.Wait() // after done: what closes may wait for an answer of the room
}

// doTick does what is due and returns when to look again.
func (r *Room) doTick(now time.Time) time.Duration {
	if r.expired(now) {
		r.close(livekit.DisconnectReason_ROOM_CLOSED)
		return idleTick
	}
	if len(r.participants) == 0 {
		return idleTick
	}
	for _, p := range r.participants {
		r.expireParticipant(p, now)
		for _, pub := range p.pubs {
			pub.requestCodec(now)
		}
	}
	r.tickSpeakers(now)
	r.reliable.Expire(now)
	if now.Sub(r.lastQuality) >= qualityInterval {
		r.lastQuality = now
		r.tickQuality()
	}
	return r.cfg.Levels.Interval
}

// expired tells whether the room has been empty for too long.
func (r *Room) expired(now time.Time) bool {
	if len(r.participants) > 0 {
		return false
	}
	limit := time.Duration(r.info.EmptyTimeout) * time.Second
	if r.everJoined {
		limit = time.Duration(r.info.DepartureTimeout) * time.Second
	}
	return now.Sub(r.emptySince) >= limit
}

// close removes everybody and ends the actor. Actor.
func (r *Room) close(reason livekit.DisconnectReason) {
	if r.closing {
		return
	}
	r.closing = true
	for _, p := range r.participants {
		r.remove(p, reason, livekit.LeaveRequest_DISCONNECT, true)
	}
}

// finish runs last: callers that still wait get ErrClosed by r.done.
func (r *Room) finish() {
	r.manager.forget(r)
	r.mail.close()
	r.rpcs.Abandon("", ErrClosed)
	r.emitRoomFinished()
	r.totals.RoomsFinished.Add(1)
	r.log.Info("room finished")
}
