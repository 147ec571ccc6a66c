package peer

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// maxHeldPackets bounds the packets that wait while the connection changes hosts:
// that takes a few milliseconds.
const maxHeldPackets = 1024

// link is the peer's present connection as its tracks write to it. While the
// connection changes hosts packets wait, so that the stream goes on at the next
// one. It implements sfu.Writer.
type link struct {
	conn atomic.Pointer[transport.Conn]

	mu      sync.Mutex
	waiting bool
	held    []heldPacket
}

// heldPacket is a packet whose first header bytes are its header.
type heldPacket struct {
	data   []byte
	header int
}

func (l *link) load() *transport.Conn   { return l.conn.Load() }
func (l *link) store(c *transport.Conn) { l.conn.Store(c) }

// WriteRTP implements sfu.Writer.
func (l *link) WriteRTP(header, payload []byte) (int, error) {
	n, err := l.conn.Load().WriteRTP(header, payload)
	if err == nil || !errors.Is(err, transport.ErrClosed) {
		return n, err
	}
	return l.hold(header, payload)
}

// hold keeps a packet that the connection does not take any more.
func (l *link) hold(header, payload []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.waiting { // it has changed meanwhile, or is closed for good
		return l.conn.Load().WriteRTP(header, payload)
	}
	if len(l.held) >= maxHeldPackets {
		return 0, transport.ErrBufferFull
	}
	l.held = append(l.held, heldPacket{slices.Concat(header, payload), len(header)})
	return len(header) + len(payload), nil
}

// WriteRTCP implements sfu.Writer. Reports do not wait: there are newer ones.
func (l *link) WriteRTCP(raw []byte) error { return l.conn.Load().WriteRTCP(raw) }

// suspend makes packets wait that the present connection refuses from now on.
func (l *link) suspend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = true
}

// resume sends what has waited on c, which is the connection from now on; nil
// means that there is none and drops it.
func (l *link) resume(c *transport.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c != nil {
		for _, p := range l.held {
			_, _ = c.WriteRTP(p.data[:p.header], p.data[p.header:]) // as lost as on a network
		}
		l.conn.Store(c)
	}
	l.waiting, l.held = false, nil
}

// role is what a connection is to its peer.
type role uint32

const (
	present role = iota // carries the tracks
	standby             // is about to
	former              // did
)

// transportHandler is the peer as one of its connections sees it.
type transportHandler struct {
	peer *Peer
	role atomic.Uint32
}

func (h *transportHandler) is(r role) bool { return role(h.role.Load()) == r }
func (h *transportHandler) become(r role)  { h.role.Store(uint32(r)) }

// OnRTP implements transport.Handler. Of two connections one is silent before the
// other delivers.
func (h *transportHandler) OnRTP(pkt []byte, at time.Time) { h.peer.router.handle(pkt, at) }

// OnRTCP implements transport.Handler.
func (h *transportHandler) OnRTCP(pkt []byte, at time.Time) { h.peer.handleRTCP(pkt, at) }

// OnState implements transport.Handler.
func (h *transportHandler) OnState(s transport.State) {
	p := h.peer
	switch {
	case h.is(present):
		p.events.post(func() { p.params.Handler.OnState(s) })
	case h.is(standby) && s == transport.StateConnecting:
		p.events.post(func() { p.switchOver(h) })
	case h.is(standby) && s == transport.StateFailed:
		p.events.post(func() { p.abandon(h) })
	}
}

// OnDataChannel implements transport.Handler.
func (h *transportHandler) OnDataChannel(c *transport.DataChannel) {
	if !h.is(present) {
		return
	}
	if err := h.peer.data.opened(c); err != nil {
		h.peer.log.Debug("data channel", "error", err)
	}
}

// OnMessage implements transport.Handler.
func (h *transportHandler) OnMessage(c *transport.DataChannel, data []byte, isString bool) {
	if ch, ok := channelOf(c.Label()); ok {
		h.peer.params.Handler.OnMessage(ch, data, isString)
	}
}
