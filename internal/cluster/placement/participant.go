package placement

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
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
		return c.pinnedParticipant(room)
	}
	if len(room.Shares) == 0 {
		return c.room()
	}
	if !c.quiet {
		c.e.Rule = fmt.Sprintf("spill %s; %s", c.p.Spill, c.p.String())
	}
	if c.p.Spill == SpillSpread {
		if err := c.rank(nil); err == nil {
			c.joined(room)
			return nil
		}
		c.forget()
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
	// Every node of the room is gone or drains. A room that must not spill
	// stays together on one that drains.
	if c.p.Spill == SpillNever && c.drainingHome(room, "a room that does not spill stays together") {
		return nil
	}
	c.forget()
	if err := c.rank(nil); err != nil {
		if c.drainingHome(room, "no other node runs") {
			return nil
		}
		return err
	}
	c.joined(room)
	return nil
}

// pinnedParticipant keeps a pinned room together: it does not spill, also when
// its node drains.
func (c *call) pinnedParticipant(room cluster.Room) error {
	err := c.room()
	switch {
	case err == nil && len(room.Shares) > 0:
		c.joined(room)
	case errors.Is(err, ErrNodeStatus) && c.drainingHome(room, "a pinned room stays together"):
		return nil
	}
	return err
}

// forget clears the explanation of what was tried in vain.
func (c *call) forget() {
	c.e.Candidates, c.e.Refused, c.e.Considered, c.e.Eligible = nil, nil, 0, 0
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
	c.all = c.all[:0]
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
		if !c.quiet {
			notes[i] = fmt.Sprintf("hosts %d of the room, %.3g of its CPUs", sh.Participants, share)
		}
		switch {
		case why != reasonNone:
			c.refuseFor(why, &n)
		case c.p.Spill == SpillShare && share >= c.p.MaxRoomShare && !c.reservedOn(room, &n):
			if !c.quiet {
				c.refuse(n.ID, "", "the room takes %.3g of it, not below max_room_share %v", share, c.p.MaxRoomShare)
			}
			tier = TierOverShare
		default:
			c.e.Eligible++
			usable = true
		}
		if tier != tierIneligible {
			c.all = append(c.all, graded{tier, score, i, why})
		}
	}
	if len(c.all) == 0 {
		return best, false
	}
	slices.SortFunc(c.all, func(a, b graded) int { return cmp.Compare(a.pos, b.pos) })
	g := c.pick()
	for _, h := range c.listed() {
		n := c.s.NodeAt(h.pos)
		c.e.Candidates = append(c.e.Candidates, Candidate{Node: n.ID, Tier: h.tier.String(), Score: h.score, Note: notes[h.pos]})
	}
	return homeNode{g, notes[g.pos]}, usable
}

// reservedOn reports whether the node still holds something for the room's
// participants to come: a reservation is there to be used, whatever the share.
func (c *call) reservedOn(room cluster.Room, n *cluster.Node) bool {
	return room.Reservation != "" && n.PromisedTo(room.Name).Clients > 0
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

// spill looks for a further node: one that is reserved for the room, or one
// that is eligible and better than the best that the room has.
func (c *call) spill(room cluster.Room, home homeNode) bool {
	hosted := func(n *cluster.Node) bool { _, on := room.On(n.ID); return on }
	if room.Reservation != "" {
		sub := c.sub()
		err := sub.rank(func(n *cluster.Node) bool { return hosted(n) || !c.reservedOn(room, n) })
		if err == nil && sub.d.Tier == TierEligible {
			c.note("reservation %s holds a part of node %s", room.Reservation, sub.d.Node)
			c.adopt(sub)
			return true
		}
	}
	sub := c.sub()
	err := sub.rank(hosted)
	if err != nil || sub.d.Tier != TierEligible {
		c.count(sub)
		return false
	}
	if home.pos >= 0 && home.why == reasonNone {
		// Only the room's share is too large: going elsewhere must pay.
		if sub.best >= home.score {
			c.count(sub)
			c.note("node %s is no better: score %.4g", sub.d.Node, sub.best)
			return false
		}
	}
	c.adopt(sub)
	return true
}

// sub is a call within the call, of which not all may be wanted.
func (c *call) sub() *call {
	sub := newCall(c.s, c.r, c.p)
	sub.quiet = c.quiet
	return sub
}

// count adds the nodes that a sub-call looked at.
func (c *call) count(sub *call) {
	c.e.Considered += sub.e.Considered
	c.e.Eligible += sub.e.Eligible
	c.e.Refused = append(c.e.Refused, sub.e.Refused...)
}

// adopt spills to the node that a sub-call has chosen.
func (c *call) adopt(sub *call) {
	c.count(sub)
	c.e.Candidates = append(sub.e.Candidates, c.e.Candidates...)
	c.e.Ties, c.e.Seed = sub.e.Ties, sub.e.Seed
	c.d.Spilled = true
	c.choose(Candidate{Node: sub.d.Node}, TierEligible)
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

// drainingHome takes a node that hosts the room and drains: the room is alive
// there. The reason is for the explanation.
func (c *call) drainingHome(room cluster.Room, because string) bool {
	for _, sh := range room.Shares {
		if _, n, ok := c.find(sh.Node); ok && n.Status == cluster.StatusWaiting {
			c.choose(Candidate{Node: n.ID, Note: "hosts the room"}, TierDraining)
			c.because = because
			c.joined(room)
			return true
		}
	}
	return false
}

func (c *call) find(id string) (int, cluster.Node, bool) {
	n, ok := c.s.Node(id)
	return n.Position(), n, ok
}
