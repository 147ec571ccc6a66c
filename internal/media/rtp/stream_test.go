package rtp

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var t0 = time.Unix(1_700_000_000, 0)

func ms(n int) time.Time { return t0.Add(time.Duration(n) * time.Millisecond) }

func TestUnwrapper(t *testing.T) {
	var u Unwrapper
	for i, tc := range []struct {
		in   uint16
		want int64
	}{{65534, 65534}, {65535, 65535}, {0, 65536}, {65533, 65533}, {2, 65538}, {1, 65537}, {32769, 98305}, {65535, 131071}, {0, 131072}} {
		if got := u.Unwrap(tc.in); got != tc.want {
			t.Errorf("step %d: Unwrap(%d) = %d, want %d", i, tc.in, got, tc.want)
		}
	}
}

// TestUnwrapperProperty: numbers that wander by less than half the range come back
// as they were.
func TestUnwrapperProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u Unwrapper
		at := int64(rapid.Uint16().Draw(t, "start"))
		u.Unwrap(uint16(at))
		highest := at
		for range 50 {
			at = highest + rapid.Int64Range(-20000, 20000).Draw(t, "step")
			if got := u.Unwrap(uint16(at)); got != at {
				t.Fatalf("Unwrap(%d) = %d, want %d", uint16(at), got, at)
			}
			highest = max(highest, at)
		}
	})
}

func TestNewer(t *testing.T) {
	if !NewerSN(0, 65535) || NewerSN(65535, 0) || NewerSN(5, 5) || !NewerTS(0, 0xffffffff) || NewerTS(7, 7) || NewerTS(0xffffffff, 0) {
		t.Error("order over the wrap is wrong")
	}
}

// TestReplayWindowProperty compares with a set.
func TestReplayWindowProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w ReplayWindow
		seen, highest := map[int64]bool{}, int64(-1<<40)
		at := rapid.Int64Range(1<<20, 1<<21).Draw(t, "start")
		for range 200 {
			at += rapid.SampledFrom([]int64{1, 1, 1, 2, -1, -3, 70, -70, 1000, -1000, 5000}).Draw(t, "step")
			want := !seen[at] && (highest < 0 || at > highest-ReplayWindowSize)
			if got := w.Accept(at); got != want {
				t.Fatalf("Accept(%d) = %v, want %v (highest %d)", at, got, want, highest)
			}
			if want {
				seen[at] = true
				highest = max(highest, at)
			}
		}
		w.Restart(at)
		if w.Accept(at) || w.Accept(at-5) || !w.Accept(at+1) {
			t.Fatal("Restart does not close the past only")
		}
	})
}

// TestHistoryProperty: what comes out is what was put in, and recent packets do
// come out.
func TestHistoryProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := NewHistory(256, 256<<10, time.Second)
		stored := map[int64][]byte{}
		seq, now := int64(rapid.IntRange(0, 70000).Draw(t, "start")), t0
		for i := range rapid.IntRange(1, 600).Draw(t, "packets") {
			size := rapid.SampledFrom([]int{20, 100, 700, 1200, 1500}).Draw(t, "size")
			raw := bytes.Repeat([]byte{byte(i)}, size)
			binary.BigEndian.PutUint64(raw, uint64(seq))
			h.Put(seq, raw, now)
			stored[seq] = raw
			if !bytes.Equal(h.Get(seq), raw) {
				t.Fatalf("packet %d is not there at once", seq)
			}
			for back := seq - 40; back < seq; back++ {
				if got := h.Get(back); got != nil && !bytes.Equal(got, stored[back]) {
					t.Fatalf("packet %d came out changed after packet %d", back, seq)
				}
			}
			seq += int64(rapid.SampledFrom([]int{1, 1, 1, 2, 5}).Draw(t, "gap"))
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 1, 400}).Draw(t, "ms")) * time.Millisecond)
		}
		for s, raw := range stored {
			got := h.Get(s)
			if got != nil && !bytes.Equal(got, raw) {
				t.Fatalf("packet %d came out changed", s)
			}
		}
	})
}

func TestHistoryRetains(t *testing.T) {
	// 2.4 Mbit/s: 250 packets of 1200 bytes a second.
	h := NewHistory(1024, 1<<20, time.Second)
	raw := make([]byte, 1200)
	for i := range 2000 {
		h.Put(int64(i), raw, ms(4*i))
	}
	for i := 2000 - 250; i < 2000; i++ {
		if h.Get(int64(i)) == nil {
			t.Fatalf("packet %d, of the last second, is gone", i)
		}
	}
	if h.Get(2000) != nil || h.Get(100) != nil {
		t.Error("a packet came out that cannot be there")
	}
	if len(h.data) > 1<<20 {
		t.Errorf("ring of %d bytes", len(h.data))
	}
	// A trickle needs no more than the least.
	h = NewHistory(1024, 1<<20, time.Second)
	for i := range 2000 {
		h.Put(int64(i), raw[:80], ms(20*i))
	}
	if len(h.data) != minHistoryBytes {
		t.Errorf("ring of %d bytes for 32 kbit/s", len(h.data))
	}
	h.Reset()
	if h.Get(1999) != nil {
		t.Error("a packet survived Reset")
	}
	h.Put(1, make([]byte, MaxPacketSize+1), t0)
	if h.Get(1) != nil {
		t.Error("an oversized packet was stored")
	}
}

func TestHistoryDoesNotAllocateWhenGrown(t *testing.T) {
	h, raw, seq := NewHistory(256, 64<<10, time.Second), make([]byte, 1000), int64(0)
	for range 1000 {
		h.Put(seq, raw, t0)
		seq++
	}
	if n := testing.AllocsPerRun(1000, func() { h.Put(seq, raw, t0); seq++ }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNackTracker(t *testing.T) {
	var n NackTracker
	n.Received(100, ms(0))
	n.Received(104, ms(10))
	n.Received(102, ms(11)) // was only late
	due := func(at int, rtt time.Duration) []uint16 { return n.Due(nil, ms(at), rtt) }
	if got := due(20, 0); len(got) != 0 {
		t.Errorf("asked for %v before the reorder wait is over", got)
	}
	if got := due(30, 0); !slices.Equal(got, []uint16{101, 103}) {
		t.Errorf("asked for %v, want 101 and 103", got)
	}
	if got := due(60, 0); len(got) != 0 {
		t.Errorf("asked for %v again after 30 ms", got)
	}
	if got := due(70, 200*time.Millisecond); !slices.Equal(got, []uint16{101, 103}) {
		t.Errorf("asked for %v, want both again", got)
	}
	n.Received(101, ms(75))
	if got := due(300, 200*time.Millisecond); len(got) != 0 {
		t.Errorf("asked for %v within the round trip", got)
	}
	asked := 0
	for at := 400; at < 5000; at += 10 {
		asked += len(due(at, 0))
	}
	if asked != 3 || n.Missing() != 0 || n.Abandoned() != 1 {
		t.Errorf("asked %d more times, %d missing, %d given up; want 3, 0, 1", asked, n.Missing(), n.Abandoned())
	}
}

func TestNackTrackerBounds(t *testing.T) {
	var n NackTracker
	n.Received(65530, ms(0))
	n.Received(65530+1000, ms(0)) // over the wrap
	if n.Missing() != maxMissing || n.Abandoned() != 999-maxMissing {
		t.Errorf("%d missing, %d given up", n.Missing(), n.Abandoned())
	}
	got := n.Due(nil, ms(20), 0)
	want := uint16((65530 + 999) & 0xffff)
	if len(got) != maxMissing || got[len(got)-1] != want {
		t.Errorf("asked for %d, the last %d, want %d", len(got), got[len(got)-1], want)
	}
	n.Received(65530+3000, ms(25)) // everything before falls out of the window
	for _, sn := range n.Due(nil, ms(100), 0) {
		if age := uint16((65530+3000)&0xffff) - sn; age > 512 {
			t.Errorf("asks for a packet %d back", age)
		}
	}
	n.Reset()
	n.Received(5, ms(0))
	if n.Missing() != 0 {
		t.Error("missing packets survived Reset")
	}
}

// TestNackTrackerProperty: a packet is asked for only while it is missing, and no
// more often than the policy says.
func TestNackTrackerProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := NackTracker{Policy: NackPolicy{Tries: rapid.IntRange(1, 6).Draw(t, "tries")}}
		got, asked := map[int64]bool{}, map[uint16]int{}
		seq, now := int64(1000), 0
		for range 200 {
			now += rapid.IntRange(0, 20).Draw(t, "ms")
			seq += int64(rapid.SampledFrom([]int{1, 1, 1, 2, 4}).Draw(t, "gap"))
			at := seq
			if rapid.IntRange(0, 9).Draw(t, "late") == 0 {
				at -= int64(rapid.IntRange(1, 10).Draw(t, "by"))
			}
			n.Received(at, ms(now))
			got[at] = true
			for _, sn := range n.Due(nil, ms(now), 30*time.Millisecond) {
				asked[sn]++
				if got[int64(sn)] {
					t.Fatalf("asked for %d, which is there", sn)
				}
				if asked[sn] > n.Policy.Tries {
					t.Fatalf("asked for %d %d times", sn, asked[sn])
				}
			}
		}
	})
}

func TestReceptionStats(t *testing.T) {
	s := NewReceptionStats(8000)
	if _, ok := s.Report(1, t0); ok {
		t.Error("a report before the first packet")
	}
	for i := range int64(100) {
		if i%10 == 9 {
			continue // one in ten is lost
		}
		jitter := 0
		if i%2 == 1 {
			jitter = 5
		}
		s.Received(65500+i, uint32(160*i), ms(20*int(i)+jitter))
	}
	s.SenderReport(0x0001020304050607, ms(1000))
	block, ok := s.Report(77, ms(2000))
	if !ok || block.SSRC != 77 || block.TotalLost != 9 || block.LastSequenceNumber != 65500+98 {
		t.Errorf("report %+v", block)
	}
	if want := uint8(9 * 256 / 99); block.FractionLost != want {
		t.Errorf("fraction %d, want %d", block.FractionLost, want)
	}
	if block.LastSenderReport != 0x02030405 || block.Delay != 65536 {
		t.Errorf("LSR %x, DLSR %d", block.LastSenderReport, block.Delay)
	}
	// The transit time alternates by 5 ms: the average converges to it.
	if j := s.Jitter(); j < 3*time.Millisecond || j > 5*time.Millisecond {
		t.Errorf("jitter %v, want 3 to 5 ms", j)
	}
	block, _ = s.Report(77, ms(3000))
	if block.FractionLost != 0 || block.TotalLost != 9 {
		t.Errorf("an interval without packets: %+v", block)
	}
	s.Received(65500+98, 0, ms(3000)) // duplicates do not make loss negative
	for range 20 {
		s.Received(65500+97, 0, ms(3000))
	}
	if s.Lost() != 0 {
		t.Errorf("lost %d after duplicates", s.Lost())
	}
}

func TestJitterCountsFramesNotPackets(t *testing.T) {
	s := NewReceptionStats(90000)
	for frame := range int64(100) {
		for i := range int64(3) { // paced over 10 ms
			s.Received(3*frame+i, uint32(3000*frame), ms(int(frame)*100/3).Add(time.Duration(i)*5*time.Millisecond))
		}
	}
	if j := s.Jitter(); j > time.Millisecond {
		t.Errorf("jitter %v of a steady stream", j)
	}
	if s.Packets() != 300 || s.Lost() != 0 || s.FractionLost() != 0 {
		t.Errorf("%d packets, %d lost", s.Packets(), s.Lost())
	}
}

func TestNTP(t *testing.T) {
	at := time.Unix(1_700_000_000, 123_456_789)
	if got := FromNTP(ToNTP(at)); got.Sub(at).Abs() > time.Nanosecond {
		t.Errorf("there and back: off by %v", got.Sub(at))
	}
	for _, d := range []time.Duration{0, time.Millisecond, -time.Millisecond, 90 * time.Minute, -90 * time.Minute, 1234567 * time.Microsecond} {
		if got := NTPDuration(AddNTP(ToNTP(at), d), ToNTP(at)); (got - d).Abs() > 2*time.Nanosecond {
			t.Errorf("adding %v gives %v", d, got)
		}
	}
	if got := Ticks(-1500*time.Millisecond, 90000); got != -135000 {
		t.Errorf("Ticks = %d", got)
	}
	if got := DLSR(-time.Second); got != 0 {
		t.Errorf("DLSR of a negative duration = %d", got)
	}
	send := AbsSendTime(time.Unix(64, 0)) // 64 s wrap, 6.18 fixed point
	plus := AbsSendTime(time.Unix(64, 500_000_000))
	value := func(b [3]byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }
	if d := (value(plus) - value(send) + 1<<24) % (1 << 24); d != 1<<17 {
		t.Errorf("half a second of abs-send-time is %d, want %d", d, 1<<17)
	}
	if seq, ok := ParseTWCC([]byte{1, 2}); seq != 258 || !ok {
		t.Errorf("ParseTWCC = %d %v", seq, ok)
	}
	if _, ok := ParseTWCC([]byte{1}); ok {
		t.Error("one byte parsed as a transport-wide number")
	}
}

func TestRateMeter(t *testing.T) {
	var r RateMeter
	if r.PerSecond(t0) != 0 {
		t.Error("a rate without anything added")
	}
	for i := range 300 {
		r.Add(100, ms(10*i)) // 10,000 a second
	}
	if got := r.PerSecond(ms(2999)); got < 9500 || got > 10500 {
		t.Errorf("rate %v, want about 10000", got)
	}
	if got := r.PerSecond(ms(10_000)); got != 0 {
		t.Errorf("rate %v after 7 s of silence", got)
	}
	r.Add(100, ms(10_000))
	r.Add(100, ms(9_900)) // a little back
	if got := r.PerSecond(ms(10_000)); got != 200 {
		t.Errorf("rate %v, want 200", got)
	}
	var young RateMeter
	young.Add(100, t0)
	if got := young.PerSecond(ms(50)); got != 1000 {
		t.Errorf("rate of the first tenth of a second %v, want 1000", got)
	}
}

func TestSwitchTimestamp(t *testing.T) {
	const rate = 90000
	// Two layers of one camera: the same wall clock, different RTP origins.
	low := ClockMap{NTP: ToNTP(ms(0)), RTP: 1000, At: ms(20)}
	high := ClockMap{NTP: ToNTP(ms(500)), RTP: 4_000_000_000, At: ms(520)}
	base := Switch{ClockRate: rate, LastTS: 91_000 - 300, LastAt: ms(1000), FromOffset: 300, At: ms(1040)}
	for _, tc := range []struct {
		name   string
		change func(*Switch)
		want   uint32
	}{
		{"by real time", func(*Switch) {}, 91_000 - 300 + 3600},
		{"by sender reports", func(s *Switch) { s.From, s.To, s.TS = low, high, 4_000_000_000+45_000+2970 }, 91_000 - 300 + 2970},
		{"the same instant moves on by one", func(s *Switch) { s.From, s.To, s.TS = low, high, 4_000_000_000+45_000 }, 91_000 - 300 + 1},
		{"earlier moves on by one", func(s *Switch) { s.From, s.To, s.TS = low, high, 4_000_000_000+45_000-3000 }, 91_000 - 300 + 1},
		{"reports that contradict the clock", func(s *Switch) { s.From, s.To, s.TS = low, high, 4_000_000_000+45_000+10*rate }, 91_000 - 300 + 3600},
		{"one report only", func(s *Switch) { s.From, s.TS = low, 5 }, 91_000 - 300 + 3600},
		{"same source", func(s *Switch) { s.SameClock, s.TS = true, 91_000+3000 }, 91_000 - 300 + 3000},
		{"clock went back", func(s *Switch) { s.At = ms(900) }, 91_000 - 300 + 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := base
			tc.change(&s)
			if got := SwitchTimestamp(s); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestSwitchTimestampIsMonotone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Switch{
			ClockRate: rapid.SampledFrom([]uint32{8000, 48000, 90000}).Draw(t, "rate"),
			LastTS:    rapid.Uint32().Draw(t, "last"), LastAt: ms(0),
			TS: rapid.Uint32().Draw(t, "ts"), At: ms(rapid.IntRange(-100, 3_600_000).Draw(t, "at")),
			FromOffset: rapid.Uint32().Draw(t, "offset"), SameClock: rapid.Bool().Draw(t, "same"),
		}
		if rapid.Bool().Draw(t, "reports") {
			s.From = ClockMap{NTP: rapid.Uint64().Draw(t, "ntp"), RTP: rapid.Uint32().Draw(t, "rtp"), At: ms(0)}
			s.To = ClockMap{NTP: rapid.Uint64().Draw(t, "ntp"), RTP: rapid.Uint32().Draw(t, "rtp"), At: ms(0)}
		}
		out := SwitchTimestamp(s)
		elapsed := max(Ticks(s.At.Sub(s.LastAt), s.ClockRate), 0)
		if !NewerTS(out, s.LastTS) {
			t.Fatalf("%d is not after %d", out, s.LastTS)
		}
		if ahead := int64(out-s.LastTS) - elapsed; ahead > Ticks(maxSwitchError, s.ClockRate)+1 {
			t.Fatalf("ahead of real time by %d ticks", ahead)
		}
	})
}

func TestClockMap(t *testing.T) {
	c := ClockMap{NTP: ToNTP(ms(0)), RTP: 0xffffff00, At: ms(5)}
	ntp := c.NTPOf(0x100, 48000) // 512 ticks later, over the wrap
	if d := NTPDuration(ntp, c.NTP); d < 10666*time.Microsecond || d > 10667*time.Microsecond {
		t.Errorf("512 ticks are %v", d)
	}
	if got := c.RTPOf(AddNTP(c.NTP, time.Second), 48000); got != 48000-0x100 {
		t.Errorf("RTP a second later %d", got)
	}
	if (ClockMap{}).Known() || !c.Known() {
		t.Error("Known is wrong")
	}
	if got := (ClockMap{}).NTPOf(5, 0); got != 0 {
		t.Errorf("clock rate 0: %d", got)
	}
}
