package autoscale

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
	"github.com/concertina-rtc/concertina/internal/cluster/placement"
	"github.com/concertina-rtc/concertina/internal/cluster/script"
	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write the outputs of the scenario files anew")

// TestScenarios runs testdata/*.txt.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := &world{World: clustertest.New(), policy: DefaultPolicy()}
			got, err := script.Rewrite(file, string(text), func(c *script.Command) string {
				out, known := w.run(c)
				if !known {
					t.Fatalf("%v", c.Errorf("unknown command"))
				}
				return out
			})
			if err != nil {
				t.Fatal(err)
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// world adds the autoscaler's commands to those about the cluster:
//
//	autoscale max=8 min=1 …   sets the policy
//	decide                    prints the plan and its explanation
//	tick                      prints the plan and carries it out
//	event                     prints the autoscaling event
//	grid NODES STEP TOTAL     prints the target for every total and number of nodes
//	order                     prints the drain order
type world struct {
	*clustertest.World
	policy   Policy
	launched int
}

func (w *world) run(c *script.Command) (string, bool) {
	switch c.Name {
	case "autoscale":
		if err := w.setPolicy(c); err != nil {
			return "error: " + err.Error(), true
		}
		return "", true
	case "decide":
		p, e := w.decide()
		return printPlan(p) + e.String(), true
	case "tick":
		return w.tick(), true
	case "grid":
		var n [3]int
		for i, a := range c.Args {
			if _, err := fmt.Sscan(a, &n[i]); err != nil {
				return "error: " + err.Error(), true
			}
		}
		return grid(w.policy, n[0], n[1], n[2]), true
	case "event":
		p, e := w.decide()
		out, err := json.MarshalIndent(NewEvent(w.State, p, e, "MY_CLUSTER"), "", "  ")
		if err != nil {
			return err.Error(), true
		}
		return string(out), true
	case "order":
		var b strings.Builder
		for _, d := range DrainOrder(w.State, w.Now) {
			fmt.Fprintf(&b, "%s %s → %s load %v known %v\n", d.Node, d.Status, d.To, d.Load, d.Known)
		}
		return b.String(), true
	}
	return w.Run(c)
}

// decide lets placement say what fits, as the control loop does.
func (w *world) decide() (Plan, Explanation) {
	return DecideFitting(w.State, w.policy, w.Now, fitsBy(w))
}

func fitsBy(w *world) Fits {
	f := placement.NewFitter(w.State, placement.DefaultPolicy(), w.Now)
	return func(node string) (bool, string) {
		fit, err := f.Without(node)
		if err != nil {
			return false, err.Error()
		}
		return fit.Fits, fit.String()
	}
}

func (w *world) tick() string {
	p, e := w.decide()
	w.Must(p.Events(e.Measure.Active)...)
	for range p.NodesToLaunch() {
		w.launched++
		w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: fmt.Sprintf("new%d", w.launched), CPUs: 4}})
	}
	return printPlan(p) + strings.Join(e.Log, "\n")
}

func printPlan(p Plan) string {
	var b strings.Builder
	for _, t := range p.Transitions() {
		fmt.Fprintf(&b, "%s: %s → %s\n", t.Node, t.From, t.To)
	}
	switch {
	case p.Repeated:
		fmt.Fprintf(&b, "announced already: %d new nodes\n", p.Launch.NewNodes)
	case p.Advice:
		fmt.Fprintf(&b, "announce %d new nodes\n", p.Launch.NewNodes)
	case p.Launch.NewNodes > 0:
		fmt.Fprintf(&b, "launch %d new nodes\n", p.Launch.NewNodes)
	}
	return b.String()
}

func (w *world) setPolicy(c *script.Command) error {
	p, err := ReadPolicy(c, DefaultPolicy())
	if err != nil {
		return err
	}
	if err := c.Unused(); err != nil {
		return err
	}
	w.policy = p
	return p.Validate()
}
