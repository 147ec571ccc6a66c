package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Fit is the answer to "would everything still fit without this node?".
type Fit struct {
	Node  string `json:"node"`
	Fits  bool   `json:"fits"`
	Moves []Move `json:"moves,omitempty"` // where everything on it would go
	// Blocked is what found no place within the limits, and why.
	Blocked []Explanation `json:"blocked,omitempty"`
}

// Move is one thing that would go to another node.
type Move struct {
	Kind Kind    `json:"kind"`
	Name string  `json:"name"` // of the room, or the job's id
	To   string  `json:"to"`
	CPU  float64 `json:"cpu"`
}

// FitsWithout asks placement itself where everything on a node would go if the
// node took no more work: first the largest. It fits when each piece finds a
// node within the limits. The state is not changed.
func FitsWithout(s *cluster.State, node string, p Policy, now time.Time) (Fit, error) {
	n, ok := s.Node(node)
	if !ok {
		return Fit{}, fmt.Errorf("%w %q", ErrUnknownNode, node)
	}
	fit := Fit{Node: node, Fits: true}
	try := s.Clone()
	if n.Status == cluster.StatusRunning {
		if err := try.Apply(cluster.NodeStatusChanged{At: now, Node: node, Status: cluster.StatusWaiting}); err != nil {
			return Fit{}, fmt.Errorf("try without %s: %w", node, err)
		}
	}
	for _, r := range piecesOf(s, &n, now) {
		d, e, err := Place(try, r, p)
		if err != nil || d.Tier != TierEligible {
			fit.Fits = false
			fit.Blocked = append(fit.Blocked, e)
			continue
		}
		for _, ev := range d.Events(r, p, s.Policy()) {
			if err := try.Apply(ev); err != nil {
				return Fit{}, fmt.Errorf("try without %s: %w", node, err)
			}
		}
		fit.Moves = append(fit.Moves, Move{Kind: r.Kind, Name: r.ID, To: e.Chosen, CPU: r.Load.CPU})
	}
	return fit, nil
}

// piecesOf is what a node hosts, as requests, largest first. When the node
// measures more CPU than was expected of its work, every piece is scaled up.
func piecesOf(s *cluster.State, n *cluster.Node, now time.Time) []Request {
	var out []Request
	sum := 0.0
	for _, r := range s.Rooms() {
		if sh, ok := r.On(n.ID); ok {
			// Under a name of its own, since the room itself is settled.
			out = append(out, Request{Kind: KindRoom, At: now, ID: r.Name, Room: r.Name + "\x00moved", Load: sh.Demand})
			sum += sh.Demand.CPU
		}
	}
	for _, j := range s.Jobs() {
		if j.Node == n.ID {
			out = append(out, Request{
				Kind: Kind(j.Kind), At: now, ID: j.ID + "\x00moved", Room: j.Room, Type: j.Type, Load: cluster.Demand{CPU: j.CPU},
			})
			sum += j.CPU
		}
	}
	if used := n.CPUs * n.Load.CPU / 100; used > sum && sum > 0 {
		for i := range out {
			out[i].Load = out[i].Load.Times(used / sum)
		}
	}
	slices.SortStableFunc(out, func(a, b Request) int { return cmp.Compare(b.Load.CPU, a.Load.CPU) })
	return out
}
