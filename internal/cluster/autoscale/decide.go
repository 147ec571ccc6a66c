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

// Fits answers whether everything would still fit if a node were given up, for
// [Policy.MustFit]. It is asked for one node after the other; a node for which
// it says yes counts as given up when it is asked for the next. The reason is
// for the explanation. Placement answers: see its Fitter.
type Fits func(node string) (fits bool, reason string)

// Decide is one tick of the autoscaler. It reads the state and changes nothing:
// the same state, policy and time always give the same plan. A policy with
// MustFit gives no node up here; see [DecideFitting].
func Decide(s *cluster.State, p Policy, now time.Time) (Plan, Explanation) {
	return DecideFitting(s, p, now, nil)
}

// DecideFitting is [Decide] with an answer to what would still fit. It asks
// only when the policy says so and a node is to be given up.
func DecideFitting(s *cluster.State, p Policy, now time.Time, fits Fits) (Plan, Explanation) {
	in := input{s: s, p: p, m: measure(s, p, now), now: now, fits: fits}
	t, steps := target(in)
	plan := Plan{At: now, Target: t}
	switch {
	case t > in.m.Active:
		plan.add(s, t-in.m.Active, now)
	case t < in.m.Active:
		steps = append(steps, plan.drop(s, in, in.m.Active-t)...)
	}
	if last := s.Scaling().Announced; p.OnPremises {
		plan.Advice = plan.Launch.NewNodes > 0
		plan.Repeated = plan.Advice && last.NewNodes == plan.Launch.NewNodes && last.Active == in.m.Active &&
			plan.Launch.Total() == plan.Launch.NewNodes
		plan.Settled = !plan.Advice && last.NewNodes > 0
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
func (p *Plan) add(s *cluster.State, n int, now time.Time) {
	if w := reusable(s, cluster.StatusWaiting, now); len(w) > 0 {
		p.Launch.Waiting = w[:min(n, len(w))]
		n -= len(p.Launch.Waiting)
	}
	if c := reusable(s, cluster.StatusCanceled, now); n > 0 && len(c) > 0 {
		p.Launch.Canceled = c[:min(n, len(c))]
		n -= len(p.Launch.Canceled)
	}
	p.Launch.NewNodes = n
}

// drop plans n nodes fewer. Nodes of unknown load are neither given up nor
// relied on: what stays must be enough without them. Nodes beyond the maximum
// go whatever is known of them, and whether their work fits elsewhere or not.
func (p *Plan) drop(s *cluster.State, in input, n int) []Step {
	order := DrainOrder(s, in.now)
	known := 0
	for _, d := range order {
		if d.Known {
			known++
		}
	}
	must := max(0, in.m.Active-in.p.MaxNodes)
	n = max(must, min(n, known-p.Target))
	if in.p.MustFit && must > 0 {
		n = must // who else may go is asked when these are gone
	}
	kept := keeping{in: in}
	for i, d := range order {
		switch {
		case n == 0 || i >= must && !d.Known:
			return kept.steps(in.m.Active - p.Terminate.Total())
		case i >= must && !kept.mayGo(d.Node):
			continue
		case d.Status == cluster.StatusLaunching:
			p.Terminate.Launching = append(p.Terminate.Launching, d.Node)
		default:
			p.Terminate.Running = append(p.Terminate.Running, d)
		}
		n--
	}
	return kept.steps(in.m.Active - p.Terminate.Total())
}

// keeping is which nodes stay because their work fits nowhere else.
type keeping struct {
	in    input
	count int
	note  string // on the first of them
}

// mayGo asks whether everything would still fit without the node.
func (k *keeping) mayGo(node string) bool {
	if !k.in.p.MustFit {
		return true
	}
	ok, why := false, "nobody says whether its work fits elsewhere"
	if k.in.fits != nil {
		ok, why = k.in.fits(node)
	}
	if !ok {
		if k.count++; k.count == 1 {
			k.note = fmt.Sprintf("node %s stays: %s", node, why)
		}
	}
	return ok
}

// steps is what the explanation says of them, of the active nodes that stay.
func (k *keeping) steps(active int) []Step {
	if k.count == 0 {
		return nil
	}
	if k.count > 1 {
		k.note += fmt.Sprintf("; so do %d others", k.count-1)
	}
	return []Step{{By: "must_fit", Target: active, Note: k.note}}
}
