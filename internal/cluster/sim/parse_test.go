package sim

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster/script"
)

// A bad scenario file is named with its file, line and reason.
func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"duraton 1h", "f.txt:1: duraton: unknown command"},
		{"\n\nduration soon", `f.txt:3: duration: "soon" is not a duration like 90s or 24h`},
		{"duration -1h", `is not a duration`},
		{"duration", "f.txt:1: duration: want 1 arguments (text), have 0"},
		{"seed x", `f.txt:1: seed: "x" is not a whole number`},
		{"start yesterday", `f.txt:1: start: "yesterday" is not a time like 2026-03-02T00:00:00Z`},
		{"nodes many", `f.txt:1: nodes: "many" is not a number from 0 to 10000000`},
		{"nodes 3 cpus=0", "f.txt:1: nodes: cpus=0 is not above 0"},
		{"nodes 2 names=a,,b", "f.txt:1: nodes: names=a,,b has an empty name, or one twice"},
		{"nodes 2 names=a,a", "f.txt:1: nodes: names=a,a has an empty name, or one twice"},
		{"nodes 3 cpu=4", "f.txt:1: nodes: unknown option cpu"},
		{"nodes 3 cpus=four", "f.txt:1: nodes: cpus=four is not a number"},
		{"launch takes=5m..2m", "f.txt:1: launch: takes=5m..2m is not a duration like 5s, or a range like 5s..10s"},
		{"launch fail=2", "f.txt:1: launch: fail=2 is not from 0 to 1"},
		{"report lost=-1", "f.txt:1: report: lost=-1 is not from 0 to 1"},
		{"report every=0s", "f.txt:1: report every=0s must be above 0"},
		{"autoscale max=1 min=2", "f.txt:1: invalid autoscaling policy: max_nodes is 1, it must not be below min_nodes 2"},
		{"autoscale maximum=1", "f.txt:1: autoscale: unknown option maximum"},
		{"autoscale max=4 calendar=never", `f.txt:1: autoscale: calendar: want "mon-fri 08:30-17:00 12"`},
		{"place sort=luck", `f.txt:1: invalid placement policy: sort_by is "luck", it must be one of [random`},
		{"place here", "f.txt:1: place: want 0 arguments (), have 1"},
		{"\npolicy", "f.txt:2: policy: want 1 arguments (name), have 0"},
		{"autoscale max=4\npolicy p min=9", "f.txt:2: policy: invalid autoscaling policy: max_nodes is 4"},
		{"policy p nonsense=9", "f.txt:1: policy: unknown option nonsense"},
		{"session", "f.txt:1: session: want 1 arguments (text), have 0"},
		{"session a for=long", "f.txt:1: session: for=long is not a duration like 5s"},
		{"session a participants=5..2", "f.txt:1: session: participants=5..2 is not a number like 10, or a range like 5..30"},
		{"session a at=-1s", "f.txt:1: session: a value is out of range"},
		{"joins r count=-1", "f.txt:1: joins: a value is out of range"},
		{"sessions -4", `f.txt:1: sessions: "-4" is not a number`},
		{"day classes=3", "f.txt:1: day: classes=3 is not from 0 to 1"},
		{"day days=0", "f.txt:1: day: a value is out of range"},
		{"crash count=0", "f.txt:1: crash: a value is out of range"},
		{"silence for=0s", "f.txt:1: silence: a value is out of range"},
		{"reserve r from=1h at=2h", "f.txt:1: reserve: a value is out of range"},
		{"reserve r participants=x", "f.txt:1: reserve: participants=x is not a whole number"},
		{"trace x.csv", "f.txt:1: trace: no such trace"},
		{"trace bad.csv", `bad.csv:2: duration "x" is not a number`},
		{"model stale=0s", "f.txt:1: model: stale_after: 0s is not above zero"},
		{"nodes 0", "f.txt:1: there are no nodes and no autoscaler"},
		{"duration 8000h\ntick 1ms", "f.txt:2: duration 8000h0m0s has too many ticks of 1ms"},
		{`name "open`, "f.txt:1: quote is not closed"},
		{"", ""},
	} {
		_, err := Parse("f.txt", c.text, func(name string) (string, error) {
			if name == "bad.csv" {
				return "start,duration\n0,x\n", nil
			}
			return "", errors.New("no such trace")
		})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q: %v", c.text, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q: error %v, want %q", c.text, err, c.want)
		case err != nil && !errors.Is(err, script.ErrSyntax):
			t.Errorf("%q: %v is not a syntax error", c.text, err)
		}
	}
	if _, err := Parse("f.txt", "trace x.csv", nil); err == nil || !strings.Contains(err.Error(), "cannot be opened") {
		t.Errorf("a trace without a way to open it: %v", err)
	}
}

// Every setting of the language arrives where it belongs.
func TestParseSettings(t *testing.T) {
	sc := parse(t, `
		name "a b"
		seed 7
		start 2026-03-07T08:00:00+01:00
		duration 2h
		tick 10s
		sample 5s
		log
		uncapped
		workers
		nodes 3 cpus=16 names=a,b
		launch takes=1m..2m fail=0.5 terminate=3s detect=9s
		report every=1s..2s lost=0.25 delay=1s
		model stale=9s ramp=8s counts=7s lead=6m bucket=10m season=168h
		cost price=1 hot=80 room=2 stream=3 client=4
		autoscale max=9 min=2 max-load=60 min-load=20 out=1m in=2m headroom=1 people=5 person-cpu=0.5 cpus=4 reservations=1h forecast=5m queue=on hold-unknown=yes on-premises=true calendar="mon 08:00-09:00 3"
		place kind=sysload sort=rooms spill=pack share=0.5 cpu-limit=0.8 sysload-limit=0.7 expect=3 expect-for=1m reserve-limit=0.6 spread=on idle=0.2 threshold=0.5 node-cpu=0.6 agent-cpu=1 agent-load=0.1 plain=off
		policy fast max=12 sort=clients
	`)
	if sc.Name != "a b" || sc.Seed != 7 || !sc.Start.Equal(time.Date(2026, 3, 7, 7, 0, 0, 0, time.UTC)) || sc.Duration != 2*time.Hour ||
		sc.Tick != 10*time.Second || sc.sample() != 5*time.Second || !sc.Log || !sc.Uncapped || !sc.Workers || !sc.Scaling {
		t.Errorf("general: %+v", sc)
	}
	if f := sc.Fleet; f.Nodes != 3 || f.CPUs != 16 || len(f.Names) != 2 || f.Launch != (span{time.Minute, 2 * time.Minute}) || f.FailRate != 0.5 ||
		f.Terminate.lo != 3*time.Second || f.Detect != 9*time.Second {
		t.Errorf("fleet: %+v", f)
	}
	if r := sc.Reports; r.Every != (span{time.Second, 2 * time.Second}) || r.Lost != 0.25 || r.Delay.lo != time.Second {
		t.Errorf("reports: %+v", r)
	}
	if m := sc.Model; m.StaleAfter != 9*time.Second || m.RampUp != 8*time.Second || m.CountsAfter != 7*time.Second || m.ReservationLead != 6*time.Minute ||
		m.HistoryBucket != 10*time.Minute || m.HistorySeason != 168*time.Hour || m.Costs.Room != 2 || m.Costs.Stream != 3 || m.Costs.PerClient != 4 {
		t.Errorf("model: %+v", m)
	}
	a := sc.Autoscale
	if a.MaxNodes != 9 || a.MinNodes != 2 || a.MaxLoad != 60 || a.MinLoad != 20 || a.Cooldown.Out != time.Minute || a.Cooldown.In != 2*time.Minute ||
		a.Headroom.Nodes != 1 || a.Headroom.Participants != 5 || a.Headroom.ParticipantCPU != 0.5 || a.NodeCPUs != 4 || a.Reservations != time.Hour ||
		a.Forecast.Lead != 5*time.Minute || !a.Queue || !a.HoldUnknown || !a.OnPremises || len(a.Calendar) != 1 {
		t.Errorf("autoscale: %+v", a)
	}
	p := sc.Place
	if p.Kind != "sysload" || p.SortBy != "rooms" || p.Spill != "pack" || p.MaxRoomShare != 0.5 || p.CPULoadLimit != 0.8 || p.SysLoadLimit != 0.7 ||
		p.ExpectParticipants != 3 || p.ExpectFor != time.Minute || p.ReserveLimit != 0.6 || !p.Egress.Spread || p.Ingress.MinIdleRatio != 0.2 ||
		p.Agent.Threshold != 0.5 || p.Agent.MaxNodeCPU != 0.6 || p.Agent.CPU != 1 || p.Agent.Load != 0.1 || p.IgnorePlaced {
		t.Errorf("place: %+v", p)
	}
	if v, err := sc.Policy("fast"); err != nil || v.Autoscale.MaxNodes != 12 || v.Autoscale.MinNodes != 2 || v.Place.SortBy != "clients" {
		t.Errorf("policy fast: %+v, %v", v, err)
	}
	for name, check := range map[string]func(Variant) bool{
		"default":  func(v Variant) bool { return v.Autoscale.MaxNodes == 9 },
		"plain":    func(v Variant) bool { return v.Place.IgnorePlaced },
		"cooldown": func(v Variant) bool { return v.Autoscale.Cooldown.Out == 2*time.Minute },
		"headroom": func(v Variant) bool { return v.Autoscale.Headroom.Nodes == 1 },
		"forecast": func(v Variant) bool { return v.Autoscale.Forecast.Lead == 22*time.Minute },
		"fixed":    func(v Variant) bool { return v.Autoscale.MinNodes == 9 },
	} {
		if v, err := sc.Policy(name); err != nil || !check(v) || v.Name != name {
			t.Errorf("policy %s: %+v, %v", name, v, err)
		}
	}
}

func TestParseTrace(t *testing.T) {
	costs := func(n, p int) float64 { return float64(10*n + p) }
	got, err := ParseTrace("t.csv", "room,start,duration,participants,publishers,cpu,ramp\nx,10,60,5,2,,\n,0.5,30,,,1.5,7\n", costs)
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %+v", err, got)
	}
	if want := (Session{Start: 10 * time.Second, Lasts: time.Minute, Room: "x#1", Participants: 5, CPU: 52}); got[0] != want {
		t.Errorf("first row %+v, want %+v", got[0], want)
	}
	if want := (Session{Start: 500 * time.Millisecond, Lasts: 30 * time.Second, Ramp: 7 * time.Second, Room: "t2", Participants: 1, CPU: 1.5}); got[1] != want {
		t.Errorf("second row %+v, want %+v", got[1], want)
	}
	got, err = ParseTrace("t.csv", "start,duration\n2026-03-02T09:00:00Z,60\n2026-03-03T00:00:01Z,60\n", costs)
	if err != nil || got[0].Start != 9*time.Hour || got[1].Start != 24*time.Hour+time.Second {
		t.Errorf("times of day: %v, %+v", err, got)
	}
	for _, c := range []struct{ text, want string }{
		{"", "t.csv:1: no header"},
		{"start,length\n", `t.csv:1: unknown column "length"`},
		{"start\n", `t.csv:1: column "duration" is missing`},
		{"start,start,duration\n", `t.csv:1: column "start" is there twice`},
		{"start,duration\n1\n", "t.csv:2: 1 fields, the header has 2"},
		{"start,duration\n1,2\nsoon,2\n", `t.csv:3: start "soon" is neither seconds nor a time`},
		{"start,duration\n-1,2\n", `t.csv:2: start "-1" is out of range`},
		{"start,duration\n2026-03-02T09:00:00Z,60\n2026-03-01T09:00:00Z,60\n", "t.csv:3: start"},
		{"start,duration\n1,NaN\n", `t.csv:2: duration "NaN" is not a number from 0 to`},
		{"start,duration\n\"1,2\n", "t.csv:"},
	} {
		if _, err := ParseTrace("t.csv", c.text, costs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.text, err, c.want)
		}
	}
}

// A trace drives a simulation.
func TestTrace(t *testing.T) {
	sc, err := Parse("s", "duration 10m\nnodes 2 cpus=4\ntrace t.csv", func(string) (string, error) {
		return "start,duration,participants,cpu\n60,300,10,1\n120,300,5,1\n", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, sc)
	if f := r.Figures; f.Sessions != 2 || f.PeakPeople != 15 || f.PeakTotal != 50 || f.Spread != 1 {
		t.Errorf("figures %+v", f)
	}
}

// The synthetic day starts exactly as many sessions as asked for, more of them
// by day than by night, and fewer at the weekend.
func TestSyntheticDay(t *testing.T) {
	sc := parse(t, "duration 168h\nday sessions=10000 days=7 weekend=0.2 classes=0.4")
	s := openAll(&sc)
	var perDay [7]int
	var night, noon, classes int
	last := time.Duration(0)
	for {
		if _, ok := s.peek(); !ok {
			break
		}
		a := s.pop()
		if a.at < last {
			t.Fatalf("arrival at %v after %v", a.at, last)
		}
		last = a.at
		day := int(a.at / (24 * time.Hour))
		perDay[day]++
		in := a.at % (24 * time.Hour)
		if day == 0 && in < 6*time.Hour {
			night++
		}
		if day == 0 && in >= 9*time.Hour && in < 15*time.Hour {
			noon++
		}
		if day == 0 && in >= 9*time.Hour && in < 9*time.Hour+2*time.Minute {
			classes++
		}
		if a.people < 2 || a.people > 12 || a.cpu <= 0 || a.lasts < time.Minute {
			t.Fatalf("arrival %+v", a)
		}
	}
	for d, n := range perDay {
		want := 10000
		if d >= 5 {
			want = 2000
		}
		if n < want-1 || n > want+1 {
			t.Errorf("day %d has %d sessions, want %d", d, n, want)
		}
	}
	if night*5 > noon || classes < 400 || classes > 600 {
		t.Errorf("night %d, day %d, the nine o'clock class %d", night, noon, classes)
	}
}

// FuzzParse: no text makes the scenario parser panic, and what it accepts runs.
func FuzzParse(f *testing.F) {
	for _, b := range Builtins() {
		f.Add(b.Text)
	}
	f.Add("duration 10s\nnodes 1 cpus=1\njoins r count=5 over=3s\ncrash at=2s")
	f.Add("duration 10s\nautoscale max=2 min=1\nday sessions=10\nsilence at=1s for=5s count=2")
	f.Fuzz(func(t *testing.T, text string) {
		sc, err := Parse("f", text, func(string) (string, error) { return "start,duration\n1,2\n", nil })
		if err != nil {
			if !errors.Is(err, script.ErrSyntax) {
				t.Fatalf("%v is not a syntax error", err)
			}
			return
		}
		if sc.Duration > time.Hour || sc.Duration/sc.Tick > 1000 || sc.Fleet.Nodes > 20 || sc.Autoscale.MaxNodes > 20 ||
			sc.Reports.Every.lo < time.Second || sc.sample() < time.Second {
			return // fine, and too long to run here
		}
		for _, w := range sc.work {
			if b, ok := w.(burst); ok && b.count > 200 {
				return
			}
			if _, ok := w.(synthetic); ok {
				return
			}
		}
		if _, err := Run(sc, nil); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

// FuzzParseTrace: no text makes the trace parser panic or accept nonsense.
func FuzzParseTrace(f *testing.F) {
	f.Add("start,duration\n1,2\n")
	f.Add("room,start,duration,participants,publishers,cpu,ramp\nx,2026-03-02T09:00:00Z,60,5,2,0.5,1\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseTrace("f", text, func(int, int) float64 { return 1 })
		if err != nil {
			return
		}
		for _, s := range got {
			if s.Start < 0 || s.Lasts < 0 || s.Participants < 0 || s.CPU < 0 || s.Room == "" {
				t.Fatalf("%q gives %+v", text, s)
			}
		}
	})
}

// FuzzReplay: no text makes the replay panic.
func FuzzReplay(f *testing.F) {
	sc := parse(f, "duration 4s\ntick 3s\nnodes 1 cpus=1\nautoscale max=3 min=1\nsessions 1 over=1s cpu=1")
	var log strings.Builder
	if _, err := Run(sc, func(line []byte) { log.Write(line) }); err != nil {
		f.Fatal(err)
	}
	f.Add(log.String())
	f.Add(`{"event":{"kind":"node_added","event":{"node":{"id":"a","cpus":1}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := Replay("f", text); err == nil && r.Difference != nil {
			_ = r.Difference.String()
		}
	})
}
