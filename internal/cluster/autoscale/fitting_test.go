package autoscale

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawOptions switches any of the options on.
func drawOptions(t *rapid.T, p Policy) Policy {
	if rapid.Bool().Draw(t, "cooldown") {
		p.Cooldown = Cooldown{Out: 5 * time.Minute, In: 5 * time.Minute}
	}
	if rapid.Bool().Draw(t, "headroom") {
		p.Headroom = Headroom{Nodes: rapid.IntRange(0, 3).Draw(t, "spare"), Participants: rapid.IntRange(0, 200).Draw(t, "people"), ParticipantCPU: 0.02}
	}
	if rapid.Bool().Draw(t, "calendar") {
		p.Calendar = []Period{{From: 0, To: 24 * time.Hour, MinNodes: rapid.IntRange(1, 20).Draw(t, "floor")}}
	}
	p.NodeCPUs = 4 // known also while there is no node to measure it by
	p.HoldUnknown = rapid.Bool().Draw(t, "holdUnknown")
	p.MustFit = rapid.Bool().Draw(t, "mustFit")
	p.OnPremises = rapid.Bool().Draw(t, "onPremises")
	return p
}

// No plan both adds and removes, names a node twice, or says nothing of what it
// does; what is on premises is never launched; and the steps lead to the target.
func TestPlansHang(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, true)
		p := drawOptions(t, drawPolicy(t))
		plan, e := DecideFitting(w.State, p, w.Now, func(string) (bool, string) { return rapid.Bool().Draw(t, "fits"), "drawn" })
		if plan.Launch.Total() > 0 && plan.Terminate.Total() > 0 {
			t.Fatalf("one plan adds %d and removes %d\n%s", plan.Launch.Total(), plan.Terminate.Total(), e)
		}
		seen := map[string]bool{}
		for _, tr := range plan.Transitions() {
			if seen[tr.Node] {
				t.Fatalf("%s is in the plan twice\n%s", tr.Node, e)
			}
			seen[tr.Node] = true
		}
		changes := plan.Launch.Total()+plan.Terminate.Total() > 0
		if (plan.Reason != "") != changes {
			t.Fatalf("the plan changes %v, and the reason is %q", changes, plan.Reason)
		}
		if plan.Empty() != (e.Log[1] == "Autoscaling doing nothing") {
			t.Fatalf("empty %v, log %q", plan.Empty(), e.Log[1])
		}
		if p.OnPremises && plan.NodesToLaunch() > 0 {
			t.Fatalf("on premises %d nodes are to be launched", plan.NodesToLaunch())
		}
		if plan.Target != e.Measure.Active+plan.Launch.Total()-plan.Terminate.Total() {
			t.Fatalf("target %d of %d active\n%s", plan.Target, e.Measure.Active, e)
		}
		if last := e.Steps[len(e.Steps)-1]; plan.Terminate.Total() > 0 && plan.Target < last.Target {
			t.Fatalf("%d nodes are left, the last step says %d\n%s", plan.Target, last.Target, e)
		}
		for _, s := range e.Steps {
			if s.By == "" || s.Note == "" || !strings.Contains(e.String(), s.Note) {
				t.Fatalf("step %+v\n%s", s, e)
			}
		}
	})
}

// With every option on, too, the plan settles: carried out, the next tick does
// nothing, as long as nothing else changes.
func TestOptionsSettle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t, false)
		p := drawOptions(t, drawPolicy(t))
		// Cooldowns end by themselves; without them the first tick does it all.
		p.Cooldown = Cooldown{}
		no := map[string]bool{}
		for _, n := range w.State.Nodes() {
			no[n.ID] = rapid.IntRange(0, 2).Draw(t, "no") == 0
		}
		fits := func(node string) (bool, string) { return !no[node], "drawn" }
		for i := range 3 {
			plan, e := DecideFitting(w.State, p, w.Now, fits)
			// Only after nodes beyond the maximum are gone is the rest asked.
			if allowed := 1 + map[bool]int{true: 1}[p.MustFit]; i >= allowed && !plan.Empty() {
				t.Fatalf("tick %d wants %+v\n%s", i, plan, e)
			}
			carryOut(w, plan, e, fmt.Sprintf("new%d-", i))
		}
	})
}

// With must_fit a node goes only when the answer for it was yes, unless there
// are more than the maximum; without it nobody is asked; and nobody who can
// answer means that nobody goes.
func TestMustFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := drawWorld(t, true), drawPolicy(t)
		asked, yes := []string{}, map[string]bool{}
		fits := func(node string) (bool, string) {
			asked = append(asked, node)
			yes[node] = rapid.Bool().Draw(t, "fits")
			return yes[node], "because"
		}
		free, _ := DecideFitting(w.State, p, w.Now, fits)
		if len(asked) > 0 {
			t.Fatalf("asked for %v without must_fit", asked)
		}
		if plain, _ := Decide(w.State, p, w.Now); !cmp.Equal(plain, free) {
			t.Fatal("an answer that nobody asks for changes the plan")
		}
		p.MustFit = true
		plan, e := DecideFitting(w.State, p, w.Now, fits)
		gone := slices.Clone(plan.Terminate.Launching)
		for _, d := range plan.Terminate.Running {
			gone = append(gone, d.Node)
		}
		beyond := max(0, e.Measure.Active-p.MaxNodes)
		for i, node := range gone {
			if i >= beyond && !yes[node] {
				t.Fatalf("%s goes although it does not fit\n%s", node, e)
			}
		}
		if len(slices.Compact(slices.Sorted(slices.Values(asked)))) != len(asked) {
			t.Fatalf("asked twice: %v", asked)
		}
		if plan.Terminate.Total() > free.Terminate.Total() || plan.Launch.Total() != free.Launch.Total() {
			t.Fatalf("must_fit removes %d, without it %d go\n%s", plan.Terminate.Total(), free.Terminate.Total(), e)
		}
		order := []string{}
		for _, d := range DrainOrder(w.State, w.Now) {
			order = append(order, d.Node)
		}
		at := -1
		for _, node := range gone {
			if i := slices.Index(order, node); i <= at {
				t.Fatalf("%v is not in the drain order %v", gone, order)
			} else {
				at = i
			}
		}
		alone, _ := Decide(w.State, p, w.Now)
		if alone.Terminate.Total() != min(beyond, free.Terminate.Total()) {
			t.Fatalf("nobody can answer, and %d go", alone.Terminate.Total())
		}
	})
}

// A tick after a launch completes must not launch another one only because the
// first report is still on its way; once it is overdue, the node counts.
func TestNewcomers(t *testing.T) {
	p := Policy{MaxNodes: 9, MinNodes: 1, MaxLoad: 70, MinLoad: 30}
	for _, c := range []struct {
		name   string
		change func(*clustertest.World)
		after  time.Duration
		total  float64
		adds   int
	}{
		{"just up", func(*clustertest.World) {}, 0, 136, 0},
		{"up for a while", func(*clustertest.World) {}, 4900 * time.Millisecond, 136, 0},
		{"overdue", func(*clustertest.World) {}, 5 * time.Second, 204, 0},
		{"it hosts a room", func(w *clustertest.World) { w.Must(cluster.RoomPlaced{At: w.Now, Room: "r", Node: "new"}) }, 0, 204, 0},
		{"it reported", func(w *clustertest.World) {
			w.Must(cluster.LoadReported{At: w.Now, Node: "new", Load: cluster.Load{Version: 1, CPU: 90}})
		}, 0, 226, 1},
		{"it drains", func(w *clustertest.World) {
			w.Must(cluster.NodeStatusChanged{At: w.Now, Node: "new", Status: cluster.StatusWaiting})
		}, 0, 204, 1},
	} {
		w := clustertest.New()
		for _, id := range []string{"a", "b", "new"} {
			w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: 4}}, cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning})
		}
		c.change(w)
		now := w.Now.Add(c.after)
		for _, id := range []string{"a", "b"} {
			w.Must(cluster.LoadReported{At: now, Node: id, Load: cluster.Load{Version: 1, CPU: 68}})
		}
		plan, e := Decide(w.State, p, now)
		if e.Measure.TotalLoad != c.total || plan.Launch.Total() != c.adds {
			t.Errorf("%s: total %v, want %v; %d nodes are added, want %d\n%s", c.name, e.Measure.TotalLoad, c.total, plan.Launch.Total(), c.adds, e)
		}
	}
}

// The forecast looks ahead by its lead, whole buckets or not.
func TestForecastLead(t *testing.T) {
	p := Policy{MaxNodes: 9, MinNodes: 1, MaxLoad: 50, MinLoad: 10}
	start := clustertest.Epoch() // 09:00
	for _, c := range []struct {
		lead, at time.Duration // the peak of yesterday is from 09:30 to 09:35
		want     int
	}{
		{time.Minute, 28 * time.Minute, 1}, {time.Minute, 29 * time.Minute, 4}, {2 * time.Minute, 28 * time.Minute, 4},
		{5 * time.Minute, 24*time.Minute + 59*time.Second, 1}, {5 * time.Minute, 25 * time.Minute, 4}, {7 * time.Minute, 23 * time.Minute, 4},
		{30 * time.Minute, 0, 4}, {29 * time.Minute, 0, 1}, {time.Minute, 34 * time.Minute, 4}, {time.Minute, 35 * time.Minute, 1}, {0, 29 * time.Minute, 1},
	} {
		w := clustertest.New()
		w.Must(cluster.NodeAdded{At: start, Node: cluster.Node{ID: "a", CPUs: 4}}, cluster.NodeStatusChanged{At: start, Node: "a", Status: cluster.StatusRunning})
		for m := range 12 {
			total := 40.0
			if m == 6 {
				total = 180
			}
			w.Must(cluster.LoadSampled{At: start.Add(time.Duration(m) * 5 * time.Minute), Total: total})
		}
		now := start.Add(24*time.Hour + c.at)
		cpu := 40.0
		if c.at >= 30*time.Minute && c.at < 35*time.Minute {
			cpu = 180
		}
		w.Must(cluster.LoadReported{At: now, Node: "a", Load: cluster.Load{Version: 1, CPU: cpu}})
		p.Forecast.Lead = c.lead
		if plan, e := Decide(w.State, p, now); plan.Target != c.want {
			t.Errorf("lead %v at +%v: %d nodes, want %d\n%s", c.lead, c.at, plan.Target, c.want, e)
		}
	}
}
