package autoscale

import (
	"cmp"
	"slices"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Drain is a node that could be given up, in the order in which it would be.
type Drain struct {
	Node   string         `json:"node"`
	Status cluster.Status `json:"status"` // launching or running
	To     cluster.Status `json:"to"`     // what it would become
	Load   float64        `json:"load"`   // percent
	Known  bool           `json:"known"`
}

// DrainOrder lists the active nodes in the order in which scaling in gives them
// up: launching ones first, the newest of them first; then running ones with
// the lowest load first, empty before hosting and new before old where loads
// are equal. Nodes of unknown load come last, since nobody knows that they are
// idle.
func DrainOrder(s *cluster.State, now time.Time) []Drain {
	keys := make([]drainKey, 0, s.Len())
	stale := s.Policy().StaleAfter
	for i := range s.Len() {
		n := s.NodeAt(i)
		if !n.Status.Active() || !n.Role.HostsMedia() {
			continue
		}
		k := drainKey{class: drainLaunching, launched: n.LaunchedAt.UnixNano(), pos: int32(i)}
		if n.Status == cluster.StatusRunning {
			k.class, k.load, k.hosting = drainKnown, n.Load.CPU, !n.Idle()
			if !n.Known(now, stale) {
				k.class = drainUnknown
			}
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, drainKey.compare)
	out := make([]Drain, len(keys))
	for i, k := range keys {
		n := s.NodeAt(int(k.pos))
		d := Drain{Node: n.ID, Status: n.Status, To: cluster.StatusTerminating, Load: k.load, Known: k.class != drainUnknown}
		switch {
		case k.class == drainLaunching:
			d.To = cluster.StatusCanceled
		case k.hosting:
			d.To = cluster.StatusWaiting
		}
		out[i] = d
	}
	return out
}

// The classes of nodes that are given up one after the other.
const (
	drainLaunching = iota
	drainKnown
	drainUnknown
)

// drainKey is what the drain order compares. Positions are in the order of ids.
type drainKey struct {
	load     float64
	launched int64
	pos      int32
	class    int8
	hosting  bool
}

func (k drainKey) compare(l drainKey) int {
	if c := cmp.Compare(k.class, l.class); c != 0 {
		return c
	}
	if c := cmp.Compare(k.load, l.load); c != 0 {
		return c
	}
	if k.hosting != l.hosting {
		if l.hosting {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(l.launched, k.launched), cmp.Compare(k.pos, l.pos))
}

// reusable lists the nodes of a status that can be taken back, best first:
// waiting ones with the highest load first, since they would take longest to
// become idle, and those of unknown load last, since they may be dead; canceled
// ones with the oldest launch first, since they are ready soonest.
func reusable(s *cluster.State, status cluster.Status, now time.Time) []string {
	var all []cluster.Node
	for i := range s.Len() {
		if n := s.NodeAt(i); n.Status == status && n.Role.HostsMedia() {
			all = append(all, n)
		}
	}
	stale := s.Policy().StaleAfter
	slices.SortFunc(all, func(a, b cluster.Node) int {
		if status == cluster.StatusWaiting {
			if known := a.Known(now, stale); known != b.Known(now, stale) {
				if known {
					return -1
				}
				return 1
			}
			return cmp.Or(cmp.Compare(b.Load.CPU, a.Load.CPU), cmp.Compare(a.ID, b.ID))
		}
		return cmp.Or(a.LaunchedAt.Compare(b.LaunchedAt), cmp.Compare(a.ID, b.ID))
	})
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	return ids
}
