package placement

import (
	"fmt"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Index places rooms with the answers of [Place] in a time that hardly depends
// on the number of nodes. It keeps every node's grade in a tree and follows the
// state's changes; it holds nothing that the state does not.
//
// Its explanations list the chosen candidate only; the counts of the others are
// there. Place on the same state explains in full.
type Index struct {
	policy Policy
	state  *cluster.State
	stale  time.Duration

	membership, changes uint64
	now                 time.Time
	leaves              int
	tree                []minCount // 1-based heap order; the leaves are the last ones
	why                 []reason
	counts              [reasons]int
	expiry              []expiring // binary heap, by time
	tracked             []bool     // which nodes have an entry in expiry
	rule                string
}

// minCount is the best grade of a subtree and how many nodes have it.
type minCount struct {
	score float64
	count int32
	tier  Tier
}

func (a minCount) merge(b minCount) minCount {
	switch {
	case b.count == 0 || a.count > 0 && (a.tier < b.tier || a.tier == b.tier && a.score < b.score):
		return a
	case a.count == 0 || a.tier > b.tier || a.score > b.score:
		return b
	}
	a.count += b.count
	return a
}

// expiring is when the load of a node becomes unknown, or was to when noted.
type expiring struct {
	at  time.Time
	pos int32
}

// NewIndex returns an index of a state under a policy.
func NewIndex(s *cluster.State, p Policy) *Index {
	return &Index{policy: p, state: s, rule: p.String()}
}

// Room decides as [Place] does for a request of [KindRoom].
func (x *Index) Room(r Request) (Decision, Explanation, error) {
	c := call{
		s: x.state, r: r, p: x.policy, mp: x.state.Policy(), d: Decision{Kind: KindRoom},
		e: Explanation{Request: r, Version: x.state.Version()},
	}
	var err error
	if r.Kind != KindRoom || r.Room == "" {
		err = fmt.Errorf("%w: the index places rooms that have a name", ErrRequest)
	} else if done, settledErr := c.settled(); done {
		err, c.e.Complete = settledErr, true
	} else {
		err = x.best(&c)
	}
	c.e.Outcome = c.outcome(err)
	return c.d, c.e, err
}

// best takes the best node of the tree.
func (x *Index) best(c *call) error {
	x.follow(c.r.At)
	root := x.tree[1]
	c.e.Rule = x.rule
	c.e.Considered = x.state.Len()
	c.e.Eligible = x.state.Len()
	for _, n := range x.counts {
		c.e.Eligible -= n
	}
	if root.count == 0 {
		return ErrNoNode
	}
	c.e.Seed, c.e.Ties = c.r.seed(), int(root.count)
	pos := x.pick(int32(c.e.Seed % uint64(root.count)))
	n := x.state.NodeAt(pos)
	c.d.Node, c.d.Tier, c.e.Chosen = n.ID, root.tier, n.ID
	c.e.Candidates = []Candidate{{Node: n.ID, Tier: root.tier.String(), Score: root.score}}
	return nil
}

// pick finds the k-th of the best nodes, in the order of ids.
func (x *Index) pick(k int32) int {
	best, i := x.tree[1], 1
	for i < x.leaves {
		i *= 2
		if l := x.tree[i]; l.count > 0 && l.tier == best.tier && l.score == best.score {
			if k < l.count {
				continue
			}
			k -= l.count
		}
		i++
	}
	return i - x.leaves
}

// follow brings the tree up to the state and the time.
func (x *Index) follow(now time.Time) {
	stale := x.state.Policy().StaleAfter
	positions, ok := x.state.ChangedSince(x.changes)
	if !ok || x.tree == nil || x.membership != x.state.Membership() || stale != x.stale || now.Before(x.now) {
		x.rebuild(now, stale)
		return
	}
	x.now = now
	for _, pos := range positions {
		x.update(int(pos))
	}
	x.changes = x.state.Changes()
	for len(x.expiry) > 0 && !now.Before(x.expiry[0].at) {
		pos := x.expiry[0].pos
		x.popExpiry()
		x.tracked[pos] = false
		x.update(int(pos))
	}
}

func (x *Index) rebuild(now time.Time, stale time.Duration) {
	n := x.state.Len()
	x.leaves = 1
	for x.leaves < n {
		x.leaves *= 2
	}
	x.membership, x.changes = x.state.Membership(), x.state.Changes()
	x.stale, x.now = stale, now
	x.tree = make([]minCount, 2*x.leaves)
	x.why, x.tracked = make([]reason, n), make([]bool, n)
	x.counts = [reasons]int{}
	x.expiry = x.expiry[:0]
	for i := range n {
		x.tree[x.leaves+i] = x.leaf(i)
	}
	for i := x.leaves - 1; i >= 1; i-- {
		x.tree[i] = x.tree[2*i].merge(x.tree[2*i+1])
	}
}

// leaf grades the node at a position, counts why it is not eligible, and sees
// to it that the node is looked at again when its load becomes unknown.
func (x *Index) leaf(pos int) minCount {
	n := x.state.NodeAt(pos)
	tier, score, why := x.policy.grade(&n, x.now, x.stale)
	if !x.tracked[pos] && n.Known(x.now, x.stale) {
		x.tracked[pos] = true
		x.pushExpiry(expiring{n.Load.At.Add(x.stale), int32(pos)})
	}
	if old := x.why[pos]; old != reasonNone {
		x.counts[old]--
	}
	if why != reasonNone {
		x.counts[why]++
	}
	x.why[pos] = why
	if tier == tierIneligible {
		return minCount{}
	}
	return minCount{score: score, count: 1, tier: tier}
}

func (x *Index) update(pos int) {
	i := x.leaves + pos
	leaf := x.leaf(pos)
	if x.tree[i] == leaf {
		return
	}
	x.tree[i] = leaf
	for i /= 2; i >= 1; i /= 2 {
		m := x.tree[2*i].merge(x.tree[2*i+1])
		if x.tree[i] == m {
			return
		}
		x.tree[i] = m
	}
}

func (x *Index) pushExpiry(e expiring) {
	x.expiry = append(x.expiry, e)
	for i := len(x.expiry) - 1; i > 0; {
		up := (i - 1) / 2
		if !x.expiry[i].at.Before(x.expiry[up].at) {
			return
		}
		x.expiry[i], x.expiry[up] = x.expiry[up], x.expiry[i]
		i = up
	}
}

func (x *Index) popExpiry() {
	last := len(x.expiry) - 1
	x.expiry[0] = x.expiry[last]
	x.expiry = x.expiry[:last]
	for i := 0; ; {
		l := 2*i + 1
		if l >= last {
			return
		}
		if r := l + 1; r < last && x.expiry[r].at.Before(x.expiry[l].at) {
			l = r
		}
		if !x.expiry[l].at.Before(x.expiry[i].at) {
			return
		}
		x.expiry[i], x.expiry[l] = x.expiry[l], x.expiry[i]
		i = l
	}
}
