package autoscale

import (
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Plan is what the autoscaler wants done. It names nodes; it does nothing.
type Plan struct {
	At        time.Time `json:"at"`
	Target    int       `json:"target"` // active nodes after the plan
	Launch    Launch    `json:"launch"`
	Terminate Terminate `json:"terminate"`
	Reason    string    `json:"reason,omitempty"` // published wording; empty when nothing changes

	// Advice is set on premises when an operator has to launch NewNodes, and
	// Repeated when that was announced already and nothing has changed since.
	Advice   bool `json:"advice,omitempty"`
	Repeated bool `json:"repeated,omitempty"`
	// Settled is set on premises when the nodes that were announced are no
	// longer needed: the same need will be news again.
	Settled bool `json:"settled,omitempty"`
}

// Launch is how nodes are added, in this order.
type Launch struct {
	Waiting  []string `json:"waiting,omitempty"`   // waiting-idle-to-terminate → running
	Canceled []string `json:"canceled,omitempty"`  // canceled → launching
	NewNodes int      `json:"new_nodes,omitempty"` // brand-new launches
}

// Total is the number of nodes added.
func (l Launch) Total() int { return len(l.Waiting) + len(l.Canceled) + l.NewNodes }

// Terminate is how nodes are removed, in this order.
type Terminate struct {
	Launching []string `json:"launching,omitempty"` // launching → canceled
	Running   []Drain  `json:"running,omitempty"`   // running → terminating or waiting-idle-to-terminate
}

// Total is the number of nodes removed.
func (t Terminate) Total() int { return len(t.Launching) + len(t.Running) }

// Transition is one status change of a plan.
type Transition struct {
	Node string         `json:"node"`
	From cluster.Status `json:"from"`
	To   cluster.Status `json:"to"`
}

// Empty reports whether there is nothing to do and nothing new to say.
func (p Plan) Empty() bool {
	return p.Terminate.Total() == 0 && len(p.Launch.Waiting) == 0 && len(p.Launch.Canceled) == 0 &&
		(p.Launch.NewNodes == 0 || p.Repeated)
}

// Transitions lists the status changes in the order in which to carry them out.
func (p Plan) Transitions() []Transition {
	var out []Transition
	for _, id := range p.Launch.Waiting {
		out = append(out, Transition{id, cluster.StatusWaiting, cluster.StatusRunning})
	}
	for _, id := range p.Launch.Canceled {
		out = append(out, Transition{id, cluster.StatusCanceled, cluster.StatusLaunching})
	}
	for _, id := range p.Terminate.Launching {
		out = append(out, Transition{id, cluster.StatusLaunching, cluster.StatusCanceled})
	}
	for _, d := range p.Terminate.Running {
		out = append(out, Transition{d.Node, cluster.StatusRunning, d.To})
	}
	return out
}

// NodesToLaunch is the number of nodes that the provider has to launch: none on
// premises, where the operator does.
func (p Plan) NodesToLaunch() int {
	if p.Advice {
		return 0
	}
	return p.Launch.NewNodes
}

// Events are the changes to apply to the state when the plan is carried out.
// The nodes that the provider launches are added by whoever launches them,
// since only the provider knows their ids.
func (p Plan) Events(active int) []cluster.Event {
	if p.Empty() && !p.Settled {
		return nil
	}
	var out []cluster.Event
	for _, t := range p.Transitions() {
		out = append(out, cluster.NodeStatusChanged{At: p.At, Node: t.Node, Status: t.To})
	}
	e := cluster.Scaled{At: p.At, Added: p.Launch.Total(), Removed: p.Terminate.Total()}
	if p.Advice {
		e.Added -= p.Launch.NewNodes
		e.Announced = cluster.Announcement{At: p.At, NewNodes: p.Launch.NewNodes, Active: active + e.Added - e.Removed}
	}
	return append(out, e)
}
