package room

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"go.uber.org/goleak"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/event"
	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a signal connection that remembers what it was sent.
type client struct {
	mu     sync.Mutex
	got    []*livekit.SignalResponse
	closed bool
	full   bool
}

func (c *client) Send(m *Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		return ErrQueueFull
	}
	c.got = append(c.got, m.Response)
	return nil
}

func (c *client) Close(string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

func (c *client) all() []*livekit.SignalResponse {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*livekit.SignalResponse(nil), c.got...)
}

// wait returns the first response that match accepts.
func wait[T any](t *testing.T, c *client, what string, match func(*livekit.SignalResponse) (T, bool)) T {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		for _, m := range c.all() {
			if v, ok := match(m); ok {
				return v
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s after 5 s; got %v", what, c.all())
		}
		time.Sleep(time.Millisecond)
	}
}

// events collects what a room emits.
type events struct {
	mu   sync.Mutex
	list []event.Event
}

func (e *events) Emit(ev event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) kinds() (out []event.Kind) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.list {
		out = append(out, ev.Kind)
	}
	return out
}

type rig struct {
	*Manager
	t       *testing.T
	events  *events
	cert    tls.Certificate
	onClose []func() error
}

// newRig starts a real media host on loopback and a manager over it.
func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	cert, err := transport.NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tc := transport.Default()
	tc.UDPPort, tc.TCPPort, tc.BindAddresses, tc.EnableLoopback = 0, -1, []string{"127.0.0.1"}, true
	log := slog.New(slog.DiscardHandler)
	host, err := transport.NewHost(tc, cert, log)
	if err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Codecs = []peer.CodecSpec{{Mime: "audio/opus"}, {Mime: "video/vp8"}}
	if change != nil {
		change(&cfg)
	}
	ev := &events{}
	loop := peer.NewLoop()
	m := NewManager(cfg, Deps{Host: host, Loop: loop, Events: ev, NodeID: "ND_test", Version: "test", Log: log})
	r := &rig{Manager: m, t: t, events: ev, cert: cert}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
		loop.Close()
		for _, end := range append(r.onClose, host.Close) {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	})
	return r
}

func claims(identity string, change func(*auth.Claims)) auth.Claims {
	c := auth.Claims{Identity: identity, Name: identity, Video: &auth.VideoGrant{RoomJoin: true, Room: "r"}}
	if change != nil {
		change(&c)
	}
	return c
}

func (r *rig) join(identity string, change func(*Join)) (*Session, *client) {
	r.t.Helper()
	c := &client{}
	j := Join{
		Room: "r", Claims: claims(identity, nil), Sink: c, Single: true, AutoSubscribe: true,
		Client: &livekit.ClientInfo{Sdk: livekit.ClientInfo_JS, Protocol: 16},
	}
	if change != nil {
		change(&j)
	}
	s, err := r.Join(r.t.Context(), j)
	if err != nil {
		r.t.Fatalf("join %s: %v", identity, err)
	}
	return s, c
}

func joinOf(m *livekit.SignalResponse) (*livekit.JoinResponse, bool) {
	j := m.GetJoin()
	return j, j != nil
}

// update matches an update about identity that want accepts.
func update(identity string, want func(*livekit.ParticipantInfo) bool) func(*livekit.SignalResponse) (*livekit.ParticipantInfo, bool) {
	return func(m *livekit.SignalResponse) (*livekit.ParticipantInfo, bool) {
		for _, p := range m.GetUpdate().GetParticipants() {
			if p.Identity == identity && want(p) {
				return p, true
			}
		}
		return nil, false
	}
}

func leaveOf(m *livekit.SignalResponse) (*livekit.LeaveRequest, bool) {
	l := m.GetLeave()
	return l, l != nil
}

func TestJoinResponseComesFirst(t *testing.T) {
	r := newRig(t, nil)
	_, a := r.join("ann", nil)
	sb, b := r.join("bob", nil)
	first := b.all()[0].GetJoin()
	if first == nil {
		t.Fatalf("first response is %v", b.all()[0])
	}
	if len(first.OtherParticipants) != 1 || first.OtherParticipants[0].Identity != "ann" {
		t.Errorf("others: %v", first.OtherParticipants)
	}
	if first.ServerInfo.GetVersion() == "" || first.PingInterval == 0 || first.PingTimeout == 0 || !first.FastPublish {
		t.Errorf("join response lacks what SDKs need: %v", first)
	}
	seen := wait(t, a, "update about bob", update("bob", func(*livekit.ParticipantInfo) bool { return true }))
	if seen.Sid != sb.Participant().SID() {
		t.Errorf("bob's sid is %s, others see %s", sb.Participant().SID(), seen.Sid)
	}
}

func TestDuplicateIdentity(t *testing.T) {
	r := newRig(t, nil)
	_, old := r.join("ann", nil)
	_, _ = r.join("ann", nil)
	l := wait(t, old, "leave", leaveOf)
	if l.Reason != livekit.DisconnectReason_DUPLICATE_IDENTITY || l.Action != livekit.LeaveRequest_DISCONNECT {
		t.Errorf("leave: %v", l)
	}
	list, err := r.Room("r").Participants(t.Context())
	if err != nil || len(list) != 1 {
		t.Errorf("%d participants, %v", len(list), err)
	}
}

func TestLimits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxParticipants, c.MaxIdentity, c.MaxMetadataSize = 1, 8, 10 })
	ctx := t.Context()
	if err := r.Admit(ctx, Join{Room: "r", Claims: claims("much-too-long", nil)}); !errors.Is(err, ErrLimit) {
		t.Errorf("long identity: %v", err)
	}
	r.join("ann", nil)
	if err := r.Admit(ctx, Join{Room: "r", Claims: claims("bob", nil)}); !errors.Is(err, ErrRoomFull) {
		t.Errorf("full room: %v", err)
	}
	if err := r.Admit(ctx, Join{Room: "r", Claims: claims("ann", nil)}); err != nil {
		t.Errorf("ann may come back: %v", err)
	}
	if _, err := r.Join(ctx, Join{Room: "r", Claims: claims("bob", nil), Sink: &client{}}); !errors.Is(err, ErrRoomFull) {
		t.Errorf("join of a full room: %v", err)
	}
	if _, err := r.Room("r").SetMetadata(ctx, "more than ten bytes"); !errors.Is(err, ErrLimit) {
		t.Errorf("long metadata: %v", err)
	}
}

func TestAutoCreateOff(t *testing.T) {
	r := newRig(t, func(c *Config) { c.AutoCreate = false })
	if err := r.Admit(t.Context(), Join{Room: "r", Claims: claims("ann", nil)}); !errors.Is(err, ErrRoomNotFound) {
		t.Errorf("admit: %v", err)
	}
	if _, err := r.Create(t.Context(), &livekit.CreateRoomRequest{Name: "r", Metadata: "m", MaxParticipants: 3}); err != nil {
		t.Fatal(err)
	}
	_, c := r.join("ann", nil)
	if j := wait(t, c, "join", joinOf); j.Room.Metadata != "m" || j.Room.MaxParticipants != 3 {
		t.Errorf("room: %v", j.Room)
	}
}

func TestTimeoutsCloseRooms(t *testing.T) {
	r := newRig(t, func(c *Config) { c.EmptyTimeout, c.DepartureTimeout = 0, 0 })
	s, _ := r.join("ann", nil)
	room := r.Room("r")
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_Leave{Leave: &livekit.LeaveRequest{}}})
	select {
	case <-room.done:
	case <-time.After(5 * time.Second):
		t.Fatal("the room outlives its departure timeout")
	}
	if r.Room("r") != nil {
		t.Error("the closed room is still listed")
	}
	want := []event.Kind{event.RoomStarted, event.ParticipantConnectionAborted, event.RoomFinished}
	got := r.events.kinds()
	if len(got) != len(want) {
		t.Fatalf("events %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("events %v, want %v", got, want)
		}
	}
}

func TestAddTrackPermissions(t *testing.T) {
	no := false
	for _, tc := range []struct {
		name   string
		grant  func(*auth.VideoGrant)
		source livekit.TrackSource
		want   livekit.RequestResponse_Reason
	}{
		{"allowed", func(*auth.VideoGrant) {}, livekit.TrackSource_CAMERA, livekit.RequestResponse_OK},
		{"may not publish", func(g *auth.VideoGrant) { g.CanPublish = &no }, livekit.TrackSource_CAMERA, livekit.RequestResponse_NOT_ALLOWED},
		{"other sources only", func(g *auth.VideoGrant) { g.CanPublishSources = []string{"microphone"} }, livekit.TrackSource_CAMERA, livekit.RequestResponse_NOT_ALLOWED},
		{"this source", func(g *auth.VideoGrant) { g.CanPublishSources = []string{"camera"} }, livekit.TrackSource_CAMERA, livekit.RequestResponse_OK},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil)
			s, c := r.join("ann", func(j *Join) { j.Claims = claims("ann", func(c *auth.Claims) { tc.grant(c.Video) }) })
			s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_AddTrack{AddTrack: &livekit.AddTrackRequest{
				Cid: "c1", Type: livekit.TrackType_VIDEO, Source: tc.source, Width: 1280, Height: 720,
			}}})
			if tc.want == livekit.RequestResponse_OK {
				p := wait(t, c, "track published", func(m *livekit.SignalResponse) (*livekit.TrackPublishedResponse, bool) {
					return m.GetTrackPublished(), m.GetTrackPublished() != nil
				})
				if p.Cid != "c1" || p.Track.Sid[:5] != "TR_VC" || p.Track.Stream != "camera" {
					t.Errorf("published: %v", p)
				}
				return
			}
			res := wait(t, c, "refusal", func(m *livekit.SignalResponse) (*livekit.RequestResponse, bool) {
				return m.GetRequestResponse(), m.GetRequestResponse() != nil
			})
			if res.Reason != tc.want || res.GetAddTrack().GetCid() != "c1" {
				t.Errorf("refusal: %v", res)
			}
		})
	}
}

func TestResume(t *testing.T) {
	r := newRig(t, nil)
	s, _ := r.join("ann", nil)
	// A participant whose media never came up leaves with its signalling, so
	// pretend that it had.
	s.do(func() { s.p.activate() })
	s.Detach()
	r.join("bob", nil)
	c2 := &client{}
	j := Join{Room: "r", Claims: claims("ann", nil), Sink: c2, Single: true, Reconnect: true, ParticipantSID: s.p.sid}
	if _, err := r.Resume(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if c2.all()[0].GetReconnect() == nil {
		t.Fatalf("first response is %v, want reconnect", c2.all()[0])
	}
	wait(t, c2, "news about bob", update("bob", func(*livekit.ParticipantInfo) bool { return true }))
	j.ParticipantSID = "PA_other"
	if _, err := r.Resume(t.Context(), j); !errors.Is(err, ErrParticipantNotFound) {
		t.Errorf("resume of an unknown session: %v", err)
	}
	j.ParticipantSID, j.Single = s.p.sid, false
	if _, err := r.Resume(t.Context(), j); !errors.Is(err, ErrParticipantNotFound) {
		t.Errorf("resume over another kind of connection: %v", err)
	}
}

// A client that comes back with tracks we never saw must start anew.
func TestSyncStateMismatch(t *testing.T) {
	r := newRig(t, nil)
	s, c := r.join("ann", nil)
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_SyncState{SyncState: &livekit.SyncState{
		PublishTracks: []*livekit.TrackPublishedResponse{{Cid: "x", Track: &livekit.TrackInfo{Sid: "TR_unknown"}}},
	}}})
	l := wait(t, c, "leave", leaveOf)
	if l.Action != livekit.LeaveRequest_RECONNECT || l.Reason != livekit.DisconnectReason_STATE_MISMATCH {
		t.Errorf("leave: %v", l)
	}
}

func TestProfileUpdates(t *testing.T) {
	r := newRig(t, nil)
	yes := true
	s, _ := r.join("ann", func(j *Join) {
		j.Claims = claims("ann", func(c *auth.Claims) {
			c.Video.CanUpdateOwnMetadata = &yes
			c.Attributes = map[string]string{"keep": "1", "drop": "2"}
		})
	})
	_, b := r.join("bob", nil)
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_UpdateMetadata{UpdateMetadata: &livekit.UpdateParticipantMetadata{
		Name: "Ann B.", Metadata: "m", Attributes: map[string]string{"drop": "", "new": "3"}, RequestId: 9,
	}}})
	p := wait(t, b, "new name", update("ann", func(p *livekit.ParticipantInfo) bool { return p.Name == "Ann B." }))
	if p.Metadata != "m" || len(p.Attributes) != 2 || p.Attributes["keep"] != "1" || p.Attributes["new"] != "3" {
		t.Errorf("profile: %v", p)
	}
	sb, b2 := r.join("eve", nil)
	sb.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_UpdateMetadata{UpdateMetadata: &livekit.UpdateParticipantMetadata{Name: "x", RequestId: 4}}})
	res := wait(t, b2, "refusal", func(m *livekit.SignalResponse) (*livekit.RequestResponse, bool) {
		return m.GetRequestResponse(), m.GetRequestResponse() != nil
	})
	if res.Reason != livekit.RequestResponse_NOT_ALLOWED || res.RequestId != 4 {
		t.Errorf("refusal: %v", res)
	}
}

func TestHiddenParticipant(t *testing.T) {
	r := newRig(t, nil)
	_, a := r.join("ann", nil)
	r.join("spy", func(j *Join) { j.Claims = claims("spy", func(c *auth.Claims) { c.Video.Hidden = true }) })
	r.join("bob", nil)
	wait(t, a, "bob", update("bob", func(*livekit.ParticipantInfo) bool { return true }))
	for _, m := range a.all() {
		if _, seen := update("spy", func(*livekit.ParticipantInfo) bool { return true })(m); seen {
			t.Error("ann sees the hidden participant")
		}
	}
	list, err := r.Room("r").Participants(t.Context())
	if err != nil || len(list) != 3 {
		t.Errorf("the API lists %d participants, %v; want 3", len(list), err)
	}
}

func TestServiceErrors(t *testing.T) {
	r := newRig(t, nil)
	r.join("ann", nil)
	room, ctx := r.Room("r"), t.Context()
	if _, err := room.Participant(ctx, "nobody"); !errors.Is(err, ErrParticipantNotFound) {
		t.Errorf("participant: %v", err)
	}
	if _, err := room.MuteTrack(ctx, "ann", "TR_none", true); !errors.Is(err, ErrTrackNotFound) {
		t.Errorf("mute: %v", err)
	}
	if err := room.UpdateSubscriptions(ctx, "ann", &livekit.UpdateSubscription{TrackSids: []string{"TR_none"}, Subscribe: true}); !errors.Is(err, ErrTrackNotFound) {
		t.Errorf("subscription: %v", err)
	}
	if err := room.SendData(ctx, &livekit.SendDataRequest{Data: make([]byte, 65<<10)}); !errors.Is(err, ErrLimit) {
		t.Errorf("large data: %v", err)
	}
	if err := room.RemoveParticipant(ctx, "ann"); err != nil {
		t.Errorf("remove: %v", err)
	}
	if err := room.Delete(ctx); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := room.Info(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("a deleted room answers: %v", err)
	}
}

// A client that never reads is given up without hurting anybody, and may
// resume.
func TestSlowClient(t *testing.T) {
	r := newRig(t, nil)
	s, slow := r.join("slow", nil)
	s.do(func() { s.p.activate() })
	slow.mu.Lock()
	slow.full = true
	slow.mu.Unlock()
	_, b := r.join("bob", nil)
	r.join("cat", nil)
	wait(t, b, "cat", update("cat", func(*livekit.ParticipantInfo) bool { return true }))
	if got := r.Totals().SlowClients.Load(); got != 1 {
		t.Errorf("%d slow clients counted, want 1", got)
	}
	c2 := &client{}
	if _, err := r.Resume(t.Context(), Join{Room: "r", Claims: claims("slow", nil), Sink: c2, Single: true, Reconnect: true, ParticipantSID: s.p.sid}); err != nil {
		t.Fatal(err)
	}
	wait(t, c2, "cat", update("cat", func(*livekit.ParticipantInfo) bool { return true }))
}
