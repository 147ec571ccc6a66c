package interop

import (
	"fmt"
	"testing"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/concertina-rtc/concertina/test/interop/client"
)

// TestReconnect lets bob fail in each way that the SDK can simulate: frames go on both ways, and messages too.
func TestReconnect(t *testing.T) {
	inModes(t, func(t *testing.T, options client.Options) {
		for _, test := range []struct {
			name     string
			scenario lksdk.SimulateScenario
			most     time.Duration // the longest gap allowed
		}{
			{"signal-reconnect", lksdk.SimulateSignalReconnect, time.Second},
			{"node-failure", lksdk.SimulateNodeFailure, 10 * time.Second},
			{"migration", lksdk.SimulateMigration, 10 * time.Second},
		} {
			t.Run(test.name, func(t *testing.T) {
				clients := join(t, freshRoom(t), options, "alice", "bob")
				alice, bob := clients[0], clients[1]
				for _, c := range clients {
					if _, err := c.PublishVideo(client.Medium); err != nil {
						t.Fatal(err)
					}
				}
				awaitMedia(t, bob, "alice", video, 30)
				awaitMedia(t, alice, "bob", video, 30)
				alice.ResetGap("bob", video)
				bob.ResetGap("alice", video)
				from := bob.Mark()
				start := time.Now()
				bob.Room.Simulate(test.scenario)
				await(t, bob, client.Event{Name: "Reconnected"}, from)
				figure(t.Name()+".reconnected", time.Since(start).Round(time.Millisecond))
				awaitMedia(t, bob, "alice", video, 60)
				awaitMedia(t, alice, "bob", video, 60)
				for _, gap := range []struct {
					direction string
					gap       time.Duration
				}{{"down", bob.Received("alice", video).Gap}, {"up", alice.Received("bob", video).Gap}} {
					figure(t.Name()+".gap."+gap.direction, gap.gap.Round(time.Millisecond))
					if gap.gap > test.most {
						t.Errorf("%s: no frame for %v", gap.direction, gap.gap)
					}
				}
				reach(t, alice, bob)
				reach(t, bob, alice)
			})
		}
	})
}

func TestServerLeave(t *testing.T) {
	clients := join(t, freshRoom(t), client.Options{}, "alice", "bob")
	alice, bob := clients[0], clients[1]
	await(t, alice, client.Event{Name: "ParticipantConnected", Identity: "bob"}, 0)
	bob.Room.Simulate(lksdk.SimulateServerLeave)
	await(t, bob, client.Event{Name: "Disconnected"}, 0)
	await(t, alice, client.Event{Name: "ParticipantDisconnected", Identity: "bob"}, 0)
}

func TestDuplicateIdentity(t *testing.T) {
	room := freshRoom(t)
	first := join(t, room, client.Options{}, "alice")[0]
	join(t, room, client.Options{}, "alice")
	await(t, first, client.Event{Name: "Disconnected", Text: string(lksdk.DuplicateIdentity)}, 0)
}

// reach sends until a message from one to the other arrives: new data channels may lose the first ones.
func reach(t *testing.T, from, to *client.Client) {
	t.Helper()
	text := fmt.Sprintf("from %s at %d", from.Identity, time.Now().UnixNano())
	next := time.Now()
	until(t, from.Identity+" reaches "+to.Identity, 10*time.Second, func() bool {
		if time.Now().After(next) {
			next = time.Now().Add(200 * time.Millisecond)
			packet := &lksdk.UserDataPacket{Payload: []byte(text)}
			if err := from.Room.LocalParticipant.PublishDataPacket(packet, lksdk.WithDataPublishReliable(true)); err != nil {
				t.Log(err)
			}
		}
		_, ok := to.Find(client.Event{Name: "Data", Identity: from.Identity, Text: ":" + text}, 0)
		return ok
	})
}
