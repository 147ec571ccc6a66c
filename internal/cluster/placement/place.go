package placement

import (
	"errors"
	"fmt"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// The errors of [Place]. Each comes with an explanation.
var (
	ErrNoNode      = errors.New("no Media Node is running")
	ErrUnknownNode = errors.New("unknown Media Node")
	ErrNodeStatus  = errors.New("the Media Node is in the wrong status")
	ErrNoCapacity  = errors.New("no Media Node has the capacity") // 503 to the client
	ErrNoWorker    = errors.New("no agent worker is available")
	ErrRequest     = errors.New("invalid request")
)

// Kind is what is placed.
type Kind string

// The kinds of requests.
const (
	KindRoom        Kind = "room"
	KindParticipant Kind = "participant"
	KindEgress      Kind = "egress"
	KindIngress     Kind = "ingress"
	KindAgent       Kind = "agent"
	KindReservation Kind = "reservation" // for [Reserve] and [Bind], not for Place
)

// Request asks for a place.
type Request struct {
	Kind Kind      `json:"kind"`
	At   time.Time `json:"at"`
	// ID names what is placed: the participant, the job. It seeds the
	// tie-break, so that the same request on the same state goes to the same
	// node. A room's is its name.
	ID   string `json:"id,omitempty"`
	Room string `json:"room,omitempty"`
	Type string `json:"type,omitempty"` // of an egress or ingress; the agent's name
	Node string `json:"node,omitempty"` // pins a room to a node
	// Load is the expected demand. Zero: the policy's costs.
	Load cluster.Demand `json:"load,omitzero"`
	Ramp time.Duration  `json:"ramp,omitempty"` // in which Load comes
	// Tried are the agent workers that refused the job or did not answer.
	Tried []string `json:"tried,omitempty"`
}

// Decision is where it goes.
type Decision struct {
	Kind        Kind    `json:"kind"`
	Node        string  `json:"node"`
	Worker      string  `json:"worker,omitempty"`
	CPU         float64 `json:"cpu,omitempty"` // what a job is charged
	Tier        Tier    `json:"tier"`
	Spilled     bool    `json:"spilled,omitempty"`  // a further node of the room
	Existing    bool    `json:"existing,omitempty"` // the room was there already
	Reservation string  `json:"reservation,omitempty"`
	// Load is what a participant is charged.
	Load cluster.Demand `json:"load,omitzero"`
}

// Tier is how good a candidate is before scores are compared: any node of a
// lower tier is preferred to all of a higher one.
type Tier uint8

// The tiers.
const (
	TierEligible   Tier = 0   // within the limits
	TierOverShare  Tier = 1   // hosts more of the room than its share
	TierOverLimit  Tier = 2   // limits are ignored when no node is eligible
	TierUnknown    Tier = 3   // its load is unknown; only when no load is known
	TierDraining   Tier = 4   // hosts the room and drains; only when no node runs
	tierIneligible Tier = 255 // never
)

// String names the tier.
func (t Tier) String() string {
	switch t {
	case TierEligible:
		return "eligible"
	case TierOverShare:
		return "over its share"
	case TierOverLimit:
		return "over the limit"
	case TierUnknown:
		return "load unknown"
	case TierDraining:
		return "draining"
	}
	return "refused"
}

// Place decides where a request goes. It changes nothing. The explanation is
// complete also when there is an error.
func Place(s *cluster.State, r Request, p Policy) (Decision, Explanation, error) {
	c := newCall(s, r, p)
	err := c.place()
	c.e.Outcome = c.outcome(err)
	return c.d, c.e, err
}

// Decide is [Place] for when nobody asks why: the same decision and error, in
// a third of the time.
func Decide(s *cluster.State, r Request, p Policy) (Decision, error) {
	c := newCall(s, r, p)
	c.quiet = true
	err := c.place()
	return c.d, err
}

// call is one placement under way.
type call struct {
	s   *cluster.State
	r   Request
	p   Policy
	mp  cluster.Policy
	d   Decision
	e   Explanation
	all []graded
	// best is the score of the candidate that pick chose.
	best float64
	// because is why a node that drains was chosen.
	because string
	// quiet leaves lists and texts out of the explanation; nothing is decided
	// by them.
	quiet bool
}

func newCall(s *cluster.State, r Request, p Policy) *call {
	return &call{
		s: s, r: r, p: p, mp: s.Policy(), d: Decision{Kind: r.Kind},
		e: Explanation{Request: r, Version: s.Version(), Complete: true},
	}
}

func (c *call) place() error {
	switch c.r.Kind {
	case KindRoom:
		if c.r.Room == "" {
			return fmt.Errorf("%w: a room needs a name", ErrRequest)
		}
		return c.room()
	case KindParticipant:
		if c.r.Room == "" {
			return fmt.Errorf("%w: a participant needs a room", ErrRequest)
		}
		return c.participant()
	case KindEgress, KindIngress:
		return c.job()
	case KindAgent:
		return c.agent()
	}
	return fmt.Errorf("%w: kind %q", ErrRequest, c.r.Kind)
}

// Events are the changes to apply to the state when the decision is carried
// out. The mp is the state's policy, for the costs.
func (d Decision) Events(r Request, p Policy, mp cluster.Policy) []cluster.Event {
	switch r.Kind {
	case KindRoom:
		if d.Existing {
			return nil // nothing new comes with it
		}
		return []cluster.Event{d.roomPlaced(r, p, mp)}
	case KindParticipant:
		join := cluster.ParticipantPlaced{At: r.At, Room: r.Room, Node: d.Node, Load: d.Load, Ramp: r.Ramp}
		if d.Spilled {
			join.Load.Rooms = 1 // the node has one room more
		}
		if d.Spilled || d.Existing {
			return []cluster.Event{join}
		}
		room := r
		room.Load = cluster.Demand{}
		return []cluster.Event{d.roomPlaced(room, p, mp), join}
	case KindEgress, KindIngress, KindAgent:
		j := cluster.Job{ID: r.ID, Kind: cluster.JobKind(r.Kind), Type: r.Type, Room: r.Room, Node: d.Node, Worker: d.Worker, CPU: d.CPU}
		if r.Kind == KindAgent {
			j.Load = p.Agent.Load
		}
		return []cluster.Event{cluster.JobPlaced{At: r.At, Job: j, Ramp: r.Ramp}}
	}
	return nil
}

func (d Decision) roomPlaced(r Request, p Policy, mp cluster.Policy) cluster.RoomPlaced {
	e := cluster.RoomPlaced{At: r.At, Room: r.Room, Node: d.Node, Load: r.Load, Ramp: r.Ramp, Reservation: d.Reservation}
	if !e.Load.IsZero() {
		e.Load.Rooms = 1
		return e
	}
	e.Load = cluster.Demand{Rooms: 1, CPU: mp.Costs.Room}
	if d.Reservation == "" && p.ExpectParticipants > 0 && p.ExpectFor > 0 {
		e.Expect = mp.Costs.OfRoom(p.ExpectParticipants, p.ExpectParticipants)
		e.Expect.Rooms, e.Expect.CPU = 0, e.Expect.CPU-mp.Costs.Room
		e.ExpectUntil = r.At.Add(p.ExpectFor)
	}
	return e
}
