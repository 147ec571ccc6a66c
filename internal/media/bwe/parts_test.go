package bwe

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestHistoryProperty compares the history with a map, over wrap-around, skipped
// and late numbers.
func TestHistoryProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h history
		model := map[int64]int{}
		seq := int64(rapid.Uint16().Draw(t, "first"))
		highest, now := seq, micros(60_000_000)
		for i := range rapid.IntRange(1, 200).Draw(t, "packets") {
			size := 1 + i%1400
			h.add(uint16(seq), now, size, 0)
			if seq > highest-historySize {
				model[seq] = size
			}
			highest = max(highest, seq)
			now += 1000
			seq = highest + rapid.SampledFrom([]int64{1, 1, 1, 1, 2, 7, 100, 3000, 5000, -3, 0}).Draw(t, "step")
		}
		for s := highest - historySize - 10; s <= highest+10; s++ {
			p := h.get(s)
			size, want := model[s]
			want = want && s > highest-historySize
			if (p != nil) != want || p != nil && int(p.size) != size {
				t.Fatalf("packet %d: %v, want %v of %d", s, p, want, size)
			}
		}
		if at, ok := h.place(uint16(highest)); !ok || at != highest {
			t.Fatalf("place of the newest is %d, want %d", at, highest)
		}
	})
}

func TestHistoryKeepsTime(t *testing.T) {
	var h history
	at := micros(1)<<32 - 500 // the low bits wrap
	h.add(1, at, 100, 0)
	for _, later := range []micros{0, 499, 500, 60_000_000, 1_800_000_000} {
		if got := h.get(1).sentAt(at + later); got != at {
			t.Errorf("%d µs later: %d, want %d", later, got, at)
		}
	}
}

func TestGroups(t *testing.T) {
	type packet struct {
		sent, arrival micros // ms
		want          groupEvent
	}
	for _, tc := range []struct {
		name    string
		packets []packet
	}{
		{"sent together", []packet{{0, 50, groupOpen}, {2, 52, groupOpen}, {5, 70, groupOpen}}},
		{"one after the other", []packet{{0, 50, groupOpen}, {20, 70, groupComplete}, {40, 90, groupComplete}}},
		{"held up, then at once", []packet{{0, 50, groupOpen}, {20, 51, groupOpen}, {40, 52, groupOpen}}},
		{"late", []packet{{20, 70, groupOpen}, {0, 90, groupOpen}, {40, 91, groupComplete}}},
		{"the clock is set", []packet{{0, 50, groupOpen}, {20, 70, groupComplete}, {40, 9000, groupRestarted}, {60, 9020, groupComplete}}},
		{"the clock is set back", []packet{{0, 9000, groupOpen}, {20, 70, groupRestarted}}},
	} {
		var g grouper
		for i, p := range tc.packets {
			if got := g.add(1_000_000+p.sent*1000, p.arrival*1000, 1000); got != p.want {
				t.Errorf("%s: packet %d: %d, want %d", tc.name, i, got, p.want)
			}
		}
	}
}

func TestDelivered(t *testing.T) {
	var g grouper
	if g.delivered(150_000) != 0 {
		t.Error("a rate of nothing")
	}
	// Fast, then 1000 bytes each 16 ms: 500 kbit/s.
	at := micros(0)
	for i := range micros(40) {
		if i > 20 {
			at += 16_000
		} else {
			at += 8_000
		}
		g.add(i*8_000, at, 1000)
	}
	if got := g.delivered(150_000); got < 499_000 || got > 501_000 {
		t.Errorf("%.0f bit/s of the newest, want 500000", got)
	}
	if got := g.delivered(1_000_000); got < 600_000 {
		t.Errorf("%.0f bit/s of all", got)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	for i := range micros(100) { // 100 bytes each 10 ms: 80 kbit/s
		m.add(-300_000+i*10_000, 100)
		if r := m.rate(); i > 40 && (r < 76_000 || r > 84_000) {
			t.Fatalf("at packet %d: %.0f", i, r)
		}
	}
	m.add(0, 1_000_000) // long past
	if r := m.rate(); r > 84_000 {
		t.Errorf("%.0f after something long past", r)
	}
	m.add(3_000_000, 100)
	if m.rate() != 0 {
		t.Error("a rate right after a pause")
	}
	m.add(-9_000_000, 100)
	if m.rate() != 0 || m.used != 1 {
		t.Error("a clock that is set back is not followed")
	}
}

func TestBaseline(t *testing.T) {
	var b baseline
	if b.delay() != 0 {
		t.Error("a queue before anything was seen")
	}
	now := micros(60_000_000)
	feed := func(delay, seconds micros) {
		for range seconds * 10 {
			now += 100_000
			b.add(delay, now)
		}
	}
	feed(-40_000, 5) // clocks differ
	feed(160_000, 5)
	if d := b.delay(); d < 199_000 || d > 200_000 {
		t.Errorf("queue of %d µs, want 200000", d)
	}
	feed(160_000, 21) // it stays: the path has become longer
	if d := b.delay(); d > 1000 {
		t.Errorf("after 20 s still a queue of %d µs", d)
	}
}

// path feeds a trend with groups sent each 20 ms whose queueing delay, in ms, is
// given, and returns after how many of them overuse was seen, -1 for never.
func path(tr *trend, n int, delay func(i int) float64) int {
	before := group{}
	first := -1
	for i := range n {
		sent := micros(i) * 20_000
		g := group{sendFirst: sent, sendLast: sent, arrivalLast: sent + micros(delay(i)*1000), bytes: 1000}
		if i > 0 {
			tr.begin()
			tr.update(g, before)
			if tr.seen == overuse && first < 0 {
				first = i
			}
		}
		before = g
	}
	return first
}

func TestTrend(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, tc := range []struct {
		name  string
		delay func(i int) float64
		by    int // overuse is seen at this group at the latest, 0: never
	}{
		{"steady", func(int) float64 { return 50 }, 0},
		{"jitter", func(int) float64 { return 50 + 10*rng.Float64() }, 0},
		{"clocks drift apart", func(i int) float64 { return 50 + 0.002*float64(i) }, 0},
		{"one step", func(i int) float64 {
			if i < 100 {
				return 50
			}
			return 250
		}, 0},
		{"a pause of the radio", func(i int) float64 {
			if i >= 100 && i < 108 {
				return 50 + float64(108-i)*20
			}
			return 50
		}, 0},
		{"a queue shrinks", func(i int) float64 { return max(500-5*float64(i), 0) }, 0},
		{"a queue grows fast", func(i int) float64 { return 50 + 40*max(float64(i-100), 0) }, 103},
		{"a queue grows", func(i int) float64 { return 50 + 5*max(float64(i-100), 0) }, 115},
		{"a queue grows slowly", func(i int) float64 { return 50 + max(float64(i-100), 0) }, 150},
	} {
		var tr trend
		tr.init()
		got := path(&tr, 200, tc.delay)
		if tc.by == 0 && got >= 0 || tc.by > 0 && (got < 100 || got > tc.by) {
			t.Errorf("%s: overuse at group %d, want %d", tc.name, got, tc.by)
		}
		if tr.threshold < thresholdMin || tr.threshold > thresholdMax {
			t.Errorf("%s: threshold %.1f", tc.name, tr.threshold)
		}
	}
}

func TestTrendSeesUnderuse(t *testing.T) {
	var tr trend
	tr.init()
	path(&tr, 60, func(i int) float64 { return 2000 - 15*float64(i) })
	if tr.state != underuse {
		t.Errorf("state %d while a queue drains", tr.state)
	}
	tr.reset()
	if tr.n != 0 || tr.state != normal {
		t.Error("reset kept something")
	}
}

// TestThresholdFollowsOthers: flows that keep the queue moving raise the threshold,
// so that this one is not starved.
func TestThresholdFollowsOthers(t *testing.T) {
	var tr trend
	tr.init()
	path(&tr, 2000, func(i int) float64 { return 50 + 1.1*float64(i%40) })
	if tr.threshold <= thresholdMin {
		t.Errorf("threshold %.1f", tr.threshold)
	}
}

// intervals feeds a loss control with intervals of 100 packets, 250 ms each.
func intervals(l *lossControl, now *micros, losses ...float64) (high int) {
	for _, p := range losses {
		for i := range 100 {
			if float64(i) < p*100 {
				l.lost()
			} else {
				l.acked()
			}
		}
		*now += 250_000
		if v, _ := l.judge(*now, 50_000); v == lossHigh {
			high++
		}
	}
	return high
}

func repeat(n int, p float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = p
	}
	return out
}

func TestLoss(t *testing.T) {
	for _, tc := range []struct {
		name      string
		losses    []float64
		low, high int // how many intervals call for less
	}{
		{"none", repeat(50, 0), 0, 0},
		{"5 % from the first", repeat(50, 0.05), 0, 0},
		{"a burst", append(repeat(20, 0), append([]float64{0.5}, repeat(20, 0)...)...), 0, 0},
		{"too much is sent", append(repeat(20, 0), repeat(3, 0.4)...), 1, 3},
		{"a bad radio: sending less does not help", append(repeat(20, 0), repeat(80, 0.2)...), 1, 6},
	} {
		var l lossControl
		now := micros(60_000_000)
		l.judge(now, 0)
		if got := intervals(&l, &now, tc.losses...); got < tc.low || got > tc.high {
			t.Errorf("%s: %d of %d intervals call for less, want %d to %d", tc.name, got, len(tc.losses), tc.low, tc.high)
		}
	}
}

func TestLossFoundAgain(t *testing.T) {
	var l lossControl
	now := micros(60_000_000)
	l.judge(now, 0)
	for range 60 { // everything is late, nothing is lost
		l.lost()
		l.found()
		l.acked()
	}
	now += 300_000
	if _, f := l.judge(now, 0); f != 0 {
		t.Errorf("%.2f lost, nothing was", f)
	}
	l.found()
	if l.missing != 0 {
		t.Error("found more than was lost")
	}
}

func TestOutput(t *testing.T) {
	var o output
	now := micros(60_000_000)
	if o.rate(now) != 0 || o.resent() != 0 {
		t.Error("a rate of nothing")
	}
	for i := range 500 { // 1000 bytes each 10 ms: 800 kbit/s, a quarter of it again
		o.add(now, 1000, i%4 == 0)
		now += 10_000
		if r := o.rate(now); i > 60 && (r < 780_000 || r > 820_000) {
			t.Fatalf("packet %d: %.0f", i, r)
		}
	}
	if s := o.resent(); s < 0.24 || s > 0.26 {
		t.Errorf("%.2f sent again", s)
	}
	if r := o.rate(now + 2_000_000); r > 500_000 {
		t.Errorf("%.0f after a pause", r)
	}
	o.add(now+5_000_000, 1000, false)
	if o.resent() != 0 {
		t.Error("the share of long ago")
	}
}

func TestStatesInWords(t *testing.T) {
	for s, want := range map[State]string{Stable: "stable", Growing: "growing", Congested: "congested", 9: "unknown"} {
		if s.String() != want {
			t.Errorf("%d is %q", s, s)
		}
	}
	seen := map[string]bool{}
	for r := Unchanged; r <= ViewerEstimate; r++ {
		s := Explanation{Reason: r, From: 1e6, To: 2e6, Goal: 3e6, Delivered: 4e6, Queue: 5 * time.Millisecond, Loss: 0.06}.String()
		if seen[s] {
			t.Errorf("two reasons read %q", s)
		}
		seen[s] = true
	}
}
