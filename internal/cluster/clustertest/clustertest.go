// Package clustertest writes cluster states as text, for tests: each command of
// a scenario file is one event.
//
// It owns the words of those commands and a short print of a state. It is used
// by tests only and decides nothing. Start reading at [World.Run].
package clustertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/script"
)

// Epoch is the time at which every world starts.
func Epoch() time.Time { return time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) }

// World is a state that commands change, and the time at which they do.
type World struct {
	State *cluster.State
	Now   time.Time

	versions map[string]uint64
}

// New returns an empty world with the default policy.
func New() *World {
	return &World{State: cluster.New(cluster.DefaultPolicy()), Now: Epoch(), versions: map[string]uint64{}}
}

// Run executes one command. known is false when it is none of this package's.
func (w *World) Run(c *script.Command) (output string, known bool) {
	out, known, err := w.run(c)
	if err == nil && known {
		err = c.Unused()
	}
	if err != nil {
		return "error: " + err.Error(), true
	}
	return out, known
}

// Must applies events that a test expects to succeed.
func (w *World) Must(events ...cluster.Event) {
	for _, e := range events {
		if err := w.State.Apply(e); err != nil {
			panic(err)
		}
	}
}

func (w *World) run(c *script.Command) (string, bool, error) {
	switch c.Name {
	case "now":
		return "", true, w.now(c)
	case "policy":
		return "", true, w.policy(c)
	case "node":
		return "", true, w.node(c)
	case "update":
		return "", true, w.update(c)
	case "status":
		return "", true, w.status(c)
	case "report":
		return "", true, w.report(c)
	case "state":
		return Print(w.State), true, nil
	default:
		out, known, err := w.work(c)
		return out, known, err
	}
}

// now +5s moves the time on; it is an event of its own.
func (w *World) now(c *script.Command) error {
	if err := c.WantArgs("+duration"); err != nil {
		return err
	}
	d, err := time.ParseDuration(strings.TrimPrefix(c.Args[0], "+"))
	if err != nil {
		return c.Errorf("%v", err)
	}
	w.Now = w.Now.Add(d)
	return w.State.Apply(cluster.TimePassed{At: w.Now})
}

func (w *World) policy(c *script.Command) error {
	p := w.State.Policy()
	for _, f := range []struct {
		key string
		v   *time.Duration
	}{
		{"stale", &p.StaleAfter}, {"ramp", &p.RampUp}, {"counts", &p.CountsAfter}, {"lead", &p.ReservationLead},
		{"bucket", &p.HistoryBucket}, {"season", &p.HistorySeason},
	} {
		d, err := c.Duration(f.key, *f.v)
		if err != nil {
			return err
		}
		*f.v = d
	}
	return w.State.Apply(cluster.PolicyChanged{At: w.Now, Policy: p})
}

// node a b c cpus=4 role=media can=ffmpeg,browser status=running cpu=12.5
func (w *World) node(c *script.Command) error {
	cpus, err := c.Float("cpus", 4)
	if err != nil {
		return err
	}
	role := cluster.Role(c.String("role", string(cluster.RoleMedia)))
	can := fields(c.String("can", ""))
	path, err := pathTo(cluster.Status(c.String("status", "running")))
	if err != nil {
		return c.Errorf("%v", err)
	}
	for _, id := range c.Args {
		n := cluster.Node{ID: id, Role: role, CPUs: cpus, Capabilities: can, Region: c.String("region", "")}
		if err := w.State.Apply(cluster.NodeAdded{At: w.Now, Node: n}); err != nil {
			return err
		}
		for _, s := range path {
			if err := w.State.Apply(cluster.NodeStatusChanged{At: w.Now, Node: id, Status: s}); err != nil {
				return err
			}
		}
		delete(w.versions, id)
		if c.Has("cpu") {
			if err := w.reportOne(c, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// pathTo is how a new node gets to a status.
func pathTo(s cluster.Status) ([]cluster.Status, error) {
	switch s {
	case cluster.StatusLaunching:
		return nil, nil
	case cluster.StatusRunning, cluster.StatusCanceled, cluster.StatusFailed:
		return []cluster.Status{s}, nil
	case cluster.StatusWaiting, cluster.StatusTerminating:
		return []cluster.Status{cluster.StatusRunning, s}, nil
	case cluster.StatusTerminated:
		return []cluster.Status{cluster.StatusRunning, cluster.StatusTerminating, s}, nil
	}
	return nil, fmt.Errorf("unknown status %q", s)
}

func (w *World) update(c *script.Command) error {
	if err := c.WantArgs("node"); err != nil {
		return err
	}
	cpus, err := c.Float("cpus", 0)
	if err != nil {
		return err
	}
	return w.State.Apply(cluster.NodeUpdated{
		At: w.Now, Node: c.Args[0], CPUs: cpus, Address: c.String("address", ""),
		ProviderID: c.String("provider", ""), URI: c.String("uri", ""), Capabilities: fields(c.String("can", "")),
	})
}

// status running a b
func (w *World) status(c *script.Command) error {
	if len(c.Args) < 2 {
		return c.Errorf("want a status and nodes")
	}
	for _, id := range c.Args[1:] {
		if err := w.State.Apply(cluster.NodeStatusChanged{At: w.Now, Node: id, Status: cluster.Status(c.Args[0])}); err != nil {
			return err
		}
	}
	return nil
}

// report a b cpu=30 sysload=0.4 rooms=3 clients=20 tracks=100 bytes=1e6 disk=50
func (w *World) report(c *script.Command) error {
	for _, id := range c.Args {
		if err := w.reportOne(c, id); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) reportOne(c *script.Command, id string) error {
	var l cluster.Load
	for _, f := range []struct {
		key string
		v   *float64
	}{{"cpu", &l.CPU}, {"sysload", &l.SysLoad}, {"disk", &l.Disk}, {"bytes", &l.BytesPerSec}, {"memory", &l.Memory}} {
		v, err := c.Float(f.key, 0)
		if err != nil {
			return err
		}
		*f.v = v
	}
	for _, f := range []struct {
		key string
		v   *int
	}{{"rooms", &l.Rooms}, {"clients", &l.Clients}, {"tracks", &l.Tracks}} {
		v, err := c.Int(f.key, 0)
		if err != nil {
			return err
		}
		*f.v = v
	}
	version, err := c.Int("version", int(w.versions[id]+1))
	if err != nil {
		return err
	}
	w.versions[id] = max(w.versions[id], uint64(max(version, 0)))
	l.Version, l.At = uint64(max(version, 0)), w.Now
	return w.State.Apply(cluster.LoadReported{At: w.Now, Node: id, Load: l})
}

func fields(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
