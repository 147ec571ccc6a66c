package room

import (
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/event"
)

// Events are emitted by the room's goroutine, hence in order. Hidden
// participants cause events too: they are for the operator.

func (r *Room) emit(kind event.Kind, p *livekit.ParticipantInfo, t *livekit.TrackInfo) {
	if r.deps.Events != nil {
		r.deps.Events.Emit(event.New(kind, time.Now(), r.proto(), p, t))
	}
}

func (r *Room) emitRoomStarted()  { r.emit(event.RoomStarted, nil, nil) }
func (r *Room) emitRoomFinished() { r.emit(event.RoomFinished, nil, nil) }

func (r *Room) emitJoined(p *Participant) { r.emit(event.ParticipantJoined, p.proto(), nil) }

// emitLeft tells apart who had been here and who never made it.
func (r *Room) emitLeft(p *Participant, wasActive bool) {
	if wasActive {
		r.emit(event.ParticipantLeft, p.proto(), nil)
		return
	}
	r.totals.ParticipantsAborted.Add(1)
	r.emit(event.ParticipantConnectionAborted, p.proto(), nil)
}

func (r *Room) emitTrackPublished(pub *Publication) {
	r.emit(event.TrackPublished, pub.publisher.identified(), pub.info)
}

func (r *Room) emitTrackUnpublished(pub *Publication) {
	r.emit(event.TrackUnpublished, pub.publisher.identified(), pub.info)
}

// identified is p with no more than what names it, as LiveKit's track events
// have it.
func (p *Participant) identified() *livekit.ParticipantInfo {
	return &livekit.ParticipantInfo{Sid: p.sid, Identity: p.identity, Name: p.name, Kind: p.claims.Kind}
}
