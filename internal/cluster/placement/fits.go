package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Fit is the answer to "would everything still fit without this node?".
type Fit struct {
	Node  string `json:"node"`
	Fits  bool   `json:"fits"`
	Moves []Move `json:"moves,omitempty"` // where everything on it would go
	// Blocked is what found no place within the limits, and why.
	Blocked []Blocked `json:"blocked,omitempty"`
}

// Move is one thing that would go to another node.
type Move struct {
	Kind Kind    `json:"kind"`
	Name string  `json:"name"` // of the room or reservation, or the job's id
	To   string  `json:"to"`   // the node; for an agent job the worker and its node
	CPU  float64 `json:"cpu"`
}

// Blocked is one thing that would not.
type Blocked struct {
	Kind   Kind    `json:"kind"`
	Name   string  `json:"name"`
	CPU    float64 `json:"cpu"`
	Reason string  `json:"reason"`
}

// String says in a line where everything goes, or what does not.
func (f Fit) String() string {
	if !f.Fits {
		b := f.Blocked[0]
		s := fmt.Sprintf("%s %q finds no place: %s", b.Kind, b.Name, b.Reason)
		if more := len(f.Blocked) - 1; more > 0 {
			s += fmt.Sprintf("; nor do %d others", more)
		}
		return s
	}
	return fmt.Sprintf("all %d pieces on it fit elsewhere", len(f.Moves))
}

// FitsWithout asks placement itself where everything on a node would go if the
// node took no more work, the largest piece first. It fits when each piece
// finds a node that is within the limits with it. The state is not changed.
func FitsWithout(s *cluster.State, node string, p Policy, now time.Time) (Fit, error) {
	if _, ok := s.Node(node); !ok {
		return Fit{}, fmt.Errorf("%w %q", ErrUnknownNode, node)
	}
	return NewFitter(s, p, now).Without(node)
}

// Fitter answers the question of [FitsWithout] for one node after the other,
// each time without all the nodes that fitted before. It belongs to one
// decision: it sees the state as it was when the Fitter was made.
type Fitter struct {
	p      Policy
	now    time.Time
	from   *cluster.State
	try    *cluster.State // nil until asked
	index  *Index
	pieces map[string][]Request
}

// NewFitter returns a Fitter of a state. It copies the state when it is first
// asked, and not before.
func NewFitter(s *cluster.State, p Policy, now time.Time) *Fitter {
	return &Fitter{p: p, now: now, from: s}
}

// hop is the piece under a new name, since what is settled would stay where it
// is. The old one is left behind on its node, which takes no more work.
func hop(r Request) Request {
	if r.Kind == KindRoom {
		r.Room += moved
	} else {
		r.ID += moved
	}
	return r
}

const moved = "\x00moved"

// Without asks whether everything still fits without one node more. When it
// does, the node stays out for the questions that follow.
func (f *Fitter) Without(node string) (Fit, error) {
	if f.try == nil {
		f.begin()
	}
	n, ok := f.try.Node(node)
	if !ok {
		return Fit{}, fmt.Errorf("%w %q", ErrUnknownNode, node)
	}
	fit := Fit{Node: node, Fits: true}
	out := map[cluster.Status]cluster.Status{
		cluster.StatusRunning: cluster.StatusWaiting, cluster.StatusLaunching: cluster.StatusCanceled,
	}[n.Status]
	pieces := f.piecesOf(&n)
	var undo []cluster.Event
	if out != "" {
		if err := f.apply(cluster.NodeStatusChanged{At: f.now, Node: node, Status: out}); err != nil {
			return Fit{}, err
		}
		undo = append(undo, cluster.NodeStatusChanged{At: f.now, Node: node, Status: n.Status})
	}
	taken := map[string][]Request{}
	for _, r := range pieces {
		kind, name := nameOf(r)
		r = hop(r)
		d, why, err := f.place(r)
		if err != nil {
			return Fit{}, err
		}
		if why != "" {
			fit.Fits = false
			fit.Blocked = append(fit.Blocked, Blocked{kind, name, r.Load.CPU, why})
			continue
		}
		undo = append(undo, undoOf(r, f.now))
		taken[d.Node] = append(taken[d.Node], r)
		fit.Moves = append(fit.Moves, Move{kind, name, label(d.Node, d.Worker), r.Load.CPU})
	}
	if fit.Fits {
		for to, rs := range taken {
			f.pieces[to] = append(f.pieces[to], rs...)
		}
		return fit, nil
	}
	for _, e := range slices.Backward(undo) {
		if err := f.apply(e); err != nil {
			return Fit{}, err
		}
	}
	return fit, nil
}

// begin takes a copy to try on, and notes what every node hosts.
func (f *Fitter) begin() {
	f.try = f.from.Clone()
	f.index = NewIndex(f.try, f.p)
	f.pieces = map[string][]Request{}
	add := func(node string, r Request) {
		r.At = f.now
		f.pieces[node] = append(f.pieces[node], r)
	}
	for _, r := range f.from.Rooms() {
		for _, sh := range r.Shares {
			add(sh.Node, Request{Kind: KindRoom, ID: r.Name, Room: r.Name, Load: sh.Demand})
		}
	}
	for _, j := range f.from.Jobs() {
		add(j.Node, Request{Kind: Kind(j.Kind), ID: j.ID, Room: j.Room, Type: j.Type, Load: cluster.Demand{CPU: j.CPU}})
	}
	for i := range f.from.Len() {
		f.scale(f.from.NodeAt(i))
	}
	for _, r := range f.from.Reservations() {
		for _, sh := range r.Shares {
			n, ok := f.from.Node(sh.Node)
			if held := n.HeldFor(r.ID); ok && r.Charged && held.CPU > 0 {
				add(sh.Node, Request{Kind: KindRoom, ID: reservationPrefix + r.ID, Room: reservationPrefix + r.ID + "@" + n.ID, Load: held})
			}
		}
	}
}

// reservationPrefix tells the pieces that are held from rooms.
const reservationPrefix = "\x00reservation/"

// scale makes the pieces of a node as large together as the CPU that the node
// measures, when that is more than was expected of them.
func (f *Fitter) scale(n cluster.Node) {
	all, sum := f.pieces[n.ID], 0.0
	for _, r := range all {
		sum += r.Load.CPU
	}
	used := n.CPUs * n.Load.CPU / 100
	if used <= sum || sum <= 0 {
		return
	}
	for i := range all {
		all[i].Load = all[i].Load.Times(used / sum)
	}
}

// piecesOf is what is on a node, largest first.
func (f *Fitter) piecesOf(n *cluster.Node) []Request {
	out := slices.Clone(f.pieces[n.ID])
	slices.SortStableFunc(out, func(a, b Request) int { return cmp.Compare(b.Load.CPU, a.Load.CPU) })
	return out
}

// place tries a piece. A reason is why it does not fit.
func (f *Fitter) place(r Request) (d Decision, reason string, err error) {
	var failed error
	if r.Kind == KindRoom {
		d, _, failed = f.index.Room(r)
	} else {
		d, failed = Decide(f.try, r, f.p)
	}
	if failed != nil {
		return d, failed.Error(), nil
	}
	n, _ := f.try.Node(d.Node)
	if why := f.p.without(&n, d, r); why != "" {
		return d, why, nil
	}
	for _, e := range d.Events(r, f.p, f.try.Policy()) {
		if err := f.apply(e); err != nil {
			return d, "", err
		}
	}
	return d, "", nil
}

// without says why a node has no room for a piece that goes to it: it is over a
// limit already, or would be with the piece.
func (p *Policy) without(n *cluster.Node, d Decision, r Request) string {
	if d.Worker != "" {
		return "" // workers have limits of their own
	}
	if d.Tier != TierEligible {
		return fmt.Sprintf("the best node is %s, which is %s", n.ID, d.Tier)
	}
	name, with, limit := "CPU load", p.cpuPercent(n)/100, 1.0
	switch p.Kind {
	case SelectCPULoad:
		limit = p.CPULoadLimit
	case SelectSysLoad:
		name, with, limit = "system load", p.sysLoad(n), p.SysLoadLimit
	}
	if with += r.Load.CPU / n.CPUs; r.Kind == KindRoom && with > limit {
		return fmt.Sprintf("the best node is %s, whose %s would be %.3g, above %v", n.ID, name, with, limit)
	}
	return ""
}

func (f *Fitter) apply(e cluster.Event) error {
	if err := f.try.Apply(e); err != nil {
		return fmt.Errorf("try without a node: %w", err)
	}
	return nil
}

func undoOf(r Request, now time.Time) cluster.Event {
	if r.Kind == KindRoom {
		return cluster.RoomClosed{At: now, Room: r.Room}
	}
	return cluster.JobEnded{At: now, Job: r.ID}
}

// nameOf is what a piece is called where it comes from.
func nameOf(r Request) (Kind, string) {
	if r.Kind != KindRoom {
		return r.Kind, strings.ReplaceAll(r.ID, moved, "")
	}
	if id, held := strings.CutPrefix(r.ID, reservationPrefix); held {
		return KindReservation, id
	}
	return KindRoom, r.ID
}
