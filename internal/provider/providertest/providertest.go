// Package providertest is the contract of package provider as tests, and a
// provider whose every misfortune is scripted.
//
// It owns [Run], which every provider's tests call, and [Fake], for the tests
// of those who use providers. It knows no real provider.
//
// Start reading at [Run].
package providertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/provider"
)

// Subject is a provider under test and what the tests need to do behind its
// back.
type Subject struct {
	// Provider is under test. Run closes it.
	Provider provider.Provider
	// Reopen closes the provider as a process that ends does, and returns a
	// new one over the same instances. Required with Capabilities.Survive.
	Reopen func() provider.Provider
	// Crash ends an instance from outside. Nil: not possible.
	Crash func(in provider.Instance)
	// Add stands for the operator of a provider that gives advice only.
	Add func(node string) error
}

// patience is how long anything may take.
const patience = 20 * time.Second

// Run tests a provider against the contract. start makes a provider without
// instances, once for each subtest.
func Run(t *testing.T, start func(t *testing.T) *Subject) {
	first := start(t)
	advice := first.Provider.Capabilities().Advice
	closeProvider(t, first.Provider)
	tests := []struct {
		name string
		run  func(*suite)
	}{
		{"capabilities", (*suite).capabilities},
		{"invalid requests", (*suite).invalid},
		{"ended context", (*suite).endedContext},
		{"closed", (*suite).closed},
		{"terminate the unknown", (*suite).terminateUnknown},
	}
	if advice {
		tests = append(tests, struct {
			name string
			run  func(*suite)
		}{"advice", (*suite).advice})
	} else {
		tests = append(tests, []struct {
			name string
			run  func(*suite)
		}{
			{"launch and terminate", (*suite).launchAndTerminate},
			{"launch is idempotent", (*suite).launchTwice},
			{"launch in parallel", (*suite).launchParallel},
			{"ids are used once", (*suite).launchAfterTerminate},
			{"terminate while pending", (*suite).terminatePending},
			{"terminate one of several", (*suite).terminateOne},
			{"several", (*suite).several},
			{"crash", (*suite).crash},
			{"restart", (*suite).restart},
		}...)
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			s := &suite{T: t, ctx: ctx, Subject: start(t)}
			defer func() { s.cleanUp() }()
			c.run(s)
		})
	}
}

type suite struct {
	*testing.T
	*Subject
	ctx context.Context
}

// cleanUp leaves no instance behind.
func (s *suite) cleanUp() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := s.Provider.List(ctx)
	if err == nil {
		for _, in := range all {
			if err := s.Provider.Terminate(ctx, in.Node, ""); err != nil {
				s.Errorf("clean up: %v", err)
			}
		}
		for _, in := range all {
			s.ctx = ctx
			s.ended(in.Node)
		}
	}
	closeProvider(s.T, s.Provider)
}

func closeProvider(t *testing.T, p provider.Provider) {
	t.Helper()
	for range 2 {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func request(node string) provider.Request {
	return provider.Request{Node: node, Cluster: "clu_test"}
}

func (s *suite) launch(node string) provider.Instance {
	s.Helper()
	in, err := s.Provider.Launch(s.ctx, request(node))
	if err != nil {
		s.Fatalf("launch %s: %v", node, err)
	}
	if in.Node != node || in.LaunchedAt.IsZero() || in.State != provider.Pending && in.State != provider.Running {
		s.Fatalf("launch %s: %+v", node, in)
	}
	return in
}

func (s *suite) terminate(node string) {
	s.Helper()
	if err := s.Provider.Terminate(s.ctx, node, ""); err != nil {
		s.Fatalf("terminate %s: %v", node, err)
	}
}

// of returns the listed instances of a node.
func (s *suite) of(node string) []provider.Instance {
	s.Helper()
	all, err := s.Provider.List(s.ctx)
	if err != nil {
		s.Fatalf("list: %v", err)
	}
	return slices.DeleteFunc(all, func(in provider.Instance) bool { return in.Node != node })
}

// until waits for a condition on the instances of a node.
func (s *suite) until(node, what string, ok func([]provider.Instance) bool) []provider.Instance {
	s.Helper()
	for {
		all := s.of(node)
		if ok(all) {
			return all
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-s.ctx.Done():
			s.Fatalf("%s is not %s: %+v", node, what, all)
		}
	}
}

func (s *suite) running(node string) provider.Instance {
	s.Helper()
	all := s.until(node, "running", func(all []provider.Instance) bool {
		return len(all) == 1 && all[0].State == provider.Running
	})
	if all[0].ProviderID == "" || all[0].LaunchedAt.IsZero() {
		s.Errorf("running without an id or a time: %+v", all[0])
	}
	return all[0]
}

func (s *suite) ended(node string) []provider.Instance {
	s.Helper()
	return s.until(node, "ended", func(all []provider.Instance) bool {
		return !slices.ContainsFunc(all, func(in provider.Instance) bool { return !in.State.Ended() })
	})
}

func (s *suite) capabilities() {
	c := s.Provider.Capabilities()
	if c.Name == "" || c != s.Provider.Capabilities() {
		s.Errorf("capabilities %+v", c)
	}
	if !c.Advice && c.LaunchTimeout <= 0 {
		s.Errorf("launches can be pending for ever: %+v", c)
	}
	offers, err := s.Provider.Offers(s.ctx)
	if err != nil || (len(offers) > 0) == c.Advice {
		s.Errorf("offers %+v, %v", offers, err)
	}
	for _, o := range offers {
		if o.Name == "" || o.CPUs <= 0 || o.PricePerHour < 0 || o.PricePerHour > 0 && o.Currency == "" {
			s.Errorf("offer %+v", o)
		}
	}
	if all, err := s.Provider.List(s.ctx); err != nil || len(all) != 0 {
		s.Errorf("a new provider lists %+v, %v", all, err)
	}
}

func (s *suite) invalid() {
	for _, node := range []string{"", "..", "a/b", "a b", "-a"} {
		if _, err := s.Provider.Launch(s.ctx, request(node)); !errors.Is(err, provider.ErrInvalid) {
			s.Errorf("launch %q: %v", node, err)
		}
	}
	r := request("n1")
	r.Offer = "no such offer"
	if _, err := s.Provider.Launch(s.ctx, r); !errors.Is(err, provider.ErrInvalid) && !s.Provider.Capabilities().Advice {
		s.Errorf("unknown offer: %v", err)
	}
	if all := s.of("n1"); len(all) != 0 {
		s.Errorf("an invalid request started %+v", all)
	}
}

// endedContext: no call waits for who has gone, and nothing is left behind that
// another call cannot take up.
func (s *suite) endedContext() {
	gone, cancel := context.WithCancel(s.ctx)
	cancel()
	_, launch := s.Provider.Launch(gone, request("n1"))
	_, list := s.Provider.List(gone)
	_, offers := s.Provider.Offers(gone)
	for what, err := range map[string]error{
		"launch": launch, "list": list, "offers": offers, "terminate": s.Provider.Terminate(gone, "n1", ""),
	} {
		if !errors.Is(err, context.Canceled) {
			s.Errorf("%s: %v", what, err)
		}
	}
	s.terminate("n1")
	s.ended("n1")
}

func (s *suite) closed() {
	closeProvider(s.T, s.Provider)
	_, launch := s.Provider.Launch(s.ctx, request("n1"))
	_, list := s.Provider.List(s.ctx)
	_, offers := s.Provider.Offers(s.ctx)
	for what, err := range map[string]error{
		"launch": launch, "list": list, "offers": offers, "terminate": s.Provider.Terminate(s.ctx, "n1", ""),
	} {
		if !errors.Is(err, provider.ErrClosed) {
			s.Errorf("%s: %v", what, err)
		}
	}
}

func (s *suite) terminateUnknown() {
	s.terminate("nobody")
	if err := s.Provider.Terminate(s.ctx, "nobody", "i-nothing"); err != nil {
		s.Error(err)
	}
}

func (s *suite) advice() {
	if _, err := s.Provider.Launch(s.ctx, request("n1")); !errors.Is(err, provider.ErrAdvice) {
		s.Errorf("launch: %v", err)
	}
	if err := s.Add("n1"); err != nil {
		s.Fatal(err)
	}
	if in := s.launch("n1"); in.State != provider.Running {
		s.Errorf("the operator's node: %+v", in)
	}
	if all := s.of("n1"); len(all) != 1 || all[0].State != provider.Running {
		s.Errorf("listed %+v", all)
	}
	if err := s.Provider.Terminate(s.ctx, "n1", "another"); err != nil {
		s.Error(err)
	}
	if all := s.of("n1"); len(all) != 1 {
		s.Error("another instance was meant")
	}
	s.terminate("n1")
	s.ended("n1")
	s.terminate("n1")
}

func (s *suite) launchAndTerminate() {
	s.launch("n1")
	s.running("n1")
	s.terminate("n1")
	s.terminate("n1")
	s.ended("n1")
	s.terminate("n1")
}

func (s *suite) launchTwice() {
	s.launch("n1")
	in := s.running("n1")
	again := s.launch("n1")
	if again.ProviderID != in.ProviderID || again.State != provider.Running || !again.LaunchedAt.Equal(in.LaunchedAt) {
		s.Errorf("launched %+v, then %+v", in, again)
	}
	if all := s.of("n1"); len(all) != 1 {
		s.Errorf("listed %+v", all)
	}
}

// launchParallel: ten callers with one id get one instance.
func (s *suite) launchParallel() {
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			if _, err := s.Provider.Launch(s.ctx, request("n1")); err != nil {
				s.Errorf("launch: %v", err)
			}
			if _, err := s.Provider.List(s.ctx); err != nil {
				s.Errorf("list: %v", err)
			}
		})
	}
	calls.Wait()
	s.running("n1")
	for range 10 {
		calls.Go(func() {
			if err := s.Provider.Terminate(s.ctx, "n1", ""); err != nil {
				s.Errorf("terminate: %v", err)
			}
		})
	}
	calls.Wait()
	s.ended("n1")
}

func (s *suite) launchAfterTerminate() {
	s.launch("n1")
	s.running("n1")
	s.terminate("n1")
	if _, err := s.Provider.Launch(s.ctx, request("n1")); !errors.Is(err, provider.ErrTerminated) {
		s.Errorf("launch of one that is ending: %v", err)
	}
	s.ended("n1")
	if _, err := s.Provider.Launch(s.ctx, request("n1")); !errors.Is(err, provider.ErrTerminated) {
		s.Errorf("launch of one that has ended: %v", err)
	}
	s.ended("n1")
}

func (s *suite) terminatePending() {
	for i := range 5 {
		node := fmt.Sprint("n", i)
		s.launch(node)
		s.terminate(node)
		s.ended(node)
	}
}

func (s *suite) terminateOne() {
	s.launch("n1")
	in := s.running("n1")
	if err := s.Provider.Terminate(s.ctx, "n1", in.ProviderID+"-other"); err != nil {
		s.Error(err)
	}
	if now := s.running("n1"); now.ProviderID != in.ProviderID {
		s.Errorf("%+v became %+v", in, now)
	}
	if err := s.Provider.Terminate(s.ctx, "n1", in.ProviderID); err != nil {
		s.Error(err)
	}
	s.ended("n1")
}

func (s *suite) several() {
	ids := map[string]bool{}
	for i := range 4 {
		s.launch(fmt.Sprint("n", i))
	}
	for i := range 4 {
		ids[s.running(fmt.Sprint("n", i)).ProviderID] = true
	}
	if len(ids) != 4 {
		s.Errorf("ids %v are not unique", ids)
	}
	s.terminate("n2")
	s.ended("n2")
	for _, node := range []string{"n0", "n1", "n3"} {
		s.running(node)
	}
}

func (s *suite) crash() {
	if s.Crash == nil {
		s.Skip("instances of this provider cannot be ended from outside")
	}
	s.launch("n1")
	s.launch("n2")
	s.running("n2")
	s.Crash(s.running("n1"))
	for _, in := range s.ended("n1") {
		if in.Reason == "" {
			s.Errorf("no reason: %+v", in)
		}
	}
	s.running("n2")
	s.terminate("n1")
}

// restart: the next process finds what the former one has launched.
func (s *suite) restart() {
	if !s.Provider.Capabilities().Survive {
		s.Skip("instances end with this provider")
	}
	for _, node := range []string{"n1", "n2", "ended"} {
		s.launch(node)
	}
	before := map[string]provider.Instance{}
	for _, node := range []string{"n1", "n2"} {
		before[node] = s.running(node)
	}
	s.running("ended")
	s.terminate("ended")
	s.ended("ended")

	s.Subject.Provider = s.Reopen()
	for _, node := range []string{"n1", "n2"} {
		now := s.running(node)
		if was := before[node]; now.ProviderID != was.ProviderID || !now.LaunchedAt.Equal(was.LaunchedAt) {
			s.Errorf("%+v became %+v", was, now)
		}
		if again := s.launch(node); again.ProviderID != now.ProviderID {
			s.Errorf("a second launch: %+v and %+v", now, again)
		}
	}
	if _, err := s.Provider.Launch(s.ctx, request("ended")); !errors.Is(err, provider.ErrTerminated) {
		s.Errorf("launch of one that has ended: %v", err)
	}
	if s.Crash != nil {
		s.Crash(s.running("n1"))
		s.ended("n1")
	}
	s.terminate("n2")
	s.ended("n2")
}
