package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fence counts the holders of a lease in the bucket that the lease guards. A
// guarded write is conditional on the count still being the writer's, which
// the store checks in the same step. So a holder that was stopped for a minute
// and does not know it yet cannot write over its successor.
//
// Raising the fence: read it, take the lease, count up on the condition that
// nobody has since. Of two that both got the lease (the first one's expired
// before it counted), at most one succeeds, and the later holder's count is
// always the higher.
type fence struct {
	bucket string // empty: no fence
	key    string
	at     count

	writing sync.Mutex // the store refuses two conditional writes at a time
}

// count is how often a fence was raised.
type count struct {
	epoch    uint64 // grows for ever, through export and import
	sequence uint64 // where it is in the bucket
}

// fenceRecord is what the fence's key holds.
type fenceRecord struct {
	Epoch uint64 `json:"epoch"`
	Node  string `json:"node"`
}

// read returns the count and its place. Zero: never raised.
func (f *fence) read(ctx context.Context, b *Bus) (count, error) {
	if f.bucket == "" {
		return count{}, nil
	}
	if !b.cfg.master() {
		return count{}, fmt.Errorf("fence in %s: %w", f.bucket, ErrDenied)
	}
	r, sequence, err := NewRecords[fenceRecord](b, f.bucket, "").Get(ctx, f.key)
	if errors.Is(err, ErrNotFound) {
		return count{}, nil
	}
	return count{epoch: r.Epoch, sequence: sequence}, err
}

// raise counts up from last. ErrConflict: somebody else did.
func (f *fence) raise(ctx context.Context, b *Bus, last count, node string) error {
	if f.bucket == "" {
		return nil
	}
	value, err := encode(fenceRecord{last.epoch + 1, node})
	if err != nil {
		return err
	}
	ctx, cancel := b.bound(ctx)
	defer cancel()
	ack, err := b.js.Publish(ctx, "$KV."+f.bucket+"."+f.key, value, jetstream.WithExpectLastSequencePerSubject(last.sequence))
	if err != nil {
		return explain("fence", err)
	}
	f.at = count{last.epoch + 1, ack.Sequence}
	return nil
}

// Put writes a record of the bucket that the lease guards, on the condition
// that nobody else has had the lease since. [ErrLost]: somebody has, or the
// lease has ended; nothing was written.
func Put[T any](ctx context.Context, l *Lease, key string, v T) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	return l.guarded(ctx, key, func(ctx context.Context, subject string, condition jetstream.PublishOpt) error {
		_, err := l.b.js.Publish(ctx, subject, data, condition)
		return err
	})
}

// Delete removes a record under the same condition as [Put]. No record is no
// error.
func Delete(ctx context.Context, l *Lease, key string) error {
	return l.guarded(ctx, key, func(ctx context.Context, subject string, condition jetstream.PublishOpt) error {
		m := nats.NewMsg(subject)
		m.Header.Set("KV-Operation", "PURGE")
		m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
		_, err := l.b.js.PublishMsg(ctx, m, condition, jetstream.WithMsgTTL(markerAge))
		return err
	})
}

// Guarded returns every record, by key without the prefix, of the bucket that
// the lease guards, with everything that former holders have written. (Other
// reads may come from a master that has not heard of the latest yet.)
func Guarded[T any](ctx context.Context, l *Lease, prefix string) (map[string]T, error) {
	f := &l.fence
	if f.bucket == "" {
		return nil, fmt.Errorf("read: the lease %s has no fence", l.key)
	}
	r := NewRecords[T](l.b, f.bucket, "")
	ctx, cancel := l.b.bound(ctx)
	defer cancel()
	for {
		var out map[string]T
		raised := false
		begin := func() { out, raised = map[string]T{}, false }
		err := r.list(ctx, ">", begin, func(key string, data []byte, revision uint64) error {
			raised = raised || key == f.key && revision >= f.at.sequence
			if r.private(key) || data == nil || !strings.HasPrefix(key, prefix) {
				return nil
			}
			v, err := decode[T](data)
			out[strings.TrimPrefix(key, prefix)] = v
			return err
		})
		if err != nil || raised {
			return out, err
		}
		if !pause(ctx, 20*time.Millisecond) {
			return nil, explain("list "+f.bucket, ctx.Err())
		}
	}
}

func (l *Lease) guarded(ctx context.Context, key string, write func(context.Context, string, jetstream.PublishOpt) error) error {
	f := &l.fence
	if f.bucket == "" {
		return fmt.Errorf("write %s: the lease %s has no fence", key, l.key)
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	ctx, cancel := l.b.bound(ctx)
	defer cancel()
	var err error
	for range 3 {
		if !l.Valid() {
			return fmt.Errorf("write %s: %w", key, ErrLost)
		}
		err = write(ctx, "$KV."+f.bucket+"."+key, jetstream.WithExpectLastSequenceForSubject(f.at.sequence, "$KV."+f.bucket+"."+f.key))
		if !wrongSequence(err) {
			return explain("write "+key, err)
		}
		// Refused also while our own last write is not settled on all
		// masters: see whether the count is still ours.
		last, readErr := f.read(ctx, l.b)
		switch {
		case readErr != nil:
			return fmt.Errorf("write %s: %w", key, readErr)
		case last.epoch > f.at.epoch:
			return fmt.Errorf("write %s: %w: there is a newer holder", key, ErrLost)
		}
		if !pause(ctx, 20*time.Millisecond) {
			break
		}
	}
	return fmt.Errorf("write %s: %w: %w", key, ErrLost, err)
}
