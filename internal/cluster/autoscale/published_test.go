package autoscale

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
	"github.com/google/go-cmp/cmp"
)

// published is one of the two worked examples of the OpenVidu 2 documentation.
type published struct {
	Scenario int
	Config   struct {
		MaxNodes int     `json:"max_nodes"`
		MinNodes int     `json:"min_nodes"`
		MaxLoad  float64 `json:"max_load"`
		MinLoad  float64 `json:"min_load"`
	}
	Sessions []struct {
		ID       int
		Node     int
		Start    string
		Duration int `json:"duration_ticks"`
		Load     float64
	}
	TickMinutes int `json:"tick_minutes"`
	LaunchTicks int `json:"launch_ticks"`
	Rows        []row
}

// row is one tick of the published table.
type row struct {
	Time        string   `json:"time"`
	TotalLoad   float64  `json:"total_load"`
	AvgLoad     float64  `json:"avg_load"`
	Running     int      `json:"running"`
	Launching   int      `json:"launching"`
	Waiting     int      `json:"waiting_idle_to_terminate"`
	Canceled    int      `json:"canceled"`
	Terminating int      `json:"terminating"`
	Log         []string `json:"log"`
}

// TestPublishedScenarios reproduces the 26 published rows: total, average, the
// five node counts and the log lines. The order within a tick is the one that
// gives the table: nodes go, launches finish, sessions stop and start, reports
// come, the decision is taken.
func TestPublishedScenarios(t *testing.T) {
	rows := 0
	for _, name := range []string{"scenario1", "scenario2"} {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile("testdata/" + name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var sc published
			if err := json.Unmarshal(data, &sc); err != nil {
				t.Fatal(err)
			}
			r := newReplay(sc)
			for i, want := range sc.Rows {
				rows++
				if diff := cmp.Diff(want, r.tick(i, want.Time)); diff != "" {
					t.Errorf("row %s (-want +got):\n%s", want.Time, diff)
				}
			}
		})
	}
	if rows != 26 {
		t.Errorf("%d rows were compared, the documentation has 26", rows)
	}
}

// replay runs a published scenario tick by tick.
type replay struct {
	sc      published
	w       *clustertest.World
	policy  Policy
	first   string
	load    map[string]float64
	version uint64
	newID   int
}

func newReplay(sc published) *replay {
	r := &replay{sc: sc, w: clustertest.New(), load: map[string]float64{}, newID: 495}
	r.policy = Policy{MaxNodes: sc.Config.MaxNodes, MinNodes: sc.Config.MinNodes, MaxLoad: sc.Config.MaxLoad, MinLoad: sc.Config.MinLoad}
	r.first = fmt.Sprint(sc.Sessions[0].Node)
	r.w.Must(
		cluster.NodeAdded{At: r.w.Now, Node: cluster.Node{ID: r.first, CPUs: 2}},
		cluster.NodeStatusChanged{At: r.w.Now, Node: r.first, Status: cluster.StatusRunning},
	)
	return r
}

func (r *replay) tick(i int, label string) row {
	tick := time.Duration(r.sc.TickMinutes) * time.Minute
	r.w.Now = clustertest.Epoch().Add(time.Duration(i) * tick)
	out := row{Time: label}
	out.Log = append(out.Log, r.nodes(tick)...)
	out.Log = append(out.Log, r.sessions(i, tick)...)
	r.report()
	p, e := Decide(r.w.State, r.policy, r.w.Now)
	r.w.Must(p.Events(e.Measure.Active)...)
	for range p.NodesToLaunch() {
		r.w.Must(cluster.NodeAdded{At: r.w.Now, Node: cluster.Node{ID: fmt.Sprint(r.newID), CPUs: 2}})
		r.newID++
	}
	out.TotalLoad, out.AvgLoad = e.Measure.TotalLoad, e.Measure.AvgLoad
	for _, n := range r.w.State.Nodes() {
		switch n.Status {
		case cluster.StatusRunning:
			out.Running++
		case cluster.StatusLaunching:
			out.Launching++
		case cluster.StatusWaiting:
			out.Waiting++
		case cluster.StatusCanceled:
			out.Canceled++
		case cluster.StatusTerminating:
			out.Terminating++
		}
	}
	out.Log = append(out.Log, e.Log...)
	return out
}

// nodes removes terminating nodes and finishes launches.
func (r *replay) nodes(tick time.Duration) (log []string) {
	for _, n := range r.w.State.Nodes() {
		switch {
		case n.Status == cluster.StatusTerminating:
			r.w.Must(cluster.NodeStatusChanged{At: r.w.Now, Node: n.ID, Status: cluster.StatusTerminated}, cluster.NodeRemoved{At: r.w.Now, Node: n.ID})
			log = append(log, fmt.Sprintf("REMOVING node (%s) with 0%% load from the cluster", n.ID))
		case n.Status == cluster.StatusLaunching && r.w.Now.Sub(n.LaunchedAt) >= time.Duration(r.sc.LaunchTicks)*tick:
			r.w.Must(cluster.NodeStatusChanged{At: r.w.Now, Node: n.ID, Status: cluster.StatusRunning})
		}
	}
	return log
}

func (r *replay) sessions(i int, tick time.Duration) (log []string) {
	for _, s := range r.sc.Sessions {
		var min int
		fmt.Sscanf(s.Start, "%d:", &min)
		start, room, node := min/int(tick/time.Minute), fmt.Sprint(s.ID), fmt.Sprint(s.Node)
		switch i {
		case start + s.Duration + 1:
			r.w.Must(cluster.RoomClosed{At: r.w.Now, Room: room})
			r.load[node] -= s.Load
			log = append(log, fmt.Sprintf("STOPPING session (%d) in node (%d) >> Reduced %s %% load to the node", s.ID, s.Node, short(s.Load)))
		case start:
			r.w.Must(cluster.RoomPlaced{At: r.w.Now, Room: room, Node: node, Load: cluster.Demand{Rooms: 1}})
			r.load[node] += s.Load
			log = append(log, fmt.Sprintf("STARTING session (%d) in node (%d) with rumpUp 1 and duration %d >> Added %s %% load to the node", s.ID, s.Node, s.Duration, short(s.Load)))
		}
	}
	return log
}

func (r *replay) report() {
	r.version++
	for _, n := range r.w.State.Nodes() {
		if n.Status.Loaded() {
			r.w.Must(cluster.LoadReported{At: r.w.Now, Node: n.ID, Load: cluster.Load{Version: r.version, At: r.w.Now, CPU: r.load[n.ID]}})
		}
	}
}

// TestPublishedEvent reproduces the one autoscaling event that the reference
// prints: one running node, and two launching ones canceled in one tick.
func TestPublishedEvent(t *testing.T) {
	w := clustertest.New()
	p := Policy{MaxNodes: 3, MinNodes: 1, MaxLoad: 70, MinLoad: 30}
	for _, n := range []string{"media_run", "media_new1", "media_new2"} {
		w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: n, CPUs: 2, ProviderID: "env_" + n, Address: "172.17.0.3"}})
	}
	w.Must(
		cluster.NodeStatusChanged{At: w.Now, Node: "media_run", Status: cluster.StatusRunning},
		cluster.LoadReported{At: w.Now, Node: "media_run", Load: cluster.Load{Version: 1, CPU: 23.84}},
	)
	plan, e := Decide(w.State, p, w.Now)
	got := NewEvent(w.State, plan, e, "MY_CLUSTER")
	env := func(id string) *string { s := "env_" + id; return &s }
	ip := "172.17.0.3"
	run := EventNode{"media_run", env("media_run"), &ip, 23.84, cluster.StatusRunning}
	new1 := EventNode{"media_new1", env("media_new1"), &ip, 0, cluster.StatusLaunching}
	new2 := EventNode{"media_new2", env("media_new2"), &ip, 0, cluster.StatusLaunching}
	want := Event{
		Timestamp: w.Now.UnixMilli(), ClusterID: "MY_CLUSTER",
		Reason: "The cluster average load (7.95%) is below its limits [30.00%, 70.00%] and the lower limit of Media Nodes (1) has not been reached. Current number of active nodes is 3 (2 launching and 1 running). 2 launching Media Nodes will be canceled.",
		MediaNodes: EventNodes{
			Launch:    EventLaunch{Waiting: []EventNode{}, Canceled: []EventNode{}},
			Terminate: EventTerminate{Total: 2, Running: []EventNode{}, Launching: []EventNode{new1, new2}},
		},
		System: EventSystem{
			Config: EventConfig{3, 1, 70, 30},
			Status: EventStatus{
				NumNodes: 3, TotalLoad: 23.84, AvgLoad: 7.946666666666666,
				Running: []EventNode{run}, Launching: []EventNode{new1, new2}, Waiting: []EventNode{}, Canceled: []EventNode{},
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
}

// TestEventJSON pins the field names of both events, and that empty lists are
// lists and unknown addresses are null.
func TestEventJSON(t *testing.T) {
	w := clustertest.New()
	w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "media_a", CPUs: 2}})
	plan, e := Decide(w.State, Policy{MaxNodes: 3, MinNodes: 2, MaxLoad: 70, MinLoad: 30}, w.Now)
	got, err := json.Marshal(NewEvent(w.State, plan, e, "clu"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"timestamp":1772442000000,"clusterId":"clu","reason":"The number of active Media Nodes (1) is below its lower limit (2). Current number of active nodes is 1 (1 launching and 0 running). 1 new Media Nodes will be launched.",` +
		`"mediaNodes":{"launch":{"total":1,"newNodes":1,"waitingIdleToTerminateNodes":[],"canceledNodes":[]},"terminate":{"total":0,"runningNodes":[],"launchingNodes":[]}},` +
		`"system":{"config":{"maxNodes":3,"minNodes":2,"maxAvgLoad":70,"minAvgLoad":30},"status":{"numNodes":1,"totalLoad":0,"avgLoad":0,"runningNodes":[],` +
		`"launchingNodes":[{"id":"media_a","environmentId":null,"ip":null,"load":0,"status":"launching"}],"waitingIdleToTerminateNodes":[],"canceledNodes":[]}}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	n, _ := w.State.Node("media_a")
	for _, c := range []struct {
		old  cluster.Status
		want string
	}{
		{"", `{"timestamp":1772442000000,"id":"media_a","environmentId":null,"ip":null,"uri":null,"newStatus":"launching","oldStatus":null,"clusterId":"clu"}`},
		{cluster.StatusCanceled, `{"timestamp":1772442000000,"id":"media_a","environmentId":null,"ip":null,"uri":null,"newStatus":"launching","oldStatus":"canceled","clusterId":"clu"}`},
	} {
		got, err := json.Marshal(NewStatusEvent(n, c.old, w.Now, "clu"))
		if err != nil || string(got) != c.want {
			t.Errorf("status event from %q: %s, %v; want %s", c.old, got, err, c.want)
		}
	}
}
