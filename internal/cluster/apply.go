package cluster

import (
	"fmt"
	"slices"
	"time"
)

// Apply changes the state by one event. After an error the state is as before.
func (s *State) Apply(e Event) error {
	if err := s.apply(e); err != nil {
		return fmt.Errorf("%s: %w", e.Kind(), err)
	}
	s.version++
	if t := e.When(); t.After(s.now) {
		s.now = t
	}
	return nil
}

func (s *State) apply(e Event) error {
	switch e := e.(type) {
	case LoadReported:
		return s.loadReported(e)
	case ParticipantPlaced:
		return s.participantPlaced(e)
	case ParticipantLeft:
		return s.participantLeft(e)
	case RoomPlaced:
		return s.roomPlaced(e)
	case RoomClosed:
		return s.roomClosed(e)
	case RoomCreated:
		return s.roomCreated(e)
	case RoomLeft:
		return s.roomLeft(e)
	case NodeAdded:
		return s.nodeAdded(e)
	case NodeUpdated:
		return s.nodeUpdated(e)
	case NodeStatusChanged:
		return s.nodeStatusChanged(e)
	case NodeRemoved:
		return s.nodeRemoved(e)
	case JobQueued:
		return s.jobQueued(e)
	case JobPlaced:
		return s.jobPlaced(e)
	case JobEnded:
		return s.jobEnded(e)
	case WorkerRegistered:
		return s.workerRegistered(e)
	case WorkerReported:
		return s.workerReported(e)
	case WorkerGone:
		return s.workerGone(e)
	case ReservationAdmitted:
		return s.reservationAdmitted(e)
	case ReservationBound:
		return s.reservationBound(e)
	case ReservationReleased:
		return s.reservationReleased(e)
	case TimePassed:
		s.timePassed(e.At)
	case Scaled:
		s.scaled(e)
	case LoadSampled:
		s.scaling.History.observe(e.At, e.Total, s.policy)
	case PolicyChanged:
		return s.policyChanged(e)
	default:
		return fmt.Errorf("%w: %T", ErrUnknownEvent, e)
	}
	return nil
}

func (s *State) policyChanged(e PolicyChanged) error {
	if err := e.Policy.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	s.policy = e.Policy
	for _, n := range s.nodes {
		n.settle(s.policy.CountsAfter, nil)
		s.changed(n)
	}
	return nil
}

func (s *State) node(id string) (*Node, error) {
	n, ok := s.byID[id]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownNode, id)
	}
	return n, nil
}

func (s *State) nodeAdded(e NodeAdded) error {
	if e.Node.ID == "" || e.Node.CPUs <= 0 || !amount(e.Node.CPUs) {
		return fmt.Errorf("%w: node %q with %v CPUs", ErrInvalid, e.Node.ID, e.Node.CPUs)
	}
	if _, ok := s.byID[e.Node.ID]; ok {
		return fmt.Errorf("node %q %w", e.Node.ID, ErrExists)
	}
	n := &Node{
		ID: e.Node.ID, Role: e.Node.Role, ProviderID: e.Node.ProviderID, Region: e.Node.Region,
		Address: e.Node.Address, URI: e.Node.URI, CPUs: e.Node.CPUs, Memory: e.Node.Memory,
		Capabilities: slices.Clone(e.Node.Capabilities),
		Status:       StatusLaunching, LaunchedAt: e.Node.LaunchedAt, ChangedAt: e.At,
	}
	if n.Role == "" {
		n.Role = RoleMedia
	}
	if n.LaunchedAt.IsZero() {
		n.LaunchedAt = e.At
	}
	s.insert(n)
	return nil
}

func (s *State) nodeUpdated(e NodeUpdated) error {
	n, err := s.node(e.Node)
	if err != nil {
		return err
	}
	if !amount(e.CPUs) {
		return fmt.Errorf("%w: node %q with %v CPUs", ErrInvalid, e.Node, e.CPUs)
	}
	if e.ProviderID != "" {
		n.ProviderID = e.ProviderID
	}
	if e.Address != "" {
		n.Address = e.Address
	}
	if e.URI != "" {
		n.URI = e.URI
	}
	if e.CPUs > 0 {
		n.CPUs = e.CPUs
	}
	if e.Capabilities != nil {
		n.Capabilities = slices.Clone(e.Capabilities)
	}
	s.changed(n)
	return nil
}

func (s *State) nodeStatusChanged(e NodeStatusChanged) error {
	n, err := s.node(e.Node)
	if err != nil {
		return err
	}
	if !n.Status.CanBecome(e.Status) {
		return &TransitionError{Node: n.ID, From: n.Status, To: e.Status}
	}
	n.Status, n.ChangedAt = e.Status, e.At
	if !n.Status.Active() {
		s.unbind(n)
	}
	s.changed(n)
	return nil
}

func (s *State) nodeRemoved(e NodeRemoved) error {
	n, err := s.node(e.Node)
	if err != nil {
		return err
	}
	if n.Rooms > 0 {
		for _, r := range s.rooms {
			if i := r.share(n.ID); i >= 0 {
				r.Shares = slices.Delete(r.Shares, i, i+1)
			}
		}
	}
	if n.Jobs() > 0 {
		for id, j := range s.jobs {
			if j.Node == n.ID {
				s.unplace(j)
				delete(s.jobs, id)
			}
		}
	}
	s.unbind(n)
	s.remove(n)
	return nil
}

func (s *State) loadReported(e LoadReported) error {
	n, err := s.node(e.Node)
	if err != nil {
		return err
	}
	if err := e.Load.validate(); err != nil {
		return fmt.Errorf("load of node %q: %w", n.ID, err)
	}
	if e.Load.Version <= n.Load.Version && !n.Load.At.IsZero() {
		return nil
	}
	if e.Load.At.IsZero() {
		e.Load.At = e.At
	}
	n.Load = e.Load
	n.settle(s.policy.CountsAfter, nil)
	s.changed(n)
	return nil
}

func (s *State) ramp(d time.Duration) time.Duration {
	if d == 0 {
		return s.policy.RampUp
	}
	return d
}

func (s *State) scaled(e Scaled) {
	if e.Added > 0 {
		s.scaling.LastOut = e.At
	}
	if e.Removed > 0 {
		s.scaling.LastIn = e.At
	}
	s.scaling.Announced = e.Announced
}
