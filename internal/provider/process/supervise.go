//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/concertina-rtc/concertina/internal/provider"
)

// tick is how often processes are looked at. Asking is what works alike for
// children and adopted processes, and what Close can end at once.
const tick = 50 * time.Millisecond

// Terminate implements [provider.Provider]: SIGTERM now, SIGKILL to all that is
// left after StopTimeout.
func (p *Provider) Terminate(ctx context.Context, node, providerID string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(ctx); err != nil {
		return err
	}
	n, ok := p.nodes[node]
	if !ok || providerID != "" && providerID != n.rec.providerID() {
		return nil
	}
	return p.terminate(n)
}

// terminate begins the end of a process. The caller holds the lock.
func (p *Provider) terminate(n *node) error {
	switch n.rec.State {
	case provider.Stopping, provider.Terminated:
		return nil
	case provider.Failed: // so that its id is not launched again
		n.rec.State = provider.Terminated
		return n.rec.save(p.cfg.Dir)
	}
	n.rec.State, n.rec.Reason, n.rec.KillAt = provider.Stopping, "as asked", time.Now().Add(p.cfg.StopTimeout).Round(0)
	if err := n.rec.save(p.cfg.Dir); err != nil {
		// It is stopped all the same: a full disk must not keep nodes alive.
		p.log.Error("record not written", "node", n.rec.Node, "error", err)
	}
	if err := n.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("terminate %s: %w", n.rec.Node, err)
	}
	return nil
}

// signal sends to the process if it still is the one that was started.
func (n *node) signal(s syscall.Signal) error {
	if start, err := startOf(n.rec.PID); n.proc == nil || err != nil || start != n.rec.Start {
		return nil // ended; supervise will see
	}
	err := n.proc.Signal(s)
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

func (n *node) release() {
	if n.proc != nil {
		_ = n.proc.Release() // no more than memory and a descriptor
		n.proc = nil
	}
}

// supervise looks at the processes until the provider is closed.
func (p *Provider) supervise() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.look()
		case <-p.stop:
			return
		}
	}
}

func (p *Provider) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.nodes {
		if n.rec.State.Ended() {
			continue
		}
		if reason, ended := n.exited(); ended {
			p.ended(n, reason)
			p.prune()
			continue
		}
		if n.rec.State == provider.Stopping && time.Now().After(n.rec.KillAt) {
			p.log.Warn("process of a node does not end, killed", "node", n.rec.Node, "pid", n.rec.PID)
			n.rec.Reason = "killed after the stop timeout"
			if err := n.signal(syscall.SIGKILL); err != nil {
				p.log.Error("process not killed", "node", n.rec.Node, "error", err)
			}
			n.rec.KillAt = time.Now().Add(p.cfg.StopTimeout) // in case that it cannot be
		}
	}
}

// ended notes that a process has ended, and ends what it has left. The caller
// holds the lock.
func (p *Provider) ended(n *node, reason string) {
	p.killGroup(n)
	n.release()
	switch {
	case n.rec.State == provider.Stopping:
		n.rec.State = provider.Terminated
	case reason == exitedWell: // a node that was drained leaves by itself
		n.rec.State, n.rec.Reason = provider.Terminated, reason
	default:
		n.rec.State, n.rec.Reason = provider.Failed, reason
	}
	n.rec.EndedAt = time.Now().Round(0)
	if err := n.rec.save(p.cfg.Dir); err != nil {
		p.log.Error("record not written", "node", n.rec.Node, "error", err)
	}
	p.log.Info("process of a node has ended", "node", n.rec.Node, "pid", n.rec.PID, "state", string(n.rec.State), "reason", n.rec.Reason)
}

const exitedWell = "exit status 0"

// exited reports whether the process has ended, and how if that is known. A
// child is reaped by it.
func (n *node) exited() (reason string, ended bool) {
	if !n.child {
		// Not to be waited for: its number may be that of another child by now.
		if now, err := startOf(n.rec.PID); err != nil || now != n.rec.Start {
			return "ended; how is not known, it was adopted", true
		}
		return "", false
	}
	var status syscall.WaitStatus
	got, err := syscall.Wait4(n.rec.PID, &status, syscall.WNOHANG, nil)
	switch {
	case errors.Is(err, syscall.ECHILD):
		return "ended; somebody else has reaped it", true
	case err != nil || got != n.rec.PID:
		return "", false
	case status.Signaled():
		return "signal: " + status.Signal().String(), true
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus()), true
}

// killGroup ends what a process that has ended has left: by its environment,
// and its process group where that cannot be read.
func (p *Provider) killGroup(n *node) {
	marked, err := markedProcesses(p.cfg.Dir)
	if errors.Is(err, errors.ErrUnsupported) {
		_ = syscall.Kill(-n.rec.PID, syscall.SIGKILL) // most often nobody is left
		return
	}
	if err != nil {
		p.log.Error("left processes not looked for", "node", n.rec.Node, "error", err)
	}
	kill(p.log, marked[n.rec.Node])
}

// kill ends processes that were found by their environment.
func kill(log *slog.Logger, all []process) {
	for _, found := range all {
		if now, err := startOf(found.pid); err != nil || now != found.start {
			continue
		}
		if err := syscall.Kill(found.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			log.Error("process not killed", "pid", found.pid, "error", err)
		}
	}
}

// process is one that was found by its environment.
type process struct {
	pid   int
	start string
	group int
}

// leaderOf returns the process that the provider has started: it leads its
// group.
func leaderOf(all []process) (process, bool) {
	for _, found := range all {
		if found.pid == found.group {
			return found, true
		}
	}
	return process{}, false
}
