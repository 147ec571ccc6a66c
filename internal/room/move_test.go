package room

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/pion/webrtc/v4"

	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// migrate asks for a migration as a client does.
func migrate(s *Session) {
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_Simulate{Simulate: &livekit.SimulateScenario{
		Scenario: &livekit.SimulateScenario_Migration{Migration: true},
	}}})
}

// withSpare gives the rig a second host of the same certificate.
func withSpare(t *testing.T, r *rig) *transport.Host {
	t.Helper()
	tc := transport.Default()
	tc.UDPPort, tc.TCPPort, tc.BindAddresses, tc.EnableLoopback = 0, -1, []string{"127.0.0.1"}, true
	spare, err := transport.NewHost(tc, r.cert, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.deps.SpareHost = func() (*transport.Host, error) { return spare, nil }
	r.onClose = append(r.onClose, spare.Close)
	return spare
}

// browser is a client's media: a stock Pion PeerConnection with a microphone.
type browser struct {
	t    *testing.T
	pc   *webrtc.PeerConnection
	next uint32
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	se.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() && ip.To4() != nil })
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(se)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "mic", "stream")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, pc: pc}
}

// negotiate offers on a session, whose responses c has, and returns the answer.
func (b *browser) negotiate(s *Session, c *client, restart bool) string {
	b.t.Helper()
	o, err := b.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.pc.SetLocalDescription(o); err != nil {
		b.t.Fatal(err)
	}
	b.next++
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_Offer{Offer: &livekit.SessionDescription{Type: "offer", Sdp: o.SDP, Id: b.next}}})
	answer := wait(b.t, c, "answer", func(m *livekit.SignalResponse) (*livekit.SessionDescription, bool) {
		return m.GetAnswer(), m.GetAnswer().GetId() == b.next
	})
	if err := b.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer.Sdp}); err != nil {
		b.t.Fatal(err)
	}
	return answer.Sdp
}

// joinWithMedia joins as ann, publishes a microphone and waits for the media.
func joinWithMedia(t *testing.T, r *rig) (*Session, *client, *browser) {
	t.Helper()
	s, c := r.join("ann", nil)
	b := newBrowser(t)
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_AddTrack{AddTrack: &livekit.AddTrackRequest{
		Cid: "mic", Type: livekit.TrackType_AUDIO, Source: livekit.TrackSource_MICROPHONE,
	}}})
	b.negotiate(s, c, false)
	wait(t, c, "active", update("ann", func(p *livekit.ParticipantInfo) bool {
		return p.State == livekit.ParticipantInfo_ACTIVE && len(p.Tracks) == 1
	}))
	return s, c, b
}

// port is how a candidate of the host ends.
func port(h *transport.Host) string {
	return fmt.Sprintf(" %d typ host", h.Candidates()[0].Address.Port())
}

// TestMigration moves a publishing participant to the spare host and back.
func TestMigration(t *testing.T) {
	r := newRig(t, nil)
	spare := withSpare(t, r)
	_, bob := r.join("bob", nil)
	s, c, b := joinWithMedia(t, r)
	p := s.p
	before := wait(t, bob, "ann", update("ann", func(p *livekit.ParticipantInfo) bool { return len(p.Tracks) == 1 }))
	wait(t, bob, "ann active", update("ann", func(p *livekit.ParticipantInfo) bool { return p.State == livekit.ParticipantInfo_ACTIVE }))
	heard := len(bob.all())
	for i, to := range []*transport.Host{spare, r.deps.Host} {
		migrate(s)
		l := wait(t, c, "leave", leaveOf)
		if l.Reason != livekit.DisconnectReason_MIGRATION || l.Action != livekit.LeaveRequest_RESUME {
			t.Fatalf("leave: %v", l)
		}
		migrate(s) // once more, while it moves
		c = &client{}
		var err error
		s, err = r.Resume(t.Context(), Join{Room: "r", Claims: claims("ann", nil), Sink: c, Single: true, Reconnect: true, ParticipantSID: p.sid})
		if err != nil {
			t.Fatal(err)
		}
		if answer := b.negotiate(s, c, true); !strings.Contains(answer, port(to)) {
			t.Errorf("the answer of move %d does not tell the other host's address:\n%s", i, answer)
		}
		deadline := time.Now().Add(5 * time.Second)
		for r.totals.Moves.Load() != int64(i+1) && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		s.do(func() {
			if p.host != to || p.move != nil || p.left || len(p.pubs) != 1 {
				t.Errorf("after move %d: moving %v, left %v, %d publications", i, p.move, p.left, len(p.pubs))
			}
		})
		if n := to.Stats().Connections; n == 0 {
			t.Errorf("move %d: no connection at the host", i)
		}
	}
	for _, m := range bob.all()[heard:] {
		if m.GetUpdate() != nil || m.GetLeave() != nil {
			t.Errorf("bob is told of the move: %v", m)
		}
	}
	list, err := r.Room("r").Participants(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(p *livekit.ParticipantInfo) bool { return p.Identity == "ann" })
	if i < 0 || list[i].Sid != before.Sid || list[i].Tracks[0].Sid != before.Tracks[0].Sid {
		t.Errorf("ann is now %v, was %v", list, before)
	}
}

// TestMigrationNotInTime: a client that does not come back for its move has to
// join anew.
func TestMigrationNotInTime(t *testing.T) {
	r := newRig(t, nil)
	withSpare(t, r)
	s, c, _ := joinWithMedia(t, r)
	_, bob := r.join("bob", nil)
	migrate(s)
	wait(t, c, "leave", leaveOf)
	s.do(func() { s.p.move.deadline = time.Now() })
	gone := wait(t, bob, "ann's end", update("ann", func(p *livekit.ParticipantInfo) bool {
		return p.State == livekit.ParticipantInfo_DISCONNECTED
	}))
	if gone.DisconnectReason != livekit.DisconnectReason_MIGRATION {
		t.Errorf("ann left for %v", gone.DisconnectReason)
	}
	j := Join{Room: "r", Claims: claims("ann", nil), Sink: &client{}, Single: true, Reconnect: true, ParticipantSID: s.p.sid}
	if _, err := r.Resume(t.Context(), j); err != ErrParticipantNotFound {
		t.Errorf("resume after the time was up: %v", err)
	}
}

// TestMigrationByReconnect: who cannot be handed over is told so at once.
func TestMigrationByReconnect(t *testing.T) {
	for name, change := range map[string]func(*Join){
		"media not up": func(*Join) {},
		"Go SDK":       func(j *Join) { j.Client.Sdk = livekit.ClientInfo_GO },
		"old protocol": func(j *Join) { j.Client.Protocol = 9 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			withSpare(t, r)
			s, c := r.join("ann", change)
			if name != "media not up" {
				s.do(s.p.activate)
			}
			migrate(s)
			l := wait(t, c, "leave", leaveOf)
			if l.Reason != livekit.DisconnectReason_MIGRATION || l.Action != livekit.LeaveRequest_RECONNECT {
				t.Errorf("leave: %v", l)
			}
		})
	}
	t.Run("no other host", func(t *testing.T) {
		r := newRig(t, nil)
		s, c := r.join("ann", nil)
		s.do(s.p.activate)
		migrate(s)
		if l := wait(t, c, "leave", leaveOf); l.Action != livekit.LeaveRequest_RECONNECT {
			t.Errorf("leave: %v", l)
		}
	})
}
