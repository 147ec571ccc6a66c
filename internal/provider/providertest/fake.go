package providertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/concertina-rtc/concertina/internal/provider"
)

// Fate is what happens to one launch. The zero Fate is accepted at once and
// runs at once.
type Fate struct {
	// Refuse is returned, and nothing is started.
	Refuse error
	// Lose is returned although the instance is started: the answer was lost.
	// Launching the id again finds it.
	Lose error
	// Hang makes Launch wait for the end of its context. With Refuse or Lose
	// unset the instance is started when it ends.
	Hang bool
	// Twice starts two instances for the request.
	Twice bool
	// Hidden is how long List does not show it.
	Hidden time.Duration
	// Pending is how long it takes until it runs, or fails.
	Pending time.Duration
	// Fail, if not empty, is why it fails when Pending is over.
	Fail string
	// Uncancelable makes a Terminate while pending take effect only when
	// Pending is over: the instance runs for a moment.
	Uncancelable bool
	// Refusals is how many calls of Terminate fail with
	// [provider.ErrUnavailable] before one is accepted.
	Refusals int
	// Stopping is how long it takes to end.
	Stopping time.Duration
}

// Call is one call of a method that changes something.
type Call struct {
	Method string // Launch or Terminate
	Node   string
	Err    error
}

// Fake is a provider in memory that follows a script. It obeys the contract as
// far as the script lets it. It reads time.Now, so it can run in a bubble of
// testing/synctest. Instances outlive it: see [Fake.Reopen].
type Fake struct {
	world *world
	mu    sync.Mutex
	ended bool
}

var _ provider.Provider = (*Fake)(nil)

// world is what lies outside of the caller's process.
type world struct {
	mu        sync.Mutex
	fates     map[string]Fate
	otherwise Fate
	listErr   error
	instances []*fakeInstance
	calls     []Call
	next      int
}

type fakeInstance struct {
	provider.Instance
	fate     Fate
	refusals int
	stopAt   time.Time // when Terminate was accepted; zero: not
	crash    string
}

// NewFake returns a provider on which every launch has the fate of otherwise.
func NewFake(otherwise Fate) *Fake {
	return &Fake{world: &world{fates: map[string]Fate{}, otherwise: otherwise}}
}

// Script sets the fate of one node's launch.
func (f *Fake) Script(node string, fate Fate) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.world.fates[node] = fate
}

// Next sets the fate of launches from now on that have none of their own.
func (f *Fake) Next(fate Fate) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.world.otherwise = fate
}

// FailList makes List fail with err until it is set to nil.
func (f *Fake) FailList(err error) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	f.world.listErr = err
}

// Crash ends the node's instances from outside.
func (f *Fake) Crash(node string) {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	for _, in := range f.world.instances {
		if in.Node == node {
			in.crash = "crashed"
		}
	}
}

// Calls returns what was called, in order.
func (f *Fake) Calls() []Call {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	return slices.Clone(f.world.calls)
}

// Reopen closes the provider and returns another one with the same instances
// and script, as after a restart of its process.
func (f *Fake) Reopen() *Fake {
	_ = f.Close() // never fails
	return &Fake{world: f.world}
}

// Capabilities implements [provider.Provider].
func (f *Fake) Capabilities() provider.Capabilities {
	return provider.Capabilities{Name: "fake", LaunchTimeout: 10 * time.Minute, ListLag: time.Minute, Survive: true}
}

func (f *Fake) check(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return provider.ErrClosed
	}
	return ctx.Err()
}

// Launch implements [provider.Provider] as scripted.
func (f *Fake) Launch(ctx context.Context, r provider.Request) (in provider.Instance, err error) {
	if err := f.check(ctx); err != nil {
		return in, err
	}
	w := f.world
	w.mu.Lock()
	fate, ok := w.fates[r.Node]
	if !ok {
		fate = w.otherwise
	}
	w.mu.Unlock()
	if fate.Hang {
		<-ctx.Done()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.calls = append(w.calls, Call{"Launch", r.Node, err}) }()
	if err := r.Validate(); err != nil {
		return in, err
	}
	if r.Offer != "" && r.Offer != fakeOffer().Name {
		return in, fmt.Errorf("%w: offer %q", provider.ErrInvalid, r.Offer)
	}
	now := time.Now()
	for _, known := range w.instances {
		if known.Node == r.Node {
			if known.stopAt.IsZero() {
				return known.at(now), nil
			}
			return in, fmt.Errorf("node %s: %w", r.Node, provider.ErrTerminated)
		}
	}
	if fate.Refuse != nil {
		return in, fate.Refuse
	}
	started := w.start(r, fate, now)
	if fate.Twice {
		w.start(r, fate, now)
	}
	if fate.Lose != nil {
		return in, fate.Lose
	}
	if fate.Hang {
		return in, ctx.Err()
	}
	return started.at(now), nil
}

func (w *world) start(r provider.Request, fate Fate, now time.Time) *fakeInstance {
	w.next++
	in := &fakeInstance{fate: fate, Instance: provider.Instance{
		Node: r.Node, ProviderID: fmt.Sprintf("i-%04d", w.next), Offer: fakeOffer().Name, Zone: r.Zone, LaunchedAt: now,
		Address: fmt.Sprintf("10.0.%d.%d", w.next/256, w.next%256),
	}}
	w.instances = append(w.instances, in)
	return in
}

// at returns the instance as it is at now.
func (in *fakeInstance) at(now time.Time) provider.Instance {
	out := in.Instance
	there := in.LaunchedAt.Add(in.fate.Pending)
	out.State = provider.Running
	if now.Before(there) {
		out.State, out.Address = provider.Pending, ""
	} else if in.fate.Fail != "" {
		out.State, out.Reason = provider.Failed, in.fate.Fail
	}
	if stop := in.stopAt; !stop.IsZero() && out.State != provider.Failed {
		if in.fate.Uncancelable && stop.Before(there) {
			stop = there
		}
		switch {
		case now.Before(stop): // still pending
		case now.Before(stop.Add(in.fate.Stopping)):
			out.State = provider.Stopping
		default:
			out.State, out.Reason = provider.Terminated, "as asked"
		}
	}
	if in.crash != "" && !out.State.Ended() {
		out.State, out.Reason = provider.Failed, in.crash
	}
	return out
}

// Terminate implements [provider.Provider] as scripted.
func (f *Fake) Terminate(ctx context.Context, node, providerID string) (err error) {
	if err := f.check(ctx); err != nil {
		return err
	}
	w := f.world
	w.mu.Lock()
	defer w.mu.Unlock()
	defer func() { w.calls = append(w.calls, Call{"Terminate", node, err}) }()
	for _, in := range w.instances {
		if in.Node != node || providerID != "" && in.ProviderID != providerID || !in.stopAt.IsZero() {
			continue
		}
		if in.refusals < in.fate.Refusals {
			in.refusals++
			return fmt.Errorf("node %s: %w", node, provider.ErrUnavailable)
		}
		in.stopAt = time.Now()
	}
	return nil
}

// List implements [provider.Provider] as scripted.
func (f *Fake) List(ctx context.Context) ([]provider.Instance, error) {
	if err := f.check(ctx); err != nil {
		return nil, err
	}
	w := f.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listErr != nil {
		return nil, w.listErr
	}
	now := time.Now()
	var out []provider.Instance
	for _, in := range w.instances {
		if !now.Before(in.LaunchedAt.Add(in.fate.Hidden)) {
			out = append(out, in.at(now))
		}
	}
	return out, nil
}

func fakeOffer() provider.Offer {
	return provider.Offer{Name: "fake.large", CPUs: 2, Memory: 4 << 30, PricePerHour: 0.1, Currency: "USD"}
}

// Offers implements [provider.Provider].
func (f *Fake) Offers(ctx context.Context) ([]provider.Offer, error) {
	if err := f.check(ctx); err != nil {
		return nil, err
	}
	return []provider.Offer{fakeOffer()}, nil
}

// Close implements [provider.Provider].
func (f *Fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	return nil
}
