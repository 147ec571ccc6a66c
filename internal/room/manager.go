package room

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/event"
	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// Deps is what rooms need from the node they live on.
type Deps struct {
	Host   *transport.Host
	Loop   *peer.Loop
	Events event.Sink
	// SpareHost returns a second host with the certificate of Host, for participants
	// that simulate a migration; it may block. nil: they reconnect.
	SpareHost func() (*transport.Host, error)
	// ICEServers returns the STUN and TURN servers for one participant.
	ICEServers func(participantSID string) []*livekit.ICEServer
	// RefreshToken signs a token that lets p come back with its present grants.
	RefreshToken func(p TokenRequest) (string, error)
	NodeID       string
	Region       string
	Version      string
	Log          *slog.Logger
}

// Manager holds the rooms that have participants on this node.
type Manager struct {
	cfg  Config
	deps Deps

	mu     sync.Mutex
	rooms  map[string]*Room
	closed bool
	wg     sync.WaitGroup // one per room actor

	totals Totals
}

// NewManager returns a manager without rooms.
func NewManager(cfg Config, deps Deps) *Manager {
	return &Manager{cfg: cfg, deps: deps, rooms: map[string]*Room{}}
}

// Config returns the limits that the manager applies.
func (m *Manager) Config() Config { return m.cfg }

// Totals returns the counters of all rooms since the start.
func (m *Manager) Totals() *Totals { return &m.totals }

// Admit tells whether a participant could join room now, before anything is
// set up. Errors: [ErrRoomNotFound] when auto-create is off, [ErrRoomFull],
// [ErrLimit] with the value at fault, [ErrClosed] while shutting down.
func (m *Manager) Admit(ctx context.Context, j Join) error {
	name, identity := j.Room, j.Claims.Identity
	if n := m.cfg.MaxRoomName; n > 0 && len(name) > n {
		return fmt.Errorf("%w: room name has %d bytes, at most %d are allowed (limit.max_room_name_length)", ErrLimit, len(name), n)
	}
	if n := m.cfg.MaxIdentity; n > 0 && len(identity) > n {
		return fmt.Errorf("%w: participant identity has %d bytes, at most %d are allowed (limit.max_participant_identity_length)", ErrLimit, len(identity), n)
	}
	for {
		m.mu.Lock()
		r, closed := m.rooms[name], m.closed
		m.mu.Unlock()
		switch {
		case closed:
			return ErrClosed
		case r == nil && !m.cfg.AutoCreate && !j.canCreate():
			return ErrRoomNotFound
		case r == nil:
			return nil
		}
		err := r.call(ctx, func() error { return r.admit(&j.Claims) })
		if !errors.Is(err, ErrClosed) {
			return err
		}
		if err := r.gone(ctx); err != nil {
			return err
		}
	}
}

// Join adds a participant and sends it the join response. The room is created
// when it is not there and creation is allowed.
func (m *Manager) Join(ctx context.Context, j Join) (s *Session, err error) {
	err = m.inRoom(ctx, j.Room, j.canCreate(), j.Claims.RoomConfig, func(r *Room) (err error) {
		s, err = r.join(j)
		return err
	})
	return s, err
}

// inRoom runs f on the goroutine of the room of that name, which is created when
// create or auto-create allow. A room that is closing is waited for and followed
// by a new one.
func (m *Manager) inRoom(ctx context.Context, name string, create bool, rc *livekit.RoomConfiguration, f func(r *Room) error) error {
	for {
		r, err := m.open(name, create, rc)
		if err != nil {
			return err
		}
		err = r.call(ctx, func() error {
			if r.closing {
				return ErrClosed
			}
			return f(r)
		})
		if !errors.Is(err, ErrClosed) {
			return err
		}
		if err := r.gone(ctx); err != nil {
			return err
		}
	}
}

// Resume attaches a new signal connection to a participant that is still here.
// Error: [ErrParticipantNotFound], upon which the client must join anew.
func (m *Manager) Resume(ctx context.Context, j Join) (*Session, error) {
	r := m.Room(j.Room)
	if r == nil {
		return nil, ErrParticipantNotFound
	}
	var s *Session
	err := r.call(ctx, func() (err error) {
		s, err = r.resume(j)
		return err
	})
	return s, err
}

// Room returns the room of that name, or nil.
func (m *Manager) Room(name string) *Room {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rooms[name]
}

// Rooms returns all rooms, or those named, oldest first.
func (m *Manager) Rooms(names ...string) []*Room {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]*Room, 0, len(m.rooms))
	for name, r := range m.rooms {
		if len(names) == 0 || slices.Contains(names, name) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *Room) int {
		if c := a.created.Compare(b.created); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return out
}

// Create makes a room, or applies the settings to the one that is there.
func (m *Manager) Create(ctx context.Context, req *livekit.CreateRoomRequest) (*livekit.Room, error) {
	switch {
	case req.Name == "":
		return nil, fmt.Errorf("%w: a room needs a name", ErrLimit)
	case m.cfg.MaxRoomName > 0 && len(req.Name) > m.cfg.MaxRoomName:
		return nil, fmt.Errorf("%w: room name has %d bytes, at most %d are allowed (limit.max_room_name_length)", ErrLimit, len(req.Name), m.cfg.MaxRoomName)
	case m.cfg.MaxMetadataSize > 0 && len(req.Metadata) > m.cfg.MaxMetadataSize:
		return nil, fmt.Errorf("%w: metadata has %d bytes, at most %d are allowed (limit.max_metadata_size)", ErrLimit, len(req.Metadata), m.cfg.MaxMetadataSize)
	}
	var info *livekit.Room
	err := m.inRoom(ctx, req.Name, true, nil, func(r *Room) error {
		r.configure(req)
		info = r.proto()
		return nil
	})
	return info, err
}

// open returns the room, creating it when create or auto-create allow.
func (m *Manager) open(name string, create bool, rc *livekit.RoomConfiguration) (*Room, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if r := m.rooms[name]; r != nil {
		return r, nil
	}
	if !create && !m.cfg.AutoCreate {
		return nil, ErrRoomNotFound
	}
	r := newRoom(m, name, rc, time.Now())
	m.rooms[name] = r
	m.totals.RoomsStarted.Add(1)
	m.wg.Go(r.run)
	return r, nil
}

// forget is called by a room's actor when it has closed.
func (m *Manager) forget(r *Room) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rooms[r.name] == r {
		delete(m.rooms, r.name)
	}
}

// Close tells every client to leave, ends the rooms and waits for them, as long
// as ctx allows. New participants are refused from now on.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	rooms := make([]*Room, 0, len(m.rooms))
	for _, r := range m.rooms {
		rooms = append(rooms, r)
	}
	m.mu.Unlock()
	for _, r := range rooms {
		r.mail.post(func() { r.close(livekit.DisconnectReason_SERVER_SHUTDOWN) })
	}
	done := make(chan struct{})
	go func() { m.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close rooms: %w", ctx.Err())
	}
}
