package bus

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"
)

func TestRecords(t *testing.T) {
	m := single(t)
	n := join(t, "n1", m)
	ctx := testContext(t)
	r := NewRecords[note](m, BucketJobs, "egress.")
	if _, _, err := r.Get(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("get nothing: %v", err)
	}
	if err := r.Delete(ctx, "a", 0); err != nil {
		t.Errorf("delete nothing: %v", err)
	}
	rev, err := r.Create(ctx, "a", note{N: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Create(ctx, "a", note{N: 2}); !errors.Is(err, ErrExists) {
		t.Errorf("create again: %v", err)
	}
	if _, err := r.Update(ctx, "a", note{N: 2}, rev+1); !errors.Is(err, ErrConflict) {
		t.Errorf("update of another revision: %v", err)
	}
	if rev, err = r.Update(ctx, "a", note{N: 3}, rev); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(ctx, "a", rev-1); !errors.Is(err, ErrConflict) {
		t.Errorf("delete of another revision: %v", err)
	}
	if _, err := r.Put(ctx, "b", note{N: 4}); err != nil {
		t.Fatal(err)
	}
	if _, err := NewRecords[note](m, BucketJobs, "ingress.").Put(ctx, "c", note{N: 5}); err != nil {
		t.Fatal(err)
	}
	// A media node reads.
	far := NewRecords[note](n, BucketJobs, "egress.")
	if v, got, err := far.Get(ctx, "a"); err != nil || v.N != 3 || got != rev {
		t.Errorf("got %+v at %d, %v", v, got, err)
	}
	all, err := far.All(ctx)
	if err != nil || !slices.Equal(slices.Sorted(maps.Keys(all)), []string{"a", "b"}) || all["b"].N != 4 {
		t.Errorf("all %+v, %v", all, err)
	}
	if err := r.Delete(ctx, "a", rev); err != nil {
		t.Fatal(err)
	}
	if all, err := r.All(ctx); err != nil || len(all) != 1 {
		t.Errorf("all %+v, %v", all, err)
	}
	if _, err := r.Create(ctx, "a", note{N: 6}); err != nil {
		t.Errorf("create after delete: %v", err)
	}
	if _, err := NewRecords[note](m, "nonsense", "").Put(ctx, "a", note{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown bucket: %v", err)
	}
}

func TestWatch(t *testing.T) {
	m := single(t)
	n := join(t, "n1", m)
	ctx := testContext(t)
	r := NewRecords[note](m, BucketCluster, "")
	if _, err := r.Put(ctx, "nodes.a", note{N: 1}); err != nil {
		t.Fatal(err)
	}
	changes := make(chan Change[note], 100)
	w, err := NewRecords[note](n, BucketCluster, "").Watch(ctx, func(c Change[note]) { changes <- c })
	if err != nil {
		t.Fatal(err)
	}
	next := func() Change[note] {
		t.Helper()
		select {
		case c := <-changes:
			return c
		case <-ctx.Done():
			t.Fatal("nothing is told")
			return Change[note]{}
		}
	}
	if c := next(); c.Key != "nodes.a" || c.Value == nil || c.Value.N != 1 || c.Revision == 0 {
		t.Fatalf("got %+v", c) // and not our own keys
	}
	if c := next(); !c.Synced {
		t.Fatalf("got %+v", c)
	}
	l := mustAcquire(t, m, LeaseLeader, LeaseOptions{Fence: BucketCluster}) // a private key is written
	defer l.Release(ctx)
	if err := Put(ctx, l, "nodes.b", note{N: 2}); err != nil {
		t.Fatal(err)
	}
	if c := next(); c.Key != "nodes.b" || c.Value.N != 2 {
		t.Fatalf("got %+v", c)
	}
	// What cannot be read is skipped.
	if _, err := NewRecords[string](m, BucketCluster, "").Put(ctx, "nodes.c", "text"); err != nil {
		t.Fatal(err)
	}
	if err := Delete(ctx, l, "nodes.a"); err != nil {
		t.Fatal(err)
	}
	if c := next(); c.Key != "nodes.a" || c.Value != nil || c.Synced {
		t.Fatalf("got %+v", c)
	}
	w.Stop()
	w.Stop()
	if err := Put(ctx, l, "nodes.d", note{}); err != nil {
		t.Fatal(err)
	}
	if len(changes) != 0 {
		t.Errorf("told after the stop: %+v", <-changes)
	}
}

// The end of a lease, by release and by time, is told to who watches.
func TestWatchLease(t *testing.T) {
	t.Parallel()
	m := single(t)
	n := join(t, "n1", m)
	ctx := testContext(t)
	changes := make(chan Change[Holder], 100)
	w, err := NewRecords[Holder](m, BucketLeases, "node.").Watch(ctx, func(c Change[Holder]) { changes <- c })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	until := func(what string, ok func(Change[Holder]) bool) {
		t.Helper()
		for {
			select {
			case c := <-changes:
				if ok(c) {
					return
				}
			case <-ctx.Done():
				t.Fatal(what, "is not told")
			}
		}
	}
	held := func(c Change[Holder]) bool { return c.Key == "n1" && c.Value != nil && c.Value.Node == "n1" }
	gone := func(c Change[Holder]) bool { return c.Key == "n1" && c.Value == nil }
	until("sync", func(c Change[Holder]) bool { return c.Synced })
	l := mustAcquire(t, n, LeaseNode("n1"), LeaseOptions{TTL: time.Second})
	until("the lease", held)
	l.Release(ctx)
	until("the release", gone)
	mustAcquire(t, n, LeaseNode("n1"), LeaseOptions{TTL: time.Second})
	until("the second lease", held)
	n.Close()
	until("the end", gone)
}

func TestPresence(t *testing.T) {
	t.Parallel()
	masters := three(t)
	early := join(t, "early", masters[2])
	ctx := testContext(t)
	type seen struct {
		Presence
		at time.Time
	}
	told := make(chan seen, 100)
	for _, m := range masters[:2] {
		if err := m.WatchPresence(ctx, func(p Presence) {
			if m == masters[0] {
				told <- seen{p, time.Now()}
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	next := func() seen {
		t.Helper()
		select {
		case s := <-told:
			return s
		case <-ctx.Done():
			t.Fatal("nothing is told")
			return seen{}
		}
	}
	if s := next(); s.Node != "early" || !s.Connected {
		t.Fatalf("got %+v", s) // it was there before
	}
	late := join(t, "late", masters[1])
	if s := next(); s.Node != "late" || !s.Connected {
		t.Fatalf("got %+v", s)
	}
	for _, n := range []*Bus{early, late} {
		start := time.Now()
		n.conn.nc.Close() // as when the process dies: the kernel closes the connection
		if s := next(); s.Node != n.Node() || s.Connected || s.Reason == "" || s.at.Sub(start) > time.Second {
			t.Fatalf("got %+v after %v", s, s.at.Sub(start))
		} else {
			t.Log(s.Reason, "after", s.at.Sub(start))
		}
		n.Close()
	}
	// A node that connects anew before its old connection has ended is not gone.
	a := join(t, "twice", masters[0])
	if s := next(); s.Node != "twice" || !s.Connected {
		t.Fatalf("got %+v", s)
	}
	b := join(t, "twice", masters[1])
	a.Close()
	last := join(t, "last", masters[0])
	if s := next(); s.Node != "last" {
		t.Fatalf("got %+v", s)
	}
	b.Close()
	if s := next(); s.Node != "twice" || s.Connected {
		t.Fatalf("got %+v", s)
	}
	_ = last
}

func TestPresenceIgnoresWhatItDoesNotKnow(t *testing.T) {
	p := &presence{nodes: map[string]client{}, handle: func(p Presence) { t.Errorf("told %+v", p) }}
	for _, c := range []struct {
		subject, data string
		bad           bool
	}{
		{"$SYS.ACCOUNT.$G.CONNECT", `{`, true},
		{"$SYS.ACCOUNT.$G.CONNECT", `{}`, false},
		{"$SYS.ACCOUNT.$G.CONNECT", `{"client":{"name":"master m1","id":1}}`, false},
		{"$SYS.ACCOUNT.$G.DISCONNECT", `{"client":{"name":"node n1","id":1}}`, false},
		{"$SYS.ACCOUNT.$G.SERVER.CONNS", `{`, false},
		{"CONNECT", `{"client":{"name":"node a.b","id":1}}`, false},
	} {
		if err := p.event(c.subject, []byte(c.data)); (err != nil) != c.bad {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := p.list([]byte(`[`), time.Now()); !errors.Is(err, ErrMalformed) {
		t.Errorf("list: %v", err)
	}
}
