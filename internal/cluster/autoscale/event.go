package autoscale

import (
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Event is the autoscaling event of the v2 API, with its field names.
type Event struct {
	Timestamp  int64       `json:"timestamp"` // Unix milliseconds
	ClusterID  string      `json:"clusterId"`
	Reason     string      `json:"reason"`
	MediaNodes EventNodes  `json:"mediaNodes"`
	System     EventSystem `json:"system"`
}

// EventNodes is what the event says will change.
type EventNodes struct {
	Launch    EventLaunch    `json:"launch"`
	Terminate EventTerminate `json:"terminate"`
}

// EventLaunch is the added nodes.
type EventLaunch struct {
	Total    int         `json:"total"`
	NewNodes int         `json:"newNodes"` // on premises: for the operator to launch
	Waiting  []EventNode `json:"waitingIdleToTerminateNodes"`
	Canceled []EventNode `json:"canceledNodes"`
}

// EventTerminate is the removed nodes.
type EventTerminate struct {
	Total     int         `json:"total"`
	Running   []EventNode `json:"runningNodes"`
	Launching []EventNode `json:"launchingNodes"`
}

// EventSystem is the configuration, and the state before the change.
type EventSystem struct {
	Config EventConfig `json:"config"`
	Status EventStatus `json:"status"`
}

// EventConfig is the limits in force.
type EventConfig struct {
	MaxNodes   int     `json:"maxNodes"`
	MinNodes   int     `json:"minNodes"`
	MaxAvgLoad float64 `json:"maxAvgLoad"`
	MinAvgLoad float64 `json:"minAvgLoad"`
}

// EventStatus is the cluster before the change.
type EventStatus struct {
	NumNodes  int         `json:"numNodes"` // running + launching
	TotalLoad float64     `json:"totalLoad"`
	AvgLoad   float64     `json:"avgLoad"`
	Running   []EventNode `json:"runningNodes"`
	Launching []EventNode `json:"launchingNodes"`
	Waiting   []EventNode `json:"waitingIdleToTerminateNodes"`
	Canceled  []EventNode `json:"canceledNodes"`
}

// EventNode is a node as it was before the change.
type EventNode struct {
	ID            string         `json:"id"`
	EnvironmentID *string        `json:"environmentId"`
	IP            *string        `json:"ip"`
	Load          float64        `json:"load"`
	Status        cluster.Status `json:"status"`
}

// NewEvent builds the event of a plan that is not empty, from the state it was
// decided on: call it before the plan is carried out.
func NewEvent(s *cluster.State, p Plan, e Explanation, clusterID string) Event {
	ev := Event{
		Timestamp: p.At.UnixMilli(), ClusterID: clusterID, Reason: p.Reason,
		System: EventSystem{
			Config: EventConfig{e.Policy.MaxNodes, e.Policy.MinNodes, e.Policy.MaxLoad, e.Policy.MinLoad},
			Status: EventStatus{
				NumNodes: e.Measure.Active, TotalLoad: e.Measure.TotalLoad, AvgLoad: e.Measure.AvgLoad,
				Running: withStatus(s, cluster.StatusRunning), Launching: withStatus(s, cluster.StatusLaunching),
				Waiting: withStatus(s, cluster.StatusWaiting), Canceled: withStatus(s, cluster.StatusCanceled),
			},
		},
	}
	running := make([]string, len(p.Terminate.Running))
	for i, d := range p.Terminate.Running {
		running[i] = d.Node
	}
	ev.MediaNodes = EventNodes{
		Launch: EventLaunch{
			Total: p.Launch.Total(), NewNodes: p.Launch.NewNodes,
			Waiting: named(s, p.Launch.Waiting), Canceled: named(s, p.Launch.Canceled),
		},
		Terminate: EventTerminate{
			Total: p.Terminate.Total(), Running: named(s, running), Launching: named(s, p.Terminate.Launching),
		},
	}
	return ev
}

func withStatus(s *cluster.State, status cluster.Status) []EventNode {
	out := []EventNode{}
	for i := range s.Len() {
		if n := s.NodeAt(i); n.Status == status && n.Role.HostsMedia() {
			out = append(out, eventNode(n))
		}
	}
	return out
}

func named(s *cluster.State, ids []string) []EventNode {
	out := make([]EventNode, 0, len(ids))
	for _, id := range ids {
		if n, ok := s.Node(id); ok {
			out = append(out, eventNode(n))
		}
	}
	return out
}

func eventNode(n cluster.Node) EventNode {
	return EventNode{ID: n.ID, EnvironmentID: orNull(n.ProviderID), IP: orNull(n.Address), Load: n.Load.CPU, Status: n.Status}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// StatusEvent is the mediaNodeStatusChanged event of the v2 API.
type StatusEvent struct {
	Timestamp     int64           `json:"timestamp"` // Unix milliseconds
	ID            string          `json:"id"`
	EnvironmentID *string         `json:"environmentId"`
	IP            *string         `json:"ip"`
	URI           *string         `json:"uri"`
	NewStatus     cluster.Status  `json:"newStatus"`
	OldStatus     *cluster.Status `json:"oldStatus"` // null for a new node
	ClusterID     string          `json:"clusterId"`
}

// NewStatusEvent builds the event of a node that came from status old; old is
// empty for a node that did not exist.
func NewStatusEvent(n cluster.Node, old cluster.Status, at time.Time, clusterID string) StatusEvent {
	e := StatusEvent{
		Timestamp: at.UnixMilli(), ID: n.ID, EnvironmentID: orNull(n.ProviderID), IP: orNull(n.Address),
		URI: orNull(n.URI), NewStatus: n.Status, ClusterID: clusterID,
	}
	if old != "" {
		e.OldStatus = &old
	}
	return e
}
