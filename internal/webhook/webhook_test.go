package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	lkwebhook "github.com/livekit/protocol/webhook"

	"github.com/concertina-rtc/concertina/internal/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testKey    = "devkey"
	testSecret = "secret"
	deadline   = 10 * time.Second
)

// receiver is a real HTTP server that checks every request with LiveKit's own
// receiver before the behaviour of the test answers it.
type receiver struct {
	*httptest.Server
	t      *testing.T
	answer func(n int, ev *livekit.WebhookEvent) int // status of the n-th request, from 1

	mu       sync.Mutex
	requests int
	accepted []*livekit.WebhookEvent
	seen     map[string]int // requests by event id
}

func newReceiver(t *testing.T, answer func(n int, ev *livekit.WebhookEvent) int) *receiver {
	t.Helper()
	r := &receiver{t: t, answer: answer, seen: map[string]int{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Server.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if got := req.Header.Get("Content-Type"); got != "application/webhook+json" {
		r.t.Errorf("content type is %q", got)
	}
	if strings.HasPrefix(req.Header.Get("Authorization"), "Bearer") {
		r.t.Error("the token must stand alone")
	}
	ev, err := lkwebhook.ReceiveWebhookEvent(req, auth.NewSimpleKeyProvider(testKey, testSecret))
	if err != nil {
		r.t.Errorf("LiveKit's receiver refuses the request: %v", err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	r.mu.Lock()
	r.requests++
	n := r.requests
	r.seen[ev.Id]++
	r.mu.Unlock()
	status := http.StatusOK
	if r.answer != nil {
		status = r.answer(n, ev)
	}
	if status < 300 {
		r.mu.Lock()
		r.accepted = append(r.accepted, ev)
		r.mu.Unlock()
	}
	w.WriteHeader(status)
}

// order returns what was accepted, as "room:participant".
func (r *receiver) order() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, ev := range r.accepted {
		out = append(out, ev.Room.Name+":"+ev.Participant.GetIdentity())
	}
	return out
}

func (r *receiver) byRoom(room string) (out []string) {
	for _, s := range r.order() {
		if strings.HasPrefix(s, room+":") {
			out = append(out, strings.TrimPrefix(s, room+":"))
		}
	}
	return out
}

func testConfig(urls ...string) Config {
	c := DefaultConfig()
	c.URLs, c.APIKey, c.APISecret = urls, testKey, testSecret
	c.MinBackoff, c.MaxBackoff = time.Millisecond, 10*time.Millisecond
	return c
}

func start(t *testing.T, cfg Config) (*Notifier, *prometheus.Registry, *bytes.Buffer) {
	t.Helper()
	reg, log := prometheus.NewRegistry(), &bytes.Buffer{}
	n, err := New(cfg, slog.New(slog.NewTextHandler(&lockedWriter{w: log}, nil)), reg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = n.Close(ctx)
		if strings.Contains(log.String(), testSecret) || strings.Contains(log.String(), "hush") {
			t.Errorf("the log shows a secret:\n%s", log)
		}
	})
	return n, reg, log
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func closeNow(t *testing.T, n *Notifier) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func joined(room string, i int) event.Event {
	return event.New(event.ParticipantJoined, time.Now(), &livekit.Room{Name: room}, &livekit.ParticipantInfo{Identity: fmt.Sprint(i)}, nil)
}

func numbers(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// eventually waits for a condition with a deadline.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestDeliversInOrderOfEachRoom(t *testing.T) {
	r := newReceiver(t, nil)
	n, reg, _ := start(t, testConfig(r.URL))
	const rooms, each = 20, 25
	for i := range each {
		for room := range rooms {
			n.Emit(joined(fmt.Sprint("room", room), i))
		}
	}
	closeNow(t, n)
	for room := range rooms {
		if diff := cmp.Diff(numbers(each), r.byRoom(fmt.Sprint("room", room))); diff != "" {
			t.Errorf("room %d (-want +got):\n%s", room, diff)
		}
	}
	if got := metric(t, reg, "concertina_webhook_delivered_total"); got != rooms*each {
		t.Errorf("delivered metric is %v", got)
	}
	if got := metric(t, reg, "concertina_webhook_queued"); got != 0 {
		t.Errorf("queued metric is %v", got)
	}
}

func metric(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// Every request fails a few times first: order and ids hold, nothing is lost.
func TestRetriesKeepOrderAndIDs(t *testing.T) {
	fails := func(n int, _ *livekit.WebhookEvent) int {
		if n%3 != 0 {
			return []int{500, 503, 429, 408}[n%4]
		}
		return 204
	}
	r := newReceiver(t, fails)
	n, reg, log := start(t, testConfig(r.URL))
	var ids []string
	for i := range 10 {
		for _, room := range []string{"a", "b"} {
			ev := joined(room, i)
			ids = append(ids, ev.ID)
			n.Emit(ev)
		}
	}
	closeNow(t, n)
	for _, room := range []string{"a", "b"} {
		if diff := cmp.Diff(numbers(10), r.byRoom(room)); diff != "" {
			t.Errorf("room %s:\n%s", room, diff)
		}
	}
	if len(r.seen) != len(ids) {
		t.Errorf("%d ids seen, %d sent", len(r.seen), len(ids))
	}
	for _, id := range ids {
		if r.seen[id] == 0 {
			t.Errorf("%s never arrived under its id", id)
		}
	}
	if failed := metric(t, reg, "concertina_webhook_failed_total"); failed != float64(r.requests-len(ids)) || failed == 0 {
		t.Errorf("failed metric is %v of %d requests", failed, r.requests)
	}
	if !strings.Contains(log.String(), "trying again") {
		t.Error("the first failure is not logged")
	}
}

// A server that is down when events happen gets them when it is back.
func TestServerComesBack(t *testing.T) {
	r := newReceiver(t, nil)
	addr := r.Listener.Addr().String()
	r.Server.Close()
	n, reg, _ := start(t, testConfig("http://"+addr))
	for i := range 5 {
		n.Emit(joined("a", i))
	}
	eventually(t, "a failure", func() bool { return metric(t, reg, "concertina_webhook_failed_total") > 2 })

	back := newReceiverAt(t, addr)
	closeNow(t, n)
	if diff := cmp.Diff(numbers(5), back.byRoom("a")); diff != "" {
		t.Errorf("after the outage:\n%s", diff)
	}
}

func newReceiverAt(t *testing.T, addr string) *receiver {
	t.Helper()
	r := &receiver{t: t, seen: map[string]int{}}
	r.Server = httptest.NewUnstartedServer(r)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Server.Listener.Close()
	r.Server.Listener = l
	r.Server.Start()
	t.Cleanup(r.Server.Close)
	return r
}

// One URL hangs, one refuses: the third gets everything at once, and Emit
// never waits.
func TestURLsAreIndependent(t *testing.T) {
	release := make(chan struct{})
	hang := newReceiver(t, func(int, *livekit.WebhookEvent) int { <-release; return 200 })
	defer close(release)
	broken := newReceiver(t, func(int, *livekit.WebhookEvent) int { return 500 })
	good := newReceiver(t, nil)
	n, _, _ := start(t, testConfig(hang.URL, broken.URL, good.URL))
	begin := time.Now()
	for i := range 100 {
		n.Emit(joined("a", i))
	}
	if d := time.Since(begin); d > time.Second {
		t.Errorf("100 events took %v to emit", d)
	}
	eventually(t, "the good URL has all", func() bool { return len(good.order()) == 100 })
	if len(broken.order()) != 0 || len(hang.order()) != 0 {
		t.Error("the others should have none")
	}
}

// While one room's event fails, other rooms of the same URL go on, even with
// more failing rooms than requests allowed at a time.
func TestRoomsAreIndependent(t *testing.T) {
	r := newReceiver(t, func(_ int, ev *livekit.WebhookEvent) int {
		if strings.HasPrefix(ev.Room.Name, "bad") {
			return 500
		}
		return 200
	})
	cfg := testConfig(r.URL)
	cfg.Concurrency = 2
	n, _, _ := start(t, cfg)
	for i := range 8 {
		n.Emit(joined(fmt.Sprint("bad", i), 0))
	}
	for i := range 20 {
		n.Emit(joined("good", i))
	}
	eventually(t, "the good room has all", func() bool { return len(r.byRoom("good")) == 20 })
	if diff := cmp.Diff(numbers(20), r.byRoom("good")); diff != "" {
		t.Error(diff)
	}
}

func TestTimeoutIsAFailure(t *testing.T) {
	r := newReceiver(t, func(n int, _ *livekit.WebhookEvent) int {
		if n == 1 {
			time.Sleep(150 * time.Millisecond) // longer than the timeout below
		}
		return 200
	})
	cfg := testConfig(r.URL)
	cfg.Timeout = 50 * time.Millisecond
	n, _, _ := start(t, cfg)
	ev := joined("a", 0)
	n.Emit(ev)
	closeNow(t, n)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[ev.ID] < 2 {
		t.Errorf("the event came %d times, want a second attempt", r.seen[ev.ID])
	}
}

// What would fail again is given up at once, counted, and announced.
func TestRejectedIsDroppedAndAnnounced(t *testing.T) {
	for _, status := range []int{400, 401, 404, 301, 307} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r := newReceiver(t, func(n int, _ *livekit.WebhookEvent) int {
				if n <= 2 {
					return status
				}
				return 200
			})
			n, reg, log := start(t, testConfig(r.URL+"/hook?token=hush"))
			for i := range 4 {
				n.Emit(joined("a", i))
			}
			closeNow(t, n)
			if diff := cmp.Diff([]string{"2", "3"}, r.byRoom("a")); diff != "" {
				t.Errorf("accepted:\n%s", diff)
			}
			if got := metric(t, reg, "concertina_webhook_dropped_total"); got != 2 {
				t.Errorf("dropped metric is %v", got)
			}
			if sum := r.accepted[0].NumDropped + r.accepted[1].NumDropped; sum != 2 {
				t.Errorf("num_dropped adds up to %d", sum)
			}
			if !strings.Contains(log.String(), "reason=rejected") || !strings.Contains(log.String(), r.URL+"/hook") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	r := newReceiver(t, func(int, *livekit.WebhookEvent) int { return 500 })
	cfg := testConfig(r.URL)
	cfg.MaxAge = 20 * time.Millisecond
	n, reg, log := start(t, cfg)
	n.Emit(joined("a", 0))
	closeNow(t, n)
	if got := metric(t, reg, "concertina_webhook_dropped_total"); got != 1 || !strings.Contains(log.String(), "reason=expired") {
		t.Errorf("dropped metric is %v, log:\n%s", got, log)
	}
	if r.requests < 2 {
		t.Errorf("%d attempts before giving up", r.requests)
	}
}

// The queue keeps the newest events, and the order of what it keeps.
func TestOverflowDropsTheOldest(t *testing.T) {
	release := make(chan struct{})
	r := newReceiver(t, func(int, *livekit.WebhookEvent) int { <-release; return 200 })
	cfg := testConfig(r.URL)
	cfg.QueueSize = 5
	n, reg, log := start(t, cfg)
	n.Emit(joined("a", 0))
	eventually(t, "the first request", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.requests == 1 })
	for i := 1; i < 20; i++ {
		n.Emit(joined("a", i))
	}
	close(release)
	closeNow(t, n)
	if diff := cmp.Diff([]string{"0", "16", "17", "18", "19"}, r.byRoom("a")); diff != "" {
		t.Errorf("kept:\n%s", diff)
	}
	if got := metric(t, reg, "concertina_webhook_dropped_total"); got != 15 {
		t.Errorf("dropped metric is %v", got)
	}
	if r.accepted[1].NumDropped != 15 {
		t.Errorf("num_dropped is %d", r.accepted[1].NumDropped)
	}
	if !strings.Contains(log.String(), "reason=overflow") {
		t.Errorf("log:\n%s", log)
	}
}

func TestCloseBreaksOffInTime(t *testing.T) {
	r := newReceiver(t, func(int, *livekit.WebhookEvent) int { return 500 })
	n, reg, _ := start(t, testConfig(r.URL))
	for i := range 3 {
		n.Emit(joined("a", i))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	err := n.Close(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "3 events") {
		t.Errorf("error is %v", err)
	}
	n.Emit(joined("a", 9))
	if got := metric(t, reg, "concertina_webhook_dropped_total"); got != 1 {
		t.Errorf("an event after Close: dropped metric is %v", got)
	}
	if again := n.Close(context.Background()); again == nil {
		t.Error("a second Close must say the same")
	}
}

func TestFilter(t *testing.T) {
	for _, tc := range []struct {
		include, exclude, want []event.Kind
	}{
		{nil, nil, []event.Kind{event.RoomStarted, event.TrackPublished}},
		{[]event.Kind{event.RoomStarted}, nil, []event.Kind{event.RoomStarted}},
		{nil, []event.Kind{event.RoomStarted}, []event.Kind{event.TrackPublished}},
		{[]event.Kind{event.RoomStarted}, []event.Kind{event.RoomStarted}, []event.Kind{event.RoomStarted}},
	} {
		r := newReceiver(t, nil)
		cfg := testConfig(r.URL)
		cfg.Include, cfg.Exclude = tc.include, tc.exclude
		n, _, _ := start(t, cfg)
		for _, k := range []event.Kind{event.RoomStarted, event.TrackPublished} {
			n.Emit(event.New(k, time.Now(), &livekit.Room{Name: "a"}, nil, nil))
		}
		closeNow(t, n)
		var got []event.Kind
		for _, ev := range r.accepted {
			got = append(got, event.Kind(ev.Event))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("include %v exclude %v:\n%s", tc.include, tc.exclude, diff)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	cfg := testConfig("http://x")
	cfg.APIKey = ""
	if _, err := New(cfg, log, nil); !errors.Is(err, ErrNoKey) {
		t.Errorf("no key: %v", err)
	}
	for _, u := range []string{"ftp://x", "x", "http://", "http://u:hush@x:bad/"} {
		if _, err := New(testConfig("http://127.0.0.1:1", u), log, nil); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", u, err)
		}
	}
	n, err := New(Config{}, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	n.Emit(joined("a", 0)) // no URL: nothing to do
	closeNow(t, n)
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: 100, 2: 200, 3: 400, 4: 800, 5: 1000, 100: 1000} {
		if got := backoff(100, 1000, failures, 0); got != want {
			t.Errorf("after %d failures: %d, want %d", failures, got, want)
		}
		if got := backoff(100, 1000, failures, 1); got != want/2 {
			t.Errorf("after %d failures with full jitter: %d, want %d", failures, got, want/2)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{"": 0, "3": 3 * time.Second, "-1": 0, "x": 0, "999999": 0} {
		if got := retryAfter(http.Header{"Retry-After": {value}}); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

func TestMetricsLint(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg).forURL(0, "http://x/")
	m.delivered(time.Second)
	m.dropped("overflow")
	m.failed()
	m.queue(1)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
