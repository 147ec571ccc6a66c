package turn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// Deadlines of TCP clients.
const (
	// strangerTimeout is how long a connection may last without allocation.
	strangerTimeout = 15 * time.Second
	// idleTimeout ends a connection that says nothing, not even a refresh of
	// its allocation, which lives 10 minutes.
	idleTimeout = 10 * time.Minute
	// writeTimeout ends a connection that does not read.
	writeTimeout = 10 * time.Second
	// certCheck is how often the certificate files are looked at.
	certCheck = time.Minute
)

// listener accepts TCP or TLS clients for pion. It adds what pion leaves out:
// it survives a shortage of file descriptors, ends silent and slow clients, and
// can end all of them at once.
type listener struct {
	net.Listener
	tls    *tls.Config // nil: TLS is terminated in front
	closed chan struct{}
	once   sync.Once
	// ended counts connections that pion still works on.
	ended counter
	// stranger, idle and write are the deadlines of the same names.
	stranger, idle, write time.Duration

	mu    sync.Mutex
	conns map[string]*conn // by remote address
	shut  bool
}

func newListener(network, addr string, conf *tls.Config) (*listener, error) {
	l, err := net.Listen(network, addr)
	if err != nil {
		return nil, err
	}
	return &listener{
		Listener: l, tls: conf, closed: make(chan struct{}), conns: map[string]*conn{},
		stranger: strangerTimeout, idle: idleTimeout, write: writeTimeout,
	}, nil
}

// Accept waits for a client. Only the end of the listener is an error, because
// pion stops at the first one.
func (l *listener) Accept() (net.Conn, error) {
	const maxPause = time.Second
	pause := 5 * time.Millisecond
	for {
		raw, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err == nil {
			if c := l.admit(raw); c != nil {
				return c, nil
			}
			return nil, net.ErrClosed
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, maxPause)
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// admit takes a client in, or returns nil when the listener is being closed.
func (l *listener) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, raw: raw, listener: l, key: raw.RemoteAddr().String()}
	if l.tls != nil {
		// The handshake takes place with the first Read.
		c.Conn = tls.Server(raw, l.tls)
	}
	_ = raw.SetDeadline(time.Now().Add(l.stranger))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		_ = raw.Close()
		return nil
	}
	l.ended.add(1)
	l.conns[c.key] = c
	return c
}

// welcome lets the client at addr stay: it has an allocation.
func (l *listener) welcome(addr net.Addr) {
	if addr.Network() != "tcp" {
		return
	}
	l.mu.Lock()
	c := l.conns[addr.String()]
	l.mu.Unlock()
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.welcome = true
	_ = c.raw.SetReadDeadline(time.Now().Add(c.listener.idle))
}

// Close stops accepting. Clients stay until closeConns.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// closeConns ends all clients and admits no more.
func (l *listener) closeConns() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	for _, c := range l.conns {
		_ = c.raw.Close()
	}
}

// conn is a client's connection.
type conn struct {
	net.Conn          // what pion talks to, maybe TLS
	raw      net.Conn // what is below
	listener *listener
	key      string
	once     sync.Once

	mu      sync.Mutex
	welcome bool
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	if c.welcome {
		_ = c.raw.SetReadDeadline(time.Now().Add(c.listener.idle))
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}

// Write implements net.Conn. A write that fails ends the connection: the stream
// is broken then, and TLS cannot go on after a timeout.
func (c *conn) Write(p []byte) (int, error) {
	_ = c.raw.SetWriteDeadline(time.Now().Add(c.listener.write))
	n, err := c.Conn.Write(p)
	if err != nil {
		_ = c.raw.Close()
	}
	return n, err
}

// Close implements net.Conn. pion calls it when it is done with the client.
func (c *conn) Close() error {
	err := c.raw.Close()
	c.once.Do(func() {
		l := c.listener
		l.mu.Lock()
		if l.conns[c.key] == c {
			delete(l.conns, c.key)
		}
		l.mu.Unlock()
		l.ended.add(-1)
	})
	return err
}

// tlsConfig serves the certificate in the files and notices when it is renewed.
func tlsConfig(certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(time.Now()), nil },
	}, nil
}

// certificate is a certificate in files.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu       sync.Mutex
	current  *tls.Certificate
	modified time.Time // of the file in use
	checked  time.Time
}

// get returns the certificate, read again if the file has changed. One that
// cannot be read leaves the old one in use.
func (c *certificate) get(now time.Time) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.checked) >= certCheck {
		c.checked = now
		if info, err := os.Stat(c.certFile); err == nil && !info.ModTime().Equal(c.modified) {
			if err := c.load(); err != nil {
				c.log.Warn("TURN certificate not renewed", "error", err)
			}
		}
	}
	return c.current
}

func (c *certificate) load() error {
	info, err := os.Stat(c.certFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.current, c.modified = &pair, info.ModTime()
	return nil
}
