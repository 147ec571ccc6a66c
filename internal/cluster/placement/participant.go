package placement

import (
	"fmt"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// participant prefers the nodes of the room, and spills to a further one by
// policy. The first participant places the room.
func (c *call) participant() error {
	room, _ := c.s.Room(c.r.Room)
	c.d.Load = c.load(room)
	if c.p.SortBy == SortRooms || c.p.SortBy == SortRandom {
		// These say nothing about where in a room one more participant fits.
		c.p.SortBy = SortCPULoad
	}
	if c.r.Node != "" || room.Pin != "" {
		// A pinned room does not spill.
		c.d.Existing = len(room.Shares) > 0
		return c.room()
	}
	if len(room.Shares) == 0 {
		return c.room()
	}
	c.e.Rule = fmt.Sprintf("spill %s; %s", c.p.Spill, c.p.String())
	if c.p.Spill == SpillSpread {
		if err := c.rank(nil); err == nil {
			c.joined(room)
			return nil
		}
		c.e.Candidates, c.e.Refused, c.e.Considered, c.e.Eligible = nil, nil, 0, 0
	}
	home, usable := c.home(room)
	if usable {
		c.settle(room, home)
		return nil
	}
	if c.p.Spill != SpillNever && c.spill(room, home) {
		return nil
	}
	if home.pos >= 0 {
		c.settle(room, home)
		return nil
	}
	// Every node of the room is gone or drains.
	c.e.Considered, c.e.Eligible, c.e.Refused = 0, 0, nil
	if err := c.rank(nil); err != nil {
		return c.drainingHome(room, err)
	}
	c.joined(room)
	return nil
}

// load is what one more participant of the room is expected to cost. Of those
// who are there, as many are taken to publish as a new room is expected to get.
func (c *call) load(room cluster.Room) cluster.Demand {
	if !c.r.Load.IsZero() {
		return c.r.Load
	}
	n := room.Participants()
	publishers := min(n, max(1, c.p.ExpectParticipants))
	return c.mp.Costs.OfParticipant(n, publishers, n < max(1, c.p.ExpectParticipants))
}

// homeNode is the best of the nodes that host the room.
type homeNode struct {
	graded
	note string
}

// home looks at the nodes of the room. usable is false when the best of them is
// over a limit or the room's share of each is too large; pos is -1 when none
// of them runs.
func (c *call) home(room cluster.Room) (best homeNode, usable bool) {
	best.pos = -1
	var all []graded
	notes := map[int]string{}
	for _, sh := range room.Shares {
		i, n, ok := c.find(sh.Node)
		if !ok {
			continue
		}
		c.e.Considered++
		own := n.PromisedTo(room.Name)
		tier, score, why := c.p.gradeFor(&n, own, c.r.At, c.mp.StaleAfter)
		share := sh.Demand.CPU / n.CPUs
		notes[i] = fmt.Sprintf("hosts %d of the room, %.3g of its CPUs", sh.Participants, share)
		switch {
		case why != reasonNone:
			c.refuse(n.ID, "", "%s", c.p.explain(why, &n))
		case c.p.Spill == SpillShare && share >= c.p.MaxRoomShare:
			c.refuse(n.ID, "", "the room takes %.3g of it, not below max_room_share %v", share, c.p.MaxRoomShare)
			tier = TierOverShare
		default:
			c.e.Eligible++
			usable = true
		}
		if tier != tierIneligible {
			all = append(all, graded{tier, score, i, why})
		}
	}
	if len(all) == 0 {
		return best, false
	}
	g, ties := pick(all, c.r.seed())
	c.e.Ties, c.e.Seed = ties, c.r.seed()
	for _, h := range all {
		n := c.s.NodeAt(h.pos)
		c.e.Candidates = append(c.e.Candidates, Candidate{Node: n.ID, Tier: h.tier.String(), Score: h.score, Note: notes[h.pos]})
	}
	return homeNode{g, notes[g.pos]}, usable
}

// gradeFor grades a node for one room, to which own is promised.
func (p *Policy) gradeFor(n *cluster.Node, own cluster.Demand, now time.Time, stale time.Duration) (Tier, float64, reason) {
	if own.IsZero() || p.IgnorePlaced {
		return p.grade(n, now, stale)
	}
	m := *n
	m.Load.CPU -= own.CPU / n.CPUs * 100
	m.Load.SysLoad -= own.CPU / n.CPUs
	m.Load.Clients -= int(own.Clients)
	m.Load.Tracks -= int(own.Tracks)
	m.Load.BytesPerSec -= own.BytesPerSec
	return p.grade(&m, now, stale)
}

// spill looks for a further node that is eligible and better than the best one
// the room has.
func (c *call) spill(room cluster.Room, home homeNode) bool {
	sub := newCall(c.s, c.r, c.p)
	err := sub.rank(func(n *cluster.Node) bool { _, on := room.On(n.ID); return on })
	c.e.Considered += sub.e.Considered
	c.e.Eligible += sub.e.Eligible
	c.e.Refused = append(c.e.Refused, sub.e.Refused...)
	if err != nil || sub.d.Tier != TierEligible {
		return false
	}
	if home.pos >= 0 && home.why == reasonNone {
		// Only the room's share is too large: going elsewhere must pay.
		if best := sub.chosenScore(); best >= home.score {
			c.note("node %s is no better: score %.4g", sub.d.Node, best)
			return false
		}
	}
	c.e.Candidates = append(sub.e.Candidates, c.e.Candidates...)
	c.e.Ties, c.e.Seed = sub.e.Ties, sub.e.Seed
	c.d.Spilled = true
	c.choose(Candidate{Node: sub.d.Node}, TierEligible)
	return true
}

func (c *call) chosenScore() float64 {
	for _, x := range c.e.Candidates {
		if x.Node == c.d.Node {
			return x.Score
		}
	}
	return 0
}

func (c *call) settle(room cluster.Room, h homeNode) {
	n := c.s.NodeAt(h.pos)
	c.choose(Candidate{Node: n.ID, Score: h.score, Note: h.note}, h.tier)
	c.joined(room)
}

// joined notes whether the chosen node hosts the room already.
func (c *call) joined(room cluster.Room) {
	_, c.d.Existing = room.On(c.d.Node)
	c.d.Spilled = !c.d.Existing
}

// drainingHome is the last resort: no node runs, but the room is alive on one
// that drains.
func (c *call) drainingHome(room cluster.Room, err error) error {
	for _, sh := range room.Shares {
		if _, n, ok := c.find(sh.Node); ok && n.Status == cluster.StatusWaiting {
			c.choose(Candidate{Node: n.ID, Note: "hosts the room"}, TierDraining)
			c.joined(room)
			return nil
		}
	}
	return err
}

func (c *call) find(id string) (int, cluster.Node, bool) {
	n, ok := c.s.Node(id)
	return n.Position(), n, ok
}
