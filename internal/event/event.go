// Package event names what happens in rooms.
//
// It owns the event type, its kinds, and the contract between those
// who notice an event and those who pass it on. It delivers nothing: package
// webhook does, and later the event stream and the CDR.
//
// Start reading at [Event].
package event

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/livekit/protocol/livekit"
)

// Kind says what happened. The values are LiveKit's webhook event names.
type Kind string

// The kinds. The comment says which fields an event of the kind has beside
// Room, which all have.
const (
	// RoomStarted: the first participant is about to join, or the API created
	// the room.
	RoomStarted Kind = "room_started"
	// RoomFinished: the room is closed. It is the last event of a room.
	RoomFinished Kind = "room_finished"
	// ParticipantJoined: a participant's media connection is up. Participant.
	ParticipantJoined Kind = "participant_joined"
	// ParticipantLeft: a participant that had joined is gone. Participant.
	ParticipantLeft Kind = "participant_left"
	// ParticipantConnectionAborted: a participant is gone before its media
	// connection was up. Participant.
	ParticipantConnectionAborted Kind = "participant_connection_aborted"
	// TrackPublished: media of a new track arrives. Participant, Track.
	TrackPublished Kind = "track_published"
	// TrackUnpublished: a track has ended. Participant, Track.
	TrackUnpublished Kind = "track_unpublished"
)

// Event is one thing that happened. It is immutable: [New] copies the
// messages, so that a room may go on changing its own.
type Event struct {
	// ID is unique for ever. Consumers drop an ID they have seen, because
	// delivery is at least once.
	ID string
	// Kind says which of the fields below are set.
	Kind Kind
	// Time is when it happened.
	Time time.Time
	// Room is where; never nil.
	Room *livekit.Room
	// Participant is who; nil for room events.
	Participant *livekit.ParticipantInfo
	// Track is what; nil except for track events.
	Track *livekit.TrackInfo
}

// New returns an event with an ID of its own and copies of the messages.
// participant and track may be nil.
func New(kind Kind, now time.Time, room *livekit.Room, participant *livekit.ParticipantInfo, track *livekit.TrackInfo) Event {
	return Event{
		ID: newID(), Kind: kind, Time: now,
		Room:        clone(room),
		Participant: clone(participant),
		Track:       clone(track),
	}
}

// Webhook returns the event as LiveKit's webhook message. It shares the
// messages with the event.
func (e Event) Webhook() *livekit.WebhookEvent {
	return &livekit.WebhookEvent{
		Event: string(e.Kind), Id: e.ID, CreatedAt: e.Time.Unix(),
		Room: e.Room, Participant: e.Participant, Track: e.Track,
	}
}

// Sink takes events. Emit never blocks and never fails: a sink that cannot
// keep up drops and counts. Events of one room are emitted in their order.
type Sink interface {
	Emit(e Event)
}

// Discard is a Sink that drops everything.
type Discard struct{}

// Emit drops e.
func (Discard) Emit(Event) {}

// Closer is a Sink with something to finish. Close passes on what was emitted
// until ctx ends, and returns ctx's error if something is left.
type Closer interface {
	Sink
	Close(ctx context.Context) error
}

// newID returns "EV_" and 128 random bits.
func newID() string {
	var b [16]byte
	// crypto/rand.Read never fails (it ends the program instead).
	_, _ = rand.Read(b[:])
	return "EV_" + base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
}

func clone[M proto.Message](m M) M { return proto.CloneOf(m) }
