package placement

import (
	"fmt"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// room places a room: pinned, where it is already, where it is reserved, or on
// the best node.
func (c *call) room() error {
	if done, err := c.settled(); done {
		return err
	}
	if !c.quiet {
		c.e.Rule = c.p.String()
	}
	return c.rank(nil)
}

// settled handles the rooms whose node does not depend on the load.
func (c *call) settled() (done bool, err error) {
	room, exists := c.s.Room(c.r.Room)
	pin := c.r.Node
	if pin == "" && exists {
		pin = room.Pin
	}
	if pin != "" {
		return true, c.pinned(pin)
	}
	for _, sh := range room.Shares {
		if n, ok := c.s.Node(sh.Node); ok && n.Status == cluster.StatusRunning {
			c.e.Rule = "a room stays where it is"
			c.d.Existing = true
			c.choose(Candidate{Node: n.ID, Note: "hosts the room"}, TierEligible)
			return true, nil
		}
	}
	if res, ok := c.s.ReservationFor(c.r.Room, c.r.At); ok && c.reserved(res) {
		return true, nil
	}
	return false, nil
}

func (c *call) pinned(id string) error {
	c.e.Rule = "pinned to node " + id
	c.e.Considered = 1
	n, ok := c.s.Node(id)
	if !ok {
		c.refuse(id, "", "is not a node of the cluster")
		return fmt.Errorf("%w %q", ErrUnknownNode, id)
	}
	if n.Status != cluster.StatusRunning || !n.Role.HostsMedia() {
		c.refuse(id, "", "status is %s", n.Status)
		return fmt.Errorf("%w: node %q is %s, not running", ErrNodeStatus, id, n.Status)
	}
	c.e.Eligible = 1
	c.choose(Candidate{Node: id, Score: c.p.score(&n), Note: "pinned"}, TierEligible)
	return nil
}

// reserved takes the node that most of the room is reserved on, when it runs
// and its load is known.
func (c *call) reserved(res cluster.Reservation) bool {
	best, cpu := "", -1.0
	for _, sh := range res.Shares {
		n, ok := c.s.Node(sh.Node)
		if ok && n.Status == cluster.StatusRunning && n.Known(c.r.At, c.mp.StaleAfter) && sh.Demand.CPU > cpu {
			best, cpu = n.ID, sh.Demand.CPU
		}
	}
	c.d.Reservation = res.ID
	if best == "" {
		c.note("reservation %s has no running node of known load", res.ID)
		return false
	}
	c.e.Rule = "reservation " + res.ID
	c.e.Eligible = len(res.Shares)
	c.e.Considered = len(res.Shares)
	c.choose(Candidate{Node: best, Note: fmt.Sprintf("%.3g CPUs are reserved on it", cpu)}, TierEligible)
	return true
}

// rank chooses among all nodes, except those that skip says yes to. For a
// participant, what is promised to its room on a node is not held against it.
func (c *call) rank(skip func(n *cluster.Node) bool) error {
	c.all = c.all[:0]
	for i := range c.s.Len() {
		n := c.s.NodeAt(i)
		if skip != nil && skip(&n) {
			continue
		}
		c.e.Considered++
		var own cluster.Demand
		if c.r.Kind == KindParticipant {
			own = n.PromisedTo(c.r.Room)
		}
		tier, score, why := c.p.gradeFor(&n, own, c.r.At, c.mp.StaleAfter)
		if why != reasonNone {
			c.refuseFor(why, &n)
		} else {
			c.e.Eligible++
		}
		if tier != tierIneligible {
			c.all = append(c.all, graded{tier, score, i, why})
		}
	}
	if len(c.all) == 0 {
		return ErrNoNode
	}
	best := c.pick()
	for _, g := range c.listed() {
		if g.tier != best.tier {
			break
		}
		n := c.s.NodeAt(g.pos)
		c.e.Candidates = append(c.e.Candidates, Candidate{Node: n.ID, Tier: g.tier.String(), Score: g.score, Note: pendingNote(&n, &c.p)})
	}
	n := c.s.NodeAt(best.pos)
	c.choose(Candidate{Node: n.ID}, best.tier)
	return nil
}

func pendingNote(n *cluster.Node, p *Policy) string {
	d := p.pending(n)
	if d.IsZero() {
		return ""
	}
	return fmt.Sprintf("%.3g CPUs placed and not reported yet", d.CPU)
}
