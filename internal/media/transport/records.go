package transport

import (
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

// maxRecords bounds the DTLS datagrams waiting for pion/dtls. A handshake
// flight has fewer than 10; the rest is room for bursts of data channels.
const maxRecords = 256

// recordQueue is the in-memory net.PacketConn below pion/dtls: the sockets'
// goroutines push datagrams in and never block, writes go to the selected
// pair. Overflow is lost like on a network.
type recordQueue struct {
	mu      sync.Mutex
	wake    *sync.Cond
	queue   [][]byte
	expired bool // the read deadline has passed
	closed  bool
	dropped uint64
}

func (q *recordQueue) init() { q.wake = sync.NewCond(&q.mu) }

// push adds a copy of one datagram.
func (q *recordQueue) push(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	if len(q.queue) >= maxRecords {
		q.dropped++
		return
	}
	q.queue = append(q.queue, slices.Clone(b))
	q.wake.Signal()
}

// waiting reports whether a datagram is there.
func (q *recordQueue) waiting() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.queue) > 0
}

// drops returns how many datagrams were lost for want of room.
func (q *recordQueue) drops() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

func (q *recordQueue) pop(b []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.queue) == 0 && !q.expired && !q.closed {
		q.wake.Wait()
	}
	switch {
	case q.closed:
		return 0, net.ErrClosed
	case q.expired:
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, q.queue[0])
	q.queue[0] = nil
	q.queue = q.queue[1:]
	return n, nil
}

func (q *recordQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.queue = nil
	q.wake.Broadcast()
	q.mu.Unlock()
}

// recordConn is the net.PacketConn view of a Conn.
type recordConn struct{ conn *Conn }

// recordAddr stands for the client in pion/dtls: the address may change while
// the association stays.
type recordAddr struct{}

func (recordAddr) Network() string { return "webrtc" }
func (recordAddr) String() string  { return "client" }

// ReadFrom returns the next datagram.
func (r recordConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := r.conn.records.pop(b)
	return n, recordAddr{}, err
}

// WriteTo sends a datagram to wherever the client is now.
func (r recordConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	r.conn.sendRecord(b)
	return len(b), nil
}

// Close ends reads.
func (r recordConn) Close() error {
	r.conn.records.close()
	return nil
}

// LocalAddr stands for this end.
func (r recordConn) LocalAddr() net.Addr { return recordAddr{} }

// SetDeadline is SetReadDeadline; writes never block.
func (r recordConn) SetDeadline(t time.Time) error { return r.SetReadDeadline(t) }

// SetWriteDeadline does nothing: writes never block.
func (r recordConn) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline interrupts reads when t has passed. pion/dtls sets only
// instants in the past, to interrupt, and the zero time, to go on.
func (r recordConn) SetReadDeadline(t time.Time) error {
	q := &r.conn.records
	q.mu.Lock()
	q.expired = !t.IsZero() && !t.After(time.Now())
	q.wake.Broadcast()
	q.mu.Unlock()
	return nil
}
