package cluster

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"
)

// The errors of [State.Apply], besides [ErrTransition].
var (
	ErrUnknownNode        = errors.New("unknown node")
	ErrUnknownRoom        = errors.New("unknown room")
	ErrUnknownJob         = errors.New("unknown job")
	ErrUnknownWorker      = errors.New("unknown worker")
	ErrUnknownReservation = errors.New("unknown reservation")
	ErrExists             = errors.New("exists already")
	ErrInvalid            = errors.New("invalid")
)

// journalMax bounds the list of changed nodes that a State keeps for indexes.
const journalMax = 1 << 15

// State is the cluster at one moment. The zero value is not usable; see [New].
// It is not safe for concurrent use.
type State struct {
	version    uint64
	membership uint64
	now        time.Time
	policy     Policy

	nodes        []*Node // by id, so that order never depends on history
	byID         map[string]*Node
	rooms        map[string]*Room
	jobs         map[string]*Job
	workers      map[string]*Worker
	reservations map[string]*Reservation
	scaling      Scaling

	journal     []int32 // positions of changed nodes, oldest first
	journalBase uint64  // changes that were dropped from the journal
}

// New returns an empty state. The policy must be valid; see [Policy.Validate].
func New(p Policy) *State {
	return &State{
		policy:       p,
		byID:         map[string]*Node{},
		rooms:        map[string]*Room{},
		jobs:         map[string]*Job{},
		workers:      map[string]*Worker{},
		reservations: map[string]*Reservation{},
	}
}

// Version counts the events that were applied.
func (s *State) Version() uint64 { return s.version }

// Now is the time of the latest event.
func (s *State) Now() time.Time { return s.now }

// Policy is the model's policy.
func (s *State) Policy() Policy { return s.policy }

// Len is the number of nodes, of every status.
func (s *State) Len() int { return len(s.nodes) }

// NodeAt returns the i-th node in the order of ids, 0 ≤ i < Len.
func (s *State) NodeAt(i int) Node { return *s.nodes[i] }

// Node returns the node of this id.
func (s *State) Node(id string) (Node, bool) {
	n, ok := s.byID[id]
	if !ok {
		return Node{}, false
	}
	return *n, true
}

// Nodes returns all nodes in the order of their ids.
func (s *State) Nodes() []Node {
	out := make([]Node, len(s.nodes))
	for i, n := range s.nodes {
		out[i] = *n
	}
	return out
}

// Room returns the room of this name.
func (s *State) Room(name string) (Room, bool) {
	r, ok := s.rooms[name]
	if !ok {
		return Room{}, false
	}
	return *r, true
}

// RoomCount is the number of rooms.
func (s *State) RoomCount() int { return len(s.rooms) }

// Rooms returns all rooms in the order of their names.
func (s *State) Rooms() []Room { return sorted(s.rooms, func(r *Room) string { return r.Name }) }

// Job returns the job of this id.
func (s *State) Job(id string) (Job, bool) { return get(s.jobs, id) }

// Jobs returns all jobs in the order of their ids.
func (s *State) Jobs() []Job { return sorted(s.jobs, func(j *Job) string { return j.ID }) }

// Worker returns the agent worker of this id.
func (s *State) Worker(id string) (Worker, bool) { return get(s.workers, id) }

// Workers returns all agent workers in the order of their ids.
func (s *State) Workers() []Worker {
	return sorted(s.workers, func(w *Worker) string { return w.ID })
}

// Reservation returns the reservation of this id.
func (s *State) Reservation(id string) (Reservation, bool) { return get(s.reservations, id) }

// Reservations returns all reservations in the order of their ids.
func (s *State) Reservations() []Reservation {
	return sorted(s.reservations, func(r *Reservation) string { return r.ID })
}

// ReservationFor returns the reservation of a room that holds at t: the one
// that starts first among those that begin within the lead and are not over.
func (s *State) ReservationFor(room string, t time.Time) (Reservation, bool) {
	var best *Reservation
	for _, r := range s.reservations {
		if r.Room != room || !t.Before(r.Until) || t.Before(r.From.Add(-s.policy.ReservationLead)) {
			continue
		}
		if best == nil || cmp.Or(r.From.Compare(best.From), cmp.Compare(r.ID, best.ID)) < 0 {
			best = r
		}
	}
	if best == nil {
		return Reservation{}, false
	}
	return *best, true
}

// Scaling is what the autoscaler remembers.
func (s *State) Scaling() Scaling { return s.scaling }

// Membership changes when a node is added or removed, which moves positions.
func (s *State) Membership() uint64 { return s.membership }

// Changes counts the changes of nodes. See [State.ChangedSince].
func (s *State) Changes() uint64 { return s.journalBase + uint64(len(s.journal)) }

// ChangedSince returns the positions (see [State.NodeAt]) of the nodes that
// changed since Changes returned v, with repeats. ok is false when that is too
// long ago to tell; the caller then looks at every node.
func (s *State) ChangedSince(v uint64) (positions []int32, ok bool) {
	if v < s.journalBase || v > s.Changes() {
		return nil, false
	}
	return s.journal[v-s.journalBase:], true
}

// changed notes that n is not what it was.
func (s *State) changed(n *Node) {
	if len(s.journal) >= journalMax {
		half := len(s.journal) / 2
		s.journalBase += uint64(half)
		s.journal = append(s.journal[:0], s.journal[half:]...)
	}
	s.journal = append(s.journal, int32(n.pos))
}

// moved notes that positions are not what they were.
func (s *State) moved() {
	s.membership++
	s.journalBase = s.Changes() + 1
	s.journal = s.journal[:0]
}

// insert adds a node in the order of ids.
func (s *State) insert(n *Node) {
	i, _ := slices.BinarySearchFunc(s.nodes, n.ID, func(m *Node, id string) int { return cmp.Compare(m.ID, id) })
	s.nodes = slices.Insert(s.nodes, i, n)
	s.byID[n.ID] = n
	s.renumber(i)
}

// remove takes a node out.
func (s *State) remove(n *Node) {
	i := n.pos
	s.nodes = slices.Delete(s.nodes, i, i+1)
	delete(s.byID, n.ID)
	s.renumber(i)
}

func (s *State) renumber(from int) {
	for i := from; i < len(s.nodes); i++ {
		s.nodes[i].pos = i
	}
	s.moved()
}

// Clone returns an independent copy, for a reader elsewhere or for trying what
// would happen.
func (s *State) Clone() *State {
	c := *s
	c.nodes = make([]*Node, len(s.nodes))
	c.byID = make(map[string]*Node, len(s.nodes))
	for i, n := range s.nodes {
		m := *n
		m.Charges = slices.Clone(n.Charges)
		c.nodes[i], c.byID[m.ID] = &m, &m
	}
	c.rooms = cloned(s.rooms, func(r *Room) { r.Shares = slices.Clone(r.Shares) })
	c.jobs = cloned(s.jobs, func(*Job) {})
	c.workers = cloned(s.workers, func(w *Worker) { w.Placed = slices.Clone(w.Placed) })
	c.reservations = cloned(s.reservations, func(r *Reservation) { r.Shares = slices.Clone(r.Shares) })
	c.scaling.History.Slots = slices.Clone(s.scaling.History.Slots)
	c.journal, c.journalBase = nil, s.Changes()
	return &c
}

func cloned[V any](m map[string]*V, deepen func(*V)) map[string]*V {
	out := make(map[string]*V, len(m))
	for k, v := range m {
		c := *v
		deepen(&c)
		out[k] = &c
	}
	return out
}

func get[V any](m map[string]*V, id string) (V, bool) {
	v, ok := m[id]
	if !ok {
		var zero V
		return zero, false
	}
	return *v, true
}

func sorted[V any](m map[string]*V, key func(*V) string) []V {
	ptrs := slices.SortedFunc(maps.Values(m), func(a, b *V) int { return cmp.Compare(key(a), key(b)) })
	out := make([]V, len(ptrs))
	for i, p := range ptrs {
		out[i] = *p
	}
	return out
}
