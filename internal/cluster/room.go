package cluster

import (
	"slices"
	"time"
)

// Room is a room as the cluster sees it: the union of what its nodes host. No
// node owns it.
type Room struct {
	Name      string      `json:"name"`
	CreatedAt time.Time   `json:"created_at"`
	Pin       string      `json:"pin,omitempty"` // node the application asked for
	Shares    []RoomShare `json:"shares,omitempty"`
	// Reservation is the one that the room uses.
	Reservation string `json:"reservation,omitempty"`
}

// RoomShare is the part of a room that one node hosts.
type RoomShare struct {
	Node         string `json:"node"`
	Participants int    `json:"participants"`
	Demand       Demand `json:"demand"` // expected, summed over what was placed
	// Shown is when a report of the node shows all of it: until then charges
	// of the room are on the node.
	Shown time.Time `json:"shown,omitzero"`
}

// Participants is the number of participants on all nodes.
func (r *Room) Participants() int {
	n := 0
	for i := range r.Shares {
		n += r.Shares[i].Participants
	}
	return n
}

// On returns the share of the room that node hosts.
func (r *Room) On(node string) (RoomShare, bool) {
	if i := r.share(node); i >= 0 {
		return r.Shares[i], true
	}
	return RoomShare{}, false
}

func (r *Room) share(node string) int {
	for i := range r.Shares {
		if r.Shares[i].Node == node {
			return i
		}
	}
	return -1
}

// charged notes that a charge for the room is on the share's node.
func (s *RoomShare) charged(c *Charge, countsAfter time.Duration) {
	shown := c.At.Add(max(c.Ramp, countsAfter, 1)) // a report of the same moment shows nothing of it
	if c.held() {
		shown = c.Until
	}
	if shown.After(s.Shown) {
		s.Shown = shown
	}
}

// JobKind is the kind of work of a job.
type JobKind string

// The kinds of jobs.
const (
	JobEgress  JobKind = "egress"
	JobIngress JobKind = "ingress"
	JobAgent   JobKind = "agent"
)

// Job is an egress, ingress or agent job. A job without a node waits in the
// queue for capacity.
type Job struct {
	ID       string    `json:"id"`
	Kind     JobKind   `json:"kind"`
	Type     string    `json:"type,omitempty"` // room_composite, rtmp, …; the agent's name
	Room     string    `json:"room,omitempty"`
	Node     string    `json:"node,omitempty"`
	Worker   string    `json:"worker,omitempty"` // agents only
	CPU      float64   `json:"cpu"`              // expected cost in CPUs
	Load     float64   `json:"load,omitempty"`   // expected share of the agent worker, 0 to 1
	QueuedAt time.Time `json:"queued_at,omitzero"`
	PlacedAt time.Time `json:"placed_at,omitzero"`
}

// Worker is a registered agent worker.
type Worker struct {
	ID        string    `json:"id"`
	Agent     string    `json:"agent,omitempty"` // agent name it serves
	Node      string    `json:"node,omitempty"`  // Media Node it runs on; empty: elsewhere
	Load      float64   `json:"load"`            // 0 to 1, as reported by its load function
	Threshold float64   `json:"threshold"`       // 0 to 1; 0 means the policy's default
	Full      bool      `json:"full,omitempty"`  // it reported that it takes no jobs
	At        time.Time `json:"at"`              // of the last report

	Placed []WorkerCharge `json:"placed,omitempty"` // sent since the last report
}

// WorkerCharge is a job sent to a worker whose report does not show it yet.
type WorkerCharge struct {
	Job  string    `json:"job"`
	Load float64   `json:"load"`
	At   time.Time `json:"at"`
}

// EffectiveLoad is the reported load plus that of the jobs sent to the worker
// since, so that a burst between two reports does not all go to one worker.
func (w *Worker) EffectiveLoad() float64 { return w.Load + w.InFlight() }

// InFlight is the load of the jobs sent to the worker since its last report.
func (w *Worker) InFlight() float64 {
	sum := 0.0
	for i := range w.Placed {
		sum += w.Placed[i].Load
	}
	return sum
}

// Reservation is capacity booked ahead for a room.
type Reservation struct {
	ID           string             `json:"id"`
	Room         string             `json:"room"`
	Participants int                `json:"participants"`
	Publishers   int                `json:"publishers"`
	From         time.Time          `json:"from"`
	Until        time.Time          `json:"until"`
	Shares       []ReservationShare `json:"shares,omitempty"`  // where it is charged
	Unplaced     Demand             `json:"unplaced,omitzero"` // waits for nodes that are not launched yet
	Charged      bool               `json:"charged,omitempty"`
	Used         bool               `json:"used,omitempty"` // its room has started
}

// ReservationShare is the part of a reservation charged to one node.
type ReservationShare struct {
	Node   string `json:"node"`
	Demand Demand `json:"demand"`
}

// Demand is the whole demand of the reservation.
func (r *Reservation) Demand() Demand {
	d := r.Unplaced
	for _, s := range r.Shares {
		d = d.Plus(s.Demand)
	}
	return d
}

func (r *Reservation) share(node string) int {
	return slices.IndexFunc(r.Shares, func(s ReservationShare) bool { return s.Node == node })
}

// Overlaps reports whether the reservation has a moment in [from, until).
func (r *Reservation) Overlaps(from, until time.Time) bool {
	return r.From.Before(until) && from.Before(r.Until)
}
