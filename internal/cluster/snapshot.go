package cluster

import (
	"encoding/json"
	"fmt"
	"time"
)

// snapshot is the JSON form of a State.
type snapshot struct {
	Version      uint64        `json:"version"`
	Now          time.Time     `json:"now"`
	Policy       Policy        `json:"policy"`
	Nodes        []Node        `json:"nodes"`
	Rooms        []Room        `json:"rooms,omitempty"`
	Jobs         []Job         `json:"jobs,omitempty"`
	Workers      []Worker      `json:"workers,omitempty"`
	Reservations []Reservation `json:"reservations,omitempty"`
	Scaling      Scaling       `json:"scaling"`
}

// MarshalJSON writes the whole state, in an order that depends on nothing but
// its contents.
func (s *State) MarshalJSON() ([]byte, error) {
	return json.Marshal(snapshot{
		Version: s.version, Now: s.now, Policy: s.policy, Nodes: s.Nodes(), Rooms: s.Rooms(),
		Jobs: s.Jobs(), Workers: s.Workers(), Reservations: s.Reservations(), Scaling: s.scaling,
	})
}

// UnmarshalJSON reads what [State.MarshalJSON] wrote. The result decides as the
// original does. A node with an unknown status, two with one id, and a
// reservation on a node that is not there are errors.
func (s *State) UnmarshalJSON(data []byte) error {
	var snap snapshot
	if err := json.Unmarshal(data, &snap); err != nil {
		return fmt.Errorf("decode state: %w", err)
	}
	if err := snap.Policy.Validate(); err != nil {
		return fmt.Errorf("decode state: %w: policy: %w", ErrInvalid, err)
	}
	c := New(snap.Policy)
	for i := range snap.Nodes {
		n := snap.Nodes[i]
		if n.ID == "" || !n.Status.Valid() || n.CPUs <= 0 {
			return fmt.Errorf("decode state: %w: node %q with status %q and %v CPUs", ErrInvalid, n.ID, n.Status, n.CPUs)
		}
		if _, ok := c.byID[n.ID]; ok {
			return fmt.Errorf("decode state: node %q %w", n.ID, ErrExists)
		}
		n.settle(snap.Policy.CountsAfter, nil)
		c.insert(&n)
	}
	restore(c.rooms, snap.Rooms, func(r *Room) string { return r.Name })
	restore(c.jobs, snap.Jobs, func(j *Job) string { return j.ID })
	restore(c.workers, snap.Workers, func(w *Worker) string { return w.ID })
	for i := range snap.Reservations {
		if err := c.checkShares(&snap.Reservations[i]); err != nil {
			return fmt.Errorf("decode state: reservation %q: %w", snap.Reservations[i].ID, err)
		}
	}
	restore(c.reservations, snap.Reservations, func(r *Reservation) string { return r.ID })
	c.version, c.now, c.scaling = snap.Version, snap.Now, snap.Scaling
	*s = *c
	return nil
}

func restore[V any](into map[string]*V, from []V, key func(*V) string) {
	for i := range from {
		v := from[i]
		into[key(&v)] = &v
	}
}
