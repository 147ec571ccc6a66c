package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// reason is why a node is not eligible. It is a number so that an [Index] can
// count the reasons without keeping text.
type reason uint8

const (
	reasonNone reason = iota
	reasonRole
	reasonStatus
	reasonUnknown
	reasonCPULimit
	reasonSysLoadLimit
	reasons // how many there are
)

// grade says how good a node is for a room. It depends on now only through the
// age of the load report.
func (p *Policy) grade(n *cluster.Node, now time.Time, stale time.Duration) (Tier, float64, reason) {
	switch {
	case !n.Role.HostsMedia():
		return tierIneligible, 0, reasonRole
	case n.Status != cluster.StatusRunning:
		return tierIneligible, 0, reasonStatus
	case !n.Known(now, stale):
		score := p.cpuPercent(n)
		if n.Load.At.IsZero() {
			score += 100 // never heard of is not idle
		}
		return TierUnknown, score, reasonUnknown
	}
	score := p.score(n)
	switch {
	case p.Kind == SelectCPULoad && p.cpuPercent(n) >= p.CPULoadLimit*100:
		return TierOverLimit, score, reasonCPULimit
	case p.Kind == SelectSysLoad && p.sysLoad(n) >= p.SysLoadLimit:
		return TierOverLimit, score, reasonSysLoadLimit
	}
	return TierEligible, score, reasonNone
}

// pending is what was placed on the node and its report does not show.
func (p *Policy) pending(n *cluster.Node) cluster.Demand {
	if p.IgnorePlaced {
		return cluster.Demand{}
	}
	return n.Pending()
}

func (p *Policy) cpuPercent(n *cluster.Node) float64 {
	return n.Load.CPU + p.pending(n).CPU/n.CPUs*100
}

func (p *Policy) sysLoad(n *cluster.Node) float64 { return n.Load.SysLoad + p.pending(n).CPU/n.CPUs }

func (p *Policy) freeCPUs(n *cluster.Node) float64 {
	return n.CPUs*(1-n.Load.CPU/100) - p.pending(n).CPU
}

// score is what sort_by compares: the report and what is pending on top of it.
// With random, the pending work alone is compared: random among the nodes that
// have the least of it, so that a burst spreads however the dice fall.
func (p *Policy) score(n *cluster.Node) float64 {
	d := p.pending(n)
	switch p.SortBy {
	case SortSysLoad:
		return p.sysLoad(n)
	case SortRooms:
		return float64(n.Load.Rooms) + d.Rooms
	case SortClients:
		return float64(n.Load.Clients) + d.Clients
	case SortTracks:
		return float64(n.Load.Tracks) + d.Tracks
	case SortBytesPerSec:
		return n.Load.BytesPerSec + d.BytesPerSec
	case SortRandom:
		return d.CPU / n.CPUs
	}
	return p.cpuPercent(n)
}

// explain is the reason as text, for one node.
func (p *Policy) explain(why reason, n *cluster.Node) string {
	switch why {
	case reasonRole:
		return fmt.Sprintf("is a %s node", n.Role)
	case reasonStatus:
		return fmt.Sprintf("status is %s", n.Status)
	case reasonUnknown:
		if n.Load.At.IsZero() {
			return "load is unknown: it has not reported yet"
		}
		return "load is unknown: the last report is too old"
	case reasonCPULimit:
		return fmt.Sprintf("CPU load %.3g is not below %v", p.cpuPercent(n)/100, p.CPULoadLimit)
	case reasonSysLoadLimit:
		return fmt.Sprintf("system load %.3g is not below %v", p.sysLoad(n), p.SysLoadLimit)
	}
	return ""
}

// graded is a candidate. Positions are in the order of ids.
type graded struct {
	tier  Tier
	score float64
	pos   int
	why   reason
}

func (g graded) compare(h graded) int {
	return cmp.Or(cmp.Compare(g.tier, h.tier), cmp.Compare(g.score, h.score), cmp.Compare(g.pos, h.pos))
}

// pick chooses the best of the candidates, which are in the order of their
// positions: the lowest tier, then the lowest score; among equals the seed
// decides. Which one that is depends on the request and on who the equals are,
// never on the order in which things happened.
func pick(all []graded, seed uint64) (best graded, ties int) {
	as := func(g graded) int { return cmp.Or(cmp.Compare(g.tier, best.tier), cmp.Compare(g.score, best.score)) }
	for i, g := range all {
		switch c := as(g); {
		case i == 0 || c < 0:
			best, ties = g, 1
		case c == 0:
			ties++
		}
	}
	k := int(seed % uint64(ties))
	for _, g := range all {
		if as(g) != 0 {
			continue
		}
		if k == 0 {
			return g, ties
		}
		k--
	}
	return best, ties
}

// pick chooses among the candidates of the call, and says how.
func (c *call) pick() graded {
	seed := c.r.seed()
	best, ties := pick(c.all, seed)
	c.best = best.score
	c.e.Ties, c.e.Seed = ties, seed
	return best
}

// listed is the candidates that the explanation names, best first.
func (c *call) listed() []graded {
	if c.quiet {
		return nil
	}
	slices.SortFunc(c.all, graded.compare)
	return c.all
}

// seed turns what identifies a request into the number that breaks ties.
func (r *Request) seed() uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	add := func(s string) {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
		h = (h ^ 0xff) * 1099511628211
	}
	add(string(r.Kind))
	add(r.ID)
	add(r.Room)
	for _, t := range r.Tried {
		add(t)
	}
	// The finish of splitmix64: FNV's low bits alone are not even enough.
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
