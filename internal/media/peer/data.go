package peer

import (
	"errors"
	"fmt"
	"slices"
	"sync"

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

// Bounds of what waits for a channel to open, and over a move, when all that the
// room has to say comes together.
const (
	maxQueued      = 64
	maxQueuedBytes = 256 << 10
	maxHeld        = 4096
	maxHeldBytes   = 2 << 20
)

// dataChannels are the open channels and what waits for them.
type dataChannels struct {
	mu     sync.Mutex
	closed bool
	list   [channels]dataChannel
}

// dataChannel is one channel. What is sent waits while it is not open and while
// it is held.
type dataChannel struct {
	open   *transport.DataChannel
	held   bool // for a move of the connection
	queue  [][]byte
	queued int // bytes
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
	case c.open != nil && !c.held:
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
	case c.full(len(data)):
		return fmt.Errorf("%w: %d messages already wait for %v", ErrChannelNotOpen, len(c.queue), ch)
	}
	c.queue = append(c.queue, slices.Clone(data))
	c.queued += len(data)
	return nil
}

// full reports whether a further message of that size cannot wait.
func (c *dataChannel) full(size int) bool {
	if c.held {
		return len(c.queue) >= maxHeld || c.queued+size > maxHeldBytes
	}
	return len(c.queue) >= maxQueued || c.queued+size > maxQueuedBytes
}

// BufferedAmount returns the bytes sent on a channel that the client has not
// acknowledged, those that wait for it to open included.
func (p *Peer) BufferedAmount(ch Channel) uint64 {
	if ch >= channels {
		return 0
	}
	p.data.mu.Lock()
	defer p.data.mu.Unlock()
	return p.data.list[ch].unacknowledged() + uint64(p.data.list[ch].queued) //nolint:gosec // never negative
}

// unacknowledged returns the bytes the client has been sent and not acknowledged.
func (c *dataChannel) unacknowledged() uint64 {
	if c.open == nil {
		return 0
	}
	return c.open.BufferedAmount()
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
	d.list[ch].open = dc
	if err := d.list[ch].flush(); err != nil {
		return fmt.Errorf("queued message on %v: %w", ch, err)
	}
	return nil
}

// flush sends what has waited; later messages wait no more.
func (c *dataChannel) flush() error {
	queue := c.queue
	c.queue, c.queued, c.held = nil, 0, false
	for _, m := range queue {
		if err := c.open.Write(m, false); err != nil {
			return err
		}
	}
	return nil
}

// hold makes all further messages wait.
func (d *dataChannels) hold() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.list {
		d.list[i].held = d.list[i].open != nil
	}
}

// release sends what hold made wait: the connection stays as it is.
func (d *dataChannels) release() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for i := range d.list {
		if c := &d.list[i]; c.open != nil && c.held {
			errs = append(errs, c.flush())
		}
	}
	return errors.Join(errs...)
}

// detach leaves the channels of a connection that is about to go; they are opened
// again on another one. Reliable messages that the client may have missed are
// sent first there: again returns the last ones of so many bytes.
func (d *dataChannels) detach(again func(bytes uint64) [][]byte) {
	d.mu.Lock()
	missed := d.list[Reliable].unacknowledged()
	for i := range d.list {
		c := &d.list[i]
		c.held, c.open = c.open != nil, nil
	}
	queued := uint64(d.list[Reliable].queued) //nolint:gosec // never negative
	d.mu.Unlock()
	if missed == 0 || again == nil {
		return
	}
	messages := again(missed + queued)
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.list[Reliable]
	for _, m := range messages {
		c.queued += len(m)
	}
	c.queue = append(messages, c.queue...)
}

// drained reports whether the client has acknowledged every reliable message.
func (d *dataChannels) drained() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list[Reliable].unacknowledged() == 0
}

func (d *dataChannels) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for i := range d.list {
		d.list[i].open, d.list[i].queue = nil, nil
	}
}
