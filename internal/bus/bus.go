package bus

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// Bus is one node's place on the bus. Its methods and the package's functions
// that take it are safe for concurrent use. The caller must Close it.
type Bus struct {
	cfg  Config
	log  *slog.Logger
	note *quiet
	srv  *server.Server // nil on a media node
	key  ed25519.PrivateKey

	conn   *conn
	js     jetstream.JetStream
	outbox *outbox
	grown  *growth // state that this master brings along; prepare's

	mu      sync.Mutex
	buckets map[string]jetstream.KeyValue // those that were found
	closed  bool                          // no more goroutines
	ready   chan struct{}                 // closed once all buckets and streams are there

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
}

// Open takes a node onto the bus. A master's server is started; a media node
// begins to look for masters, for as long as it takes. Open does not wait for
// either to succeed: see [Bus.Ready]. Errors are about the configuration, the
// data directory or an address in use.
func Open(cfg Config, log *slog.Logger) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Bus{
		cfg: cfg, log: log.With("package", "bus"),
		buckets: map[string]jetstream.KeyValue{}, ready: make(chan struct{}),
	}
	b.note = newQuiet(b.log)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if err := b.start(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bus) start() (err error) {
	if b.cfg.master() {
		if b.grown, err = prepareGrowth(b.ctx, b.cfg, b.log); err != nil {
			return err
		}
		if b.key, err = newLocalKey(); err != nil {
			return err
		}
		if b.srv, err = startServer(b.cfg, b.key.Public().(ed25519.PublicKey), b.note); err != nil {
			return err
		}
	} else {
		b.key = nodeKey(b.cfg.JoinSecret, b.cfg.Node)
	}
	if b.conn, err = b.connect(); err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.conn.nc, jetstream.WithDefaultTimeout(b.cfg.Timeout)); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	b.outbox = newOutbox(b)
	b.spawn(func() { b.outbox.run(b.ctx) })
	if b.cfg.master() {
		if err := errors.Join(b.answerOrigin(b.grown != nil), b.buryOrphans()); err != nil {
			return err
		}
	}
	b.spawn(func() { b.prepare(b.ctx) })
	return nil
}

// Node is this node's id.
func (b *Bus) Node() string { return b.cfg.Node }

// Ready waits until records, leases and events can be used: the masters have a
// quorum and everything exists. It fails when ctx ends or the bus is closed.
func (b *Bus) Ready(ctx context.Context) error {
	select {
	case <-b.ready:
		return nil
	case <-b.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return fmt.Errorf("bus not ready: %w: %w", ErrOutage, ctx.Err())
	}
}

// Address is where media nodes reach this master, with the port that was
// taken. Empty on a media node and without [Server.Listen].
func (b *Bus) Address() string {
	if b.srv == nil || b.srv.Addr() == nil {
		return ""
	}
	return b.srv.Addr().String()
}

// closeTimeout bounds how long Close tries to deliver what waits.
const closeTimeout = 2 * time.Second

// Close delivers waiting events if it can within 2 s, ends every
// subscription, lease and watch, closes the connection, and on a master hands
// over and stops the server. Leases are not released: their holders do that.
// Close waits and can be called again.
func (b *Bus) Close() {
	b.closing.Do(func() {
		b.mu.Lock()
		b.closed = true
		b.mu.Unlock()
		if b.outbox != nil {
			ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
			if err := b.outbox.flush(ctx); err != nil {
				waiting, _ := b.outbox.counts()
				b.log.Warn("bus closes with events that were not delivered", "events", waiting)
			}
			cancel()
		}
		b.cancel()
		if b.conn != nil {
			b.conn.close()
		}
		b.running.Wait()
		if b.srv != nil {
			stopServer(b.srv)
		}
	})
}

// spawn runs f in a goroutine that Close waits for, unless Close was called.
func (b *Bus) spawn(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.running.Go(f)
	return true
}

// bound returns ctx with the configured timeout, unless it ends earlier.
func (b *Bus) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, b.cfg.Timeout)
}

// pause waits for d. It reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff doubles from 50 ms to 2 s.
type backoff time.Duration

func (d *backoff) next() time.Duration {
	*d = max(backoff(50*time.Millisecond), min(*d*2, backoff(2*time.Second)))
	return time.Duration(*d)
}

// prepare makes the buckets and streams (a master) or waits for them (a media
// node), for as long as it takes, and once more after each return of the
// connection: leases are gone when all masters stopped.
func (b *Bus) prepare(ctx context.Context) {
	once := sync.OnceFunc(func() { close(b.ready) })
	for {
		changed := b.conn.changed()
		if b.prepareOnce(ctx) {
			once()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// prepareOnce tries until it succeeds or ctx ends.
func (b *Bus) prepareOnce(ctx context.Context) bool {
	var wait backoff
	for tries := 1; ; tries++ {
		err := b.ensure(ctx)
		if err == nil {
			return true
		}
		if tries == 20 && !errors.Is(err, context.Canceled) {
			b.note.say(slog.LevelWarn, "prepare", "bus waits for its masters to agree", "error", err)
		}
		if !pause(ctx, min(wait.next(), ensureAttempt)) {
			return false
		}
	}
}

// ensure makes or finds everything once.
func (b *Bus) ensure(ctx context.Context) error {
	for _, c := range b.cfg.buckets() {
		if _, err := b.ensureBucket(ctx, c); err != nil {
			return explain("bucket "+c.Bucket, err)
		}
	}
	if b.cfg.master() {
		for _, c := range b.cfg.streams() {
			if err := b.ensureStream(ctx, c); err != nil {
				return explain("stream "+c.Name, err)
			}
		}
	}
	return b.ensureOrigin(ctx)
}

// ensureAttempt bounds each question in it: a stream whose leader is not
// elected yet does not answer at all.
const ensureAttempt = 500 * time.Millisecond

func (b *Bus) ensureBucket(ctx context.Context, c jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	attempt, cancel := context.WithTimeout(ctx, ensureAttempt)
	defer cancel()
	kv, err := b.js.KeyValue(attempt, c.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) && b.founder() {
		bounded, cancel := b.bound(ctx)
		defer cancel()
		kv, err = b.js.CreateOrUpdateKeyValue(bounded, c)
	}
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.buckets[c.Bucket] = kv
	b.mu.Unlock()
	return kv, nil
}

func (b *Bus) ensureStream(ctx context.Context, c jetstream.StreamConfig) error {
	attempt, cancel := context.WithTimeout(ctx, ensureAttempt)
	defer cancel()
	_, err := b.js.Stream(attempt, c.Name)
	if b.founder() && (err == nil || errors.Is(err, jetstream.ErrStreamNotFound)) {
		bounded, cancel := b.bound(ctx)
		defer cancel()
		_, err = b.js.CreateOrUpdateStream(bounded, c) // limits may have been changed
	}
	return err
}

// founder reports whether this master makes what is missing; one does.
func (b *Bus) founder() bool {
	return b.srv != nil && (b.cfg.Server.Masters == 1 || b.srv.JetStreamIsLeader())
}

// bucket returns a bucket that was found before; the handle works on through
// outages.
func (b *Bus) bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	b.mu.Lock()
	kv := b.buckets[name]
	b.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	for _, c := range b.cfg.buckets() {
		if c.Bucket == name {
			kv, err := b.ensureBucket(ctx, c)
			return kv, explain("bucket "+name, err)
		}
	}
	return nil, fmt.Errorf("bucket %q: %w", name, ErrNotFound)
}
