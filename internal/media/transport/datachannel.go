package transport

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/pion/datachannel"
	"github.com/pion/sctp"
)

// ChannelSpec describes a data channel (RFC 8832 section 5.1).
type ChannelSpec struct {
	// Label and Protocol are what the client's JavaScript sees.
	Label, Protocol string
	// Negotiated channels exist on both sides under ID without being opened
	// over the wire; otherwise ID 0 takes the next free odd one, as the DTLS
	// server must (RFC 8832 section 6).
	Negotiated bool
	ID         uint16
	// Unordered lets messages overtake each other.
	Unordered bool
	// MaxRetransmits and MaxLifetime (milliseconds) make the channel lossy; at
	// most one may be set, none means reliable.
	MaxRetransmits, MaxLifetime *uint16
}

// channelType maps the spec to DCEP.
func (s ChannelSpec) channelType() (datachannel.ChannelType, uint32) {
	pick := func(ordered, unordered datachannel.ChannelType) datachannel.ChannelType {
		if s.Unordered {
			return unordered
		}
		return ordered
	}
	switch {
	case s.MaxRetransmits != nil:
		return pick(datachannel.ChannelTypePartialReliableRexmit, datachannel.ChannelTypePartialReliableRexmitUnordered), uint32(*s.MaxRetransmits)
	case s.MaxLifetime != nil:
		return pick(datachannel.ChannelTypePartialReliableTimed, datachannel.ChannelTypePartialReliableTimedUnordered), uint32(*s.MaxLifetime)
	default:
		return pick(datachannel.ChannelTypeReliable, datachannel.ChannelTypeReliableUnordered), 0
	}
}

// reliability maps the spec to SCTP stream parameters.
func (s ChannelSpec) reliability() (unordered bool, kind byte, value uint32) {
	switch {
	case s.MaxRetransmits != nil:
		return s.Unordered, sctp.ReliabilityTypeRexmit, uint32(*s.MaxRetransmits)
	case s.MaxLifetime != nil:
		return s.Unordered, sctp.ReliabilityTypeTimed, uint32(*s.MaxLifetime)
	default:
		return s.Unordered, sctp.ReliabilityTypeReliable, 0
	}
}

// specOf reads the spec back from an accepted channel.
func specOf(id uint16, cfg datachannel.Config) ChannelSpec {
	s := ChannelSpec{Label: cfg.Label, Protocol: cfg.Protocol, ID: id}
	limit := uint16(min(cfg.ReliabilityParameter, math.MaxUint16))
	switch cfg.ChannelType {
	case datachannel.ChannelTypeReliableUnordered:
		s.Unordered = true
	case datachannel.ChannelTypePartialReliableRexmit:
		s.MaxRetransmits = &limit
	case datachannel.ChannelTypePartialReliableRexmitUnordered:
		s.MaxRetransmits, s.Unordered = &limit, true
	case datachannel.ChannelTypePartialReliableTimed:
		s.MaxLifetime = &limit
	case datachannel.ChannelTypePartialReliableTimedUnordered:
		s.MaxLifetime, s.Unordered = &limit, true
	}
	return s
}

// DataChannel is one data channel. Safe for concurrent use.
type DataChannel struct {
	conn *Conn
	spec ChannelSpec
	ours bool // opened by us, negotiated or resumed

	mu     sync.Mutex
	stream *sctp.Stream
	dc     *datachannel.DataChannel // nil: not open
}

// Label returns the channel's label.
func (d *DataChannel) Label() string { return d.spec.Label }

// ID returns the SCTP stream id.
func (d *DataChannel) ID() uint16 { return d.spec.ID }

// Spec returns how the channel was opened.
func (d *DataChannel) Spec() ChannelSpec { return d.spec }

// Open reports whether messages can be written now.
func (d *DataChannel) Open() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dc != nil
}

// Write queues one message and never blocks. Errors: ErrChannelNotOpen,
// ErrBufferFull when the client does not keep up, ErrMessageTooLarge.
func (d *DataChannel) Write(data []byte, isString bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	cfg := &d.conn.host.cfg
	switch {
	case d.dc == nil:
		return ErrChannelNotOpen
	case len(data) > cfg.MaxMessageSize:
		return ErrMessageTooLarge
	case d.dc.BufferedAmount()+uint64(len(data)) > uint64(cfg.DataBuffer):
		return ErrBufferFull
	}
	if _, err := d.dc.WriteDataChannel(data, isString); err != nil {
		return fmt.Errorf("%w: %w", ErrChannelNotOpen, err)
	}
	return nil
}

// BufferedAmount returns the bytes written that the client has not
// acknowledged.
func (d *DataChannel) BufferedAmount() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dc == nil {
		return 0
	}
	return d.dc.BufferedAmount()
}

// Close closes the channel on both sides.
func (d *DataChannel) Close() error {
	d.conn.data.forget(d)
	d.mu.Lock()
	dc := d.dc
	d.dc = nil
	d.mu.Unlock()
	if dc == nil {
		return nil
	}
	if err := dc.Close(); err != nil {
		return fmt.Errorf("close data channel: %w", err)
	}
	return nil
}

// attach makes the channel usable.
func (d *DataChannel) attach(s *sctp.Stream, dc *datachannel.DataChannel) {
	d.mu.Lock()
	d.stream, d.dc = s, dc
	d.mu.Unlock()
}

// detach makes the channel unusable if it still is on stream s.
func (d *DataChannel) detach(s *sctp.Stream) {
	d.mu.Lock()
	if d.stream == s {
		d.stream, d.dc = nil, nil
	}
	d.mu.Unlock()
}

func (d *DataChannel) on(s *sctp.Stream) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stream == s
}

const (
	// messageBuffer is the first size of a reader's buffer; it doubles up to
	// MaxMessageSize when a message is larger.
	messageBuffer = 4 << 10
	// maxChannels bounds the channels of one connection.
	maxChannels = 64
)

// readChannel delivers the channel's messages until it closes.
func (c *Conn) readChannel(d *DataChannel, s *sctp.Stream, dc *datachannel.DataChannel) {
	buf := make([]byte, messageBuffer)
	for {
		n, isString, err := dc.ReadDataChannel(buf)
		switch {
		case errors.Is(err, io.ErrShortBuffer) && len(buf) < c.host.cfg.MaxMessageSize:
			buf = make([]byte, min(2*len(buf), c.host.cfg.MaxMessageSize))
			continue
		case err != nil:
			if errors.Is(err, io.ErrShortBuffer) {
				c.log.Debug("data channel closed", "label", d.Label(), "error", ErrMessageTooLarge)
				_ = dc.Close()
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrShortBuffer) {
				c.data.forgetOn(d, s) // the client reset the stream: the id is free again
			}
			d.detach(s)
			return
		}
		c.handler.OnMessage(d, buf[:n], isString)
	}
}
