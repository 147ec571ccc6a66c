// Package provider is the contract of what launches and terminates nodes: a
// cloud, this machine (provider/process), or an operator (provider/static).
//
// It owns the words (request, instance, offer) and the rules that make launches
// safe when answers are lost, take minutes, or come after nobody wants them any
// more. It launches nothing, and decides nothing: package control asks, and
// compares what it wants with [Provider.List]. provider/providertest is these
// rules as tests.
//
// Start reading at [Provider].
package provider

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Provider launches and terminates instances of one cluster. Its methods are
// safe for concurrent use and return soon after their context ends; what they
// had asked for may happen all the same.
//
// The id of the node is the id of the launch request. The caller makes it up,
// writes it down, then launches. It is attached to the instance (tags, labels,
// the environment), so that after a restart of the caller, and after every
// answer that was lost, [Provider.List] tells what became of it. An id is used
// for one launch and never again.
type Provider interface {
	// Capabilities says what to expect of the provider. It does not change and
	// does not block.
	Capabilities() Capabilities

	// Launch asks for an instance for the node. It returns when the provider has
	// accepted, most often with [Pending], not when the instance runs.
	// Launching the same id again starts no second instance and returns the
	// first. Errors: [ErrAdvice], [ErrInvalid], [ErrCapacity], [ErrDenied],
	// [ErrTerminated] for an id that was terminated before; all these mean that
	// nothing was started. After any other error, and after the end of ctx, it
	// is not known: launch the same id again, or terminate it.
	Launch(ctx context.Context, r Request) (Instance, error)

	// Terminate ends the node's instance, whatever its state; a launch that
	// has not finished is canceled, or its instance ended as soon as it is
	// there. It returns when the provider has accepted. No instance, or one
	// that has ended, is no error. With a providerID only that instance of
	// several of the node is meant; see List. [ErrDenied] and other errors mean
	// that the instance may run on: terminate again.
	Terminate(ctx context.Context, node, providerID string) error

	// List returns every instance of the cluster that the provider knows, in no
	// order. One that has ended may be listed for a while, as [Terminated] or
	// [Failed]; when it is missing it has ended too, unless its launch is
	// younger than [Capabilities.ListLag]. An instance may appear after its
	// launch has failed or was terminated, and two may appear for one request
	// that was answered with an error: end what is not wanted.
	List(ctx context.Context) ([]Instance, error)

	// Offers returns what can be launched, the default first. Empty for
	// providers that give advice only.
	Offers(ctx context.Context) ([]Offer, error)

	// Close ends the provider's own work and waits for it. Whether instances
	// survive is the provider's business; see [Capabilities.Survive]. It can
	// be called again; other methods then return [ErrClosed].
	Close() error
}

// Capabilities are what a caller has to know of a provider.
type Capabilities struct {
	// Name of the provider, as in the configuration: process, static, aws.
	Name string
	// Advice says that it launches nothing: the caller announces what it would
	// do and an operator does it.
	Advice bool
	// LaunchTimeout is when a launch that is still pending has failed: the
	// caller terminates it and asks for another.
	LaunchTimeout time.Duration
	// ListLag is how long after its launch an instance may be missing in List.
	ListLag time.Duration
	// Survive says that instances survive the caller's process, and are found
	// again by the next one.
	Survive bool
}

// Request is what to launch.
type Request struct {
	// Node is the id of the node and of the request. See [ValidNode].
	Node string `json:"node"`
	// Cluster is the cluster's id.
	Cluster string `json:"cluster"`
	// Offer is the name of the wanted [Offer]. Empty: the default.
	Offer string `json:"offer,omitempty"`
	// Zone within the provider. Empty: any.
	Zone string `json:"zone,omitempty"`
	// DiskGB is the size of the disk. Zero: the offer's.
	DiskGB int `json:"disk_gb,omitempty"`
}

// ErrInvalid etc. are the errors of [Provider.Launch]; [ErrDenied] and
// [ErrUnavailable] are those of the others too.
var (
	// ErrInvalid: the request makes no sense to this provider. Do not repeat it.
	ErrInvalid = errors.New("invalid launch request")
	// ErrAdvice: the provider launches nothing; an operator does.
	ErrAdvice = errors.New("this provider gives advice only")
	// ErrCapacity: the provider has no room, or a quota is used up. Later, or
	// another offer or zone.
	ErrCapacity = errors.New("no capacity")
	// ErrDenied: credentials or rights are missing. An operator must act.
	ErrDenied = errors.New("denied by the provider")
	// ErrTerminated: the id was terminated before; ids are used once.
	ErrTerminated = errors.New("terminated before")
	// ErrUnavailable: the provider does not answer, or asks for patience. Later.
	ErrUnavailable = errors.New("provider not available")
	// ErrClosed: the provider was closed.
	ErrClosed = errors.New("provider closed")
)

// nodeID has no dot or slash, so that it can be a file name and a label.
var nodeID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)

// ValidNode reports whether a node id suits every provider: 1 to 63 letters,
// digits, - and _, the first one a letter or digit.
func ValidNode(id string) bool { return nodeID.MatchString(id) }

// Validate returns [ErrInvalid] for a request that suits no provider.
func (r Request) Validate() error {
	switch {
	case !ValidNode(r.Node):
		return fmt.Errorf("%w: node %q", ErrInvalid, r.Node)
	case r.DiskGB < 0:
		return fmt.Errorf("%w: disk of %d GB", ErrInvalid, r.DiskGB)
	}
	return nil
}

// State is how far an instance is. It says nothing of the node on it: that
// joins the cluster by itself.
type State string

// The states of an instance. Terminated and failed are final.
const (
	Pending    State = "pending"    // accepted, not there yet
	Running    State = "running"    // there
	Stopping   State = "stopping"   // being ended
	Terminated State = "terminated" // ended, as asked or by itself
	Failed     State = "failed"     // could not be started, or broke down
)

// Ended reports whether the instance is gone for good.
func (s State) Ended() bool { return s == Terminated || s == Failed }

// Instance is one machine or process.
type Instance struct {
	// Node is the id of the request.
	Node string `json:"node"`
	// ProviderID is the provider's own id, unique among its instances. Empty
	// while it has none.
	ProviderID string `json:"provider_id,omitempty"`
	// State is how far it is.
	State State `json:"state"`
	// Reason says why it failed or ended, for people.
	Reason string `json:"reason,omitempty"`
	// Address is its private address, when known.
	Address string `json:"address,omitempty"`
	// Offer and Zone are where and as what it was launched.
	Offer string `json:"offer,omitempty"`
	Zone  string `json:"zone,omitempty"`
	// LaunchedAt is when the launch was accepted.
	LaunchedAt time.Time `json:"launched_at,omitzero"`
}

// Offer is a kind of instance that can be launched.
type Offer struct {
	// Name is what [Request.Offer] asks for, e.g. c7i.large.
	Name string `json:"name"`
	// CPUs and Memory (bytes) of the instance.
	CPUs   float64 `json:"cpus"`
	Memory uint64  `json:"memory,omitempty"`
	// PricePerHour in Currency; zero: unknown.
	PricePerHour float64 `json:"price_per_hour,omitempty"`
	Currency     string  `json:"currency,omitempty"`
	// Zone, if the offer holds in one only.
	Zone string `json:"zone,omitempty"`
	// Spot says that the provider may take the instance back at any time.
	Spot bool `json:"spot,omitempty"`
}
