package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Presence is that a node's connection to the masters was made or has broken.
type Presence struct {
	// Node is its id.
	Node string
	// Connected is false when the connection broke: the process died, or the
	// network did. A connection that breaks while another one of the same node
	// stands is not told.
	Connected bool
	// At is when, by the clock of the master that saw it.
	At time.Time
	// Reason is the server's word for it, e.g. "Client Closed".
	Reason string
}

// WatchPresence tells which media nodes are connected, to any master, and then
// each change, within milliseconds of the kernel's word. handle is called by
// one goroutine at a time. It ends with ctx or the bus. Masters only.
//
// A master that dies takes its word about its own nodes with it: they connect
// to another one and nothing is told, or they died with it, which only missing
// load reports and leases show.
func (b *Bus) WatchPresence(ctx context.Context, handle func(Presence)) error {
	if b.srv == nil {
		return fmt.Errorf("watch presence: %w", ErrDenied)
	}
	opts := []nats.Option{nats.InProcessServer(b.srv), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}
	opts = append(opts, commonOptions(kindSystem, b.cfg.Node)...)
	opts = append(opts, credentials(kindSystem, b.cfg.Node, b.key)...)
	closed := make(chan struct{})
	nc, err := nats.Connect("", append(opts, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		return explain("watch presence", err)
	}
	p := &presence{nodes: map[string]client{}, handle: handle}
	account := b.srv.GlobalAccount().Name
	_, err = nc.Subscribe("$SYS.ACCOUNT."+account+".*", func(m *nats.Msg) {
		if err := p.event(m.Subject, m.Data); err != nil {
			b.note.say(slog.LevelWarn, "presence", "bus server event not understood", "subject", m.Subject, "error", err)
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err == nil {
		err = p.sync(ctx, nc)
	}
	if err != nil {
		nc.Close()
		<-closed
		return explain("watch presence", err)
	}
	end := func() {
		select {
		case <-ctx.Done():
		case <-b.ctx.Done():
		}
		nc.Close()
		<-closed
	}
	if !b.spawn(end) {
		nc.Close()
		return ErrClosed
	}
	return nil
}

// presence is which connection each node has.
type presence struct {
	handle func(Presence)

	mu    sync.Mutex
	nodes map[string]client
}

// client is one connection, as the servers name it.
type client struct {
	server string
	id     uint64
	start  time.Time
}

// clientInfo is the part of the servers' JSON that is of interest.
type clientInfo struct {
	ID    uint64     `json:"id"`
	CID   uint64     `json:"cid"` // the same in a list
	Name  string     `json:"name"`
	Start *time.Time `json:"start"`
	Stop  *time.Time `json:"stop"`
}

func (c clientInfo) node() (string, bool) {
	kind, node, ok := strings.Cut(c.Name, " ")
	return node, ok && kind == kindNode && validNode(node)
}

func (c clientInfo) on(server string) client {
	out := client{server: server, id: max(c.ID, c.CID)}
	if c.Start != nil {
		out.start = *c.Start
	}
	return out
}

// event takes a server's event about a client.
func (p *presence) event(subject string, data []byte) error {
	what := subject[strings.LastIndexByte(subject, '.')+1:]
	if what != "CONNECT" && what != "DISCONNECT" {
		return nil
	}
	var e struct {
		Time   time.Time           `json:"timestamp"`
		Server struct{ ID string } `json:"server"`
		Client clientInfo          `json:"client"`
		Reason string              `json:"reason"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	node, ok := e.Client.node()
	if !ok {
		return nil
	}
	c := e.Client.on(e.Server.ID)
	if what == "CONNECT" {
		p.connected(node, c, e.Time)
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, known := p.nodes[node]
	if known && (now.server != c.server || now.id != c.id) {
		return nil // the node has a newer one
	}
	delete(p.nodes, node)
	if known {
		p.handle(Presence{Node: node, At: e.Time, Reason: e.Reason})
	}
	return nil
}

// connected notes a connection. A newer one replaces the node's older one,
// whose end then means nothing.
func (p *presence) connected(node string, c client, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, known := p.nodes[node]
	if known && c.server == now.server && c.id <= now.id {
		return
	}
	p.nodes[node] = c
	if !known {
		p.handle(Presence{Node: node, Connected: true, At: at})
	}
}

// syncWait is how long the servers have to list their clients.
const syncWait = 500 * time.Millisecond

// sync asks all servers which clients they have.
func (p *presence) sync(ctx context.Context, nc *nats.Conn) error {
	inbox := nc.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = answers.Unsubscribe() }() // it can only have ended already
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.CONNZ", inbox, []byte(`{"limit":65536}`)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, syncWait)
	defer cancel()
	for {
		m, err := answers.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return nil // all that answer have answered
		}
		if err != nil {
			return err
		}
		if err := p.list(m.Data, time.Now()); err != nil {
			return err
		}
	}
}

// list takes one server's clients.
func (p *presence) list(data []byte, now time.Time) error {
	var answer struct {
		Server struct{ ID string } `json:"server"`
		Data   struct {
			Clients []clientInfo `json:"connections"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for _, c := range answer.Data.Clients {
		if node, ok := c.node(); ok {
			p.connected(node, c.on(answer.Server.ID), now)
		}
	}
	return nil
}
