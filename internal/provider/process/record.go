//go:build unix

package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/provider"
)

// record is what is kept of a node, in Dir/<node>/record.json. It is written
// before the process is started, with its id afterwards, and at each change.
type record struct {
	Node       string         `json:"node"`
	State      provider.State `json:"state"`
	Reason     string         `json:"reason,omitempty"`
	LaunchedAt time.Time      `json:"launched_at"`
	// PID is zero between the first and the second writing; then the
	// environment of the process is what it is found by. Start tells it from a
	// later process of the same number.
	PID   int    `json:"pid,omitempty"`
	Start string `json:"start,omitempty"`
	// KillAt is when a stopping process gets SIGKILL.
	KillAt  time.Time `json:"kill_at,omitzero"`
	EndedAt time.Time `json:"ended_at,omitzero"`
}

func (r record) providerID() string {
	if r.PID == 0 {
		return ""
	}
	return strconv.Itoa(r.PID) + "-" + r.Start
}

// environment is what a process, and all that it starts, can be known by.
func environment(dir, node string) []string {
	return []string{"CONCERTINA_PROVIDER_DIR=" + dir, "CONCERTINA_PROVIDER_NODE=" + node}
}

func recordFile(dir, node string) string { return filepath.Join(dir, node, "record.json") }

// save writes the record as a whole or not at all, and to the disk.
func (r record) save(dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	file := recordFile(dir, r.Node)
	f, err := os.OpenFile(file+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}

// errNoRecord: a directory without a record, from a launch that was interrupted
// at its very beginning.
var errNoRecord = errors.New("no record")

func loadRecord(dir, node string) (record, error) {
	data, err := os.ReadFile(recordFile(dir, node))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, errNoRecord
	}
	if err != nil {
		return record{}, err
	}
	return parseRecord(data, node)
}

func parseRecord(data []byte, node string) (record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("record of %s: %w", node, err)
	}
	switch r.State {
	case provider.Pending, provider.Running, provider.Stopping, provider.Terminated, provider.Failed:
	default:
		return record{}, fmt.Errorf("record of %s: state %q", node, r.State)
	}
	// A process id of 0 or below would make a signal go to groups.
	if r.Node != node || r.PID < 0 || r.PID == 1 || strings.ContainsAny(r.Start, "/\x00") {
		return record{}, fmt.Errorf("record of %s: node %q, process %d", node, r.Node, r.PID)
	}
	return r, nil
}

// adopt reads the records that a former provider has left and finds their
// processes. It runs before anything else.
func (p *Provider) adopt() error {
	entries, err := os.ReadDir(p.cfg.Dir)
	if err != nil {
		return err
	}
	marked, err := markedProcesses(p.cfg.Dir)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !provider.ValidNode(e.Name()) {
			continue
		}
		if err := p.adoptNode(e.Name(), marked); err != nil {
			// Its process, if any, is in no record that we can read.
			p.log.Error("record of a node cannot be used; its processes are ended", "node", e.Name(), "error", err)
			kill(p.log, marked[e.Name()])
		}
		delete(marked, e.Name())
	}
	for name, left := range marked {
		p.log.Warn("processes of a node without a record are ended", "node", name, "processes", len(left))
		kill(p.log, left)
	}
	p.prune()
	return nil
}

func (p *Provider) adoptNode(name string, marked map[string][]process) error {
	r, err := loadRecord(p.cfg.Dir, name)
	if errors.Is(err, errNoRecord) {
		return os.RemoveAll(filepath.Join(p.cfg.Dir, name))
	}
	if err != nil {
		return err
	}
	if r.PID == 0 && !r.State.Ended() {
		leader, ok := leaderOf(marked[name])
		if !ok { // it was never started: the id can be launched
			return os.RemoveAll(filepath.Join(p.cfg.Dir, name))
		}
		r.PID, r.Start, r.State = leader.pid, leader.start, provider.Running
		if err := r.save(p.cfg.Dir); err != nil {
			return err
		}
	}
	n := &node{rec: r}
	p.nodes[name] = n
	if r.State.Ended() {
		kill(p.log, marked[name]) // what its process has left
		return nil
	}
	if start, err := startOf(r.PID); err != nil || start != r.Start {
		p.ended(n, "ended while nobody watched")
		return nil
	}
	if n.proc, err = os.FindProcess(r.PID); err != nil {
		p.ended(n, "ended while nobody watched")
		return nil
	}
	p.log.Info("process of a node adopted", "node", name, "pid", r.PID, "state", string(r.State))
	if p.cfg.DieWithParent {
		return p.terminate(n)
	}
	return nil
}
