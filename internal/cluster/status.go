package cluster

import (
	"errors"
	"fmt"
	"slices"
)

// Status is the life-cycle status of a Media Node. The strings are the ones of
// the v2 REST API and its mediaNodeStatusChanged event.
type Status string

// The Media Node statuses. Failed and terminated are final.
const (
	StatusLaunching   Status = "launching"                 // the provider is starting the machine
	StatusCanceled    Status = "canceled"                  // still launching, but no longer wanted
	StatusFailed      Status = "failed"                    // the launch failed
	StatusRunning     Status = "running"                   // accepts new work
	StatusWaiting     Status = "waiting-idle-to-terminate" // draining: keeps its work, takes none
	StatusTerminating Status = "terminating"               // the machine is being stopped
	StatusTerminated  Status = "terminated"                // the machine is gone
)

// Statuses lists every status in the order of a node's life.
func Statuses() []Status {
	return []Status{
		StatusLaunching, StatusCanceled, StatusFailed, StatusRunning,
		StatusWaiting, StatusTerminating, StatusTerminated,
	}
}

// ErrTransition is wrapped by every [TransitionError].
var ErrTransition = errors.New("illegal status transition")

// TransitionError is a status change that the state machine does not have.
type TransitionError struct {
	Node     string // the node's id
	From, To Status
}

// Error names both statuses.
func (e *TransitionError) Error() string {
	return fmt.Sprintf("node %q: %v from %q to %q", e.Node, ErrTransition, e.From, e.To)
}

// Unwrap makes errors.Is(err, ErrTransition) true.
func (e *TransitionError) Unwrap() error { return ErrTransition }

// next holds the whole state machine. A switch instead of a map keeps the
// package free of mutable state.
func next(from Status) []Status {
	switch from {
	case "":
		return []Status{StatusLaunching}
	case StatusLaunching:
		return []Status{StatusRunning, StatusFailed, StatusCanceled}
	case StatusCanceled:
		// To terminating only when the launch that could not be stopped completes.
		return []Status{StatusLaunching, StatusTerminating}
	case StatusRunning:
		return []Status{StatusWaiting, StatusTerminating}
	case StatusWaiting:
		return []Status{StatusRunning, StatusTerminating}
	case StatusTerminating:
		return []Status{StatusTerminated}
	default:
		return nil
	}
}

// CanBecome reports whether the state machine has the transition from s to to.
// The empty status stands for a node that does not exist yet.
func (s Status) CanBecome(to Status) bool { return slices.Contains(next(s), to) }

// CanRequest reports whether an operator may ask for the transition from s to
// to, as PATCH /media-nodes/{id} of the v2 REST API does. It is stricter than
// [Status.CanBecome]: the rest happens by itself.
func (s Status) CanRequest(to Status) bool {
	switch to {
	case StatusCanceled:
		return s == StatusLaunching
	case StatusLaunching:
		return s == StatusCanceled
	case StatusWaiting:
		return s == StatusRunning
	case StatusRunning:
		return s == StatusWaiting
	case StatusTerminating:
		return s == StatusRunning || s == StatusWaiting
	default:
		return false
	}
}

// Active reports whether the autoscaler counts a node of this status as
// capacity: running or launching.
func (s Status) Active() bool { return s == StatusRunning || s == StatusLaunching }

// Loaded reports whether a node of this status carries load: running or
// waiting-idle-to-terminate.
func (s Status) Loaded() bool { return s == StatusRunning || s == StatusWaiting }

// Final reports whether no transition leaves the status.
func (s Status) Final() bool { return s == StatusFailed || s == StatusTerminated }

// Valid reports whether s is one of the seven statuses.
func (s Status) Valid() bool { return slices.Contains(Statuses(), s) }
