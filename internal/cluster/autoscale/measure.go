package autoscale

import (
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Measure is the cluster as the algorithm sees it, before the decision.
type Measure struct {
	Running   int     `json:"running"`
	Launching int     `json:"launching"`
	Waiting   int     `json:"waiting_idle_to_terminate"`
	Canceled  int     `json:"canceled"`
	Active    int     `json:"active"`     // running + launching
	TotalLoad float64 `json:"total_load"` // percent points of running and waiting nodes
	AvgLoad   float64 `json:"avg_load"`   // TotalLoad / Active; 0 without active nodes
	Unknown   int     `json:"unknown"`    // running and waiting nodes whose load is unknown
	Known     bool    `json:"known"`      // some load is known, or there is none to know
	NodeCPUs  float64 `json:"node_cpus"`  // size of a node, for the options
}

// measure sums up the nodes. A node whose report is stale counts with the last
// load it reported; one that should have reported and never did counts as the
// average of the known ones. Neither is ever taken for idle. A node that has
// just come up, and hosts nothing, adds no load until its first report is due,
// as if it still launched: to count it as loaded would launch another one for
// each that comes up.
func measure(s *cluster.State, p Policy, now time.Time) Measure {
	var m Measure
	var cpus, known float64
	knownNodes, never := 0, 0
	stale := s.Policy().StaleAfter
	for i := range s.Len() {
		n := s.NodeAt(i)
		if !n.Role.HostsMedia() {
			continue
		}
		switch n.Status {
		case cluster.StatusRunning:
			m.Running++
		case cluster.StatusLaunching:
			m.Launching++
		case cluster.StatusWaiting:
			m.Waiting++
		case cluster.StatusCanceled:
			m.Canceled++
		}
		if n.Status.Active() {
			cpus += n.CPUs
		}
		if !n.Status.Loaded() {
			continue
		}
		if !n.Known(now, stale) {
			m.Unknown++
		}
		if n.Load.At.IsZero() {
			if n.Status != cluster.StatusRunning || !n.Idle() || now.Sub(n.ChangedAt) >= stale {
				never++
			}
			continue
		}
		knownNodes++
		known += n.Load.CPU
	}
	m.Active = m.Running + m.Launching
	m.TotalLoad = known
	m.Known = knownNodes > 0 || never == 0
	if knownNodes > 0 && never > 0 {
		m.TotalLoad += known / float64(knownNodes) * float64(never)
	}
	if m.Active > 0 {
		m.AvgLoad = m.TotalLoad / float64(m.Active)
	}
	m.NodeCPUs = p.NodeCPUs
	if m.NodeCPUs == 0 && m.Active > 0 {
		m.NodeCPUs = cpus / float64(m.Active)
	}
	return m
}
