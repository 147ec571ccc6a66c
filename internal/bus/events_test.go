package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// readUntil returns the events from a sequence until n were read.
func readUntil(t testing.TB, b *Bus, from uint64, n int) (out []StoredEvent) {
	t.Helper()
	enough := errors.New("enough")
	err := b.ReadEvents(testContext(t), from, func(e StoredEvent) error {
		if out = append(out, e); len(out) == n {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("%d events, %v", len(out), err)
	}
	return out
}

func TestEventsAreStoredOnceAndInOrder(t *testing.T) {
	t.Parallel()
	masters := three(t)
	n := join(t, "n1", masters...)
	ctx := testContext(t)
	const count = 100
	for i := range count {
		for range 1 + i%3 { // some are said again
			if err := n.Emit("roomStarted", fmt.Sprint("id", i), note{N: i}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := n.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := masters[1].EmitWait(ctx, "autoscaling", "last", note{N: count}); err != nil {
		t.Fatal(err)
	}
	if err := masters[1].EmitWait(ctx, "autoscaling", "last", note{N: count}); err != nil {
		t.Fatal(err)
	}
	for _, m := range masters {
		events := readUntil(t, m, 0, count+1)
		for i, e := range events {
			v, err := Value[note](e)
			if err != nil || v.N != i {
				t.Fatalf("event %d: %+v, %v", i, v, err)
			}
		}
		first, last := events[0], events[count]
		if first.Node != "n1" || first.Kind != "roomStarted" || first.ID != "id0" || first.Time.IsZero() {
			t.Errorf("first %+v", first)
		}
		if last.Node != "m2" || last.Kind != "autoscaling" || last.ID != "last" {
			t.Errorf("last %+v", last)
		}
		// A reader goes on where it was.
		if rest := readUntil(t, m, events[90].Sequence, count+1-90); rest[0].ID != events[90].ID {
			t.Errorf("goes on with %+v", rest[0])
		}
	}
}

func TestEventArguments(t *testing.T) {
	m := single(t)
	for _, kind := range []string{"", "a.b", "a b", "*"} {
		if err := m.Emit(kind, "", note{}); !errors.Is(err, ErrMalformed) {
			t.Errorf("kind %q: %v", kind, err)
		}
	}
	if err := m.Emit("kind", "", func() {}); err == nil {
		t.Error("a function was accepted")
	}
}

// What is refused for ever must not hold up what follows.
func TestHopelessEventIsDropped(t *testing.T) {
	cfg := masterConfig(t, "m1")
	l, log := newLogs(t)
	m, err := Open(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	mustReady(t, m)
	if err := m.Emit("big", "", strings.Repeat("x", 2<<20)); err != nil {
		t.Fatal(err)
	}
	if err := m.Emit("small", "", note{}); err != nil {
		t.Fatal(err)
	}
	if err := m.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if e := readUntil(t, m, 0, 1); e[0].Kind != "small" {
		t.Errorf("got %+v", e)
	}
	if l.count("refused and dropped") != 1 {
		t.Error("not logged")
	}
}

// The outbox is bounded, drops the oldest, and says how many.
func TestOutboxIsBounded(t *testing.T) {
	address := freeAddresses(t, 1)[0]
	cfg := nodeConfig("n1", address)
	cfg.Outbox = 10
	l, log := newLogs(t)
	n, err := Open(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	for i := range 25 {
		if err := n.Emit("kind", "", note{N: i}); err != nil {
			t.Fatal(err)
		}
	}
	mcfg := masterConfig(t, "m1")
	mcfg.Server.Listen = address
	m := mustOpen(t, mcfg)
	if err := n.Flush(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, e := range readUntil(t, m, 0, 10) {
		v, err := Value[note](e)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, v.N)
	}
	if want := []int{15, 16, 17, 18, 19, 20, 21, 22, 23, 24}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if s, _ := n.Status(); s.EventsDropped != 15 {
		t.Errorf("status %+v", s)
	}
	if l.count("dropped events", "events=15") != 1 {
		t.Error("not logged")
	}
}

// A reader and a master's restart: nothing twice, nothing missing.
func TestReadEventsSurvivesRestart(t *testing.T) {
	t.Parallel()
	cfgs := threeConfigs(t)
	var masters []*Bus
	for _, cfg := range cfgs {
		masters = append(masters, mustOpen(t, cfg))
	}
	mustReady(t, masters...)
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	got := make(chan int, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- masters[0].ReadEvents(ctx, 0, func(e StoredEvent) error {
			v, err := Value[note](e)
			got <- v.N
			return err
		})
	}()
	emit := func(from, to int) {
		for i := from; i < to; i++ {
			if err := masters[0].Emit("kind", "", note{N: i}); err != nil {
				t.Fatal(err)
			}
		}
	}
	emit(0, 10)
	masters[1].Close()
	emit(10, 20)
	mustReady(t, mustOpen(t, cfgs[1]))
	masters[2].Close()
	emit(20, 30)
	for want := range 30 {
		select {
		case n := <-got:
			if n != want {
				t.Fatalf("got %d, want %d", n, want)
			}
		case <-ctx.Done():
			t.Fatalf("event %d does not come", want)
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestWorkQueue(t *testing.T) {
	t.Parallel()
	m := single(t)
	n := join(t, "n1", m)
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	o := DefaultQueue("q")
	o.AckWait, o.MaxDeliver = 300*time.Millisecond, 3
	if err := m.PrepareQueue(ctx, o); err != nil {
		t.Fatal(err)
	}
	type done struct {
		Task[note]
		at time.Time
	}
	tried := make(chan done, 100)
	worked := make(chan error, 1)
	go func() {
		worked <- Work(ctx, n, o, 4, func(ctx context.Context, task Task[note]) error {
			tried <- done{task, time.Now()}
			switch task.Value.Text {
			case "slow": // longer than AckWait: kept by telling so
				pause(ctx, 4*o.AckWait)
			case "second":
				if task.Attempt < 2 {
					return errors.New("not yet")
				}
			case "never":
				return errors.New("never")
			case "useless":
				return fmt.Errorf("%w: useless", ErrGiveUp)
			}
			return nil
		})
	}()
	for _, text := range []string{"good", "good", "slow", "second", "never", "useless"} {
		if err := Submit(ctx, m, "q", text, note{Text: text}); err != nil { // "good" twice is once
			t.Fatal(err)
		}
	}
	want := map[string]int{"good": 1, "slow": 1, "second": 2, "never": 3, "useless": 1}
	eventually(t, "the queue is empty", func() bool {
		s, err := m.js.Stream(ctx, StreamWork)
		return err == nil && s.CachedInfo().State.Msgs == 0
	})
	got := map[string]int{}
	for len(tried) > 0 {
		d := <-tried
		if got[d.ID]++; got[d.ID] != d.Attempt || d.ID != d.Value.Text {
			t.Errorf("%+v is attempt %d", d.Task, got[d.ID])
		}
	}
	for id, n := range want {
		if got[id] != n {
			t.Errorf("%s: %d attempts, want %d", id, got[id], n)
		}
	}
	dead, err := m.DeadTasks(ctx, "q")
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for _, d := range dead {
		v, err := DeadValue[note](d)
		if err != nil || v.Text != d.ID || d.Queue != "q" || d.Time.IsZero() {
			t.Errorf("%+v, %+v, %v", d, v, err)
		}
		reasons[d.ID] = d.Reason
	}
	if len(dead) != 2 || reasons["never"] != "never" || !strings.Contains(reasons["useless"], "useless") {
		t.Errorf("dead %+v", dead)
	}
	stop()
	if err := <-worked; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// A worker that dies loses its task to another one; a task whose every worker
// dies is buried by a master.
func TestWorkerDies(t *testing.T) {
	t.Parallel()
	m := single(t)
	ctx := testContext(t)
	o := DefaultQueue("q")
	o.AckWait, o.MaxDeliver = 300*time.Millisecond, 2
	if err := m.PrepareQueue(ctx, o); err != nil {
		t.Fatal(err)
	}
	if err := Submit(ctx, m, "q", "deadly", note{N: 7}); err != nil {
		t.Fatal(err)
	}
	for i := range o.MaxDeliver {
		n := join(t, fmt.Sprint("n", i), m)
		taken := make(chan int, 1)
		ended := make(chan error, 1)
		go func() {
			ended <- Work(ctx, n, o, 1, func(ctx context.Context, task Task[note]) error {
				taken <- task.Attempt
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		select {
		case attempt := <-taken:
			if attempt != i+1 {
				t.Errorf("attempt %d on worker %d", attempt, i)
			}
		case <-ctx.Done():
			t.Fatal("the task is not taken")
		}
		// As a crash: the connection is gone before the worker can say a word.
		n.conn.nc.Close()
		n.Close()
		if err := <-ended; err == nil {
			t.Error("no error")
		}
	}
	n := join(t, "n9", m)
	go func() {
		// The server announces the end of a task when somebody asks for it again.
		_ = Work(ctx, n, o, 1, func(context.Context, Task[note]) error { t.Error("a third attempt"); return nil })
	}()
	eventually(t, "the task is buried", func() bool {
		dead, err := m.DeadTasks(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		return len(dead) == 1 && dead[0].ID == "deadly" && dead[0].Queue == "q" && dead[0].Reason != ""
	})
	s, err := m.js.Stream(ctx, StreamWork)
	if err != nil || s.CachedInfo().State.Msgs != 0 {
		t.Errorf("still queued: %+v, %v", s.CachedInfo().State, err)
	}
}

func TestQueueOptionsAreChecked(t *testing.T) {
	m := single(t)
	for _, change := range []func(*QueueOptions){
		func(o *QueueOptions) { o.Name = "a.b" }, func(o *QueueOptions) { o.AckWait = 0 },
		func(o *QueueOptions) { o.MaxDeliver = 0 }, func(o *QueueOptions) { o.Backlog = 0 },
	} {
		o := DefaultQueue("q")
		change(&o)
		if err := m.PrepareQueue(testContext(t), o); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
