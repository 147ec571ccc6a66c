package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Acquire waits for a lease until it is free, or ctx ends. Outages are waited
// out.
func (b *Bus) Acquire(ctx context.Context, key string, o LeaseOptions) (*Lease, error) {
	freed, stop := b.watchLease(ctx, key)
	defer stop()
	var wait backoff
	for {
		l, err := b.TryAcquire(ctx, key, o)
		if err == nil {
			return l, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("lease %s: %w", key, ctx.Err())
		}
		poll := wait.next()
		switch {
		case errors.Is(err, ErrHeld):
			// The watch tells when it is free; this is for what it misses.
			poll = max(time.Second, o.TTL/4)
		case errors.Is(err, ErrOutage), errors.Is(err, ErrConflict), errors.Is(err, ErrNotFound):
			b.note.say(slog.LevelDebug, "acquire "+key, "bus lease not acquired, tries again", "lease", key, "error", err)
		default:
			return nil, err
		}
		select {
		case <-freed:
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, fmt.Errorf("lease %s: %w", key, ctx.Err())
		case <-b.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// watchLease signals each time the lease becomes free.
func (b *Bus) watchLease(ctx context.Context, key string) (freed <-chan struct{}, stop func()) {
	signal := make(chan struct{}, 1)
	w, err := NewRecords[Holder](b, BucketLeases, "").WatchKey(ctx, key, func(c Change[Holder]) {
		if c.Value == nil && !c.Synced {
			select {
			case signal <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return nil, func() {} // without the watch, by asking
	}
	return signal, w.Stop
}

// Campaign holds a lease whenever it can, until ctx ends: it acquires the
// lease, calls hold with a context that ends when the lease is lost, waits for
// hold to return, releases the lease, and begins again. An error of hold ends
// the campaign; errors because its context ended do not. It returns ctx's error,
// hold's, or [ErrClosed].
func (b *Bus) Campaign(ctx context.Context, key string, o LeaseOptions, hold func(ctx context.Context, l *Lease) error) error {
	for {
		l, err := b.Acquire(ctx, key, o)
		if err != nil {
			return err
		}
		b.log.Info("bus lease acquired", "lease", key, "token", l.Token())
		held, cancel := context.WithCancelCause(ctx)
		stop := context.AfterFunc(l.ctx, func() { cancel(ErrLost) })
		err = hold(held, l)
		ended := held.Err() != nil
		stop()
		cancel(nil)
		release, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		l.Release(release)
		done()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case b.ctx.Err() != nil:
			return ErrClosed
		case err != nil && !ended:
			return fmt.Errorf("lease %s: %w", key, err)
		case err == nil && !ended:
			// It stepped down by itself: others first.
			pause(ctx, time.Second)
		}
	}
}
