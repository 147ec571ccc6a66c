// Package room hosts rooms for LiveKit clients: participants, publications,
// subscriptions, data. A room is the union of the participant records of the
// nodes that have some; this package holds the records of its own node.
//
// Each room is one goroutine with a mailbox (run.go); everything named "actor
// owned" is touched there only. Media never passes through it: packets go from
// receiver to down track on socket goroutines, data packets on the publisher's
// data channel goroutine (data.go).
//
// It does not know HTTP, WebSockets or tokens' signatures (package signal), nor
// which node should host whom (package cluster). Start at run.go, then join.go.
package room

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/room/data"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// Room is one room on this node.
type Room struct {
	name    string
	created time.Time
	cfg     *Config
	deps    *Deps
	manager *Manager
	totals  *Totals
	log     *slog.Logger
	mail    *mailbox
	done    chan struct{}
	wg      sync.WaitGroup // peers being closed, timers

	roster   atomic.Pointer[[]*Participant] // the participants, for the data path
	reliable *data.Cache
	nonces   data.Nonces
	rpcs     data.Calls // the server's

	// Actor owned.
	info         *livekit.Room
	participants map[string]*Participant // by identity
	tracks       map[string]*Publication // by track sid
	dataTracks   *data.Tracks
	emptySince   time.Time // since when nobody is here
	everJoined   bool
	recorded     bool // what clients know of recording
	closing      bool
	speakers     speakers
	lastQuality  time.Time
	protocols    map[string]rememberedProtocol // by identity
}

func newRoom(m *Manager, name string, rc *livekit.RoomConfiguration, now time.Time) *Room {
	sid := newSID("RM_")
	r := &Room{
		name: name, created: now, cfg: &m.cfg, deps: &m.deps, manager: m, totals: &m.totals,
		log:          m.deps.Log.With("room", name, "room_sid", sid),
		mail:         newMailbox(),
		done:         make(chan struct{}),
		reliable:     data.NewCache(m.cfg.ReliableCacheTTL, 1<<20),
		participants: map[string]*Participant{},
		tracks:       map[string]*Publication{},
		dataTracks:   data.NewTracks(func() string { return newSID("DTR_") }, m.cfg.MaxTracks),
		emptySince:   now,
		speakers:     speakers{sent: map[string]*livekit.SpeakerInfo{}},
		protocols:    map[string]rememberedProtocol{},
		info: &livekit.Room{
			Sid: sid, Name: name,
			EmptyTimeout:     uint32(m.cfg.EmptyTimeout / time.Second),
			DepartureTimeout: uint32(m.cfg.DepartureTimeout / time.Second),
			MaxParticipants:  m.cfg.MaxParticipants,
			CreationTime:     now.Unix(), CreationTimeMs: now.UnixMilli(),
			EnabledCodecs: m.cfg.enabledPublishCodecs(),
		},
	}
	r.roster.Store(&[]*Participant{})
	if rc != nil {
		r.configure(&livekit.CreateRoomRequest{
			EmptyTimeout: rc.EmptyTimeout, DepartureTimeout: rc.DepartureTimeout,
			MaxParticipants: rc.MaxParticipants, Metadata: rc.Metadata,
		})
	}
	return r
}

// configure applies what the request sets; zero values change nothing.
func (r *Room) configure(req *livekit.CreateRoomRequest) {
	if req.EmptyTimeout > 0 {
		r.info.EmptyTimeout = req.EmptyTimeout
	}
	if req.DepartureTimeout > 0 {
		r.info.DepartureTimeout = req.DepartureTimeout
	}
	if req.MaxParticipants > 0 {
		r.info.MaxParticipants = req.MaxParticipants
	}
	if req.Metadata != "" && req.Metadata != r.info.Metadata {
		r.info.Metadata = req.Metadata
		r.broadcastRoom()
	}
}

// Name returns the room's name.
func (r *Room) Name() string { return r.name }

// call runs f on the room's goroutine and waits for it. Errors: [ErrClosed] when
// the room closed first, or the context's; f has not run then, and will not.
func (r *Room) call(ctx context.Context, f func() error) error {
	var taken atomic.Bool // by the room, or back by the caller
	result := make(chan error, 1)
	if !r.mail.post(func() {
		if taken.CompareAndSwap(false, true) {
			result <- f()
		}
	}) {
		return ErrClosed
	}
	err := ErrClosed
	select {
	case err = <-result:
		return err
	case <-ctx.Done():
		err = ctx.Err()
	case <-r.done:
	}
	if taken.CompareAndSwap(false, true) {
		return err
	}
	return <-result // it runs, or has just run
}

// gone waits until the room has ended.
func (r *Room) gone(ctx context.Context) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// admit tells whether somebody may join now. Who takes the place of its former
// self may. Actor.
func (r *Room) admit(c *auth.Claims) error {
	if r.closing {
		return ErrClosed
	}
	limit := int(r.info.MaxParticipants)
	if limit == 0 || r.participants[c.Identity] != nil || onTop(c.Kind, c.Permission()) {
		return nil
	}
	n := 0
	for _, p := range r.participants {
		if !onTop(p.claims.Kind, p.permission) {
			n++
		}
	}
	if n >= limit {
		return ErrRoomFull
	}
	return nil
}

// onTop: a limit on participants is not about recorders, ingest, agents and who
// is hidden (RoomConfiguration.max_participants).
func onTop(kind livekit.ParticipantInfo_Kind, perm *livekit.ParticipantPermission) bool {
	switch kind {
	case livekit.ParticipantInfo_EGRESS, livekit.ParticipantInfo_INGRESS, livekit.ParticipantInfo_AGENT:
		return true
	}
	return perm.Hidden || perm.Recorder || perm.Agent //nolint:staticcheck // older tokens say it so
}

// recording tells whether somebody here records the room. Actor.
func (r *Room) recording() bool {
	for _, p := range r.participants {
		if p.claims.Kind == livekit.ParticipantInfo_EGRESS || p.permission.Recorder { //nolint:staticcheck // the same
			return true
		}
	}
	return false
}

// proto returns a copy of the room's public state. Actor.
func (r *Room) proto() *livekit.Room {
	info := proto.Clone(r.info).(*livekit.Room)
	info.NumParticipants, info.NumPublishers = 0, 0
	for _, p := range r.participants {
		if p.permission.Hidden {
			continue
		}
		info.NumParticipants++
		if len(p.pubs) > 0 || len(p.data.Published()) > 0 {
			info.NumPublishers++
		}
	}
	info.ActiveRecording = r.recording()
	return info
}

// broadcast sends m to every participant but except. Actor.
func (r *Room) broadcast(m *livekit.SignalResponse, except *Participant) {
	msg := NewMessage(m)
	for _, p := range r.participants {
		if p != except {
			p.sendMessage(msg)
		}
	}
}

func (r *Room) broadcastRoom() {
	r.broadcast(reply.Room(r.proto()), nil)
}

// broadcastParticipant tells everybody about p as it is now. A hidden
// participant is told to itself only. Actor.
func (r *Room) broadcastParticipant(p *Participant, toSelf bool) {
	p.version++
	msg := NewMessage(reply.Participants(p.proto()))
	for _, q := range r.participants {
		if q == p && !toSelf || q != p && p.permission.Hidden {
			continue
		}
		q.sendMessage(msg)
	}
	if p.left && toSelf {
		p.sendMessage(msg)
	}
}

// publishRoster makes the present participants visible to the data path, and
// tells clients when recording begins or ends with them. Actor.
func (r *Room) publishRoster() {
	list := make([]*Participant, 0, len(r.participants))
	for _, p := range r.participants {
		list = append(list, p)
	}
	r.roster.Store(&list)
	if now := r.recording(); now != r.recorded {
		r.recorded = now
		r.broadcastRoom()
	}
}

// participantBySID returns nil when there is none. Actor.
func (r *Room) participantBySID(sid string) *Participant {
	for _, p := range r.participants {
		if p.sid == sid {
			return p
		}
	}
	return nil
}
