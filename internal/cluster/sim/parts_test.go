package sim

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/autoscale"
	"github.com/concertina-rtc/concertina/internal/cluster/placement"
	"pgregory.net/rapid"
)

// The queue gives events back in the order of their time, their kind, and
// then in the order in which they were pushed, whatever comes in between.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var want []event
		pushed := int32(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(want) == 0 || rapid.IntRange(0, 2).Draw(t, "push") > 0 {
				at, k := int64(rapid.IntRange(0, 9).Draw(t, "at")), kind(rapid.IntRange(0, int(evSample)).Draw(t, "kind"))
				q.push(at, k, pushed)
				want = append(want, event{at: at, kind: k, ref: pushed})
				pushed++
				continue
			}
			slices.SortStableFunc(want, func(a, b event) int {
				switch {
				case a.at != b.at:
					return int(a.at - b.at)
				case a.kind != b.kind:
					return int(a.kind) - int(b.kind)
				}
				return int(a.ref - b.ref)
			})
			next, ok := q.peek()
			if got := q.pop(); !ok || got != next || got.at != want[0].at || got.kind != want[0].kind || got.ref != want[0].ref {
				t.Fatalf("got %+v, peeked %+v, want %+v", got, next, want[0])
			}
			want = want[1:]
		}
		if _, ok := q.peek(); ok != (len(want) > 0) {
			t.Fatalf("%d are left, and there is a next one: %v", len(want), ok)
		}
	})
}

// The generator is splitmix64, so that a seed means the same everywhere: these
// are the published values for seed 1234567.
func TestRNG(t *testing.T) {
	r := &rng{state: 1234567}
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		if got := r.next(); got != want {
			t.Errorf("value %d is %d, want %d", i, got, want)
		}
	}
	a, b, c := newRNG(1, "network"), newRNG(1, "provider"), newRNG(2, "network")
	same := newRNG(1, "network")
	for range 3 {
		v := a.next()
		if v != same.next() {
			t.Error("one purpose and seed give two streams")
		}
		if v == b.next() || v == c.next() {
			t.Error("two purposes or seeds give one stream")
		}
	}
	var sum, sumExp float64
	var hist [10]int
	const n = 100_000
	for range n {
		f, e := a.float(), a.exp()
		if f < 0 || f >= 1 || e < 0 || e > 4 {
			t.Fatalf("drew %v and %v", f, e)
		}
		sum, sumExp = sum+f, sumExp+e
		hist[a.intn(10)]++
	}
	if m := sum / n; math.Abs(m-0.5) > 0.01 {
		t.Errorf("the mean is %v", m)
	}
	if m, want := sumExp/n, 1-math.Exp(-4); math.Abs(m-want) > 0.02 {
		t.Errorf("the exponential mean is %v, want %v", m, want)
	}
	for d, k := range hist {
		if k < n/10*9/10 || k > n/10*11/10 {
			t.Errorf("digit %d came %d times of %d", d, k, n)
		}
	}
}

// A span is drawn from its first to its last value, and a single one draws
// nothing.
func TestSpan(t *testing.T) {
	r := newRNG(7, "spans")
	lo, hi := time.Hour, time.Duration(0)
	for range 1000 {
		d := span{10 * time.Second, 20 * time.Second}.draw(r)
		lo, hi = min(lo, d), max(hi, d)
	}
	if lo < 10*time.Second || hi > 20*time.Second || lo > 10*time.Second+100*time.Millisecond || hi < 20*time.Second-100*time.Millisecond {
		t.Errorf("drawn from %v to %v", lo, hi)
	}
	before := *r
	if d := (span{5 * time.Second, 5 * time.Second}).draw(r); d != 5*time.Second || *r != before {
		t.Errorf("a single value draws %v", d)
	}
}

// The load of a machine is the sum of its sessions, each growing over its ramp,
// as added up here from scratch; an empty machine has none at all.
func TestMachineLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type piece struct {
			start, ramp int64
			points      float64
		}
		m, there := machine{cpus: 4}, map[int32]piece{}
		now := int64(0)
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += int64(rapid.IntRange(0, 20).Draw(t, "pass")) * int64(time.Second)
			if id := int32(rapid.IntRange(0, i).Draw(t, "session")); rapid.Bool().Draw(t, "drop") {
				if p, ok := there[id]; ok {
					m.load(now) // as a report would
					m.drop(id, p.points)
					delete(there, id)
				}
			} else {
				p := piece{now, int64(rapid.IntRange(0, 3).Draw(t, "ramp")) * int64(10*time.Second), float64(rapid.IntRange(1, 50).Draw(t, "points"))}
				m.add(int32(i), p.points, now, time.Duration(p.ramp))
				there[int32(i)] = p
			}
			want := 0.0
			for _, p := range there {
				if age := now - p.start; age < p.ramp {
					want += p.points * float64(age) / float64(p.ramp)
				} else {
					want += p.points
				}
			}
			if got := m.load(now); math.Abs(got-want) > 1e-6 || len(there) == 0 && got != 0 {
				t.Fatalf("at %v the load of %d sessions is %v, want %v", time.Duration(now), len(there), got, want)
			}
			if m.sessions != len(there) {
				t.Fatalf("%d sessions, want %d", m.sessions, len(there))
			}
		}
	})
}

// Several workloads come out as one, in the order of time, with nothing lost.
func TestMergedWork(t *testing.T) {
	sc := parse(t, `
		duration 2h
		sessions 40 name=a at=10m over=1h
		sessions 20 name=b at=0s over=2h even=on
		joins c count=30 at=30m over=1s
		session d at=30m
		day sessions=200
		agents 5 at=119m over=1m
	`)
	m, last := openAll(&sc), time.Duration(-1)
	count := map[string]int{}
	for {
		at, ok := m.peek()
		if !ok {
			break
		}
		a := m.pop()
		if a.at != at || a.at < last {
			t.Fatalf("%+v comes at %v, after %v", a, at, last)
		}
		last = a.at
		switch {
		case a.what == aJoin:
			count["joins"]++
		case a.what == aAgent:
			count["agents"]++
		case a.room == "d", strings.HasPrefix(a.room, "a"), strings.HasPrefix(a.room, "b"):
			count[a.room[:1]]++
		default:
			count["day"]++
		}
	}
	for name, want := range map[string]int{"a": 40, "b": 20, "joins": 30, "d": 1, "day": 200, "agents": 5} {
		if got := count[name]; got < want-1 || got > want {
			t.Errorf("%d of %s, want %d", got, name, want)
		}
	}
}

// Even arrivals are evenly apart, random ones are within their window, and both
// draw people and times from their ranges.
func TestBursts(t *testing.T) {
	sc := NewScenario()
	b := burst{
		name: "x", at: time.Minute, over: 10 * time.Second, count: 5, even: true, lasts: span{time.Hour, 2 * time.Hour}, people: [2]int{3, 5},
		what: aSession,
	}
	s := b.open(&sc, newRNG(1, "t"))
	for i := range 5 {
		a, ok := s.next()
		if want := time.Minute + time.Duration(i)*2*time.Second; !ok || a.at != want {
			t.Errorf("the %d. is at %v, want %v", i, a.at, want)
		}
		if a.people < 3 || a.people > 5 || a.lasts < time.Hour || a.lasts > 2*time.Hour || a.room != "x"+itoa(i+1) {
			t.Errorf("%+v", a)
		}
		if want := sc.Model.Costs.OfRoom(a.people, a.people).CPU; a.cpu != want {
			t.Errorf("%d people cost %v, want %v", a.people, a.cpu, want)
		}
	}
	if _, ok := s.next(); ok {
		t.Error("a sixth one")
	}
	b.even, b.count = false, 200
	seen := map[int]bool{}
	for s = b.open(&sc, newRNG(1, "t")); ; {
		a, ok := s.next()
		if !ok {
			break
		}
		if a.at < time.Minute || a.at >= time.Minute+10*time.Second {
			t.Errorf("one comes at %v", a.at)
		}
		seen[a.people] = true
	}
	if len(seen) != 3 {
		t.Errorf("people: %v", seen)
	}
}

// The classes of a synthetic day start at the full hour, and its curve is that
// of a day.
func TestDayCurve(t *testing.T) {
	sc := parse(t, "start 2026-03-02T00:00:00Z\nduration 24h\nday sessions=100000 classes=0.5")
	work := openAll(&sc)
	var hours [24]int
	atFull := 0
	for {
		if _, ok := work.peek(); !ok {
			break
		}
		a := work.pop()
		hours[int(a.at.Hours())]++
		if a.at%time.Hour < classWindow {
			atFull++
		}
	}
	var b strings.Builder
	for h, n := range hours {
		fmt.Fprintf(&b, "%02d:00 %5d %s\n", h, n, strings.Repeat("#", n/150))
	}
	fmt.Fprintf(&b, "within %v of a full hour: %d\n", classWindow, atFull)
	golden(t, "day.golden", b.String())
}

// A table lines up what it has, also wide characters and missing cells.
func TestTextTable(t *testing.T) {
	var left textTable
	left.add("", "a", "bbbb")
	left.add("nodes ▁▂", "1", "22")
	left.add("ü", "333")
	if got, want := left.String(), "            a  bbbb\nnodes ▁▂    1    22\nü         333\n"; got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
	right := textTable{right: true}
	right.add("x", "yy")
	right.add("xxx", "y")
	if got, want := right.String(), "  x  yy\nxxx   y\n"; got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
	if got := (&textTable{}).String(); got != "" {
		t.Errorf("nothing is %q", got)
	}
}

// The chart of a terminal: limits, a peak above 100 %, and few rows.
func TestChart(t *testing.T) {
	r := Report{
		Name: "steps", Seed: 3, Duration: 8 * time.Minute, Limits: Limits{Scaling: true, MaxNodes: 8, MinNodes: 1, MaxLoad: 70, MinLoad: 30},
	}
	for i, avg := range []float64{0, 5, 30, 49.9, 70, 71, 100, 20} {
		r.Rows = append(r.Rows, Row{At: time.Duration(i) * time.Minute, TotalLoad: avg * 2, AvgLoad: avg, Running: i, Launching: i % 2, People: i * 10})
	}
	out := r.Text(TextOptions{Width: 40})
	r.Limits.Scaling = false
	r.Rows[6].AvgLoad = 180
	r.Policy = "fixed"
	out += "\n" + r.Text(TextOptions{Width: 8, Rows: 3})
	golden(t, "chart.golden", out)
}

// The clock of a table says what its duration needs.
func TestClock(t *testing.T) {
	at := 25*time.Hour + 3*time.Minute + 9*time.Second
	for d, want := range map[time.Duration]string{time.Hour: "1503:09", 2 * time.Hour: "1503:09", 24 * time.Hour: "01:03", 48 * time.Hour: "d2 01:03"} {
		if got := (Report{Duration: d}).clock(at); got != want {
			t.Errorf("in a run of %v: %q, want %q", d, got, want)
		}
	}
}

// tiny is a scenario with a little of everything, for the forms of output.
const tiny = `
	name "a little of everything"
	seed 11
	duration 4m
	tick 1m
	nodes 1 cpus=4
	launch takes=1m terminate=30s
	report every=10s
	model stale=25s ramp=10s
	autoscale max=3 min=1 max-load=60 min-load=20
	session a at=10s cpu=3 for=2m participants=6
	joins r count=2 at=40s over=10s cpu=0.1 for=1m
	policy plain-sailing max-load=90
`

// The forms that others read: the reports as JSON, and the decision log.
func TestForms(t *testing.T) {
	sc := parse(t, tiny)
	reports, err := Compare(sc, []string{"default", "plain-sailing"})
	if err != nil {
		t.Fatal(err)
	}
	out, err := ReportsJSON(reports)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", string(out))
	var back []Report
	if err := json.Unmarshal(out, &back); err != nil || len(back) != 2 || back[1].Policy != "plain-sailing" {
		t.Errorf("it reads back as %+v, %v", back, err)
	}

	var log strings.Builder
	if _, err := Run(sc, func(line []byte) { log.Write(line) }); err != nil {
		t.Fatal(err)
	}
	golden(t, "log.jsonl", log.String())
	r, err := Replay("log.jsonl", log.String())
	if err != nil || r.Difference != nil || r.Ticks != 5 {
		t.Errorf("replay: %+v, %v", r, err)
	}
}

// A log of must_fit says by which placement policy it was decided, and replays
// with it; without it the decision comes out otherwise.
func TestReplayMustFit(t *testing.T) {
	sc := parse(t, `
		duration 6m
		tick 1m
		nodes 3 cpus=4
		report every=10s
		model stale=30s
		autoscale max=3 min=1 max-load=60 min-load=55 must-fit=on
		place cpu-limit=0.5
		session a at=0s cpu=1.6 for=1h node=n00001
		session b at=0s cpu=1.6 for=1h node=n00002
		session c at=0s cpu=1.2 for=1h node=n00003
	`)
	sc.Autoscale.MaxLoad, sc.Autoscale.MinLoad = 100, 90
	var log strings.Builder
	r, err := Run(sc, func(line []byte) { log.Write(line) })
	if err != nil {
		t.Fatal(err)
	}
	if r.Figures.Drains != 0 {
		t.Fatalf("%d nodes were given up: what is on them fits nowhere", r.Figures.Drains)
	}
	again, err := Replay("log", log.String())
	if err != nil || again.Difference != nil {
		t.Fatalf("replay: %v, %v", err, again.Difference)
	}
	other := strings.ReplaceAll(log.String(), `"cpu_load_limit":0.5`, `"cpu_load_limit":0.9`)
	again, err = Replay("log", other)
	if err != nil || again.Difference == nil || !strings.Contains(again.Difference.String(), "autoscaling at ") {
		t.Errorf("under another placement policy: %v, %v", err, again.Difference)
	}
	broken := strings.ReplaceAll(log.String(), `"cpu_load_limit":0.5`, `"cpu_load_limit":7`)
	if _, err := Replay("log", broken); err == nil || !strings.Contains(err.Error(), "cpu_load_limit is 7") {
		t.Errorf("a placement policy that makes no sense: %v", err)
	}
}

// People, sessions and rejections add up, whatever goes wrong, for any seed and
// any mix of policies: nobody is lost or counted twice, the maximum holds, and
// the log replays.
func TestRunsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sc := NewScenario()
		sc.Seed = rapid.Uint64().Draw(t, "seed")
		sc.Duration, sc.Tick = 12*time.Minute, 30*time.Second
		sc.Fleet.Nodes, sc.Fleet.CPUs = rapid.IntRange(1, 4).Draw(t, "nodes"), 4
		sc.Fleet.FailRate = float64(rapid.IntRange(0, 3).Draw(t, "fail")) / 10
		sc.Reports = Reports{Every: span{5 * time.Second, 8 * time.Second}, Lost: float64(rapid.IntRange(0, 3).Draw(t, "lost")) / 10, Delay: span{0, 3 * time.Second}}
		sc.Scaling = true
		sc.Autoscale = autoscale.Policy{MaxNodes: 6, MinNodes: 1, MaxLoad: 70, MinLoad: 30, MustFit: rapid.Bool().Draw(t, "mustFit"), Reservations: 5 * time.Minute}
		sc.Place.Spill = rapid.SampledFrom([]placement.Spill{placement.SpillNever, placement.SpillPack, placement.SpillShare, placement.SpillSpread}).Draw(t, "spill")
		sc.Place.SortBy = rapid.SampledFrom(placement.SortOrders()).Draw(t, "sort")
		sessions, joins := rapid.IntRange(0, 40).Draw(t, "sessions"), rapid.IntRange(0, 40).Draw(t, "joins")
		sc.work = []source{
			burst{what: aSession, name: "s", count: sessions, over: 8 * time.Minute, lasts: span{time.Minute, 6 * time.Minute}, people: [2]int{2, 6}, cpu: 0.3, ramp: 20 * time.Second},
			burst{what: aJoin, name: "room", count: joins, at: 5 * time.Minute, over: 5 * time.Minute, lasts: span{time.Minute, 10 * time.Minute}, people: [2]int{1, 1}, cpu: 0.1},
		}
		sc.booked = []booking{{at: time.Minute, from: 5 * time.Minute, lasts: 10 * time.Minute, room: joinsPrefix + "room", participants: 20, publishers: 5}}
		for range rapid.IntRange(0, 2).Draw(t, "faults") {
			sc.faults = append(sc.faults, fault{
				at: time.Duration(rapid.IntRange(1, 10).Draw(t, "at")) * time.Minute, count: 1,
				silent: time.Duration(rapid.IntRange(0, 1).Draw(t, "silent")) * 2 * time.Minute,
			})
		}
		var log strings.Builder
		r, err := Run(sc, func(line []byte) { log.Write(line) })
		if err != nil {
			t.Fatal(err)
		}
		f := r.Figures
		if f.Sessions+f.Joins+f.Rejected < sessions+joins || f.Sessions > sessions || f.Joins > joins {
			t.Fatalf("of %d sessions and %d joins: %+v", sessions, joins, f)
		}
		for _, row := range r.Rows {
			if row.Running+row.Launching > max(6, sc.Fleet.Nodes) || row.People < 0 || row.TotalLoad < 0 {
				t.Fatalf("%+v", row)
			}
		}
		if f.NodeHours < 0 || f.PeakNodes < 1 || math.IsNaN(f.Spread) || f.Cost < 0 {
			t.Fatalf("%+v", f)
		}
		again, err := Replay("log", log.String())
		if err != nil || again.Difference != nil {
			t.Fatalf("the log does not replay: %v\n%v", err, again.Difference)
		}
	})
}

// What is still there at the end of a run is what has not ended: with all work
// over, the state is empty again, and its ledger too.
func TestNothingIsLeft(t *testing.T) {
	sc := parse(t, `
		duration 1h
		tick 15s
		nodes 3 cpus=4
		workers
		launch takes=1m terminate=10s detect=5s
		report every=5s lost=0.1 delay=0s..2s
		model stale=20s ramp=10s
		autoscale max=6 min=2 max-load=60 min-load=20
		sessions 60 name=s over=20m cpu=0.3 for=1m..10m participants=2..8
		joins r count=50 at=5m over=5m cpu=0.05 for=1m..10m
		agents 20 at=10m over=5m for=2m
		crash at=8m count=1
		crash at=15m count=1
	`)
	e := newEngine(sc, nil)
	e.begin()
	for e.err == nil && e.step() {
	}
	if e.err != nil {
		t.Fatal(e.err)
	}
	if n := e.state.RoomCount() + len(e.state.Jobs()); n > 0 || e.m.people != 0 || len(e.rooms) != 0 {
		t.Errorf("%d rooms and jobs, %d people, %d rooms of joins are left", n, e.m.people, len(e.rooms))
	}
	for _, n := range e.state.Nodes() {
		if n.Rooms+n.Participants+n.Jobs() > 0 || n.Status == cluster.StatusRunning && len(n.Charges) > 0 {
			t.Errorf("node %s: %+v", n.ID, n)
		}
	}
	for _, m := range e.nodes {
		if m != nil && (m.rooms != 0 || m.people != 0 || m.tracks != 0 || m.agents != 0 || m.sessions != 0 || m.load(e.now) != 0) {
			t.Errorf("machine %+v", *m)
		}
	}
}

// Scenarios that make no sense as a whole are refused when they are run, too.
func TestRunErrors(t *testing.T) {
	for want, change := range map[string]func(*Scenario){
		"duration is 0s, it must be above 0":         func(sc *Scenario) { sc.Duration = 0 },
		"duration is 9000h0m0s, it must be above":    func(sc *Scenario) { sc.Duration = 9000 * time.Hour },
		"tick is -1s, it must be above 0":            func(sc *Scenario) { sc.Tick = -time.Second },
		"has too many ticks of 1ns":                  func(sc *Scenario) { sc.Tick = 1 },
		"report every=0s must be above 0":            func(sc *Scenario) { sc.Reports.Every = span{} },
		"there are no nodes and no autoscaler":       func(sc *Scenario) { sc.Fleet.Nodes = 0 },
		"model: ramp_up: -1ns is negative":           func(sc *Scenario) { sc.Model.RampUp = -1 },
		"invalid placement policy: kind is \"\"":     func(sc *Scenario) { sc.Place.Kind = "" },
		"invalid autoscaling policy: min_nodes is 0": func(sc *Scenario) { sc.Scaling, sc.Autoscale.MinNodes = true, 0 },
	} {
		sc := NewScenario()
		change(&sc)
		if _, err := Run(sc, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	sc := NewScenario()
	sc.Variants = []Variant{{Name: "bad"}}
	if _, err := Compare(sc, []string{"default", "bad"}); err == nil || !strings.Contains(err.Error(), "policy bad: ") {
		t.Errorf("a policy that makes no sense: %v", err)
	}
	if _, err := BuiltinText("nothing"); err == nil || err.Error() != `there is no built-in scenario "nothing"` {
		t.Errorf("a scenario that is not built in: %v", err)
	}
}

// Every scenario that comes with the program has a name and says in its first
// line what it is.
func TestBuiltinTexts(t *testing.T) {
	all := Builtins()
	if len(all) < 8 {
		t.Fatalf("%d scenarios", len(all))
	}
	for _, b := range all {
		if b.Title == "" || !strings.HasPrefix(b.Text, "# ") {
			t.Errorf("%s: %q\n%.80s", b.Name, b.Title, b.Text)
		}
		if text, err := BuiltinText(b.Name); err != nil || text != b.Text {
			t.Errorf("%s: %v", b.Name, err)
		}
	}
	if titleOf("name") != "" || titleOf("\"") != "" || titleOf("seed 1") != "" {
		t.Error("a title out of nothing")
	}
}
