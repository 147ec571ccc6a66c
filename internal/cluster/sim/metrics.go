package sim

import (
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Figures are what policies are compared by.
type Figures struct {
	Sessions    int `json:"sessions"`    // rooms placed at once
	Joins       int `json:"joins"`       // participants placed one by one
	Agents      int `json:"agents"`      // agent jobs placed
	Rejected    int `json:"rejected"`    // found no place
	Spills      int `json:"spills"`      // rooms that went to a further node
	Interrupted int `json:"interrupted"` // participants cut off by a crash

	Reservations        int `json:"reservations,omitempty"` // admitted
	ReservationsRefused int `json:"reservations_refused,omitempty"`

	Launches       int     `json:"launches"`        // nodes, the first ones too
	LaunchFailures int     `json:"launch_failures"` // of them
	Cancels        int     `json:"cancels"`         // launches that were not wanted any more
	Drains         int     `json:"drains"`          // nodes given up
	Crashes        int     `json:"crashes"`
	NodeHours      float64 `json:"node_hours"` // from launch to termination
	Cost           float64 `json:"cost"`       // core-minutes × price
	PeakNodes      int     `json:"peak_nodes"`
	PeakPeople     int     `json:"peak_people"`
	// MinutesAboveLimit is how long the real average load of the nodes that
	// take work was above max_load.
	MinutesAboveLimit float64 `json:"minutes_above_limit"`
	// HotNodeMinutes and HotPersonMinutes are how long nodes were overloaded,
	// and participants on them.
	HotNodeMinutes   float64 `json:"hot_node_minutes"`
	HotPersonMinutes float64 `json:"hot_person_minutes"`
	PeakHotPeople    int     `json:"peak_hot_people"`
	// Spread is the load of the hottest node over the mean of all that take
	// work, when the total was highest.
	Spread     float64       `json:"spread"`
	PeakAt     time.Duration `json:"peak_at"`
	PeakTotal  float64       `json:"peak_total"`
	PeakByNode []float64     `json:"peak_by_node,omitempty"` // percent, hottest first
}

// metrics gathers the figures while the simulation runs.
type metrics struct {
	Figures
	sc       *Scenario
	rows     []Row
	log      []string
	people   int
	arrivals int

	alive   int
	cores   float64
	last    int64
	seconds float64 // node-seconds
	coreSec float64
	sampled int64
}

func newMetrics(sc *Scenario) metrics { return metrics{sc: sc} }

// advance adds up what the nodes cost until now.
func (m *metrics) advance(now int64) {
	d := time.Duration(now - m.last).Seconds()
	m.seconds += d * float64(m.alive)
	m.coreSec += d * m.cores
	m.last = now
	m.PeakNodes = max(m.PeakNodes, m.alive)
}

// sample looks at what the nodes really carry. The value holds until the next
// sample.
func (e *engine) sample() {
	step := e.sc.sample()
	e.timers.push(e.now+int64(step), evSample, 0)
	m := &e.m
	minutes := min(time.Duration(e.end-e.now), step).Minutes()
	total, taking, hottest, nodes, hotPeople := 0.0, 0.0, 0.0, 0, 0
	for _, n := range e.nodes {
		if n == nil || !n.up || n.dead {
			continue
		}
		load := n.load(e.now)
		total += load
		if e.takesWork(n) {
			taking += load
			hottest = max(hottest, load)
			nodes++
		}
		if load > e.sc.HotLoad {
			m.HotNodeMinutes += minutes
			m.HotPersonMinutes += minutes * float64(n.people)
			hotPeople += n.people
		}
	}
	m.PeakPeople, m.PeakHotPeople = max(m.PeakPeople, m.people), max(m.PeakHotPeople, hotPeople)
	if nodes == 0 {
		return
	}
	mean := taking / float64(nodes)
	if mean > e.sc.Autoscale.MaxLoad {
		m.MinutesAboveLimit += minutes
	}
	if total > m.PeakTotal {
		m.PeakTotal, m.PeakAt, m.Spread = total, time.Duration(e.now), 0
		if mean > 0 {
			m.Spread = hottest / mean
		}
		if nodes <= maxPeakNodes {
			m.PeakByNode = e.loads()
		}
	}
	if !e.sc.Scaling {
		r := Row{At: time.Duration(e.now), TotalLoad: total, AvgLoad: mean, People: m.people}
		e.countStatuses(&r)
		m.rows = append(m.rows, r)
	}
}

// takesWork reports whether the node runs, as the cluster sees it. One that
// drains or is stopped does not lower the mean.
func (e *engine) takesWork(m *machine) bool {
	n, ok := e.state.Node(m.id)
	return ok && n.Status == cluster.StatusRunning
}

// maxPeakNodes bounds the list of loads in a report.
const maxPeakNodes = 64
