package placement

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// ErrPolicy is wrapped by every error of [Policy.Validate].
var ErrPolicy = errors.New("invalid placement policy")

// Selector is node_selector.kind: which nodes are eligible for rooms.
type Selector string

// The selectors.
const (
	SelectAny     Selector = "any"
	SelectCPULoad Selector = "cpuload"
	SelectSysLoad Selector = "sysload"
)

// SortBy is node_selector.sort_by: what is compared, lowest first.
type SortBy string

// The sort orders.
const (
	SortRandom      SortBy = "random"
	SortSysLoad     SortBy = "sysload"
	SortCPULoad     SortBy = "cpuload"
	SortRooms       SortBy = "rooms"
	SortClients     SortBy = "clients"
	SortTracks      SortBy = "tracks"
	SortBytesPerSec SortBy = "bytespersec"
)

// SortOrders lists every sort order.
func SortOrders() []SortBy {
	return []SortBy{SortRandom, SortSysLoad, SortCPULoad, SortRooms, SortClients, SortTracks, SortBytesPerSec}
}

// Spill says when the participants of a room go to a further node.
type Spill string

// The spill policies.
const (
	SpillNever  Spill = "never"  // a room lives on one node to its end
	SpillPack   Spill = "pack"   // when the room's nodes are above the limit
	SpillShare  Spill = "share"  // also when the room takes more than its share of them
	SpillSpread Spill = "spread" // at once: every participant goes to the best node
)

// Policy is what an operator configures.
type Policy struct {
	Kind         Selector `json:"kind"`
	SortBy       SortBy   `json:"sort_by"`
	CPULoadLimit float64  `json:"cpu_load_limit"` // 0 to 1; a node at or above it is not eligible
	SysLoadLimit float64  `json:"sysload_limit"`  // load average / CPUs

	// A new room is charged for the participants it is expected to get within
	// ExpectFor, unless the request says how many come.
	ExpectParticipants int           `json:"expect_participants"`
	ExpectFor          time.Duration `json:"expect_for"`

	Spill        Spill   `json:"spill"`
	MaxRoomShare float64 `json:"max_room_share"` // of a node's CPUs, 0 to 1, with spill share

	Egress  EgressPolicy  `json:"egress"`
	Ingress IngressPolicy `json:"ingress"`
	Agent   AgentPolicy   `json:"agent"`

	// ReserveLimit is the part of a node's CPUs that reservations may fill.
	ReserveLimit float64 `json:"reserve_limit"`

	// IgnorePlaced decides on the reports alone, as others do. It is there to
	// show the difference in a simulation.
	IgnorePlaced bool `json:"ignore_placed,omitempty"`
}

// EgressPolicy is what egress jobs cost in CPUs and how they are spread.
type EgressPolicy struct {
	RoomComposite  float64 `json:"room_composite_cpu_cost"`
	Web            float64 `json:"web_cpu_cost"`
	Participant    float64 `json:"participant_cpu_cost"`
	TrackComposite float64 `json:"track_composite_cpu_cost"`
	Track          float64 `json:"track_cpu_cost"`
	Spread         bool    `json:"spread,omitempty"` // most free CPUs first, instead of filling nodes that host one
	MaxDisk        float64 `json:"max_disk"`         // percent; a fuller node records nothing
}

// IngressPolicy is what ingress jobs cost in CPUs.
type IngressPolicy struct {
	RTMP         float64 `json:"rtmp_cpu_cost"`
	WHIP         float64 `json:"whip_cpu_cost"`
	WHIPBypass   float64 `json:"whip_bypass_transcoding_cpu_cost"`
	URL          float64 `json:"url_cpu_cost"`
	MinIdleRatio float64 `json:"min_idle_ratio"` // part of the CPUs that must stay idle beyond the cost
}

// AgentPolicy is who may take agent jobs and what one is expected to cost.
type AgentPolicy struct {
	MaxNodeCPU float64 `json:"max_node_cpu"`   // 0 to 1; the average CPU of the worker's node must be below
	Threshold  float64 `json:"load_threshold"` // 0 to 1, for workers that name none
	CPU        float64 `json:"cpu"`            // expected CPUs of a job
	Load       float64 `json:"load"`           // expected share of a worker, 0 to 1
}

// The egress types.
const (
	EgressRoomComposite  = "room_composite"
	EgressWeb            = "web"
	EgressParticipant    = "participant"
	EgressTrackComposite = "track_composite"
	EgressTrack          = "track"
)

// The ingress types.
const (
	IngressRTMP       = "rtmp"
	IngressWHIP       = "whip"
	IngressWHIPBypass = "whip_bypass_transcoding"
	IngressURL        = "url"
)

// DefaultPolicy is the documented default of every value.
func DefaultPolicy() Policy {
	return Policy{
		Kind: SelectCPULoad, SortBy: SortCPULoad, CPULoadLimit: 0.9, SysLoadLimit: 0.9,
		ExpectParticipants: 4, ExpectFor: 10 * time.Minute,
		Spill: SpillShare, MaxRoomShare: 0.15,
		Egress:       EgressPolicy{RoomComposite: 3, Web: 3, Participant: 2, TrackComposite: 2, Track: 1, MaxDisk: 95},
		Ingress:      IngressPolicy{RTMP: 2, WHIP: 2, WHIPBypass: 0.1, URL: 2, MinIdleRatio: 0.3},
		Agent:        AgentPolicy{MaxNodeCPU: 0.7, Threshold: 0.7, CPU: 0.25, Load: 0.05},
		ReserveLimit: 0.8,
	}
}

// Validate reports every value that makes no sense, one error a line.
func (p Policy) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrPolicy}, args...)...))
	}
	if !slices.Contains([]Selector{SelectAny, SelectCPULoad, SelectSysLoad}, p.Kind) {
		bad("kind is %q, it must be any, cpuload or sysload", p.Kind)
	}
	if !slices.Contains(SortOrders(), p.SortBy) {
		bad("sort_by is %q, it must be one of %v", p.SortBy, SortOrders())
	}
	if !slices.Contains([]Spill{SpillNever, SpillPack, SpillShare, SpillSpread}, p.Spill) {
		bad("spill is %q, it must be never, pack, share or spread", p.Spill)
	}
	for _, r := range []struct {
		name string
		v    float64
	}{
		{"cpu_load_limit", p.CPULoadLimit}, {"max_room_share", p.MaxRoomShare}, {"reserve_limit", p.ReserveLimit},
		{"agent.max_node_cpu", p.Agent.MaxNodeCPU}, {"agent.load_threshold", p.Agent.Threshold},
	} {
		if !(r.v > 0 && r.v <= 1) {
			bad("%s is %v, it must be above 0 and at most 1", r.name, r.v)
		}
	}
	if !(p.SysLoadLimit > 0) {
		bad("sysload_limit is %v, it must be above 0", p.SysLoadLimit)
	}
	if !(p.Ingress.MinIdleRatio >= 0 && p.Ingress.MinIdleRatio < 1) {
		bad("ingress.min_idle_ratio is %v, it must be from 0 to below 1", p.Ingress.MinIdleRatio)
	}
	for _, c := range []struct {
		name string
		v    float64
	}{
		{"egress.room_composite_cpu_cost", p.Egress.RoomComposite}, {"egress.web_cpu_cost", p.Egress.Web},
		{"egress.participant_cpu_cost", p.Egress.Participant}, {"egress.track_composite_cpu_cost", p.Egress.TrackComposite},
		{"egress.track_cpu_cost", p.Egress.Track}, {"egress.max_disk", p.Egress.MaxDisk},
		{"ingress.rtmp_cpu_cost", p.Ingress.RTMP}, {"ingress.whip_cpu_cost", p.Ingress.WHIP},
		{"ingress.whip_bypass_transcoding_cpu_cost", p.Ingress.WHIPBypass}, {"ingress.url_cpu_cost", p.Ingress.URL},
		{"agent.cpu", p.Agent.CPU}, {"agent.load", p.Agent.Load}, {"expect_participants", float64(p.ExpectParticipants)},
		{"expect_for", p.ExpectFor.Seconds()},
	} {
		if !(c.v >= 0) {
			bad("%s is %v, it must not be negative", c.name, c.v)
		}
	}
	return errors.Join(errs...)
}

// cost is what a job of a type costs and needs.
func (p Policy) cost(kind Kind, typ string) (cpus float64, needs []string, ok bool) {
	ffmpeg, browser := []string{cluster.CapabilityFFmpeg}, []string{cluster.CapabilityBrowser}
	e, i := p.Egress, p.Ingress
	switch kind {
	case KindEgress:
		switch typ {
		case EgressRoomComposite:
			return e.RoomComposite, browser, true
		case EgressWeb:
			return e.Web, browser, true
		case EgressParticipant:
			return e.Participant, ffmpeg, true
		case EgressTrackComposite:
			return e.TrackComposite, ffmpeg, true
		case EgressTrack:
			return e.Track, nil, true
		}
	case KindIngress:
		switch typ {
		case IngressRTMP:
			return i.RTMP, ffmpeg, true
		case IngressWHIP:
			return i.WHIP, ffmpeg, true
		case IngressWHIPBypass:
			return i.WHIPBypass, nil, true
		case IngressURL:
			return i.URL, ffmpeg, true
		}
	}
	return 0, nil, false
}

// String names the rule for rooms, for explanations.
func (p Policy) String() string {
	s := fmt.Sprintf("kind %s, sort_by %s", p.Kind, p.SortBy)
	switch p.Kind {
	case SelectCPULoad:
		s += fmt.Sprintf(", cpu_load_limit %v", p.CPULoadLimit)
	case SelectSysLoad:
		s += fmt.Sprintf(", sysload_limit %v", p.SysLoadLimit)
	}
	if p.IgnorePlaced {
		s += ", reports alone"
	}
	return s
}
