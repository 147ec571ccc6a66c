package signal

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/room"
)

// conn is one client's WebSocket. Send queues; the writer goroutine writes in
// order; the pinger goroutine notices a dead peer. Both end with the context.
type conn struct {
	ws    *websocket.Conn
	cfg   Config
	stats *Stats
	text  atomic.Bool // the client's last frame was text: answer in kind

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	queue   []*room.Message
	wake    chan struct{}
	closing bool   // nothing more is queued; close once the queue is written
	reason  string // told in the close frame
}

func newConn(ctx context.Context, ws *websocket.Conn, cfg Config, stats *Stats) *conn {
	c := &conn{ws: ws, cfg: cfg, stats: stats, wake: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.wg.Go(c.writeLoop)
	c.wg.Go(c.pingLoop)
	return c
}

// Send implements room.Sink.
func (c *conn) Send(m *room.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || c.ctx.Err() != nil {
		return context.Canceled
	}
	if len(c.queue) >= c.cfg.MaxQueue {
		c.stats.QueueDropped.Add(1)
		return room.ErrQueueFull
	}
	c.queue = append(c.queue, m)
	c.signal()
	return nil
}

// Close implements room.Sink.
func (c *conn) Close(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.closing, c.reason = true, reason
		c.signal()
	}
}

func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// read returns the next request. Only the connection's reader calls it.
func (c *conn) read() (*livekit.SignalRequest, error) {
	kind, data, err := c.ws.Read(c.ctx)
	if err != nil {
		return nil, err
	}
	text := kind == websocket.MessageText
	c.text.Store(text)
	return decode(text, data)
}

func (c *conn) writeLoop() {
	defer c.cancel()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.wake:
		}
		c.mu.Lock()
		batch, closing, reason := c.queue, c.closing, c.reason
		c.queue = nil
		c.mu.Unlock()
		for _, m := range batch {
			if c.write(m) != nil {
				return
			}
		}
		if closing {
			_ = c.ws.Close(websocket.StatusNormalClosure, closeReason(reason)) // the peer may be gone
			return
		}
	}
}

func (c *conn) write(m *room.Message) error {
	kind, encode := websocket.MessageBinary, m.Binary
	if c.text.Load() {
		kind, encode = websocket.MessageText, m.Text
	}
	data, err := encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.WriteTimeout)
	defer cancel()
	c.stats.FramesOut.Add(1)
	return c.ws.Write(ctx, kind, data)
}

func (c *conn) pingLoop() {
	tick := time.NewTicker(c.cfg.PingInterval)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(c.ctx, c.cfg.PingTimeout)
		err := c.ws.Ping(ctx)
		cancel()
		if err != nil {
			c.cancel()
			return
		}
	}
}

// closeNow ends the connection from the reader's side, writing what is queued
// first when the connection still works.
func (c *conn) closeNow(status websocket.StatusCode, reason string) {
	c.mu.Lock()
	pending := c.closing
	c.mu.Unlock()
	if pending {
		return // the writer closes after the last message
	}
	_ = c.ws.Close(status, closeReason(reason)) // best effort
	c.cancel()
}

// wait ends the connection's goroutines and waits for them.
func (c *conn) wait() {
	c.wg.Wait()
	_ = c.ws.CloseNow() // frees the socket whatever happened before
}

// closeReason fits a reason into a close frame (RFC 6455 5.5: 125 bytes with
// the status).
func closeReason(s string) string {
	if len(s) > 120 {
		return s[:120]
	}
	return s
}
