package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// frameHeaderSize is the length prefix of RFC 4571 section 2.
const frameHeaderSize = 2

// tcpWriteTimeout is how long the kernel may refuse bytes of a TCP client
// before the connection is given up.
const tcpWriteTimeout = 10 * time.Second

// tcpListener accepts passive ICE/TCP connections (RFC 6544).
type tcpListener struct {
	host     *Host
	ln       *net.TCPListener
	local    netip.AddrPort
	received atomic.Uint64

	mu    sync.Mutex
	conns map[*tcpConn]struct{}
	done  bool
}

func listenTCP(h *Host, local netip.AddrPort) (*tcpListener, error) {
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(local))
	if err != nil {
		return nil, fmt.Errorf("listen on tcp %s: %w", local, err)
	}
	bound, _ := netip.ParseAddrPort(ln.Addr().String())
	return &tcpListener{
		host:  h,
		ln:    ln,
		local: netip.AddrPortFrom(local.Addr(), bound.Port()),
		conns: make(map[*tcpConn]struct{}),
	}, nil
}

func (l *tcpListener) acceptLoop() {
	for {
		c, err := l.ln.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			l.host.log.Warn("tcp accept", "local", l.local, "error", err)
			select {
			case <-l.host.stop:
				return
			case <-time.After(50 * time.Millisecond): // out of file descriptors, most likely
			}
			continue
		}
		l.accept(c)
	}
}

func (l *tcpListener) accept(c *net.TCPConn) {
	h := l.host
	remote, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil || h.tcpPending.Add(1) > int64(h.cfg.TCPUnauthenticated) {
		if err == nil {
			h.tcpPending.Add(-1)
		}
		h.drops.tcpRefused.Add(1)
		_ = c.Close()
		return
	}
	t := &tcpConn{
		listener: l,
		conn:     c,
		remote:   netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port()),
		limit:    h.cfg.TCPWriteBuffer,
	}
	t.wake = sync.NewCond(&t.mu)
	l.mu.Lock()
	ok := !l.done
	if ok {
		l.conns[t] = struct{}{}
	}
	l.mu.Unlock()
	if !ok || !h.goFunc(t.readLoop) {
		h.tcpPending.Add(-1)
		t.close()
	}
}

func (l *tcpListener) close() {
	_ = l.ln.Close()
	l.mu.Lock()
	l.done = true
	conns := make([]*tcpConn, 0, len(l.conns))
	for t := range l.conns {
		conns = append(conns, t)
	}
	l.mu.Unlock()
	for _, t := range conns {
		t.close()
	}
}

// tcpConn is one client's TCP connection: frames of RFC 4571 both ways, and a
// bounded buffer between the senders and a client that may be slow.
type tcpConn struct {
	listener *tcpListener
	conn     *net.TCPConn
	remote   netip.AddrPort
	pair     atomic.Pointer[pair] // set by the first valid check
	limit    int

	mu      sync.Mutex
	wake    *sync.Cond
	pending []byte // frames not yet given to the kernel
	writing bool   // the writer goroutine exists
	closed  bool
}

// readLoop reads frames until the connection ends. Until a check was valid,
// anything but a valid check ends it.
func (t *tcpConn) readLoop() {
	h := t.listener.host
	authenticated := false
	defer func() {
		if !authenticated {
			h.tcpPending.Add(-1)
			h.drops.tcpRefused.Add(1)
		}
		t.close()
	}()
	_ = t.conn.SetReadDeadline(time.Now().Add(h.cfg.TCPFirstFrame))
	r := bufio.NewReaderSize(t.conn, 2*maxDatagram)
	buf := make([]byte, maxDatagram)
	scratch := newSTUNScratch()
	for {
		n, err := readFrame(r, buf)
		if err != nil {
			return
		}
		t.listener.received.Add(1)
		t.dispatch(buf[:n], time.Now(), scratch)
		if authenticated {
			continue
		}
		if t.pair.Load() == nil {
			return
		}
		authenticated = true
		h.tcpPending.Add(-1)
		_ = t.conn.SetReadDeadline(time.Time{})
	}
}

func (t *tcpConn) dispatch(b []byte, at time.Time, scratch *stunScratch) {
	h := t.listener.host
	kind := classify(b)
	p := t.pair.Load()
	switch {
	case kind == packetUnknown:
		h.drops.malformed.Add(1)
	case kind == packetSTUN:
		h.handleSTUN(b, source{tcp: t, local: t.listener.local, remote: t.remote}, at, scratch)
	case p == nil:
		h.drops.unknownAddress.Add(1)
	default:
		p.conn.handlePacket(kind, b, p, at)
	}
}

// readFrame reads one RFC 4571 frame into buf.
func readFrame(r io.Reader, buf []byte) (int, error) {
	if _, err := io.ReadFull(r, buf[:frameHeaderSize]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	if n > len(buf) {
		return 0, fmt.Errorf("%w: TCP frame of %d bytes", ErrMalformed, n)
	}
	return io.ReadFull(r, buf[:n])
}

// write queues one frame and never blocks. A full buffer drops the packet: the
// sender's media ages, everyone else's flows.
func (t *tcpConn) write(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	if len(t.pending)+frameHeaderSize+len(b) > t.limit {
		t.listener.host.drops.tcpOverflow.Add(1)
		return ErrBufferFull
	}
	t.pending = binary.BigEndian.AppendUint16(t.pending, uint16(len(b)))
	t.pending = append(t.pending, b...)
	if !t.writing {
		if !t.listener.host.goFunc(t.writeLoop) {
			return ErrClosed
		}
		t.writing = true
	}
	t.wake.Signal()
	return nil
}

// writeLoop gives what is pending to the kernel, as much as there is at once.
func (t *tcpConn) writeLoop() {
	var out []byte
	for {
		t.mu.Lock()
		for len(t.pending) == 0 && !t.closed {
			t.wake.Wait()
		}
		if len(t.pending) == 0 {
			t.mu.Unlock()
			_ = t.conn.Close()
			return
		}
		out, t.pending = t.pending, out[:0]
		t.mu.Unlock()
		_ = t.conn.SetWriteDeadline(time.Now().Add(tcpWriteTimeout))
		if _, err := t.conn.Write(out); err != nil {
			t.mu.Lock()
			t.pending = nil
			t.mu.Unlock()
			t.close()
		}
	}
}

// close ends the connection; what is pending is still tried when there is a
// writer, for at most a second.
func (t *tcpConn) close() {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	flush := t.writing && len(t.pending) > 0
	t.wake.Signal()
	t.mu.Unlock()
	if !first {
		return
	}
	t.listener.mu.Lock()
	delete(t.listener.conns, t)
	t.listener.mu.Unlock()
	_ = t.conn.SetReadDeadline(time.Now())
	if flush {
		_ = t.conn.SetWriteDeadline(time.Now().Add(time.Second))
		return
	}
	_ = t.conn.Close()
}
