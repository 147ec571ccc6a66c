// Package webhook delivers events to the servers of the operator, signed and
// encoded as LiveKit does it, so that LiveKit's receivers accept them.
//
// It owns the queues between a room that must not wait and a server that may
// be slow or down. For each URL it keeps the order of each room, tries again
// with growing pauses until an event is too old, and bounds what waits. An
// event arrives at least once with the same id each time. What is given up is
// counted and logged, and announced in num_dropped of the next event.
//
// It does not persist: what is queued when the process dies is lost.
//
// Start reading at [Notifier.Emit], then endpoint.go for the queues and
// deliver.go for one request.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concertina-rtc/concertina/internal/event"
)

// Config is where and how events are delivered. [DefaultConfig] has the values
// for everything but the first three.
type Config struct {
	// URLs each get every event that passes the filter.
	URLs []string
	// APIKey and APISecret sign the requests.
	APIKey, APISecret string

	// Timeout is for one request.
	Timeout time.Duration
	// MaxAge is how long after it happened an event is tried again.
	MaxAge time.Duration
	// QueueSize is how many events may wait for one URL, all rooms together.
	// Beyond it the oldest goes.
	QueueSize int
	// Concurrency is how many requests, each of another room, may be under way
	// to one URL.
	Concurrency int
	// MinBackoff and MaxBackoff bound the pause after a failed request. It
	// doubles with every failure and is jittered by up to a half.
	MinBackoff, MaxBackoff time.Duration
	// Include, when not empty, names the only kinds to send. Exclude names
	// kinds not to send.
	Include, Exclude []event.Kind
	// UserAgent is the header of that name.
	UserAgent string
}

// DefaultConfig returns a Config without URLs and key.
func DefaultConfig() Config {
	return Config{
		Timeout:     10 * time.Second,
		MaxAge:      15 * time.Minute,
		QueueSize:   10_000,
		Concurrency: 16,
		MinBackoff:  500 * time.Millisecond,
		MaxBackoff:  30 * time.Second,
		UserAgent:   "Concertina",
	}
}

// ErrNoKey is returned by [New] when there are URLs but nothing to sign with.
var ErrNoKey = errors.New("webhook: URLs need an API key and its secret")

// Notifier is an [event.Sink] that delivers to every URL of its configuration.
type Notifier struct {
	cfg       Config
	endpoints []*endpoint
	cancel    context.CancelFunc // ends requests that Close has no time for
	running   sync.WaitGroup
	closing   sync.Once
	closed    chan struct{} // closed when everything has ended
}

// New starts the delivery to cfg.URLs. Metrics are registered with reg unless
// it is nil. The caller must Close the Notifier.
func New(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Notifier, error) {
	if len(cfg.URLs) > 0 && (cfg.APIKey == "" || cfg.APISecret == "") {
		return nil, ErrNoKey
	}
	cfg.QueueSize, cfg.Concurrency = max(cfg.QueueSize, 1), max(cfg.Concurrency, 1)
	ctx, cancel := context.WithCancel(context.Background())
	n := &Notifier{cfg: cfg, cancel: cancel, closed: make(chan struct{})}
	client := &http.Client{
		Timeout: cfg.Timeout,
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			MaxIdleConnsPerHost: cfg.Concurrency,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		},
		// A redirect would turn the POST into a GET or leak the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	m := newMetrics(reg)
	for i, u := range cfg.URLs {
		s, err := newSender(cfg, u, client)
		if err != nil {
			cancel()
			return nil, fmt.Errorf("webhook: URL %d: %w", i+1, err)
		}
		n.endpoints = append(n.endpoints, newEndpoint(cfg, s, log.With("webhook", s.label), m.forURL(i, s.label)))
	}
	for _, e := range n.endpoints {
		n.running.Go(func() { e.run(ctx) })
	}
	go func() {
		n.running.Wait()
		client.CloseIdleConnections()
		cancel()
		close(n.closed)
	}()
	return n, nil
}

// Emit queues e for every URL and returns at once. After Close it drops e.
func (n *Notifier) Emit(e event.Event) {
	if !n.wants(e.Kind) {
		return
	}
	for _, ep := range n.endpoints {
		ep.enqueue(e)
	}
}

func (n *Notifier) wants(k event.Kind) bool {
	if len(n.cfg.Include) > 0 {
		return slices.Contains(n.cfg.Include, k)
	}
	return !slices.Contains(n.cfg.Exclude, k)
}

// Close takes no further events and delivers those that are queued. When ctx
// ends first it breaks off, and returns an error that says how many are left.
// Further calls wait for the same end.
func (n *Notifier) Close(ctx context.Context) error {
	n.closing.Do(func() {
		for _, ep := range n.endpoints {
			ep.finish()
		}
	})
	select {
	case <-n.closed:
	case <-ctx.Done():
		n.cancel()
		<-n.closed
	}
	left := 0
	for _, ep := range n.endpoints {
		left += ep.waiting()
	}
	if left == 0 {
		return nil
	}
	return fmt.Errorf("webhook: %d events are not delivered: %w", left, context.Cause(ctx))
}
