package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Bind gives what reservations have unplaced to nodes that have come up for it
// since: the reservation that starts first comes first, the node with the most
// free CPUs first, as in [Reserve]. Only running nodes of known load are given
// any, and only for reservations that start within the hour; who is left waits
// for the next call, which the control loop makes before each of its ticks. The
// events are to be applied in their order. There is one explanation for each
// reservation that waits.
func Bind(s *cluster.State, p Policy, now time.Time) ([]cluster.Event, []Explanation) {
	var waiting []cluster.Reservation
	for _, r := range s.Reservations() {
		if r.Unplaced.CPU > 0 && now.Before(r.Until) && r.From.Before(now.Add(nearFuture)) {
			waiting = append(waiting, r)
		}
	}
	slices.SortStableFunc(waiting, func(a, b cluster.Reservation) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID))
	})
	var events []cluster.Event
	var why []Explanation
	for i, r := range waiting {
		got, e := bindOne(s, r, p, now)
		events, why = append(events, got...), append(why, e)
		if len(got) == 0 || i == len(waiting)-1 {
			continue
		}
		// The next one sees what this one took.
		s = s.Clone()
		for _, ev := range got {
			if err := s.Apply(ev); err != nil {
				why[i].Notes = append(why[i].Notes, err.Error())
				return events[:len(events)-len(got)], why
			}
		}
	}
	return events, why
}

func bindOne(s *cluster.State, r cluster.Reservation, p Policy, now time.Time) ([]cluster.Event, Explanation) {
	b := booking{s: s, r: r, p: p, now: now, bind: true}
	b.e = Explanation{
		Request: Request{Kind: KindReservation, At: now, ID: r.ID, Room: r.Room}, Version: s.Version(), Complete: true,
		Rule: bookingRule(p),
	}
	var events []cluster.Event
	got := fill(b.slots(), r.Unplaced.CPU, func(node string, cpu float64) {
		if b.e.Chosen == "" {
			b.e.Chosen = node
		}
		events = append(events, cluster.ReservationBound{At: now, Reservation: r.ID, Node: node, CPU: cpu})
	})
	b.e.Outcome = fmt.Sprintf("reservation %q of room %q: %.2f of %.2f unplaced CPUs find a node", r.ID, r.Room, got, r.Unplaced.CPU)
	return events, b.e
}
