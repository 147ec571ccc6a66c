package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// followBeat is how often the server says that it is there while it has nothing
// to say. Without two of them a follower begins again.
const followBeat = time.Second

// followAttempt bounds the making of a follower's consumer: a stream that has
// lost its leader does not answer.
const followAttempt = 2 * time.Second

// errGap: the consumer has skipped a message.
var errGap = errors.New("a message was skipped")

// follow tells the messages of a stream, from where cfg says, in order and
// without gaps, until something fails, handle returns an error, or ctx ends. It
// never returns nil; the caller knows how far it came and begins again. begun
// is told how many messages there are now.
//
// It has a consumer of its own instead of the client's ordered one, which
// needs up to 30 s to notice that its server has died.
func (b *Bus) follow(ctx context.Context, stream string, cfg jetstream.ConsumerConfig, begun func(pending uint64), handle func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	cfg.AckPolicy, cfg.MemoryStorage, cfg.Replicas = jetstream.AckNonePolicy, true, 1
	cfg.InactiveThreshold = 10 * followBeat
	attempt, cancel := context.WithTimeout(ctx, followAttempt)
	defer cancel()
	cons, err := b.js.CreateConsumer(attempt, stream, cfg)
	if err != nil {
		return explain("follow "+stream, err)
	}
	it, err := cons.Messages(jetstream.PullHeartbeat(followBeat), jetstream.PullExpiry(10*followBeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return explain("follow "+stream, err)
	}
	defer it.Stop()
	begun(cons.CachedInfo().NumPending)
	for want := uint64(1); ; want++ {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return explain("follow "+stream, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("follow %s: %w: %w", stream, ErrMalformed, err)
		}
		if meta.Sequence.Consumer != want {
			return fmt.Errorf("follow %s: %w", stream, errGap)
		}
		if err := handle(m, meta); err != nil {
			return err
		}
	}
}
