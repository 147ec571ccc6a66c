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
	for _, sh := range r.Shares {
		if _, err := s.node(sh.Node); err != nil {
			return err
		}
	}
	r.Shares = slices.Clone(r.Shares)
	r.Charged, r.Used = false, false
	s.reservations[r.ID] = &r
	s.chargeIfDue(&r, e.At)
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
		n, ok := s.byID[sh.Node]
		if !ok {
			continue
		}
		n.charge(Charge{At: now, Until: r.Until, Room: r.Room, Reservation: r.ID, Demand: sh.Demand}, nil, s.policy.CountsAfter)
		s.changed(n)
	}
}

// use marks that the reservation's room has started. Its charges stay, for the
// participants of the room to use up.
func (s *State) use(r *Reservation, room string) {
	if r.Room == room {
		r.Used = true
	}
}

// uncharge takes the reservation's charges off its nodes.
func (s *State) uncharge(r *Reservation) {
	for _, sh := range r.Shares {
		n, ok := s.byID[sh.Node]
		if !ok {
			continue
		}
		n.settle(s.policy.CountsAfter, func(c *Charge) bool { return c.Reservation != r.ID })
		s.changed(n)
	}
}
