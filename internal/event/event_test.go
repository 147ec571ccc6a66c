package event

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/webhook"
)

func TestNewCopies(t *testing.T) {
	room := &livekit.Room{Name: "r", Sid: "RM_1"}
	p := &livekit.ParticipantInfo{Identity: "a"}
	track := &livekit.TrackInfo{Sid: "TR_1"}
	now := time.Unix(100, 5)
	e := New(TrackPublished, now, room, p, track)
	room.Name, p.Identity, track.Sid = "x", "x", "x"

	want := &livekit.WebhookEvent{
		Event: webhook.EventTrackPublished, Id: e.ID, CreatedAt: 100,
		Room:        &livekit.Room{Name: "r", Sid: "RM_1"},
		Participant: &livekit.ParticipantInfo{Identity: "a"},
		Track:       &livekit.TrackInfo{Sid: "TR_1"},
	}
	if got := e.Webhook(); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !e.Time.Equal(now) {
		t.Errorf("time is %v", e.Time)
	}
}

func TestNewWithoutDetails(t *testing.T) {
	e := New(RoomStarted, time.Unix(1, 0), &livekit.Room{Name: "r"}, nil, nil)
	if e.Participant != nil || e.Track != nil || e.Webhook().Participant != nil {
		t.Errorf("a room event has details: %+v", e)
	}
}

func TestIDsAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for range 10000 {
		id := newID()
		if seen[id] || !strings.HasPrefix(id, "EV_") || len(id) != 3+26 {
			t.Fatalf("bad id %q", id)
		}
		seen[id] = true
	}
}

// The kinds are the names that LiveKit's receivers switch on.
func TestKindsAreLiveKits(t *testing.T) {
	for kind, name := range map[Kind]string{
		RoomStarted: webhook.EventRoomStarted, RoomFinished: webhook.EventRoomFinished,
		ParticipantJoined: webhook.EventParticipantJoined, ParticipantLeft: webhook.EventParticipantLeft,
		ParticipantConnectionAborted: webhook.EventParticipantConnectionAborted,
		TrackPublished:               webhook.EventTrackPublished, TrackUnpublished: webhook.EventTrackUnpublished,
	} {
		if string(kind) != name {
			t.Errorf("%s, want %s", kind, name)
		}
	}
}
