package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// The masters are gone for a while and come back at the same address. Events
// arrive once and in order, records and queues are there, leases can be taken,
// watches compare, and the log has one line for it.
func TestOutageAndReturn(t *testing.T) {
	t.Parallel()
	cfg := masterConfig(t, "m1")
	cfg.Server.Listen = freeAddresses(t, 1)[0]
	m := mustOpen(t, cfg)
	mustReady(t, m)

	ncfg := nodeConfig("n1", cfg.Server.Listen)
	ncfg.Timeout = 500 * time.Millisecond
	l, log := newLogs(t)
	n, err := Open(ncfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	mustReady(t, n)
	ctx := testContext(t)

	rooms := NewRecords[note](m, BucketRooms, "")
	for _, name := range []string{"stays", "goes"} {
		if _, err := rooms.Create(ctx, name, note{Text: name}); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(chan Change[note], 100)
	if _, err := NewRecords[note](n, BucketRooms, "").Watch(ctx, func(c Change[note]) { seen <- c }); err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	untilSynced := func() {
		t.Helper()
		for {
			select {
			case c := <-seen:
				if c.Synced {
					return
				}
				if c.Value == nil {
					delete(told, c.Key)
				} else {
					told[c.Key] = true
				}
			case <-ctx.Done():
				t.Fatal("the watch does not come to an end")
			}
		}
	}
	untilSynced()
	if !told["stays"] || !told["goes"] {
		t.Fatalf("told %v", told)
	}
	lease := mustAcquire(t, n, LeaseNode("n1"), LeaseOptions{TTL: time.Second})
	if err := n.Emit("before", "id-before", note{N: 0}); err != nil {
		t.Fatal(err)
	}
	if err := n.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	status, changed := n.Status()
	if !status.Connected {
		t.Fatal("not connected")
	}

	m.Close()
	<-changed
	if status, _ = n.Status(); status.Connected || status.Outages != 1 {
		t.Fatalf("status %+v", status)
	}
	for i := range 50 {
		if err := n.Emit("during", fmt.Sprint("id-", i), note{N: i + 1}); err != nil {
			t.Fatal(err)
		}
		if err := Publish(n, NodeLoad("n1"), note{}); !errors.Is(err, ErrOutage) {
			t.Fatalf("publish in an outage: %v", err)
		}
	}
	if _, err := n.Holder(ctx, LeaseNode("n1")); !errors.Is(err, ErrOutage) {
		t.Errorf("read in an outage: %v", err)
	}
	if _, err := Request[note, note](ctx, n, MasterRequest("x"), note{}); !errors.Is(err, ErrOutage) {
		t.Errorf("request in an outage: %v", err)
	}
	select {
	case <-lease.Lost():
	case <-ctx.Done():
		t.Fatal("a lease that cannot be renewed is held for ever")
	}
	flush, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	if err := n.Flush(flush); !errors.Is(err, ErrOutage) {
		t.Errorf("flush in an outage: %v", err)
	}
	cancel()

	m = mustOpen(t, cfg)
	mustReady(t, m)
	// By a master, while the node is perhaps not back yet.
	if err := NewRecords[note](m, BucketRooms, "").Delete(ctx, "goes", 0); err != nil {
		t.Fatal(err)
	}
	again, err := n.Acquire(ctx, LeaseNode("n1"), LeaseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release(ctx)
	if err := n.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	for told["goes"] {
		untilSynced()
	}
	if !told["stays"] {
		t.Errorf("told %v", told)
	}
	var got []int
	read, stop := context.WithCancel(ctx)
	err = m.ReadEvents(read, 0, func(e StoredEvent) error {
		v, err := Value[note](e)
		if got = append(got, v.N); len(got) == 51 {
			stop()
		}
		return err
	})
	if !errors.Is(err, context.Canceled) || len(got) != 51 || !slices.IsSorted(got) {
		t.Errorf("events %v, %v", got, err)
	}
	if status, _ = n.Status(); !status.Connected || status.NotSent != 50 && status.NotSent != 51 || status.EventsWaiting != 0 || status.EventsDropped != 0 {
		t.Errorf("status %+v", status)
	}
	if n := l.count("level=WARN", "connection lost"); n != 1 {
		t.Errorf("the loss is logged %d times", n)
	}
	if n := l.count("connection is back", "messages_not_sent=5"); n != 1 {
		t.Errorf("the return is logged %d times", n)
	}
	if n := l.count("level=WARN") + l.count("level=ERROR"); n > 3 {
		t.Errorf("%d warnings for one outage", n)
	}
}

// A node that starts before its masters waits for them.
func TestNodeBeforeMasters(t *testing.T) {
	cfg := masterConfig(t, "m1")
	cfg.Server.Listen = freeAddresses(t, 1)[0]
	l, log := newLogs(t)
	n, err := Open(nodeConfig("n1", cfg.Server.Listen), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	eventually(t, "it has tried", func() bool { return l.count("cannot reach its masters") == 1 })
	short, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	if err := n.Ready(short); !errors.Is(err, ErrOutage) {
		t.Errorf("ready without masters: %v", err)
	}
	cancel()
	mustReady(t, mustOpen(t, cfg), n)
}

// One of three masters stops: everything goes on, also on nodes that were
// connected to it, and it is one of them again when it comes back.
func TestMasterOfThreeStops(t *testing.T) {
	t.Parallel()
	cfgs := threeConfigs(t)
	var masters []*Bus
	for _, cfg := range cfgs {
		masters = append(masters, mustOpen(t, cfg))
	}
	mustReady(t, masters...)
	n := join(t, "n1", masters...)
	ctx := testContext(t)
	lease := mustAcquire(t, n, LeaseNode("n1"), LeaseOptions{})
	defer lease.Release(ctx)
	rec := NewRecords[note](masters[1], BucketRooms, "")
	if _, err := rec.Put(ctx, "a", note{N: 1}); err != nil {
		t.Fatal(err)
	}
	masters[0].Close()
	stopped := time.Now()
	eventually(t, "records are written", func() bool {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, err := rec.Put(short, "a", note{N: 2})
		return err == nil
	})
	t.Log("first write after a stop:", time.Since(stopped))
	if err := n.EmitWait(ctx, "kind", "", note{}); err != nil {
		// It may have been this node's master: the connection is made anew.
		if err := n.Emit("kind", "", note{}); err != nil {
			t.Fatal(err)
		}
		if err := n.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	back := mustOpen(t, cfgs[0])
	mustReady(t, back)
	eventually(t, "the master knows what it missed", func() bool {
		v, _, err := NewRecords[note](back, BucketRooms, "").Get(ctx, "a")
		return err == nil && v.N == 2
	})
	if !lease.Valid() {
		t.Errorf("the node lost its lease: %v", lease.Err())
	}
}
