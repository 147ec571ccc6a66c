package placement

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawPolicy is any valid policy.
func drawPolicy(t *rapid.T) Policy {
	p := DefaultPolicy()
	p.Kind = rapid.SampledFrom([]Selector{SelectAny, SelectCPULoad, SelectSysLoad}).Draw(t, "kind")
	p.SortBy = rapid.SampledFrom(SortOrders()).Draw(t, "sort")
	p.Spill = rapid.SampledFrom([]Spill{SpillNever, SpillPack, SpillShare, SpillSpread}).Draw(t, "spill")
	p.CPULoadLimit = float64(rapid.IntRange(1, 10).Draw(t, "cpuLimit")) / 10
	p.SysLoadLimit = float64(rapid.IntRange(1, 10).Draw(t, "sysLimit")) / 10
	p.Egress.Spread = rapid.Bool().Draw(t, "spread")
	p.IgnorePlaced = rapid.IntRange(0, 5).Draw(t, "plain") == 0
	p.ExpectParticipants = rapid.IntRange(0, 10).Draw(t, "expect")
	return p
}

// step does one random thing to a world: nodes come and go, report or fall
// silent, rooms and jobs are placed and end, time passes.
func step(t *rapid.T, w *clustertest.World, i int) {
	ids := func() []string {
		var out []string
		for _, n := range w.State.Nodes() {
			out = append(out, n.ID)
		}
		return out
	}()
	node := func() string { return rapid.SampledFrom(ids).Draw(t, "node") }
	try := func(e cluster.Event) { _ = w.State.Apply(e) } // some are illegal, which is fine
	what := rapid.IntRange(0, 11).Draw(t, "what")
	if len(ids) == 0 {
		what = 0
	}
	switch what {
	case 0, 1:
		id := fmt.Sprintf("n%02d", rapid.IntRange(0, 20).Draw(t, "id"))
		role := rapid.SampledFrom([]cluster.Role{cluster.RoleMedia, cluster.RoleMedia, cluster.RoleMedia, cluster.RoleMaster}).Draw(t, "role")
		can := rapid.SampledFrom([][]string{nil, {"ffmpeg"}, {"ffmpeg", "browser"}}).Draw(t, "can")
		try(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, Role: role, CPUs: float64(rapid.IntRange(1, 16).Draw(t, "cpus")), Capabilities: can}})
		try(cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning})
		try(cluster.LoadReported{At: w.Now, Node: id, Load: drawLoad(t, 1)})
	case 2, 3, 4, 5:
		try(cluster.LoadReported{At: w.Now, Node: node(), Load: drawLoad(t, uint64(i+2))})
	case 6:
		try(cluster.NodeStatusChanged{At: w.Now, Node: node(), Status: rapid.SampledFrom(cluster.Statuses()).Draw(t, "status")})
	case 7:
		try(cluster.RoomPlaced{At: w.Now, Room: fmt.Sprintf("r%d", i%7), Node: node(), Load: cluster.Demand{Rooms: 1, CPU: rapid.Float64Range(0, 2).Draw(t, "cpu"), Clients: 3, Tracks: 9, BytesPerSec: 1e5}})
	case 8:
		try(cluster.RoomClosed{At: w.Now, Room: fmt.Sprintf("r%d", rapid.IntRange(0, 6).Draw(t, "room"))})
	case 9:
		try(cluster.JobPlaced{At: w.Now, Job: cluster.Job{ID: fmt.Sprintf("j%d", i), Kind: cluster.JobEgress, Node: node(), CPU: 1}})
	case 10:
		try(cluster.NodeRemoved{At: w.Now, Node: node()})
	case 11:
		w.Now = w.Now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(t, "ms")) * time.Millisecond)
	}
}

func drawLoad(t *rapid.T, version uint64) cluster.Load {
	return cluster.Load{
		Version: version, CPU: float64(rapid.IntRange(0, 10).Draw(t, "load")) * 10, SysLoad: float64(rapid.IntRange(0, 5).Draw(t, "sys")) / 5,
		Rooms: rapid.IntRange(0, 3).Draw(t, "rooms"), Clients: rapid.IntRange(0, 3).Draw(t, "clients"),
		Tracks: rapid.IntRange(0, 3).Draw(t, "tracks"), BytesPerSec: float64(rapid.IntRange(0, 3).Draw(t, "bytes")),
	}
}

func drawRequest(t *rapid.T, now time.Time, i int) Request {
	r := Request{At: now, ID: fmt.Sprintf("id%d", i)}
	r.Kind = rapid.SampledFrom([]Kind{KindRoom, KindParticipant, KindEgress, KindIngress, KindAgent}).Draw(t, "request")
	switch r.Kind {
	case KindRoom:
		r.ID, r.Room = "", fmt.Sprintf("new%d", i)
	case KindParticipant:
		r.Room = fmt.Sprintf("r%d", rapid.IntRange(0, 6).Draw(t, "room"))
	case KindEgress:
		r.Type = rapid.SampledFrom([]string{EgressRoomComposite, EgressTrack, EgressParticipant}).Draw(t, "type")
	case KindIngress:
		r.Type = rapid.SampledFrom([]string{IngressRTMP, IngressWHIPBypass}).Draw(t, "type")
	}
	return r
}

// The index decides as the full scan does, whatever happened in between: the
// same node, tier, ties, counts and error.
func TestIndexAgreesWithPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := clustertest.New(), drawPolicy(t)
		x := NewIndex(w.State, p)
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			step(t, w, i)
			r := Request{Kind: KindRoom, At: w.Now, Room: fmt.Sprintf("room%d", i)}
			wantD, wantE, wantErr := Place(w.State, r, p)
			gotD, gotE, gotErr := x.Room(r)
			if !errors.Is(gotErr, wantErr) && gotErr != wantErr {
				t.Fatalf("error %v, Place says %v", gotErr, wantErr)
			}
			if diff := cmp.Diff(wantD, gotD); diff != "" {
				t.Fatalf("decision (-place +index):\n%s", diff)
			}
			if wantE.Considered != gotE.Considered || wantE.Eligible != gotE.Eligible || wantE.Ties != gotE.Ties || wantE.Outcome != gotE.Outcome {
				t.Fatalf("explanation\n%s\nindex\n%s", wantE, gotE)
			}
			if rapid.Bool().Draw(t, "carryOut") && wantErr == nil {
				w.Must(gotD.Events(r, p, w.State.Policy())...)
			}
		}
	})
}

// Every decision is explained: the chosen one is a candidate, nodes are either
// considered or not there, every refusal has a reason, and nothing changes.
func TestExplanations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := clustertest.New(), drawPolicy(t)
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			step(t, w, i)
		}
		r := drawRequest(t, w.Now, 1)
		before, _ := json.Marshal(w.State)
		d, e, err := Place(w.State, r, p)
		d2, e2, _ := Place(w.State.Clone(), r, p)
		after, _ := json.Marshal(w.State)
		if string(before) != string(after) {
			t.Fatal("placing changed the state")
		}
		if diff := cmp.Diff(d, d2) + cmp.Diff(e, e2); diff != "" {
			t.Fatalf("two decisions on one state differ:\n%s", diff)
		}
		if err == nil && !slices.ContainsFunc(e.Candidates, func(c Candidate) bool { return c.Node == d.Node && c.Worker == d.Worker }) {
			t.Fatalf("chosen %q is no candidate:\n%s", d.Node, e)
		}
		if err != nil && (d.Node != "" || e.Chosen != "") {
			t.Fatalf("%v, yet %q is chosen", err, d.Node)
		}
		for _, f := range e.Refused {
			if f.Reason == "" {
				t.Fatalf("%s is refused without a reason", label(f.Node, f.Worker))
			}
		}
		if e.Outcome == "" || e.Rule == "" || e.Eligible > e.Considered {
			t.Fatalf("explanation\n%s", e)
		}
		if _, err := json.Marshal(e); err != nil {
			t.Fatal(err)
		}
	})
}

// A room or participant only goes to a Media Node that runs (or, when none
// does, to one that hosts the room), and fails only when there is none.
func TestAllocationFailsOnlyWithoutNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := clustertest.New(), drawPolicy(t)
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			step(t, w, i)
		}
		r := drawRequest(t, w.Now, 1)
		if r.Kind != KindRoom && r.Kind != KindParticipant {
			r = Request{Kind: KindRoom, At: w.Now, Room: "new"}
		}
		running := 0
		for _, n := range w.State.Nodes() {
			if n.Status == cluster.StatusRunning && n.Role.HostsMedia() {
				running++
			}
		}
		d, e, err := Place(w.State, r, p)
		switch {
		case running > 0 && err != nil:
			t.Fatalf("%d nodes run: %v\n%s", running, err, e)
		case running == 0 && err == nil && d.Tier != TierDraining:
			t.Fatalf("no node runs, yet it goes to %s\n%s", d.Node, e)
		case err == nil && d.Tier == TierDraining:
			room, _ := w.State.Room(r.Room)
			if _, on := room.On(d.Node); !on || running > 0 && p.Spill != SpillNever {
				t.Fatalf("it goes to %s, which drains\n%s", d.Node, e)
			}
		case err == nil && running > 0:
			n, _ := w.State.Node(d.Node)
			if n.Status != cluster.StatusRunning || (!n.Role.HostsMedia() && !d.Existing) {
				t.Fatalf("it goes to %s, a %s node that is %s\n%s", d.Node, n.Role, n.Status, e)
			}
		}
	})
}

// What is placed never exceeds what was free: jobs always, rooms as long as any
// node is eligible.
func TestPlacedNeverExceedsFree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := clustertest.New(), drawPolicy(t)
		p.IgnorePlaced = false
		p.Kind = SelectCPULoad
		for i := range rapid.IntRange(1, 30).Draw(t, "steps") {
			step(t, w, i)
		}
		for i := range 20 {
			r := drawRequest(t, w.Now, i)
			d, e, err := Place(w.State, r, p)
			if err != nil || d.Worker != "" {
				continue
			}
			n, _ := w.State.Node(d.Node)
			switch r.Kind {
			case KindEgress, KindIngress:
				if n.FreeCPUs() < d.CPU {
					t.Fatalf("%.3g CPUs on %s, which has %.3g free\n%s", d.CPU, n.ID, n.FreeCPUs(), e)
				}
				if !n.Known(w.Now, w.State.Policy().StaleAfter) {
					t.Fatalf("a job goes to %s of unknown load\n%s", n.ID, e)
				}
			case KindRoom:
				if n.EffectiveCPU() >= p.CPULoadLimit*100 && e.Eligible > 0 {
					t.Fatalf("room on %s at %v%% while %d are eligible\n%s", n.ID, n.EffectiveCPU(), e.Eligible, e)
				}
			}
			w.Must(d.Events(r, p, w.State.Policy())...)
		}
	})
}

// A burst spreads under every sort order: on equal nodes nobody gets more than
// one room beyond his share, however many reports are missing.
func TestBurstsSpread(t *testing.T) {
	for _, sort := range SortOrders() {
		t.Run(string(sort), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w, p := clustertest.New(), DefaultPolicy()
				p.SortBy = sort
				nodes, rooms := rapid.IntRange(1, 12).Draw(t, "nodes"), rapid.IntRange(1, 60).Draw(t, "rooms")
				for i := range nodes {
					id := fmt.Sprintf("n%02d", i)
					w.Must(
						cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: 8}},
						cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning},
						cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 1, CPU: 10}},
					)
				}
				count := map[string]int{}
				for i := range rooms {
					r := Request{Kind: KindRoom, At: w.Now, Room: fmt.Sprintf("r%d", i)}
					d, _, err := Place(w.State, r, p)
					if err != nil {
						t.Fatal(err)
					}
					w.Must(d.Events(r, p, w.State.Policy())...)
					count[d.Node]++
				}
				for id, n := range count {
					if n > (rooms+nodes-1)/nodes {
						t.Fatalf("%d of %d rooms on %s of %d nodes", n, rooms, id, nodes)
					}
				}
			})
		})
	}
}

// Reservations that overlap never add up to more than may be reserved of a node
// or of the fleet.
func TestReservationsFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := clustertest.New(), DefaultPolicy()
		mp := w.State.Policy()
		mp.StaleAfter = 1000 * time.Hour
		w.Must(cluster.PolicyChanged{At: w.Now, Policy: mp})
		for i := range rapid.IntRange(1, 4).Draw(t, "nodes") {
			id := fmt.Sprintf("n%d", i)
			w.Must(
				cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: 4}},
				cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning},
				cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 1, CPU: float64(rapid.IntRange(0, 100).Draw(t, "cpu"))}},
			)
		}
		fleet := Fleet{MaxNodes: rapid.IntRange(0, 6).Draw(t, "max"), NodeCPUs: 4}
		for i := range 15 {
			from := w.Now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "from")) * 15 * time.Minute)
			r := cluster.Reservation{
				ID: fmt.Sprint(i), Room: fmt.Sprint("room", i), Participants: rapid.IntRange(1, 60).Draw(t, "n"),
				From: from, Until: from.Add(time.Duration(rapid.IntRange(1, 12).Draw(t, "len")) * 15 * time.Minute),
			}
			r.Publishers = rapid.IntRange(0, r.Participants).Draw(t, "p")
			got, e, err := Reserve(w.State, r, p, fleet, w.Now)
			if err != nil {
				if !errors.Is(err, ErrNoCapacity) {
					t.Fatal(err)
				}
				continue
			}
			want := mp.Costs.OfRoom(r.Participants, r.Publishers).CPU
			if d := got.Demand().CPU; d < want*(1-1e-9) || d > want*(1+1e-9) {
				t.Fatalf("%v CPUs of %v are booked\n%s", d, want, e)
			}
			w.Must(cluster.ReservationAdmitted{At: w.Now, Reservation: got})
		}
		all := w.State.Reservations()
		for tick := range 120 {
			at := w.Now.Add(time.Duration(tick) * 5 * time.Minute)
			on := map[string]float64{}
			for _, r := range all {
				if at.Before(r.From) || !at.Before(r.Until) {
					continue
				}
				for _, sh := range r.Shares {
					on[sh.Node] += sh.Demand.CPU
				}
				on["fleet"] += r.Unplaced.CPU
			}
			for node, cpu := range on {
				limit := 4 * p.ReserveLimit
				if node == "fleet" {
					limit *= float64(max(0, fleet.MaxNodes-w.State.Len()))
				}
				if cpu > limit*(1+1e-9) {
					t.Fatalf("%v CPUs are reserved on %s at %v, limit %v", cpu, node, at, limit)
				}
			}
		}
	})
}

// BenchmarkRoom places rooms over 10,000 nodes that keep reporting, each
// placement applied before the next.
func BenchmarkRoom(b *testing.B) {
	for _, nodes := range []int{100, 10_000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			w, p := clustertest.New(), DefaultPolicy()
			for i := range nodes {
				id := fmt.Sprintf("node%05d", i)
				w.Must(
					cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: 8}},
					cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning},
					cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 1, CPU: float64(i % 50)}},
				)
			}
			x := NewIndex(w.State, p)
			names := make([]string, 1<<16)
			for i := range names {
				names[i] = fmt.Sprintf("room%d", i)
			}
			load := cluster.Demand{Rooms: 1, CPU: 0.1, Clients: 4}
			b.Run("decide", func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, _, err := x.Room(Request{Kind: KindRoom, At: w.Now, Room: names[i&(1<<16-1)], Load: load}); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("decide+apply", func(b *testing.B) {
				b.ReportAllocs()
				version := uint64(1)
				for i := 0; b.Loop(); i++ {
					r := Request{Kind: KindRoom, At: w.Now, Room: names[i&(1<<16-1)], Load: load}
					d, _, err := x.Room(r)
					if err != nil {
						b.Fatal(err)
					}
					w.Must(d.Events(r, p, w.State.Policy())...)
					w.Must(cluster.RoomClosed{At: w.Now, Room: r.Room})
					if i%16 == 0 {
						version++
						w.Must(cluster.LoadReported{At: w.Now, Node: d.Node, Load: cluster.Load{Version: version, At: w.Now, CPU: float64(i % 50)}})
					}
				}
			})
		})
	}
}
