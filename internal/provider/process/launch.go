//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/concertina-rtc/concertina/internal/provider"
)

// Launch implements [provider.Provider]. The process runs when it returns.
func (p *Provider) Launch(ctx context.Context, r provider.Request) (provider.Instance, error) {
	if err := r.Validate(); err != nil {
		return provider.Instance{}, err
	}
	if r.Offer != "" && r.Offer != p.cfg.Offer.Name {
		return provider.Instance{}, fmt.Errorf("%w: offer %q", provider.ErrInvalid, r.Offer)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(ctx); err != nil {
		return provider.Instance{}, err
	}
	if n, ok := p.nodes[r.Node]; ok {
		if s := n.rec.State; s == provider.Stopping || s == provider.Terminated {
			return provider.Instance{}, fmt.Errorf("node %s: %w", r.Node, provider.ErrTerminated)
		}
		return p.instance(n), nil
	}
	if count := p.count(); p.cfg.Max > 0 && count >= p.cfg.Max {
		return provider.Instance{}, fmt.Errorf("%w: %d processes", provider.ErrCapacity, count)
	}
	c, err := p.cfg.Command(r)
	if err != nil {
		return provider.Instance{}, fmt.Errorf("%w: %w", provider.ErrInvalid, err)
	}
	n, err := p.start(r, c)
	if err != nil {
		return provider.Instance{}, fmt.Errorf("start node %s: %w", r.Node, err)
	}
	p.nodes[r.Node] = n
	p.log.Info("process of a node started", "node", r.Node, "pid", n.rec.PID)
	return p.instance(n), nil
}

// count is alive for one who holds the lock.
func (p *Provider) count() int {
	count := 0
	for _, n := range p.nodes {
		if !n.rec.State.Ended() {
			count++
		}
	}
	return count
}

// start writes the record, starts the process, and writes the record again. An
// interruption between any two steps is undone or completed by adopt.
func (p *Provider) start(r provider.Request, c Command) (n *node, err error) {
	dir := filepath.Join(p.cfg.Dir, r.Node)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	n = &node{child: true, rec: record{Node: r.Node, State: provider.Pending, LaunchedAt: time.Now().Round(0)}}
	if err := n.rec.save(p.cfg.Dir); err != nil {
		return nil, err
	}
	output, err := os.OpenFile(p.Output(r.Node), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, output.Close()) }()
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	if cmd.Dir == "" {
		cmd.Dir = dir
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	// A full slice expression: the caller's slice is not ours to append to.
	cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], environment(p.cfg.Dir, r.Node)...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = attributes(p.cfg.DieWithParent)
	if err := p.startCommand(cmd); err != nil {
		return nil, startError(err)
	}
	n.proc = cmd.Process
	n.rec.PID, n.rec.State = cmd.Process.Pid, provider.Running
	if n.rec.Start, err = startOf(n.rec.PID); err == nil {
		err = n.rec.save(p.cfg.Dir)
	}
	if err != nil { // a process that cannot be recorded must not run
		_ = n.proc.Kill()    // it can only have ended
		_, _ = n.proc.Wait() // reaped; how it ended does not matter
		return nil, fmt.Errorf("record: %w", err)
	}
	return n, nil
}

func (p *Provider) startCommand(cmd *exec.Cmd) error {
	done := make(chan error)
	p.starter <- func() { done <- cmd.Start() }
	return <-done
}

// startError says whether it is of any use to try again.
func startError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: %w", provider.ErrInvalid, err)
	}
	return fmt.Errorf("%w: %w", provider.ErrCapacity, err)
}
