package clustertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/script"
)

// work runs the commands about rooms, jobs, workers and reservations.
func (w *World) work(c *script.Command) (string, bool, error) {
	e, err := w.event(c)
	if err != nil || e == nil {
		return "", err != nil, err
	}
	return "", true, w.State.Apply(e)
}

func (w *World) event(c *script.Command) (cluster.Event, error) {
	if c.Name == "sample" {
		total, err := c.Float("total", 0)
		return cluster.LoadSampled{At: w.Now, Total: total}, err
	}
	if len(c.Args) == 0 {
		return nil, nil
	}
	id, node := c.Args[0], ""
	if len(c.Args) > 1 {
		node = c.Args[1]
	}
	switch c.Name {
	case "create-room":
		return cluster.RoomCreated{At: w.Now, Room: id, Pin: c.String("pin", "")}, nil
	case "room":
		return w.room(c, id, node)
	case "join":
		d, err := demand(c, cluster.Demand{Clients: 1})
		return cluster.ParticipantPlaced{At: w.Now, Room: id, Node: node, Load: d}, err
	case "leave":
		return cluster.ParticipantLeft{At: w.Now, Room: id, Node: node}, nil
	case "leave-node":
		return cluster.RoomLeft{At: w.Now, Room: id, Node: node}, nil
	case "close":
		return cluster.RoomClosed{At: w.Now, Room: id}, nil
	case "remove":
		return cluster.NodeRemoved{At: w.Now, Node: id}, nil
	case "job":
		return w.job(c, id, node)
	case "end-job":
		return cluster.JobEnded{At: w.Now, Job: id}, nil
	case "worker":
		load, err := c.Float("load", 0)
		if err != nil {
			return nil, err
		}
		threshold, err := c.Float("threshold", 0)
		return cluster.WorkerRegistered{At: w.Now, Worker: cluster.Worker{
			ID: id, Node: c.String("node", ""), Agent: c.String("agent", ""), Load: load, Threshold: threshold, Full: c.Has("full"),
		}}, err
	case "worker-report":
		load, err := c.Float("load", 0)
		return cluster.WorkerReported{At: w.Now, Worker: id, Load: load, Full: c.Has("full")}, err
	case "worker-gone":
		return cluster.WorkerGone{At: w.Now, Worker: id}, nil
	case "reservation":
		return w.reservation(c, id)
	case "bind":
		cpu, err := c.Float("cpu", 0)
		return cluster.ReservationBound{At: w.Now, Reservation: id, Node: node, CPU: cpu}, err
	case "release":
		return cluster.ReservationReleased{At: w.Now, Reservation: id}, nil
	}
	return nil, nil
}

func (w *World) room(c *script.Command, id, node string) (cluster.Event, error) {
	load, err := demand(c, cluster.Demand{Rooms: 1})
	if err != nil {
		return nil, err
	}
	ramp, err := c.Duration("ramp", 0)
	if err != nil {
		return nil, err
	}
	expect, err := c.Float("expect", 0)
	if err != nil {
		return nil, err
	}
	expectCPU, err := c.Float("expect-cpu", 0)
	if err != nil {
		return nil, err
	}
	hold, err := c.Duration("for", 15*time.Minute)
	e := cluster.RoomPlaced{At: w.Now, Room: id, Node: node, Load: load, Ramp: ramp, Reservation: c.String("reservation", "")}
	if expect > 0 {
		e.Expect = cluster.Demand{Clients: expect, CPU: expectCPU}
		e.ExpectUntil = w.Now.Add(hold)
	}
	return e, err
}

func (w *World) job(c *script.Command, id, node string) (cluster.Event, error) {
	cpu, err := c.Float("cpu", 1)
	if err != nil {
		return nil, err
	}
	load, err := c.Float("load", 0)
	j := cluster.Job{
		ID: id, Kind: cluster.JobKind(c.String("kind", "egress")), Type: c.String("type", ""),
		Node: node, Worker: c.String("worker", ""), CPU: cpu, Load: load,
	}
	if c.Has("queued") {
		return cluster.JobQueued{At: w.Now, Job: j}, err
	}
	return cluster.JobPlaced{At: w.Now, Job: j}, err
}

// reservation r1 room=class in=20m for=1h participants=30 publishers=2 on=a:2,b:1
func (w *World) reservation(c *script.Command, id string) (cluster.Event, error) {
	in, err := c.Duration("in", 0)
	if err != nil {
		return nil, err
	}
	hold, err := c.Duration("for", time.Hour)
	if err != nil {
		return nil, err
	}
	n, err := c.Int("participants", 10)
	if err != nil {
		return nil, err
	}
	p, err := c.Int("publishers", n)
	if err != nil {
		return nil, err
	}
	unplaced, err := c.Float("unplaced", 0)
	if err != nil {
		return nil, err
	}
	r := cluster.Reservation{
		ID: id, Room: c.String("room", id), Participants: n, Publishers: p,
		From: w.Now.Add(in), Until: w.Now.Add(in + hold), Unplaced: cluster.Demand{CPU: unplaced},
	}
	for _, f := range fields(c.String("on", "")) {
		var cpu float64
		node, rest, _ := strings.Cut(f, ":")
		if _, err := fmt.Sscanf(rest, "%g", &cpu); err != nil {
			return nil, c.Errorf("on=%s: want node:cpus", f)
		}
		r.Shares = append(r.Shares, cluster.ReservationShare{
			Node: node, Demand: cluster.Demand{CPU: cpu, Clients: float64(n)},
		})
	}
	return cluster.ReservationAdmitted{At: w.Now, Reservation: r}, nil
}

func demand(c *script.Command, d cluster.Demand) (cluster.Demand, error) {
	for _, f := range []struct {
		key string
		v   *float64
	}{{"cpu", &d.CPU}, {"clients", &d.Clients}, {"tracks", &d.Tracks}, {"bytes", &d.BytesPerSec}} {
		v, err := c.Float(f.key, *f.v)
		if err != nil {
			return d, err
		}
		*f.v = v
	}
	return d, nil
}
