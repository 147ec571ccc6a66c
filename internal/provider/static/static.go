// Package static is the provider of premises: machines that an operator starts,
// adds, removes and switches off.
//
// It owns the list of those machines while the process runs; whoever wires it
// puts them in again after a restart, from the cluster's records. It launches
// nothing ([provider.Capabilities.Advice]) and switches nothing off: to
// terminate a node is to take it off the list, after which the operator may.
//
// Start reading at [Provider.Add].
package static

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/concertina-rtc/concertina/internal/provider"
)

// ErrExists: there is a machine of this node or address already.
var ErrExists = errors.New("exists already")

// Provider is a list of machines. It is safe for concurrent use.
type Provider struct {
	now func() time.Time

	mu     sync.Mutex
	nodes  map[string]provider.Instance
	closed bool
}

var _ provider.Provider = (*Provider)(nil)

// New returns a provider without machines.
func New() *Provider {
	return &Provider{now: time.Now, nodes: map[string]provider.Instance{}}
}

// Add puts a machine on the list. providerID is the operator's own name for
// it, which may be empty; address is where the node is, which one node has.
func (p *Provider) Add(node, providerID, address string) (provider.Instance, error) {
	if err := (provider.Request{Node: node}).Validate(); err != nil {
		return provider.Instance{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return provider.Instance{}, provider.ErrClosed
	}
	for _, other := range p.nodes {
		switch {
		case other.Node == node:
			return provider.Instance{}, fmt.Errorf("node %s: %w", node, ErrExists)
		case address != "" && other.Address == address:
			return provider.Instance{}, fmt.Errorf("address %s: %w: node %s", address, ErrExists, other.Node)
		}
	}
	in := provider.Instance{Node: node, ProviderID: providerID, State: provider.Running, Address: address, LaunchedAt: p.now()}
	p.nodes[node] = in
	return in, nil
}

// Capabilities implements [provider.Provider].
func (*Provider) Capabilities() provider.Capabilities {
	return provider.Capabilities{Name: "static", Advice: true}
}

// Launch implements [provider.Provider]: it returns the machine if the operator
// has added it, else [provider.ErrAdvice].
func (p *Provider) Launch(ctx context.Context, r provider.Request) (provider.Instance, error) {
	if err := errors.Join(ctx.Err(), r.Validate()); err != nil {
		return provider.Instance{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return provider.Instance{}, provider.ErrClosed
	}
	if in, ok := p.nodes[r.Node]; ok {
		return in, nil
	}
	return provider.Instance{}, fmt.Errorf("node %s: %w", r.Node, provider.ErrAdvice)
}

// Terminate implements [provider.Provider]: it takes the machine off the list.
func (p *Provider) Terminate(ctx context.Context, node, providerID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return provider.ErrClosed
	}
	if in, ok := p.nodes[node]; ok && (providerID == "" || in.ProviderID == providerID) {
		delete(p.nodes, node)
	}
	return nil
}

// List implements [provider.Provider].
func (p *Provider) List(ctx context.Context) ([]provider.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, provider.ErrClosed
	}
	out := make([]provider.Instance, 0, len(p.nodes))
	for _, in := range p.nodes {
		out = append(out, in)
	}
	return out, nil
}

// Offers implements [provider.Provider]: none.
func (p *Provider) Offers(ctx context.Context) ([]provider.Offer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, provider.ErrClosed
	}
	return nil, ctx.Err()
}

// Close implements [provider.Provider].
func (p *Provider) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
