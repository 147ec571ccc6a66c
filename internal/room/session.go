package room

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/transport"
	"github.com/concertina-rtc/concertina/internal/room/data"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// Session is one signal connection of a participant. Its methods are called
// by one goroutine, the connection's reader, in the order of the frames.
type Session struct {
	p    *Participant
	sink Sink
	held *heldAnswer // nil unless the answer to the offer in the join waits
}

// Participant returns whose connection it is.
func (s *Session) Participant() *Participant { return s.p }

// Detach tells that the connection is gone. The participant stays while its
// media lives, so that the client can resume.
func (s *Session) Detach() {
	p := s.p
	if s.held != nil {
		s.held.timer.Stop()
	}
	if ref := p.sink.Load(); ref != nil && ref.Sink == s.sink && p.sink.CompareAndSwap(ref, nil) {
		p.room.mail.post(func() { p.detached() })
	}
}

// detached: a participant whose media never came up, or was closed by its
// client, leaves at once, unless it has resumed meanwhile. Actor.
func (p *Participant) detached() {
	if p.left || p.sink.Load() != nil {
		return
	}
	p.signalGone()
	if p.activeAt.IsZero() || !p.mediaLost().IsZero() && p.primary.State() == transport.StateClosed {
		p.room.remove(p, livekit.DisconnectReason_SIGNAL_CLOSE, livekit.LeaveRequest_DISCONNECT, false)
	}
}

// heldAnswer is an answer that waits for a sign that the client is ready.
type heldAnswer struct {
	once  sync.Once
	send  func()
	timer *time.Timer
}

// answerHold bounds the wait of a held answer.
const answerHold = 2 * time.Second

// release sends the answer now, if it was not sent yet.
func (h *heldAnswer) release() {
	if h != nil {
		h.timer.Stop()
		h.once.Do(h.send)
	}
}

// JoinOffer handles the offer that came with the join. The Go SDK reads answers
// before it has applied its own offer and loses one that comes at once; its
// first candidate shows that it has.
func (s *Session) JoinOffer(o *livekit.SessionDescription) {
	send := s.prepareAnswer(o)
	if send == nil {
		return
	}
	if s.p.client.GetSdk() != livekit.ClientInfo_GO {
		send()
		return
	}
	s.held = &heldAnswer{send: send}
	s.held.timer = time.AfterFunc(answerHold, func() { s.held.once.Do(send) })
}

// Offer handles an offer of the client and sends the answer. It runs on the
// caller's goroutine: a big room must not wait for one client's SDP.
func (s *Session) Offer(o *livekit.SessionDescription) {
	s.held.release()
	if send := s.prepareAnswer(o); send != nil {
		send()
	}
}

// prepareAnswer settles an offer and returns what sends the answer, or nil.
func (s *Session) prepareAnswer(o *livekit.SessionDescription) func() {
	p := s.p
	answer, err := p.up.HandleOffer(o.GetSdp(), o.GetId())
	if err != nil {
		p.negotiationFailed("offer", err)
		return nil
	}
	s.do(p.joined)
	return func() {
		p.send(reply.Answer(answer.SDP, answer.ID, answer.MidToTrack))
	}
}

func (s *Session) answer(a *livekit.SessionDescription) {
	if s.p.single {
		s.p.room.totals.BadMessages.Add(1)
		s.p.complain("answer from a client that is always the offerer")
		return
	}
	if err := s.p.down.HandleAnswer(a.GetSdp(), a.GetId()); err != nil {
		s.p.negotiationFailed("answer", err)
		return
	}
	s.do(s.p.joined)
}

// negotiationFailed: without a common description no media can flow; a full
// reconnect starts from a clean state.
func (p *Participant) negotiationFailed(what string, err error) {
	if errors.Is(err, peer.ErrClosed) {
		return // it left meanwhile
	}
	p.room.totals.BadMessages.Add(1)
	p.log.Warn("negotiation failed", "with", what, "error", err)
	p.room.mail.post(func() {
		p.room.remove(p, livekit.DisconnectReason_STATE_MISMATCH, livekit.LeaveRequest_RECONNECT, true)
	})
}

// do runs f on the room's goroutine and waits, so that messages of one client
// take effect in order. It does nothing once the participant has left.
func (s *Session) do(f func()) {
	_ = s.p.room.call(context.Background(), func() error { // closed: the client was told to leave
		if !s.p.left {
			f()
		}
		return nil
	})
}

// superseded: the client has resumed on another connection, and what still comes
// by this one is older than what came by that.
func (s *Session) superseded() bool {
	ref := s.p.sink.Load()
	return ref != nil && ref.Sink != s.sink
}

// Handle acts on one request. Requests of a connection that another one has
// taken over from are ignored.
func (s *Session) Handle(req *livekit.SignalRequest) {
	p, r := s.p, s.p.room
	if s.superseded() {
		return
	}
	switch m := req.GetMessage().(type) {
	case *livekit.SignalRequest_Offer:
		s.Offer(m.Offer)
	case *livekit.SignalRequest_Answer:
		s.answer(m.Answer)
	case *livekit.SignalRequest_Trickle:
		s.held.release() // else nothing: the server is ICE-lite, checks show the client's addresses
	case *livekit.SignalRequest_AddTrack:
		s.do(func() { r.addTrack(p, m.AddTrack) })
	case *livekit.SignalRequest_Mute:
		s.do(func() { r.muteOwn(p, m.Mute.GetSid(), m.Mute.GetMuted()) })
	case *livekit.SignalRequest_Subscription:
		s.do(func() { r.updateSubscription(p, m.Subscription) })
	case *livekit.SignalRequest_TrackSetting:
		s.do(func() { r.updateTrackSettings(p, m.TrackSetting) })
	case *livekit.SignalRequest_Leave:
		s.do(func() {
			r.remove(p, livekit.DisconnectReason_CLIENT_INITIATED, livekit.LeaveRequest_DISCONNECT, false)
		})
	case *livekit.SignalRequest_SubscriptionPermission:
		s.do(func() { r.setSubscriptionPermission(p, m.SubscriptionPermission) })
	case *livekit.SignalRequest_SyncState:
		s.do(func() { r.syncState(p, m.SyncState) })
	case *livekit.SignalRequest_Simulate:
		s.do(func() { r.simulate(p, m.Simulate) })
	case *livekit.SignalRequest_Ping, *livekit.SignalRequest_PingReq:
		p.send(reply.Pong(req, time.Now().UnixMilli()))
	case *livekit.SignalRequest_UpdateMetadata:
		s.do(func() { r.updateOwnProfile(p, m.UpdateMetadata) })
	case *livekit.SignalRequest_UpdateAudioTrack:
		s.do(func() { r.updateLocalAudio(p, m.UpdateAudioTrack) })
	case *livekit.SignalRequest_UpdateVideoTrack:
		s.do(func() { r.updateLocalVideo(p, m.UpdateVideoTrack) })
	case *livekit.SignalRequest_UpdateLayers: // deprecated: layers are measured
	case *livekit.SignalRequest_PublishDataTrackRequest:
		s.do(func() { r.publishDataTrack(p, m.PublishDataTrackRequest) })
	case *livekit.SignalRequest_UnpublishDataTrackRequest:
		s.do(func() { r.unpublishDataTrack(p, m.UnpublishDataTrackRequest) })
	case *livekit.SignalRequest_UpdateDataSubscription:
		s.do(func() { p.data.Subscribe(m.UpdateDataSubscription) })
	default:
		r.totals.BadMessages.Add(1)
		p.complain("signal request of an unknown type ignored")
	}
}

// resumeRefusal is what SimulateScenario asked for the next resume.
type resumeRefusal uint8

const (
	resumeNormal resumeRefusal = iota
	resumeDisconnect
	resumeDisconnectSilent
)

// resume attaches a new signal connection to a participant that is still here.
// The reconnect response comes first, then a snapshot of everything. Actor.
func (r *Room) resume(j Join) (*Session, error) {
	p := r.participants[j.Claims.Identity]
	if p == nil || p.sid != j.ParticipantSID || p.left {
		return nil, ErrParticipantNotFound
	}
	if p.single != j.Single {
		return nil, ErrParticipantNotFound // another kind of connection: start anew
	}
	refusal := p.refuseResume
	p.refuseResume = resumeNormal
	r.totals.Resumes.Add(1)
	p.log.Info("participant resumes", "reason", j.ReconnectReason.String())
	s := &Session{p: p, sink: j.Sink}
	if refusal != resumeDisconnectSilent {
		// Before others can send on the new connection: it must come first.
		if err := j.Sink.Send(NewMessage(r.reconnectResponse(p))); err != nil {
			return nil, fmt.Errorf("resume: %w", err)
		}
	}
	if old := p.sink.Swap(&sinkRef{j.Sink}); old != nil {
		old.Close("resumed on a new connection")
	}
	if refusal != resumeNormal {
		p.sink.Store(nil)
		p.signalGone()
		j.Sink.Close("simulated")
		return s, nil
	}
	p.signalLost = time.Time{}
	p.address = j.Address
	r.sendSnapshot(p)
	if !p.single {
		p.down.RestartICE()
	}
	if j.SyncState != nil {
		r.syncState(p, j.SyncState)
	}
	return s, nil
}

func (r *Room) reconnectResponse(p *Participant) *livekit.SignalResponse {
	return reply.Reconnect(&livekit.ReconnectResponse{
		IceServers: r.iceServers(p), ServerInfo: r.serverInfo(),
		ClientConfiguration: &livekit.ClientConfiguration{ResumeConnection: livekit.ClientConfigSetting_ENABLED},
		LastMessageSeq:      p.lastReliable.Load(),
	})
}

// sendSnapshot tells p everything it may have missed. Actor.
func (r *Room) sendSnapshot(p *Participant) {
	infos := []*livekit.ParticipantInfo{p.proto()}
	for _, q := range r.participants {
		if q != p && !q.permission.Hidden {
			infos = append(infos, q.proto())
		}
	}
	p.send(reply.Participants(infos...))
	p.send(reply.Room(r.proto()))
	r.sendSpeakersTo(p)
	r.refreshToken(p, time.Now())
	p.data.SendHandles()
}

// syncState reconciles what a resuming client believes. A client whose
// publications we do not have must start anew. Actor.
func (r *Room) syncState(p *Participant, st *livekit.SyncState) {
	for _, t := range st.GetPublishTracks() {
		sid := t.GetTrack().GetSid()
		if pub := r.tracks[sid]; pub != nil && pub.publisher == p || p.pendingBySID(sid) != nil {
			continue
		}
		p.log.Warn("client believes in a track that is not here; it must reconnect", "track", sid)
		r.remove(p, livekit.DisconnectReason_STATE_MISMATCH, livekit.LeaveRequest_RECONNECT, true)
		return
	}
	if sub := st.GetSubscription(); sub != nil {
		r.updateSubscription(p, sub) // with auto-subscribe what it does not want, else what it wants
	}
	for sid, s := range p.subs { // what it enabled may have been lost on the way, too
		if off := slices.Contains(st.GetTrackSidsDisabled(), sid); off != s.settings.Disabled {
			s.settings.Disabled = off
			s.apply()
		}
	}
	if ds := st.GetDataSubscription(); ds != nil {
		p.data.Subscribe(ds)
	}
	p.replay(r.reliable.After(p.identity, p.sid, data.States(st.GetDatachannelReceiveStates())))
}

// onData dispatches what came over a data channel. It runs on the channel's
// goroutine, so a slow room pushes back on the sender and on nobody else.
func (p *Participant) onData(ch peer.Channel, raw []byte) {
	switch ch {
	case peer.Reliable:
		p.onPacket(livekit.DataPacket_RELIABLE, raw)
	case peer.Lossy:
		p.onPacket(livekit.DataPacket_LOSSY, raw)
	case peer.DataTrack:
		p.onDataTrackPacket(raw)
	}
}
