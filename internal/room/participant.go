package room

import (
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/transport"
	"github.com/concertina-rtc/concertina/internal/room/data"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// Participant is one client in a room on this node.
type Participant struct {
	room     *Room
	sid      string
	identity string
	client   *livekit.ClientInfo
	address  string
	single   bool // one connection for both directions (/rtc/v1)
	primary  *peer.Peer
	up, down *peer.Peer // the same one when single
	log      *slog.Logger

	sink atomic.Pointer[sinkRef] // the signal connection; nil while it is lost

	// Shared with the data path.
	canData      atomic.Bool
	hidden       atomic.Bool
	agent        bool
	lastReliable atomic.Uint32 // newest reliable sequence received from this client
	data         *data.Client  // its data tracks; Forward only

	noise   rate.Sometimes // for what the client does wrong
	codecMu sync.Mutex
	codecs  map[string]string            // preferred mime by the client's track id
	audio   map[string]peer.AudioOptions // by the client's track id

	// Actor owned.
	claims     auth.Claims
	permission *livekit.ParticipantPermission
	metadata   string
	name       string
	attributes map[string]string
	state      livekit.ParticipantInfo_State
	joinedAt   time.Time
	activeAt   time.Time
	version    uint32
	left       bool
	reason     livekit.DisconnectReason

	autoSubscribe bool

	pending []*pendingTrack
	orphans []peer.Uplink // negotiated before their AddTrackRequest arrived
	pubs    []*Publication
	grant   *livekit.SubscriptionPermission // who may subscribe; nil = everybody
	subs    map[string]*Subscription        // by track sid
	wishes  uint64                          // subscriptions so far

	signalLost   time.Time    // zero while signalling is up
	lost         [2]time.Time // since when up (or the only connection) and down are lost; zero while up
	lastRefresh  time.Time
	quality      *livekit.ConnectionQualityInfo       // nil until judged
	qualities    map[string]livekit.ConnectionQuality // what it was told, by sid
	refuseResume resumeRefusal
	host         *transport.Host // where the connections are
	move         *handOver       // nil while it stays there
	downReady    bool            // the connection that carries subscriptions has been up
}

type sinkRef struct{ Sink }

// SID returns the participant's session id, new with every join.
func (p *Participant) SID() string { return p.sid }

// Identity returns the participant's identity, unique in its room.
func (p *Participant) Identity() string { return p.identity }

// send queues one response for this client.
func (p *Participant) send(m *livekit.SignalResponse) { p.sendMessage(NewMessage(m)) }

// sendMessage queues m. A client whose queue is full does not read: its signal
// connection is closed, and it may resume with a snapshot of everything.
func (p *Participant) sendMessage(m *Message) {
	s := p.sink.Load()
	if s == nil {
		return
	}
	if err := s.Send(m); err != nil && p.sink.CompareAndSwap(s, nil) {
		p.room.totals.SlowClients.Add(1)
		p.log.Warn("signal connection given up", "error", err)
		s.Close("slow client")
		p.room.mail.post(func() { p.signalGone() })
	}
}

// signalGone notes since when nobody listens. Actor.
func (p *Participant) signalGone() {
	if p.sink.Load() == nil && p.signalLost.IsZero() {
		p.signalLost = time.Now()
	}
}

// proto returns a copy of what others may know of p. Actor.
func (p *Participant) proto() *livekit.ParticipantInfo {
	info := &livekit.ParticipantInfo{
		Sid: p.sid, Identity: p.identity, State: p.state,
		Name: p.name, Metadata: p.metadata, Attributes: maps.Clone(p.attributes),
		JoinedAt: p.joinedAt.Unix(), JoinedAtMs: p.joinedAt.UnixMilli(),
		Version: p.version, Permission: proto.Clone(p.permission).(*livekit.ParticipantPermission),
		Region: p.room.deps.Region,
		Kind:   p.claims.Kind, KindDetails: p.claims.KindDetails,
		DisconnectReason: p.reason,
		ClientProtocol:   p.client.GetClientProtocol(),
		Capabilities:     p.client.GetCapabilities(),
	}
	for _, pub := range p.pubs {
		info.Tracks = append(info.Tracks, pub.proto())
	}
	info.DataTracks = p.data.Published()
	info.IsPublisher = len(info.Tracks) > 0 || len(info.DataTracks) > 0
	return info
}

// setPermission applies what the participant may do from now on. Actor.
func (p *Participant) setPermission(perm *livekit.ParticipantPermission) {
	p.permission = perm
	p.canData.Store(perm.CanPublishData)
	p.hidden.Store(perm.Hidden)
}

// preferredCodec answers the peer while it negotiates: the codec that the
// client announced for the track of that client id, or "".
func (p *Participant) preferredCodec(cid string) string {
	p.codecMu.Lock()
	defer p.codecMu.Unlock()
	return p.codecs[cid]
}

// audioOptions answers the peer like preferredCodec.
func (p *Participant) audioOptions(cid string) peer.AudioOptions {
	p.codecMu.Lock()
	defer p.codecMu.Unlock()
	return p.audio[cid]
}

func (p *Participant) setAudioOptions(cid string, o peer.AudioOptions) {
	p.codecMu.Lock()
	defer p.codecMu.Unlock()
	p.audio[cid] = o
}

func (p *Participant) preferCodec(cid, mime string) {
	p.codecMu.Lock()
	defer p.codecMu.Unlock()
	p.codecs[cid] = mime
}

func (p *Participant) forgetCodecs(cids ...string) {
	p.codecMu.Lock()
	defer p.codecMu.Unlock()
	for _, cid := range cids {
		delete(p.codecs, cid)
		delete(p.audio, cid)
	}
}

// complain logs what a client did wrong, now and then: it may do so at any pace.
func (p *Participant) complain(msg string, args ...any) {
	p.noise.Do(func() { p.log.Warn(msg, args...) })
}

// supportsLeaveAction: clients of protocol 13 and later read LeaveRequest.action.
func (p *Participant) supportsLeaveAction() bool { return p.client.GetProtocol() >= 13 }

// expireParticipant removes p when it has been away for too long. Actor.
func (r *Room) expireParticipant(p *Participant, now time.Time) {
	switch {
	case p.state != livekit.ParticipantInfo_ACTIVE && now.Sub(p.joinedAt) > r.cfg.JoinTimeout:
		r.remove(p, livekit.DisconnectReason_JOIN_FAILURE, livekit.LeaveRequest_RECONNECT, true)
	case p.move != nil && now.After(p.move.deadline):
		r.giveUpMove(p, errMoveTimeout)
	case !p.mediaLost().IsZero() && now.Sub(p.mediaLost()) > r.cfg.MediaGrace:
		r.remove(p, livekit.DisconnectReason_CONNECTION_TIMEOUT, livekit.LeaveRequest_RECONNECT, true)
	case !p.signalLost.IsZero() && now.Sub(p.signalLost) > r.cfg.SignalGrace:
		r.remove(p, livekit.DisconnectReason_SIGNAL_CLOSE, livekit.LeaveRequest_RECONNECT, false)
	case r.cfg.TokenRefresh > 0 && now.Sub(p.lastRefresh) > r.cfg.TokenRefresh:
		r.refreshToken(p, now)
	}
}

// remove ends p's participation. Actor.
func (r *Room) remove(p *Participant, reason livekit.DisconnectReason, action livekit.LeaveRequest_Action, tell bool) {
	if p.left {
		return
	}
	p.left = true
	r.rpcs.Abandon(p.sid, &RPCError{Code: rpcDisconnected, Message: "Recipient disconnected"})
	p.log.Info("participant left", "reason", reason.String(), "state", p.state.String())
	wasActive := p.state == livekit.ParticipantInfo_ACTIVE || !p.activeAt.IsZero()
	for len(p.pubs) > 0 {
		r.unpublish(p.pubs[0])
	}
	p.data.Leave()
	for _, s := range p.subs {
		r.unsubscribe(s)
	}
	if r.participants[p.identity] == p {
		delete(r.participants, p.identity)
	}
	r.publishRoster()
	p.state, p.reason = livekit.ParticipantInfo_DISCONNECTED, reason
	r.broadcastParticipant(p, false)
	if tell {
		p.send(reply.Leave(reason, action))
	}
	if s := p.sink.Swap(nil); s != nil {
		s.Close(reason.String())
	}
	r.wg.Go(func() { // closing waits for the peer's goroutines
		p.up.Close()
		if p.down != p.up {
			p.down.Close()
		}
	})
	r.totals.ParticipantsLeft.Add(1)
	r.emitLeft(p, wasActive)
	if len(r.participants) == 0 {
		r.emptySince = time.Now()
	}
}

// refreshToken sends a token with the present grants, so that a client that
// stays long can still reconnect. Actor.
func (r *Room) refreshToken(p *Participant, now time.Time) {
	p.lastRefresh = now
	if r.deps.RefreshToken == nil {
		return
	}
	token, err := r.deps.RefreshToken(p.tokenRequest())
	if err != nil {
		p.log.Error("refresh token", "error", err)
		return
	}
	p.send(reply.RefreshToken(token))
}

// TokenRequest is what a refreshed token says: the claims of the first one,
// with permission, name, metadata and attributes as they are now.
type TokenRequest struct {
	Claims auth.Claims
	Room   string
}

func (p *Participant) tokenRequest() TokenRequest {
	c := p.claims.Clone()
	c.Name, c.Metadata, c.Attributes = p.name, p.metadata, maps.Clone(p.attributes)
	c.Video.Room = p.room.name
	c.Video.UpdateFromPermission(p.permission)
	c.RoomConfig = nil // applies at creation only
	return TokenRequest{Claims: c, Room: p.room.name}
}
