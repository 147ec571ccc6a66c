package placement

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
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

// world adds the commands of placement to those about the cluster:
//
//	place kind=any sort=random …   sets the policy
//	why room NAME / participant ROOM ID / egress ID / ingress ID / agent ID
//	                               prints the decision's explanation
//	put …                          the same, carried out, printed in one line
//	burst room|participant|agent N places N at once, prints where they went
//	reserve ID …                   asks for a reservation
//	matrix NAME                    places a room under every selector and sort order
//	bind                           gives what is unplaced to nodes
//	fits NODE                      asks whether all would fit without the node
type world struct {
	*clustertest.World
	policy Policy
	fleet  Fleet
}

func (w *world) run(c *script.Command) (string, bool) {
	var out string
	var err error
	switch c.Name {
	case "place":
		err = w.setPolicy(c)
	case "why":
		out, err = w.why(c)
	case "put":
		out, err = w.put(c)
	case "burst":
		out, err = w.burst(c)
	case "reserve":
		out, err = w.reserve(c)
	case "matrix":
		out = w.matrix(c)
	case "fits":
		out, err = w.fits(c)
	case "bind":
		out = w.bind()
	default:
		return w.Run(c)
	}
	if err == nil {
		err = c.Unused()
	}
	if err != nil {
		return out + "error: " + err.Error(), true
	}
	return out, true
}

func (w *world) setPolicy(c *script.Command) error {
	p, err := ReadPolicy(c, DefaultPolicy())
	if err != nil {
		return err
	}
	if p.Egress.Track, err = c.Float("track-cost", p.Egress.Track); err != nil {
		return err
	}
	if w.fleet.MaxNodes, err = c.Int("fleet", 0); err != nil {
		return err
	}
	w.fleet.NodeCPUs, w.policy = 4, p
	return p.Validate()
}

func (w *world) request(c *script.Command) (Request, error) {
	r := Request{At: w.Now, Node: c.String("pin", ""), Type: c.String("type", "")}
	cpu, err := c.Float("cpu", 0)
	if err != nil {
		return r, err
	}
	if cpu > 0 {
		r.Load.CPU = cpu
	}
	if t := c.String("tried", ""); t != "" {
		r.Tried = strings.Split(t, ",")
	}
	if len(c.Args) < 2 {
		return r, c.Errorf("want a kind and a name")
	}
	r.Kind = Kind(c.Args[0])
	switch r.Kind {
	case KindRoom:
		r.Room = c.Args[1]
	case KindParticipant:
		r.Room = c.Args[1]
		if len(c.Args) > 2 {
			r.ID = c.Args[2]
		}
		if cpu > 0 {
			r.Load.Clients = 1
		}
	default:
		r.ID, r.Room = c.Args[1], c.String("room", "")
	}
	return r, nil
}

func (w *world) why(c *script.Command) (string, error) {
	r, err := w.request(c)
	if err != nil {
		return "", err
	}
	_, e, _ := Place(w.State, r, w.policy)
	return e.String(), nil
}

func (w *world) put(c *script.Command) (string, error) {
	r, err := w.request(c)
	if err != nil {
		return "", err
	}
	d, e, err := Place(w.State, r, w.policy)
	if err != nil {
		return e.Outcome, nil
	}
	for _, ev := range d.Events(r, w.policy, w.State.Policy()) {
		if err := w.State.Apply(ev); err != nil {
			return "", err
		}
	}
	out := e.Outcome
	if d.Spilled {
		out += " (spilled)"
	}
	return out, nil
}

func (w *world) burst(c *script.Command) (string, error) {
	r, err := w.request(c)
	if err != nil {
		return "", err
	}
	var n int
	if _, err := fmt.Sscan(c.Args[len(c.Args)-1], &n); err != nil {
		return "", c.Errorf("want a number last")
	}
	count := map[string]int{}
	for i := range n {
		q := r
		q.ID = fmt.Sprintf("b%d", i)
		if q.Kind == KindRoom {
			q.Room = fmt.Sprintf("%s%d", r.Room, i)
		}
		d, e, err := Place(w.State, q, w.policy)
		if err != nil {
			return e.Outcome, nil
		}
		w.Must(d.Events(q, w.policy, w.State.Policy())...)
		count[d.Node]++
	}
	var b strings.Builder
	for _, node := range w.State.Nodes() {
		if count[node.ID] > 0 {
			fmt.Fprintf(&b, "%s %d\n", node.ID, count[node.ID])
		}
	}
	return b.String(), nil
}

func (w *world) reserve(c *script.Command) (string, error) {
	in, err := c.Duration("in", 0)
	if err != nil {
		return "", err
	}
	hold, err := c.Duration("for", 0)
	if err != nil {
		return "", err
	}
	n, err := c.Int("participants", 0)
	if err != nil {
		return "", err
	}
	p, err := c.Int("publishers", n)
	if err != nil {
		return "", err
	}
	r := cluster.Reservation{
		ID: c.Args[0], Room: c.String("room", c.Args[0]), Participants: n, Publishers: p,
		From: w.Now.Add(in), Until: w.Now.Add(in + hold),
	}
	got, e, err := Reserve(w.State, r, w.policy, w.fleet, w.Now)
	if err != nil {
		return e.Outcome, nil
	}
	if err := w.State.Apply(cluster.ReservationAdmitted{At: w.Now, Reservation: got}); err != nil {
		return "", err
	}
	out := e.Outcome + "\n"
	for _, sh := range got.Shares {
		out += fmt.Sprintf("  %s %.3g CPUs\n", sh.Node, sh.Demand.CPU)
	}
	return out, nil
}

func (w *world) bind() string {
	events, why := Bind(w.State, w.policy, w.Now)
	w.Must(events...)
	var b strings.Builder
	for _, e := range why {
		fmt.Fprintln(&b, e.Outcome)
	}
	return b.String()
}

func (w *world) fits(c *script.Command) (string, error) {
	f, err := FitsWithout(w.State, c.Args[0], w.policy, w.Now)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "fits without %s: %v\n", f.Node, f.Fits)
	for _, m := range f.Moves {
		fmt.Fprintf(&b, "%s %s → %s (%.3g CPUs)\n", m.Kind, m.Name, m.To, m.CPU)
	}
	for _, x := range f.Blocked {
		fmt.Fprintf(&b, "blocked: %s %s (%.3g CPUs): %s\n", x.Kind, x.Name, x.CPU, x.Reason)
	}
	return b.String(), nil
}

func (w *world) matrix(c *script.Command) string {
	var b strings.Builder
	for _, kind := range []Selector{SelectAny, SelectCPULoad, SelectSysLoad} {
		for _, sort := range SortOrders() {
			p := w.policy
			p.Kind, p.SortBy = kind, sort
			d, e, err := Place(w.State, Request{Kind: KindRoom, At: w.Now, Room: c.Args[0]}, p)
			if err != nil {
				fmt.Fprintf(&b, "%s %s: %v\n", kind, sort, err)
				continue
			}
			fmt.Fprintf(&b, "%-8s %-12s %s of %d eligible, %d tie: %s, score %.4g\n", kind, sort, d.Node, e.Eligible, e.Ties, d.Tier, e.Candidates[0].Score)
		}
	}
	return b.String()
}

func ExamplePlace() {
	w := clustertest.New()
	for id, cpu := range map[string]float64{"a": 40, "b": 95, "c": 20} {
		w.Must(
			cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: 4}},
			cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning},
			cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 1, CPU: cpu}},
		)
	}
	_, why, err := Place(w.State, Request{Kind: KindRoom, At: w.Now, Room: "lobby"}, DefaultPolicy())
	if err != nil {
		panic(err)
	}
	fmt.Print(why)
	// Output:
	// room "lobby" goes to c
	// rule: kind cpuload, sort_by cpuload, cpu_load_limit 0.9
	// considered 3, eligible 2
	// → c: eligible, score 20
	//   a: eligible, score 40
	// ✗ b: CPU load 0.95 is not below 0.9
}
