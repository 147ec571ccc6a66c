package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// eventWindow is how long the stream remembers ids: two of one event within it
// are stored once. It must be longer than an outage in which the answer to a
// first attempt was lost.
const eventWindow = 10 * time.Minute

// eventAttempt bounds one attempt to store an event.
const eventAttempt = 5 * time.Second

// Emit stores an event of a kind in the event stream, without waiting: it
// keeps the event in memory until the masters have it, in the order of the
// calls, however long that takes. The same id is stored once; an empty one is
// made up. Lost are only events that wait when the process dies, and the oldest
// when more than [Config.Outbox] wait. Errors are about the arguments.
func (b *Bus) Emit(kind, id string, v any) error {
	m, err := b.event(kind, id, v)
	if err != nil {
		return err
	}
	b.outbox.add(m)
	return nil
}

// EmitWait is [Bus.Emit] for who must know that the event is on disk before it
// goes on. It overtakes events that wait. [ErrOutage] leaves open whether it was
// stored; say it again with the same id.
func (b *Bus) EmitWait(ctx context.Context, kind, id string, v any) error {
	m, err := b.event(kind, id, v)
	if err != nil {
		return err
	}
	ctx, cancel := b.bound(ctx)
	defer cancel()
	_, err = b.js.PublishMsg(ctx, m)
	return explain("event "+kind, err)
}

// Flush waits until no event waits, or ctx ends.
func (b *Bus) Flush(ctx context.Context) error { return b.outbox.flush(ctx) }

var eventKind = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (b *Bus) event(kind, id string, v any) (*nats.Msg, error) {
	if !eventKind.MatchString(kind) {
		return nil, fmt.Errorf("event kind %q: %w", kind, ErrMalformed)
	}
	if id == "" {
		id = rand.Text()
	}
	data, err := encode(v)
	if err != nil {
		return nil, err
	}
	m := nats.NewMsg(EventSubject(b.cfg.Node, kind))
	m.Data = data
	m.Header.Set(jetstream.MsgIDHeader, id)
	return m, nil
}

// outbox is the events that wait to be stored.
type outbox struct {
	b     *Bus
	limit int
	more  chan struct{} // has one element when there may be something to do

	mu      sync.Mutex
	waiting []*nats.Msg
	head    uint64        // number of waiting[0]; counts up for ever
	dropped int           // since the last success
	ever    int           // dropped, or refused for ever
	idle    chan struct{} // closed when nothing waits
}

func newOutbox(b *Bus) *outbox {
	o := &outbox{b: b, limit: b.cfg.Outbox, more: make(chan struct{}, 1), idle: make(chan struct{})}
	close(o.idle)
	return o
}

func (o *outbox) add(m *nats.Msg) {
	o.mu.Lock()
	if len(o.waiting) == 0 {
		o.idle = make(chan struct{})
	}
	o.waiting = append(o.waiting, m)
	if len(o.waiting) > o.limit {
		o.pop()
		o.dropped++
		o.ever++
	}
	o.mu.Unlock()
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// pop removes the oldest. The caller holds the lock.
func (o *outbox) pop() {
	o.waiting[0] = nil
	o.waiting = o.waiting[1:]
	o.head++
}

func (o *outbox) counts() (waiting, dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting), o.ever
}

func (o *outbox) refused() {
	o.mu.Lock()
	o.ever++
	o.mu.Unlock()
}

func (o *outbox) flush(ctx context.Context) error {
	o.mu.Lock()
	idle := o.idle
	o.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush events: %w: %w", ErrOutage, ctx.Err())
	}
}

// next returns the oldest and its number.
func (o *outbox) next() (*nats.Msg, uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		return nil, 0
	}
	return o.waiting[0], o.head
}

// settle removes the event of this number, unless it was dropped meanwhile, and
// returns how many were.
func (o *outbox) settle(number uint64) (dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.head == number && len(o.waiting) > 0 {
		o.pop()
	}
	if len(o.waiting) == 0 {
		close(o.idle)
	}
	dropped, o.dropped = o.dropped, 0
	return dropped
}

// run stores what waits, one after the other, until ctx ends.
func (o *outbox) run(ctx context.Context) {
	var wait backoff
	for {
		m, number := o.next()
		if m == nil {
			select {
			case <-o.more:
				continue
			case <-ctx.Done():
				return
			}
		}
		attempt, cancel := context.WithTimeout(ctx, eventAttempt)
		_, err := o.b.js.PublishMsg(attempt, m, jetstream.WithRetryAttempts(0))
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !hopeless(err):
			pause(ctx, wait.next())
			continue
		case err != nil:
			o.refused()
			o.b.note.say(slog.LevelError, "event", "bus event refused and dropped", "subject", m.Subject, "error", err)
		}
		wait = 0
		if dropped := o.settle(number); dropped > 0 {
			o.b.log.Error("bus dropped events: too many waited in an outage", "events", dropped, "limit", o.limit)
		}
	}
}

// hopeless reports whether an event will be refused for ever.
func hopeless(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrMaxPayload) || errors.As(err, &api) && api.Code == 400
}

// StoredEvent is an event of the stream.
type StoredEvent struct {
	// Sequence is its place in the stream.
	Sequence uint64
	// Time is when it was stored, by a master's clock.
	Time time.Time
	// Node, Kind and ID are those of [Bus.Emit].
	Node, Kind, ID string
	data           []byte
}

// Value reads what was emitted.
func Value[T any](e StoredEvent) (T, error) { return decode[T](e.data) }

// ReadEvents tells every event from a sequence on (0: from the first), in
// order, and goes on with new ones until ctx ends or handle returns an error,
// which it returns. When events were dropped by age it begins with the oldest
// left. Outages are waited out. Masters only.
func (b *Bus) ReadEvents(ctx context.Context, from uint64, handle func(StoredEvent) error) error {
	if !b.cfg.master() {
		return fmt.Errorf("read events: %w", ErrDenied)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	next := max(from, 1)
	var wait backoff
	for {
		err := b.readEvents(ctx, &next, handle)
		var stop *handlerError
		switch {
		case errors.As(err, &stop):
			return stop.err
		case b.ctx.Err() != nil:
			return ErrClosed
		case ctx.Err() != nil:
			return ctx.Err()
		}
		b.note.say(slog.LevelDebug, "read events", "bus event reader begins again", "error", err)
		pause(ctx, wait.next())
	}
}

// handlerError is an error of the caller's function.
type handlerError struct{ err error }

// Error is the handler's.
func (e *handlerError) Error() string { return e.err.Error() }

// readEvents reads until something fails and moves next behind each event that
// was handled.
func (b *Bus) readEvents(ctx context.Context, next *uint64, handle func(StoredEvent) error) error {
	from := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: *next}
	return b.follow(ctx, StreamEvents, from, func(uint64) {}, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		if err := handle(storedEvent(m, meta)); err != nil {
			return &handlerError{err}
		}
		*next = meta.Sequence.Stream + 1
		return nil
	})
}

func storedEvent(m jetstream.Msg, meta *jetstream.MsgMetadata) StoredEvent {
	node := NodeOf(m.Subject())
	return StoredEvent{
		Sequence: meta.Sequence.Stream, Time: meta.Timestamp,
		Node: node, Kind: strings.TrimPrefix(m.Subject(), EventSubject(node, "")),
		ID: m.Headers().Get(jetstream.MsgIDHeader), data: m.Data(),
	}
}
