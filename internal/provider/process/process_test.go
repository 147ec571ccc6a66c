//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/concertina-rtc/concertina/internal/provider"
	"github.com/concertina-rtc/concertina/internal/provider/providertest"
)

// The test binary is also the program that the provider runs: HELPER says what
// it does.
func TestMain(m *testing.M) {
	switch os.Getenv("HELPER") {
	case "":
		goleak.VerifyTestMain(m)
	case "node": // ends well when asked to
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("node", os.Getenv("CONCERTINA_PROVIDER_NODE"), "runs")
		<-stop
		fmt.Fprintln(os.Stderr, "node stops")
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "exit":
		code, _ := strconv.Atoi(os.Getenv("CODE"))
		os.Exit(code)
	case "family": // has a child in another session that ignores SIGTERM
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "HELPER=stubborn")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := child.StdoutPipe()
		if err != nil || child.Start() != nil {
			os.Exit(1)
		}
		_, _ = out.Read(make([]byte, 1)) // it ignores the signal from now on
		fmt.Println("child", child.Process.Pid)
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
	case "master": // a process with a provider, to be killed
		cfg := config(os.Getenv("DIR"), "node")
		cfg.DieWithParent = os.Getenv("DIE") != ""
		p, err := New(cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			for _, node := range []string{"n1", "n2"} {
				_, err = p.Launch(context.Background(), provider.Request{Node: node})
			}
		}
		fmt.Println("launched", err)
		select {}
	}
}

// config runs the helper with the given behaviour.
func config(dir, behaviour string, env ...string) Config {
	cfg := DefaultConfig()
	cfg.Dir, cfg.StopTimeout = dir, 5*time.Second
	cfg.Command = func(provider.Request) (Command, error) {
		// The race detector would make each process take a second to end.
		return Command{Path: os.Args[0], Env: append(os.Environ(), append(env, "GORACE=atexit_sleep_ms=0", "HELPER="+behaviour)...)}, nil
	}
	return cfg
}

func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func open(t testing.TB, cfg Config) *Provider {
	t.Helper()
	p, err := New(cfg, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.mu.Lock()
		for _, n := range p.nodes {
			if !n.rec.State.Ended() {
				_ = n.signal(syscall.SIGKILL)
			}
		}
		p.mu.Unlock()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func launch(t testing.TB, p *Provider, node string) provider.Instance {
	t.Helper()
	in, err := p.Launch(context.Background(), provider.Request{Node: node})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func instance(t testing.TB, p *Provider, node string) provider.Instance {
	t.Helper()
	all, err := p.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(in provider.Instance) bool { return in.Node == node })
	if i < 0 {
		return provider.Instance{}
	}
	return all[i]
}

func pidOf(t testing.TB, in provider.Instance) int {
	t.Helper()
	pid, _, _ := strings.Cut(in.ProviderID, "-")
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatalf("provider id %q: %v", in.ProviderID, err)
	}
	return n
}

func runs(pid int) bool {
	_, err := startOf(pid)
	return err == nil
}

func output(t testing.TB, p *Provider, node string) string {
	t.Helper()
	raw, err := os.ReadFile(p.Output(node))
	if err != nil {
		return ""
	}
	return string(raw)
}

func TestContract(t *testing.T) {
	for _, die := range []bool{false, true} {
		t.Run(fmt.Sprint("dies with parent ", die), func(t *testing.T) {
			providertest.Run(t, func(t *testing.T) *providertest.Subject {
				cfg := config(t.TempDir(), "node")
				cfg.DieWithParent = die
				p := open(t, cfg)
				return &providertest.Subject{
					Provider: p,
					Reopen: func() provider.Provider {
						if err := p.Close(); err != nil {
							t.Fatal(err)
						}
						p = open(t, cfg)
						return p
					},
					Crash: func(in provider.Instance) {
						if err := syscall.Kill(pidOf(t, in), syscall.SIGKILL); err != nil {
							t.Fatal(err)
						}
					},
				}
			})
		})
	}
}

func TestOutputAndGroup(t *testing.T) {
	p := open(t, config(t.TempDir(), "node"))
	in := launch(t, p, "n1")
	if in.State != provider.Running || in.Address != "127.0.0.1" || in.Offer != "process" {
		t.Errorf("%+v", in)
	}
	if group, err := syscall.Getpgid(pidOf(t, in)); err != nil || group != pidOf(t, in) {
		t.Errorf("process group %d, %v", group, err)
	}
	eventually(t, "the node has printed", func() bool { return strings.Contains(output(t, p, "n1"), "node n1 runs") })
	if err := p.Terminate(t.Context(), "n1", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it ends", func() bool { return instance(t, p, "n1").State == provider.Terminated })
	if !strings.Contains(output(t, p, "n1"), "node stops") {
		t.Errorf("output %q: it was killed", output(t, p, "n1"))
	}
}

// A process that leaves by itself was drained; one that fails has failed.
func TestExit(t *testing.T) {
	for code, want := range map[string]provider.Instance{
		"0": {State: provider.Terminated, Reason: "exit status 0"},
		"3": {State: provider.Failed, Reason: "exit status 3"},
	} {
		p := open(t, config(t.TempDir(), "exit", "CODE="+code))
		launch(t, p, "n1")
		eventually(t, "it has ended", func() bool { return instance(t, p, "n1").State.Ended() })
		if in := instance(t, p, "n1"); in.State != want.State || in.Reason != want.Reason {
			t.Errorf("code %s: %+v", code, in)
		}
	}
}

func TestKilledAfterStopTimeout(t *testing.T) {
	cfg := config(t.TempDir(), "stubborn")
	cfg.StopTimeout = 200 * time.Millisecond
	p := open(t, cfg)
	launch(t, p, "n1")
	eventually(t, "it is deaf", func() bool { return strings.Contains(output(t, p, "n1"), "ready") })
	start := time.Now()
	if err := p.Terminate(t.Context(), "n1", ""); err != nil {
		t.Fatal(err)
	}
	if in := instance(t, p, "n1"); in.State != provider.Stopping {
		t.Errorf("%+v", in)
	}
	eventually(t, "it ends", func() bool { return instance(t, p, "n1").State == provider.Terminated })
	if took := time.Since(start); took < cfg.StopTimeout {
		t.Errorf("killed after %v", took)
	}
	if in := instance(t, p, "n1"); !strings.Contains(in.Reason, "killed") {
		t.Errorf("%+v", in)
	}
}

// The SIGKILL that is due is not forgotten by a restart.
func TestKillGoesOnAfterRestart(t *testing.T) {
	cfg := config(t.TempDir(), "stubborn")
	cfg.StopTimeout = 300 * time.Millisecond
	p := open(t, cfg)
	in := launch(t, p, "n1")
	eventually(t, "it is deaf", func() bool { return strings.Contains(output(t, p, "n1"), "ready") })
	if err := p.Terminate(t.Context(), "n1", ""); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = open(t, cfg)
	eventually(t, "it ends", func() bool { return instance(t, p, "n1").State == provider.Terminated })
	if runs(pidOf(t, in)) {
		t.Error("it runs")
	}
}

// What a node has started ends with it, even in another session.
func TestNothingIsLeftBehind(t *testing.T) {
	for _, how := range []string{"terminate", "crash", "crash while nobody watches"} {
		t.Run(how, func(t *testing.T) {
			cfg := config(t.TempDir(), "family")
			p := open(t, cfg)
			in := launch(t, p, "n1")
			child := 0
			eventually(t, "it has a child", func() bool {
				_, err := fmt.Sscanf(output(t, p, "n1"), "child %d\n", &child)
				return err == nil
			})
			if !runs(child) {
				t.Fatal("the child does not run: the test shows nothing")
			}
			switch how {
			case "terminate":
				if err := p.Terminate(t.Context(), "n1", ""); err != nil {
					t.Fatal(err)
				}
			case "crash":
				if err := syscall.Kill(pidOf(t, in), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			default:
				if err := p.Close(); err != nil {
					t.Fatal(err)
				}
				if err := syscall.Kill(pidOf(t, in), syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				eventually(t, "it has ended", func() bool { return !runs(pidOf(t, in)) })
				p = open(t, cfg)
			}
			eventually(t, "the child ends", func() bool { return !runs(child) })
			eventually(t, "the node has ended", func() bool { return instance(t, p, "n1").State.Ended() })
		})
	}
}

// startMaster runs a process with a provider and two nodes.
func startMaster(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, "HELPER=master", "DIR="+dir)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line := make([]byte, 100)
	n, err := io.ReadAtLeast(out, line, len("launched <nil>"))
	if err != nil || !strings.HasPrefix(string(line[:n]), "launched <nil>") {
		t.Fatalf("%q, %v", line[:n], err)
	}
	return cmd
}

func savedPID(t *testing.T, dir, node string) int {
	t.Helper()
	r, err := loadRecord(dir, node)
	if err != nil {
		t.Fatal(err)
	}
	return r.PID
}

// kill -9 of the master: its nodes live on and are adopted by the next one.
func TestAdoptionAfterKill(t *testing.T) {
	dir := t.TempDir()
	master := startMaster(t, dir)
	if _, err := New(config(dir, "node"), testLog(t)); !errors.Is(err, ErrBusy) {
		t.Errorf("a second provider: %v", err)
	}
	pids := []int{savedPID(t, dir, "n1"), savedPID(t, dir, "n2")}
	if err := master.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = master.Wait()
	for _, pid := range pids {
		if !runs(pid) {
			t.Fatalf("process %d ended with its master", pid)
		}
	}
	if err := syscall.Kill(pids[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n2 has ended", func() bool { return !runs(pids[1]) })
	p := open(t, config(dir, "node"))
	if in := instance(t, p, "n1"); in.State != provider.Running || pidOf(t, in) != pids[0] {
		t.Errorf("n1 %+v", in)
	}
	if in := instance(t, p, "n2"); in.State != provider.Failed || in.Reason == "" {
		t.Errorf("n2 %+v", in)
	}
	if err := p.Terminate(t.Context(), "n1", ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n1 ends", func() bool { return instance(t, p, "n1").State == provider.Terminated && !runs(pids[0]) })
}

// The master was killed after it had started the process and before it had
// written that down.
func TestAdoptionWithoutProcessID(t *testing.T) {
	if _, err := markedProcesses("/"); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("environments of processes cannot be read on this system")
	}
	dir := t.TempDir()
	master := startMaster(t, dir)
	pid := savedPID(t, dir, "n1")
	if err := master.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = master.Wait()
	for _, node := range []string{"n1", "never"} {
		if err := os.MkdirAll(filepath.Join(dir, node), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := (record{Node: node, State: provider.Pending, LaunchedAt: time.Now()}).save(dir); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "n2")); err != nil { // lost for good
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := open(t, config(dir, "node"))
	if in := instance(t, p, "n1"); in.State != provider.Running || pidOf(t, in) != pid {
		t.Errorf("n1 %+v, process %d", in, pid)
	}
	if in := instance(t, p, "never"); in.Node != "" {
		t.Errorf("a process that was never started: %+v", in)
	}
	eventually(t, "n2, which nobody knows, ends", func() bool {
		all, err := markedProcesses(dir)
		return err == nil && len(all["n2"]) == 0 && len(all["n1"]) == 1
	})
	launch(t, p, "never")
	launch(t, p, "empty")
}

// A record that cannot be read does not keep the others from being adopted.
func TestBrokenRecord(t *testing.T) {
	dir := t.TempDir()
	master := startMaster(t, dir)
	pid := savedPID(t, dir, "n2")
	if err := master.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = master.Wait()
	if err := os.WriteFile(recordFile(dir, "n2"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(t, config(dir, "node"))
	if in := instance(t, p, "n1"); in.State != provider.Running {
		t.Errorf("n1 %+v", in)
	}
	eventually(t, "n2 ends", func() bool { return !runs(pid) })
}

// A recorded number that belongs to another process by now is left alone.
func TestProcessNumberOfAnother(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "n1"), 0o700); err != nil {
		t.Fatal(err)
	}
	other := exec.Command("sleep", "3600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	r := record{Node: "n1", State: provider.Stopping, LaunchedAt: time.Now(), PID: other.Process.Pid, Start: "boot-1", KillAt: time.Now()}
	if err := r.save(dir); err != nil {
		t.Fatal(err)
	}
	p := open(t, config(dir, "node"))
	if in := instance(t, p, "n1"); in.State != provider.Terminated {
		t.Errorf("%+v", in)
	}
	if err := p.Terminate(t.Context(), "n1", ""); err != nil {
		t.Fatal(err)
	}
	if !runs(other.Process.Pid) {
		t.Error("somebody else's process was ended")
	}
}

// With DieWithParent the kernel ends the nodes when the master is killed.
func TestDieWithParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel does not do that here")
	}
	dir := t.TempDir()
	master := startMaster(t, dir, "DIE=1")
	pids := []int{savedPID(t, dir, "n1"), savedPID(t, dir, "n2")}
	// Its threads come and go; only the end of the process counts.
	for _, pid := range pids {
		if !runs(pid) {
			t.Fatalf("%d has ended already", pid)
		}
	}
	if err := master.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = master.Wait()
	for _, pid := range pids {
		eventually(t, "the node ends", func() bool { return !runs(pid) })
	}
}

func TestLimits(t *testing.T) {
	cfg := config(t.TempDir(), "exit", "CODE=0")
	cfg.Max, cfg.Keep = 1, 2
	p := open(t, cfg)
	for i := range 5 {
		node := fmt.Sprint("n", i)
		launch(t, p, node)
		eventually(t, "it has ended", func() bool { return instance(t, p, node).State.Ended() })
	}
	all, err := p.List(t.Context())
	if err != nil || len(all) != cfg.Keep {
		t.Errorf("%d nodes are kept, %v", len(all), err)
	}
	if entries, err := filepath.Glob(filepath.Join(cfg.Dir, "n*")); err != nil || len(entries) != cfg.Keep {
		t.Errorf("directories %v, %v", entries, err)
	}

	cfg = config(t.TempDir(), "node")
	cfg.Max = 1
	p = open(t, cfg)
	launch(t, p, "n1")
	if _, err := p.Launch(t.Context(), provider.Request{Node: "n2"}); !errors.Is(err, provider.ErrCapacity) {
		t.Errorf("one too many: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	cfg := config(t.TempDir(), "node")
	command := Command{Path: "/does/not/exist"}
	var fails error
	cfg.Command = func(provider.Request) (Command, error) { return command, fails }
	p := open(t, cfg)
	if _, err := p.Launch(t.Context(), provider.Request{Node: "n1"}); !errors.Is(err, provider.ErrInvalid) {
		t.Errorf("no such program: %v", err)
	}
	fails = errors.New("no port is free")
	if _, err := p.Launch(t.Context(), provider.Request{Node: "n1"}); !errors.Is(err, fails) {
		t.Errorf("no command: %v", err)
	}
	fails, command = nil, Command{Path: os.Args[0], Env: []string{"HELPER=node"}}
	launch(t, p, "n1") // the id was not used up

	for name, change := range map[string]func(*Config){
		"relative": func(c *Config) { c.Dir = "x" }, "no command": func(c *Config) { c.Command = nil },
		"no CPUs": func(c *Config) { c.Offer.CPUs = 0 }, "no timeout": func(c *Config) { c.StopTimeout = 0 },
	} {
		bad := config(t.TempDir(), "node")
		change(&bad)
		if p, err := New(bad, testLog(t)); err == nil {
			_ = p.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"node":"n1","state":"running","pid":7,"start":"boot-1"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := parseRecord(data, "n1"); err == nil && (r.PID < 0 || r.PID == 1 || r.Node != "n1") {
			t.Fatalf("%+v", r)
		}
	})
}
