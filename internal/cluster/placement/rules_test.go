package placement

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
	gocmp "github.com/google/go-cmp/cmp"
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
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// fresh is a world of running nodes that have reported these CPU loads.
func fresh(cpus float64, loads ...float64) *clustertest.World {
	w := clustertest.New()
	for i, cpu := range loads {
		id := fmt.Sprintf("n%d", i)
		w.Must(
			cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: cpus, Capabilities: []string{"ffmpeg", "browser"}}},
			cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning},
			cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 1, CPU: cpu}},
		)
	}
	p := w.State.Policy()
	p.StaleAfter = time.Hour
	w.Must(cluster.PolicyChanged{At: w.Now, Policy: p})
	return w
}

// The choice among graded candidates is the one that sorting them gives: the
// lowest tier, then the lowest score, and the k-th of the equals by position.
func TestPickIsTheSortedChoice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := make([]graded, rapid.IntRange(1, 30).Draw(t, "n"))
		for i := range all {
			all[i] = graded{
				tier: rapid.SampledFrom([]Tier{TierEligible, TierOverShare, TierOverLimit, TierUnknown}).Draw(t, "tier"),
				// Few values, so that there are ties.
				score: float64(rapid.IntRange(0, 3).Draw(t, "score")), pos: i,
			}
		}
		seed := rapid.Uint64().Draw(t, "seed")
		best, ties := pick(all, seed)
		sorted := slices.Clone(all)
		slices.SortFunc(sorted, func(a, b graded) int {
			return cmp.Or(cmp.Compare(a.tier, b.tier), cmp.Compare(a.score, b.score), cmp.Compare(a.pos, b.pos))
		})
		want := 0
		for want < len(sorted) && sorted[want].tier == sorted[0].tier && sorted[want].score == sorted[0].score {
			want++
		}
		if ties != want || best != sorted[seed%uint64(want)] {
			t.Fatalf("picked %+v of %d ties, want %+v of %d", best, ties, sorted[seed%uint64(want)], want)
		}
	})
}

// Decide is Place without the texts.
func TestDecideIsPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := clustertest.New(), drawPolicy(t)
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			step(t, w, i)
		}
		for i := range 10 {
			r := drawRequest(t, w.Now, i)
			want, e, wantErr := Place(w.State, r, p)
			got, err := Decide(w.State, r, p)
			if diff := gocmp.Diff(want, got); diff != "" || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%v, Place says %v:\n%s\n%s", err, wantErr, diff, e)
			}
			if wantErr == nil {
				for _, ev := range got.Events(r, p, w.State.Policy()) {
					_ = w.State.Apply(ev) // the random names may be taken
				}
			}
		}
	})
}

// No room or participant goes above a limit while a node that may take it is
// below, whatever the policy; and what refuses a node is true of it.
func TestNeverAboveTheLimitsByChoice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := clustertest.New(), drawPolicy(t)
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			step(t, w, i)
		}
		r := Request{Kind: rapid.SampledFrom([]Kind{KindRoom, KindParticipant}).Draw(t, "kind"), At: w.Now, Room: fmt.Sprintf("r%d", rapid.IntRange(0, 9).Draw(t, "room"))}
		d, e, err := Place(w.State, r, p)
		if err != nil {
			return
		}
		room, _ := w.State.Room(r.Room)
		tiers := map[string]Tier{}
		for _, n := range w.State.Nodes() {
			// What is promised to the room itself is there for it.
			own := cluster.Demand{}
			if r.Kind == KindParticipant {
				own = n.PromisedTo(r.Room)
			}
			tiers[n.ID], _, _ = p.gradeFor(&n, own, w.Now, w.State.Policy().StaleAfter)
		}
		settled := r.Kind == KindRoom && d.Existing
		stays := r.Kind == KindParticipant && p.Spill == SpillNever && len(room.Shares) > 0
		if tiers[d.Node] != TierEligible && !settled && !stays {
			for id, tier := range tiers {
				if tier == TierEligible {
					t.Fatalf("it goes to %s (%s), yet %s is eligible\n%s", d.Node, tiers[d.Node], id, e)
				}
			}
		}
	})
}

// A room that must not spill is on one node, and a pinned one on its own,
// whatever reports, drains and crashes come between its participants.
func TestRoomsStayTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := fresh(4, 10, 20, 30)
		p := DefaultPolicy()
		p.Spill = SpillNever
		pinned := rapid.Bool().Draw(t, "pinned")
		if pinned {
			p = drawPolicy(t)
			w.Must(cluster.RoomCreated{At: w.Now, Room: "r", Pin: "n1"})
		}
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			node := fmt.Sprintf("n%d", rapid.IntRange(0, 2).Draw(t, "node"))
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				_ = w.State.Apply(cluster.NodeStatusChanged{At: w.Now, Node: node, Status: rapid.SampledFrom([]cluster.Status{cluster.StatusWaiting, cluster.StatusRunning}).Draw(t, "status")})
			case 1:
				w.Must(cluster.LoadReported{At: w.Now, Node: node, Load: cluster.Load{Version: uint64(i + 2), CPU: float64(rapid.IntRange(0, 100).Draw(t, "cpu"))}})
			default:
				r := Request{Kind: KindParticipant, At: w.Now, Room: "r", ID: fmt.Sprint(i), Load: cluster.Demand{CPU: 0.3, Clients: 1}}
				d, e, err := Place(w.State, r, p)
				if err != nil {
					if n, _ := w.State.Node("n1"); pinned && n.Status == cluster.StatusWaiting {
						continue // nobody is on it yet, and it takes no new rooms
					}
					if errors.Is(err, ErrNoNode) {
						continue
					}
					t.Fatalf("%v\n%s", err, e)
				}
				w.Must(d.Events(r, p, w.State.Policy())...)
			}
			room, _ := w.State.Room("r")
			if len(room.Shares) > 1 || pinned && len(room.Shares) > 0 && room.Shares[0].Node != "n1" {
				t.Fatalf("the room is on %+v", room.Shares)
			}
		}
	})
}

// What was placed is on the ledger at once: the next decision sees it, and
// undoing it leaves no trace.
func TestPlacedAndTakenBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := clustertest.New(), drawPolicy(t)
		for i := range rapid.IntRange(1, 30).Draw(t, "steps") {
			step(t, w, i)
		}
		pending := func() map[string]cluster.Demand {
			out := map[string]cluster.Demand{}
			for _, n := range w.State.Nodes() {
				out[n.ID] = n.Pending()
			}
			return out
		}
		before := pending()
		type placed struct{ undo cluster.Event }
		var all []placed
		for i := range rapid.IntRange(1, 8).Draw(t, "placements") {
			r := Request{At: w.Now, ID: fmt.Sprintf("p%d", i)}
			undo := cluster.Event(cluster.JobEnded{At: w.Now, Job: r.ID})
			if rapid.Bool().Draw(t, "room") {
				r.Kind, r.Room, r.Load = KindRoom, "placed"+r.ID, cluster.Demand{CPU: 0.4, Clients: 3}
				undo = cluster.RoomClosed{At: w.Now, Room: r.Room}
			} else {
				r.Kind, r.Type = KindEgress, EgressTrack
			}
			d, _, err := Place(w.State, r, p)
			if err != nil {
				continue
			}
			was, _ := w.State.Node(d.Node)
			w.Must(d.Events(r, p, w.State.Policy())...)
			if is, _ := w.State.Node(d.Node); is.Pending().CPU <= was.Pending().CPU {
				t.Fatalf("%s was placed on %s and is not charged", r.ID, d.Node)
			}
			all = append(all, placed{undo})
		}
		for _, x := range all {
			w.Must(x.undo)
		}
		if diff := gocmp.Diff(before, pending()); diff != "" {
			t.Fatalf("a trace is left:\n%s", diff)
		}
	})
}

// reservedWorld is nodes with loads, and reservations of which some could not
// be placed when they were booked.
func reservedWorld(t *rapid.T, p Policy) *clustertest.World {
	w := fresh(4)
	fleet := Fleet{MaxNodes: 8, NodeCPUs: 4}
	for i := range rapid.IntRange(1, 5).Draw(t, "reservations") {
		from := w.Now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "in")) * time.Minute)
		n := rapid.IntRange(1, 60).Draw(t, "participants")
		got, _, err := Reserve(w.State, cluster.Reservation{
			ID: fmt.Sprintf("v%d", i), Room: fmt.Sprintf("room%d", i), Participants: n, Publishers: rapid.IntRange(0, n).Draw(t, "publishers"),
			From: from, Until: from.Add(time.Hour),
		}, p, fleet, w.Now)
		if err == nil {
			w.Must(cluster.ReservationAdmitted{At: w.Now, Reservation: got})
		}
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "nodes") {
		id := fmt.Sprintf("n%d", i)
		w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: id, CPUs: float64(rapid.IntRange(1, 8).Draw(t, "cpus"))}})
		if rapid.IntRange(0, 4).Draw(t, "launching") == 0 {
			continue
		}
		w.Must(cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.StatusRunning})
		if rapid.IntRange(0, 4).Draw(t, "silent") > 0 {
			w.Must(cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 1, CPU: float64(rapid.IntRange(0, 100).Draw(t, "cpu"))}})
		}
	}
	return w
}

// Binding places what was unplaced and nothing else, only on running nodes of
// known load and within what may be reserved of them; it leaves nothing that a
// node had room for, and asked again it has nothing to do.
func TestBind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := DefaultPolicy()
		w := reservedWorld(t, p)
		whole := map[string]cluster.Demand{}
		for _, r := range w.State.Reservations() {
			whole[r.ID] = r.Demand()
		}
		before, _ := json.Marshal(w.State)
		events, why := Bind(w.State, p, w.Now)
		if after, _ := json.Marshal(w.State); string(before) != string(after) {
			t.Fatal("binding changed the state")
		}
		for _, ev := range events {
			b := ev.(cluster.ReservationBound)
			if n, _ := w.State.Node(b.Node); n.Status != cluster.StatusRunning || !n.Known(w.Now, time.Hour) {
				t.Fatalf("%+v: the node is %s", b, n.Status)
			}
			if err := w.State.Apply(ev); err != nil {
				t.Fatalf("%+v: %v\n%v", ev, err, why)
			}
		}
		free := 0.0
		for _, n := range w.State.Nodes() {
			used := n.CPUs*n.Load.CPU/100 + n.Pending().CPU - chargedTo(&n)
			for _, r := range w.State.Reservations() {
				if i := slices.IndexFunc(r.Shares, func(s cluster.ReservationShare) bool { return s.Node == n.ID }); i >= 0 {
					used += r.Shares[i].Demand.CPU
				}
			}
			if len(n.Charges) > 0 && used > n.CPUs*p.ReserveLimit*(1+1e-9) {
				t.Fatalf("%.3g of the %v CPUs of %s are in use or reserved", used, n.CPUs, n.ID)
			}
			if n.Status == cluster.StatusRunning && n.Known(w.Now, time.Hour) {
				free = max(free, n.CPUs*p.ReserveLimit-used)
			}
		}
		for _, r := range w.State.Reservations() {
			if got, want := r.Demand(), whole[r.ID]; math.Abs(got.CPU-want.CPU) > 1e-9 || math.Abs(got.Clients-want.Clients) > 1e-9 {
				t.Fatalf("%s was %+v and is %+v", r.ID, want, got)
			}
			if r.Unplaced.CPU > 0 && r.From.Before(w.Now.Add(nearFuture)) && free >= minShare*(1+1e-6) {
				t.Fatalf("%s waits for %.3g CPUs, and %.3g are free\n%v", r.ID, r.Unplaced.CPU, free, why)
			}
		}
		if again, _ := Bind(w.State, p, w.Now); len(again) > 0 {
			t.Fatalf("asked again: %+v", again)
		}
	})
}

// fitWorld is nodes with rooms and jobs on them that their loads show.
func fitWorld(t *rapid.T) *clustertest.World {
	nodes := rapid.IntRange(2, 5).Draw(t, "nodes")
	loads := make([]float64, nodes)
	w := fresh(4, loads...)
	mp := w.State.Policy()
	mp.RampUp, mp.CountsAfter = 0, 0
	w.Must(cluster.PolicyChanged{At: w.Now, Policy: mp})
	on := map[string]float64{}
	for i := range rapid.IntRange(0, 12).Draw(t, "pieces") {
		node := fmt.Sprintf("n%d", rapid.IntRange(0, nodes-1).Draw(t, "node"))
		cpu := float64(rapid.IntRange(1, 12).Draw(t, "tenths")) / 10
		if on[node]+cpu > 3.6 {
			continue
		}
		on[node] += cpu
		if rapid.IntRange(0, 3).Draw(t, "job") == 0 {
			w.Must(cluster.JobPlaced{At: w.Now, Job: cluster.Job{ID: fmt.Sprintf("j%d", i), Kind: cluster.JobEgress, Type: EgressTrack, Node: node, CPU: cpu}})
		} else {
			w.Must(cluster.RoomPlaced{At: w.Now, Room: fmt.Sprintf("r%d", i), Node: node, Load: cluster.Demand{Rooms: 1, CPU: cpu, Clients: 2}})
		}
	}
	w.Now = w.Now.Add(time.Minute)
	for i := range nodes {
		id := fmt.Sprintf("n%d", i)
		w.Must(cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: 2, CPU: on[id] / 4 * 100}})
	}
	return w
}

// What fits really does: carried out, every node that stays is within the
// limits, and everything is somewhere. What does not fit leaves no trace.
func TestFitterKeepsItsWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := fitWorld(t), DefaultPolicy()
		before, _ := json.Marshal(w.State)
		f := NewFitter(w.State, p, w.Now)
		gone, cpu := map[string]bool{}, map[string]float64{}
		for _, n := range w.State.Nodes() {
			cpu[n.ID] = n.CPUs * n.Load.CPU / 100
		}
		for _, n := range w.State.Nodes() {
			fit, err := f.Without(n.ID)
			if err != nil {
				t.Fatal(err)
			}
			if fit.String() == "" || fit.Fits != (len(fit.Blocked) == 0) {
				t.Fatalf("%+v", fit)
			}
			if len(gone) == 0 {
				if alone, err := FitsWithout(w.State, n.ID, p, w.Now); err != nil || alone.Fits != fit.Fits {
					t.Fatalf("after refusals only %s fits %v, alone %v: %v", n.ID, fit.Fits, alone.Fits, err)
				}
			}
			if !fit.Fits {
				continue
			}
			gone[n.ID] = true
			moved := 0.0
			for _, m := range fit.Moves {
				if gone[m.To] {
					t.Fatalf("%s goes to %s, which is given up", m.Name, m.To)
				}
				cpu[m.To] += m.CPU
				moved += m.CPU
			}
			if math.Abs(moved-cpu[n.ID]) > 1e-6 {
				t.Fatalf("%s carries %.3g CPUs, and %.3g move away", n.ID, cpu[n.ID], moved)
			}
			cpu[n.ID] = 0
		}
		if len(gone) == w.State.Len() && len(w.State.Rooms())+len(w.State.Jobs()) > 0 {
			t.Fatal("everything fits on nothing")
		}
		for id, used := range cpu {
			if jobs := len(w.State.Jobs()) > 0; !jobs && used > 4*p.CPULoadLimit*(1+1e-9) {
				t.Fatalf("%s is left with %.3g CPUs of 4", id, used)
			}
			if used > 4*(1+1e-9) {
				t.Fatalf("%s is left with %.3g CPUs of 4", id, used)
			}
		}
		if after, _ := json.Marshal(w.State); string(before) != string(after) {
			t.Fatal("asking changed the state")
		}
	})
}

// Asking for a node that does not fit changes no later answer.
func TestFitterForgetsRefusals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, p := fitWorld(t), DefaultPolicy()
		ids := []string{}
		for _, n := range w.State.Nodes() {
			ids = append(ids, n.ID)
		}
		all, accepted := NewFitter(w.State, p, w.Now), NewFitter(w.State, p, w.Now)
		for _, id := range ids {
			fit, err := all.Without(id)
			if err != nil {
				t.Fatal(err)
			}
			if !fit.Fits {
				continue
			}
			again, err := accepted.Without(id)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(fit, again); diff != "" {
				t.Fatalf("without the refusals before it:\n%s", diff)
			}
		}
	})
}

// The events of a decision are what the state needs: each of them applies, a
// room that is there brings nothing, and a participant of a new room two things.
func TestEvents(t *testing.T) {
	w, p := fresh(4, 10), DefaultPolicy()
	kinds := func(r Request) string {
		r.At = w.Now
		d, _, err := Place(w.State, r, p)
		if err != nil {
			return err.Error()
		}
		var out []string
		for _, e := range d.Events(r, p, w.State.Policy()) {
			w.Must(e)
			out = append(out, e.Kind())
		}
		return strings.Join(out, " ")
	}
	w.Must(cluster.WorkerRegistered{At: w.Now, Worker: cluster.Worker{ID: "w", Node: "n0"}})
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Kind: KindRoom, Room: "r"}, "room_placed"},
		{Request{Kind: KindRoom, Room: "r"}, ""},
		{Request{Kind: KindParticipant, Room: "r", ID: "p"}, "participant_placed"},
		{Request{Kind: KindParticipant, Room: "s", ID: "p"}, "room_placed participant_placed"},
		{Request{Kind: KindEgress, Type: EgressTrack, ID: "e"}, "job_placed"},
		{Request{Kind: KindIngress, Type: IngressWHIPBypass, ID: "i"}, "job_placed"},
		{Request{Kind: KindAgent, ID: "a"}, "job_placed"},
		{Request{Kind: KindEgress, Type: EgressWeb, ID: "big"}, "no Media Node has the capacity for egress web: 3 CPUs are needed"},
	} {
		if got := kinds(c.r); got != c.want {
			t.Errorf("%s %s%s: %q, want %q", c.r.Kind, c.r.Room, c.r.ID, got, c.want)
		}
	}
	n, _ := w.State.Node("n0")
	if n.Rooms != 2 || n.Participants != 2 || n.Jobs() != 3 {
		t.Errorf("the node has %d rooms, %d participants, %d jobs", n.Rooms, n.Participants, n.Jobs())
	}
	if j, _ := w.State.Job("a"); j.Worker != "w" || j.Load != p.Agent.Load || j.CPU != p.Agent.CPU {
		t.Errorf("the agent job is %+v", j)
	}
	if e := (Decision{}).Events(Request{Kind: "pony"}, p, w.State.Policy()); e != nil {
		t.Errorf("a pony brings %v", e)
	}
}

// What a room is expected to bring is charged with it: the default, a number of
// one's own, none, or what the request says.
func TestExpectations(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*Policy, *Request)
		clients float64
		until   time.Duration
	}{
		{"default", func(*Policy, *Request) {}, 4, 10 * time.Minute},
		{"twenty", func(p *Policy, _ *Request) { p.ExpectParticipants, p.ExpectFor = 20, time.Minute }, 20, time.Minute},
		{"nobody", func(p *Policy, _ *Request) { p.ExpectParticipants = 0 }, 0, 0},
		{"no time", func(p *Policy, _ *Request) { p.ExpectFor = 0 }, 0, 0},
		{"told", func(_ *Policy, r *Request) { r.Load = cluster.Demand{CPU: 1, Clients: 9} }, 0, 0},
	} {
		w, p, r := fresh(4, 0), DefaultPolicy(), Request{Kind: KindRoom, Room: "r"}
		r.At = w.Now
		c.change(&p, &r)
		d, _, err := Place(w.State, r, p)
		if err != nil {
			t.Fatal(err)
		}
		e := d.Events(r, p, w.State.Policy())[0].(cluster.RoomPlaced)
		if e.Expect.Clients != c.clients || e.Load.Rooms != 1 || e.Expect.Rooms != 0 {
			t.Errorf("%s: %+v", c.name, e)
		}
		if c.until > 0 && !e.ExpectUntil.Equal(w.Now.Add(c.until)) {
			t.Errorf("%s: expected until %v", c.name, e.ExpectUntil)
		}
		whole := w.State.Policy().Costs.OfRoom(int(c.clients), int(c.clients)).CPU
		if c.name != "told" && math.Abs(e.Load.CPU+e.Expect.CPU-whole) > 1e-9 {
			t.Errorf("%s: %v CPUs are charged, %v are expected", c.name, e.Load.CPU+e.Expect.CPU, whole)
		}
	}
}

// The index follows its state through everything that can make its tree wrong:
// nodes that come and go in the middle, reports that grow old, clocks that go
// back, more changes than are remembered.
func TestIndexFollows(t *testing.T) {
	w, p := fresh(4, 50, 40, 60), DefaultPolicy()
	mp := w.State.Policy()
	mp.StaleAfter = 10 * time.Second
	w.Must(cluster.PolicyChanged{At: w.Now, Policy: mp})
	x := NewIndex(w.State, p)
	want := func(why, node string, tier Tier) {
		t.Helper()
		for i := range 3 {
			r := Request{Kind: KindRoom, At: w.Now, Room: fmt.Sprintf("%s%d", why, i)}
			d, e, err := x.Room(r)
			full, _, fullErr := Place(w.State, r, p)
			if fmt.Sprint(err) != fmt.Sprint(fullErr) || d != full {
				t.Errorf("%s: %+v, %v; Place says %+v, %v", why, d, err, full, fullErr)
			}
			if err == nil && (d.Node != node || d.Tier != tier || e.Complete) {
				t.Errorf("%s: %+v, want %s\n%s", why, d, node, e)
			}
		}
	}
	report := func(id string, version uint64, cpu float64) {
		t.Helper()
		w.Must(cluster.LoadReported{At: w.Now, Node: id, Load: cluster.Load{Version: version, CPU: cpu}})
	}
	want("first", "n1", TierEligible)
	w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "n0a", CPUs: 4}}, cluster.NodeStatusChanged{At: w.Now, Node: "n0a", Status: cluster.StatusRunning})
	want("a node in the middle that has not reported", "n1", TierEligible)
	report("n0a", 1, 5)
	want("it reports", "n0a", TierEligible)
	w.Must(cluster.NodeStatusChanged{At: w.Now, Node: "n0a", Status: cluster.StatusWaiting})
	want("it drains", "n1", TierEligible)
	w.Must(cluster.NodeRemoved{At: w.Now, Node: "n0"})
	want("a node before it goes", "n1", TierEligible)
	w.Now = w.Now.Add(9 * time.Second)
	report("n2", 2, 70)
	want("nothing is old yet", "n1", TierEligible)
	w.Now = w.Now.Add(time.Second)
	want("the best one is silent", "n2", TierEligible)
	report("n2", 3, 95)
	want("the other is over the limit", "n2", TierOverLimit)
	w.Now = w.Now.Add(10 * time.Second)
	want("both are silent", "n1", TierUnknown)
	w.Now = w.Now.Add(-15 * time.Second)
	want("the clock goes back", "n1", TierEligible)
	for i := range 40_000 {
		report("n1", uint64(10+i), float64(i%50))
	}
	report("n1", 1e6, 99)
	report("n2", 1e6, 98)
	want("more changes than are remembered", "n2", TierOverLimit)
	w.Must(cluster.NodeStatusChanged{At: w.Now, Node: "n1", Status: cluster.StatusTerminating}, cluster.NodeStatusChanged{At: w.Now, Node: "n2", Status: cluster.StatusTerminating})
	want("none runs", "", 0)
	if _, _, err := x.Room(Request{Kind: KindEgress, At: w.Now}); !errors.Is(err, ErrRequest) {
		t.Errorf("the index places an egress: %v", err)
	}
	if _, _, err := NewIndex(clustertest.New().State, p).Room(Request{Kind: KindRoom, Room: "r", At: w.Now}); !errors.Is(err, ErrNoNode) {
		t.Errorf("an index of nothing: %v", err)
	}
}

// The explanation as the API gives it: a room among nodes of every kind, and a
// participant that spills.
func TestExplanationJSON(t *testing.T) {
	w, p := fresh(4, 30, 95, 20), DefaultPolicy()
	w.Must(cluster.NodeAdded{At: w.Now, Node: cluster.Node{ID: "n9", CPUs: 4}})
	p.Spill, p.MaxRoomShare = SpillShare, 0.1
	_, room, _ := Place(w.State, Request{Kind: KindRoom, At: w.Now, Room: "lobby"}, p)
	w.Must(cluster.RoomPlaced{At: w.Now, Room: "big", Node: "n0", Load: cluster.Demand{CPU: 0.5, Clients: 10}})
	_, spilled, _ := Place(w.State, Request{Kind: KindParticipant, At: w.Now, Room: "big", ID: "alice", Load: cluster.Demand{CPU: 0.1, Clients: 1}}, p)
	out, err := json.MarshalIndent([]Explanation{room, spilled}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "explanation.json", string(out)+"\n")
	var back []Explanation
	if err := json.Unmarshal(out, &back); err != nil || back[0].String() != room.String() || back[1].String() != spilled.String() {
		t.Errorf("it reads back as %v: %v", back, err)
	}
}

// Long explanations name the first dozen and count the rest.
func TestLongExplanations(t *testing.T) {
	loads := make([]float64, 40)
	for i := range loads {
		loads[i] = float64(i) * 4 // from 92 on over the limit
	}
	w := fresh(4, loads...)
	_, e, err := Place(w.State, Request{Kind: KindRoom, At: w.Now, Room: "r"}, DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "long.golden", e.String())
	if len(e.Candidates)+len(e.Refused) != 40 {
		t.Errorf("%d candidates, %d refused", len(e.Candidates), len(e.Refused))
	}
}

// Every way in which what fits can be said.
func TestFitString(t *testing.T) {
	for want, f := range map[string]Fit{
		"all 0 pieces on it fit elsewhere":                               {Fits: true},
		"all 2 pieces on it fit elsewhere":                               {Fits: true, Moves: make([]Move, 2)},
		`room "r" finds no place: no CPUs`:                               {Blocked: []Blocked{{Kind: KindRoom, Name: "r", Reason: "no CPUs"}}},
		`egress "e" finds no place: no disk; nor do 2 others`:            {Blocked: []Blocked{{Kind: KindEgress, Name: "e", Reason: "no disk"}, {}, {}}},
		`reservation "v" finds no place: no room on n1; nor do 1 others`: {Blocked: []Blocked{{Kind: KindReservation, Name: "v", Reason: "no room on n1"}, {}}},
	} {
		if got := f.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if _, err := NewFitter(clustertest.New().State, DefaultPolicy(), clustertest.Epoch()).Without("x"); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("a node that is not there: %v", err)
	}
}

// Tiers and policies name themselves.
func TestNames(t *testing.T) {
	for tier, want := range map[Tier]string{
		TierEligible: "eligible", TierOverShare: "over its share", TierOverLimit: "over the limit", TierUnknown: "load unknown",
		TierDraining: "draining", tierIneligible: "refused",
	} {
		if tier.String() != want {
			t.Errorf("tier %d is %q, want %q", tier, tier, want)
		}
	}
	for want, change := range map[string]func(*Policy){
		"kind cpuload, sort_by cpuload, cpu_load_limit 0.9": func(*Policy) {},
		"kind any, sort_by random":                          func(p *Policy) { p.Kind, p.SortBy = SelectAny, SortRandom },
		"kind sysload, sort_by tracks, sysload_limit 1.5":   func(p *Policy) { p.Kind, p.SortBy, p.SysLoadLimit = SelectSysLoad, SortTracks, 1.5 },
		"kind any, sort_by cpuload, reports alone":          func(p *Policy) { p.Kind, p.IgnorePlaced = SelectAny, true },
	} {
		p := DefaultPolicy()
		if change(&p); p.String() != want {
			t.Errorf("%q, want %q", p.String(), want)
		}
	}
}

// Defaults are the documented ones (openvidu.md, sections E.3 and C).
func TestDefaults(t *testing.T) {
	p := DefaultPolicy()
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if p.Kind != "cpuload" || p.SortBy != "cpuload" || p.CPULoadLimit != 0.9 || p.SysLoadLimit != 0.9 {
		t.Errorf("rooms: %+v", p)
	}
	for typ, cost := range map[string]float64{"room_composite": 3, "web": 3, "participant": 2, "track_composite": 2, "track": 1} {
		if got, _, ok := p.cost(KindEgress, typ); !ok || got != cost {
			t.Errorf("egress %s costs %v, want %v", typ, got, cost)
		}
	}
	for typ, cost := range map[string]float64{"rtmp": 2, "whip": 2, "whip_bypass_transcoding": 0.1, "url": 2} {
		if got, _, ok := p.cost(KindIngress, typ); !ok || got != cost {
			t.Errorf("ingress %s costs %v, want %v", typ, got, cost)
		}
	}
	if _, _, ok := p.cost(KindRoom, "room"); ok {
		t.Error("a room has the cost of a job")
	}
	if p.Ingress.MinIdleRatio != 0.3 || p.Agent.MaxNodeCPU != 0.7 || p.Agent.Threshold != 0.7 || p.Egress.Spread {
		t.Errorf("jobs: %+v", p)
	}
}
