package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// conn is the connection to the masters and what is known about it. It
// reconnects for ever.
type conn struct {
	nc   *nats.Conn
	log  *slog.Logger
	note *quiet
	done chan struct{} // closed when nc has called back for the last time

	mu          sync.Mutex
	connected   bool
	since       time.Time // of the last change
	outages     int
	lost        int // messages that were not sent in this outage
	notSentEver int
	change      chan struct{} // closed and replaced at each change
}

// Status is what is known about the connection to the masters.
type Status struct {
	// Connected is whether messages can be sent now.
	Connected bool
	// Since is when that last changed.
	Since time.Time
	// Outages counts how often the connection was lost.
	Outages int
	// NotSent counts messages that outages have swallowed.
	NotSent int
	// EventsWaiting and EventsDropped are of [Bus.Emit].
	EventsWaiting, EventsDropped int
}

// Status returns the state of the connection, and a channel that is closed
// when it changes. A master is connected to itself, which says nothing about
// the other masters: see the errors of the calls.
func (b *Bus) Status() (Status, <-chan struct{}) {
	c := b.conn
	waiting, dropped := b.outbox.counts()
	c.mu.Lock()
	defer c.mu.Unlock()
	return Status{c.connected, c.since, c.outages, c.notSentEver, waiting, dropped}, c.change
}

func (c *conn) changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.change
}

// connect makes the connection of this node's role. A master's is made when it
// returns, a media node's may take.
func (b *Bus) connect() (*conn, error) {
	c := &conn{log: b.log, note: b.note, since: time.Now(), change: make(chan struct{}), done: make(chan struct{})}
	kind := kindNode
	urls := ""
	opts := []nats.Option{nats.RetryOnFailedConnect(true)}
	if b.srv != nil {
		kind = kindMaster
		opts = []nats.Option{nats.InProcessServer(b.srv)}
	} else {
		tlsConfig, err := b.cfg.clientTLS()
		if err != nil {
			return nil, err
		}
		if tlsConfig != nil {
			opts = append(opts, nats.Secure(tlsConfig))
		}
		for i, m := range b.cfg.Masters {
			if i > 0 {
				urls += ","
			}
			urls += "nats://" + m
		}
	}
	opts = append(opts, commonOptions(kind, b.cfg.Node)...)
	opts = append(opts, credentials(kind, b.cfg.Node, b.key)...)
	opts = append(opts, c.callbacks()...)
	var err error
	if c.nc, err = nats.Connect(urls, opts...); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return c, nil
}

// commonOptions are those of every connection.
func commonOptions(kind, node string) []nats.Option {
	return []nats.Option{
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // the secret may be changed on the masters next
		nats.CustomReconnectDelay(reconnectDelay),
		// What could not be sent is old when the connection is back: no buffer.
		nats.ReconnectBufSize(-1),
		nats.Timeout(2 * time.Second),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		nats.IgnoreDiscoveredServers(),
		nats.CustomInboxPrefix(inboxOf(kind, node)),
		nats.PermissionErrOnSubscribe(true),
	}
}

func inboxOf(kind, node string) string {
	if kind == kindNode {
		return inboxPrefix(node)
	}
	return "_INBOX"
}

// reconnectDelay is the pause after all masters were tried. It grows to 2 s and
// is jittered, so that nodes do not come back all at once.
func reconnectDelay(attempts int) time.Duration {
	d := min(2*time.Second, 100*time.Millisecond<<min(attempts, 5))
	return d/2 + rand.N(d/2+1)
}

func (c *conn) callbacks() []nats.Option {
	return []nats.Option{
		nats.ConnectHandler(func(*nats.Conn) { c.up() }),
		nats.ReconnectHandler(func(*nats.Conn) { c.up() }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				c.down(err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			c.note.say(slog.LevelWarn, "connect", "bus cannot reach its masters, keeps trying", "error", err)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(c.done) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { c.failed(sub, err) }),
	}
}

func (c *conn) up() {
	c.mu.Lock()
	now := time.Now()
	first, down, lost := c.outages == 0, now.Sub(c.since), c.lost
	c.connected, c.since, c.lost = true, now, 0
	c.signal()
	c.mu.Unlock()
	if first {
		c.log.Debug("bus connected")
		return
	}
	c.log.Info("bus connection is back", "outage", down.Round(time.Millisecond), "messages_not_sent", lost)
}

func (c *conn) down(err error) {
	c.mu.Lock()
	c.connected, c.since = false, time.Now()
	c.outages++
	c.signal()
	c.mu.Unlock()
	c.log.Warn("bus connection lost; media goes on, reconnecting", "error", err)
}

// signal wakes those who wait for a change. The caller holds the lock.
func (c *conn) signal() {
	close(c.change)
	c.change = make(chan struct{})
}

// notSent counts a message that an outage has swallowed.
func (c *conn) notSent() {
	c.mu.Lock()
	c.lost++
	c.notSentEver++
	c.mu.Unlock()
}

// failed takes the errors that no call returns.
func (c *conn) failed(sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		dropped := 0
		if sub != nil {
			dropped, _ = sub.Dropped()
		}
		c.note.say(slog.LevelWarn, "slow "+subject, "bus messages dropped: their receiver is too slow", "subject", subject, "dropped", dropped)
	case errors.Is(err, nats.ErrPermissionViolation):
		c.note.say(slog.LevelError, "denied "+err.Error(), "bus refused what this role may not do", "error", err)
	default:
		c.note.say(slog.LevelWarn, "async "+err.Error(), "bus error", "error", err, "subject", subject)
	}
}

// close ends the connection and waits for its last callback.
func (c *conn) close() {
	c.nc.Close()
	<-c.done
}
