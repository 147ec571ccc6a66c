package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DefaultLeaseTTL is above the longest time that masters take to elect after a
// crash (9 s), so that one broken master expires no lease.
const DefaultLeaseTTL = 15 * time.Second

// minLeaseTTL is the shortest that the store keeps.
const minLeaseTTL = time.Second

// LeaseOptions shape a lease.
type LeaseOptions struct {
	// TTL is how long the lease outlives its last renewal, in whole seconds.
	// Zero: [DefaultLeaseTTL].
	TTL time.Duration
	// Fence names the bucket that the lease guards: [Lease.Put] writes there
	// only as long as nobody else has had the lease since. Masters only.
	// Empty: none.
	Fence string
	// Info is told to those who ask who holds the lease.
	Info string
	// Replace decides whether to take the lease from its holder, for one that
	// is known to be gone: a node that comes back under its own name. Nil:
	// never.
	Replace func(Holder) bool
}

// Holder is who holds a lease.
type Holder struct {
	// Node is the holder's id.
	Node string `json:"node"`
	// Instance is one holding of the lease: random, never used again.
	Instance string `json:"instance"`
	// Info is the holder's [LeaseOptions.Info].
	Info string `json:"info,omitempty"`
}

// Lease is a right that one node holds until it stops renewing it. The holder
// considers it lost earlier than the store does: when TTL has passed since the
// last successful renewal was sent.
type Lease struct {
	b      *Bus
	key    string
	holder Holder
	ttl    time.Duration
	fence  fence

	ctx      context.Context // ends with the holding
	cancel   context.CancelFunc
	released atomic.Bool
	lost     chan struct{}
	ended    chan struct{} // closed when the renewals have ended

	mu       sync.Mutex
	token    uint64    // revision at which it was taken
	revision uint64    // of the last renewal
	until    time.Time // when the lease is lost
	err      error     // why it is
}

// TryAcquire takes a lease that is free, or fails with [ErrHeld], or with
// [ErrOutage]. The caller must [Lease.Release] it and stop its work when it is
// lost.
func (b *Bus) TryAcquire(ctx context.Context, key string, o LeaseOptions) (*Lease, error) {
	l, err := b.newLease(key, o)
	if err != nil {
		return nil, err
	}
	last, err := l.fence.read(ctx, b)
	if err != nil {
		l.cancel()
		return nil, fmt.Errorf("lease %s: %w", key, err)
	}
	if err := l.create(ctx, o.Replace); err != nil {
		l.cancel()
		return nil, fmt.Errorf("lease %s: %w", key, err)
	}
	if err := l.fence.raise(ctx, b, last, l.holder.Node); err != nil {
		// Somebody else had the lease in between, or it is not known.
		l.cancel()
		l.remove(ctx)
		if errors.Is(err, ErrConflict) {
			err = ErrHeld
		}
		return nil, fmt.Errorf("lease %s: %w", key, err)
	}
	if !b.spawn(l.renewals) {
		return nil, ErrClosed
	}
	return l, nil
}

func (b *Bus) newLease(key string, o LeaseOptions) (*Lease, error) {
	if o.TTL == 0 {
		o.TTL = DefaultLeaseTTL
	}
	if o.TTL < minLeaseTTL || o.TTL%time.Second != 0 {
		return nil, fmt.Errorf("lease %s: TTL %v is not a number of whole seconds", key, o.TTL)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	return &Lease{
		b: b, ctx: ctx, cancel: cancel, key: key, ttl: o.TTL,
		holder: Holder{Node: b.cfg.Node, Instance: rand.Text(), Info: o.Info},
		fence:  fence{bucket: o.Fence, key: fencePrefix + key},
		lost:   make(chan struct{}), ended: make(chan struct{}),
	}, nil
}

// create writes the lease if there is none, or over one that may be replaced.
func (l *Lease) create(ctx context.Context, replace func(Holder) bool) error {
	kv, err := l.b.bucket(ctx, BucketLeases)
	if err != nil {
		return err
	}
	ctx, cancel := l.b.bound(ctx)
	defer cancel()
	value, err := encode(l.holder)
	if err != nil {
		return err
	}
	sent := time.Now()
	rev, err := kv.Create(ctx, l.key, value, jetstream.KeyTTL(l.ttl))
	if wrongSequence(err) {
		old, oldRev, getErr := l.b.holder(ctx, l.key)
		switch {
		case getErr != nil:
			return ErrHeld // until a moment ago
		case replace == nil || !replace(old):
			return fmt.Errorf("%w: %s", ErrHeld, old.Node)
		}
		sent = time.Now()
		if rev, err = l.publish(ctx, value, oldRev); wrongSequence(err) {
			return ErrHeld
		}
	}
	if err != nil {
		return explain("create", err)
	}
	l.mu.Lock()
	l.token, l.revision, l.until = rev, rev, sent.Add(l.ttl)
	l.mu.Unlock()
	return nil
}

// publish writes the lease over its own revision. It is a plain publish
// because kv.Update has no TTL: the lease would live for ever.
func (l *Lease) publish(ctx context.Context, value []byte, revision uint64) (uint64, error) {
	ack, err := l.b.js.Publish(ctx, "$KV."+BucketLeases+"."+l.key, value,
		jetstream.WithMsgTTL(l.ttl), jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// Key is the lease's name.
func (l *Lease) Key() string { return l.key }

// Token grows with every new holder of a lease with a fence, for ever: a
// receiver of commands that remembers the highest can refuse a former
// holder's. Without a fence it is the revision at which the lease was taken,
// which starts again when all masters have stopped at once.
func (l *Lease) Token() uint64 {
	if l.fence.bucket != "" {
		return l.fence.at.epoch
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token
}

// Valid reports whether the lease is held now.
func (l *Lease) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil && time.Now().Before(l.until)
}

// Lost is closed when the lease is not held any more, by release or otherwise.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Err says why the lease is not held: [ErrLost] with the cause. Nil while it
// is.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Release ends the holding and frees the lease for others at once, if the
// masters can be reached; otherwise it ends by itself. It can be called again.
func (l *Lease) Release(ctx context.Context) {
	l.released.Store(true)
	l.cancel()
	<-l.ended
	l.remove(ctx)
}

// remove deletes the lease if it still is this one.
func (l *Lease) remove(ctx context.Context) {
	l.mu.Lock()
	revision := l.revision
	l.revision = 0
	l.mu.Unlock()
	if revision == 0 {
		return
	}
	kv, err := l.b.bucket(ctx, BucketLeases)
	if err != nil {
		return
	}
	ctx, cancel := l.b.bound(ctx)
	defer cancel()
	err = kv.Purge(ctx, l.key, jetstream.LastRevision(revision), jetstream.PurgeTTL(markerAge))
	if err != nil && !wrongSequence(err) {
		l.b.log.Debug("bus lease ends by itself", "lease", l.key, "error", err)
	}
}

// renewals keeps the lease until it is released, lost, or the bus closed.
func (l *Lease) renewals() {
	defer close(l.ended)
	err := l.keep()
	switch {
	case l.released.Load():
		err = fmt.Errorf("%w: released", ErrLost)
	case l.ctx.Err() != nil:
		err = fmt.Errorf("%w: %w", ErrLost, ErrClosed)
	default:
		l.b.log.Warn("bus lease lost", "lease", l.key, "error", err)
	}
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	l.cancel()
	close(l.lost)
}

// keep renews every quarter of the TTL, and more often after a failure, until
// the lease is lost or its context ends.
func (l *Lease) keep() error {
	value, err := encode(l.holder)
	if err != nil {
		return err
	}
	wait, retry := l.ttl/4, backoff(0)
	for {
		l.mu.Lock()
		until, revision := l.until, l.revision
		l.mu.Unlock()
		if !pause(l.ctx, min(wait, time.Until(until))) {
			return l.ctx.Err()
		}
		sent := time.Now()
		if !sent.Before(until) {
			return fmt.Errorf("%w: not renewed for %v", ErrLost, l.ttl)
		}
		attempt, cancel := context.WithDeadline(l.ctx, earlier(until, sent.Add(max(l.ttl/4, time.Second))))
		rev, err := l.publish(attempt, value, revision)
		if err == nil {
			until = sent.Add(l.ttl)
		} else if wrongSequence(err) {
			rev, err = l.reclaim(attempt, revision)
		}
		cancel()
		switch {
		case errors.Is(err, ErrLost):
			return err
		case err != nil:
			wait = retry.next()
			continue
		case until == l.deadline():
			wait = 0 // read back, to be renewed at once
		default:
			wait, retry = l.ttl/4, 0
		}
		l.mu.Lock()
		l.revision, l.until = rev, until
		l.mu.Unlock()
	}
}

func (l *Lease) deadline() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

// reclaim finds out what it means that the lease is not at the revision we
// know: a renewal of ours whose answer was lost, whose revision it returns, or
// the end. Another holder, or none in three readings, is the end; a single
// reading may be old.
func (l *Lease) reclaim(ctx context.Context, revision uint64) (uint64, error) {
	for range 3 {
		h, rev, err := l.b.holder(ctx, l.key)
		switch {
		case err == nil && rev > revision && h.Instance == l.holder.Instance:
			return rev, nil
		case err == nil && rev > revision:
			return 0, fmt.Errorf("%w: %s holds it", ErrLost, h.Node)
		case err != nil && !errors.Is(err, ErrNotFound):
			return 0, err
		}
		if !pause(ctx, 50*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
	return 0, fmt.Errorf("%w: it expired", ErrLost)
}

// Holder returns who holds a lease, or [ErrNotFound]. It may be a little old.
func (b *Bus) Holder(ctx context.Context, key string) (Holder, error) {
	h, _, err := b.holder(ctx, key)
	return h, err
}

func (b *Bus) holder(ctx context.Context, key string) (Holder, uint64, error) {
	return NewRecords[Holder](b, BucketLeases, "").Get(ctx, key)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
