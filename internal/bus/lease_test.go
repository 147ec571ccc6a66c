package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func mustAcquire(t testing.TB, b *Bus, key string, o LeaseOptions) *Lease {
	t.Helper()
	l, err := b.TryAcquire(testContext(t), key, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func lost(l *Lease) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

func TestLeaseIsHeldByOne(t *testing.T) {
	m := single(t)
	n := join(t, "n1", m)
	ctx := testContext(t)
	l := mustAcquire(t, n, LeaseNode("n1"), LeaseOptions{Info: "10.0.0.1"})
	if _, err := m.TryAcquire(ctx, LeaseNode("n1"), LeaseOptions{}); !errors.Is(err, ErrHeld) {
		t.Fatalf("second holder: %v", err)
	}
	if h, err := m.Holder(ctx, LeaseNode("n1")); err != nil || h.Node != "n1" || h.Info != "10.0.0.1" {
		t.Fatalf("holder %+v, %v", h, err)
	}
	if !l.Valid() || lost(l) || l.Err() != nil {
		t.Fatal("not valid")
	}
	l.Release(ctx)
	l.Release(ctx)
	if l.Valid() || !lost(l) || !errors.Is(l.Err(), ErrLost) {
		t.Fatalf("valid after release: %v", l.Err())
	}
	if _, err := m.Holder(ctx, LeaseNode("n1")); !errors.Is(err, ErrNotFound) {
		t.Fatalf("holder after release: %v", err)
	}
	again := mustAcquire(t, m, LeaseNode("n1"), LeaseOptions{})
	if again.Token() <= l.Token() {
		t.Errorf("token %d after %d", again.Token(), l.Token())
	}
	again.Release(ctx)
}

// The trap of the store: an update without TTL makes a lease eternal. A lease
// must outlive its TTL by renewals, and end without them.
func TestLeaseRenewsAndExpires(t *testing.T) {
	t.Parallel()
	m := single(t)
	n := join(t, "n1", m)
	ctx := testContext(t)
	const ttl = 2 * time.Second
	l := mustAcquire(t, n, LeaseNode("n1"), LeaseOptions{TTL: ttl})
	held := time.Now()
	for time.Since(held) < ttl+ttl/2 {
		if h, err := m.Holder(ctx, LeaseNode("n1")); err != nil || h.Node != "n1" || !l.Valid() {
			t.Fatalf("after %v: %+v, %v, %v", time.Since(held), h, err, l.Err())
		}
		time.Sleep(20 * time.Millisecond)
	}
	killed := time.Now()
	n.Close() // without release
	if !lost(l) || l.Valid() {
		t.Error("a closed bus holds a lease")
	}
	next, err := m.Acquire(ctx, LeaseNode("n1"), LeaseOptions{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(killed); took > ttl+2*time.Second {
		t.Errorf("taken over after %v, TTL %v", took, ttl)
	}
	next.Release(ctx)
}

// A node that comes back under its own name does not wait for its former self.
func TestLeaseReplace(t *testing.T) {
	t.Parallel()
	m := single(t)
	n := join(t, "n1", m)
	ctx := testContext(t)
	old := mustAcquire(t, n, LeaseNode("n1"), LeaseOptions{TTL: 4 * time.Second, Info: "old"})
	refuse := LeaseOptions{Replace: func(h Holder) bool { return h.Info != "old" }}
	if _, err := m.TryAcquire(ctx, LeaseNode("n1"), refuse); !errors.Is(err, ErrHeld) {
		t.Fatalf("replaced against its will: %v", err)
	}
	l := mustAcquire(t, m, LeaseNode("n1"), LeaseOptions{Replace: func(h Holder) bool { return h.Info == "old" }})
	defer l.Release(ctx)
	select {
	case <-old.Lost():
		if !errors.Is(old.Err(), ErrLost) {
			t.Errorf("lost by %v", old.Err())
		}
	case <-ctx.Done():
		t.Fatal("the former holder does not notice")
	}
	if h, err := m.Holder(ctx, LeaseNode("n1")); err != nil || h.Node != "m1" {
		t.Errorf("holder %+v, %v", h, err)
	}
	if l.Token() <= old.Token() {
		t.Errorf("token %d after %d", l.Token(), old.Token())
	}
}

// A holder that does not know yet that it has a successor cannot write.
func TestFence(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) []*Bus{
		"one": func(t testing.TB) []*Bus { return []*Bus{single(t)} }, "three": three,
	} {
		t.Run(name, func(t *testing.T) {
			masters := start(t)
			first, second := masters[0], masters[len(masters)-1]
			ctx := testContext(t)
			o := LeaseOptions{Fence: BucketCluster}
			old := mustAcquire(t, first, LeaseLeader, o)
			for i := range 20 {
				if err := Put(ctx, old, fmt.Sprintf("plan.%d", i%3), note{N: i}); err != nil {
					t.Fatalf("write %d of the leader: %v", i, err)
				}
			}
			// The store ends the lease; the holder has not heard.
			kv, err := first.bucket(ctx, BucketLeases)
			if err != nil {
				t.Fatal(err)
			}
			if err := kv.Purge(ctx, LeaseLeader); err != nil {
				t.Fatal(err)
			}
			l, err := second.Acquire(ctx, LeaseLeader, o)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Release(ctx)
			if all, err := Guarded[note](ctx, l, "plan."); err != nil || len(all) != 3 || all["1"].N != 19 {
				t.Errorf("the successor reads %+v, %v", all, err)
			}
			if l.Token() != old.Token()+1 {
				t.Errorf("token %d after %d", l.Token(), old.Token())
			}
			if !old.Valid() {
				t.Fatal("the former leader knows already: the test shows nothing")
			}
			if err := Put(ctx, old, "plan.0", note{N: 99}); !errors.Is(err, ErrLost) {
				t.Errorf("the former leader wrote: %v", err)
			}
			if err := Put(ctx, old, "plan.new", note{N: 99}); !errors.Is(err, ErrLost) {
				t.Errorf("the former leader wrote what its successor has not: %v", err)
			}
			if err := Delete(ctx, old, "plan.1"); !errors.Is(err, ErrLost) {
				t.Errorf("the former leader deleted: %v", err)
			}
			if err := Put(ctx, l, "plan.0", note{N: 100}); err != nil {
				t.Errorf("the leader: %v", err)
			}
			if err := Delete(ctx, l, "plan.2"); err != nil {
				t.Errorf("the leader: %v", err)
			}
			want := map[string]int{"plan.0": 100, "plan.1": 19}
			eventually(t, "the records are the leader's", func() bool {
				got, err := NewRecords[note](second, BucketCluster, "").All(ctx)
				if err != nil {
					t.Fatal(err)
				}
				return len(got) == len(want) && got["plan.0"].N == want["plan.0"] && got["plan.1"].N == want["plan.1"]
			})
			old.Release(ctx)
			if !l.Valid() {
				t.Error("the release of the former leader ended the new one's")
			}
		})
	}
}

func TestFenceIsForMasters(t *testing.T) {
	n := join(t, "n1", single(t))
	if _, err := n.TryAcquire(testContext(t), LeaseJob("j"), LeaseOptions{Fence: BucketJobs}); !errors.Is(err, ErrDenied) {
		t.Fatalf("got %v", err)
	}
}

func TestLeaseTTLIsChecked(t *testing.T) {
	m := single(t)
	for _, ttl := range []time.Duration{-1, 1, 999 * time.Millisecond, 1500 * time.Millisecond} {
		if _, err := m.TryAcquire(testContext(t), "x", LeaseOptions{TTL: ttl}); err == nil {
			t.Errorf("TTL %v is accepted", ttl)
		}
	}
}

// Three masters campaign. One leader is stopped without a word, others step
// down. There is never more than one, and there always is a next one.
func TestCampaignHasOneLeader(t *testing.T) {
	t.Parallel()
	masters := three(t)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	var leading atomic.Int32
	leaders := make(chan *Lease, 10)
	stepDown := make(chan struct{})
	var running sync.WaitGroup
	for _, b := range masters {
		running.Go(func() {
			err := b.Campaign(ctx, LeaseLeader, LeaseOptions{TTL: 2 * time.Second, Fence: BucketCluster}, func(ctx context.Context, l *Lease) error {
				if n := leading.Add(1); n != 1 {
					t.Errorf("%d leaders", n)
				}
				defer leading.Add(-1)
				leaders <- l
				select {
				case <-ctx.Done():
				case <-stepDown:
				}
				return nil
			})
			if !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
				t.Errorf("campaign of %s: %v", b.Node(), err)
			}
		})
	}
	var former *Lease
	for round := range 4 {
		var l *Lease
		select {
		case l = <-leaders:
		case <-ctx.Done():
			t.Fatal("no leader")
		}
		if former != nil && l.Token() <= former.Token() {
			t.Errorf("round %d: token %d after %d", round, l.Token(), former.Token())
		}
		former = l
		if round == 0 {
			l.b.Close()
		} else {
			stepDown <- struct{}{}
		}
	}
	cancel()
	running.Wait()
}

// An error of the work ends the campaign; stepping down does not.
func TestCampaignEnds(t *testing.T) {
	t.Parallel()
	m := single(t)
	ctx := testContext(t)
	calls := 0
	failed := errors.New("failed")
	err := m.Campaign(ctx, LeaseLeader, LeaseOptions{}, func(context.Context, *Lease) error {
		if calls++; calls == 1 {
			return nil
		}
		return failed
	})
	if !errors.Is(err, failed) || calls != 2 {
		t.Fatalf("%d calls, %v", calls, err)
	}
	if _, err := m.Holder(ctx, LeaseLeader); !errors.Is(err, ErrNotFound) {
		t.Errorf("not released: %v", err)
	}
}
