package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The errors of the package. Those of a record or lease say what to do: see
// the function that returns them.
var (
	// ErrOutage: no master can be reached, or they have no quorum. Nothing was
	// decided by it; try again later or do without.
	ErrOutage = errors.New("the bus is not available")
	// ErrClosed: the bus was closed.
	ErrClosed = errors.New("the bus is closed")
	// ErrNoResponder: nobody answers this request.
	ErrNoResponder = errors.New("nobody answers")
	// ErrNotFound: no record of this key.
	ErrNotFound = errors.New("not found")
	// ErrExists: there is a record of this key already.
	ErrExists = errors.New("exists already")
	// ErrConflict: the record was changed by somebody else.
	ErrConflict = errors.New("changed by somebody else")
	// ErrHeld: somebody else holds the lease.
	ErrHeld = errors.New("held by somebody else")
	// ErrLost: the lease is not held any more. Stop what it was for.
	ErrLost = errors.New("lease lost")
	// ErrDenied: this role may not do that.
	ErrDenied = errors.New("not permitted")
	// ErrMalformed: bytes that are no message of this bus.
	ErrMalformed = errors.New("malformed")
	// ErrVersion: a message of a newer version than this program knows.
	ErrVersion = errors.New("message of a newer version")
)

// wrongSequence reports whether a conditional write came too late.
func wrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, jetstream.ErrKeyExists) ||
		errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// explain maps the client's errors to those above, keeping the cause.
func explain(what string, err error) error {
	var is error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse),
		errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, jetstream.ErrStreamNotFound),
		errors.Is(err, jetstream.ErrBucketNotFound), errors.Is(err, jetstream.ErrNoHeartbeat),
		isUnavailable(err):
		is = ErrOutage
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		is = ErrClosed
	case errors.Is(err, nats.ErrPermissionViolation):
		is = ErrDenied
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted), errors.Is(err, jetstream.ErrMsgNotFound):
		is = ErrNotFound
	case wrongSequence(err):
		is = ErrConflict
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, is, err)
}

// isUnavailable reports whether JetStream answered that it cannot now: no
// quorum, no leader, starting, out of memory or disk.
func isUnavailable(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.Code == 503 || api.Code == 500)
}
