package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// nearFuture is how far ahead the load of now is taken to last. A reservation
// that starts later competes with other reservations only.
const nearFuture = time.Hour

// minShare is the least CPUs of a node worth reserving.
const minShare = 0.05

// Fleet is how far the cluster can still grow, for reservations that the nodes
// of now cannot hold.
type Fleet struct {
	MaxNodes int     `json:"max_nodes"` // 0: it cannot grow
	NodeCPUs float64 `json:"node_cpus"` // of a node that would be launched
}

// Reserve decides whether capacity for a room is booked ahead, and on which
// nodes. The admitted reservation is applied as a [cluster.ReservationAdmitted];
// it is charged to its nodes from the state's ReservationLead before its start.
// What the nodes of now cannot hold is admitted as Unplaced when the fleet can
// grow by it, which the autoscaler then does; [Bind] gives it to the nodes that
// come up. A refusal is [ErrNoCapacity] with
// the numbers, or [ErrRequest].
func Reserve(s *cluster.State, r cluster.Reservation, p Policy, f Fleet, now time.Time) (cluster.Reservation, Explanation, error) {
	b := booking{s: s, r: r, p: p, now: now}
	b.e = Explanation{
		Request: Request{Kind: KindReservation, At: now, ID: r.ID, Room: r.Room}, Version: s.Version(), Complete: true,
		Rule: bookingRule(p),
	}
	err := b.book(f)
	if err != nil {
		b.e.Outcome = fmt.Sprintf("reservation %q of room %q: %v", r.ID, r.Room, err)
		return cluster.Reservation{}, b.e, err
	}
	return b.r, b.e, nil
}

func bookingRule(p Policy) string {
	return fmt.Sprintf("reservations fill at most %v of a node, most free CPUs first", p.ReserveLimit)
}

type booking struct {
	s   *cluster.State
	r   cluster.Reservation
	p   Policy
	now time.Time
	e   Explanation

	bind bool // for what is admitted already: running nodes only
}

func (b *booking) book(f Fleet) error {
	switch r := b.r; {
	case r.ID == "" || r.Room == "":
		return fmt.Errorf("%w: it needs an id and a room", ErrRequest)
	case r.Participants < 1 || r.Publishers < 0 || r.Publishers > r.Participants:
		return fmt.Errorf("%w: %d publishers among %d participants", ErrRequest, r.Publishers, r.Participants)
	case !r.From.Before(r.Until):
		return fmt.Errorf("%w: it ends at %s, not after its start at %s", ErrRequest, clock(r.Until), clock(r.From))
	case !b.now.Before(r.Until):
		return fmt.Errorf("%w: it ended at %s", ErrRequest, clock(r.Until))
	}
	if _, exists := b.s.Reservation(b.r.ID); exists {
		return fmt.Errorf("%w: there is one with this id", ErrRequest)
	}
	whole := b.s.Policy().Costs.OfRoom(b.r.Participants, b.r.Publishers)
	whole.Rooms = 0
	slots := b.slots()
	b.r.Shares, b.r.Unplaced = nil, cluster.Demand{}
	left := whole.CPU - fill(slots, whole.CPU, func(node string, cpu float64) {
		b.r.Shares = append(b.r.Shares, cluster.ReservationShare{Node: node, Demand: whole.Times(cpu / whole.CPU)})
	})
	room := b.growth(f)
	if left > room {
		have := 0.0
		for _, sl := range slots {
			have += max(sl.free, 0)
		}
		return fmt.Errorf("%w: %.2f CPUs are needed from %s until %s, %.2f are free on the nodes there are and %.2f on nodes that can be launched",
			ErrNoCapacity, whole.CPU, clock(b.r.From), clock(b.r.Until), have, room)
	}
	b.e.Outcome = fmt.Sprintf("reservation %q of room %q is admitted: %.2f CPUs on %d nodes", b.r.ID, b.r.Room, whole.CPU-left, len(b.r.Shares))
	if left > 0 {
		b.r.Unplaced = whole.Times(left / whole.CPU)
		b.e.Outcome += fmt.Sprintf(", and %.2f on nodes that the autoscaler is to launch by %s", left, clock(b.r.From))
	}
	if len(b.r.Shares) > 0 {
		b.e.Chosen = b.r.Shares[0].Node
	}
	return nil
}

func clock(t time.Time) string { return t.Format("2006-01-02 15:04:05") }

type slot struct {
	node string
	free float64
}

// fill takes CPUs from the slots in their order, and returns how many it got.
func fill(slots []slot, want float64, take func(node string, cpu float64)) float64 {
	left := want
	for _, sl := range slots {
		if left <= 0 || sl.free < minShare {
			break
		}
		cpu := min(left, sl.free)
		take(sl.node, cpu)
		left -= cpu
	}
	return want - left
}

// slots is what each node can still hold of the reservation's time, most free
// first.
func (b *booking) slots() []slot {
	var out []slot
	all := b.s.Reservations()
	for i := range b.s.Len() {
		n := b.s.NodeAt(i)
		b.e.Considered++
		if why := b.unfit(&n); why != "" {
			b.e.Refused = append(b.e.Refused, Refusal{Node: n.ID, Reason: why})
			continue
		}
		near := b.near()
		booked := b.booked(all, func(r *cluster.Reservation) float64 {
			if near && r.Charged {
				// What its room has used up is in the load of the node.
				return n.HeldFor(r.ID).CPU
			}
			cpu := 0.0
			for _, sh := range r.Shares {
				if sh.Node == n.ID {
					cpu += sh.Demand.CPU
				}
			}
			return cpu
		})
		used := 0.0
		if near {
			used = n.CPUs*n.Load.CPU/100 + n.Pending().CPU - chargedTo(&n)
		}
		sl := slot{n.ID, n.CPUs*b.p.ReserveLimit - booked - used}
		out = append(out, sl)
		if sl.free > 0 {
			b.e.Eligible++
		}
	}
	slices.SortFunc(out, func(x, y slot) int { return cmp.Or(cmp.Compare(y.free, x.free), cmp.Compare(x.node, y.node)) })
	for _, sl := range out {
		b.e.Candidates = append(b.e.Candidates, Candidate{
			Node: sl.node, Tier: TierEligible.String(), Score: -sl.free, Note: fmt.Sprintf("%.2f CPUs free at that time", sl.free),
		})
	}
	return out
}

func (b *booking) unfit(n *cluster.Node) string {
	switch {
	case !n.Role.HostsMedia():
		return b.p.explain(reasonRole, n)
	case !n.Status.Active():
		return b.p.explain(reasonStatus, n)
	case b.bind && n.Status != cluster.StatusRunning:
		return b.p.explain(reasonStatus, n)
	case b.near() && n.Status == cluster.StatusRunning && !n.Known(b.now, b.s.Policy().StaleAfter):
		return b.p.explain(reasonUnknown, n)
	}
	return ""
}

// near reports whether the load of now still lasts when the reservation starts.
func (b *booking) near() bool { return b.r.From.Before(b.now.Add(nearFuture)) }

// chargedTo is the part of a node's pending demand that reservations hold.
func chargedTo(n *cluster.Node) float64 {
	cpu := 0.0
	for i := range n.Charges {
		if n.Charges[i].Reservation != "" {
			cpu += n.Charges[i].Demand.CPU
		}
	}
	return cpu
}

// booked is the highest sum of other reservations at any moment of this one.
// It can only rise where one of them starts, so those moments are enough.
func (b *booking) booked(all []cluster.Reservation, cpu func(*cluster.Reservation) float64) float64 {
	peak := 0.0
	at := func(t time.Time) float64 {
		sum := 0.0
		for i := range all {
			if r := &all[i]; !t.Before(r.From) && t.Before(r.Until) {
				sum += cpu(r)
			}
		}
		return sum
	}
	for i := range all {
		if r := &all[i]; r.Overlaps(b.r.From, b.r.Until) {
			t := r.From
			if t.Before(b.r.From) {
				t = b.r.From
			}
			peak = max(peak, at(t))
		}
	}
	return peak
}

// growth is how many CPUs nodes can hold that are not launched yet.
func (b *booking) growth(f Fleet) float64 {
	active := 0
	for i := range b.s.Len() {
		if n := b.s.NodeAt(i); n.Status.Active() && n.Role.HostsMedia() {
			active++
		}
	}
	if f.MaxNodes <= active {
		return 0
	}
	waiting := b.booked(b.s.Reservations(), func(r *cluster.Reservation) float64 { return r.Unplaced.CPU })
	return max(0, float64(f.MaxNodes-active)*f.NodeCPUs*b.p.ReserveLimit-waiting)
}
