package placement

import (
	"fmt"
	"slices"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// job places an egress or an ingress: both need free CPUs.
func (c *call) job() error {
	cost, needs, ok := c.p.cost(c.r.Kind, c.r.Type)
	if !ok {
		return fmt.Errorf("%w: %s of type %q", ErrRequest, c.r.Kind, c.r.Type)
	}
	if c.r.Load.CPU > 0 {
		cost = c.r.Load.CPU
	}
	c.d.CPU = cost
	c.e.Rule = c.jobRule(cost)
	for i := range c.s.Len() {
		n := c.s.NodeAt(i)
		c.e.Considered++
		if why := c.unfit(&n, cost, needs); why != "" {
			c.refuse(n.ID, "", "%s", why)
			continue
		}
		c.e.Eligible++
		c.all = append(c.all, graded{tier: TierEligible, score: c.jobScore(&n), pos: i})
	}
	if len(c.all) == 0 {
		return fmt.Errorf("%w for %s %s: %.3g CPUs are needed", ErrNoCapacity, c.r.Kind, c.r.Type, cost)
	}
	best := c.pick()
	for _, g := range c.listed() {
		n := c.s.NodeAt(g.pos)
		c.e.Candidates = append(c.e.Candidates, Candidate{
			Node: n.ID, Tier: g.tier.String(), Score: g.score,
			Note: fmt.Sprintf("%.3g CPUs free, %d egresses", c.p.freeCPUs(&n), n.Egresses),
		})
	}
	n := c.s.NodeAt(best.pos)
	c.choose(Candidate{Node: n.ID}, TierEligible)
	return nil
}

func (c *call) jobRule(cost float64) string {
	switch {
	case c.r.Kind == KindIngress:
		return fmt.Sprintf("%.3g CPUs free beyond an idle ratio of %v, random", cost, c.p.Ingress.MinIdleRatio)
	case c.p.Egress.Spread:
		return fmt.Sprintf("%.3g CPUs free, most free CPUs first", cost)
	}
	return fmt.Sprintf("%.3g CPUs free, nodes that host an egress first, the fullest of them first", cost)
}

// unfit says why a node cannot take the job.
func (c *call) unfit(n *cluster.Node, cost float64, needs []string) string {
	free := c.p.freeCPUs(n)
	switch {
	case !n.Role.HostsMedia():
		return c.p.explain(reasonRole, n)
	case n.Status != cluster.StatusRunning:
		return c.p.explain(reasonStatus, n)
	case !n.Known(c.r.At, c.mp.StaleAfter):
		return c.p.explain(reasonUnknown, n)
	case !n.Can(needs...):
		return fmt.Sprintf("has no %s", needs[0])
	case c.r.Kind == KindEgress && c.p.Egress.MaxDisk > 0 && n.Load.Disk >= c.p.Egress.MaxDisk:
		// A node that cannot store is idle, and would win every time.
		return fmt.Sprintf("disk is %.3g%% full, not below %v%%", n.Load.Disk, c.p.Egress.MaxDisk)
	case c.r.Kind == KindIngress && free-c.p.Ingress.MinIdleRatio*n.CPUs <= cost:
		return fmt.Sprintf("%.3g CPUs free, %.3g of them must stay idle", max(free, 0), c.p.Ingress.MinIdleRatio*n.CPUs)
	case free < cost:
		return fmt.Sprintf("%.3g CPUs free", max(free, 0))
	}
	return ""
}

// packScore keeps every node that hosts an egress ahead of all that do not: it
// is more CPUs than a node has.
const packScore = 1e4

func (c *call) jobScore(n *cluster.Node) float64 {
	free := c.p.freeCPUs(n)
	switch {
	case c.r.Kind == KindIngress:
		return 0
	case c.p.Egress.Spread:
		return -free
	case n.Egresses > 0:
		return free
	}
	return packScore
}

// agent chooses a worker that has not been tried: random among those with the
// least work in flight.
func (c *call) agent() error {
	c.e.Rule = fmt.Sprintf("node CPU below %v, worker below its threshold (default %v), random", c.p.Agent.MaxNodeCPU, c.p.Agent.Threshold)
	workers := c.s.Workers()
	for i, w := range workers {
		c.e.Considered++
		score, why := c.gradeWorker(&w)
		if why != "" {
			c.refuse(w.Node, w.ID, "%s", why)
			continue
		}
		c.e.Eligible++
		c.all = append(c.all, graded{tier: TierEligible, score: score, pos: i})
	}
	if len(c.all) == 0 {
		return fmt.Errorf("%w: %d tried", ErrNoWorker, len(c.r.Tried))
	}
	best := c.pick()
	for _, g := range c.listed() {
		w := workers[g.pos]
		c.e.Candidates = append(c.e.Candidates, Candidate{
			Node: w.Node, Worker: w.ID, Tier: g.tier.String(), Score: g.score, Note: fmt.Sprintf("load %.3g", w.Load),
		})
	}
	c.d.CPU = c.p.Agent.CPU
	if c.r.Load.CPU > 0 {
		c.d.CPU = c.r.Load.CPU
	}
	w := workers[best.pos]
	c.choose(Candidate{Node: w.Node, Worker: w.ID}, TierEligible)
	return nil
}

// gradeWorker scores a worker by what is in flight to it and to its node.
func (c *call) gradeWorker(w *cluster.Worker) (float64, string) {
	threshold := w.Threshold
	if threshold == 0 {
		threshold = c.p.Agent.Threshold
	}
	load, flight := w.EffectiveLoad(), w.InFlight()
	if c.p.IgnorePlaced {
		load, flight = w.Load, 0
	}
	switch {
	case slices.Contains(c.r.Tried, w.ID):
		return 0, "was tried: it refused or did not answer"
	case w.Agent != c.r.Type:
		return 0, fmt.Sprintf("serves agent %q", w.Agent)
	case w.Full:
		return 0, "reports that it is full"
	case load >= threshold:
		return 0, fmt.Sprintf("load %.3g is not below its threshold %v", load, threshold)
	case w.Node == "":
		return flight, ""
	}
	n, ok := c.s.Node(w.Node)
	switch {
	case !ok:
		return 0, "its node is not in the cluster"
	case n.Status != cluster.StatusRunning:
		return 0, c.p.explain(reasonStatus, &n)
	case !n.Known(c.r.At, c.mp.StaleAfter):
		return 0, c.p.explain(reasonUnknown, &n)
	case c.p.cpuPercent(&n) >= c.p.Agent.MaxNodeCPU*100:
		return 0, fmt.Sprintf("CPU load %.3g of its node is not below %v", c.p.cpuPercent(&n)/100, c.p.Agent.MaxNodeCPU)
	}
	return flight + c.p.pending(&n).CPU/n.CPUs, ""
}
