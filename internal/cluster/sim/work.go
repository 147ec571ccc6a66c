package sim

import (
	"cmp"
	"slices"
	"time"
)

// what says what an arrival is.
type what uint8

const (
	aSession what = iota // a whole room, placed at once
	aJoin                // one participant of a room
	aAgent               // an agent job
)

// arrival is a piece of work that starts.
type arrival struct {
	at       time.Duration
	lasts    time.Duration
	ramp     time.Duration // in which its load comes; 0: the model's
	what     what
	room     string
	node     string // pinned
	people   int
	cpu      float64 // CPUs
	points   float64 // percent of a node, instead of cpu
	announce bool    // its start and end are in the published log
	ticks    int     // for that log line
	again    bool    // it was cut off by a crash
}

// source is a workload as configured. open returns its arrivals in the order of
// their times.
type source interface {
	open(sc *Scenario, r *rng) stream
}

// stream yields arrivals one by one; ok is false at the end.
type stream interface {
	next() (a arrival, ok bool)
}

// listed is a stream of arrivals that are all known.
type listed struct {
	all []arrival
	i   int
}

func newListed(all []arrival) *listed {
	slices.SortStableFunc(all, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	return &listed{all: all}
}

func (l *listed) next() (arrival, bool) {
	if l.i == len(l.all) {
		return arrival{}, false
	}
	l.i++
	return l.all[l.i-1], true
}

// burst is many alike within a time: sessions of one hour, joins of one room.
type burst struct {
	what   what
	name   string
	at     time.Duration
	over   time.Duration
	count  int
	lasts  span
	ramp   time.Duration
	people [2]int
	cpu    float64 // each; for sessions with people: 0 means by the costs
	points float64
	node   string
	even   bool
	log    bool
}

func (b burst) open(sc *Scenario, r *rng) stream {
	all := make([]arrival, b.count)
	for i := range all {
		at := b.at
		switch {
		case b.over > 0 && b.even:
			at += time.Duration(float64(b.over) * float64(i) / float64(b.count))
		case b.over > 0:
			at += time.Duration(float64(b.over) * r.float())
		}
		a := arrival{
			at: at, lasts: b.lasts.draw(r), ramp: b.ramp, what: b.what, node: b.node,
			people: b.people[0], cpu: b.cpu, points: b.points, announce: b.log, room: b.name,
		}
		if n := b.people[1] - b.people[0]; n > 0 {
			a.people += r.intn(n + 1)
		}
		if b.log {
			a.ticks = int(a.lasts/sc.Tick) - 1
		}
		if b.what != aJoin && b.count > 1 {
			a.room = b.name + itoa(i+1)
		}
		if a.cpu == 0 && a.points == 0 && b.what == aSession {
			a.cpu = sc.Model.Costs.OfRoom(a.people, a.people).CPU
		}
		all[i] = a
	}
	return newListed(all)
}

// itoa avoids fmt on the path of every session.
func itoa(n int) string {
	var buf [20]byte
	i := len(buf)
	for {
		i--
		buf[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(buf[i:])
		}
	}
}

// merged is the arrivals of all sources in the order of time.
type merged struct {
	streams []stream
	heads   []arrival
	ok      []bool
	best    int
}

func openAll(sc *Scenario) *merged {
	m := &merged{}
	for i, s := range sc.work {
		m.streams = append(m.streams, s.open(sc, newRNG(sc.Seed, "work"+itoa(i))))
		a, ok := m.streams[i].next()
		m.heads, m.ok = append(m.heads, a), append(m.ok, ok)
	}
	m.find()
	return m
}

func (m *merged) find() {
	m.best = -1
	for i := range m.heads {
		if m.ok[i] && (m.best < 0 || m.heads[i].at < m.heads[m.best].at) {
			m.best = i
		}
	}
}

func (m *merged) peek() (at time.Duration, ok bool) {
	if m.best < 0 {
		return 0, false
	}
	return m.heads[m.best].at, true
}

func (m *merged) pop() arrival {
	a := m.heads[m.best]
	m.heads[m.best], m.ok[m.best] = m.streams[m.best].next()
	m.find()
	return a
}
