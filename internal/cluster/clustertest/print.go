package clustertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Print writes a state in a few lines: what a test wants to see change.
func Print(s *cluster.State) string {
	var b strings.Builder
	for _, n := range s.Nodes() {
		fmt.Fprintf(&b, "node %s %s", n.ID, n.Status)
		if n.Known(s.Now(), s.Policy().StaleAfter) {
			fmt.Fprintf(&b, " cpu %.4g", n.Load.CPU)
		} else {
			b.WriteString(" cpu unknown")
		}
		if p := n.Pending(); !p.IsZero() {
			fmt.Fprintf(&b, " pending %s", printDemand(p))
		}
		fmt.Fprintf(&b, " rooms %d participants %d jobs %d", n.Rooms, n.Participants, n.Jobs())
		b.WriteByte('\n')
	}
	for _, r := range s.Rooms() {
		fmt.Fprintf(&b, "room %s", r.Name)
		if r.Pin != "" {
			fmt.Fprintf(&b, " pin %s", r.Pin)
		}
		for _, sh := range r.Shares {
			fmt.Fprintf(&b, " %s:%d(%.4g)", sh.Node, sh.Participants, sh.Demand.CPU)
		}
		b.WriteByte('\n')
	}
	for _, j := range s.Jobs() {
		fmt.Fprintf(&b, "job %s %s on %q worker %q\n", j.ID, j.Kind, j.Node, j.Worker)
	}
	for _, w := range s.Workers() {
		fmt.Fprintf(&b, "worker %s load %.4g in flight %.4g\n", w.ID, w.Load, w.InFlight())
	}
	for _, r := range s.Reservations() {
		fmt.Fprintf(&b, "reservation %s room %s charged %v used %v cpu %.4g unplaced %.4g\n",
			r.ID, r.Room, r.Charged, r.Used, r.Demand().CPU, r.Unplaced.CPU)
	}
	sc := s.Scaling()
	if !sc.LastOut.IsZero() || !sc.LastIn.IsZero() || sc.Announced.NewNodes != 0 {
		fmt.Fprintf(&b, "scaling out %s in %s announced %d\n", ago(sc.LastOut), ago(sc.LastIn), sc.Announced.NewNodes)
	}
	return b.String()
}

func printDemand(d cluster.Demand) string {
	var parts []string
	for _, f := range []struct {
		name string
		v    float64
	}{{"cpu", d.CPU}, {"rooms", d.Rooms}, {"clients", d.Clients}, {"tracks", d.Tracks}, {"bytes", d.BytesPerSec}} {
		if f.v != 0 {
			parts = append(parts, fmt.Sprintf("%s=%.4g", f.name, f.v))
		}
	}
	return strings.Join(parts, ",")
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return "+" + t.Sub(Epoch()).String()
}
