package autoscale

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrPolicy is wrapped by every error of [Policy.Validate].
var ErrPolicy = errors.New("invalid autoscaling policy")

// Policy is what an operator configures. The first four fields are the
// published algorithm; everything else is off when zero.
type Policy struct {
	MaxNodes int     `json:"max_nodes"` // upper limit of running and launching nodes
	MinNodes int     `json:"min_nodes"` // lower limit, at least 1
	MaxLoad  float64 `json:"max_load"`  // percent; an average above it adds nodes
	MinLoad  float64 `json:"min_load"`  // percent; an average below it removes nodes

	// OnPremises is set where nodes are launched by hand: new nodes are then
	// announced, once, and not launched.
	OnPremises bool `json:"on_premises,omitempty"`
	// NodeCPUs is the size of a new node. The options need it to turn CPUs into
	// percent; zero means the average of the nodes there are.
	NodeCPUs float64 `json:"node_cpus,omitempty"`

	Cooldown     Cooldown      `json:"cooldown,omitzero"`
	Headroom     Headroom      `json:"headroom,omitzero"`
	Calendar     []Period      `json:"calendar,omitempty"`
	Reservations time.Duration `json:"reservations,omitempty"` // count reservations that start within this time; 0: off
	Forecast     Forecast      `json:"forecast,omitzero"`
	Queue        bool          `json:"queue,omitempty"`           // count the CPUs that queued jobs wait for
	HoldUnknown  bool          `json:"hold_on_unknown,omitempty"` // never scale in while a load is unknown
	MustFit      bool          `json:"must_fit,omitempty"`        // give up only nodes whose work fits on the others; see [Fits]
}

// DefaultPolicy is the documented default: 1 to 2 nodes, 20 to 70 percent.
func DefaultPolicy() Policy {
	return Policy{MaxNodes: 2, MinNodes: 1, MaxLoad: 70, MinLoad: 20}
}

// Cooldown keeps the autoscaler from acting again too soon. Repairing the
// limits is never held back.
type Cooldown struct {
	Out time.Duration `json:"out,omitempty"` // after nodes were added, before more are
	In  time.Duration `json:"in,omitempty"`  // after any change, before nodes are removed
}

// Headroom keeps capacity free for what comes at once.
type Headroom struct {
	Nodes          int     `json:"nodes,omitempty"`           // nodes beyond what the load needs
	Participants   int     `json:"participants,omitempty"`    // participants that must find room
	ParticipantCPU float64 `json:"participant_cpu,omitempty"` // CPUs of one of them
}

// Forecast launches for the load that the same time of day brought before.
type Forecast struct {
	Lead time.Duration `json:"lead,omitempty"` // how far to look ahead: a launch and a bit; 0: off
}

// Validate reports every value that makes no sense, one error a line.
func (p Policy) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrPolicy}, args...)...))
	}
	if p.MinNodes < 1 {
		bad("min_nodes is %d, it must be at least 1", p.MinNodes)
	}
	if p.MaxNodes < p.MinNodes {
		bad("max_nodes is %d, it must not be below min_nodes %d", p.MaxNodes, p.MinNodes)
	}
	if !(p.MaxLoad > 0 && p.MaxLoad <= 100) {
		bad("max_load is %v, it must be above 0 and at most 100", p.MaxLoad)
	}
	if !(p.MinLoad >= 0 && p.MinLoad <= 100) {
		bad("min_load is %v, it must be from 0 to 100", p.MinLoad)
	}
	if p.MinLoad >= p.MaxLoad {
		bad("min_load is %v, it must be below max_load %v", p.MinLoad, p.MaxLoad)
	}
	if p.NodeCPUs < 0 || math.IsNaN(p.NodeCPUs) || math.IsInf(p.NodeCPUs, 0) {
		bad("node_cpus is %v, it must not be negative", p.NodeCPUs)
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{
		{"cooldown.out", p.Cooldown.Out}, {"cooldown.in", p.Cooldown.In},
		{"reservations", p.Reservations}, {"forecast.lead", p.Forecast.Lead},
	} {
		if d.v < 0 {
			bad("%s is %v, it must not be negative", d.name, d.v)
		}
	}
	if h := p.Headroom; h.Nodes < 0 || h.Participants < 0 || !(h.ParticipantCPU >= 0) {
		bad("headroom is %+v, no value may be negative", h)
	}
	if h := p.Headroom; h.Participants > 0 && h.ParticipantCPU == 0 {
		bad("headroom.participants needs headroom.participant_cpu")
	}
	for i, c := range p.Calendar {
		if err := c.validate(); err != nil {
			bad("calendar[%d]: %v", i, err)
		}
	}
	return errors.Join(errs...)
}
