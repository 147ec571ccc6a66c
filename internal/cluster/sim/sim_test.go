package sim

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster/placement"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// golden compares got with testdata/name, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// builtin parses a scenario that comes with the program.
func builtin(t testing.TB, name string) Scenario {
	t.Helper()
	text, err := BuiltinText(name)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := Parse(name, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// liveEvent is the live event with fewer viewers, each of which is worth more, so
// that as many nodes come and go.
func liveEvent(t testing.TB, viewers int) Scenario {
	t.Helper()
	sc := builtin(t, "live-event")
	for i, w := range sc.work {
		b := w.(burst)
		b.cpu *= float64(b.count) / float64(viewers)
		b.count = viewers
		sc.work[i] = b
	}
	return sc
}

func parse(t testing.TB, text string) Scenario {
	t.Helper()
	sc, err := Parse("test", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

func run(t testing.TB, sc Scenario) Report {
	t.Helper()
	r, err := Run(sc, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The built-in scenarios, as the terminal shows them: a change of any policy is
// a change of one of these tables.
func TestBuiltins(t *testing.T) {
	worth := map[string]func(*testing.T, []Report){"school-week": forecastIsWorthIt, "exam": reservationIsWorthIt}
	compare := map[string][]string{
		"incident-joins": {"default", "plain"}, "incident-classes": {"default", "plain"}, "incident-agents": {"default", "plain"},
		"exam": {"default", "booked"}, "live-event": {"default", "reactive", "plain"}, "school-week": {"default", "forecast", "calendar", "careful"},
	}
	for _, b := range Builtins() {
		if b.Name == "big-day" {
			continue // BenchmarkBigDay
		}
		t.Run(b.Name, func(t *testing.T) {
			t.Parallel()
			if b.Title == "" {
				t.Error("no name")
			}
			sc, names := builtin(t, b.Name), compare[b.Name]
			if names == nil {
				golden(t, b.Name+".golden", run(t, sc).Text(TextOptions{Rows: 25, Log: true}))
				return
			}
			reports, err := Compare(sc, names)
			if err != nil {
				t.Fatal(err)
			}
			first := reports[0] // the scenario's own policy
			first.Policy = ""
			golden(t, b.Name+".golden", first.Text(TextOptions{Rows: 25, Log: true})+"\n"+FiguresText(reports))
			if check := worth[b.Name]; check != nil {
				check(t, reports)
			}
		})
	}
}

// TestPublishedRows compares the simulated tables with the published ones, all
// 26 rows, through scenario files.
func TestPublishedRows(t *testing.T) {
	rows := 0
	for i, name := range []string{"published-1", "published-2"} {
		data, err := os.ReadFile(filepath.Join("..", "autoscale", "testdata", "scenario"+itoa(i+1)+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Rows []struct {
				Time        string
				TotalLoad   float64 `json:"total_load"`
				AvgLoad     float64 `json:"avg_load"`
				Running     int
				Launching   int
				Waiting     int `json:"waiting_idle_to_terminate"`
				Canceled    int
				Terminating int
				Log         []string
			}
		}
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		r := run(t, builtin(t, name))
		if len(r.Rows) != len(want.Rows) {
			t.Fatalf("%s has %d rows, want %d", name, len(r.Rows), len(want.Rows))
		}
		for j, w := range want.Rows {
			rows++
			g := r.Rows[j]
			wantRow := Row{
				At: g.At, TotalLoad: w.TotalLoad, AvgLoad: w.AvgLoad, Running: w.Running, Launching: w.Launching,
				Waiting: w.Waiting, Canceled: w.Canceled, Terminating: w.Terminating, People: g.People, Log: w.Log,
			}
			if diff := cmp.Diff(wantRow, g, cmpopts.EquateApprox(0, 1e-9)); diff != "" || r.clock(g.At) != w.Time {
				t.Errorf("%s row %s is at %s (-want +got):\n%s", name, w.Time, r.clock(g.At), diff)
			}
		}
	}
	if rows != 26 {
		t.Errorf("%d rows were compared, the documentation has 26", rows)
	}
}

// On the published incidents the hottest node stays within 1.2 times the mean,
// whatever the seed and the sort order, and the plain rule does not.
func TestIncidents(t *testing.T) {
	const goal = 1.2
	for _, name := range []string{"incident-joins", "incident-classes", "incident-agents"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := builtin(t, name)
			plain, err := base.Policy("plain")
			if err != nil {
				t.Fatal(err)
			}
			if r := run(t, base.WithPolicy(plain)); r.Figures.Spread < goal {
				t.Errorf("the plain rule gives %.2f × the mean: the scenario shows nothing", r.Figures.Spread)
			}
			for _, sort := range placement.SortOrders() {
				for seed := range uint64(5) {
					sc := base
					sc.Seed, sc.Place.SortBy = seed, sort
					r := run(t, sc)
					if r.Figures.Spread > goal || r.Figures.Rejected > 0 {
						t.Errorf("sort_by %s, seed %d: hottest node %.3f × the mean, %d rejected", sort, seed, r.Figures.Spread, r.Figures.Rejected)
					}
				}
			}
		})
	}
}

// The same seed gives the same bytes, in every form; another seed does not.
func TestSeeds(t *testing.T) {
	sc := liveEvent(t, 1500)
	sc.Duration = 40 * time.Minute
	forms := func(sc Scenario) string {
		var log strings.Builder
		r, err := Run(sc, func(line []byte) { log.Write(line) })
		if err != nil {
			t.Fatal(err)
		}
		page, err := HTML([]Report{r})
		if err != nil {
			t.Fatal(err)
		}
		data, err := ReportsJSON([]Report{r})
		if err != nil {
			t.Fatal(err)
		}
		return r.Text(TextOptions{Log: true}) + page + string(data) + log.String()
	}
	a, b := forms(sc), forms(sc)
	if a != b {
		t.Error("two runs of one seed differ")
	}
	sc.Seed++
	if a == forms(sc) {
		t.Error("the seed changes nothing")
	}
}

// A recorded run replays without a difference; a changed decision is found at
// its line; and what is broken is named.
func TestReplay(t *testing.T) {
	sc := liveEvent(t, 4000)
	sc.Duration = 18 * time.Minute
	var log strings.Builder
	if _, err := Run(sc, func(line []byte) { log.Write(line) }); err != nil {
		t.Fatal(err)
	}
	r, err := Replay("log", log.String())
	if err != nil || r.Difference != nil {
		t.Fatalf("replay: %v, %v", err, r.Difference)
	}
	if r.Placements < 1000 || r.Ticks != 73 || r.Events < 1000 {
		t.Errorf("replayed %+v", r)
	}

	lines := strings.SplitAfter(log.String(), "\n")
	at := -1
	for i, l := range lines {
		if strings.Contains(l, `"scale"`) && strings.Contains(l, `"new_nodes"`) {
			at = i
			break
		}
	}
	if at < 0 {
		t.Fatal("no tick launches a node")
	}
	lines[at] = strings.Replace(lines[at], `"new_nodes":`, `"new_nodes":1`, 1)
	r, err = Replay("log", strings.Join(lines, ""))
	if err != nil || r.Difference == nil || r.Difference.Line != at+1 {
		t.Fatalf("a changed plan in line %d: %v, %+v", at+1, err, r.Difference)
	}
	if s := r.Difference.String(); !strings.Contains(s, "recorded: ") || !strings.Contains(s, "now: ") || !strings.Contains(s, "active nodes") {
		t.Errorf("difference reads\n%s", s)
	}
	for _, c := range []struct{ text, want string }{
		{"{}", "log:1: neither a state"},
		{"\n\nnot json", "log:3: invalid character"},
		{`{"event":{"kind":"sneeze","event":{}}}`, `log:1: unknown event: kind "sneeze"`},
		{`{"event":{"kind":"room_closed","event":{"room":"x"}}}`, `log:1: room_closed: unknown room "x"`},
		{`{"place":{"request":{"kind":"room"},"policy":{}}}`, "log:1: invalid placement policy"},
		{`{"scale":{"policy":{},"plan":{}}}`, "log:1: invalid autoscaling policy"},
		{`{"state":{"policy":{}}}`, "log:1: decode state: invalid: policy: stale_after"},
		{`{"what":1}`, `unknown field "what"`},
	} {
		if _, err := Replay("log", c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.text, err, c.want)
		}
	}
}

// Things that go wrong: crashes, silence, failed launches, lost and late
// reports. Everybody is placed again, and nobody is counted twice.
func TestFaults(t *testing.T) {
	sc := parse(t, `
		name faults
		duration 1h
		tick 15s
		nodes 3 cpus=4
		launch takes=1m..2m fail=0.3 terminate=20s detect=5s
		report every=5s lost=0.1 delay=0s..2s
		model stale=20s
		autoscale max=8 min=3 max-load=70 min-load=30
		sessions 60 name=s at=1m over=10m participants=2..6 cpu=0.2 for=30m..50m ramp=30s
		crash at=20m count=2
		crash at=25m node=n00001
		silence at=30m for=3m count=2
	`)
	r := run(t, sc)
	f := r.Figures
	if f.Sessions != 60 || f.Crashes < 2 || f.Interrupted == 0 || f.LaunchFailures == 0 || f.Rejected != 0 {
		t.Errorf("figures %+v", f)
	}
	for _, row := range r.Rows {
		if row.Running+row.Launching > 8 {
			t.Errorf("at %v %d active nodes, the maximum is 8", row.At, row.Running+row.Launching)
		}
	}
	last := r.Rows[len(r.Rows)-1]
	if last.People != 0 && last.At > 62*time.Minute {
		t.Errorf("%d people at the end", last.People)
	}
}

// Every launch a failure, every report lost: the simulation ends all the same.
func TestNothingWorks(t *testing.T) {
	r := run(t, parse(t, `
		duration 20m
		nodes 1 cpus=1
		launch takes=10s fail=1
		report every=5s
		autoscale max=5 min=2 max-load=50 min-load=10
		sessions 20 over=10m cpu=0.5 for=5m
		agents 3 at=1m
	`))
	if f := r.Figures; f.Sessions != 20 || f.Launches < 20 || f.LaunchFailures < 10 || f.Rejected != 3 {
		t.Errorf("figures %+v", f)
	}
}

// Costs are cores × minutes × price, from launch to termination.
func TestCosts(t *testing.T) {
	r := run(t, parse(t, "duration 8h\nnodes 3 cpus=4\nmodel stale=1m"))
	if f := r.Figures; f.NodeHours != 24 || f.Cost < 3.455 || f.Cost > 3.457 {
		t.Errorf("12 cores for 8 hours: %+v; the published price is 3.46", f)
	}
}

// The forecast, judged on the same days: less overload than the default.
func forecastIsWorthIt(t *testing.T, reports []Report) {
	d, f := reports[0].Figures, reports[1].Figures
	if f.HotPersonMinutes > d.HotPersonMinutes*0.6 || f.NodeHours > d.NodeHours*1.2 {
		t.Errorf("default %.0f person-minutes with %.0f node-hours, forecast %.0f with %.0f", d.HotPersonMinutes, d.NodeHours, f.HotPersonMinutes, f.NodeHours)
	}
}

// A reservation is worth it: the nodes are there when the people come.
func reservationIsWorthIt(t *testing.T, reports []Report) {
	not, booked := reports[0].Figures, reports[1].Figures
	if booked.Reservations != 3 || booked.ReservationsRefused != 1 || booked.Joins+booked.Rejected != not.Joins+not.Rejected {
		t.Errorf("%+v", booked)
	}
	if not.HotPersonMinutes < 100 || booked.HotPersonMinutes > not.HotPersonMinutes/10 {
		t.Errorf("%.0f person-minutes on overloaded nodes with reservations counted, %.0f without", booked.HotPersonMinutes, not.HotPersonMinutes)
	}
}

// A comparison gives every policy the same work.
func TestCompareIsFair(t *testing.T) {
	sc := liveEvent(t, 2000)
	reports, err := Compare(sc, []string{"default", "cooldown", "headroom", "fixed"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		if r.Figures.Joins+r.Figures.Rejected != 2000 {
			t.Errorf("policy %s: %d joins, %d rejected", r.Policy, r.Figures.Joins, r.Figures.Rejected)
		}
	}
	if _, err := Compare(sc, []string{"nope"}); err == nil || !strings.Contains(err.Error(), `unknown policy "nope"`) {
		t.Errorf("unknown policy: %v", err)
	}
}

// BenchmarkBigDay is a day of 1,000 nodes and 5 million sessions.
func BenchmarkBigDay(b *testing.B) {
	sc := builtin(b, "big-day")
	for b.Loop() {
		r := run(b, sc)
		if r.Figures.Sessions+r.Figures.Rejected != 5_000_000 || r.Figures.PeakNodes < 1000 {
			b.Fatalf("figures %+v", r.Figures)
		}
	}
	b.ReportMetric(float64(b.N)*5e6/b.Elapsed().Seconds(), "sessions/s")
}
