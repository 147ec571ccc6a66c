package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// QueueOptions shape a work queue. All masters and workers use the same.
type QueueOptions struct {
	// Name of the queue: letters, digits, - and _.
	Name string
	// AckWait is how long a task whose worker has gone silent waits for
	// another one. A living worker says that it works on every third of it.
	AckWait time.Duration
	// MaxDeliver is how many attempts a task has; then it goes to [StreamDead].
	MaxDeliver int
	// Backlog is how many attempts may be under way at once, everywhere.
	Backlog int
}

// DefaultQueue returns the options of a queue.
func DefaultQueue(name string) QueueOptions {
	return QueueOptions{Name: name, AckWait: 10 * time.Second, MaxDeliver: 3, Backlog: 1000}
}

func (o QueueOptions) consumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: o.Name, FilterSubject: WorkSubject(o.Name),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: o.AckWait, MaxDeliver: o.MaxDeliver, MaxAckPending: o.Backlog,
	}
}

// Task is one attempt at a piece of work.
type Task[T any] struct {
	// ID is that of [Submit].
	ID string
	// Value is the work.
	Value T
	// Attempt counts from 1. Above 1 somebody may have done it, in part or in
	// whole, or may still believe to be doing it: use a lease where that
	// matters.
	Attempt int
}

// PrepareQueue makes the queue, or changes its options. A master does it before
// anybody works on it.
func (b *Bus) PrepareQueue(ctx context.Context, o QueueOptions) error {
	if !eventKind.MatchString(o.Name) || o.AckWait < 10*time.Millisecond || o.MaxDeliver < 1 || o.Backlog < 1 {
		return fmt.Errorf("queue %+v: %w", o, ErrMalformed)
	}
	ctx, cancel := b.bound(ctx)
	defer cancel()
	_, err := b.js.CreateOrUpdateConsumer(ctx, StreamWork, o.consumer())
	return explain("queue "+o.Name, err)
}

// Submit puts a task into a queue. The same id within 10 minutes is one task.
// The task is on disk when Submit returns without error. Masters only.
func Submit[T any](ctx context.Context, b *Bus, queue, id string, v T) error {
	if !b.cfg.master() {
		return fmt.Errorf("submit to %s: %w", queue, ErrDenied)
	}
	data, err := encode(v)
	if err != nil {
		return err
	}
	ctx, cancel := b.bound(ctx)
	defer cancel()
	m := nats.NewMsg(WorkSubject(queue))
	m.Data = data
	m.Header.Set(jetstream.MsgIDHeader, id)
	_, err = b.js.PublishMsg(ctx, m)
	return explain("submit to "+queue, err)
}

// ErrGiveUp, wrapped by the error of a worker, says that further attempts are
// useless: the task goes to [StreamDead] at once.
var ErrGiveUp = errors.New("give up")

// Work takes tasks of a queue, at most parallel at a time, until ctx ends, and
// then waits for those under way. do gets a context that ends with ctx or when
// the masters can no longer be told that it works. A task is done when do
// returns nil; an error is another attempt, later, elsewhere or here.
func Work[T any](ctx context.Context, b *Bus, o QueueOptions, parallel int, do func(ctx context.Context, t Task[T]) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	slots := make(chan struct{}, max(parallel, 1))
	defer func() { // all slots taken: nothing is under way
		for range cap(slots) {
			slots <- struct{}{}
		}
	}()
	var wait backoff
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		m, err := b.nextTask(ctx, o)
		if err != nil || m == nil {
			<-slots
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				b.note.say(slog.LevelDebug, "work "+o.Name, "bus queue not available, tries again", "queue", o.Name, "error", err)
				pause(ctx, wait.next())
			}
			continue
		}
		wait = 0
		if !b.spawn(func() {
			defer func() { <-slots }()
			attempt(ctx, b, o, m, do)
		}) {
			<-slots
			return ErrClosed
		}
	}
}

// nextTask waits for a task for some seconds. Nil: there was none.
func (b *Bus) nextTask(ctx context.Context, o QueueOptions) (jetstream.Msg, error) {
	bounded, cancel := b.bound(ctx)
	cons, err := b.js.Consumer(bounded, StreamWork, o.Name)
	cancel()
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, taskWait)
	defer cancel()
	batch, err := cons.Fetch(1, jetstream.FetchContext(wait), jetstream.FetchHeartbeat(taskWait/5))
	if err != nil {
		return nil, err
	}
	for m := range batch.Messages() {
		return m, nil
	}
	if err := batch.Error(); wait.Err() == nil {
		return nil, err
	}
	return nil, nil
}

// taskWait is how long one question for a task stands.
const taskWait = 5 * time.Second

// attempt does one task and says how it went.
func attempt[T any](ctx context.Context, b *Bus, o QueueOptions, m jetstream.Msg, do func(context.Context, Task[T]) error) {
	meta, err := m.Metadata()
	if err != nil {
		return // not a task
	}
	t := Task[T]{ID: m.Headers().Get(jetstream.MsgIDHeader), Attempt: int(meta.NumDelivered)}
	if t.Value, err = decode[T](m.Data()); err != nil {
		err = fmt.Errorf("%w: %w", ErrGiveUp, err)
	} else {
		err = b.working(ctx, o, m, func(ctx context.Context) error { return do(ctx, t) })
	}
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.Timeout)
	defer cancel()
	switch {
	case err == nil:
		err = m.DoubleAck(settle)
	case errors.Is(err, ErrGiveUp) || t.Attempt >= o.MaxDeliver:
		b.log.Warn("bus task given up", "queue", o.Name, "task", t.ID, "attempts", t.Attempt, "error", err)
		if err = b.bury(settle, o.Name, t.ID, m.Data(), err.Error()); err == nil {
			err = m.Term()
		}
	default:
		b.log.Debug("bus task failed, another attempt follows", "queue", o.Name, "task", t.ID, "attempt", t.Attempt, "error", err)
		err = m.NakWithDelay(o.AckWait / 4 * time.Duration(t.Attempt))
	}
	if err != nil {
		// It comes again after AckWait.
		b.note.say(slog.LevelDebug, "settle "+o.Name, "bus task not settled", "queue", o.Name, "error", err)
	}
}

// working calls do and keeps the task while it runs.
func (b *Bus) working(ctx context.Context, o QueueOptions, m jetstream.Msg, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		last := time.Now()
		for pause(ctx, o.AckWait/3) {
			switch status, _ := b.Status(); {
			case status.Connected && m.InProgress() == nil:
				last = time.Now()
			case time.Since(last) >= o.AckWait:
				cancel(fmt.Errorf("task of %s: %w", o.Name, ErrLost))
			}
		}
	}()
	err := do(ctx)
	cancel(nil)
	<-ended
	return err
}

// Headers of a task that was given up.
const headerReason = "Reason"

// bury keeps a task that was given up. Saying it twice is once.
func (b *Bus) bury(ctx context.Context, queue, id string, data []byte, reason string) error {
	m := nats.NewMsg(DeadSubject(queue))
	m.Data = data
	m.Header.Set(jetstream.MsgIDHeader, "dead "+queue+" "+id)
	m.Header.Set(headerReason, reason)
	_, err := b.js.PublishMsg(ctx, m)
	return err
}

// DeadTask is a task that was given up.
type DeadTask struct {
	// ID is that of [Submit], Queue where it was put.
	ID, Queue string
	// Reason is the last error, or that its workers died.
	Reason string
	// Time is when it was given up, by a master's clock.
	Time time.Time
	data []byte
}

// DeadValue reads the work of a task that was given up.
func DeadValue[T any](t DeadTask) (T, error) { return decode[T](t.data) }

// buryOrphans watches for tasks whose last worker died without a word, which
// the server only announces, and buries them. One master sees each.
func (b *Bus) buryOrphans() error {
	_, err := subscribe(b, "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES."+StreamWork+".*", QueueMasters, func(m *nats.Msg) {
		var advisory struct {
			Sequence uint64 `json:"stream_seq"`
			Consumer string `json:"consumer"`
		}
		if err := json.Unmarshal(m.Data, &advisory); err != nil {
			return
		}
		b.spawn(func() {
			if err := b.buryOrphan(b.ctx, advisory.Consumer, advisory.Sequence); err != nil {
				b.note.say(slog.LevelWarn, "bury", "bus task not buried", "queue", advisory.Consumer, "error", err)
			}
		})
	})
	return err
}

func (b *Bus) buryOrphan(ctx context.Context, queue string, sequence uint64) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	stream, err := b.js.Stream(ctx, StreamWork)
	if err != nil {
		return err
	}
	m, err := stream.GetMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil // its worker has settled it
	}
	if err != nil {
		return err
	}
	id := m.Header.Get(jetstream.MsgIDHeader)
	b.log.Warn("bus task given up: its workers died", "queue", queue, "task", id)
	if err := b.bury(ctx, queue, id, m.Data, "its workers died"); err != nil {
		return err
	}
	return stream.DeleteMsg(ctx, sequence)
}

// DeadTasks returns what was given up, oldest first, of one queue or, for "",
// of all. Masters only.
func (b *Bus) DeadTasks(ctx context.Context, queue string) ([]DeadTask, error) {
	if queue == "" {
		queue = ">"
	}
	var out []DeadTask
	err := b.eachMessage(ctx, StreamDead, DeadSubject(queue), func(m *jetstream.RawStreamMsg) error {
		q := m.Subject[len("dead."):]
		out = append(out, DeadTask{
			ID: m.Header.Get(jetstream.MsgIDHeader)[len("dead "+q+" "):], Queue: q,
			Reason: m.Header.Get(headerReason), Time: m.Time, data: m.Data,
		})
		return nil
	})
	return out, err
}
