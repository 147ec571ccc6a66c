package cluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// golden compares got with testdata/name, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
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

// reach brings node "a" of a new world into a status.
func reach(t *testing.T, s cluster.Status) *clustertest.World {
	t.Helper()
	path := map[cluster.Status][]cluster.Status{
		cluster.StatusLaunching:   nil,
		cluster.StatusCanceled:    {cluster.StatusCanceled},
		cluster.StatusFailed:      {cluster.StatusFailed},
		cluster.StatusRunning:     {cluster.StatusRunning},
		cluster.StatusWaiting:     {cluster.StatusRunning, cluster.StatusWaiting},
		cluster.StatusTerminating: {cluster.StatusRunning, cluster.StatusTerminating},
		cluster.StatusTerminated:  {cluster.StatusRunning, cluster.StatusTerminating, cluster.StatusTerminated},
	}
	w := clustertest.New()
	w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "a", CPUs: 4}})
	for _, to := range path[s] {
		w.Must(cluster.NodeStatusChanged{At: w.Now, Node: "a", Status: to})
	}
	return w
}

// Every pair of statuses, as the state takes it: what works, what the refusal
// says, and what an operator may ask for. The golden is table D.1 in full.
func TestEveryTransition(t *testing.T) {
	var b strings.Builder
	for _, from := range cluster.Statuses() {
		fmt.Fprintf(&b, "%s: active %v, carries load %v, final %v\n", from, from.Active(), from.Loaded(), from.Final())
		for _, to := range cluster.Statuses() {
			w := reach(t, from)
			w.Now = w.Now.Add(time.Minute)
			before, _ := w.State.Node("a")
			err := w.State.Apply(cluster.NodeStatusChanged{At: w.Now, Node: "a", Status: to})
			after, _ := w.State.Node("a")
			switch {
			case err == nil && (after.Status != to || !after.ChangedAt.Equal(w.Now)):
				t.Errorf("from %s to %s the node is %s since %v", from, to, after.Status, after.ChangedAt)
			case err != nil && (!errors.Is(err, cluster.ErrTransition) || after.Status != before.Status || !after.ChangedAt.Equal(before.ChangedAt)):
				t.Errorf("from %s to %s: %v, and the node is %s", from, to, err, after.Status)
			case err == nil && from.CanRequest(to):
				fmt.Fprintf(&b, "  → %s, also on request\n", to)
			case err == nil:
				fmt.Fprintf(&b, "  → %s, by itself only\n", to)
			default:
				fmt.Fprintf(&b, "  ✗ %s: %v\n", to, err)
			}
		}
	}
	golden(t, "transitions.golden", b.String())
}

// full is a state with something of everything.
func full(t *testing.T) *cluster.State {
	w := clustertest.New()
	for _, e := range events(t) {
		switch e.(type) {
		case cluster.ParticipantLeft, cluster.ReservationReleased, cluster.JobEnded, cluster.WorkerGone, cluster.RoomLeft, cluster.RoomClosed, cluster.NodeRemoved:
		default:
			w.Must(e)
		}
	}
	return w.State
}

// The form of recorded logs and exported states: whoever changes it changes
// this golden, and breaks the replay of what was recorded before.
func TestWireForm(t *testing.T) {
	var log strings.Builder
	for _, e := range events(t) {
		line, err := cluster.EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(line)
		log.WriteByte('\n')
	}
	golden(t, "events.jsonl", log.String())
	state, err := json.MarshalIndent(full(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "state.json", string(state)+"\n")

	// What is on disk reads as what was written.
	disk, err := os.ReadFile("testdata/events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(string(disk)), "\n") {
		e, err := cluster.DecodeEvent([]byte(line))
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if want := events(t)[i]; !reflect.DeepEqual(want, e) {
			t.Errorf("line %d is %+v, want %+v", i+1, e, want)
		}
	}
}

// An exported state that does not hold together is refused, and leaves the
// state that it was read into as it was.
func TestBrokenStates(t *testing.T) {
	good, err := json.Marshal(full(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"id":"a","role"`, `"id":"","role"`, `decode state: invalid: node "" with status "running"`},
		{`"status":"running"`, `"status":"asleep"`, `decode state: invalid: node "a" with status "asleep" and 8 CPUs`},
		{`"cpus":8`, `"cpus":0`, `decode state: invalid: node "a" with status "running" and 0 CPUs`},
		{`"until":"2026-03-02T10:00:00Z","shares":[{"node":"a"`, `"until":"2026-03-02T10:00:00Z","shares":[{"node":"b"`, `decode state: reservation "v": unknown node "b"`},
		{`"until":"2026-03-02T10:00:00Z","shares":[{"node":"a"`, `"until":"2026-03-02T10:00:00Z","shares":[{"node":"a"},{"node":"a"`, `two shares on node "a"`},
		{`"history_season":86400000000000`, `"history_season":1`, "decode state: invalid: policy: history_season"},
		{`"nodes":[`, `"nodes":{`, "invalid character"},
	} {
		text := strings.Replace(string(good), c.old, c.new, 1)
		if text == string(good) {
			t.Errorf("%s is not in the state", c.old)
			continue
		}
		s := clustertest.New().State
		before, _ := json.Marshal(s)
		err := json.Unmarshal([]byte(text), s)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.new, err, c.want)
		}
		if after, _ := json.Marshal(s); string(after) != string(before) {
			t.Errorf("%s: the state changed", c.new)
		}
	}
}

// No number that cannot be compared gets into the state: a node that reports
// none would be the best of all, for ever.
func TestNotANumber(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
		w := reach(t, cluster.StatusRunning)
		for name, e := range map[string]cluster.Event{
			"cpus":     cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "b", CPUs: v}},
			"new cpus": cluster.NodeUpdated{At: w.Now, Node: "a", CPUs: v},
			"cpu":      cluster.LoadReported{At: w.Now, Node: "a", Load: cluster.Load{Version: 1, CPU: v}},
			"sysload":  cluster.LoadReported{At: w.Now, Node: "a", Load: cluster.Load{Version: 1, SysLoad: v}},
			"memory":   cluster.LoadReported{At: w.Now, Node: "a", Load: cluster.Load{Version: 1, Memory: v}},
			"disk":     cluster.LoadReported{At: w.Now, Node: "a", Load: cluster.Load{Version: 1, Disk: v}},
			"bytes":    cluster.LoadReported{At: w.Now, Node: "a", Load: cluster.Load{Version: 1, BytesPerSec: v}},
			"job":      cluster.JobPlaced{At: w.Now, Job: cluster.Job{ID: "j", Kind: cluster.JobEgress, Node: "a", CPU: v}},
			"queued":   cluster.JobQueued{At: w.Now, Job: cluster.Job{ID: "j", Kind: cluster.JobAgent, Load: v}},
		} {
			if err := w.State.Apply(e); !errors.Is(err, cluster.ErrInvalid) {
				t.Errorf("%s %v: error %v", name, v, err)
			}
		}
		if n, _ := w.State.Node("a"); !n.Load.At.IsZero() || n.CPUs != 4 || n.Jobs() != 0 {
			t.Errorf("%v left %+v", v, n)
		}
	}
}

// A charge fades as reports come in, by their time and by nothing else.
func TestFading(t *testing.T) {
	const ramp, counts = 20 * time.Second, 5 * time.Second
	for _, c := range []struct {
		report time.Duration // after the placement
		cpu    float64       // part of the CPU that is still pending
		counts bool          // whether the counts are
	}{
		{-time.Second, 1, true}, {0, 1, true}, {time.Second, 0.95, true}, {5*time.Second - 1, 0.75, true}, {5 * time.Second, 0.75, false},
		{10 * time.Second, 0.5, false}, {19 * time.Second, 0.05, false}, {20 * time.Second, 0, false}, {time.Hour, 0, false},
	} {
		w := reach(t, cluster.StatusRunning)
		p := w.State.Policy()
		p.RampUp, p.CountsAfter = ramp, counts
		d := cluster.Demand{CPU: 2, Rooms: 1, Clients: 8, Tracks: 30, BytesPerSec: 1000}
		w.Must(
			cluster.PolicyChanged{At: w.Now, Policy: p},
			cluster.RoomPlaced{At: w.Now, Room: "r", Node: "a", Load: d},
			cluster.LoadReported{At: w.Now.Add(c.report), Node: "a", Load: cluster.Load{Version: 1, CPU: 10}},
		)
		want := cluster.Demand{CPU: 2 * c.cpu, BytesPerSec: 1000 * c.cpu}
		if c.counts {
			want.Rooms, want.Clients, want.Tracks = 1, 8, 30
		}
		n, _ := w.State.Node("a")
		got := n.Pending()
		if math.Abs(got.CPU-want.CPU) > 1e-6 || math.Abs(got.BytesPerSec-want.BytesPerSec) > 1e-3 || got.Rooms != want.Rooms || got.Clients != want.Clients || got.Tracks != want.Tracks {
			t.Errorf("a report after %v leaves %+v, want %+v", c.report, got, want)
		}
		if e, f := n.EffectiveCPU(), n.FreeCPUs(); math.Abs(e-(10+got.CPU/4*100)) > 1e-9 || math.Abs(f-(4*0.9-got.CPU)) > 1e-9 {
			t.Errorf("after %v: effective %v%%, free %v", c.report, e, f)
		}
		if kept := len(n.Charges); kept != map[bool]int{true: 1}[!got.IsZero()] {
			t.Errorf("after %v: %d charges are kept", c.report, kept)
		}
	}
}

// The costs of published rooms: 7 among 7 are 49 streams, 10 among 10 are 100,
// with audio and video in each (openvidu.md sections D.7 and E.6).
func TestPublishedRooms(t *testing.T) {
	c := cluster.Costs{Room: 0, Stream: 0.01, PerClient: 0, TrackBytes: 50}
	for _, r := range []struct{ participants, publishers, streams int }{
		{7, 7, 49}, {10, 10, 100}, {8, 8, 64}, {1001, 1, 1001}, {8, 2, 16}, {1, 1, 1}, {5, 0, 0}, {0, 0, 0}, {0, 3, 0},
	} {
		d := c.OfRoom(r.participants, r.publishers)
		want := cluster.Demand{CPU: float64(2*r.streams) * 0.01, Rooms: 1, Clients: float64(r.participants), Tracks: float64(2 * r.streams), BytesPerSec: float64(2*r.streams) * 50}
		if math.Abs(d.CPU-want.CPU) > 1e-9 || d.Rooms != want.Rooms || d.Clients != want.Clients || d.Tracks != want.Tracks || d.BytesPerSec != want.BytesPerSec {
			t.Errorf("%d publishers among %d: %+v, want %+v", r.publishers, r.participants, d, want)
		}
	}
	sum := c.OfRoom(0, 0)
	for i := range 30 { // 5 speakers come first, 25 listeners follow
		sum = sum.Plus(c.OfParticipant(i, min(i, 5), i < 5))
	}
	if want := c.OfRoom(30, 5); math.Abs(sum.CPU-want.CPU) > 1e-9 || sum.Tracks != want.Tracks || sum.Clients != want.Clients {
		t.Errorf("one by one %+v, at once %+v", sum, want)
	}
}

// What is known of a node follows from its last report alone.
func TestKnown(t *testing.T) {
	at := clustertest.Epoch()
	for _, c := range []struct {
		load cluster.Load
		now  time.Time
		want bool
	}{
		{cluster.Load{}, at, false},
		{cluster.Load{Version: 3}, at, false},
		{cluster.Load{At: at}, at, true},
		{cluster.Load{At: at}, at.Add(5*time.Second - 1), true},
		{cluster.Load{At: at}, at.Add(5 * time.Second), false},
		{cluster.Load{At: at.Add(time.Second)}, at, true}, // the receiver's clock went back
	} {
		n := cluster.Node{Load: c.load}
		if got := n.Known(c.now, 5*time.Second); got != c.want {
			t.Errorf("report at %v, now %v: known %v", c.load.At, c.now, got)
		}
	}
}

// The small questions about a node.
func TestNode(t *testing.T) {
	n := cluster.Node{Capabilities: []string{"ffmpeg", "browser"}}
	for _, c := range []struct {
		want bool
		need []string
	}{{true, nil}, {true, []string{"ffmpeg"}}, {true, []string{"browser", "ffmpeg"}}, {false, []string{"gpu"}}, {false, []string{"ffmpeg", "gpu"}}} {
		if n.Can(c.need...) != c.want {
			t.Errorf("can %v: %v", c.need, !c.want)
		}
	}
	for role, want := range map[cluster.Role]bool{cluster.RoleMedia: true, cluster.RoleBoth: true, cluster.RoleMaster: false, "": false} {
		if role.HostsMedia() != want {
			t.Errorf("role %q hosts media: %v", role, !want)
		}
	}
	for _, c := range []struct {
		n    cluster.Node
		idle bool
		jobs int
	}{
		{cluster.Node{}, true, 0}, {cluster.Node{Rooms: 1}, false, 0}, {cluster.Node{Participants: 0, Egresses: 1}, false, 1},
		{cluster.Node{Ingresses: 2, Agents: 3}, false, 5}, {cluster.Node{Load: cluster.Load{CPU: 99}}, true, 0},
	} {
		if c.n.Idle() != c.idle || c.n.Jobs() != c.jobs {
			t.Errorf("%+v: idle %v, %d jobs", c.n, c.n.Idle(), c.n.Jobs())
		}
	}
	if n := (cluster.Node{Load: cluster.Load{CPU: 40}}); n.EffectiveCPU() != 40 {
		t.Errorf("a node without CPUs is at %v%%", n.EffectiveCPU())
	}
}

// Reservations of a room: the one that holds now, the earliest of several.
func TestReservationFor(t *testing.T) {
	w := clustertest.New() // lead 10 minutes
	at := func(min int) time.Time { return w.Now.Add(time.Duration(min) * time.Minute) }
	for id, r := range map[string][2]int{"early": {20, 60}, "same": {20, 90}, "late": {55, 120}} {
		w.Must(cluster.ReservationAdmitted{At: w.Now, Reservation: cluster.Reservation{ID: id, Room: "r", Participants: 1, From: at(r[0]), Until: at(r[1])}})
	}
	for min, want := range map[int]string{0: "", 9: "", 10: "early", 20: "early", 59: "early", 60: "same", 89: "same", 90: "late", 119: "late", 120: ""} {
		if got, ok := w.State.ReservationFor("r", at(min)); got.ID != want || ok != (want != "") {
			t.Errorf("at %d min: %q, %v; want %q", min, got.ID, ok, want)
		}
	}
	if _, ok := w.State.ReservationFor("another", at(30)); ok {
		t.Error("another room's reservation")
	}
	r := cluster.Reservation{From: at(20), Until: at(60)}
	for _, c := range []struct {
		from, until int
		want        bool
	}{{0, 20, false}, {0, 21, true}, {30, 40, true}, {59, 99, true}, {60, 99, false}, {0, 99, true}, {30, 30, true}, {20, 20, false}} {
		if r.Overlaps(at(c.from), at(c.until)) != c.want {
			t.Errorf("20 to 60 overlaps %d to %d: %v", c.from, c.until, !c.want)
		}
	}
}

// What is not there is not found, and nothing panics on it.
func TestNotFound(t *testing.T) {
	s := clustertest.New().State
	_, node := s.Node("x")
	_, room := s.Room("x")
	_, job := s.Job("x")
	_, worker := s.Worker("x")
	_, reservation := s.Reservation("x")
	if node || room || job || worker || reservation {
		t.Error("something is found in an empty state")
	}
	if s.Len() != 0 || s.RoomCount() != 0 || len(s.Nodes())+len(s.Rooms())+len(s.Jobs())+len(s.Workers())+len(s.Reservations()) != 0 {
		t.Error("an empty state lists something")
	}
	if err := s.Apply(strange{}); !errors.Is(err, cluster.ErrUnknownEvent) || !strings.Contains(err.Error(), "strange") {
		t.Errorf("an event that is none: %v", err)
	}
}

type strange struct{}

func (strange) When() time.Time { return time.Time{} }
func (strange) Kind() string    { return "strange" }

// Version counts what was applied, Now never goes back, and an error does
// neither.
func TestVersionAndNow(t *testing.T) {
	w := clustertest.New()
	w.Must(cluster.TimePassed{At: w.Now.Add(time.Hour)}, cluster.TimePassed{At: w.Now})
	if w.State.Version() != 2 || !w.State.Now().Equal(w.Now.Add(time.Hour)) {
		t.Errorf("version %d at %v", w.State.Version(), w.State.Now())
	}
	if err := w.State.Apply(cluster.NodeRemoved{At: w.Now.Add(2 * time.Hour), Node: "x"}); err == nil || w.State.Version() != 2 || !w.State.Now().Equal(w.Now.Add(time.Hour)) {
		t.Errorf("%v: version %d at %v", err, w.State.Version(), w.State.Now())
	}
}

// A job that waited knows since when, after it was placed too.
func TestQueuedAt(t *testing.T) {
	w := reach(t, cluster.StatusRunning)
	j := cluster.Job{ID: "j", Kind: cluster.JobEgress, CPU: 1, Node: "ignored", Worker: "ignored"}
	w.Must(cluster.JobQueued{At: w.Now, Job: j})
	if got, _ := w.State.Job("j"); got.Node != "" || got.Worker != "" || !got.QueuedAt.Equal(w.Now) {
		t.Errorf("queued: %+v", got)
	}
	later := w.Now.Add(time.Minute)
	j.Node, j.Worker = "a", ""
	w.Must(cluster.JobPlaced{At: later, Job: j})
	if got, _ := w.State.Job("j"); got.Node != "a" || !got.QueuedAt.Equal(w.Now) || !got.PlacedAt.Equal(later) {
		t.Errorf("placed: %+v", got)
	}
}

// The history is, for every time of the season, the average of the highest
// values of the seasons before, the later ones counting more: as computed here
// from all samples, for seasons and buckets of any length.
func TestHistory(t *testing.T) {
	type shape struct{ bucket, season time.Duration }
	rapid.Check(t, func(t *rapid.T) {
		sh := rapid.SampledFrom([]shape{
			{5 * time.Minute, 24 * time.Hour}, {7 * time.Minute, 7 * 11 * time.Minute}, {time.Hour, 7 * 24 * time.Hour}, {13 * time.Second, 65 * time.Second},
		}).Draw(t, "shape")
		w := clustertest.New()
		p := w.State.Policy()
		p.HistoryBucket, p.HistorySeason = sh.bucket, sh.season
		w.Must(cluster.PolicyChanged{At: w.Now, Policy: p})
		bucket := func(at time.Time) int64 { return at.Unix() / int64(sh.bucket/time.Second) }
		season := int64(sh.season / sh.bucket)
		highest := map[int64]float64{} // by bucket since the epoch
		for range rapid.IntRange(1, 60).Draw(t, "samples") {
			w.Now = w.Now.Add(time.Duration(rapid.Int64Range(0, int64(sh.season/3)).Draw(t, "step")))
			v := float64(rapid.IntRange(0, 1000).Draw(t, "total"))
			w.Must(cluster.LoadSampled{At: w.Now, Total: v})
			highest[bucket(w.Now)] = max(highest[bucket(w.Now)], v)
		}
		at := w.Now.Add(time.Duration(rapid.Int64Range(0, int64(sh.season)-1).Draw(t, "ahead")))
		want, seen := 0.0, 0
		first := bucket(at) - ((bucket(at)-bucket(clustertest.Epoch()))/season+1)*season
		for b := first; b < bucket(at); b += season {
			v, ok := highest[b]
			if !ok {
				continue
			}
			if seen++; seen == 1 {
				want = v
			} else {
				want += 0.5 * (v - want)
			}
		}
		h := w.State.Scaling().History
		got, ok := h.At(at, p)
		if ok != (seen > 0) || ok && (got.Seasons != seen || math.Abs(got.Total-want) > 1e-9) {
			t.Fatalf("at %v: %+v, %v; want %v of %d seasons", at, got, ok, want, seen)
		}
	})
}

// An empty history, and one whose shape was changed, say that they know nothing.
func TestHistoryIsForgotten(t *testing.T) {
	w := clustertest.New()
	h := w.State.Scaling().History
	if _, ok := h.At(w.Now, w.State.Policy()); ok {
		t.Error("an empty history knows something")
	}
	for range 3 {
		w.Must(cluster.LoadSampled{At: w.Now, Total: 100})
		w.Now = w.Now.Add(24 * time.Hour)
	}
	h = w.State.Scaling().History
	if s, ok := h.At(w.Now, w.State.Policy()); !ok || s.Total != 100 || s.Seasons != 3 {
		t.Errorf("after three days %+v, %v", s, ok)
	}
	p := w.State.Policy()
	p.HistoryBucket = time.Hour
	w.Must(cluster.PolicyChanged{At: w.Now, Policy: p}, cluster.LoadSampled{At: w.Now, Total: 5})
	h = w.State.Scaling().History
	if s, ok := h.At(w.Now, p); ok {
		t.Errorf("buckets of another length know %+v", s)
	}
}

// Scaling remembers when nodes were added and removed, and the last advice.
func TestScaled(t *testing.T) {
	w := clustertest.New()
	at := func(min int) time.Time { return w.Now.Add(time.Duration(min) * time.Minute) }
	w.Must(cluster.Scaled{At: at(1), Added: 2})
	w.Must(cluster.Scaled{At: at(2), Removed: 1, Announced: cluster.Announcement{At: at(2), NewNodes: 3, Active: 4}})
	if sc := w.State.Scaling(); !sc.LastOut.Equal(at(1)) || !sc.LastIn.Equal(at(2)) || sc.Announced.NewNodes != 3 {
		t.Errorf("%+v", sc)
	}
	w.Must(cluster.Scaled{At: at(3)})
	if sc := w.State.Scaling(); !sc.LastOut.Equal(at(1)) || !sc.LastIn.Equal(at(2)) || sc.Announced != (cluster.Announcement{}) {
		t.Errorf("after nothing was done %+v", sc)
	}
}

// Reserved places are conserved: what is held on nodes, what is unplaced and
// who has come always add up to what was admitted, while nodes come, drain,
// crash and are bound, and participants land anywhere.
func TestReservationsAreConserved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := clustertest.New()
		const seats, cpu = 40, 4.0
		whole := cluster.Demand{CPU: cpu, Clients: seats, Tracks: 100}
		for i := range 3 {
			id := fmt.Sprintf("n%d", i)
			w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: 8}}, cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning})
		}
		w.Must(cluster.ReservationAdmitted{At: w.Now, Reservation: cluster.Reservation{
			ID: "v", Room: "exam", Participants: seats, From: w.Now.Add(5 * time.Minute), Until: w.Now.Add(24 * time.Hour),
			Shares:   []cluster.ReservationShare{{Node: "n0", Demand: whole.Times(0.5)}, {Node: "n1", Demand: whole.Times(0.25)}},
			Unplaced: whole.Times(0.25),
		}})
		w.Must(cluster.RoomPlaced{At: w.Now, Room: "exam", Node: "n0", Reservation: "v"})
		came := 0
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.Now = w.Now.Add(time.Second)
			node := fmt.Sprintf("n%d", rapid.IntRange(0, 4).Draw(t, "node"))
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				_ = w.State.Apply(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: node, CPUs: 8}})
			case 1:
				_ = w.State.Apply(cluster.NodeStatusChanged{At: w.Now, Node: node, Status: rapid.SampledFrom(cluster.Statuses()).Draw(t, "status")})
			case 2:
				_ = w.State.Apply(cluster.LoadReported{At: w.Now, Node: node, Load: cluster.Load{Version: uint64(i + 1), CPU: 20}})
			case 3:
				r, _ := w.State.Reservation("v")
				part := r.Unplaced.CPU * float64(rapid.IntRange(1, 4).Draw(t, "quarters")) / 4
				_ = w.State.Apply(cluster.ReservationBound{At: w.Now, Reservation: "v", Node: node, CPU: part})
			case 4, 5:
				if w.State.Apply(cluster.ParticipantPlaced{At: w.Now, Room: "exam", Node: node, Load: cluster.Demand{Clients: 1}}) == nil {
					came++
				}
			case 6:
				if rapid.IntRange(0, 5).Draw(t, "crash") == 0 {
					_ = w.State.Apply(cluster.NodeRemoved{At: w.Now, Node: node})
				}
			}
			r, ok := w.State.Reservation("v")
			if !ok {
				t.Fatal("the reservation is gone")
			}
			held := r.Unplaced
			for _, n := range w.State.Nodes() {
				on := n.HeldFor("v")
				held = held.Plus(on)
				if !n.Status.Active() && !on.IsZero() {
					t.Fatalf("%s holds %+v and is %s", n.ID, on, n.Status)
				}
			}
			want := float64(max(0, seats-came))
			if math.Abs(held.Clients-want) > 1e-6 || math.Abs(held.CPU-cpu*want/seats) > 1e-6 {
				t.Fatalf("%d of %d came, and %v seats with %v CPUs are held", came, seats, held.Clients, held.CPU)
			}
		}
	})
}

// A log of any events, written out and read back, gives the same state, byte
// for byte: live, standby and replay agree.
func TestReplayedLogsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, standby := clustertest.New(), clustertest.New().State
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			e := draw(t, w, i+1)
			line, err := cluster.EncodeEvent(e)
			if err != nil {
				t.Fatal(err)
			}
			back, err := cluster.DecodeEvent(line)
			if err != nil {
				t.Fatal(err)
			}
			liveErr, standbyErr := w.State.Apply(e), standby.Apply(back)
			if fmt.Sprint(liveErr) != fmt.Sprint(standbyErr) {
				t.Fatalf("%s: live %v, standby %v", line, liveErr, standbyErr)
			}
			if rapid.IntRange(0, 9).Draw(t, "failover") == 0 {
				// The standby restarts from an export.
				data, err := json.Marshal(standby)
				if err != nil {
					t.Fatal(err)
				}
				standby = new(cluster.State)
				if err := json.Unmarshal(data, standby); err != nil {
					t.Fatal(err)
				}
			}
		}
		a, _ := json.Marshal(w.State)
		b, _ := json.Marshal(standby)
		if string(a) != string(b) {
			t.Fatalf("live and standby differ:\n%s\n%s", a, b)
		}
	})
}
