package cluster

import (
	"fmt"
	"slices"
)

func (s *State) roomCreated(e RoomCreated) error {
	if e.Room == "" {
		return fmt.Errorf("%w: room without a name", ErrInvalid)
	}
	if _, ok := s.rooms[e.Room]; ok {
		return fmt.Errorf("room %q %w", e.Room, ErrExists)
	}
	s.rooms[e.Room] = &Room{Name: e.Room, CreatedAt: e.At, Pin: e.Pin}
	return nil
}

func (s *State) roomPlaced(e RoomPlaced) error {
	n, err := s.node(e.Node)
	if err != nil {
		return err
	}
	if e.Room == "" {
		return fmt.Errorf("%w: room without a name", ErrInvalid)
	}
	if !e.Expect.IsZero() && e.ExpectUntil.IsZero() {
		return fmt.Errorf("%w: room %q expects demand without an end", ErrInvalid, e.Room)
	}
	r, ok := s.rooms[e.Room]
	if !ok {
		r = &Room{Name: e.Room, CreatedAt: e.At}
		s.rooms[e.Room] = r
	}
	i := s.join(r, n)
	r.Shares[i].Participants += int(e.Load.Clients)
	r.Shares[i].Demand = r.Shares[i].Demand.Plus(e.Load)
	n.Participants += int(e.Load.Clients)
	if res, ok := s.reservations[e.Reservation]; ok && res.Room == r.Name {
		s.use(res, r, e.At)
	}
	s.consume(r, n, e.Load.Clients)
	if !e.Load.IsZero() {
		n.charge(Charge{At: e.At, Ramp: s.ramp(e.Ramp), Room: r.Name, Demand: e.Load}, &r.Shares[i], s.policy.CountsAfter)
	}
	if !e.Expect.IsZero() {
		n.charge(Charge{At: e.At, Until: e.ExpectUntil, Room: r.Name, Demand: e.Expect}, &r.Shares[i], s.policy.CountsAfter)
	}
	s.changed(n)
	return nil
}

// join returns the index of the room's share on n, which it adds if need be.
func (s *State) join(r *Room, n *Node) int {
	if i := r.share(n.ID); i >= 0 {
		return i
	}
	r.Shares = append(r.Shares, RoomShare{Node: n.ID})
	n.Rooms++
	return len(r.Shares) - 1
}

func (s *State) participantPlaced(e ParticipantPlaced) error {
	n, err := s.node(e.Node)
	if err != nil {
		return err
	}
	r, ok := s.rooms[e.Room]
	if !ok {
		return fmt.Errorf("%w %q", ErrUnknownRoom, e.Room)
	}
	i := s.join(r, n)
	r.Shares[i].Participants++
	r.Shares[i].Demand = r.Shares[i].Demand.Plus(e.Load)
	n.Participants++
	s.consume(r, n, 1)
	n.charge(Charge{At: e.At, Ramp: s.ramp(e.Ramp), Room: r.Name, Demand: e.Load}, &r.Shares[i], s.policy.CountsAfter)
	s.changed(n)
	return nil
}

func (s *State) participantLeft(e ParticipantLeft) error {
	n, err := s.node(e.Node)
	if err != nil {
		return err
	}
	r, ok := s.rooms[e.Room]
	if !ok {
		return fmt.Errorf("%w %q", ErrUnknownRoom, e.Room)
	}
	i := r.share(n.ID)
	if i < 0 || r.Shares[i].Participants == 0 {
		return fmt.Errorf("%w: room %q has no participant on node %q", ErrInvalid, r.Name, n.ID)
	}
	sh := &r.Shares[i]
	sh.Demand = sh.Demand.without(1, float64(sh.Participants))
	sh.Participants--
	n.Participants--
	n.dropNewest(r.Name)
	n.settle(s.policy.CountsAfter, nil)
	s.changed(n)
	return nil
}

// dropNewest takes back the charge of one participant of the room: whoever left
// is most likely not in the reports yet when a charge is still there.
func (n *Node) dropNewest(room string) {
	for i := len(n.Charges) - 1; i >= 0; i-- {
		c := &n.Charges[i]
		if c.Room != room || c.held() || c.Demand.Clients == 0 {
			continue
		}
		c.Demand = c.Demand.without(1, c.Demand.Clients)
		return
	}
}

func (s *State) roomLeft(e RoomLeft) error {
	n, err := s.node(e.Node)
	if err != nil {
		return err
	}
	r, ok := s.rooms[e.Room]
	if !ok {
		return fmt.Errorf("%w %q", ErrUnknownRoom, e.Room)
	}
	i := r.share(n.ID)
	if i < 0 {
		return fmt.Errorf("%w: room %q is not on node %q", ErrInvalid, r.Name, n.ID)
	}
	s.leave(r, i)
	r.Shares = slices.Delete(r.Shares, i, i+1)
	return nil
}

// leave clears what the i-th share of the room put on its node.
func (s *State) leave(r *Room, i int) {
	n, ok := s.byID[r.Shares[i].Node]
	if !ok {
		return
	}
	n.Rooms--
	n.Participants -= r.Shares[i].Participants
	s.changed(n)
	if !n.Load.At.Before(r.Shares[i].Shown) {
		return // no charge is left, which is so for all but young rooms
	}
	// A reservation outlives this meeting of the room; see roomClosed.
	n.settle(s.policy.CountsAfter, func(c *Charge) bool { return c.Room != r.Name || c.Reservation != "" })
}

func (s *State) roomClosed(e RoomClosed) error {
	r, ok := s.rooms[e.Room]
	if !ok {
		return fmt.Errorf("%w %q", ErrUnknownRoom, e.Room)
	}
	for i := range r.Shares {
		s.leave(r, i)
	}
	delete(s.rooms, e.Room)
	if r.Reservation == "" {
		return nil
	}
	for id, res := range s.reservations {
		if res.Used && res.Room == e.Room {
			s.uncharge(res)
			delete(s.reservations, id)
		}
	}
	return nil
}
