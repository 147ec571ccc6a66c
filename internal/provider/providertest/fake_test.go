package providertest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/concertina-rtc/concertina/internal/provider"
)

func subject(fate Fate) func(t *testing.T) *Subject {
	return func(*testing.T) *Subject {
		f := NewFake(fate)
		return &Subject{
			Provider: f,
			Reopen:   func() provider.Provider { f = f.Reopen(); return f },
			Crash:    func(in provider.Instance) { f.Crash(in.Node) },
		}
	}
}

func TestFakeKeepsTheContract(t *testing.T) {
	for name, fate := range map[string]Fate{
		"at once":      {},
		"slow":         {Pending: 20 * time.Millisecond, Stopping: 20 * time.Millisecond},
		"uncancelable": {Pending: 20 * time.Millisecond, Uncancelable: true},
		"hidden":       {Hidden: 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) { Run(t, subject(fate)) })
	}
}

func list(t *testing.T, f *Fake, node string) (out []provider.Instance) {
	t.Helper()
	all, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range all {
		if in.Node == node {
			out = append(out, in)
		}
	}
	return out
}

func state(t *testing.T, f *Fake, node string) provider.State {
	t.Helper()
	all := list(t, f, node)
	if len(all) != 1 {
		return ""
	}
	return all[0].State
}

// The misfortunes that the contract speaks of, each as scripted.
func TestFakeFates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		f := NewFake(Fate{})
		launch := func(node string, fate Fate) error {
			f.Script(node, fate)
			_, err := f.Launch(ctx, provider.Request{Node: node})
			return err
		}

		if err := launch("refused", Fate{Refuse: provider.ErrCapacity}); !errors.Is(err, provider.ErrCapacity) || state(t, f, "refused") != "" {
			t.Errorf("refused: %v, %q", err, state(t, f, "refused"))
		}
		if err := launch("lost", Fate{Lose: provider.ErrUnavailable}); !errors.Is(err, provider.ErrUnavailable) || state(t, f, "lost") != provider.Running {
			t.Errorf("lost: %v, %q", err, state(t, f, "lost"))
		}
		if in, err := f.Launch(ctx, provider.Request{Node: "lost"}); err != nil || in.State != provider.Running {
			t.Errorf("lost, again: %+v, %v", in, err)
		}
		if err := launch("twice", Fate{Twice: true}); err != nil || len(list(t, f, "twice")) != 2 {
			t.Errorf("twice: %v, %v", err, list(t, f, "twice"))
		}
		if err := f.Terminate(ctx, "twice", list(t, f, "twice")[0].ProviderID); err != nil {
			t.Error(err)
		}
		if all := list(t, f, "twice"); !all[0].State.Ended() || all[1].State != provider.Running {
			t.Errorf("one of two: %+v", all)
		}

		f.Script("hangs", Fate{Hang: true})
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := f.Launch(short, provider.Request{Node: "hangs"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hangs: %v", err)
		}
		if state(t, f, "hangs") != provider.Running {
			t.Error("it has started all the same")
		}

		// Three minutes to launch; canceled after one; the provider cannot.
		if err := launch("late", Fate{Pending: 3 * time.Minute, Uncancelable: true, Hidden: 30 * time.Second, Stopping: time.Minute}); err != nil {
			t.Fatal(err)
		}
		steps := []struct {
			after time.Duration
			want  provider.State
		}{{0, ""}, {time.Minute, provider.Pending}, {time.Minute, provider.Pending}, {time.Minute, provider.Stopping}, {time.Minute, provider.Terminated}}
		for i, step := range steps {
			time.Sleep(step.after)
			if got := state(t, f, "late"); got != step.want {
				t.Errorf("late, step %d: %q, want %q", i, got, step.want)
			}
			if i == 1 {
				if err := f.Terminate(ctx, "late", ""); err != nil {
					t.Fatal(err)
				}
			}
		}

		if err := launch("fails", Fate{Pending: time.Minute, Fail: "no boot"}); err != nil || state(t, f, "fails") != provider.Pending {
			t.Errorf("fails: %v", err)
		}
		time.Sleep(time.Minute)
		if in := list(t, f, "fails")[0]; in.State != provider.Failed || in.Reason != "no boot" {
			t.Errorf("fails: %+v", in)
		}

		if err := launch("stubborn", Fate{Refusals: 2}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []error{provider.ErrUnavailable, provider.ErrUnavailable, nil} {
			if err := f.Terminate(ctx, "stubborn", ""); !errors.Is(err, want) {
				t.Errorf("stubborn, call %d: %v", i, err)
			}
		}
		f.FailList(provider.ErrDenied)
		if _, err := f.List(ctx); !errors.Is(err, provider.ErrDenied) {
			t.Errorf("list: %v", err)
		}
		calls := f.Calls()
		if last := calls[len(calls)-1]; last.Method != "Terminate" || last.Node != "stubborn" || last.Err != nil {
			t.Errorf("last call %+v", last)
		}
	})
}

// A capacity problem passes.
func TestFakeNext(t *testing.T) {
	f := NewFake(Fate{Refuse: provider.ErrCapacity})
	if _, err := f.Launch(t.Context(), provider.Request{Node: "a"}); !errors.Is(err, provider.ErrCapacity) {
		t.Error(err)
	}
	f.Next(Fate{})
	if _, err := f.Launch(t.Context(), provider.Request{Node: "b"}); err != nil {
		t.Error(err)
	}
}
