package bwe

// Bounds of a group of packets that are looked at as one: what is sent together
// says nothing about queues among itself.
const (
	groupSpan     micros = 5_000     // sent within
	groupMaxBurst micros = 100_000   // longest group of packets that arrive together
	groupJump     micros = 3_000_000 // clocks that differ by more have been set
	groupsKept           = 64
)

// group is a burst of packets.
type group struct {
	sendFirst, sendLast       micros
	arrivalFirst, arrivalLast micros
	bytes                     int
}

// delay is the time the last packet was under way, plus the unknown distance of
// the two clocks.
func (g *group) delay() micros { return g.arrivalLast - g.sendLast }

// groupEvent is what a packet did to the groups.
type groupEvent uint8

const (
	groupOpen      groupEvent = iota // it belongs to the present one, or to none
	groupComplete                    // it began another: the one before is complete
	groupRestarted                   // a clock has jumped: nothing before compares
)

// grouper collects packets into groups and keeps the newest.
type grouper struct {
	open     group
	complete [groupsKept]group
	n        int // groups completed since the last restart
}

func (g *grouper) add(sent, arrival micros, size int) groupEvent {
	o := &g.open
	fresh := group{sent, sent, arrival, arrival, size}
	if o.bytes == 0 {
		*o = fresh
		return groupOpen
	}
	if sent < o.sendFirst { // late: its time has been judged
		return groupOpen
	}
	moved := (arrival - o.arrivalLast) - (sent - o.sendLast)
	if moved > groupJump || moved < -groupJump {
		*g = grouper{open: fresh}
		return groupRestarted
	}
	together := sent-o.sendFirst <= groupSpan
	caughtUp := moved < 0 && arrival-o.arrivalLast <= groupSpan && arrival-o.arrivalFirst < groupMaxBurst
	if together || caughtUp {
		o.sendLast = max(o.sendLast, sent)
		o.arrivalLast = max(o.arrivalLast, arrival)
		o.bytes += size
		return groupOpen
	}
	fresh.arrivalFirst, fresh.arrivalLast = max(arrival, o.arrivalLast), max(arrival, o.arrivalLast)
	g.complete[g.n%groupsKept] = *o
	g.n++
	*o = fresh
	return groupComplete
}

// newest returns the newest complete group and the one before it, which has no
// bytes when there is none.
func (g *grouper) newest() (last, before group) {
	if g.n > 1 {
		before = g.complete[(g.n-2)%groupsKept]
	}
	return g.complete[(g.n-1)%groupsKept], before
}

// delivered returns the rate, in bits per second, at which the newest groups
// arrived, over at least the window when there are as many; 0 when there are too
// few. While a queue grows it is what the narrowest link carries.
func (g *grouper) delivered(window micros) float64 {
	if g.n < 2 {
		return 0
	}
	last := g.complete[(g.n-1)%groupsKept]
	bytes, span := 0, micros(0)
	for i := g.n - 1; i > 0 && i > g.n-groupsKept && span < window; i-- {
		bytes += g.complete[i%groupsKept].bytes
		span = last.arrivalLast - g.complete[(i-1)%groupsKept].arrivalLast
	}
	if span <= 0 {
		return 0
	}
	return float64(bytes) * 8e6 / float64(span)
}

// Window of the meter for acknowledged bytes.
const (
	meterSlot  micros = 50_000
	meterSlots        = 10
)

// meter measures the rate of arrivals over half a second, on the viewer's clock.
type meter struct {
	slots [meterSlots]int
	slot  int64
	used  int // slots since the first arrival, at most meterSlots
}

func (m *meter) add(at micros, n int) {
	slot := at / meterSlot
	if at < 0 { // the viewer's clock may count from anywhere
		slot = (at+1)/meterSlot - 1
	}
	switch {
	case m.used == 0 || slot-m.slot >= 2*meterSlots || m.slot-slot >= 2*meterSlots:
		*m = meter{slot: slot, used: 1}
	case slot <= m.slot-meterSlots:
		return
	}
	for m.slot < slot {
		m.slot++
		m.slots[mod(m.slot)] = 0
		m.used = min(m.used+1, meterSlots)
	}
	m.slots[mod(slot)] += n
}

// rate returns bits per second, 0 while too little is known. The newest slot,
// which is not full yet, is left out.
func (m *meter) rate() float64 {
	if m.used < 4 {
		return 0
	}
	sum := 0
	for i := 1; i < m.used; i++ {
		sum += m.slots[mod(m.slot-int64(i))]
	}
	return float64(sum) * 8e6 / float64(micros(m.used-1)*meterSlot)
}

func mod(slot int64) int64 { return (slot%meterSlots + meterSlots) % meterSlots }

// baselinePeriod is half of the time over which the least delay counts as the
// delay without queues.
const baselinePeriod micros = 10_000_000

// baseline tells the queue from the delay of the path: the least delay of the
// last 10 to 20 seconds is the path's.
type baseline struct {
	lowest, before micros // of the present period and the one before
	until          micros
	known          int // periods known, 0 to 2
	current        micros
}

func (b *baseline) reset() { *b = baseline{} }

func (b *baseline) add(delay, now micros) {
	switch {
	case b.known == 0:
		b.lowest, b.known, b.until, b.current = delay, 1, now+baselinePeriod, delay
	case now >= b.until:
		b.before, b.lowest, b.known, b.until = b.lowest, delay, 2, now+baselinePeriod
	}
	b.lowest = min(b.lowest, delay)
	b.current += (delay - b.current) / 2
}

// least is the delay without queues.
func (b *baseline) least() micros {
	if b.known == 2 {
		return min(b.lowest, b.before)
	}
	return b.lowest
}

// delay is how long packets wait in queues at present.
func (b *baseline) delay() micros { return max(b.current-b.least(), 0) }
