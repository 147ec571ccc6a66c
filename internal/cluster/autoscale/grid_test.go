package autoscale

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
)

// grid prints how many active nodes are wanted for every total load and number
// of nodes, under the policy in force: a change of the formula is a change of
// this table.
func grid(p Policy, nodes, step, upTo int) string {
	var b strings.Builder
	b.WriteString("total")
	for n := 1; n <= nodes; n++ {
		fmt.Fprintf(&b, "%4d", n)
	}
	b.WriteByte('\n')
	for total := 0; total <= upTo; total += step {
		fmt.Fprintf(&b, "%5d", total)
		for n := 1; n <= nodes; n++ {
			m := Measure{Running: n, Active: n, TotalLoad: float64(total), AvgLoad: float64(total) / float64(n), Known: true}
			fmt.Fprintf(&b, "%4d", max(p.MinNodes, min(p.MaxNodes, baseTarget(m, p))))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// The formula against the sentence it stands for, tried out by brute force: the
// nearest number of nodes whose average is inside the limits, if there is one.
func TestTargetByBruteForce(t *testing.T) {
	for _, limits := range [][2]float64{{30, 70}, {20, 70}, {50, 60}, {0, 50}, {10, 100}} {
		p := Policy{MinNodes: 1, MaxNodes: 12, MinLoad: limits[0], MaxLoad: limits[1]}
		for n := 1; n <= 12; n++ {
			for total := 0.0; total <= 1300; total += 7 {
				m := Measure{Running: n, Active: n, TotalLoad: total, AvgLoad: total / float64(n), Known: true}
				got := baseTarget(m, p)
				if want := nearestInside(total, n, p); got != want {
					t.Fatalf("limits %v, %d nodes, total %v: %d wanted, brute force says %d", limits, n, total, got, want)
				}
			}
		}
	}
}

// nearestInside walks from n, up or down, to the first number of nodes whose
// average is inside; walking down it stops before one that would be overloaded.
func nearestInside(total float64, n int, p Policy) int {
	avg := func(k int) float64 { return total / float64(k) }
	k := n
	switch {
	case avg(n) > p.MaxLoad:
		for k < p.MaxNodes && avg(k) > p.MaxLoad {
			k++
		}
	case avg(n) < p.MinLoad:
		for k > p.MinNodes && avg(k) < p.MinLoad && avg(k-1) <= p.MaxLoad {
			k--
		}
	}
	return k
}

func TestNeededIsBounded(t *testing.T) {
	if got := needed(math.MaxFloat64, 1e-300); got <= 0 {
		t.Errorf("needed overflows to %d", got)
	}
}

func ExampleDecide() {
	w := clustertest.New()
	w.Must(
		cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "a", CPUs: 4}},
		cluster.NodeStatusChanged{At: w.Now, Node: "a", Status: cluster.StatusRunning},
		cluster.LoadReported{At: w.Now, Node: "a", Load: cluster.Load{Version: 1, CPU: 83}},
	)
	plan, why := Decide(w.State, Policy{MaxNodes: 4, MinNodes: 1, MaxLoad: 70, MinLoad: 30}, w.Now)
	fmt.Println("new nodes:", plan.Launch.NewNodes)
	fmt.Println(why)
	// Output:
	// new nodes: 1
	// 1 active nodes (1 running, 0 launching), 0 waiting, 0 canceled; total 83%, average 83%, limits [30%, 70%]
	// load: average 83% is above 70% → 2
	// The cluster average load (83.00%) is above its limits [30.00%, 70.00%] and the upper limit of Media Nodes (4) has not been reached. Current number of active nodes is 1 (0 launching and 1 running). 1 new Media Nodes will be launched.
}
