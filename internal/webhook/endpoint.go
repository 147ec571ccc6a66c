package webhook

import (
	"container/heap"
	"container/list"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/concertina-rtc/concertina/internal/event"
)

// dropLogInterval keeps an overflowing queue from flooding the log.
const dropLogInterval = time.Second

// endpoint is the delivery to one URL. Its loop starts requests; each request
// is of another room, so rooms keep their order and do not wait for each other.
type endpoint struct {
	cfg     Config
	sender  *sender
	log     *slog.Logger
	metrics urlMetrics
	wake    chan struct{} // capacity 1: something below changed

	mu        sync.Mutex
	rooms     map[string]*roomQueue // rooms with events
	ready     []*roomQueue          // may start a request now
	paused    pauseHeap             // may start one later
	queued    *list.List            // *item not under way, oldest first
	inFlight  int
	seq       uint64
	dropped   int32 // since the last event that announced it
	unlogged  int   // drops since lastLog
	lastLog   time.Time
	finishing bool
}

// roomQueue is the events of one room, oldest first. It is in exactly one of:
// the ready list, the pause heap, a request.
type roomQueue struct {
	name     string
	items    []*item
	busy     bool // a request for items[0] is under way
	failures int  // in a row
	until    time.Time
}

// item is one event on its way.
type item struct {
	event      event.Event
	room       *roomQueue
	seq        uint64
	elem       *list.Element // in queued; nil while under way
	numDropped int32
	body       []byte // encoded at the first attempt, then fixed
}

func newEndpoint(cfg Config, s *sender, log *slog.Logger, m urlMetrics) *endpoint {
	return &endpoint{
		cfg: cfg, sender: s, log: log, metrics: m,
		wake: make(chan struct{}, 1), rooms: map[string]*roomQueue{}, queued: list.New(),
	}
}

func (e *endpoint) notify() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// enqueue appends ev to its room and drops the oldest event if there are too
// many.
func (e *endpoint) enqueue(ev event.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.finishing {
		e.metrics.dropped("closed")
		return
	}
	name := ev.Room.GetName()
	q := e.rooms[name]
	if q == nil {
		q = &roomQueue{name: name}
		e.rooms[name] = q
		e.ready = append(e.ready, q)
	}
	e.seq++
	it := &item{event: ev, room: q, seq: e.seq}
	it.elem = e.queued.PushBack(it)
	q.items = append(q.items, it)
	if e.queued.Len()+e.inFlight > e.cfg.QueueSize {
		if oldest := e.queued.Front(); oldest != nil {
			e.drop(oldest.Value.(*item), "overflow", nil)
		}
	}
	e.metrics.queue(e.queued.Len() + e.inFlight)
	e.notify()
}

// drop gives up an event that is not under way. Needs mu.
func (e *endpoint) drop(it *item, reason string, cause error) {
	q := it.room
	for i, other := range q.items {
		if other == it {
			q.items = append(q.items[:i], q.items[i+1:]...)
			break
		}
	}
	if it.elem != nil {
		e.queued.Remove(it.elem)
		it.elem = nil
	}
	e.dropped += 1 + it.numDropped
	e.metrics.dropped(reason)
	e.unlogged++
	if now := time.Now(); now.Sub(e.lastLog) >= dropLogInterval {
		e.log.Warn("webhook events dropped", "count", e.unlogged, "reason", reason, "error", cause,
			"event", it.event.Kind, "id", it.event.ID, "room", q.name)
		e.unlogged, e.lastLog = 0, now
	}
}

// finish makes run return when nothing is queued.
func (e *endpoint) finish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.finishing = true
	e.notify()
}

// waiting returns how many events are not delivered.
func (e *endpoint) waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.queued.Len() + e.inFlight
}

// run starts requests until ctx ends or everything is delivered after finish.
// It returns when the last request has.
func (e *endpoint) run(ctx context.Context) {
	var requests sync.WaitGroup
	defer requests.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		started, next, done := e.pick(time.Now())
		for _, it := range started {
			requests.Go(func() { e.settle(ctx, it, e.sender.send(ctx, it), time.Now()) })
		}
		if done {
			return
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-e.wake:
		}
	}
}

// pick returns the events to send now, when to look again (zero: when woken),
// and whether all is done.
func (e *endpoint) pick(now time.Time) (start []*item, next time.Time, done bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.paused) > 0 && !e.paused[0].until.After(now) {
		e.ready = append(e.ready, heap.Pop(&e.paused).(*roomQueue))
	}
	for len(e.ready) > 0 && e.inFlight < e.cfg.Concurrency {
		q := e.ready[0]
		e.ready[0] = nil
		e.ready = e.ready[1:]
		if len(q.items) == 0 {
			delete(e.rooms, q.name)
			continue
		}
		it := q.items[0]
		e.queued.Remove(it.elem)
		it.elem = nil
		if it.body == nil {
			it.numDropped, e.dropped = e.dropped, 0
		}
		q.busy = true
		e.inFlight++
		start = append(start, it)
	}
	if len(e.paused) > 0 {
		next = e.paused[0].until
	}
	return start, next, e.finishing && e.inFlight == 0 && e.queued.Len() == 0
}

// settle records the outcome of a request.
func (e *endpoint) settle(ctx context.Context, it *item, res result, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.notify()
	q := it.room
	q.busy = false
	e.inFlight--
	age := now.Sub(it.event.Time)
	switch {
	case res.err == nil:
		q.items = q.items[1:]
		q.failures = 0
		e.metrics.delivered(age)
		e.ready = append(e.ready, q)
	case ctx.Err() != nil: // broken off by Close: it counts as not delivered
		e.requeue(it)
	case !res.retry:
		e.metrics.failed()
		e.drop(it, "rejected", res.err)
		e.ready = append(e.ready, q)
	case age >= e.cfg.MaxAge:
		e.metrics.failed()
		e.drop(it, "expired", res.err)
		e.ready = append(e.ready, q)
	default:
		e.metrics.failed()
		q.failures++
		pause := max(backoff(e.cfg.MinBackoff, e.cfg.MaxBackoff, q.failures, rand.Float64()), min(res.retryAfter, e.cfg.MaxBackoff))
		q.until = now.Add(pause)
		e.requeue(it)
		heap.Push(&e.paused, q)
		if q.failures == 1 {
			e.log.Warn("webhook failed, trying again", "event", it.event.Kind, "id", it.event.ID, "room", q.name, "error", res.err, "pause", pause)
		}
	}
	e.metrics.queue(e.queued.Len() + e.inFlight)
}

// requeue puts a failed event back among those that may be dropped, in order
// of age: it is among the oldest.
func (e *endpoint) requeue(it *item) {
	at := e.queued.Front()
	for at != nil && at.Value.(*item).seq < it.seq {
		at = at.Next()
	}
	if at == nil {
		it.elem = e.queued.PushBack(it)
		return
	}
	it.elem = e.queued.InsertBefore(it, at)
}

// backoff returns the pause after so many failures in a row (from 1): lo, then
// twice as long each time up to hi, of which jitter (0 to 1) takes off up to a
// half, so that rooms that failed together do not come back together.
func backoff(lo, hi time.Duration, failures int, jitter float64) time.Duration {
	d := lo
	for i := 1; i < failures && d < hi; i++ {
		d *= 2
	}
	d = min(d, hi)
	return d - time.Duration(jitter*float64(d)/2)
}

// pauseHeap orders rooms by when they may try again.
type pauseHeap []*roomQueue

func (h pauseHeap) Len() int           { return len(h) }
func (h pauseHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h pauseHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *pauseHeap) Push(x any) { *h = append(*h, x.(*roomQueue)) }

// Pop implements heap.Interface.
func (h *pauseHeap) Pop() any {
	old := *h
	q := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return q
}
