package sim

import (
	"fmt"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/autoscale"
	"github.com/concertina-rtc/concertina/internal/cluster/placement"
)

// Scenario is what to simulate: the fleet, the work, what goes wrong, and the
// policies.
type Scenario struct {
	Name     string
	Seed     uint64
	Start    time.Time
	Duration time.Duration
	Tick     time.Duration // how often the autoscaler decides
	Sample   time.Duration // how often the figures are taken; 0: chosen by the duration
	Price    float64       // per core and minute
	HotLoad  float64       // percent; a node above it is overloaded
	Uncapped bool          // reports may exceed 100 %
	Log      bool          // keep the published log lines

	Fleet     Fleet
	Reports   Reports
	Model     cluster.Policy
	Scaling   bool // the autoscaler is on
	Autoscale autoscale.Policy
	Place     placement.Policy
	Variants  []Variant // named policies, for comparisons

	work    []source
	faults  []fault
	booked  []booking
	Workers bool // every node runs an agent worker
}

// Fleet is the nodes: how many there are at the start, and what it takes to
// launch and terminate one.
type Fleet struct {
	Nodes     int
	CPUs      float64
	Names     []string // of the first nodes; then n1, n2, …
	Launch    span
	Terminate span
	FailRate  float64 // part of the launches that fail
	Detect    time.Duration
}

// Reports is how nodes report their load.
type Reports struct {
	Every span // between two reports of a node
	Lost  float64
	Delay span
}

// Variant is a named pair of policies to compare.
type Variant struct {
	Name      string
	Autoscale autoscale.Policy
	Place     placement.Policy
}

// span is a range of durations, drawn evenly.
type span struct{ lo, hi time.Duration }

// words writes a duration in its largest whole unit.
func words(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day && d%day == 0:
		return itoa(int(d/day)) + " days"
	case d >= time.Hour && d%time.Hour == 0:
		return itoa(int(d/time.Hour)) + " h"
	case d >= time.Minute && d%time.Minute == 0:
		return itoa(int(d/time.Minute)) + " min"
	}
	return d.String()
}

func (s span) draw(r *rng) time.Duration {
	if s.hi <= s.lo {
		return s.lo
	}
	return s.lo + time.Duration(r.float()*float64(s.hi-s.lo))
}

// fault is something that goes wrong at a time.
type fault struct {
	at     time.Duration
	node   string // empty: a running node, drawn
	count  int
	silent time.Duration // reports are lost for this long; 0: the node crashes
}

// booking is a reservation that is asked for at a time.
type booking struct {
	at, from, lasts          time.Duration
	room                     string
	participants, publishers int
}

// NewScenario returns a scenario without work: two nodes of 4 CPUs for an hour.
func NewScenario() Scenario {
	return Scenario{
		Name: "unnamed", Seed: 1, Start: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC),
		Duration: time.Hour, Tick: 30 * time.Second, Price: 0.0006, HotLoad: 90,
		Fleet: Fleet{
			Nodes: 2, CPUs: 4, Launch: span{2 * time.Minute, 3 * time.Minute},
			Terminate: span{30 * time.Second, 30 * time.Second}, Detect: 5 * time.Second,
		},
		Reports: Reports{Every: span{5 * time.Second, 5 * time.Second}},
		Model:   modelPolicy(), Autoscale: autoscale.DefaultPolicy(), Place: placement.DefaultPolicy(),
	}
}

// modelPolicy is the model's default with a staleness that suits reports every
// few seconds.
func modelPolicy() cluster.Policy {
	p := cluster.DefaultPolicy()
	p.StaleAfter = 15 * time.Second
	return p
}

// maxDuration bounds a simulation.
const maxDuration = 366 * 24 * time.Hour

// validate checks what single commands cannot.
func (sc *Scenario) validate() error {
	switch {
	case sc.Duration <= 0 || sc.Duration > maxDuration:
		return fmt.Errorf("duration is %v, it must be above 0 and at most %v", sc.Duration, maxDuration)
	case sc.Tick <= 0:
		return fmt.Errorf("tick is %v, it must be above 0", sc.Tick)
	case sc.Duration/sc.Tick > 1e7:
		return fmt.Errorf("duration %v has too many ticks of %v", sc.Duration, sc.Tick)
	case sc.Reports.Every.lo <= 0:
		return fmt.Errorf("report every=%v must be above 0", sc.Reports.Every.lo)
	case sc.Fleet.Nodes < 1 && !sc.Scaling:
		return fmt.Errorf("there are no nodes and no autoscaler")
	}
	if err := sc.Model.Validate(); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if err := sc.Place.Validate(); err != nil {
		return err
	}
	if sc.Scaling {
		return sc.Autoscale.Validate()
	}
	return nil
}

// sample is how often the figures are taken.
func (sc *Scenario) sample() time.Duration {
	if sc.Sample > 0 {
		return sc.Sample
	}
	return max(time.Second, (sc.Duration / 1440).Truncate(time.Second))
}
