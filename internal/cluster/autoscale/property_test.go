package autoscale

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawPolicy is any valid policy without options.
func drawPolicy(t *rapid.T) Policy {
	p := Policy{MinNodes: rapid.IntRange(1, 6).Draw(t, "min")}
	p.MaxNodes = p.MinNodes + rapid.IntRange(0, 10).Draw(t, "spread")
	p.MaxLoad = float64(rapid.IntRange(20, 100).Draw(t, "maxLoad"))
	p.MinLoad = float64(rapid.IntRange(0, int(p.MaxLoad)-1).Draw(t, "minLoad"))
	return p
}

// drawWorld is any cluster: nodes of every status, some hosting, some unknown.
func drawWorld(t *rapid.T, unknown bool) *clustertest.World {
	w := clustertest.New()
	n := rapid.IntRange(0, 12).Draw(t, "nodes")
	paths := [][]cluster.Status{
		{}, {cluster.StatusRunning}, {cluster.StatusRunning}, {cluster.StatusRunning}, {cluster.StatusCanceled}, {cluster.StatusFailed},
		{cluster.StatusRunning, cluster.StatusWaiting}, {cluster.StatusRunning, cluster.StatusTerminating},
	}
	for i := range n {
		id := fmt.Sprintf("n%02d", i)
		w.Now = w.Now.Add(time.Second)
		w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: 4}})
		path := rapid.SampledFrom(paths).Draw(t, "status")
		for _, s := range path {
			w.Must(cluster.NodeStatusChanged{At: w.Now, Node: id, Status: s})
		}
		if len(path) == 0 || !path[0].Loaded() {
			continue
		}
		cpu := 0.0
		if rapid.Bool().Draw(t, "hosting") {
			w.Must(cluster.RoomPlaced{At: w.Now, Room: "r" + id, Node: id})
			cpu = rapid.Float64Range(0, 100).Draw(t, "cpu")
		}
		if !unknown || rapid.IntRange(0, 4).Draw(t, "silent") > 0 {
			w.Must(cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 1, CPU: cpu}})
		}
	}
	p := w.State.Policy()
	p.StaleAfter = time.Hour
	w.Must(cluster.PolicyChanged{At: w.Now, Policy: p})
	return w
}

// carryOut applies a plan and adds the nodes that a provider would launch.
func carryOut(w *clustertest.World, p Plan, e Explanation, prefix string) {
	w.Must(p.Events(e.Measure.Active)...)
	for i := range p.NodesToLaunch() {
		w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: fmt.Sprintf("%s%d", prefix, i), CPUs: 4}})
	}
}

// Decide changes nothing, and says the same again.
func TestDecideIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := drawWorld(t, true), drawPolicy(t)
		before, err := json.Marshal(w.State)
		if err != nil {
			t.Fatal(err)
		}
		p1, e1 := Decide(w.State, p, w.Now)
		p2, e2 := Decide(w.State.Clone(), p, w.Now)
		after, _ := json.Marshal(w.State)
		if string(before) != string(after) {
			t.Fatalf("the state changed:\n%s\n%s", before, after)
		}
		if diff := cmp.Diff(p1, p2) + cmp.Diff(e1, e2); diff != "" {
			t.Fatalf("two decisions on one state differ:\n%s", diff)
		}
	})
}

// When nothing but the plan has changed, the next tick does nothing: no node is
// launched twice, and a removal is never taken back.
func TestDecideIsFixpoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := drawWorld(t, false), drawPolicy(t)
		for i := range 2 {
			plan, e := Decide(w.State, p, w.Now)
			if i == 1 && !plan.Empty() {
				t.Fatalf("the second tick wants %+v\n%s", plan, e)
			}
			carryOut(w, plan, e, "new")
		}
	})
}

// min ≤ active ≤ max after a plan, whatever the state; the plan's target is
// what comes of it; and every transition is one that the table has.
func TestLimitsAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := drawWorld(t, true), drawPolicy(t)
		plan, e := Decide(w.State, p, w.Now)
		for _, tr := range plan.Transitions() {
			n, ok := w.State.Node(tr.Node)
			if !ok || n.Status != tr.From || !tr.From.CanBecome(tr.To) {
				t.Fatalf("transition %+v of node in status %q", tr, n.Status)
			}
		}
		carryOut(w, plan, e, "new")
		active := measure(w.State, p, w.Now).Active
		if active != plan.Target {
			t.Fatalf("target %d, but %d are active", plan.Target, active)
		}
		if active < p.MinNodes || active > p.MaxNodes {
			t.Fatalf("%d active nodes, limits %d to %d\n%s", active, p.MinNodes, p.MaxNodes, e)
		}
	})
}

// Scaling in gives up the nodes with the lowest load, and none of unknown load.
func TestScaleInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := drawWorld(t, true), drawPolicy(t)
		plan, e := Decide(w.State, p, w.Now)
		if e.Measure.Active > p.MaxNodes {
			t.Skip("repair of the maximum")
		}
		gone := map[string]bool{}
		highest := -1.0
		for _, d := range plan.Terminate.Running {
			gone[d.Node] = true
			highest = max(highest, d.Load)
			n, _ := w.State.Node(d.Node)
			if !n.Known(w.Now, w.State.Policy().StaleAfter) {
				t.Fatalf("node %s of unknown load is given up", d.Node)
			}
			if want := n.Idle(); (d.To == cluster.StatusTerminating) != want {
				t.Fatalf("node %s idle %v becomes %s", d.Node, want, d.To)
			}
		}
		for _, n := range w.State.Nodes() {
			if n.Status != cluster.StatusRunning || gone[n.ID] || !n.Known(w.Now, w.State.Policy().StaleAfter) {
				continue
			}
			if len(gone) > 0 && n.Load.CPU < highest {
				t.Fatalf("node %s at %v stays while one at %v goes", n.ID, n.Load.CPU, highest)
			}
		}
		if len(plan.Terminate.Running) > 0 {
			for _, n := range w.State.Nodes() {
				if n.Status == cluster.StatusLaunching && len(plan.Terminate.Launching) == 0 {
					t.Fatalf("a running node goes while %s launches", n.ID)
				}
			}
		}
	})
}

// The average after a plan is inside the limits, or a limit on the number of
// nodes is the reason why not, or no whole number of nodes would do.
func TestPlanBringsTheAverageBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := drawWorld(t, false), drawPolicy(t)
		plan, e := Decide(w.State, p, w.Now)
		total := e.Measure.TotalLoad
		if total > p.MaxLoad*float64(plan.Target)*(1+1e-9) && plan.Target < p.MaxNodes {
			t.Fatalf("total %v on %d nodes is above %v%%\n%s", total, plan.Target, p.MaxLoad, e)
		}
		fewer := float64(plan.Target - 1)
		if total < p.MinLoad*fewer*(1-1e-9) && total <= p.MaxLoad*fewer && plan.Target > p.MinNodes {
			t.Fatalf("total %v would fit on one node fewer than %d\n%s", total, plan.Target, e)
		}
	})
}

// Inside the cooldown nothing is launched and then removed, or removed and
// launched again, however the load moves; the limits alone may be repaired.
func TestNoFlappingInsideTheCooldown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := clustertest.New()
		mp := w.State.Policy()
		mp.StaleAfter = time.Hour
		w.Must(cluster.PolicyChanged{At: w.Now, Policy: mp})
		p := drawPolicy(t)
		p.Cooldown = Cooldown{Out: 10 * time.Minute, In: 10 * time.Minute}
		var lastOut, lastIn time.Time
		version := uint64(0)
		for i := range rapid.IntRange(2, 40).Draw(t, "ticks") {
			w.Now = w.Now.Add(time.Minute)
			for _, n := range w.State.Nodes() {
				if n.Status == cluster.StatusLaunching {
					w.Must(cluster.NodeStatusChanged{At: w.Now, Node: n.ID, Status: cluster.StatusRunning})
				}
				version++
				w.Must(cluster.LoadReported{At: w.Now, Node: n.ID, Load: cluster.Load{Version: version, CPU: rapid.Float64Range(0, 100).Draw(t, "cpu")}})
			}
			plan, e := Decide(w.State, p, w.Now)
			repair := e.Measure.Active < p.MinNodes
			if n := plan.Launch.Total(); n > 0 && !repair {
				if !lastOut.IsZero() && w.Now.Sub(lastOut) < p.Cooldown.Out {
					t.Fatalf("added %v after adding\n%s", w.Now.Sub(lastOut), e)
				}
			}
			if plan.Terminate.Total() > 0 {
				for _, last := range []time.Time{lastOut, lastIn} {
					if !last.IsZero() && w.Now.Sub(last) < p.Cooldown.In {
						t.Fatalf("removed %v after a change\n%s", w.Now.Sub(last), e)
					}
				}
				lastIn = w.Now
			}
			if plan.Launch.Total() > 0 {
				lastOut = w.Now
			}
			carryOut(w, plan, e, fmt.Sprintf("t%d-", i))
		}
	})
}

// With hold_on_unknown nothing is removed while a load is unknown.
func TestHoldUnknown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := drawWorld(t, true), drawPolicy(t)
		p.HoldUnknown = true
		plan, e := Decide(w.State, p, w.Now)
		if e.Measure.Unknown > 0 && e.Measure.Active <= p.MaxNodes && plan.Terminate.Total() > 0 {
			t.Fatalf("%d loads are unknown and %d nodes go", e.Measure.Unknown, plan.Terminate.Total())
		}
	})
}

// Options that keep capacity never lead to fewer nodes than the default.
func TestOptionsOnlyAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := drawWorld(t, true), drawPolicy(t)
		base, _ := Decide(w.State, p, w.Now)
		p.Headroom = Headroom{Nodes: rapid.IntRange(0, 3).Draw(t, "nodes"), Participants: rapid.IntRange(0, 300).Draw(t, "people"), ParticipantCPU: 0.01}
		p.Queue = true
		p.Calendar = []Period{{From: 0, To: 24 * time.Hour, MinNodes: rapid.IntRange(1, 20).Draw(t, "floor")}}
		with, e := Decide(w.State, p, w.Now)
		if with.Target < base.Target {
			t.Fatalf("%d nodes with options, %d without\n%s", with.Target, base.Target, e)
		}
		if with.Target > p.MaxNodes {
			t.Fatalf("%d nodes, the maximum is %d", with.Target, p.MaxNodes)
		}
	})
}

// The log line counts the nodes as they are after the decision.
func TestLogCountsAfterTheDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := drawWorld(t, true), drawPolicy(t)
		plan, e := Decide(w.State, p, w.Now)
		carryOut(w, plan, e, "new")
		m := measure(w.State, p, w.Now)
		want := fmt.Sprintf("[R=%d W=%d L=%d C=%d]", m.Running, m.Waiting, m.Launching, m.Canceled)
		if got := e.Log[0][len(e.Log[0])-len(want):]; got != want {
			t.Fatalf("log %q, cluster %s", e.Log[0], want)
		}
	})
}

// FuzzParsePeriod: no text makes the parser panic, and what it accepts is valid.
func FuzzParsePeriod(f *testing.F) {
	for _, s := range []string{"mon-fri 08:30-17:00 12", "sat,sun 10:00-12:00 4", "22:00-02:00 3", "fri-mon 00:00-24:00 1", "x", "mon 1-2 3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParsePeriod(s)
		if err != nil {
			return
		}
		if err := c.validate(); err != nil {
			t.Fatalf("%q gives %+v: %v", s, c, err)
		}
		for h := range 24 * 7 {
			c.Holds(clustertest.Epoch().Add(time.Duration(h) * time.Hour))
		}
	})
}

// BenchmarkDecide is one tick over 10,000 nodes, with and without something to do.
func BenchmarkDecide(b *testing.B) {
	for _, c := range []struct {
		name string
		cpu  float64
	}{{"steady", 50}, {"out", 90}, {"in", 10}} {
		b.Run(c.name, func(b *testing.B) {
			w := clustertest.New()
			for i := range 10_000 {
				id := fmt.Sprintf("node%05d", i)
				w.Must(
					cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: 8}},
					cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning},
					cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 1, CPU: c.cpu + float64(i%10)}},
				)
			}
			p := Policy{MaxNodes: 20_000, MinNodes: 1, MaxLoad: 70, MinLoad: 30}
			b.ReportAllocs()
			for b.Loop() {
				Decide(w.State, p, w.Now)
			}
		})
	}
}
