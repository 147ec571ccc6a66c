package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fill writes state of every kind and returns the leader's token.
func fill(t testing.TB, m *Bus) uint64 {
	t.Helper()
	ctx := testContext(t)
	var token uint64
	for range 3 { // three leaders so far
		l := mustAcquire(t, m, LeaseLeader, LeaseOptions{Fence: BucketCluster})
		if err := Put(ctx, l, "nodes.n1", note{Text: "node"}); err != nil {
			t.Fatal(err)
		}
		token = l.Token()
		l.Release(ctx)
	}
	rooms := NewRecords[note](m, BucketRooms, "")
	for i := range 20 {
		if _, err := rooms.Put(ctx, Token(fmt.Sprintf("room %d", i)), note{N: i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := rooms.Delete(ctx, Token("room 7"), 0); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if err := m.EmitWait(ctx, "kind", fmt.Sprint("id", i), note{N: i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.PrepareQueue(ctx, DefaultQueue("q")); err != nil {
		t.Fatal(err)
	}
	if err := Submit(ctx, m, "q", "task", note{N: 5}); err != nil {
		t.Fatal(err)
	}
	if err := m.bury(ctx, "q", "dead", []byte("J\x01{}"), "too old"); err != nil {
		t.Fatal(err)
	}
	return token
}

// checkFilled compares with what fill wrote.
func checkFilled(t testing.TB, m *Bus, token uint64) {
	t.Helper()
	ctx := testContext(t)
	eventually(t, "the rooms are there", func() bool {
		rooms, err := NewRecords[note](m, BucketRooms, "").All(ctx)
		return err == nil && len(rooms) == 19 && rooms[Token("room 3")].N == 3
	})
	for i, e := range readUntil(t, m, 0, 30) {
		v, err := Value[note](e)
		if err != nil || v.N != i || e.ID != fmt.Sprint("id", i) || e.Node != "m1" {
			t.Fatalf("event %d: %+v, %+v, %v", i, e, v, err)
		}
	}
	eventually(t, "the dead task is there", func() bool {
		dead, err := m.DeadTasks(ctx, "q")
		return err == nil && len(dead) == 1 && dead[0].ID == "dead" && dead[0].Reason == "too old"
	})
	l := mustAcquire(t, m, LeaseLeader, LeaseOptions{Fence: BucketCluster})
	if l.Token() <= token {
		t.Errorf("token %d after %d: nodes would refuse the leader", l.Token(), token)
	}
	if all, err := Guarded[note](ctx, l, "nodes."); err != nil || len(all) != 1 || all["n1"].Text != "node" {
		t.Errorf("nodes %+v, %v", all, err)
	}
	if err := Put(ctx, l, "nodes.n2", note{}); err != nil {
		t.Error(err)
	}
	l.Release(ctx)
	if err := m.PrepareQueue(ctx, DefaultQueue("q")); err != nil {
		t.Fatal(err)
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	did := 0
	err := Work(work, m, DefaultQueue("q"), 1, func(_ context.Context, task Task[note]) error {
		if did++; task.ID != "task" || task.Value.N != 5 {
			t.Errorf("task %+v", task)
		}
		stop()
		return nil
	})
	if did != 1 {
		t.Errorf("%d tasks, %v", did, err)
	}
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	a := single(t)
	ctx := testContext(t)
	token := fill(t, a)
	var out bytes.Buffer
	if err := a.Export(ctx, &out); err != nil {
		t.Fatal(err)
	}
	if n, err := ReadState(bytes.NewReader(out.Bytes())); err != nil || n != 19+2+1+30+2 {
		t.Errorf("%d entries, %v", n, err)
	}
	if err := a.Import(ctx, bytes.NewReader(out.Bytes())); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("import over state: %v", err)
	}
	was, err := a.Origin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	masters := three(t)
	cut := out.Bytes()[:out.Len()-10]
	if err := masters[1].Import(ctx, bytes.NewReader(cut)); !errors.Is(err, ErrMalformed) {
		t.Errorf("import of half: %v", err)
	}
	if err := masters[1].Import(ctx, bytes.NewReader(out.Bytes())); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster has its former id everywhere", func() bool {
		is, err := masters[0].Origin(ctx)
		return err == nil && is.Cluster == was.Cluster
	})
	checkFilled(t, masters[2], token)
}

// A single master is configured to be one of three and brings its state along.
// The others wait for it and do not take the cluster for empty.
func TestGrowth(t *testing.T) {
	t.Parallel()
	cfgs := threeConfigs(t)
	alone := cfgs[0]
	alone.Server.Masters, alone.Server.Routes = 1, nil
	m := mustOpen(t, alone)
	mustReady(t, m)
	token := fill(t, m)
	was, err := m.Origin(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	m.Close()

	others := []*Bus{mustOpen(t, cfgs[1]), mustOpen(t, cfgs[2])}
	short, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	if err := others[0].Ready(short); !errors.Is(err, ErrOutage) {
		t.Fatalf("two of three new masters began without the third: %v", err)
	}
	cancel()
	m = mustOpen(t, cfgs[0])
	mustReady(t, m, others[0], others[1])
	if is, err := others[0].Origin(testContext(t)); err != nil || is.Cluster != was.Cluster {
		t.Errorf("cluster %+v became %+v, %v", was, is, err)
	}
	checkFilled(t, others[1], token)
	for _, name := range []string{"single.exported", "growth.jsonl.done"} {
		if !exists(filepath.Join(cfgs[0].Server.DataDir, name)) {
			t.Errorf("%s is not kept", name)
		}
	}
	// The next start is an ordinary one.
	m.Close()
	m = mustOpen(t, cfgs[0])
	mustReady(t, m)
	if is, err := m.Origin(testContext(t)); err != nil || is.Cluster != was.Cluster {
		t.Errorf("cluster %+v became %+v, %v", was, is, err)
	}
	m.Close()

	// Back to one: refused, with a word on what to do.
	_, log := newLogs(t)
	if b, err := Open(alone, log); !errors.Is(err, ErrShrink) {
		if err == nil {
			b.Close()
		}
		t.Errorf("shrink: %v", err)
	}
}

// The growth is interrupted after the export; the next start goes on.
func TestGrowthGoesOn(t *testing.T) {
	t.Parallel()
	cfgs := threeConfigs(t)
	alone := cfgs[0]
	alone.Server.Masters, alone.Server.Routes = 1, nil
	m := mustOpen(t, alone)
	mustReady(t, m)
	token := fill(t, m)
	m.Close()
	_, log := newLogs(t)
	g, err := prepareGrowth(testContext(t), cfgs[0], log)
	if err != nil || g == nil {
		t.Fatalf("%v, %v", g, err)
	}
	var masters []*Bus
	for _, cfg := range cfgs {
		masters = append(masters, mustOpen(t, cfg))
	}
	mustReady(t, masters...)
	checkFilled(t, masters[1], token)
}

// A second master with a past of its own joins: the cluster's state stays.
func TestGrowthOfTwoPasts(t *testing.T) {
	t.Parallel()
	cfgs := threeConfigs(t)
	for i := range 2 {
		alone := cfgs[i]
		alone.Server.Masters, alone.Server.Routes = 1, nil
		m := mustOpen(t, alone)
		mustReady(t, m)
		if _, err := NewRecords[note](m, BucketRooms, "").Put(testContext(t), fmt.Sprint("room", i), note{}); err != nil {
			t.Fatal(err)
		}
		m.Close()
	}
	var masters []*Bus
	for _, cfg := range cfgs {
		masters = append(masters, mustOpen(t, cfg))
	}
	mustReady(t, masters...)
	rooms, err := NewRecords[note](masters[2], BucketRooms, "").All(testContext(t))
	if err != nil || len(rooms) != 1 {
		t.Errorf("rooms %v, %v: a mixture of two clusters", rooms, err)
	}
	unused := 0
	for _, cfg := range cfgs[:2] {
		if exists(filepath.Join(cfg.Server.DataDir, "growth.jsonl.unused")) {
			unused++
		}
	}
	if unused != 1 {
		t.Errorf("%d states kept aside", unused)
	}
}

func TestReadStateRefuses(t *testing.T) {
	const head, end = `{"format":"concertina state 1","at":"2026-01-01T00:00:00Z"}` + "\n", `{"end":1}` + "\n"
	const record = `{"bucket":"rooms","key":"a","value":"SgF7fQ=="}` + "\n"
	const event = `{"stream":"EVENTS","subject":"event.n1.kind","id":"x","value":"SgF7fQ=="}` + "\n"
	for _, good := range []string{head + record + end, head + event + end, head + `{"end":0}`} {
		if _, err := ReadState(strings.NewReader(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for name, bad := range map[string]string{
		"empty":          "",
		"no header":      record + end,
		"other format":   `{"format":"concertina state 2"}` + "\n" + record + end,
		"no end":         head + record,
		"too few":        head + end,
		"after the end":  head + record + end + record,
		"no JSON":        head + "{" + "\n" + end,
		"second header":  head + head + end,
		"unknown bucket": head + strings.Replace(record, "rooms", "leases", 1) + end,
		"bad key":        head + strings.Replace(record, `"a"`, `"a.>"`, 1) + end,
		"no key":         head + strings.Replace(record, `"a"`, `""`, 1) + end,
		"unknown stream": head + strings.Replace(event, "EVENTS", "KV_rooms", 1) + end,
		"bad subject":    head + strings.Replace(event, "event.n1.kind", "$SYS.x.y", 1) + end,
		"both":           head + strings.Replace(event, `"stream"`, `"bucket":"rooms","key":"a","stream"`, 1) + end,
		"neither":        head + `{"value":"SgF7fQ=="}` + "\n" + end,
		"bad value":      head + strings.Replace(record, "SgF7fQ==", "SgL=", 1) + end,
		"newer value":    head + strings.Replace(record, "SgF7fQ==", "SgJ7fQ==", 1) + end,
		"long line":      head + `{"id":"` + strings.Repeat("x", maxStateLine) + `"}` + end,
	} {
		if _, err := ReadState(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzReadState(f *testing.F) {
	f.Add([]byte(`{"format":"concertina state 1"}` + "\n" + `{"bucket":"rooms","key":"a","value":"SgF7fQ=="}` + "\n" + `{"end":1}`))
	f.Add([]byte(`{"format":"concertina state 1"}` + "\n" + `{"stream":"WORK","subject":"work.q","value":"SgF7fQ=="}` + "\n" + `{"end":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries := 0
		n, err := readState(bytes.NewReader(data), func(l stateLine) error {
			entries++
			return l.check()
		})
		if err == nil && n != entries {
			t.Fatalf("%d entries told, %d returned", entries, n)
		}
	})
}

// A data directory that cannot be written is an error at once.
func TestDataDirectory(t *testing.T) {
	cfg := masterConfig(t, "m1")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Server.DataDir = file
	_, log := newLogs(t)
	if b, err := Open(cfg, log); err == nil {
		b.Close()
		t.Error("opened")
	}
}
