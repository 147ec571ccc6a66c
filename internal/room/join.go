package room

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"golang.org/x/time/rate"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/transport"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// protocolVersion is the signalling protocol this server speaks. It stays
// below 18, which would promise negotiated data channel ids in v1.
const protocolVersion = 17

// livekitVersion is the LiveKit release whose protocol this is. SDKs compare it
// to decide what they may use (RPC needs 1.8), so clients get it in place of our
// own version, which is in ServerInfo.debug_info.
const livekitVersion = "1.13.5"

// Join is a verified wish to join or resume.
type Join struct {
	Room    string
	Claims  auth.Claims
	Client  *livekit.ClientInfo
	Address string // the client's, for logs and the console
	Sink    Sink

	Single            bool // /rtc/v1
	AutoSubscribe     bool
	AutoSubscribeData bool
	AdaptiveStream    bool
	Metadata          string            // replaces the token's when not empty
	Attributes        map[string]string // set over the token's
	AddTracks         []*livekit.AddTrackRequest
	Offer             *livekit.SessionDescription // the client's first, with the join (v1)

	Reconnect       bool
	ParticipantSID  string // of the session to resume
	ReconnectReason livekit.ReconnectReason
	SyncState       *livekit.SyncState
}

func (j *Join) canCreate() bool { return j.Claims.Video.RoomCreate }

// join adds the participant and sends its join response. Actor.
func (r *Room) join(j Join) (*Session, error) {
	if err := r.admit(&j.Claims); err != nil {
		return nil, err
	}
	if err := r.checkProfile(j.Claims.Name, j.Metadata, j.Attributes); err != nil {
		return nil, err
	}
	if old := r.participants[j.Claims.Identity]; old != nil {
		r.totals.FullReconnects.Add(1)
		r.remove(old, livekit.DisconnectReason_DUPLICATE_IDENTITY, livekit.LeaveRequest_DISCONNECT, true)
	}
	p, err := r.newParticipant(j, time.Now())
	if err != nil {
		return nil, err
	}
	p.setProtocol(r.cfg.Protocol)
	r.recallProtocol(p, p.joinedAt)
	p.sink.Store(&sinkRef{j.Sink})
	p.send(reply.Join(r.joinResponse(p)))
	r.participants[p.identity] = p
	r.everJoined = true
	r.publishRoster()
	r.totals.ParticipantsJoined.Add(1)
	p.log.Info("participant joins", "sdk", j.Client.GetSdk().String(), "sdk_version", j.Client.GetVersion(),
		"browser", j.Client.GetBrowser(), "single_connection", j.Single, "address", j.Address)
	r.refreshToken(p, p.joinedAt)
	for _, req := range j.AddTracks {
		r.addTrack(p, req)
	}
	r.subscribeToAll(p)
	p.data.SubscribeAll()
	if !p.single {
		p.down.Negotiate()
	}
	r.broadcastParticipant(p, false)
	r.sendSpeakersTo(p)
	return &Session{p: p, sink: j.Sink}, nil
}

func (r *Room) newParticipant(j Join, now time.Time) (*Participant, error) {
	sid := newSID("PA_")
	p := &Participant{
		room: r, sid: sid, identity: j.Claims.Identity, client: j.Client, address: j.Address, single: j.Single,
		log:    r.log.With("participant", j.Claims.Identity, "participant_sid", sid),
		claims: j.Claims, name: j.Claims.Name, metadata: j.Claims.Metadata, attributes: maps.Clone(j.Claims.Attributes),
		joinedAt: now, lastRefresh: now, state: livekit.ParticipantInfo_JOINING,
		autoSubscribe: j.AutoSubscribe,
		agent:         j.Claims.Kind == livekit.ParticipantInfo_AGENT || j.Claims.Video.Agent,
		noise:         rate.Sometimes{First: 10, Interval: 10 * time.Second},
		codecs:        map[string]string{}, audio: map[string]peer.AudioOptions{}, subs: map[string]*Subscription{},
	}
	if p.client == nil {
		p.client = &livekit.ClientInfo{}
	}
	if j.Metadata != "" {
		p.metadata = j.Metadata
	}
	if len(j.Attributes) > 0 {
		if p.attributes == nil {
			p.attributes = map[string]string{}
		}
		for k, v := range j.Attributes {
			if v != "" { // the token's cannot be deleted
				p.attributes[k] = v
			}
		}
	}
	p.setPermission(j.Claims.Permission())
	p.data = r.dataTracks.Join(dataMember{p}, j.AutoSubscribeData)
	if err := p.connect(); err != nil {
		p.data.Leave()
		return nil, err
	}
	return p, nil
}

// connect makes the participant's media connections.
func (p *Participant) connect() error {
	p.host = p.room.deps.Host
	params := peer.Params{
		Host: p.host, Loop: p.room.deps.Loop, Log: p.log,
		Codecs: p.room.cfg.Codecs, Quirks: p.quirks(),
		PreferredCodec: p.preferredCodec, AudioOptions: p.audioOptions, PLIThrottle: p.room.cfg.PLIThrottle,
		NegotiationFailed: func(err error) { p.negotiationFailed("offer", err) },
		CNAME:             p.sid,
	}
	var err error
	if p.single {
		params.Mode, params.Handler = peer.Single, &peerEvents{p: p}
		p.up, err = peer.New(params)
		p.down, p.primary = p.up, p.up
		return err
	}
	params.Mode, params.Handler = peer.Publisher, &peerEvents{p: p}
	if p.up, err = peer.New(params); err != nil {
		return err
	}
	params.Mode, params.Handler = peer.Subscriber, &peerEvents{p: p, down: true}
	if p.down, err = peer.New(params); err != nil {
		p.up.Close()
		return err
	}
	p.primary = p.up
	if p.subscriberPrimary() {
		p.primary = p.down
	}
	return nil
}

// subscriberPrimary: clients that may subscribe wait for the subscriber
// connection first; protocol 3 introduced it.
func (p *Participant) subscriberPrimary() bool {
	return !p.single && p.permission.CanSubscribe && p.client.GetProtocol() > 2
}

func (p *Participant) quirks() peer.Quirks {
	c := p.client
	browser := strings.ToLower(c.GetBrowser())
	q := peer.Quirks{
		Firefox: strings.HasPrefix(browser, "firefox"),
		Safari:  browser == "safari" || strings.HasPrefix(browser, "mobile safari"),
		Go:      c.GetSdk() == livekit.ClientInfo_GO,
	}
	q.NoRED = q.Firefox || q.Safari || q.Go
	return q
}

func (r *Room) joinResponse(p *Participant) *livekit.JoinResponse {
	j := &livekit.JoinResponse{
		Room: r.proto(), Participant: p.proto(),
		ServerVersion: livekitVersion, ServerRegion: r.deps.Region,
		IceServers:           r.iceServers(p),
		SubscriberPrimary:    p.subscriberPrimary(),
		PingInterval:         int32(r.cfg.PingInterval / time.Second),
		PingTimeout:          int32(r.cfg.PingTimeout / time.Second),
		ServerInfo:           r.serverInfo(),
		EnabledPublishCodecs: r.cfg.enabledPublishCodecs(),
		FastPublish:          p.permission.CanPublish,
		ClientConfiguration:  &livekit.ClientConfiguration{ResumeConnection: livekit.ClientConfigSetting_ENABLED},
	}
	for _, q := range r.participants {
		if q != p && !q.permission.Hidden {
			j.OtherParticipants = append(j.OtherParticipants, q.proto())
		}
	}
	return j
}

func (r *Room) serverInfo() *livekit.ServerInfo {
	return &livekit.ServerInfo{
		Edition: livekit.ServerInfo_Standard, Version: livekitVersion, Protocol: protocolVersion,
		Region: r.deps.Region, NodeId: r.deps.NodeID, DebugInfo: "concertina " + r.deps.Version,
	}
}

func (r *Room) iceServers(p *Participant) []*livekit.ICEServer {
	if r.deps.ICEServers == nil {
		return nil
	}
	return r.deps.ICEServers(p.sid)
}

// checkProfile holds names, metadata and attributes to their limits.
func (r *Room) checkProfile(name, metadata string, attributes map[string]string) error {
	if n := r.cfg.MaxName; n > 0 && len(name) > n {
		return fmt.Errorf("%w: participant name has %d bytes, at most %d are allowed (limit.max_participant_name_length)", ErrLimit, len(name), n)
	}
	if n := r.cfg.MaxMetadataSize; n > 0 && len(metadata) > n {
		return fmt.Errorf("%w: metadata has %d bytes, at most %d are allowed (limit.max_metadata_size)", ErrLimit, len(metadata), n)
	}
	size := 0
	for k, v := range attributes {
		size += len(k) + len(v)
	}
	if n := r.cfg.MaxAttributesSize; n > 0 && size > n {
		return fmt.Errorf("%w: attributes have %d bytes, at most %d are allowed (limit.max_attributes_size)", ErrLimit, size, n)
	}
	return nil
}

// peerEvents brings a peer's callbacks to the room's goroutine.
type peerEvents struct {
	p    *Participant
	down bool
}

// OnState implements peer.Handler.
func (e *peerEvents) OnState(s transport.State) {
	e.p.room.mail.post(func() { e.p.connectionState(e.down, s) })
}

// OnTrack implements peer.Handler.
func (e *peerEvents) OnTrack(u peer.Uplink) {
	e.p.room.mail.post(func() { e.p.room.trackNegotiated(e.p, u) })
}

// OnTrackEnded implements peer.Handler.
func (e *peerEvents) OnTrackEnded(mid string) {
	e.p.room.mail.post(func() { e.p.room.trackEnded(e.p, mid) })
}

// OnOffer implements peer.Handler.
func (e *peerEvents) OnOffer(sdp string, id uint32, mids map[string]string) {
	e.p.send(reply.Offer(sdp, id, mids))
}

// OnMediaSections implements peer.Handler.
func (e *peerEvents) OnMediaSections(audios, videos int) {
	e.p.send(reply.MediaSections(audios, videos))
}

// OnMessage implements peer.Handler.
func (e *peerEvents) OnMessage(ch peer.Channel, data []byte, _ bool) {
	e.p.onData(ch, data)
}

// connectionState follows the media connections. Actor.
func (p *Participant) connectionState(down bool, s transport.State) {
	if p.left {
		return
	}
	isPrimary := p.single || down == (p.primary == p.down)
	lost := &p.lost[0]
	if down {
		lost = &p.lost[1]
	}
	switch s {
	case transport.StateConnected:
		*lost = time.Time{}
		if (p.single || down) && !p.downReady {
			p.downReady = true
			for _, sub := range p.subs {
				sub.attach()
			}
		}
		if isPrimary && p.state != livekit.ParticipantInfo_ACTIVE {
			p.activate()
		}
	case transport.StateDisconnected:
		if p.sink.Load() == nil && lost.IsZero() { // neither signalling nor media
			*lost = time.Now()
		}
	case transport.StateClosed: // the client closed it
		if p.sink.Load() == nil && isPrimary && !p.activeAt.IsZero() {
			p.room.remove(p, livekit.DisconnectReason_SIGNAL_CLOSE, livekit.LeaveRequest_DISCONNECT, false)
		} else if lost.IsZero() {
			*lost = time.Now()
		}
	case transport.StateFailed:
		p.log.Info("media connection failed", "subscriber", down)
		if lost.IsZero() {
			*lost = time.Now()
		}
		if p.supportsLeaveAction() {
			p.send(reply.Leave(livekit.DisconnectReason_CONNECTION_TIMEOUT, livekit.LeaveRequest_RESUME))
		}
		if sink := p.sink.Swap(nil); sink != nil {
			sink.Close("media connection failed")
			p.signalGone()
		}
	}
}

// mediaLost returns since when a media connection is down, zero when none is.
func (p *Participant) mediaLost() time.Time {
	a, b := p.lost[0], p.lost[1]
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// activate marks that media flows. Actor.
func (p *Participant) activate() {
	r := p.room
	p.state = livekit.ParticipantInfo_ACTIVE
	first := p.activeAt.IsZero()
	if first {
		p.activeAt = time.Now()
		p.log.Info("participant active", "connect_ms", p.activeAt.Sub(p.joinedAt).Milliseconds())
		r.emitJoined(p)
	}
	r.broadcastParticipant(p, true)
	if first {
		p.replay(r.reliable.Since(p.identity, p.sid, p.joinedAt))
	}
}

// joined marks that the first offer or answer was seen. Actor.
func (p *Participant) joined() {
	if p.state == livekit.ParticipantInfo_JOINING {
		p.state = livekit.ParticipantInfo_JOINED
		p.room.broadcastParticipant(p, true)
	}
}
