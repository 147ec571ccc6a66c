package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Records are the values of type T in a bucket, or in a part of it. It is a
// name, not a connection: make it when needed.
type Records[T any] struct {
	b      *Bus
	bucket string
	prefix string
}

// NewRecords names the records of a bucket whose keys start with prefix, which
// is empty or ends in a dot. Keys given and returned are without it.
func NewRecords[T any](b *Bus, bucket, prefix string) Records[T] {
	return Records[T]{b, bucket, prefix}
}

// Get returns a record and its revision, or [ErrNotFound]. It may be a little
// old: decide with [Records.Update], not with what was read.
func (r Records[T]) Get(ctx context.Context, key string) (T, uint64, error) {
	var none T
	kv, err := r.b.bucket(ctx, r.bucket)
	if err != nil {
		return none, 0, err
	}
	ctx, cancel := r.b.bound(ctx)
	defer cancel()
	e, err := kv.Get(ctx, r.prefix+key)
	if err != nil {
		return none, 0, explain("get "+key, err)
	}
	v, err := decode[T](e.Value())
	return v, e.Revision(), err
}

// All returns every record by key.
func (r Records[T]) All(ctx context.Context) (map[string]T, error) {
	kv, err := r.b.bucket(ctx, r.bucket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := r.b.bound(ctx)
	defer cancel()
	w, err := kv.Watch(ctx, r.prefix+">", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, explain("list "+r.bucket, err)
	}
	defer func() { _ = w.Stop() }() // it can only be stopped already
	out := map[string]T{}
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil, fmt.Errorf("list %s: %w", r.bucket, ErrOutage)
			}
			if e == nil {
				return out, nil
			}
			if r.private(e.Key()) {
				continue
			}
			v, err := decode[T](e.Value())
			if err != nil {
				return nil, fmt.Errorf("list %s: %s: %w", r.bucket, e.Key(), err)
			}
			out[strings.TrimPrefix(e.Key(), r.prefix)] = v
		case <-ctx.Done():
			return nil, explain("list "+r.bucket, context.DeadlineExceeded)
		}
	}
}

// Create writes a record that must not exist: [ErrExists].
func (r Records[T]) Create(ctx context.Context, key string, v T) (revision uint64, err error) {
	revision, err = r.write(ctx, key, v, func(ctx context.Context, kv jetstream.KeyValue, data []byte) (uint64, error) {
		return kv.Create(ctx, r.prefix+key, data)
	})
	if errors.Is(err, ErrConflict) {
		return 0, fmt.Errorf("create %s: %w", key, ErrExists)
	}
	return revision, err
}

// Put writes a record whatever was there.
func (r Records[T]) Put(ctx context.Context, key string, v T) (revision uint64, err error) {
	return r.write(ctx, key, v, func(ctx context.Context, kv jetstream.KeyValue, data []byte) (uint64, error) {
		return kv.Put(ctx, r.prefix+key, data)
	})
}

// Update writes a record that must still be at the revision: [ErrConflict]. An
// [ErrOutage] leaves open whether it was written.
func (r Records[T]) Update(ctx context.Context, key string, v T, revision uint64) (uint64, error) {
	return r.write(ctx, key, v, func(ctx context.Context, kv jetstream.KeyValue, data []byte) (uint64, error) {
		return kv.Update(ctx, r.prefix+key, data, revision)
	})
}

func (r Records[T]) write(ctx context.Context, key string, v T, do func(context.Context, jetstream.KeyValue, []byte) (uint64, error)) (uint64, error) {
	if err := r.allowed(); err != nil {
		return 0, err
	}
	data, err := encode(v)
	if err != nil {
		return 0, err
	}
	kv, err := r.b.bucket(ctx, r.bucket)
	if err != nil {
		return 0, err
	}
	ctx, cancel := r.b.bound(ctx)
	defer cancel()
	rev, err := do(ctx, kv, data)
	return rev, explain("write "+key, err)
}

// allowed says at once what the masters would refuse without an answer.
func (r Records[T]) allowed() error {
	if r.b.cfg.master() {
		return nil
	}
	return fmt.Errorf("write to %s: %w", r.bucket, ErrDenied)
}

// Delete removes a record that is still at the revision, or any for revision 0.
// No record is no error.
func (r Records[T]) Delete(ctx context.Context, key string, revision uint64) error {
	if err := r.allowed(); err != nil {
		return err
	}
	kv, err := r.b.bucket(ctx, r.bucket)
	if err != nil {
		return err
	}
	ctx, cancel := r.b.bound(ctx)
	defer cancel()
	opts := []jetstream.KVDeleteOpt{jetstream.PurgeTTL(markerAge)}
	if revision > 0 {
		opts = append(opts, jetstream.LastRevision(revision))
	}
	err = kv.Purge(ctx, r.prefix+key, opts...)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	return explain("delete "+key, err)
}

// private reports whether a key is this package's own.
func (r Records[T]) private(key string) bool {
	return strings.HasPrefix(key, fencePrefix) || r.bucket == BucketCluster && (key == originKey || key == growthKey)
}

// Change is what happened to a record.
type Change[T any] struct {
	// Key of the record. Empty when Synced.
	Key string
	// Value is its new value; nil when it is gone or Synced.
	Value *T
	// Revision of the record.
	Revision uint64
	// Synced says that everything there was has been told.
	Synced bool
}

// Watch tells all records, then Synced, then each change, until ctx ends or it
// is stopped. After an outage it compares: what was deleted meanwhile is told
// as gone, everything else once more, then Synced. Records that cannot be read
// are logged and skipped. handle is called from one goroutine.
func (r Records[T]) Watch(ctx context.Context, handle func(Change[T])) (*Watch, error) {
	return r.start(ctx, r.prefix+">", handle)
}

// WatchKey is [Records.Watch] for one record.
func (r Records[T]) WatchKey(ctx context.Context, key string, handle func(Change[T])) (*Watch, error) {
	return r.start(ctx, r.prefix+key, handle)
}

func (r Records[T]) start(ctx context.Context, keys string, handle func(Change[T])) (*Watch, error) {
	kv, err := r.b.bucket(ctx, r.bucket)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Watch{cancel: cancel}
	stop := context.AfterFunc(r.b.ctx, cancel)
	w.running.Add(1)
	if !r.b.spawn(func() {
		defer w.running.Done()
		defer stop()
		r.watch(ctx, kv, keys, handle)
	}) {
		cancel()
		return nil, ErrClosed
	}
	return w, nil
}

// Watch is a running [Records.Watch].
type Watch struct {
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Stop ends it and waits for the handler. Not to be called by the handler.
func (w *Watch) Stop() {
	w.cancel()
	w.running.Wait()
}

func (r Records[T]) watch(ctx context.Context, kv jetstream.KeyValue, keys string, handle func(Change[T])) {
	known := map[string]bool{}
	var wait backoff
	for ctx.Err() == nil {
		changed := r.b.conn.changed()
		w, err := kv.Watch(ctx, keys)
		if err != nil {
			if !pause(ctx, wait.next()) {
				return
			}
			continue
		}
		if r.follow(ctx, w, changed, known, handle) {
			wait = 0
		}
		_ = w.Stop() // it can only be stopped already
		pause(ctx, wait.next())
	}
}

// follow tells what one watcher sees until the connection changes, for which
// the watcher cannot be trusted: a bucket that was made anew counts from 1 and
// the watcher waits for a higher number. It reports whether it came as far as
// Synced.
func (r Records[T]) follow(ctx context.Context, w jetstream.KeyWatcher, changed <-chan struct{}, known map[string]bool, handle func(Change[T])) (synced bool) {
	seen := map[string]bool{}
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return synced
			case e == nil:
				for key := range known {
					if !seen[key] {
						delete(known, key)
						handle(Change[T]{Key: key})
					}
				}
				synced = true
				handle(Change[T]{Synced: true})
				continue
			case r.private(e.Key()):
				continue
			}
			r.tell(e, seen, known, handle)
		case <-changed:
			return synced
		case <-ctx.Done():
			return synced
		}
	}
}

func (r Records[T]) tell(e jetstream.KeyValueEntry, seen, known map[string]bool, handle func(Change[T])) {
	key := strings.TrimPrefix(e.Key(), r.prefix)
	if e.Operation() != jetstream.KeyValuePut {
		if known[key] {
			delete(known, key)
			handle(Change[T]{Key: key, Revision: e.Revision()})
		}
		return
	}
	v, err := decode[T](e.Value())
	if err != nil {
		r.b.note.say(slog.LevelWarn, "record "+r.bucket, "bus record not understood", "bucket", r.bucket, "key", e.Key(), "error", err)
		return
	}
	seen[key], known[key] = true, true
	handle(Change[T]{Key: key, Value: &v, Revision: e.Revision()})
}
