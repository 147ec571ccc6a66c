package peer

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// Errors of [Peer.Send].
var (
	// ErrChannelNotOpen means that the channel is closed, or that too much
	// already waits for it to open.
	ErrChannelNotOpen = errors.New("peer: data channel not open")
	// ErrBufferFull means that the client does not keep up.
	ErrBufferFull = transport.ErrBufferFull
	// ErrMessageTooLarge means that a message exceeds the transport's limit.
	ErrMessageTooLarge = transport.ErrMessageTooLarge
)

// Channel is one of the data channels of LiveKit's protocol.
type Channel uint8

// The data channels.
const (
	Reliable  Channel = iota // _reliable: ordered and complete
	Lossy                    // _lossy: unordered, never sent again
	DataTrack                // _data_track: as Lossy, for data tracks
	channels
)

// String returns the channel's label.
func (c Channel) String() string {
	switch c {
	case Reliable:
		return "_reliable"
	case Lossy:
		return "_lossy"
	case DataTrack:
		return "_data_track"
	}
	return fmt.Sprintf("Channel(%d)", uint8(c))
}

// maxMessageSize is what our SDP allows a client to send in one message, in bytes.
const maxMessageSize = 64 << 10

// channelSpecs describes the channels that the server opens in Subscriber mode.
func channelSpecs() []transport.ChannelSpec {
	never := uint16(0)
	return []transport.ChannelSpec{
		{Label: Reliable.String()},
		{Label: Lossy.String(), Unordered: true, MaxRetransmits: &never},
		{Label: DataTrack.String(), Unordered: true, MaxRetransmits: &never},
	}
}

// channelOf returns the channel with a label. Clients of old protocols open
// others, which carry nothing today.
func channelOf(label string) (Channel, bool) {
	for c := range channels {
		if c.String() == label {
			return c, true
		}
	}
	return 0, false
}

// Bounds of what waits for a channel to open.
const (
	maxQueued      = 64
	maxQueuedBytes = 256 << 10
)

// dataChannels are the open channels and what waits for them.
type dataChannels struct {
	mu     sync.Mutex
	closed bool
	list   [channels]struct {
		open   *transport.DataChannel
		queue  [][]byte
		queued int // bytes
	}
}

// Send sends a message. Before the channel is open it waits, up to a bound;
// unacknowledged messages are bounded too. It never blocks. Errors: [ErrClosed],
// [ErrChannelNotOpen], [ErrBufferFull], [ErrMessageTooLarge].
func (p *Peer) Send(ch Channel, data []byte) error {
	if ch >= channels {
		return fmt.Errorf("%w: %v", ErrChannelNotOpen, ch)
	}
	d := &p.data
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.list[ch]
	switch {
	case d.closed:
		return ErrClosed
	case c.open != nil:
		err := c.open.Write(data, false)
		if errors.Is(err, transport.ErrChannelNotOpen) {
			return fmt.Errorf("%w: %v was closed", ErrChannelNotOpen, ch)
		}
		if err != nil {
			return fmt.Errorf("peer: %v: %w", ch, err)
		}
		return nil
	case len(data) > maxMessageSize:
		return fmt.Errorf("peer: %v: %w", ch, ErrMessageTooLarge)
	case len(c.queue) >= maxQueued || c.queued+len(data) > maxQueuedBytes:
		return fmt.Errorf("%w: %d messages already wait for %v", ErrChannelNotOpen, len(c.queue), ch)
	}
	c.queue = append(c.queue, slices.Clone(data))
	c.queued += len(data)
	return nil
}

// BufferedAmount returns the bytes sent on a channel that the client has not
// acknowledged, those that wait for it to open included.
func (p *Peer) BufferedAmount(ch Channel) uint64 {
	if ch >= channels {
		return 0
	}
	p.data.mu.Lock()
	defer p.data.mu.Unlock()
	c := &p.data.list[ch]
	if c.open != nil {
		return c.open.BufferedAmount()
	}
	return uint64(c.queued) //nolint:gosec // never negative
}

// opened takes a channel into use and sends what waited for it.
func (d *dataChannels) opened(dc *transport.DataChannel) error {
	ch, ok := channelOf(dc.Label())
	if !ok {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	c := &d.list[ch]
	c.open = dc
	queue := c.queue
	c.queue, c.queued = nil, 0
	for _, m := range queue {
		if err := dc.Write(m, false); err != nil {
			return fmt.Errorf("queued message on %v: %w", ch, err)
		}
	}
	return nil
}

func (d *dataChannels) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for i := range d.list {
		d.list[i].open, d.list[i].queue = nil, nil
	}
}

// transportHandler is the peer as its transport sees it.
type transportHandler Peer

// OnRTP implements transport.Handler.
func (h *transportHandler) OnRTP(pkt []byte, at time.Time) { (*Peer)(h).router.handle(pkt, at) }

// OnRTCP implements transport.Handler.
func (h *transportHandler) OnRTCP(pkt []byte, at time.Time) { (*Peer)(h).handleRTCP(pkt, at) }

// OnState implements transport.Handler.
func (h *transportHandler) OnState(s transport.State) {
	p := (*Peer)(h)
	p.events.post(func() { p.params.Handler.OnState(s) })
}

// OnDataChannel implements transport.Handler.
func (h *transportHandler) OnDataChannel(c *transport.DataChannel) {
	if err := h.data.opened(c); err != nil {
		h.log.Debug("data channel", "error", err)
	}
}

// OnMessage implements transport.Handler.
func (h *transportHandler) OnMessage(c *transport.DataChannel, data []byte, isString bool) {
	if ch, ok := channelOf(c.Label()); ok {
		h.params.Handler.OnMessage(ch, data, isString)
	}
}
