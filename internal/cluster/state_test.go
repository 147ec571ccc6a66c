package cluster_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The state machine has the transitions of table D.1 and no other; the ones an
// operator may ask for are those of PATCH /media-nodes.
func TestTransitions(t *testing.T) {
	table := map[cluster.Status][]cluster.Status{
		"":                        {cluster.StatusLaunching},
		cluster.StatusLaunching:   {cluster.StatusRunning, cluster.StatusFailed, cluster.StatusCanceled},
		cluster.StatusCanceled:    {cluster.StatusLaunching, cluster.StatusTerminating},
		cluster.StatusRunning:     {cluster.StatusWaiting, cluster.StatusTerminating},
		cluster.StatusWaiting:     {cluster.StatusRunning, cluster.StatusTerminating},
		cluster.StatusTerminating: {cluster.StatusTerminated},
	}
	patch := map[cluster.Status][]cluster.Status{
		cluster.StatusLaunching: {cluster.StatusCanceled},
		cluster.StatusCanceled:  {cluster.StatusLaunching},
		cluster.StatusRunning:   {cluster.StatusWaiting, cluster.StatusTerminating},
		cluster.StatusWaiting:   {cluster.StatusRunning, cluster.StatusTerminating},
	}
	for _, from := range append(cluster.Statuses(), "", "elsewhere") {
		for _, to := range append(cluster.Statuses(), "", "elsewhere") {
			if got, want := from.CanBecome(to), slices.Contains(table[from], to); got != want {
				t.Errorf("%q to %q: %v, want %v", from, to, got, want)
			}
			if got, want := from.CanRequest(to), slices.Contains(patch[from], to); got != want {
				t.Errorf("request %q to %q: %v, want %v", from, to, got, want)
			}
			if from.CanRequest(to) && !from.CanBecome(to) {
				t.Errorf("%q to %q can be requested but not happen", from, to)
			}
		}
		if final := len(table[from]) == 0 && from.Valid(); from.Final() != final {
			t.Errorf("%q final: %v", from, from.Final())
		}
	}
	if got := len(cluster.Statuses()); got != 7 {
		t.Errorf("%d statuses", got)
	}
}

func TestTransitionError(t *testing.T) {
	w := clustertest.New()
	w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "a", CPUs: 1}})
	err := w.State.Apply(cluster.NodeStatusChanged{At: w.Now, Node: "a", Status: cluster.StatusTerminated})
	var te *cluster.TransitionError
	if !errors.Is(err, cluster.ErrTransition) || !errors.As(err, &te) || te.From != cluster.StatusLaunching || te.To != cluster.StatusTerminated || te.Node != "a" {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(err.Error(), `"launching"`) || !strings.Contains(err.Error(), `"terminated"`) {
		t.Errorf("%v does not name both statuses", err)
	}
}

// eventSource is the file that declares the events.
func eventSource(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// events are one of every kind, with every field set.
func events(t *testing.T) []cluster.Event {
	at := clustertest.Epoch()
	d := cluster.Demand{CPU: 1.5, Rooms: 1, Clients: 2, Tracks: 3, BytesPerSec: 4}
	p := cluster.DefaultPolicy()
	p.HistoryBucket = 6 * time.Hour
	all := []cluster.Event{
		cluster.PolicyChanged{At: at, Policy: p},
		cluster.NodeAdded{At: at, Node: cluster.Node{ID: "a", Role: cluster.RoleBoth, ProviderID: "p", Region: "eu", Address: "1.2.3.4", URI: "ws://x", CPUs: 4, Memory: 8, Capabilities: []string{"ffmpeg"}, LaunchedAt: at}},
		cluster.NodeUpdated{At: at, Node: "a", ProviderID: "q", Address: "5", URI: "u", CPUs: 8, Capabilities: []string{"browser"}},
		cluster.NodeStatusChanged{At: at, Node: "a", Status: cluster.StatusRunning},
		cluster.LoadReported{At: at, Node: "a", Load: cluster.Load{Version: 1, At: at, CPU: 5, SysLoad: 0.5, Memory: 6, Disk: 7, Rooms: 1, Clients: 2, Tracks: 3, BytesPerSec: 4}},
		cluster.RoomCreated{At: at, Room: "r", Pin: "a"},
		cluster.RoomPlaced{At: at, Room: "r", Node: "a", Load: d, Ramp: time.Second, Expect: d, ExpectUntil: at.Add(time.Hour), Reservation: "none"},
		cluster.ParticipantPlaced{At: at, Room: "r", Node: "a", Load: d, Ramp: time.Second},
		cluster.ParticipantLeft{At: at, Room: "r", Node: "a"},
		cluster.JobQueued{At: at, Job: cluster.Job{ID: "q", Kind: cluster.JobIngress, Type: "rtmp", CPU: 2}},
		cluster.WorkerRegistered{At: at, Worker: cluster.Worker{ID: "w", Agent: "x", Node: "a", Load: 0.1, Threshold: 0.5}},
		cluster.JobPlaced{At: at, Job: cluster.Job{ID: "j", Kind: cluster.JobAgent, Type: "x", Room: "r", Node: "a", Worker: "w", CPU: 1, Load: 0.2}, Ramp: time.Second},
		cluster.WorkerReported{At: at, Worker: "w", Load: 0.3, Full: true},
		cluster.ReservationAdmitted{At: at, Reservation: cluster.Reservation{ID: "v", Room: "r2", Participants: 3, Publishers: 2, From: at, Until: at.Add(time.Hour), Shares: []cluster.ReservationShare{{Node: "a", Demand: d}}, Unplaced: d}},
		cluster.ReservationBound{At: at, Reservation: "v", Node: "a", CPU: 0.5},
		cluster.TimePassed{At: at.Add(time.Second)},
		cluster.LoadSampled{At: at, Total: 50},
		cluster.Scaled{At: at, Added: 1, Removed: 2, Announced: cluster.Announcement{At: at, NewNodes: 3, Active: 4}},
		cluster.ReservationReleased{At: at, Reservation: "v"},
		cluster.JobEnded{At: at, Job: "j"},
		cluster.WorkerGone{At: at, Worker: "w"},
		cluster.RoomLeft{At: at, Room: "r", Node: "a"},
		cluster.RoomClosed{At: at, Room: "r"},
		cluster.NodeRemoved{At: at, Node: "a"},
	}
	kinds := map[string]bool{}
	for _, e := range all {
		kinds[e.Kind()] = true
	}
	if declared := strings.Count(eventSource(t), ") Kind() string"); len(kinds) != len(all) || len(all) != declared {
		t.Fatalf("%d kinds of %d events, %d are declared", len(kinds), len(all), declared)
	}
	return all
}

// Every event survives a log, and the logged events give the same state, byte
// for byte, as does the state's own JSON at every point.
func TestCodecs(t *testing.T) {
	live, replayed := clustertest.New().State, clustertest.New().State
	for _, e := range events(t) {
		data, err := cluster.EncodeEvent(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := cluster.DecodeEvent(data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(e, back) {
			t.Errorf("%s comes back otherwise:\n%s", e.Kind(), cmp.Diff(e, back))
		}
		if !e.When().Equal(back.When()) {
			t.Errorf("%s at %v", e.Kind(), back.When())
		}
		if err := live.Apply(e); err != nil {
			t.Fatal(err)
		}
		if err := replayed.Apply(back); err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(live)
		b, _ := json.Marshal(replayed)
		var c cluster.State
		if err := json.Unmarshal(a, &c); err != nil {
			t.Fatal(err)
		}
		d, _ := json.Marshal(&c)
		if string(a) != string(b) || string(a) != string(d) {
			t.Fatalf("after %s:\n%s\n%s\n%s", e.Kind(), a, b, d)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`{`, "decode event"},
		{`{"kind":"x","event":{}}`, `unknown event: kind "x"`},
		{`{"kind":"room_closed","event":{"rom":1}}`, `decode room_closed: json: unknown field "rom"`},
		{`{"kind":"room_closed"}`, "decode room_closed"},
	} {
		if _, err := cluster.DecodeEvent([]byte(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.data, err, c.want)
		}
	}
	if _, err := cluster.EncodeEvent(nil); !errors.Is(err, cluster.ErrUnknownEvent) {
		t.Errorf("nil event: %v", err)
	}
	var s cluster.State
	for _, c := range []struct{ data, want string }{
		{`[]`, "decode state"},
		{`{"policy":{}}`, "policy: stale_after"},
	} {
		if err := json.Unmarshal([]byte(c.data), &s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.data, err, c.want)
		}
	}
	good, _ := json.Marshal(clustertest.New().State)
	for _, c := range []struct{ nodes, want string }{
		{`[{"id":"a","cpus":1,"status":"odd"}]`, `node "a" with status "odd"`},
		{`[{"id":"a","cpus":1,"status":"running"},{"id":"a","cpus":1,"status":"running"}]`, `node "a" exists already`},
	} {
		data := strings.Replace(string(good), `"nodes":[]`, `"nodes":`+c.nodes, 1)
		if err := json.Unmarshal([]byte(data), &s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.nodes, err, c.want)
		}
	}
}

// draw is a random event at a later time, legal or not.
func draw(t *rapid.T, w *clustertest.World, i int) cluster.Event {
	node := fmt.Sprintf("n%d", rapid.IntRange(0, 5).Draw(t, "node"))
	room := fmt.Sprintf("r%d", rapid.IntRange(0, 4).Draw(t, "room"))
	id := fmt.Sprintf("x%d", rapid.IntRange(0, 4).Draw(t, "id"))
	d := cluster.Demand{Rooms: 1, CPU: rapid.Float64Range(0, 2).Draw(t, "cpu"), Clients: float64(rapid.IntRange(0, 5).Draw(t, "clients"))}
	w.Now = w.Now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
	var e cluster.Event
	switch rapid.IntRange(0, 20).Draw(t, "what") {
	case 0:
		e = cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: node, CPUs: 4}}
	case 1, 2:
		e = cluster.NodeStatusChanged{At: w.Now, Node: node, Status: rapid.SampledFrom(cluster.Statuses()).Draw(t, "status")}
	case 3, 4:
		e = cluster.LoadReported{At: w.Now, Node: node, Load: cluster.Load{Version: uint64(i), CPU: 10}}
	case 5, 6:
		e = cluster.RoomPlaced{At: w.Now, Room: room, Node: node, Load: d, Expect: cluster.Demand{Clients: 3, CPU: 0.3}, ExpectUntil: w.Now.Add(time.Minute)}
	case 7, 8:
		e = cluster.ParticipantPlaced{At: w.Now, Room: room, Node: node, Load: cluster.Demand{Clients: 1, CPU: 0.1}}
	case 9:
		e = cluster.ParticipantLeft{At: w.Now, Room: room, Node: node}
	case 10:
		e = cluster.RoomLeft{At: w.Now, Room: room, Node: node}
	case 11:
		e = cluster.RoomClosed{At: w.Now, Room: room}
	case 12:
		e = cluster.JobPlaced{At: w.Now, Job: cluster.Job{ID: id, Kind: cluster.JobEgress, Node: node, CPU: 1}}
	case 13:
		e = cluster.JobEnded{At: w.Now, Job: id}
	case 14:
		e = cluster.NodeRemoved{At: w.Now, Node: node}
	case 15:
		e = cluster.ReservationAdmitted{At: w.Now, Reservation: cluster.Reservation{
			ID: id, Room: room, Participants: 5, From: w.Now.Add(time.Minute), Until: w.Now.Add(time.Hour),
			Shares:   []cluster.ReservationShare{{Node: node, Demand: cluster.Demand{CPU: 1, Clients: 5}}},
			Unplaced: cluster.Demand{CPU: 2, Clients: 10},
		}}
	case 16:
		e = cluster.ReservationBound{At: w.Now, Reservation: id, Node: node, CPU: rapid.SampledFrom([]float64{0.5, 1, 2}).Draw(t, "part")}
	case 17:
		e = cluster.RoomPlaced{At: w.Now, Room: room, Node: node, Load: d, Reservation: id}
	case 18:
		e = cluster.TimePassed{At: w.Now}
	case 19:
		e = cluster.WorkerRegistered{At: w.Now, Worker: cluster.Worker{ID: id, Node: node}}
	case 20:
		e = cluster.JobPlaced{At: w.Now, Job: cluster.Job{ID: "agent" + id, Kind: cluster.JobAgent, Node: node, Worker: id, CPU: 0.2, Load: 0.1}}
	}
	return e
}

// step applies a random event to the world; illegal ones must change nothing.
func step(t *rapid.T, w *clustertest.World, i int) {
	e := draw(t, w, i)
	before, _ := json.Marshal(w.State)
	if err := w.State.Apply(e); err != nil {
		if after, _ := json.Marshal(w.State); string(before) != string(after) {
			t.Fatalf("%v, yet the state changed:\n%s\n%s", err, before, after)
		}
	}
}

// What the state says of nodes, rooms and jobs agrees, whatever happens: counts
// are sums of shares, pending is the sum of charges and never negative, and an
// empty cluster carries nothing.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := clustertest.New()
		for i := range rapid.IntRange(1, 80).Draw(t, "steps") {
			step(t, w, i+1)
		}
		rooms, people, jobs := map[string]int{}, map[string]int{}, map[string]int{}
		for _, r := range w.State.Rooms() {
			for _, sh := range r.Shares {
				rooms[sh.Node]++
				people[sh.Node] += sh.Participants
			}
		}
		for _, j := range w.State.Jobs() {
			jobs[j.Node]++
		}
		for i, n := range w.State.Nodes() {
			if n.Rooms != rooms[n.ID] || n.Participants != people[n.ID] || n.Jobs() != jobs[n.ID] {
				t.Fatalf("node %s counts %d rooms, %d participants, %d jobs; there are %d, %d, %d", n.ID, n.Rooms, n.Participants, n.Jobs(), rooms[n.ID], people[n.ID], jobs[n.ID])
			}
			p := n.Pending()
			if p.CPU < -1e-9 || p.Clients < -1e-9 || p.CPU > 1e6 {
				t.Fatalf("node %s has %+v pending", n.ID, p)
			}
			if at := w.State.NodeAt(i); at.ID != n.ID || at.Position() != i {
				t.Fatalf("node %s is not at %d", n.ID, i)
			}
		}
		for _, r := range w.State.Rooms() {
			if err := w.State.Apply(cluster.RoomClosed{At: w.Now, Room: r.Name}); err != nil {
				t.Fatal(err)
			}
		}
		for _, j := range w.State.Jobs() {
			w.Must(cluster.JobEnded{At: w.Now, Job: j.ID})
		}
		for _, r := range w.State.Reservations() {
			w.Must(cluster.ReservationReleased{At: w.Now, Reservation: r.ID})
		}
		for _, n := range w.State.Nodes() {
			if !n.Idle() || n.Pending().CPU > 1e-9 || len(n.Charges) > 0 {
				t.Fatalf("an empty node keeps %+v", n)
			}
		}
	})
}

// A clone and a state read from JSON go on exactly as the original does.
func TestCopiesGoOnAlike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := clustertest.New()
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			step(t, w, i+1)
		}
		data, err := json.Marshal(w.State)
		if err != nil {
			t.Fatal(err)
		}
		var read cluster.State
		if err := json.Unmarshal(data, &read); err != nil {
			t.Fatal(err)
		}
		clone := w.State.Clone()
		e := cluster.LoadReported{At: w.Now.Add(time.Second), Node: "n0", Load: cluster.Load{Version: 1000, CPU: 33}}
		errs := []error{w.State.Apply(e), clone.Apply(e), read.Apply(e)}
		a, _ := json.Marshal(w.State)
		b, _ := json.Marshal(clone)
		c, _ := json.Marshal(&read)
		if string(a) != string(b) || string(a) != string(c) || (errs[0] == nil) != (errs[1] == nil) || (errs[0] == nil) != (errs[2] == nil) {
			t.Fatalf("%v\n%s\n%s\n%s", errs, a, b, c)
		}
		_ = clone.Apply(cluster.RoomPlaced{At: w.Now, Room: "only in the clone", Node: "n0", Load: cluster.Demand{CPU: 9}})
		if after, _ := json.Marshal(w.State); string(after) != string(a) {
			t.Fatal("a change of the clone changed the original")
		}
	})
}

// The list of changes names every node that changed, or says that it cannot.
func TestChangedSince(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := clustertest.New()
		for i := range 10 {
			step(t, w, i+1)
		}
		members, from, before := w.State.Membership(), w.State.Changes(), w.State.Nodes()
		for i := range rapid.IntRange(0, 10).Draw(t, "steps") {
			step(t, w, i+100)
		}
		positions, ok := w.State.ChangedSince(from)
		if members != w.State.Membership() {
			return // an index starts anew
		}
		if !ok {
			t.Fatal("a few changes are forgotten")
		}
		for i, n := range w.State.Nodes() {
			if !cmp.Equal(before[i], n, cmp.Exporter(func(reflect.Type) bool { return true })) && !slices.Contains(positions, int32(i)) {
				t.Fatalf("node %s changed and is not listed", n.ID)
			}
		}
	})
	w := clustertest.New()
	w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "a", CPUs: 1}})
	v := w.State.Changes()
	for i := range 100_000 {
		w.Must(cluster.LoadReported{At: w.Now, Node: "a", Load: cluster.Load{Version: uint64(i + 1)}})
	}
	if _, ok := w.State.ChangedSince(v); ok {
		t.Error("100,000 changes are all remembered")
	}
	if p, ok := w.State.ChangedSince(w.State.Changes() - 5); !ok || len(p) != 5 {
		t.Errorf("the last five: %v, %v", p, ok)
	}
	if _, ok := w.State.ChangedSince(w.State.Changes() + 1); ok {
		t.Error("the future is known")
	}
}

// Costs grow with the room, and a room costs what its participants do.
func TestCosts(t *testing.T) {
	c := cluster.DefaultPolicy().Costs
	if d := c.OfRoom(0, 0); d.CPU != c.Room || d.Clients != 0 || d.Tracks != 0 {
		t.Errorf("an empty room: %+v", d)
	}
	if d := c.OfRoom(8, 8); d.Tracks != 16*8 || d.Clients != 8 {
		t.Errorf("8 among 8: %+v, want 16 tracks in and 112 out", d)
	}
	if d := c.OfRoom(3, 9); d.Tracks != 6*3 {
		t.Errorf("more publishers than participants: %+v", d)
	}
	sum := c.OfRoom(0, 0)
	for i := range 8 {
		sum = sum.Plus(c.OfParticipant(i, i, true))
	}
	want := c.OfRoom(8, 8)
	if diff := sum.CPU - want.CPU; diff > 1e-9 || diff < -1e-9 || sum.Tracks != want.Tracks {
		t.Errorf("eight participants one by one %+v, at once %+v", sum, want)
	}
}

// FuzzDecodeEvent: no bytes make the decoder panic, and what it reads can be
// applied or refused without a panic.
func FuzzDecodeEvent(f *testing.F) {
	f.Add([]byte(`{"kind":"node_added","event":{"node":{"id":"a","cpus":1}}}`))
	f.Add([]byte(`{"kind":"reservation_admitted","event":{"reservation":{"id":"a","room":"b","from":"2026-01-01T00:00:00Z","until":"2026-01-02T00:00:00Z"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := cluster.DecodeEvent(data)
		if err != nil {
			return
		}
		w := clustertest.New()
		w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "a", CPUs: 1}})
		_ = w.State.Apply(e)
		_ = w.State.Apply(cluster.TimePassed{At: w.Now})
	})
}

// BenchmarkMemory states what a node and a room weigh in the state.
func BenchmarkMemory(b *testing.B) {
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	const nodes, rooms = 10_000, 200_000
	for b.Loop() {
		start := heap()
		w := clustertest.New()
		for i := range nodes {
			id := fmt.Sprintf("media_i-0123456789ab%05d", i)
			w.Must(
				cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: 8}},
				cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning},
				cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 1, CPU: 1}},
			)
		}
		some := heap()
		for i := range rooms {
			w.Must(cluster.RoomPlaced{At: w.Now.Add(-time.Hour), Room: fmt.Sprintf("room-%08d", i), Node: w.State.NodeAt(i % nodes).ID, Load: cluster.Demand{Rooms: 1, CPU: 0.1, Clients: 4}})
		}
		for i := range nodes {
			w.Must(cluster.LoadReported{At: w.Now, Node: w.State.NodeAt(i).ID, Load: cluster.Load{Version: 2, CPU: 20}})
		}
		all := heap()
		b.ReportMetric((some-start)/nodes, "B/node")
		b.ReportMetric((all-some)/rooms, "B/room")
		runtime.KeepAlive(w)
	}
}

// BenchmarkApply is the two events that a busy cluster has most of.
func BenchmarkApply(b *testing.B) {
	w := clustertest.New()
	for i := range 1000 {
		w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: fmt.Sprintf("n%04d", i), CPUs: 8}})
	}
	ids := make([]string, w.State.Len())
	for i := range ids {
		ids[i] = w.State.NodeAt(i).ID
	}
	b.Run("report", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			w.Must(cluster.LoadReported{At: w.Now, Node: ids[i%1000], Load: cluster.Load{Version: uint64(i + 1), At: w.Now, CPU: 50}})
		}
	})
	b.Run("join", func(b *testing.B) {
		w.Must(cluster.RoomPlaced{At: w.Now, Room: "r", Node: ids[0]})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			w.Must(
				cluster.ParticipantPlaced{At: w.Now, Room: "r", Node: ids[0], Load: cluster.Demand{CPU: 0.01, Clients: 1}},
				cluster.ParticipantLeft{At: w.Now, Room: "r", Node: ids[0]},
			)
		}
	})
}

// FuzzState: no bytes make a state panic, neither when they are read nor in what
// happens to it afterwards; and what is read is written and read again the same.
func FuzzState(f *testing.F) {
	w := clustertest.New()
	w.Must(
		cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "a", CPUs: 4}},
		cluster.NodeStatusChanged{At: w.Now, Node: "a", Status: cluster.StatusRunning},
		cluster.LoadReported{At: w.Now, Node: "a", Load: cluster.Load{Version: 1, CPU: 10}},
		cluster.ReservationAdmitted{At: w.Now, Reservation: cluster.Reservation{
			ID: "v", Room: "r", Participants: 3, From: w.Now, Until: w.Now.Add(time.Hour),
			Shares: []cluster.ReservationShare{{Node: "a", Demand: cluster.Demand{CPU: 1, Clients: 3}}}, Unplaced: cluster.Demand{CPU: 1},
		}},
		cluster.RoomPlaced{At: w.Now, Room: "r", Node: "a", Load: cluster.Demand{CPU: 1, Clients: 2}, Reservation: "v"},
		cluster.WorkerRegistered{At: w.Now, Worker: cluster.Worker{ID: "w", Node: "a"}},
		cluster.JobPlaced{At: w.Now, Job: cluster.Job{ID: "j", Kind: cluster.JobAgent, Node: "a", Worker: "w", CPU: 1, Load: 0.1}},
	)
	full, err := json.Marshal(w.State)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(`{"policy":{"stale_after":1,"history_bucket":1000000000,"history_season":1000000000},"rooms":[{"name":"r","shares":[{"node":"b","participants":1}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s cluster.State
		if err := json.Unmarshal(data, &s); err != nil {
			return
		}
		once, err := json.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		var again cluster.State
		if err := json.Unmarshal(once, &again); err != nil {
			t.Fatalf("what was written is not read: %v\n%s", err, once)
		}
		if twice, _ := json.Marshal(&again); string(once) != string(twice) {
			t.Fatalf("\n%s\n%s", once, twice)
		}
		at := s.Now().Add(time.Minute)
		for _, e := range []cluster.Event{
			cluster.TimePassed{At: at}, cluster.LoadSampled{At: at, Total: 5}, cluster.LoadReported{At: at, Node: "a", Load: cluster.Load{Version: 9, CPU: 1}},
			cluster.ReservationBound{At: at, Reservation: "v", Node: "a", CPU: 0.5}, cluster.ParticipantPlaced{At: at, Room: "r", Node: "a", Load: cluster.Demand{Clients: 1}},
			cluster.ParticipantLeft{At: at, Room: "r", Node: "a"}, cluster.NodeStatusChanged{At: at, Node: "a", Status: cluster.StatusWaiting},
			cluster.RoomLeft{At: at, Room: "r", Node: "a"}, cluster.JobEnded{At: at, Job: "j"}, cluster.WorkerGone{At: at, Worker: "w"},
			cluster.NodeRemoved{At: at, Node: "a"}, cluster.RoomClosed{At: at, Room: "r"}, cluster.ReservationReleased{At: at, Reservation: "v"},
		} {
			_ = s.Apply(e)
		}
		for _, n := range s.Nodes() {
			_, _, _, _ = n.EffectiveCPU(), n.FreeCPUs(), n.PromisedTo("r"), n.HeldFor("v")
		}
		s.Clone()
	})
}
