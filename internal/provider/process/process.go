//go:build unix

// Package process is the provider that starts nodes as processes of this
// machine: autoscaling on a laptop, and several small nodes on a large server.
//
// It owns the processes: their start with an identity in the environment, their
// output in files, their end with everything that they started, and their
// adoption by the next process of the master. What a node runs is the caller's
// ([Config.Command]).
//
// Start reading at [New], then launch.go and supervise.go. record.go is what is
// on disk.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/concertina-rtc/concertina/internal/provider"
)

// Config is where and how processes run. [DefaultConfig] has the rest.
type Config struct {
	// Dir is for records and output, one directory for each node. An absolute
	// path; one provider at a time.
	Dir string
	// Command says what to run for a request. It must not block.
	Command func(r provider.Request) (Command, error)
	// Offer is what one process is said to be: its name, CPUs, memory.
	Offer provider.Offer
	// Max is how many processes there may be. Zero: any number.
	Max int
	// Address is the address of the processes' nodes.
	Address string
	// StopTimeout is how long a process has between SIGTERM and SIGKILL.
	StopTimeout time.Duration
	// DieWithParent ends the processes with this one, however it ends, as for
	// concertina dev: the kernel kills them (Linux), and Close terminates them.
	// Without it they survive, and the next provider over the same directory
	// adopts them, as for a master that restarts.
	DieWithParent bool
	// Keep is how many ended nodes' output and records stay.
	Keep int
}

// Command is what to run.
type Command struct {
	// Path of the program, and its arguments without the name.
	Path string
	Args []string
	// Env is the whole environment; nil: this process's.
	Env []string
	// Dir is where it runs; empty: the node's directory.
	Dir string
}

// DefaultConfig returns a Config without Dir and Command.
func DefaultConfig() Config {
	return Config{
		Offer:       provider.Offer{Name: "process", CPUs: float64(runtime.NumCPU())},
		Address:     "127.0.0.1",
		StopTimeout: 10 * time.Second,
		Keep:        50,
	}
}

// ErrBusy: another provider uses the directory.
var ErrBusy = errors.New("directory is in use by another process provider")

// Provider runs processes. It is safe for concurrent use.
type Provider struct {
	cfg  Config
	log  *slog.Logger
	lock *os.File

	mu     sync.Mutex
	nodes  map[string]*node
	closed bool

	starter chan func() // runs on the thread that DieWithParent hangs on
	stop    chan struct{}
	running sync.WaitGroup
	closing sync.Once
}

var _ provider.Provider = (*Provider)(nil)

// node is one process, running or ended.
type node struct {
	rec   record
	proc  *os.Process // nil once it has ended
	child bool        // of this process, which has to reap it
}

// New returns a provider over cfg.Dir, with the processes that a former one has
// left there: adopted, or with DieWithParent ended. [ErrBusy].
func New(cfg Config, log *slog.Logger) (*Provider, error) {
	switch {
	case !filepath.IsAbs(cfg.Dir):
		return nil, fmt.Errorf("process provider: directory %q is not an absolute path", cfg.Dir)
	case cfg.Command == nil, cfg.Offer.Name == "", cfg.Offer.CPUs <= 0, cfg.StopTimeout <= 0, cfg.Max < 0, cfg.Keep < 0:
		return nil, errors.New("process provider: configuration is not complete")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("process provider: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("process provider: %w", err)
	}
	p := &Provider{
		cfg: cfg, log: log.With("package", "provider/process"), lock: lock,
		nodes: map[string]*node{}, starter: make(chan func()), stop: make(chan struct{}),
	}
	if err := p.adopt(); err != nil {
		return nil, errors.Join(fmt.Errorf("process provider: %w", err), lock.Close())
	}
	p.running.Go(p.startOnOneThread)
	p.running.Go(p.supervise)
	return p, nil
}

// lockDir keeps a second provider out. The lock ends with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrBusy), f.Close())
	}
	return f, nil
}

// startOnOneThread runs what is sent to starter. The kernel's "parent" of
// Pdeathsig is the thread that started the process, so that thread must stay: a
// locked one, which ends with this goroutine.
func (p *Provider) startOnOneThread() {
	if p.cfg.DieWithParent {
		runtime.LockOSThread()
	}
	for {
		select {
		case f := <-p.starter:
			f()
		case <-p.stop:
			return
		}
	}
}

// Capabilities implements [provider.Provider].
func (p *Provider) Capabilities() provider.Capabilities {
	return provider.Capabilities{Name: "process", LaunchTimeout: time.Minute, Survive: !p.cfg.DieWithParent}
}

// Offers implements [provider.Provider]: one.
func (p *Provider) Offers(ctx context.Context) ([]provider.Offer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(ctx); err != nil {
		return nil, err
	}
	return []provider.Offer{p.cfg.Offer}, nil
}

// usable returns why a call cannot be served. The caller holds the lock.
func (p *Provider) usable(ctx context.Context) error {
	if p.closed {
		return provider.ErrClosed
	}
	return ctx.Err()
}

// List implements [provider.Provider].
func (p *Provider) List(ctx context.Context) ([]provider.Instance, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(ctx); err != nil {
		return nil, err
	}
	out := make([]provider.Instance, 0, len(p.nodes))
	for _, n := range p.nodes {
		out = append(out, p.instance(n))
	}
	return out, nil
}

func (p *Provider) instance(n *node) provider.Instance {
	r := n.rec
	return provider.Instance{
		Node: r.Node, ProviderID: r.providerID(), State: r.State, Reason: r.Reason,
		Address: p.cfg.Address, Offer: p.cfg.Offer.Name, LaunchedAt: r.LaunchedAt,
	}
}

// Output is the file with what a node's process has printed.
func (p *Provider) Output(node string) string {
	return filepath.Join(p.cfg.Dir, node, "output.log")
}

// Close implements [provider.Provider]. With DieWithParent it terminates the
// processes and waits until they have ended; otherwise they run on, and one
// whose StopTimeout is running keeps its SIGKILL for the next provider.
func (p *Provider) Close() error {
	var err error
	p.closing.Do(func() {
		p.mu.Lock()
		p.closed = true
		if p.cfg.DieWithParent {
			for _, n := range p.nodes {
				err = errors.Join(err, p.terminate(n))
			}
		}
		p.mu.Unlock()
		for p.cfg.DieWithParent && p.alive() > 0 {
			time.Sleep(tick)
		}
		close(p.stop)
		p.running.Wait()
		for _, n := range p.nodes {
			n.release()
		}
		err = errors.Join(err, p.lock.Close())
	})
	return err
}

// alive is the number of processes that have not ended.
func (p *Provider) alive() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := 0
	for _, n := range p.nodes {
		if !n.rec.State.Ended() {
			count++
		}
	}
	return count
}

// prune forgets the oldest ended nodes beyond Keep. The caller holds the lock.
func (p *Provider) prune() {
	var ended []*node
	for _, n := range p.nodes {
		if n.rec.State.Ended() {
			ended = append(ended, n)
		}
	}
	slices.SortFunc(ended, func(a, b *node) int { return b.rec.EndedAt.Compare(a.rec.EndedAt) })
	for _, n := range ended[min(p.cfg.Keep, len(ended)):] {
		delete(p.nodes, n.rec.Node)
		if err := os.RemoveAll(filepath.Join(p.cfg.Dir, n.rec.Node)); err != nil {
			p.log.Warn("directory of an ended node stays", "node", n.rec.Node, "error", err)
		}
	}
}
