package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Headers of requests and answers.
const (
	headerTimeout = "Timeout-Ms" // of a request: how long the asker still waits
	headerCode    = "Error-Code" // of an answer that is an error; the body is its text
)

// Code says what kind of error an answer is.
type Code string

// The codes. A handler returns an [*Error] with one of them; any other error
// becomes internal, an ended context deadline.
const (
	CodeInvalid     Code = "invalid"     // the request makes no sense
	CodeNotFound    Code = "not_found"   // what it is about is not here
	CodeConflict    Code = "conflict"    // not in this state
	CodeUnavailable Code = "unavailable" // not now; another node, or later
	CodeDenied      Code = "denied"      // never
	CodeDeadline    Code = "deadline"    // took too long
	CodeVersion     Code = "version"     // the receiver is older than the request
	CodeInternal    Code = "internal"    // a fault of the receiver
)

// Error is an error that crosses the bus.
type Error struct {
	Code    Code
	Message string
}

// Error returns the message with its code.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Is makes errors.Is see [ErrNotFound], [ErrConflict] and [ErrDenied] in the
// codes of the same names.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Code == CodeNotFound
	case ErrConflict:
		return e.Code == CodeConflict
	case ErrDenied:
		return e.Code == CodeDenied
	}
	return false
}

// Request asks whoever handles the subject and waits for the answer until ctx
// ends, at most [Config.Timeout]. Errors: [*Error] from the handler,
// [ErrNoResponder] at once when nobody handles the subject, [ErrOutage] in an
// outage or without an answer in time; the request may have been acted on in
// the latter case.
func Request[Req, Resp any](ctx context.Context, b *Bus, subject string, req Req) (Resp, error) {
	var none Resp
	data, err := encode(req)
	if err != nil {
		return none, err
	}
	ctx, cancel := b.bound(ctx)
	defer cancel()
	m := nats.NewMsg(subject)
	m.Data = data
	deadline, _ := ctx.Deadline()
	m.Header.Set(headerTimeout, strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	answer, err := b.conn.nc.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return none, fmt.Errorf("request %s: %w", subject, ErrNoResponder)
	case err != nil:
		return none, explain("request "+subject, err)
	}
	if code := answer.Header.Get(headerCode); code != "" {
		return none, fmt.Errorf("request %s: %w", subject, &Error{Code(code), string(answer.Data)})
	}
	return decode[Resp](answer.Data)
}

// handlerLimit is how many requests one [Handle] works on at a time. More are
// answered with [CodeUnavailable], so that the asker can go elsewhere.
const handlerLimit = 256

// maxHandling bounds a handler whose asker does not say how long it waits.
const maxHandling = 30 * time.Second

// Handle answers requests on the subject, each in a goroutine of its own, until
// it is stopped. With a queue name, one of those in the group gets a request.
// ctx ends when the asker no longer waits or the bus is closed.
func Handle[Req, Resp any](b *Bus, subject, queue string, handle func(ctx context.Context, subject string, req Req) (Resp, error)) (*Subscription, error) {
	slots := make(chan struct{}, handlerLimit)
	return subscribe(b, subject, queue, func(m *nats.Msg) {
		select {
		case slots <- struct{}{}:
		default:
			b.answer(m, nil, &Error{CodeUnavailable, "too many requests"})
			return
		}
		b.spawn(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(b.ctx, timeoutOf(m))
			defer cancel()
			resp, err := answerTo(ctx, b, m, handle)
			b.answer(m, resp, err)
		})
	})
}

// answerTo runs a handler. A panic of it is one request's, not the node's.
func answerTo[Req, Resp any](ctx context.Context, b *Bus, m *nats.Msg, handle func(context.Context, string, Req) (Resp, error)) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			b.log.Error("bus request handler panicked", "subject", m.Subject, "panic", p, "stack", string(debug.Stack()))
			err = &Error{CodeInternal, "handler failed"}
		}
	}()
	req, err := decode[Req](m.Data)
	if err != nil {
		return nil, err
	}
	resp, err := handle(ctx, m.Subject, req)
	if err != nil {
		return nil, err
	}
	return encode(resp)
}

func (b *Bus) answer(m *nats.Msg, data []byte, err error) {
	if m.Reply == "" {
		return
	}
	out := nats.NewMsg(m.Reply)
	out.Data = data
	if err != nil {
		e := asError(err)
		out.Header.Set(headerCode, string(e.Code))
		out.Data = []byte(e.Message)
	}
	if err := b.conn.nc.PublishMsg(out); err != nil {
		b.note.say(slog.LevelWarn, "answer", "bus answer not sent", "subject", m.Subject, "error", err)
	}
}

func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, ErrVersion):
		return &Error{CodeVersion, err.Error()}
	case errors.Is(err, ErrMalformed):
		return &Error{CodeInvalid, err.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Error{CodeDeadline, err.Error()}
	case errors.Is(err, ErrNotFound):
		return &Error{CodeNotFound, err.Error()}
	case errors.Is(err, ErrConflict):
		return &Error{CodeConflict, err.Error()}
	case errors.Is(err, ErrOutage):
		return &Error{CodeUnavailable, err.Error()}
	}
	return &Error{CodeInternal, err.Error()}
}

// timeoutOf is how long the asker waits. It is a duration because the clocks
// of nodes differ.
func timeoutOf(m *nats.Msg) time.Duration {
	ms, err := strconv.ParseInt(m.Header.Get(headerTimeout), 10, 64)
	if err != nil || ms <= 0 || ms > maxHandling.Milliseconds() {
		return maxHandling
	}
	return time.Duration(ms) * time.Millisecond
}
