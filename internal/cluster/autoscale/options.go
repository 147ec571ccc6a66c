package autoscale

import (
	"fmt"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// wantHeadroom keeps nodes free, or room for participants.
func wantHeadroom(in input) (int, string) {
	h := in.p.Headroom
	if h.Nodes == 0 && h.Participants == 0 {
		return 0, ""
	}
	extra := in.points(float64(h.Participants) * h.ParticipantCPU)
	n := in.nodesFor(extra) + h.Nodes
	return n, fmt.Sprintf("room for %d nodes and %d participants beyond the load", h.Nodes, h.Participants)
}

// wantReservations counts what is booked and has not come yet.
func wantReservations(in input) (int, string) {
	if in.p.Reservations <= 0 {
		return 0, ""
	}
	until := in.now.Add(in.p.Reservations)
	cpus, count := 0.0, 0
	used := map[string]bool{}
	for _, r := range in.s.Reservations() {
		if !r.Overlaps(in.now, until) {
			continue
		}
		count++
		if r.Used {
			used[r.ID] = true
			cpus += r.Unplaced.CPU
			continue
		}
		cpus += r.Demand().CPU
	}
	if len(used) > 0 {
		cpus += stillHeld(in.s, used)
	}
	if count == 0 {
		return 0, ""
	}
	return in.nodesFor(in.points(cpus)), fmt.Sprintf("%d reservations within %v hold %.2f CPUs that have not come yet", count, in.p.Reservations, cpus)
}

// stillHeld is what the rooms of used reservations have not used up.
func stillHeld(s *cluster.State, used map[string]bool) float64 {
	cpus := 0.0
	for i := range s.Len() {
		n := s.NodeAt(i)
		for j := range n.Charges {
			if used[n.Charges[j].Reservation] {
				cpus += n.Charges[j].Demand.CPU
			}
		}
	}
	return cpus
}

// maxTrend bounds how much today may scale what earlier days showed.
const maxTrend = 2.0

// wantForecast expects what the same time brought on the days before, scaled
// by how today compares with them so far.
func wantForecast(in input) (int, string) {
	mp, h := in.s.Policy(), in.s.Scaling().History
	lead := min(in.p.Forecast.Lead, mp.HistorySeason)
	if lead <= 0 {
		return 0, ""
	}
	here, ok := h.At(in.now, mp)
	if !ok {
		return 0, ""
	}
	trend := 1.0
	if here.Total > 0 {
		trend = min(max(in.m.TotalLoad/here.Total, 1/maxTrend), maxTrend)
	}
	peak, peakAt := here.Total, in.now
	end := in.now.Add(lead)
	for t := in.now; t.Before(end); {
		if t = t.Add(mp.HistoryBucket); t.After(end) {
			t = end // the last part of a bucket is in the next one
		}
		if s, ok := h.At(t, mp); ok && s.Total > peak {
			peak, peakAt = s.Total, t
		}
	}
	expected := peak * trend
	return needed(expected, in.p.MaxLoad), fmt.Sprintf(
		"earlier days had %.0f%% in total at %s; today runs at %.2f times them, so %.0f%% are expected",
		peak, peakAt.Truncate(mp.HistoryBucket).UTC().Format("15:04"), trend, expected)
}

// wantQueue counts the jobs that no node had room for.
func wantQueue(in input) (int, string) {
	if !in.p.Queue {
		return 0, ""
	}
	cpus, count := 0.0, 0
	for _, j := range in.s.Jobs() {
		if j.Node == "" && j.Worker == "" {
			cpus += j.CPU
			count++
		}
	}
	if count == 0 {
		return 0, ""
	}
	n := in.nodesFor(in.points(cpus))
	if in.m.Launching == 0 {
		// They wait although the average may be low: no single node had room.
		n = max(n, in.m.Active+1)
	}
	return n, fmt.Sprintf("%d queued jobs wait for %.2f CPUs", count, cpus)
}

// holdCooldown keeps the number of nodes while a cooldown runs.
func holdCooldown(in input, t int) (int, string) {
	sc, c := in.s.Scaling(), in.p.Cooldown
	keep := in.mayKeep()
	switch {
	case t > in.m.Active && in.m.Active >= in.lo && within(in.now, sc.LastOut, c.Out):
		return in.m.Active, fmt.Sprintf("nodes were added %v ago, the cooldown is %v", in.now.Sub(sc.LastOut), c.Out)
	case t < keep && (within(in.now, sc.LastOut, c.In) || within(in.now, sc.LastIn, c.In)):
		last := sc.LastOut
		if sc.LastIn.After(last) {
			last = sc.LastIn
		}
		return keep, fmt.Sprintf("nodes were changed %v ago, the cooldown is %v", in.now.Sub(last), c.In)
	}
	return t, ""
}

// mayKeep is how many of the active nodes an option may hold on to: the maximum
// always holds.
func (in input) mayKeep() int { return min(in.m.Active, in.p.MaxNodes) }

func within(now, last time.Time, d time.Duration) bool {
	return d > 0 && !last.IsZero() && now.Sub(last) < d
}

// holdUnknown keeps every node while the load of one is unknown.
func holdUnknown(in input, t int) (int, string) {
	keep := in.mayKeep()
	if !in.p.HoldUnknown || t >= keep || in.m.Unknown == 0 {
		return t, ""
	}
	return keep, fmt.Sprintf("the load of %d nodes is unknown", in.m.Unknown)
}
