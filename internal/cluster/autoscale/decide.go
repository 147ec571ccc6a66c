package autoscale

import (
	"fmt"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Explanation says how a plan came out.
type Explanation struct {
	At      time.Time `json:"at"`
	Version uint64    `json:"state_version"` // of the state that was decided on
	Policy  Policy    `json:"policy"`
	Measure Measure   `json:"measure"`
	Steps   []Step    `json:"steps"`
	Log     []string  `json:"log"` // the two published lines
}

// String is the explanation as text, one line for each step.
func (e Explanation) String() string {
	var b strings.Builder
	m := e.Measure
	fmt.Fprintf(&b, "%d active nodes (%d running, %d launching), %d waiting, %d canceled; total %s%%, average %s%%, limits [%s%%, %s%%]",
		m.Active, m.Running, m.Launching, m.Waiting, m.Canceled, short(m.TotalLoad), short(m.AvgLoad), short(e.Policy.MinLoad), short(e.Policy.MaxLoad))
	if m.Unknown > 0 {
		fmt.Fprintf(&b, "; %d of unknown load", m.Unknown)
	}
	for _, s := range e.Steps {
		fmt.Fprintf(&b, "\n%s: %s → %d", s.By, s.Note, s.Target)
	}
	fmt.Fprintf(&b, "\n%s", e.Log[len(e.Log)-1])
	return b.String()
}

// Decide is one tick of the autoscaler. It reads the state and changes nothing:
// the same state, policy and time always give the same plan.
func Decide(s *cluster.State, p Policy, now time.Time) (Plan, Explanation) {
	in := input{s: s, p: p, m: measure(s, p, now), now: now}
	t, steps := target(in)
	plan := Plan{At: now, Target: t}
	switch {
	case t > in.m.Active:
		plan.add(s, t-in.m.Active)
	case t < in.m.Active:
		plan.drop(s, in, in.m.Active-t)
	}
	if p.OnPremises && plan.Launch.NewNodes > 0 {
		plan.Advice = true
		last := s.Scaling().Announced
		plan.Repeated = last.NewNodes == plan.Launch.NewNodes && last.Active == in.m.Active &&
			plan.Launch.Total() == plan.Launch.NewNodes
	}
	plan.Target = in.m.Active + plan.Launch.Total() - plan.Terminate.Total()
	plan.Reason = reason(plan, in, steps)
	e := Explanation{At: now, Version: s.Version(), Policy: p, Measure: in.m, Steps: steps}
	e.Log = []string{totalsLine(in.m, plan), "Autoscaling doing nothing"}
	if !plan.Empty() {
		e.Log[1] = plan.Reason
	}
	return plan, e
}

// add plans n more nodes.
func (p *Plan) add(s *cluster.State, n int) {
	if w := reusable(s, cluster.StatusWaiting); len(w) > 0 {
		p.Launch.Waiting = w[:min(n, len(w))]
		n -= len(p.Launch.Waiting)
	}
	if c := reusable(s, cluster.StatusCanceled); n > 0 && len(c) > 0 {
		p.Launch.Canceled = c[:min(n, len(c))]
		n -= len(p.Launch.Canceled)
	}
	p.Launch.NewNodes = n
}

// drop plans n nodes fewer. Nodes of unknown load are neither given up nor
// relied on: what stays must be enough without them. Only when there are more
// nodes than the maximum do they go too.
func (p *Plan) drop(s *cluster.State, in input, n int) {
	order := DrainOrder(s, in.now)
	known := 0
	for _, d := range order {
		if d.Known {
			known++
		}
	}
	if in.m.Active <= in.p.MaxNodes {
		n = min(n, max(0, known-p.Target))
	}
	for _, d := range order {
		switch {
		case n == 0:
			return
		case d.Status == cluster.StatusLaunching:
			p.Terminate.Launching = append(p.Terminate.Launching, d.Node)
		default:
			p.Terminate.Running = append(p.Terminate.Running, d)
		}
		n--
	}
}
