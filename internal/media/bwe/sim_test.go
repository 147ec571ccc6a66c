package bwe_test

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// world runs events in virtual time.
type world struct {
	now    time.Duration
	seq    int
	events eventHeap
	rng    *rand.Rand
}

func newWorld(seed uint64) *world { return &world{rng: rand.New(rand.NewPCG(seed, seed))} }

type event struct {
	at  time.Duration
	seq int // of equal times the first scheduled comes first
	run func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(event)) }
func (h *eventHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

func (w *world) after(d time.Duration, run func()) {
	w.seq++
	heap.Push(&w.events, event{w.now + max(d, 0), w.seq, run})
}

// every calls run at that pace, for as long as the world runs.
func (w *world) every(d time.Duration, run func()) {
	var again func()
	again = func() {
		run()
		w.after(d, again)
	}
	w.after(d, again)
}

// run advances to that time.
func (w *world) run(until time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= until {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.run()
	}
	w.now = until
}

// clock is the world's time as a server sees it.
func (w *world) clock() time.Time { return time.Unix(1_700_000_000, 0).Add(w.now) }

// link is one direction of a network: a queue in front of a rate, then a delay.
// Its fields may change while it runs.
type link struct {
	world *world
	rate  float64       // bits per second, 0 is unlimited
	queue time.Duration // longest wait; what would wait longer is lost
	bytes int           // longest queue in bytes, 0 is unlimited
	delay time.Duration
	// jitter delays each packet by up to that much without changing their order;
	// stall is how often (mean) a radio pauses, for up to jitter times four.
	jitter, stall time.Duration
	loss, reorder float64

	freeAt    time.Duration // when the queue is empty
	lastAt    time.Duration // arrival of the packet before
	stalledTo time.Duration
	longest   time.Duration // wait since it was last asked
	dropped   int
}

func (l *link) wait() time.Duration { return max(l.freeAt-l.world.now, 0) }

// send calls arrive when the packet has crossed, lost when it will not.
func (l *link) send(size int, arrive, lost func()) {
	w := l.world
	wait := l.wait()
	if l.rate > 0 {
		if wait > l.queue || l.bytes > 0 && wait.Seconds()*l.rate/8 > float64(l.bytes) {
			l.dropped++
			lost()
			return
		}
		l.freeAt = w.now + wait + time.Duration(float64(size)*8/l.rate*float64(time.Second))
		l.longest = max(l.longest, wait)
	} else {
		l.freeAt = w.now
	}
	if l.loss > 0 && w.rng.Float64() < l.loss {
		lost()
		return
	}
	at := l.freeAt + l.delay
	if l.jitter > 0 {
		at += time.Duration(w.rng.Float64() * float64(l.jitter))
		at = max(at, l.radio())
	}
	if l.reorder > 0 && w.rng.Float64() < l.reorder {
		at += time.Duration(5+w.rng.IntN(15)) * time.Millisecond // overtaken by others
	} else {
		at = max(at, l.lastAt)
		l.lastAt = at
	}
	w.after(at-w.now, arrive)
}

// radio returns when a radio that pauses now and then sends again.
func (l *link) radio() time.Duration {
	w := l.world
	if l.stall > 0 && w.now >= l.stalledTo && w.rng.Float64() < 0.003*float64(time.Second)/float64(l.stall) {
		l.stalledTo = w.now + time.Duration(w.rng.Float64()*float64(4*l.jitter))
	}
	return l.stalledTo
}

// cross sends other traffic at a constant rate through a link.
type cross struct {
	rate float64
	gone int // generation: changes of rate end the former one
}

func (c *cross) start(w *world, l *link, rate float64) {
	c.rate = rate
	c.gone++
	generation := c.gone
	if rate == 0 {
		return
	}
	const size = 1200
	gap := time.Duration(size * 8 / rate * float64(time.Second))
	var next func()
	next = func() {
		if c.gone != generation {
			return
		}
		l.send(size, func() {}, func() {})
		w.after(time.Duration(float64(gap)*(0.5+w.rng.Float64())), next)
	}
	w.after(gap, next)
}
