package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

// All returns every record by key. It may be a little old; a leader that must
// know what its predecessor wrote uses [Guarded].
func (r Records[T]) All(ctx context.Context) (map[string]T, error) {
	var out map[string]T
	begin := func() { out = map[string]T{} }
	err := r.list(ctx, r.prefix+">", begin, func(key string, data []byte, _ uint64) error {
		if r.private(key) || data == nil {
			return nil
		}
		v, err := decode[T](data)
		out[strings.TrimPrefix(key, r.prefix)] = v
		return err
	})
	return out, err
}

// list tells the last value of each key, as follow does, and ends. What it was
// told before begin is called again does not count: there was a failure.
func (r Records[T]) list(ctx context.Context, keys string, begin func(), tell func(key string, data []byte, revision uint64) error) error {
	if _, err := r.b.bucket(ctx, r.bucket); err != nil {
		return err
	}
	ctx, cancel := r.b.bound(ctx)
	defer cancel()
	var wait backoff
	for {
		begin()
		err := r.follow(ctx, keys, func(key string, data []byte, revision uint64) error {
			if err := tell(key, data, revision); err != nil {
				return &handlerError{fmt.Errorf("%s: %w", key, err)}
			}
			return nil
		}, func() error { return errAll })
		var stop *handlerError
		switch {
		case errors.Is(err, errAll):
			return nil
		case errors.As(err, &stop):
			return fmt.Errorf("list %s: %w", r.bucket, stop.err)
		case !pause(ctx, wait.next()):
			return fmt.Errorf("list %s: %w: %w", r.bucket, ErrOutage, err)
		}
	}
}

// errAll ends a list.
var errAll = errors.New("that is all")

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
