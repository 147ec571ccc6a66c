package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/placement"
)

// joinsPrefix keeps the rooms of joins apart from the sessions.
const joinsPrefix = "joins/"

// reserve asks for a reservation.
func (e *engine) reserve(n int) {
	b := e.sc.booked[n]
	r, _, err := placement.Reserve(e.state, cluster.Reservation{
		ID: "v" + itoa(n+1), Room: b.room, Participants: b.participants, Publishers: b.publishers,
		From: e.sc.Start.Add(b.from), Until: e.sc.Start.Add(b.from + b.lasts),
	}, e.sc.Place, placement.Fleet{MaxNodes: e.sc.Autoscale.MaxNodes, NodeCPUs: e.sc.Fleet.CPUs}, e.at())
	if err != nil {
		e.m.ReservationsRefused++
		return
	}
	e.m.Reservations++
	e.apply(cluster.ReservationAdmitted{At: e.at(), Reservation: r})
}

// unique gives every session, room of joins and job a name of its own, whatever
// the scenario calls them.
func (e *engine) unique(a *arrival) {
	e.m.arrivals++
	switch {
	case a.again:
	case a.what == aJoin:
		a.room = joinsPrefix + a.room
	case a.what == aAgent:
		a.room += "#" + itoa(e.m.arrivals)
	default:
		if _, taken := e.state.Room(a.room); taken {
			a.room += "#" + itoa(e.m.arrivals)
		}
	}
}

// arrive places a piece of work and starts it, or counts it as rejected.
func (e *engine) arrive(a arrival) {
	e.unique(&a)
	r, ok := e.request(a)
	if !ok {
		return
	}
	d, err := e.place(r)
	if err != nil {
		e.m.Rejected++
		return
	}
	for _, ev := range d.Events(r, e.sc.Place, e.sc.Model) {
		e.apply(ev)
	}
	i, ok := e.byID[d.Node]
	if !ok {
		e.err = fmt.Errorf("%s %q was placed on node %q, which is not simulated", r.Kind, a.room, d.Node)
		return
	}
	if d.Spilled {
		e.m.Spills++
	}
	e.run(a, i)
}

// request turns an arrival into a request with its expected demand. Work that
// would end at once does not ask.
func (e *engine) request(a arrival) (placement.Request, bool) {
	if a.lasts <= 0 {
		return placement.Request{}, false
	}
	cpu := a.cpu
	if a.points > 0 {
		cpu = a.points / 100 * e.sc.Fleet.CPUs
	}
	r := placement.Request{At: e.at(), Room: a.room, Node: a.node, Ramp: a.ramp}
	r.Load = cluster.Demand{CPU: cpu, Clients: float64(a.people), Tracks: float64(tracksOf(a.people))}
	r.Load.BytesPerSec = r.Load.Tracks * e.sc.Model.Costs.TrackBytes
	switch a.what {
	case aSession:
		r.Kind = placement.KindRoom
	case aJoin:
		r.Kind, r.ID = placement.KindParticipant, "p"+itoa(e.m.arrivals)
	case aAgent:
		r.Kind, r.ID, r.Room = placement.KindAgent, a.room, ""
		r.Load = cluster.Demand{CPU: cpu}
	}
	return r, true
}

// tracksOf is audio and video of everybody, to everybody.
func tracksOf(people int) int { return 2 * people * people }

// place decides; rooms by the index, the rest by a scan.
func (e *engine) place(r placement.Request) (d placement.Decision, err error) {
	if r.Kind == placement.KindRoom {
		d, _, err = e.index.Room(r)
	} else {
		d, err = placement.Decide(e.state, r, e.sc.Place)
	}
	e.rec.place(r, e.sc.Place, d, err)
	return d, err
}

// run starts the work on node i.
func (e *engine) run(a arrival, i int32) {
	m := e.nodes[i]
	s := session{room: a.room, end: e.now + int64(a.lasts), cpu: a.cpu, points: a.points, people: int32(a.people), node: i, what: a.what, log: a.announce}
	ref := int32(len(e.sessions))
	if n := len(e.free); n > 0 {
		ref, e.free = e.free[n-1], e.free[:n-1]
		e.sessions[ref] = s
	} else {
		e.sessions = append(e.sessions, s)
	}
	first := 1
	if a.again {
		first = 0
	}
	m.add(ref, e.pointsOf(&s, m), e.now, a.ramp)
	switch a.what {
	case aSession:
		e.m.Sessions += first
		m.rooms++
	case aJoin:
		e.m.Joins += first
		e.rooms[a.room]++
		room, _ := e.state.Room(a.room)
		if sh, _ := room.On(m.id); sh.Participants == 1 {
			m.rooms++
		}
	case aAgent:
		e.m.Agents += first
		m.agents++
	}
	m.people += a.people
	m.tracks += tracksOf(a.people)
	e.m.people += a.people
	if a.announce {
		e.logStart(a, m)
	}
	e.ends.push(s.end, evEnd, ref)
}

func (e *engine) pointsOf(s *session, m *machine) float64 {
	if s.points > 0 {
		return s.points
	}
	return s.cpu / m.cpus * 100
}

// ended is the planned end of a session, unless a crash came first.
func (e *engine) ended(ref int32, at int64) {
	if s := &e.sessions[ref]; s.node >= 0 && s.end == at {
		if s.log {
			e.m.log = append(e.m.log, fmt.Sprintf("STOPPING session (%s) in node (%s) >> Reduced %s %% load to the node",
				s.room, e.nodes[s.node].id, number(e.pointsOf(s, e.nodes[s.node]))))
		}
		node := s.node
		e.stop(ref)
		e.leaveIfIdle(node)
	}
}

// stop takes a session off its node and out of the state.
func (e *engine) stop(ref int32) {
	s := &e.sessions[ref]
	m := e.nodes[s.node]
	m.drop(ref, e.pointsOf(s, m))
	m.people -= int(s.people)
	m.tracks -= tracksOf(int(s.people))
	e.m.people -= int(s.people)
	switch s.what {
	case aSession:
		m.rooms--
		e.apply(cluster.RoomClosed{At: e.at(), Room: s.room})
	case aJoin:
		e.rooms[s.room]--
		e.apply(cluster.ParticipantLeft{At: e.at(), Room: s.room, Node: m.id})
		e.leaveRoom(s.room, m)
	case aAgent:
		m.agents--
		e.apply(cluster.JobEnded{At: e.at(), Job: s.room})
	}
	s.node, s.room = -1, ""
	e.free = append(e.free, ref)
}

// leaveRoom ends a room of single joins on a node that nobody of it is left on,
// and altogether when nobody is left at all.
func (e *engine) leaveRoom(name string, m *machine) {
	room, _ := e.state.Room(name)
	if sh, on := room.On(m.id); on && sh.Participants == 0 {
		m.rooms--
		e.apply(cluster.RoomLeft{At: e.at(), Room: name, Node: m.id})
	}
	if e.rooms[name] == 0 {
		delete(e.rooms, name)
		e.apply(cluster.RoomClosed{At: e.at(), Room: name})
	}
}

// leaveIfIdle terminates a draining node that has become idle.
func (e *engine) leaveIfIdle(i int32) {
	m := e.nodes[i]
	if m == nil {
		return
	}
	if n, ok := e.state.Node(m.id); ok && n.Status == cluster.StatusWaiting && n.Idle() {
		e.status(i, cluster.StatusTerminating)
		e.terminate(i)
	}
}

func (e *engine) logStart(a arrival, m *machine) {
	s := session{cpu: a.cpu, points: a.points}
	e.m.log = append(e.m.log, fmt.Sprintf("STARTING session (%s) in node (%s) with rumpUp 1 and duration %d >> Added %s %% load to the node",
		a.room, m.id, a.ticks, number(e.pointsOf(&s, m))))
}

// number writes at most two decimals and no trailing zeros.
func number(x float64) string {
	return strconv.FormatFloat(float64(int64(x*100+0.5))/100, 'f', -1, 64)
}

// loads is the real load of every node that takes work, hottest first.
func (e *engine) loads() []float64 {
	var out []float64
	for _, m := range e.nodes {
		if m != nil && m.up && !m.dead && e.takesWork(m) {
			out = append(out, m.load(e.now))
		}
	}
	slices.SortFunc(out, func(a, b float64) int { return cmp.Compare(b, a) })
	return out
}
