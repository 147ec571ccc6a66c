package cluster

import (
	"fmt"
	"slices"
)

func (s *State) jobQueued(e JobQueued) error {
	if err := e.Job.validate(); err != nil {
		return err
	}
	if _, ok := s.jobs[e.Job.ID]; ok {
		return fmt.Errorf("job %q %w", e.Job.ID, ErrExists)
	}
	j := e.Job
	j.Node, j.Worker, j.QueuedAt = "", "", e.At
	s.jobs[j.ID] = &j
	return nil
}

// validate checks what the counts and the ledger rely on.
func (j *Job) validate() error {
	switch {
	case j.ID == "":
		return fmt.Errorf("%w: job without an id", ErrInvalid)
	case j.Kind != JobEgress && j.Kind != JobIngress && j.Kind != JobAgent:
		return fmt.Errorf("%w: job %q of kind %q", ErrInvalid, j.ID, j.Kind)
	case !amount(j.CPU) || !amount(j.Load):
		return fmt.Errorf("%w: job %q with %v CPUs and load %v", ErrInvalid, j.ID, j.CPU, j.Load)
	}
	return nil
}

func (s *State) jobPlaced(e JobPlaced) error {
	if err := e.Job.validate(); err != nil {
		return err
	}
	j := e.Job
	j.PlacedAt = e.At
	if old, ok := s.jobs[j.ID]; ok {
		if old.Node != "" || old.Worker != "" {
			return fmt.Errorf("job %q %w on node %q", j.ID, ErrExists, old.Node)
		}
		j.QueuedAt = old.QueuedAt
	}
	if e.Job.Worker == "" || e.Job.Node != "" {
		if _, err := s.node(e.Job.Node); err != nil {
			return err
		}
	}
	w, ok := s.workers[e.Job.Worker]
	if e.Job.Worker != "" && !ok {
		return fmt.Errorf("%w %q", ErrUnknownWorker, e.Job.Worker)
	}
	s.jobs[j.ID] = &j
	if w != nil {
		w.Placed = append(w.Placed, WorkerCharge{Job: j.ID, Load: j.Load, At: e.At})
	}
	if n, ok := s.byID[j.Node]; ok {
		n.countJob(j.Kind, 1)
		n.charge(Charge{At: e.At, Ramp: s.ramp(e.Ramp), Job: j.ID, Demand: Demand{CPU: j.CPU}}, nil, s.policy.CountsAfter)
		s.changed(n)
	}
	return nil
}

func (n *Node) countJob(k JobKind, by int) {
	switch k {
	case JobEgress:
		n.Egresses += by
	case JobIngress:
		n.Ingresses += by
	case JobAgent:
		n.Agents += by
	}
}

func (s *State) jobEnded(e JobEnded) error {
	j, ok := s.jobs[e.Job]
	if !ok {
		return fmt.Errorf("%w %q", ErrUnknownJob, e.Job)
	}
	s.unplace(j)
	delete(s.jobs, e.Job)
	return nil
}

// unplace clears what the job put on its node and worker.
func (s *State) unplace(j *Job) {
	if w, ok := s.workers[j.Worker]; ok {
		w.Placed = slices.DeleteFunc(w.Placed, func(c WorkerCharge) bool { return c.Job == j.ID })
	}
	if n, ok := s.byID[j.Node]; ok {
		n.countJob(j.Kind, -1)
		n.settle(s.policy.CountsAfter, func(c *Charge) bool { return c.Job != j.ID })
		s.changed(n)
	}
}

func (s *State) workerRegistered(e WorkerRegistered) error {
	if e.Worker.ID == "" || e.Worker.Threshold < 0 || e.Worker.Threshold > 1 {
		return fmt.Errorf("%w: worker %q with threshold %v", ErrInvalid, e.Worker.ID, e.Worker.Threshold)
	}
	if _, ok := s.workers[e.Worker.ID]; ok {
		return fmt.Errorf("worker %q %w", e.Worker.ID, ErrExists)
	}
	w := e.Worker
	w.At, w.Placed = e.At, nil
	s.workers[w.ID] = &w
	return nil
}

func (s *State) workerReported(e WorkerReported) error {
	w, ok := s.workers[e.Worker]
	if !ok {
		return fmt.Errorf("%w %q", ErrUnknownWorker, e.Worker)
	}
	w.Load, w.Full, w.At = e.Load, e.Full, e.At
	// A worker's own load lags as a node's does: what was sent within the ramp
	// before the report is still counted.
	w.Placed = slices.DeleteFunc(w.Placed, func(c WorkerCharge) bool { return e.At.Sub(c.At) >= s.policy.CountsAfter })
	return nil
}

func (s *State) workerGone(e WorkerGone) error {
	if _, ok := s.workers[e.Worker]; !ok {
		return fmt.Errorf("%w %q", ErrUnknownWorker, e.Worker)
	}
	delete(s.workers, e.Worker)
	return nil
}
