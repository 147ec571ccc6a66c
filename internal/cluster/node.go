package cluster

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Role says what a node does in the cluster.
type Role string

// The roles of a node.
const (
	RoleMedia  Role = "media"  // hosts rooms and jobs
	RoleMaster Role = "master" // store, control loop, signalling; hosts no media
	RoleBoth   Role = "both"   // a single-node deployment, or a master that also hosts media
)

// HostsMedia reports whether nodes of this role take rooms and jobs.
func (r Role) HostsMedia() bool { return r == RoleMedia || r == RoleBoth }

// The capabilities a job can ask for.
const (
	CapabilityFFmpeg  = "ffmpeg"  // transcoding and compositing without a browser
	CapabilityBrowser = "browser" // rendering of a web page or a room layout
)

// Node is one node of the cluster. Values returned by [State] are copies whose
// slices are shared with the state: read them, do not write to them.
type Node struct {
	ID           string    `json:"id"`
	Role         Role      `json:"role"`
	ProviderID   string    `json:"provider_id,omitempty"` // the provider's own id of the machine
	Region       string    `json:"region,omitempty"`
	Address      string    `json:"address,omitempty"` // empty until known
	URI          string    `json:"uri,omitempty"`     // as shown by the v2 REST API
	CPUs         float64   `json:"cpus"`
	Memory       uint64    `json:"memory,omitempty"` // bytes
	Capabilities []string  `json:"capabilities,omitempty"`
	Status       Status    `json:"status"`
	LaunchedAt   time.Time `json:"launched_at"`
	ChangedAt    time.Time `json:"changed_at"` // of the last status change
	Load         Load      `json:"load"`
	Charges      []Charge  `json:"charges,omitempty"` // placed or promised, not yet shown by Load

	// What the state knows to be on the node, whatever the load report says.
	Rooms        int `json:"rooms"`
	Participants int `json:"participants"`
	Egresses     int `json:"egresses"`
	Ingresses    int `json:"ingresses"`
	Agents       int `json:"agents"`

	pos     int    // index in State.nodes
	pending Demand // sum of Charges, as discounted by Load
}

// Load is one load report of a node. The zero Load means that the node has not
// reported yet, which is unknown and not idle.
type Load struct {
	Version     uint64    `json:"version"`                 // counts up with each report of the node
	At          time.Time `json:"at"`                      // when it was received, by the receiver's clock
	CPU         float64   `json:"cpu"`                     // percent of all CPUs, 0 to 100
	SysLoad     float64   `json:"sysload"`                 // one-minute load average / CPUs
	Memory      float64   `json:"memory,omitempty"`        // percent used, 0 to 100
	Disk        float64   `json:"disk,omitempty"`          // percent used of the recordings disk, 0 to 100
	Rooms       int       `json:"rooms,omitempty"`         // hosted rooms
	Clients     int       `json:"clients,omitempty"`       // connected participants
	Tracks      int       `json:"tracks,omitempty"`        // tracks in and out
	BytesPerSec float64   `json:"bytes_per_sec,omitempty"` // in and out
}

// validate names the first value that cannot be compared and summed up: one
// that is no number would win or lose every comparison.
func (l *Load) validate() error {
	for _, f := range [...]struct {
		name string
		v    float64
	}{
		{"cpu", l.CPU}, {"sysload", l.SysLoad}, {"memory", l.Memory}, {"disk", l.Disk}, {"rooms", float64(l.Rooms)},
		{"clients", float64(l.Clients)}, {"tracks", float64(l.Tracks)}, {"bytes_per_sec", l.BytesPerSec},
	} {
		if !amount(f.v) {
			return fmt.Errorf("%w: %s is %v", ErrInvalid, f.name, f.v)
		}
	}
	return nil
}

// amount reports whether v is a number, finite and not negative.
func amount(v float64) bool { return v >= 0 && v <= math.MaxFloat64 }

// Known reports whether the node's load is known at now: it has reported, and
// not longer than staleAfter ago. An unknown load is never read as zero.
func (n *Node) Known(now time.Time, staleAfter time.Duration) bool {
	return !n.Load.At.IsZero() && now.Sub(n.Load.At) < staleAfter
}

// Pending is the demand that was placed on the node, or is promised to it, and
// that its load report does not show yet.
func (n *Node) Pending() Demand { return n.pending }

// EffectiveCPU is the CPU load in percent to decide with: the reported load
// plus what is pending. It can exceed 100.
func (n *Node) EffectiveCPU() float64 {
	if n.CPUs <= 0 {
		return n.Load.CPU
	}
	return n.Load.CPU + n.pending.CPU/n.CPUs*100
}

// FreeCPUs is the number of CPUs that are neither used by the reported load nor
// pending. It can be negative.
func (n *Node) FreeCPUs() float64 { return n.CPUs*(1-n.Load.CPU/100) - n.pending.CPU }

// PromisedTo is the part of the pending demand that is held for one room: the
// participants it expects and has not received. Placement does not count it
// against that room's own participants.
func (n *Node) PromisedTo(room string) Demand {
	var d Demand
	for i := range n.Charges {
		if c := &n.Charges[i]; c.held() && c.Room == room {
			d = d.Plus(c.Demand)
		}
	}
	return d
}

// Idle reports whether nothing is hosted on the node, as far as the state knows.
func (n *Node) Idle() bool { return n.Rooms == 0 && n.Jobs() == 0 }

// Jobs is the number of egress, ingress and agent jobs on the node.
func (n *Node) Jobs() int { return n.Egresses + n.Ingresses + n.Agents }

// Can reports whether the node has every one of the capabilities.
func (n *Node) Can(capabilities ...string) bool {
	for _, c := range capabilities {
		if !slices.Contains(n.Capabilities, c) {
			return false
		}
	}
	return true
}

// Position is the node's index for [State.NodeAt] at the time it was read.
func (n *Node) Position() int { return n.pos }
