// Package cluster is the model of a Concertina cluster: its nodes, rooms, jobs,
// agent workers, reservations and what the autoscaler remembers.
//
// It owns [State] and the events that change it. [State.Apply] is the only way
// that a state changes, and the same events in the same order always give the
// same state, so that a leader, a standby, the simulator and a replay agree.
// It also owns the Media Node state machine ([Status]) and the capacity ledger:
// what was placed on a node and is not yet shown by its load report.
//
// It decides nothing (see the placement and autoscale packages) and does no
// I/O: no clock, no goroutine, no lock. A State belongs to one goroutine;
// readers elsewhere take a [State.Clone].
//
// Start reading at [State] in state.go, then event.go for what can happen and
// apply.go for what it does.
package cluster
