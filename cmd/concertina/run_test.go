package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// beEnv makes the test binary another program: see TestMain.
const beEnv = "TEST_BE"

// beStubborn is a server that takes for ever to stop.
func beStubborn() {
	ctx, _ := untilSignal(context.Background(), os.Stderr)
	fmt.Println("up")
	<-ctx.Done()
	fmt.Println("stopping")
	select {}
}

// process is a child that is another program of this binary.
type process struct {
	*exec.Cmd
	t     *testing.T
	lines chan string
	errs  strings.Builder
}

func startProcess(t *testing.T, be string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	p := &process{Cmd: exec.CommandContext(ctx, os.Args[0], args...), t: t, lines: make(chan string, 100)}
	p.Env = append(os.Environ(), beEnv+"="+be)
	p.Stderr = &p.errs
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p
}

// find reads lines until one matches and returns its first group.
func (p *process) find(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for line := range p.lines {
		if m := re.FindStringSubmatch(line); m != nil {
			return m[len(m)-1]
		}
	}
	_ = p.Wait()
	p.t.Fatalf("the process ended without a line like %q; standard error:\n%s", pattern, &p.errs)
	return ""
}

// exit waits for the end and returns the exit code.
func (p *process) exit() int {
	p.t.Helper()
	for range p.lines {
	}
	err := p.Wait()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		p.t.Fatalf("%v; standard error:\n%s", err, &p.errs)
	}
	return p.ProcessState.ExitCode()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// One command, ready at once, ended by a signal with exit code 0.
func TestDevStartsAndStops(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			p := startProcess(t, "concertina", "dev", "--port", "0", "--rtc-udp-port", "0", "--rtc-tcp-port", "0")
			url := p.find(`(http://127\.0\.0\.1:\d+)/`)
			res, err := http.Get(url + "/healthz")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("/healthz answers %d", res.StatusCode)
			}
			p.signal(sig)
			if code := p.exit(); code != 0 {
				t.Errorf("exit code is %d; standard error:\n%s", code, &p.errs)
			}
			if _, err := http.Get(url + "/healthz"); err == nil {
				t.Error("it still answers")
			}
		})
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := startProcess(t, "concertina", "dev", "--port", port, "--rtc-udp-port", "0", "--rtc-tcp-port", "0")
	if code := p.exit(); code != 1 || !strings.Contains(p.errs.String(), "address already in use") {
		t.Errorf("exit code %d, standard error:\n%s", code, &p.errs)
	}
}

func TestSecondSignalForces(t *testing.T) {
	p := startProcess(t, "stubborn")
	p.find("up")
	p.signal(os.Interrupt)
	p.find("stopping")
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 1 {
		t.Errorf("exit code is %d", code)
	}
	if !strings.Contains(p.errs.String(), "once more to stop at once") {
		t.Errorf("standard error:\n%s", &p.errs)
	}
}
