package bus

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

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
	if _, err := r.b.bucket(ctx, r.bucket); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Watch{cancel: cancel}
	stop := context.AfterFunc(r.b.ctx, cancel)
	w.running.Add(1)
	if !r.b.spawn(func() {
		defer w.running.Done()
		defer stop()
		r.watch(ctx, keys, handle)
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

// watch follows again and again. It begins again also when the connection
// has changed: a bucket that was made anew counts from 1, which a follower that
// waits for a higher number never hears of.
func (r Records[T]) watch(ctx context.Context, keys string, handle func(Change[T])) {
	known := map[string]bool{}
	var wait backoff
	for ctx.Err() == nil {
		once, cancel := context.WithCancel(ctx)
		changed := r.b.conn.changed()
		go func() { // ends with once
			select {
			case <-changed:
				cancel()
			case <-once.Done():
			}
		}()
		if r.watchOnce(once, keys, known, handle) {
			wait = 0
		}
		cancel()
		pause(ctx, wait.next())
	}
}

// watchOnce tells what one follower sees, and what is gone of the known. It
// reports whether it came as far as Synced.
func (r Records[T]) watchOnce(ctx context.Context, keys string, known map[string]bool, handle func(Change[T])) (synced bool) {
	seen := map[string]bool{}
	tell := func(key string, data []byte, revision uint64) error {
		if r.private(key) {
			return nil
		}
		key = strings.TrimPrefix(key, r.prefix)
		if data == nil {
			delete(seen, key)
			if known[key] {
				delete(known, key)
				handle(Change[T]{Key: key, Revision: revision})
			}
			return nil
		}
		v, err := decode[T](data)
		if err != nil {
			r.b.note.say(slog.LevelWarn, "record "+r.bucket, "bus record not understood", "bucket", r.bucket, "key", r.prefix+key, "error", err)
			return nil
		}
		seen[key], known[key] = true, true
		handle(Change[T]{Key: key, Value: &v, Revision: revision})
		return nil
	}
	err := r.follow(ctx, keys, tell, func() error {
		for key := range known {
			if !seen[key] {
				delete(known, key)
				handle(Change[T]{Key: key})
			}
		}
		synced = true
		handle(Change[T]{Synced: true})
		return nil
	})
	if ctx.Err() == nil {
		r.b.note.say(slog.LevelDebug, "watch "+r.bucket, "bus watch begins again", "bucket", r.bucket, "error", err)
	}
	return synced
}

// follow tells the last value of each whole key, nil if it is gone, then calls
// synced, then goes on with changes. Private keys are told too.
func (r Records[T]) follow(ctx context.Context, keys string, tell func(key string, data []byte, revision uint64) error, synced func() error) error {
	subject := "$KV." + r.bucket + "."
	pending := uint64(0)
	var early error // of synced, when there was nothing to tell
	from := jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, FilterSubject: subject + keys}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := func(n uint64) {
		if pending = n; n == 0 {
			if early = synced(); early != nil {
				cancel()
			}
		}
	}
	err := r.b.follow(ctx, "KV_"+r.bucket, from, begun, func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
		data := m.Data()
		if gone(m.Headers()) {
			data = nil
		} else if data == nil {
			data = []byte{}
		}
		if err := tell(strings.TrimPrefix(m.Subject(), subject), data, meta.Sequence.Stream); err != nil {
			return err
		}
		if pending > 0 {
			if pending--; pending == 0 {
				return synced()
			}
		}
		return nil
	})
	if early != nil {
		return early
	}
	return err
}

// gone reports whether a message is the trace of a deletion.
func gone(h nats.Header) bool {
	return h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != ""
}

// private reports whether a key is this package's own.
func (r Records[T]) private(key string) bool {
	return strings.HasPrefix(key, fencePrefix) || r.bucket == BucketCluster && (key == originKey || key == growthKey)
}
