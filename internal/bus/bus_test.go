package bus

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testJoin  = Secret("join-secret-of-tests")
	testRoute = Secret("route-secret-of-tests")
)

// logs is a log to look into, which also shows on failure.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// count returns how many lines have all of the texts.
func (l *logs) count(texts ...string) (n int) {
lines:
	for line := range strings.Lines(l.String()) {
		for _, t := range texts {
			if !strings.Contains(line, t) {
				continue lines
			}
		}
		n++
	}
	return n
}

func newLogs(t testing.TB) (*logs, *slog.Logger) {
	l := &logs{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("\n" + l.String())
		}
		for _, secret := range []Secret{testJoin, testRoute} {
			if strings.Contains(l.String(), string(secret)) {
				t.Errorf("the log has a secret:\n%s", l)
			}
		}
	})
	return l, slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func masterConfig(t testing.TB, id string) Config {
	cfg := DefaultConfig()
	cfg.Node, cfg.Role, cfg.JoinSecret = id, cluster.RoleMaster, testJoin
	cfg.Server.Listen, cfg.Server.DataDir = "127.0.0.1:0", t.TempDir()
	return cfg
}

func nodeConfig(id string, masters ...string) Config {
	cfg := DefaultConfig()
	cfg.Node, cfg.Role, cfg.JoinSecret, cfg.Masters = id, cluster.RoleMedia, testJoin, masters
	return cfg
}

func mustOpen(t testing.TB, cfg Config) *Bus {
	t.Helper()
	_, log := newLogs(t)
	b, err := Open(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func mustReady(t testing.TB, buses ...*Bus) {
	t.Helper()
	ctx := testContext(t)
	for _, b := range buses {
		if err := b.Ready(ctx); err != nil {
			t.Fatalf("%s: %v", b.Node(), err)
		}
	}
}

// single starts one master.
func single(t testing.TB) *Bus {
	t.Helper()
	b := mustOpen(t, masterConfig(t, "m1"))
	mustReady(t, b)
	return b
}

// join starts a media node of the masters.
func join(t testing.TB, id string, masters ...*Bus) *Bus {
	t.Helper()
	var addresses []string
	for _, m := range masters {
		addresses = append(addresses, m.Address())
	}
	b := mustOpen(t, nodeConfig(id, addresses...))
	mustReady(t, b)
	return b
}

// nextPort counts through ports below those that the kernel hands out, so that
// a port stays free between the question and the server's start.
var nextPort atomic.Int32

// freeAddresses returns addresses that are free now.
func freeAddresses(t testing.TB, n int) (out []string) {
	t.Helper()
	for len(out) < n {
		port := 10_000 + (int32(os.Getpid())*101+nextPort.Add(1))%20_000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		out = append(out, l.Addr().String())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// threeConfigs configures three masters.
func threeConfigs(t testing.TB) (out []Config) {
	t.Helper()
	addresses := freeAddresses(t, 6)
	for i := range 3 {
		cfg := masterConfig(t, fmt.Sprintf("m%d", i+1))
		cfg.Server.Listen = addresses[3+i]
		cfg.Server.Masters, cfg.Server.RouteSecret = 3, testRoute
		cfg.Server.RouteListen, cfg.Server.Routes = addresses[i], addresses[:3]
		out = append(out, cfg)
	}
	return out
}

func three(t testing.TB) []*Bus {
	t.Helper()
	var out []*Bus
	for _, cfg := range threeConfigs(t) {
		out = append(out, mustOpen(t, cfg))
	}
	mustReady(t, out...)
	return out
}

type note struct {
	Text string `json:"text"`
	N    int    `json:"n"`
}

func TestSingleMasterAndNode(t *testing.T) {
	m := single(t)
	n := join(t, "n1", m)

	got := make(chan Message[note], 1)
	sub, err := Subscribe(m, AllNodeLoads, func(v Message[note]) { got <- v })
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Stop()
	eventually(t, "the load arrives", func() bool {
		if err := Publish(n, NodeLoad("n1"), note{"load", 7}); err != nil {
			t.Fatal(err)
		}
		select {
		case v := <-got:
			if v.Value != (note{"load", 7}) || NodeOf(v.Subject) != "n1" {
				t.Fatalf("got %+v", v)
			}
			return true
		case <-time.After(10 * time.Millisecond):
			return false
		}
	})
}

func TestThreeMasters(t *testing.T) {
	t.Parallel()
	start := time.Now()
	m := three(t)
	t.Log("ready after", time.Since(start))
	ctx := testContext(t)
	rec := NewRecords[note](m[0], BucketRooms, "")
	if _, err := rec.Create(ctx, "a", note{Text: "x"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every master has it", func() bool {
		for _, b := range m {
			if v, _, err := NewRecords[note](b, BucketRooms, "").Get(ctx, "a"); err != nil || v.Text != "x" {
				return false
			}
		}
		return true
	})
}
