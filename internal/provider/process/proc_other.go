//go:build unix && !linux

package process

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// attributes start a process in a group of its own. Nothing here ends it with
// its parent; Close does.
func attributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// startOf returns when a process was started, to the second.
func startOf(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "state=,lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return "", fmt.Errorf("no such process: %w", err)
	}
	state, start, ok := strings.Cut(strings.TrimSpace(string(out)), " ")
	if !ok || strings.HasPrefix(state, "Z") {
		return "", errors.New("no such process")
	}
	return strings.Join(strings.Fields(start), "_"), nil
}

// markedProcesses cannot be told here.
func markedProcesses(string) (map[string][]process, error) {
	return nil, errors.ErrUnsupported
}
