// Package client is a participant on LiveKit's stock Go SDK that publishes known
// recordings and checks every frame it receives against them, byte for byte.
//
// It owns the recordings, the bookkeeping of received media and events, and
// nothing of the protocol: that is the SDK's. Start at Join.
package client

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
)

// Server is where to join and with which API key.
type Server struct {
	URL, Key, Secret string
}

// Options change how Join joins.
type Options struct {
	// Single uses one peer connection for both directions (/rtc/v1).
	Single bool
	// Manual subscribes to nothing by itself.
	Manual bool
}

// Event is something that the SDK reported: the name of its callback, whose
// it is, and what it carries.
type Event struct {
	Name, Identity, Text string
}

// Client is one participant. Its methods are safe for concurrent use.
type Client struct {
	Identity string
	Room     *lksdk.Room

	library *Library

	mu        sync.Mutex
	events    []Event
	receivers map[string]*receiver
}

// Quiet silences the SDK, whose loggers are global; call it before anything else.
func Quiet() {
	discard := logger.LogRLogger(logr.Discard())
	logger.SetLogger(discard, "livekit")
	lksdk.SetLogger(discard)
}

// Join connects identity to a room and records from then on.
func Join(ctx context.Context, server Server, library *Library, room, identity string, options Options) (*Client, error) {
	c := &Client{Identity: identity, library: library, receivers: map[string]*receiver{}}
	connect := []lksdk.ConnectOption{
		lksdk.WithAutoSubscribe(!options.Manual),
	}
	if options.Single {
		connect = append(connect, lksdk.WithSinglePeerConnection())
	}
	c.Room = lksdk.NewRoom(c.callback())
	info := lksdk.ConnectInfo{APIKey: server.Key, APISecret: server.Secret, RoomName: room, ParticipantIdentity: identity}
	if err := c.Room.JoinWithContext(ctx, server.URL, info, connect...); err != nil {
		return nil, fmt.Errorf("join %s as %s: %w", room, identity, err)
	}
	return c, nil
}

// Leave disconnects.
func (c *Client) Leave() { c.Room.Disconnect() }

// PublishAudio publishes the tone.
func (c *Client) PublishAudio() (*lksdk.LocalTrackPublication, error) {
	track, err := c.track(webrtc.MimeTypeOpus, c.library.audio())
	if err != nil {
		return nil, err
	}
	return c.Room.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{
		Name: "tone", Source: livekit.TrackSource_MICROPHONE,
	})
}

// PublishVideo publishes one recording of the picture.
func (c *Client) PublishVideo(layer Layer) (*lksdk.LocalTrackPublication, error) {
	track, err := c.track(webrtc.MimeTypeVP8, c.library.video(layer))
	if err != nil {
		return nil, err
	}
	width, height := layer.Size()
	return c.Room.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{
		Name: string(layer), Source: livekit.TrackSource_CAMERA, VideoWidth: width, VideoHeight: height,
	})
}

// PublishSimulcast publishes all three recordings as layers of one track.
func (c *Client) PublishSimulcast() (*lksdk.LocalTrackPublication, error) {
	var tracks []*lksdk.LocalTrack
	for i, layer := range []Layer{Low, Medium, High} {
		width, height := layer.Size()
		track, err := c.track(webrtc.MimeTypeVP8, c.library.video(layer), lksdk.WithSimulcast("picture", &livekit.VideoLayer{
			Quality: livekit.VideoQuality(i), Width: uint32(width), Height: uint32(height),
		}))
		if err != nil {
			return nil, err
		}
		tracks = append(tracks, track)
	}
	return c.Room.LocalParticipant.PublishSimulcastTrack(tracks, &lksdk.TrackPublicationOptions{
		Name: "simulcast", Source: livekit.TrackSource_CAMERA,
	})
}

// Received answers what came of identity's video or audio so far.
func (c *Client) Received(identity string, kind webrtc.RTPCodecType) Received {
	return c.receiver(identity, kind).snapshot()
}

// ResetGap starts measuring the longest gap between frames anew.
func (c *Client) ResetGap(identity string, kind webrtc.RTPCodecType) {
	c.receiver(identity, kind).resetGap()
}

// Mark answers how many events there are, for Find and Await to look at later ones only.
func (c *Client) Mark() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.events)
}

// Find answers the first event from index from with that name, and that identity and text where they are not empty.
func (c *Client) Find(want Event, from int) (Event, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, event := range c.events[from:] {
		if event.Name == want.Name &&
			(want.Identity == "" || event.Identity == want.Identity) &&
			(want.Text == "" || event.Text == want.Text) {
			return event, true
		}
	}
	return Event{}, false
}

// All answers the events with that name whose text begins with prefix, in order.
func (c *Client) All(name, prefix string) []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []Event
	for _, event := range c.events {
		if event.Name == name && strings.HasPrefix(event.Text, prefix) {
			found = append(found, event)
		}
	}
	return found
}

// Await waits for an event as Find finds it.
func (c *Client) Await(ctx context.Context, want Event, from int) error {
	for {
		if _, ok := c.Find(want, from); ok {
			return nil
		}
		select {
		case <-ctx.Done():
			c.mu.Lock()
			defer c.mu.Unlock()
			return fmt.Errorf("%s waits for %+v: %w; got %+v", c.Identity, want, ctx.Err(), c.events[from:])
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *Client) track(mime string, source *loop, options ...lksdk.LocalTrackOptions) (*lksdk.LocalTrack, error) {
	rate := uint32(90_000)
	if mime == webrtc.MimeTypeOpus {
		rate = 48_000
	}
	options = append(options, lksdk.WithRTCPHandler(source.feedback))
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: mime, ClockRate: rate}, options...)
	if err != nil {
		return nil, fmt.Errorf("make a track of %s: %w", mime, err)
	}
	track.OnBind(func() {
		if err := track.StartWrite(source, nil); err != nil {
			c.note(Event{Name: "StartWriteFailed", Text: err.Error()})
		}
	})
	return track, nil
}

func (c *Client) note(event Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, event)
}

func (c *Client) receiver(identity string, kind webrtc.RTPCodecType) *receiver {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := identity + "/" + kind.String()
	r := c.receivers[key]
	if r == nil {
		r = &receiver{library: c.library}
		c.receivers[key] = r
	}
	return r
}

func (c *Client) callback() *lksdk.RoomCallback {
	named := func(name string) func() { return func() { c.note(Event{Name: name}) } }
	return &lksdk.RoomCallback{
		OnReconnecting: named("Reconnecting"),
		OnReconnected:  named("Reconnected"),
		OnDisconnectedWithReason: func(reason lksdk.DisconnectionReason) {
			c.note(Event{Name: "Disconnected", Text: string(reason)})
		},
		OnParticipantConnected: func(p *lksdk.RemoteParticipant) {
			c.note(Event{Name: "ParticipantConnected", Identity: p.Identity()})
		},
		OnParticipantDisconnected: func(p *lksdk.RemoteParticipant) {
			c.note(Event{Name: "ParticipantDisconnected", Identity: p.Identity()})
		},
		OnRoomMetadataChanged: func(metadata string) {
			c.note(Event{Name: "RoomMetadataChanged", Text: metadata})
		},
		ParticipantCallback: lksdk.ParticipantCallback{
			OnTrackMuted: func(pub lksdk.TrackPublication, p lksdk.Participant) {
				c.note(Event{Name: "TrackMuted", Identity: p.Identity(), Text: pub.Name()})
			},
			OnTrackUnmuted: func(pub lksdk.TrackPublication, p lksdk.Participant) {
				c.note(Event{Name: "TrackUnmuted", Identity: p.Identity(), Text: pub.Name()})
			},
			OnTrackPublished: func(pub *lksdk.RemoteTrackPublication, p *lksdk.RemoteParticipant) {
				c.note(Event{Name: "TrackPublished", Identity: p.Identity(), Text: pub.Name()})
			},
			OnTrackUnpublished: func(pub *lksdk.RemoteTrackPublication, p *lksdk.RemoteParticipant) {
				c.note(Event{Name: "TrackUnpublished", Identity: p.Identity(), Text: pub.Name()})
			},
			OnTrackSubscribed: func(track *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication, p *lksdk.RemoteParticipant) {
				c.note(Event{Name: "TrackSubscribed", Identity: p.Identity(), Text: pub.Name()})
				go c.receiver(p.Identity(), track.Kind()).read(track)
			},
			OnTrackUnsubscribed: func(_ *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication, p *lksdk.RemoteParticipant) {
				c.note(Event{Name: "TrackUnsubscribed", Identity: p.Identity(), Text: pub.Name()})
			},
			OnAttributesChanged: func(changed map[string]string, p lksdk.Participant) {
				c.note(Event{Name: "AttributesChanged", Identity: p.Identity(), Text: fmt.Sprint(changed)})
			},
			OnMetadataChanged: func(_ string, p lksdk.Participant) {
				c.note(Event{Name: "MetadataChanged", Identity: p.Identity(), Text: p.Metadata()})
			},
			OnDataPacket: func(packet lksdk.DataPacket, params lksdk.DataReceiveParams) {
				if user, ok := packet.(*lksdk.UserDataPacket); ok {
					c.note(Event{Name: "Data", Identity: params.SenderIdentity, Text: user.Topic + ":" + string(user.Payload)})
				}
			},
		},
	}
}
