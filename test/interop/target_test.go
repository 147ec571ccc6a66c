package interop

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/concertina-rtc/concertina/test/interop/client"
)

// The server under test, whether it is ours, and the recordings, set once by TestMain.
var (
	server  client.Server
	own     bool
	library *client.Library
)

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		code = 1
	}
	os.Exit(code)
}

// runTests runs the tests against the server that CONCERTINA_URL names, or one
// of our own that it builds, starts, and stops with SIGINT.
func runTests(m *testing.M) (code int, err error) {
	client.Quiet()
	if library, err = client.LoadLibrary(); err != nil {
		return 0, err
	}
	server = client.Server{
		URL:    os.Getenv("CONCERTINA_URL"),
		Key:    cmp.Or(os.Getenv("CONCERTINA_KEY"), "devkey"),
		Secret: cmp.Or(os.Getenv("CONCERTINA_SECRET"), "secret"),
	}
	own = server.URL == ""
	if own {
		stop, err := startOwn()
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	return m.Run(), nil
}

func startOwn() (stop func() error, err error) {
	dir, err := os.MkdirTemp("", "interop-")
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "concertina")
	build := exec.Command("go", "build", "-o", binary, "./cmd/concertina")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("go build: %w\n%s", err, out), os.RemoveAll(dir))
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	tcp, err := freePort()
	if err != nil {
		return nil, err
	}
	var output bytes.Buffer
	cmd := exec.Command(binary, "dev", "--bind", "127.0.0.1", "--port", port, "--rtc-tcp-port", tcp, "--rtc-udp-port", port)
	cmd.Stdout, cmd.Stderr = &output, &output
	// The suite's own variables are no settings of the server, which is strict about them.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CONCERTINA_") })
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	server.URL = "ws://127.0.0.1:" + port
	stop = func() error {
		defer os.RemoveAll(dir)
		_ = cmd.Process.Signal(syscall.SIGINT)
		select {
		case err := <-exited:
			if err != nil {
				return fmt.Errorf("server ended: %w\n%s", err, output.String())
			}
			return nil
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-exited
			return fmt.Errorf("server still ran 10 s after SIGINT\n%s", output.String())
		}
	}
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		response, err := http.Get("http://127.0.0.1:" + port + "/readyz")
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return stop, nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, errors.Join(errors.New("server not ready within 15 s"), stop())
}

// freePort finds a TCP port that is free now; its number serves for UDP too.
func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port), nil
}

var roomNumber atomic.Int64

// freshRoom is a room name that no other test uses.
func freshRoom(t *testing.T) string {
	return fmt.Sprintf("%s-%d-%d", filepath.Base(t.Name()), os.Getpid(), roomNumber.Add(1))
}

// inModes runs a test in both connection modes.
func inModes(t *testing.T, test func(t *testing.T, options client.Options)) {
	t.Run("dual", func(t *testing.T) { test(t, client.Options{}) })
	t.Run("single", func(t *testing.T) { test(t, client.Options{Single: true}) })
}

// join joins a participant for each name, in order, and lets them leave at the end.
func join(t *testing.T, room string, options client.Options, names ...string) []*client.Client {
	t.Helper()
	var clients []*client.Client
	for _, name := range names {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		c, err := client.Join(ctx, server, library, room, name, options)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Leave)
		clients = append(clients, c)
	}
	return clients
}

// soon is a context for what must happen within a few seconds.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func await(t *testing.T, c *client.Client, want client.Event, from int) {
	t.Helper()
	if err := c.Await(soon(t), want, from); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, timeout time.Duration, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(timeout); !check(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", timeout, what)
		}
	}
}

const (
	video = webrtc.RTPCodecTypeVideo
	audio = webrtc.RTPCodecTypeAudio
)

// awaitMedia waits until viewer has received that many more whole frames of identity, and answers how fast they came.
func awaitMedia(t *testing.T, viewer *client.Client, identity string, kind webrtc.RTPCodecType, frames int) float64 {
	t.Helper()
	var first client.Received
	until(t, fmt.Sprintf("%s gets a frame of %s's %s", viewer.Identity, identity, kind), 15*time.Second, func() bool {
		first = viewer.Received(identity, kind)
		return first.Frames > 0 && time.Since(first.Last) < time.Second
	})
	start := time.Now()
	until(t, fmt.Sprintf("%s gets %d frames of %s's %s", viewer.Identity, frames, identity, kind), 15*time.Second, func() bool {
		return viewer.Received(identity, kind).Frames >= first.Frames+frames
	})
	return float64(frames) / time.Since(start).Seconds()
}

// figure prints a measured figure in the form that reports are cut from.
func figure(name string, value any) { fmt.Printf("figure: %s=%v\n", name, value) }
