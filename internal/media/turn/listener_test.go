package turn

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// flaky fails once for want of file descriptors.
type flaky struct {
	net.Listener
	failed bool
}

func (f *flaky) Accept() (net.Conn, error) {
	if !f.failed {
		f.failed = true
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func testListener(t *testing.T, conf *tls.Config) *listener {
	t.Helper()
	l, err := newListener("tcp4", "127.0.0.1:0", conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); l.closeConns() })
	return l
}

// accept connects a client and returns both ends.
func accept(t *testing.T, l *listener) (server, client net.Conn) {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	return server, client
}

func TestListenerSurvivesShortage(t *testing.T) {
	l := testListener(t, nil)
	l.Listener = &flaky{Listener: l.Listener}
	accept(t, l)
}

func TestListenerEnds(t *testing.T) {
	l := testListener(t, nil)
	server, client := accept(t, l)
	_ = l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after Close: %v", err)
	}
	l.closeConns()
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("client still connected")
	}
	a, b := net.Pipe()
	defer b.Close()
	if c := l.admit(a); c != nil {
		t.Error("admitted after closeConns")
	}
	_, _ = server.Close(), server.Close()
	l.ended.wait()
	l.ended.wait()
}

func TestStrangerMustLeave(t *testing.T) {
	l := testListener(t, nil)
	l.stranger = 20 * time.Millisecond
	stranger, _ := accept(t, l)
	if _, err := stranger.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("stranger: %v", err)
	}
	l.stranger = time.Hour
	l.idle = time.Hour
	guest, client := accept(t, l)
	l.welcome(guest.RemoteAddr())
	l.welcome(&net.TCPAddr{}) // not connected
	l.welcome(&net.UDPAddr{})
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(guest, make([]byte, 1)); err != nil {
		t.Errorf("guest: %v", err)
	}
	l.idle = 20 * time.Millisecond
	if _, err := guest.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("idle guest: %v", err)
	}
}

// TestWelcomeLiftsPendingDeadline: a Read that waits when the allocation is made
// must not end as a stranger's. Such a Read has set its deadline already, so the
// test reads below it.
func TestWelcomeLiftsPendingDeadline(t *testing.T) {
	l := testListener(t, nil)
	l.stranger = 20 * time.Millisecond
	guest, client := accept(t, l)
	l.welcome(guest.RemoteAddr())
	stranger, _ := accept(t, l)
	if _, err := stranger.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("stranger: %v", err)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := guest.(*conn).raw.Read(make([]byte, 1)); err != nil {
		t.Errorf("guest: %v", err)
	}
}

func TestSlowReaderIsEnded(t *testing.T) {
	l := testListener(t, nil)
	l.write = 20 * time.Millisecond
	server, _ := accept(t, l)
	buf := make([]byte, 1<<20)
	for range 1000 {
		if _, err := server.Write(buf); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write: %v", err)
			}
			if _, err := server.Write(buf); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write afterwards: %v", err)
			}
			return
		}
	}
	t.Error("writes never fail")
}

func TestCertificateIsRenewed(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, _ := writeCertificate(t, dir, 1)
	c := &certificate{certFile: certFile, keyFile: keyFile, log: slog.New(slog.DiscardHandler)}
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	first := c.get(now)
	writeCertificate(t, dir, 2)
	if err := os.Chtimes(certFile, now, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if c.get(now.Add(time.Second)) != first {
		t.Error("files looked at again too soon")
	}
	second := c.get(now.Add(2 * certCheck))
	if second == first || second.Leaf.SerialNumber.Int64() != 2 {
		t.Error("not renewed")
	}
	if err := os.WriteFile(certFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c.get(now.Add(4*certCheck)) != second {
		t.Error("a broken file replaces the certificate")
	}
}
