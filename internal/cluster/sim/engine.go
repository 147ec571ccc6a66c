package sim

import (
	"fmt"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/autoscale"
	"github.com/concertina-rtc/concertina/internal/cluster/placement"
)

// Run simulates a scenario from its start to its end. The record function, when
// there is one, gets every event and decision as a line of a decision log.
func Run(sc Scenario, record func(line []byte)) (Report, error) {
	if err := sc.validate(); err != nil {
		return Report{}, err
	}
	e := newEngine(sc, record)
	e.begin()
	for e.err == nil && e.step() {
	}
	if e.err != nil {
		return Report{}, fmt.Errorf("at %v: %w", time.Duration(e.now), e.err)
	}
	return e.finish(), nil
}

// engine is one simulation under way.
type engine struct {
	sc    Scenario
	state *cluster.State
	index *placement.Index
	rec   *recorder
	err   error

	now    int64 // nanoseconds since the start
	end    int64
	timers queue // everything but the ends of sessions
	ends   queue
	work   *merged

	provider, network *rng

	nodes    []*machine // by number; nil once gone
	byID     map[string]int32
	launched int

	sessions []session
	free     []int32
	late     []lateReport
	rooms    map[string]int // participants of rooms that are joined one by one

	m metrics
}

// session is a piece of work that runs.
type session struct {
	room   string
	end    int64
	cpu    float64
	points float64
	people int32
	node   int32 // -1: not running
	what   what
	log    bool
}

func newEngine(sc Scenario, record func([]byte)) *engine {
	e := &engine{
		sc: sc, state: cluster.New(sc.Model), end: int64(sc.Duration), work: openAll(&sc),
		provider: newRNG(sc.Seed, "provider"), network: newRNG(sc.Seed, "network"),
		byID: map[string]int32{}, rooms: map[string]int{},
	}
	if record != nil {
		e.rec = &recorder{write: record}
	}
	e.index = placement.NewIndex(e.state, sc.Place)
	e.m = newMetrics(&e.sc)
	return e
}

// at is the present as a time.
func (e *engine) at() time.Time { return e.sc.Start.Add(time.Duration(e.now)) }

// apply changes the state and records the change. An error is a bug of the
// simulator: it stops the run.
func (e *engine) apply(ev cluster.Event) {
	if err := e.state.Apply(ev); err != nil && e.err == nil {
		e.err = err
		return
	}
	e.rec.event(ev)
}

// begin brings up the first nodes and sets the clocks going.
func (e *engine) begin() {
	e.rec.begin(e.state)
	first := e.sc.Fleet.Nodes
	if e.sc.Scaling {
		first = max(first, e.sc.Autoscale.MinNodes)
	}
	for range first {
		i := e.launch()
		e.timers.heap = e.timers.heap[:0] // the first nodes are there at once
		e.running(i)
	}
	for i := range e.nodes {
		e.timers.push(0, evReport, int32(i))
	}
	if e.sc.Scaling {
		e.timers.push(0, evTick, 0)
	}
	e.timers.push(0, evSample, 0)
	for i, b := range e.sc.booked {
		e.timers.push(int64(b.at), evReserve, int32(i))
	}
	for i, f := range e.sc.faults {
		e.timers.push(int64(f.at), evFault, int32(i))
	}
}

// step handles the next event; it returns false at the end.
func (e *engine) step() bool {
	t, okT := e.timers.peek()
	s, okS := e.ends.peek()
	next, from := t, &e.timers
	if okS && (!okT || s.before(t)) {
		next, from = s, &e.ends
	}
	ok := okT || okS
	if at, okA := e.work.peek(); okA {
		a := event{at: int64(at), kind: evArrival}
		if !ok || a.before(next) {
			next, from, ok = a, nil, true
		}
	}
	if !ok || next.at > e.end {
		return false
	}
	e.now = next.at
	if from == nil {
		e.arrive(e.work.pop())
		return true
	}
	e.handle(from.pop())
	return true
}

func (e *engine) handle(ev event) {
	switch ev.kind {
	case evTerminated:
		e.terminated(ev.ref)
	case evLaunched:
		e.launchDone(ev.ref)
	case evFault:
		e.fault(e.sc.faults[ev.ref])
	case evDetected:
		e.detected(ev.ref)
	case evReserve:
		e.reserve(int(ev.ref))
	case evEnd:
		e.ended(ev.ref, ev.at)
	case evReport:
		e.report(ev.ref)
	case evDelivered:
		e.delivered(ev.ref)
	case evTick:
		e.tick()
	case evSample:
		e.sample()
	}
}

// tick is one decision of the autoscaler, carried out at once.
func (e *engine) tick() {
	e.timers.push(e.now+int64(e.sc.Tick), evTick, 0)
	e.apply(cluster.TimePassed{At: e.at()})
	bound, _ := placement.Bind(e.state, e.sc.Place, e.at())
	for _, ev := range bound {
		e.apply(ev)
	}
	plan, ex := decide(e.state, e.sc.Autoscale, e.sc.Place, e.at())
	e.rec.decide(e.sc.Autoscale, e.sc.Place, plan)
	e.apply(cluster.LoadSampled{At: e.at(), Total: ex.Measure.TotalLoad})
	for _, ev := range plan.Events(ex.Measure.Active) {
		e.apply(ev)
	}
	for _, t := range plan.Transitions() {
		switch t.To {
		case cluster.StatusTerminating:
			e.m.Drains++
			e.terminate(e.byID[t.Node])
		case cluster.StatusWaiting:
			e.m.Drains++
		case cluster.StatusCanceled:
			e.m.Cancels++
		}
	}
	for range plan.NodesToLaunch() {
		e.launch()
	}
	e.row(ex)
}

// decide is one tick, with placement's answer to what would still fit.
func decide(s *cluster.State, p autoscale.Policy, place placement.Policy, now time.Time) (autoscale.Plan, autoscale.Explanation) {
	f := placement.NewFitter(s, place, now)
	return autoscale.DecideFitting(s, p, now, func(node string) (bool, string) {
		fit, err := f.Without(node)
		if err != nil {
			return false, err.Error()
		}
		return fit.Fits, fit.String()
	})
}

// row keeps the line of the table for this tick.
func (e *engine) row(ex autoscale.Explanation) {
	r := Row{
		At: time.Duration(e.now), TotalLoad: ex.Measure.TotalLoad, AvgLoad: ex.Measure.AvgLoad, People: e.m.people,
	}
	e.countStatuses(&r)
	if e.sc.Log {
		r.Log = append(e.m.log, ex.Log...)
	} else if ex.Log[1] != "Autoscaling doing nothing" {
		r.Log = ex.Log[1:]
	}
	e.m.log = nil
	e.m.rows = append(e.m.rows, r)
}

func (e *engine) countStatuses(r *Row) {
	for i := range e.state.Len() {
		switch e.state.NodeAt(i).Status {
		case cluster.StatusRunning:
			r.Running++
		case cluster.StatusLaunching:
			r.Launching++
		case cluster.StatusWaiting:
			r.Waiting++
		case cluster.StatusCanceled:
			r.Canceled++
		case cluster.StatusTerminating:
			r.Terminating++
		}
	}
}
