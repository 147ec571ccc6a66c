package bwe

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// session is an estimator whose packets arrive as a test says.
type session struct {
	t        testing.TB
	e        *Estimator
	now      time.Time
	seq      uint16
	recorder *rtp.TWCCRecorder
	delay    time.Duration
	lost     func(seq uint16) bool
	d        Decision
	free     time.Time // when the link is free, with a rate
	rate     float64
}

func newSession(t testing.TB, c Config) *session {
	return &session{t: t, e: New(c), now: t0, recorder: rtp.NewTWCCRecorder(), delay: 20 * time.Millisecond}
}

// send sends a packet now.
func (s *session) send(size int, probe bool) {
	s.seq++
	s.e.Sent(Packet{Seq: s.seq, Size: size, At: s.now, Probe: probe})
	if s.lost != nil && s.lost(s.seq) {
		return
	}
	at := s.now
	if s.rate > 0 {
		if s.free.Before(at) {
			s.free = at
		}
		s.free = s.free.Add(time.Duration(float64(size) * 8 / s.rate * float64(time.Second)))
		at = s.free
	}
	s.recorder.Record(s.seq, at.Add(s.delay))
}

// run sends at a bit rate, 5 ms at a time, with reports each 50 ms.
func (s *session) run(d time.Duration, bps float64) {
	s.t.Helper()
	owed := 0.0
	for i := range int(d / (5 * time.Millisecond)) {
		s.now = s.now.Add(5 * time.Millisecond)
		for owed += bps / 8 * 0.005; owed >= 1000; owed -= 1000 {
			s.send(1000, false)
		}
		for n := s.e.ProbeDeficit(s.now); n > 0; n -= 250 {
			s.send(250, true)
		}
		if i%10 == 9 {
			s.report()
		}
		s.d = s.e.Tick(s.now)
	}
}

func (s *session) report() {
	s.t.Helper()
	for _, raw := range marshal(s.t, s.recorder.Feedback(1)) {
		if err := s.e.FeedbackBytes(raw, s.now); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestSilenceChangesNothing(t *testing.T) {
	s := newSession(t, Config{Start: 1_000_000})
	s.run(5*time.Second, 900_000)
	before := s.d.Bitrate
	s.run(30*time.Second, 0)
	if s.d.Bitrate != before || s.d.State != Stable {
		t.Errorf("%d %v after silence, %d before", s.d.Bitrate, s.d.State, before)
	}
}

func TestGrowsOnlyAsFarAsUsed(t *testing.T) {
	s := newSession(t, Config{Start: 400_000})
	s.run(60*time.Second, 400_000)
	if s.d.Bitrate < 580_000 || s.d.Bitrate > 660_000 {
		t.Errorf("%d with 400 kbit/s in use, want half as much again", s.d.Bitrate)
	}
	if s.d.Why.Reason != RoomLeft {
		t.Errorf("%v", s.d.Why)
	}
}

func TestProbeFindsMore(t *testing.T) {
	s := newSession(t, Config{Start: 500_000})
	s.e.SetDemand(Demand{Next: 800_000, All: 3_000_000, CanProbe: true})
	s.run(3*time.Second, 400_000)
	if s.d.Bitrate < 3_000_000 || s.d.Bitrate > 4_000_000 {
		t.Errorf("%d, want what is wanted", s.d.Bitrate)
	}
	if st := s.e.Stats(); st.Probes == 0 || st.Probes > 5 || st.ProbesGood != st.Probes {
		t.Errorf("%d of %d probes good", st.ProbesGood, st.Probes)
	}
	s.run(20*time.Second, 400_000)
	if n := s.e.Stats().Probes; n > 5 {
		t.Errorf("%d probes although nothing is left to wish", n)
	}
}

func TestProbeOfFullLink(t *testing.T) {
	s := newSession(t, Config{Start: 500_000})
	s.rate = 600_000
	s.e.SetDemand(Demand{Next: 800_000, All: 3_000_000, CanProbe: true})
	s.run(30*time.Second, 400_000)
	if s.d.Bitrate < 500_000 || s.d.Bitrate > 620_000 {
		t.Errorf("%d over a link of 600000", s.d.Bitrate)
	}
	if n := s.e.Stats().Probes; n < 4 || n > 9 {
		t.Errorf("%d probes in 30 s, want one each 5 s", n)
	}
	if s.e.Stats().Overuses > 0 {
		t.Error("a probe's own queue was taken for congestion")
	}
}

func TestNoProbe(t *testing.T) {
	for name, d := range map[string]Demand{
		"nothing to gain":   {Next: 0, All: 900_000, CanProbe: true},
		"nothing to send":   {Next: 2_000_000, All: 3_000_000},
		"nothing is wanted": {CanProbe: true},
	} {
		s := newSession(t, Config{Start: 1_000_000})
		s.e.SetDemand(d)
		s.run(10*time.Second, 400_000)
		if s.e.Stats().Probes > 0 || s.e.ProbeDeficit(s.now) != 0 {
			t.Errorf("%s: probed", name)
		}
	}
}

// TestProbeIsNotSent: the owner cannot pad after all. That is no news of the
// network.
func TestProbeIsNotSent(t *testing.T) {
	s := newSession(t, Config{Start: 1_000_000})
	s.e.SetDemand(Demand{Next: 2_000_000, All: 3_000_000, CanProbe: true})
	for range 200 {
		s.now = s.now.Add(50 * time.Millisecond)
		for range 4 {
			s.send(500, false)
		}
		s.report()
		s.d = s.e.Tick(s.now)
	}
	if s.d.Bitrate != 1_000_000 || s.d.State == Congested {
		t.Errorf("%d %v", s.d.Bitrate, s.d.State)
	}
	if n := s.e.Stats().Probes; n == 0 || n > 5 {
		t.Errorf("%d probes", n)
	}
}

func TestProbeDeficitKeepsTheRate(t *testing.T) {
	s := newSession(t, Config{Start: 1_000_000})
	s.run(time.Second, 500_000)
	s.e.SetDemand(Demand{Next: 2_000_000, All: 8_000_000, CanProbe: true})
	d := s.e.Tick(s.now)
	if d.Probe.ID != 1 || d.Probe.Bitrate < 1_900_000 || !d.Probe.Until.After(s.now) {
		t.Fatalf("%+v", d.Probe)
	}
	sent, from := 0, s.now
	for d.Probe.ID == 1 {
		s.now = s.now.Add(3 * time.Millisecond)
		for n := s.e.ProbeDeficit(s.now); n > 0; n -= 200 {
			s.send(200, true)
			sent += 200
		}
		d = s.e.Tick(s.now)
	}
	rate := float64(sent) * 8 / s.now.Sub(from).Seconds()
	if want := 2_000_000.0; rate < 0.9*want || rate > 1.1*want {
		t.Errorf("%.0f bit/s, want %.0f", rate, want)
	}
}

func TestNothingHeard(t *testing.T) {
	s := newSession(t, Config{Start: 2_000_000})
	s.run(2*time.Second, 1_000_000)
	before := s.d.Bitrate
	s.lost = func(uint16) bool { return true }
	s.run(3500*time.Millisecond, 1_000_000)
	if s.d.Bitrate > before/7 || s.d.State != Congested || s.d.Why.Reason != NothingHeard {
		t.Errorf("%d of %d, %v, %v", s.d.Bitrate, before, s.d.State, s.d.Why)
	}
	// A viewer that never reports is not silent: it does not speak this protocol.
	s = newSession(t, Config{Start: 2_000_000})
	s.lost = func(uint16) bool { return true }
	s.run(10*time.Second, 1_000_000)
	if s.d.Bitrate != 2_000_000 {
		t.Errorf("%d without any report", s.d.Bitrate)
	}
}

// TestReportsInDisorder: repeated, late and unknown reports are counted and do no
// harm.
func TestReportsInDisorder(t *testing.T) {
	s := newSession(t, Config{Start: 1_000_000})
	var held [][]byte
	for i := range 100 {
		s.now = s.now.Add(50 * time.Millisecond)
		for range 4 {
			s.send(1000, false)
		}
		for _, raw := range marshal(t, s.recorder.Feedback(1)) {
			held = append(held, raw)
		}
		if i%3 == 2 { // newest first, and one of them twice
			for j := len(held) - 1; j >= 0; j-- {
				_ = s.e.FeedbackBytes(held[j], s.now)
			}
			_ = s.e.FeedbackBytes(held[0], s.now)
			held = held[:0]
		}
		s.d = s.e.Tick(s.now)
	}
	st := s.e.Stats()
	if st.Repeated == 0 || st.Acked != st.Sent-4 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
	if s.d.Bitrate < 1_000_000 || s.d.State == Congested {
		t.Errorf("%d %v: %v", s.d.Bitrate, s.d.State, s.d.Why)
	}
	_ = s.e.FeedbackBytes(report(s.seq+100, 3, 1, 0, []uint16{1<<13 | 3}, 4, 4, 8), s.now)
	if n := s.e.Stats().Unknown; n != 3 {
		t.Errorf("%d unknown, want 3", n)
	}
	if New(Config{}).FeedbackBytes(report(0, 3, 1, 0, []uint16{1<<13 | 3}, 4, 4, 8), t0) != nil {
		t.Error("a report before anything was sent is an error")
	}
}

func TestLostReportsAreCounted(t *testing.T) {
	s := newSession(t, Config{Start: 1_000_000})
	for i := range 40 {
		s.now = s.now.Add(50 * time.Millisecond)
		s.send(1000, false)
		for _, raw := range marshal(t, s.recorder.Feedback(1)) {
			if i%4 != 1 {
				_ = s.e.FeedbackBytes(raw, s.now)
			}
		}
	}
	if st := s.e.Stats(); st.FeedbacksLost != 10 || st.Lost != 0 {
		t.Errorf("%+v", st)
	}
}

func TestREMB(t *testing.T) {
	e, now := New(Config{Start: 1_000_000, Max: 5_000_000}), t0
	e.SetDemand(Demand{Next: 3_000_000, All: 4_000_000, CanProbe: true})
	step := func(bps uint64) Decision {
		now = now.Add(500 * time.Millisecond)
		e.REMB(bps, now)
		return e.Tick(now)
	}
	if d := step(2_000_000); d.Bitrate != 2_000_000 || d.State != Growing || d.Why.Reason != ViewerEstimate {
		t.Errorf("%+v", d)
	}
	if d := e.Tick(now); d.Probe.ID == 0 || d.Probe.Until.Sub(now) < 500*time.Millisecond {
		t.Errorf("probe %+v: the viewer's estimate needs longer ones", d.Probe)
	}
	now = now.Add(time.Second)
	e.Tick(now)
	step(4_000_000)
	if d := step(1_000_000); d.Bitrate != 1_000_000 || d.State != Congested {
		t.Errorf("%+v", d)
	}
	if d := step(90_000_000); d.Bitrate != 5_000_000 {
		t.Errorf("%d above the limit", d.Bitrate)
	}
	if d := step(0); d.Bitrate != 5_000_000 {
		t.Errorf("%d: an estimate of zero is none", d.Bitrate)
	}
}

// TestREMBYieldsToFeedback: where packets are reported on, the viewer's own
// estimate is not looked at.
func TestREMBYieldsToFeedback(t *testing.T) {
	s := newSession(t, Config{Start: 1_000_000})
	s.run(2*time.Second, 900_000)
	before := s.d.Bitrate
	s.e.REMB(100_000, s.now)
	if d := s.e.Tick(s.now); d.Bitrate != before {
		t.Errorf("%d, was %d", d.Bitrate, before)
	}
}

func TestStateGoesOn(t *testing.T) {
	s := newSession(t, Config{Start: 500_000})
	s.e.SetDemand(Demand{Next: 800_000, All: 3_000_000, CanProbe: true})
	s.rate = 2_000_000
	s.run(20*time.Second, 1_500_000)
	raw, err := json.Marshal(s.e.State())
	if err != nil {
		t.Fatal(err)
	}
	var state EstimatorState
	if err := json.Unmarshal(raw, &state); err != nil {
		t.Fatal(err)
	}
	before := s.d.Bitrate
	s.e = New(Config{Start: 500_000})
	s.e.Restore(state)
	if s.e.State() != state {
		t.Errorf("restored %+v, want %+v", s.e.State(), state)
	}
	// What was under way is reported to the new node, which knows nothing of it.
	s.report()
	s.run(5*time.Second, 1_500_000)
	if low, high := before*8/10, before*13/10; s.d.Bitrate < low || s.d.Bitrate > high {
		t.Errorf("%d after the move, %d before", s.d.Bitrate, before)
	}
	if st := s.e.Stats(); st.Acked == 0 || st.Lost > 0 {
		t.Errorf("%+v", st)
	}
}

func TestRestoreOfNonsense(t *testing.T) {
	e := New(Config{})
	e.Restore(EstimatorState{Bitrate: -1, Capacity: -5, Deviation: 99, UsualLoss: 7, Threshold: 1e9, RTT: -time.Second, ProbeInterval: time.Hour})
	d := e.Tick(t0)
	if d.Bitrate != 50_000 || d.RTT != 0 || e.loss.usual > lossUsualMax || e.probe.interval > probeLast || e.trend.threshold > thresholdMax {
		t.Errorf("%+v, %+v", d, e.State())
	}
}

func TestConfigDefaults(t *testing.T) {
	for _, tc := range []struct {
		in   Config
		want Config
	}{
		{Config{}, Config{1_000_000, 50_000, 100_000_000}},
		{Config{Start: 10, Min: 100, Max: 50}, Config{100, 100, 100}},
		{Config{Start: 900, Min: 100, Max: 500}, Config{500, 100, 500}},
	} {
		if got := tc.in.withDefaults(); got != tc.want {
			t.Errorf("%+v: %+v, want %+v", tc.in, got, tc.want)
		}
	}
}

func TestMediaShare(t *testing.T) {
	if got := (Estimate{Bitrate: 1000, Resent: 0.1}).Media(); got != 900 {
		t.Errorf("%d of 1000 when a tenth is sent again", got)
	}
	if got := (Estimate{Bitrate: 1000, Resent: 0.9}).Media(); got != 500 {
		t.Errorf("%d: retransmissions alone never take more than half", got)
	}
}

func TestWhyTellsWhen(t *testing.T) {
	s := newSession(t, Config{Start: 3_000_000})
	s.run(2*time.Second, 2_000_000)
	s.rate = 500_000
	s.run(time.Second, 2_000_000)
	why := s.d.Why
	if why.Reason != QueueGrew || why.At.Before(s.now.Add(-time.Second)) || why.At.After(s.now) {
		t.Errorf("%+v", why)
	}
	if text := why.String(); !strings.Contains(text, "queue") || !strings.Contains(text, "kbps") {
		t.Error(text)
	}
}

func TestNoAllocations(t *testing.T) {
	s := newSession(t, Config{})
	s.run(2*time.Second, 2_000_000)
	raws := make([][]byte, 0, 100)
	for range 100 {
		for range 10 {
			s.now = s.now.Add(time.Millisecond)
			s.send(1000, false)
		}
		raws = append(raws, marshal(t, s.recorder.Feedback(1))...)
	}
	_ = s.e.FeedbackBytes(raws[0], s.now)
	i := 1
	for name, f := range map[string]func(){
		"Sent":          func() { s.seq++; s.e.Sent(Packet{Seq: s.seq, Size: 1000, At: s.now}) },
		"FeedbackBytes": func() { _ = s.e.FeedbackBytes(raws[i%len(raws)], s.now); i++ },
		"Tick":          func() { s.d = s.e.Tick(s.now) },
		"ProbeDeficit":  func() { s.e.ProbeDeficit(s.now) },
	} {
		if n := testing.AllocsPerRun(50, f); n > 0 {
			t.Errorf("%s allocates %.0f times", name, n)
		}
	}
}

func BenchmarkSent(b *testing.B) {
	e := New(Config{})
	at := t0
	for i := 0; b.Loop(); i++ {
		e.Sent(Packet{Seq: uint16(i), Size: 1000, At: at})
	}
}

// BenchmarkFeedback is one report of 50 packets.
func BenchmarkFeedback(b *testing.B) {
	s := newSession(b, Config{})
	for b.Loop() {
		b.StopTimer()
		for range 50 {
			s.now = s.now.Add(time.Millisecond)
			s.send(1000, false)
		}
		raw := marshal(b, s.recorder.Feedback(1))[0]
		b.StartTimer()
		if err := s.e.FeedbackBytes(raw, s.now); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTick(b *testing.B) {
	s := newSession(b, Config{})
	s.run(time.Second, 1_000_000)
	for b.Loop() {
		s.d = s.e.Tick(s.now)
	}
}
