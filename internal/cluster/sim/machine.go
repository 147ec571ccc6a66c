package sim

import (
	"math"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// machine is a node as it really is, which its reports show late and in part.
type machine struct {
	id       string
	cpus     float64
	settled  float64 // percent points of work that is fully there
	ramping  []ramping
	rooms    int
	people   int
	tracks   int
	agents   int
	sessions int
	version  uint64
	muted    int64 // reports are lost until this moment
	dead     bool  // crashed, whether noticed or not
	up       bool  // has been running
}

// ramping is work whose load still grows.
type ramping struct {
	session int32
	start   int64
	ramp    int64
	points  float64
}

// load is the real CPU load in percent, which can exceed 100.
func (m *machine) load(now int64) float64 {
	sum := m.settled
	kept := m.ramping[:0]
	for _, r := range m.ramping {
		if age := now - r.start; age >= r.ramp {
			m.settled += r.points
			sum += r.points
		} else {
			sum += r.points * float64(age) / float64(r.ramp)
			kept = append(kept, r)
		}
	}
	m.ramping = kept
	return sum
}

func (m *machine) add(session int32, points float64, now int64, ramp time.Duration) {
	m.sessions++
	if ramp <= 0 {
		m.settled += points
		return
	}
	m.ramping = append(m.ramping, ramping{session, now, int64(ramp), points})
}

func (m *machine) drop(session int32, points float64) {
	m.sessions--
	for i := range m.ramping {
		if m.ramping[i].session == session {
			m.ramping[i] = m.ramping[len(m.ramping)-1]
			m.ramping = m.ramping[:len(m.ramping)-1]
			return
		}
	}
	m.settled -= points
	if m.sessions == 0 || m.settled < 1e-9 {
		// Sums of differences drift; an empty node has no load.
		m.settled = max(0, m.settled)
		if m.sessions == 0 {
			m.settled = 0
		}
	}
}

// launch asks the provider for a node.
func (e *engine) launch() int32 {
	i := int32(len(e.nodes))
	id := "n" + pad(int(i)+1)
	if int(i) < len(e.sc.Fleet.Names) {
		id = e.sc.Fleet.Names[i]
	}
	e.m.advance(e.now)
	e.m.alive++
	e.m.cores += e.sc.Fleet.CPUs
	e.m.Launches++
	e.nodes = append(e.nodes, &machine{id: id, cpus: e.sc.Fleet.CPUs})
	e.byID[id] = i
	e.apply(cluster.NodeAdded{At: e.at(), Node: cluster.Node{
		ID: id, CPUs: e.sc.Fleet.CPUs, Capabilities: []string{cluster.CapabilityFFmpeg, cluster.CapabilityBrowser},
	}})
	e.timers.push(e.now+int64(e.sc.Fleet.Launch.draw(e.provider)), evLaunched, i)
	return i
}

// pad keeps ids in the order of numbers.
func pad(n int) string {
	s := itoa(n)
	for len(s) < 5 {
		s = "0" + s
	}
	return s
}

// launchDone is the end of a launch: the node runs, unless it failed or was
// canceled meanwhile.
func (e *engine) launchDone(i int32) {
	n, ok := e.state.Node(e.nodes[i].id)
	if !ok {
		return
	}
	failed := e.provider.float() < e.sc.Fleet.FailRate
	switch {
	case n.Status == cluster.StatusCanceled:
		e.status(i, cluster.StatusTerminating)
		e.terminate(i)
	case failed:
		e.m.LaunchFailures++
		e.status(i, cluster.StatusFailed)
		e.gone(i)
	default:
		e.running(i)
		e.timers.push(e.now, evReport, i)
	}
}

func (e *engine) running(i int32) {
	m := e.nodes[i]
	m.up = true
	e.status(i, cluster.StatusRunning)
	if e.sc.Workers {
		e.apply(cluster.WorkerRegistered{At: e.at(), Worker: cluster.Worker{ID: "w-" + m.id, Node: m.id}})
	}
}

func (e *engine) status(i int32, s cluster.Status) {
	e.apply(cluster.NodeStatusChanged{At: e.at(), Node: e.nodes[i].id, Status: s})
}

// terminate sets the end of a node that is terminating.
func (e *engine) terminate(i int32) {
	e.timers.push(e.now+int64(e.sc.Fleet.Terminate.draw(e.provider)), evTerminated, i)
}

func (e *engine) terminated(i int32) {
	if e.nodes[i] == nil {
		return
	}
	e.status(i, cluster.StatusTerminated)
	if e.sc.Log {
		e.m.log = append(e.m.log, "REMOVING node ("+e.nodes[i].id+") with 0% load from the cluster")
	}
	e.gone(i)
}

// gone forgets a node.
func (e *engine) gone(i int32) {
	m := e.nodes[i]
	if _, ok := e.state.Worker("w-" + m.id); ok {
		e.apply(cluster.WorkerGone{At: e.at(), Worker: "w-" + m.id})
	}
	e.apply(cluster.NodeRemoved{At: e.at(), Node: m.id})
	e.m.advance(e.now)
	e.m.alive--
	e.m.cores -= m.cpus
	delete(e.byID, m.id)
	e.nodes[i] = nil
}

// report is a node's load report: sent, lost or late.
func (e *engine) report(i int32) {
	m := e.nodes[i]
	if m == nil || m.dead {
		return
	}
	e.timers.push(e.now+int64(e.sc.Reports.Every.draw(e.network)), evReport, i)
	lost := e.sc.Reports.Lost > 0 && e.network.float() < e.sc.Reports.Lost
	if lost || e.now < m.muted {
		return
	}
	m.version++
	l := e.loadOf(m)
	if e.sc.Reports.Delay.hi > 0 {
		e.late = append(e.late, lateReport{i, l})
		e.timers.push(e.now+int64(e.sc.Reports.Delay.draw(e.network)), evDelivered, int32(len(e.late)-1))
		return
	}
	e.deliver(m, l)
}

// lateReport is a report on its way.
type lateReport struct {
	node int32
	load cluster.Load
}

func (e *engine) delivered(ref int32) {
	r := e.late[ref]
	if int(ref) == len(e.late)-1 {
		e.late = e.late[:ref]
	}
	if m := e.nodes[r.node]; m != nil {
		e.deliver(m, r.load)
	}
}

func (e *engine) deliver(m *machine, l cluster.Load) {
	l.At = e.at()
	e.apply(cluster.LoadReported{At: l.At, Node: m.id, Load: l})
	if e.sc.Workers {
		load := float64(m.agents) * e.sc.Place.Agent.Load
		e.apply(cluster.WorkerReported{At: l.At, Worker: "w-" + m.id, Load: load})
	}
}

func (e *engine) loadOf(m *machine) cluster.Load {
	cpu := m.load(e.now)
	l := cluster.Load{
		Version: m.version, CPU: cpu, SysLoad: cpu / 100, Rooms: m.rooms, Clients: m.people, Tracks: m.tracks,
		BytesPerSec: float64(m.tracks) * e.sc.Model.Costs.TrackBytes,
	}
	if !e.sc.Uncapped {
		l.CPU = math.Min(l.CPU, 100)
	}
	return l
}

// fault strikes one or several nodes.
func (e *engine) fault(f fault) {
	for range f.count {
		i, ok := e.victim(f.node)
		if !ok {
			return
		}
		if f.silent > 0 {
			e.nodes[i].muted = e.now + int64(f.silent)
			continue
		}
		e.m.Crashes++
		e.nodes[i].dead = true
		e.timers.push(e.now+int64(e.sc.Fleet.Detect), evDetected, i)
	}
}

// victim is the named node, or any that runs and is well.
func (e *engine) victim(name string) (int32, bool) {
	var all []int32
	for i, m := range e.nodes {
		if m == nil || !m.up || m.dead || m.muted > e.now || name != "" && m.id != name {
			continue
		}
		all = append(all, int32(i))
	}
	if len(all) == 0 {
		return 0, false
	}
	return all[e.provider.intn(len(all))], true
}

// detected is when the cluster notices a crash: the node goes, and what was on
// it is placed again.
func (e *engine) detected(i int32) {
	m := e.nodes[i]
	if m == nil {
		return
	}
	if n, _ := e.state.Node(m.id); n.Status.Loaded() {
		e.status(i, cluster.StatusTerminating)
	}
	var lost []int32
	for s := range e.sessions {
		if e.sessions[s].node == i {
			lost = append(lost, int32(s))
		}
	}
	var again []arrival
	for _, s := range lost {
		x := e.sessions[s]
		e.m.Interrupted += int(x.people)
		again = append(again, arrival{
			at: time.Duration(e.now), lasts: time.Duration(x.end - e.now), what: x.what, room: x.room,
			people: int(x.people), cpu: x.cpu, points: x.points, again: true,
		})
		e.stop(s)
	}
	e.status(i, cluster.StatusTerminated)
	e.gone(i)
	for _, a := range again {
		e.arrive(a)
	}
}
