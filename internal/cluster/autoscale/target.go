package autoscale

import (
	"math"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// baseTarget is the published algorithm: the smallest or largest number of
// active nodes that brings the average back inside the limits.
func baseTarget(m Measure, p Policy) int {
	switch {
	case !m.Known:
		return m.Active
	case m.Active == 0:
		return min(p.MaxNodes, needed(m.TotalLoad, p.MaxLoad))
	case m.AvgLoad > p.MaxLoad && m.Active < p.MaxNodes:
		return max(m.Active, min(p.MaxNodes, needed(m.TotalLoad, p.MaxLoad)))
	case m.AvgLoad < p.MinLoad && m.Active > p.MinNodes:
		fill := int(math.Floor(m.TotalLoad / p.MinLoad))
		// The third term keeps a removal from causing an addition.
		return min(m.Active, max(p.MinNodes, fill, needed(m.TotalLoad, p.MaxLoad)))
	}
	return m.Active
}

// needed is how many nodes carry the total without exceeding the limit.
func needed(total, limit float64) int {
	return int(min(math.Ceil(total/limit), 1<<30))
}

// Step is one thing that shaped the target.
type Step struct {
	By     string `json:"by"`     // load, minimum, maximum, or the name of an option
	Target int    `json:"target"` // active nodes wanted after this step
	Note   string `json:"note"`
}

// input is what an option may look at.
type input struct {
	s   *cluster.State
	p   Policy
	m   Measure
	now time.Time
	lo  int // min_nodes, as raised by the calendar

	fits Fits // for must_fit; nil: nobody can say
}

// points turns CPUs into percent points of one node.
func (in input) points(cpus float64) float64 {
	if in.m.NodeCPUs <= 0 {
		return 0
	}
	return cpus / in.m.NodeCPUs * 100
}

// nodesFor is how many nodes carry the total load plus extra percent points.
func (in input) nodesFor(extra float64) int { return needed(in.m.TotalLoad+extra, in.p.MaxLoad) }

// target runs the algorithm and the options. Options that want more nodes come
// first, in the order in which they are listed here; then the limits, which
// always hold; then what may only hold back.
func target(in input) (int, []Step) {
	t := baseTarget(in.m, in.p)
	steps := []Step{{By: "load", Target: t, Note: baseNote(in.m, in.p)}}
	add := func(by string, target int, note string) {
		if note != "" {
			steps = append(steps, Step{By: by, Target: target, Note: note})
		}
		t = target
	}
	lo, note := calendarFloor(in)
	in.lo = lo
	if t < lo && note != "" {
		add("calendar", lo, note)
	}
	for _, o := range []struct {
		by   string
		want func(input) (int, string)
	}{
		{"headroom", wantHeadroom}, {"reservations", wantReservations}, {"forecast", wantForecast}, {"queue", wantQueue},
	} {
		if n, note := o.want(in); min(n, in.p.MaxNodes) > t {
			add(o.by, min(n, in.p.MaxNodes), note)
		}
	}
	if t < in.p.MinNodes {
		add("minimum", in.p.MinNodes, "min_nodes is always kept")
	}
	if t > in.p.MaxNodes {
		add("maximum", in.p.MaxNodes, "max_nodes is always kept")
	}
	if n, note := holdCooldown(in, t); note != "" {
		add("cooldown", n, note)
	}
	if n, note := holdUnknown(in, t); note != "" {
		add("unknown", n, note)
	}
	return t, steps
}
