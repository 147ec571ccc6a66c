package cluster

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

func (s *State) reservationAdmitted(e ReservationAdmitted) error {
	r := e.Reservation
	if r.ID == "" || r.Room == "" || !r.From.Before(r.Until) {
		return fmt.Errorf("%w: reservation %q of room %q from %v until %v", ErrInvalid, r.ID, r.Room, r.From, r.Until)
	}
	if _, ok := s.reservations[r.ID]; ok {
		return fmt.Errorf("reservation %q %w", r.ID, ErrExists)
	}
	if err := s.checkShares(&r); err != nil {
		return err
	}
	r.Shares = slices.Clone(r.Shares)
	r.Charged, r.Used = false, false
	s.reservations[r.ID] = &r
	s.chargeIfDue(&r, e.At)
	return nil
}

// checkShares reports shares on a node that is not there, or two on one node.
func (s *State) checkShares(r *Reservation) error {
	for i, sh := range r.Shares {
		if _, err := s.node(sh.Node); err != nil {
			return err
		}
		if r.share(sh.Node) != i {
			return fmt.Errorf("%w: reservation %q has two shares on node %q", ErrInvalid, r.ID, sh.Node)
		}
	}
	return nil
}

func (s *State) reservationReleased(e ReservationReleased) error {
	r, ok := s.reservations[e.Reservation]
	if !ok {
		return fmt.Errorf("%w %q", ErrUnknownReservation, e.Reservation)
	}
	s.uncharge(r)
	delete(s.reservations, r.ID)
	return nil
}

// timePassed charges what is near and drops what is over.
func (s *State) timePassed(now time.Time) {
	if len(s.reservations) == 0 {
		return
	}
	// In the order of ids: sums of charges must not depend on map order.
	for _, id := range slices.Sorted(maps.Keys(s.reservations)) {
		r := s.reservations[id]
		if !now.Before(r.Until) {
			s.uncharge(r)
			delete(s.reservations, id)
			continue
		}
		s.chargeIfDue(r, now)
	}
}

// chargeIfDue books the reservation on its nodes from ReservationLead before
// its start.
func (s *State) chargeIfDue(r *Reservation, now time.Time) {
	if r.Charged || now.Before(r.From.Add(-s.policy.ReservationLead)) {
		return
	}
	r.Charged = true
	for _, sh := range r.Shares {
		s.hold(r, s.byID[sh.Node], sh.Demand, now)
	}
}

// hold charges a node for a part of a reservation.
func (s *State) hold(r *Reservation, n *Node, d Demand, now time.Time) {
	n.charge(Charge{At: now, Until: r.Until, Room: r.Room, Reservation: r.ID, Demand: d}, nil, s.policy.CountsAfter)
	s.changed(n)
}

// use marks that the reservation's room has started. Its charges stay, for the
// participants of the room to use up.
func (s *State) use(r *Reservation, room *Room, now time.Time) {
	s.chargeIfDue(r, now)
	r.Used, room.Reservation = true, r.ID
}

// consume uses up what is held for that many participants of the room: what is
// held on the node that they come to, then what the room's reservation holds
// elsewhere or has unplaced, so that nobody's place is kept free twice.
func (s *State) consume(r *Room, n *Node, clients float64) {
	left := n.consume(r.Name, clients)
	if left < clients {
		n.settle(s.policy.CountsAfter, nil)
	}
	res, ok := s.reservations[r.Reservation]
	if !ok {
		return
	}
	for i := 0; i < len(res.Shares) && left > 0; i++ {
		m := s.byID[res.Shares[i].Node]
		before := left
		if left = m.consume(r.Name, left); left < before {
			m.settle(s.policy.CountsAfter, nil)
			s.changed(m)
		}
	}
	if u := res.Unplaced.Clients; u > 0 && left > 0 {
		res.Unplaced = res.Unplaced.Times(1 - min(left, u)/u)
	}
}

// rounding is how far sums of parts may be from the whole.
const rounding = 1e-9

func (s *State) reservationBound(e ReservationBound) error {
	r, ok := s.reservations[e.Reservation]
	if !ok {
		return fmt.Errorf("%w %q", ErrUnknownReservation, e.Reservation)
	}
	n, err := s.node(e.Node)
	if err != nil {
		return err
	}
	switch {
	case !n.Status.Active():
		return fmt.Errorf("%w: reservation %q on node %q, which is %s", ErrInvalid, r.ID, n.ID, n.Status)
	case !(e.CPU > 0 && e.CPU <= r.Unplaced.CPU*(1+rounding)):
		return fmt.Errorf("%w: %v CPUs of reservation %q, which has %v unplaced", ErrInvalid, e.CPU, r.ID, r.Unplaced.CPU)
	}
	f := e.CPU / r.Unplaced.CPU
	if f > 1-rounding {
		f = 1 // the last part leaves nothing behind
	}
	part := r.Unplaced.Times(f)
	r.Unplaced = r.Unplaced.Times(1 - f)
	if i := r.share(n.ID); i >= 0 {
		r.Shares[i].Demand = r.Shares[i].Demand.Plus(part)
	} else {
		r.Shares = append(r.Shares, ReservationShare{Node: n.ID, Demand: part})
	}
	if r.Charged {
		s.hold(r, n, part, e.At)
	}
	return nil
}

// unbind takes what reservations hold on a node back, when the node can no
// longer take their rooms. What is left of it waits for another node.
func (s *State) unbind(n *Node) {
	for _, r := range s.reservations {
		i := r.share(n.ID)
		if i < 0 {
			continue
		}
		left := r.Shares[i].Demand
		if r.Charged {
			left = n.HeldFor(r.ID)
		}
		r.Unplaced = r.Unplaced.Plus(left)
		r.Shares = slices.Delete(r.Shares, i, i+1)
		n.settle(s.policy.CountsAfter, func(c *Charge) bool { return c.Reservation != r.ID })
	}
}

// uncharge takes the reservation's charges off its nodes.
func (s *State) uncharge(r *Reservation) {
	for _, sh := range r.Shares {
		n := s.byID[sh.Node]
		n.settle(s.policy.CountsAfter, func(c *Charge) bool { return c.Reservation != r.ID })
		s.changed(n)
	}
}
