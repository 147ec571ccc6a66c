package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/concertina-rtc/concertina/internal/provider"
)

// attributes start a process in a group of its own, so that a terminal's
// signals do not reach it.
func attributes(dieWithParent bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setpgid: true}
	if dieWithParent {
		a.Pdeathsig = syscall.SIGKILL
	}
	return a
}

// errGone: there is no such process, or it has ended and waits to be reaped.
var errGone = errors.New("no such process")

// startOf returns when a process was started, as a text that no other process
// of this number has: the boot and the ticks since.
func startOf(pid int) (string, error) {
	s, err := readStat(pid)
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", err
	}
	id, _, _ := strings.Cut(strings.TrimSpace(string(boot)), "-")
	return id + "-" + s.start, nil
}

// stat is the part of /proc/<pid>/stat that is of interest.
type stat struct {
	start string // field 22, ticks since boot
	group int    // field 5
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, fmt.Errorf("%w: %w", errGone, err)
	}
	return parseStat(data)
}

// parseStat reads proc_pid_stat(5). The second field is a name in parentheses
// that may have any byte in it, so the fields are counted from its end.
func parseStat(data []byte) (stat, error) {
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return stat{}, errors.New("stat without a name")
	}
	fields := strings.Fields(string(data[end+1:])) // from the third on
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("stat with %d fields", len(fields)+2)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return stat{}, errGone
	}
	group, err := strconv.Atoi(fields[2])
	if err != nil {
		return stat{}, fmt.Errorf("stat: group: %w", err)
	}
	if _, err := strconv.ParseUint(fields[19], 10, 64); err != nil {
		return stat{}, fmt.Errorf("stat: start: %w", err)
	}
	return stat{start: fields[19], group: group}, nil
}

// markedProcesses returns the processes whose environment names this
// provider's directory, by node.
func markedProcesses(dir string) (map[string][]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	out := map[string][]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil {
			continue // ended, or another user's
		}
		node, ok := markOf(env, dir)
		if !ok {
			continue
		}
		start, err := startOf(pid)
		if err != nil {
			continue
		}
		s, err := readStat(pid)
		if err != nil {
			continue
		}
		out[node] = append(out[node], process{pid: pid, start: start, group: s.group})
	}
	return out, nil
}

// markOf returns the node of an environment as the kernel shows it, if it is of
// this directory. The last value counts, as that is ours.
func markOf(env []byte, dir string) (node string, ok bool) {
	keys := environment("", "")
	var in string
	for _, v := range bytes.Split(env, []byte{0}) {
		if d, is := strings.CutPrefix(string(v), keys[0]); is {
			in = d
		}
		if n, is := strings.CutPrefix(string(v), keys[1]); is {
			node = n
		}
	}
	return node, in == dir && provider.ValidNode(node)
}
