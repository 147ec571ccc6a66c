package transport

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"
)

const (
	// sctpReceiveBuffer is the receive window offered to the client.
	sctpReceiveBuffer = 4 << 20
	// dtlsOverhead is what a record adds to an SCTP packet: 13 bytes of header,
	// and nonce and tag of an AEAD suite.
	dtlsOverhead = 13 + 8 + 16
)

// dataState holds the connection's data channels across associations.
type dataState struct {
	mu       sync.Mutex
	channels map[uint16]*DataChannel
	nextID   uint16
	opening  int  // streams whose opening handshake is not done
	wanted   bool // open an association without waiting for the client's
	assoc    *sctp.Association
	dtls     *dtls.Conn // while its owner waits for a reason to open one
}

func (s *dataState) init() {
	s.channels = make(map[uint16]*DataChannel)
	s.nextID = 1
}

func (s *dataState) forget(d *DataChannel) {
	s.mu.Lock()
	if s.channels[d.ID()] == d {
		delete(s.channels, d.ID())
	}
	s.mu.Unlock()
}

// forgetOn forgets a channel unless it has been opened again on another stream.
func (s *dataState) forgetOn(d *DataChannel, stream *sctp.Stream) {
	if d.on(stream) {
		s.forget(d)
	}
}

// OpenDataChannel opens a channel towards the client, as soon as its SCTP is
// up; OnDataChannel says when. Errors: ErrDuplicate when the id is taken,
// ErrMalformed for a spec that cannot be, ErrClosed.
func (c *Conn) OpenDataChannel(spec ChannelSpec) (*DataChannel, error) {
	if spec.MaxRetransmits != nil && spec.MaxLifetime != nil {
		return nil, fmt.Errorf("%w: data channel %q with two reliability limits", ErrMalformed, spec.Label)
	}
	if c.ctx.Err() != nil {
		return nil, ErrClosed
	}
	s := &c.data
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.channels) >= maxChannels {
		return nil, fmt.Errorf("%w: more than %d data channels", ErrMalformed, maxChannels)
	}
	if !spec.Negotiated && spec.ID == 0 {
		for s.channels[s.nextID] != nil {
			s.nextID += 2
		}
		spec.ID = s.nextID
	}
	if s.channels[spec.ID] != nil {
		return nil, fmt.Errorf("%w: data channel id %d", ErrDuplicate, spec.ID)
	}
	d := &DataChannel{conn: c, spec: spec, ours: true}
	s.channels[spec.ID] = d
	s.wanted = true
	if s.assoc != nil {
		assoc := s.assoc
		c.goChannel(func() { c.openChannel(assoc, d) })
	} else if s.dtls != nil {
		_ = s.dtls.SetReadDeadline(time.Unix(1, 0)) // interrupt awaitData
	}
	return d, nil
}

// goChannel starts a goroutine of the connection.
func (c *Conn) goChannel(f func()) {
	c.wg.Add(1)
	if !c.host.goFunc(func() { defer c.wg.Done(); f() }) {
		c.wg.Done()
	}
}

// RTT returns SCTP's smoothed round-trip time, false without an association.
// ICE has none to offer: a lite agent sends no checks.
func (c *Conn) RTT() (time.Duration, bool) {
	c.data.mu.Lock()
	assoc := c.data.assoc
	c.data.mu.Unlock()
	if assoc == nil {
		return 0, false
	}
	rtt := time.Duration(assoc.SRTT() * float64(time.Millisecond))
	return rtt, rtt > 0
}

// runData serves the DTLS application data, that is SCTP (RFC 8261), until the
// association ends. SCTP starts with the first record of the client or with
// the first channel of ours, so that a client without data channels costs no
// goroutine for them.
func (c *Conn) runData(d *dtls.Conn) {
	for {
		first, err := c.awaitData(d)
		if err != nil {
			return
		}
		c.runAssociation(&dataConn{Conn: d, first: first})
	}
}

// awaitData returns the client's first record, or nil when we have a channel
// to open.
func (c *Conn) awaitData(d *dtls.Conn) ([]byte, error) {
	s := &c.data
	defer func() {
		s.mu.Lock()
		s.dtls = nil
		s.mu.Unlock()
		_ = d.SetReadDeadline(time.Time{})
	}()
	buf := make([]byte, maxDatagram)
	for {
		_ = d.SetReadDeadline(time.Time{})
		s.mu.Lock()
		s.dtls = d
		wanted := s.wanted
		s.mu.Unlock()
		if wanted {
			return nil, nil
		}
		n, err := d.Read(buf)
		if err == nil {
			return buf[:n], nil
		}
		// An interrupt is OpenDataChannel's, or a late one of the association
		// before this wait.
		if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
			return nil, err
		}
	}
}

// dataConn is what SCTP runs on: the DTLS connection, with a record read
// already put back in front, and without its Close, since media goes on when
// only SCTP ends.
type dataConn struct {
	*dtls.Conn
	first []byte
}

// Read returns the next record.
func (d *dataConn) Read(b []byte) (int, error) {
	if d.first != nil {
		n := copy(b, d.first)
		d.first = nil
		return n, nil
	}
	return d.Conn.Read(b)
}

// Close ends a pending Read.
func (d *dataConn) Close() error {
	return d.SetReadDeadline(time.Unix(1, 0))
}

// runAssociation runs one SCTP association to its end. Both sides open it
// (RFC 9260 section 5.2.1), which is also what makes a resumed one: the client
// takes our INIT for a restart of its peer and keeps its channels.
func (c *Conn) runAssociation(conn *dataConn) {
	log := pionLog{log: c.log}
	assoc, err := sctp.ClientWithOptions(
		sctp.WithNetConn(conn),
		sctp.WithLoggerFactory(log),
		sctp.WithMTU(uint32(c.host.cfg.MTU-dtlsOverhead)),
		sctp.WithMaxReceiveBufferSize(sctpReceiveBuffer),
		sctp.WithMaxMessageSize(uint32(c.host.cfg.MaxMessageSize)),
		// DTLS has an integrity check already (RFC 9653 section 5.1).
		sctp.WithEnableZeroChecksum(true),
	)
	s := &c.data
	if err != nil {
		c.log.Debug("SCTP association failed", "error", err)
		s.mu.Lock()
		s.wanted = false // wait for the client before the next try
		s.mu.Unlock()
		return
	}
	s.mu.Lock()
	s.assoc = assoc
	waiting := make([]*DataChannel, 0, len(s.channels))
	for _, d := range s.channels {
		waiting = append(waiting, d)
	}
	s.mu.Unlock()
	for _, d := range waiting {
		c.goChannel(func() { c.openChannel(assoc, d) })
	}
	for {
		stream, err := assoc.AcceptStream()
		if err != nil {
			break
		}
		c.acceptChannel(stream)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.assoc, s.wanted = nil, false
	for id, d := range s.channels {
		if !d.ours {
			delete(s.channels, id) // the client opens them again if it wants them
		}
	}
}

// openChannel opens one of our channels on an association and reads it.
func (c *Conn) openChannel(assoc *sctp.Association, d *DataChannel) {
	kind, limit := d.spec.channelType()
	stream, err := assoc.OpenStream(d.ID(), sctp.PayloadTypeWebRTCBinary)
	if err != nil {
		return
	}
	if d.spec.Negotiated {
		stream.SetReliabilityParams(d.spec.reliability())
	}
	dc, err := datachannel.Client(stream, &datachannel.Config{
		ChannelType:          kind,
		ReliabilityParameter: limit,
		Negotiated:           d.spec.Negotiated,
		Label:                d.spec.Label,
		Protocol:             d.spec.Protocol,
		Priority:             datachannel.ChannelPriorityNormal,
		LoggerFactory:        pionLog{log: c.log},
	})
	if err != nil {
		c.log.Debug("open data channel", "label", d.Label(), "error", err)
		return
	}
	d.attach(stream, dc)
	c.handler.OnDataChannel(d)
	c.readChannel(d, stream, dc)
}

// acceptChannel takes a stream on which the client sent first: a channel it
// opens, or data for one of ours whose reader is about to start.
func (c *Conn) acceptChannel(stream *sctp.Stream) {
	id := stream.StreamIdentifier()
	s := &c.data
	s.mu.Lock()
	d := s.channels[id]
	known := d != nil && (d.on(nil) || d.on(stream))
	full := len(s.channels)+s.opening >= maxChannels
	if !known && !full {
		s.opening++
	}
	s.mu.Unlock()
	switch {
	case known:
	case full:
		_ = stream.Close()
	default:
		c.goChannel(func() { c.serveChannel(stream) })
	}
}

// serveChannel does the opening handshake (RFC 8832 section 6) and reads.
func (c *Conn) serveChannel(stream *sctp.Stream) {
	cfg := datachannel.Config{LoggerFactory: pionLog{log: c.log}}
	dc, err := datachannel.Server(stream, &cfg)
	s := &c.data
	s.mu.Lock()
	s.opening--
	if err != nil {
		s.mu.Unlock()
		c.log.Debug("data channel refused", "id", stream.StreamIdentifier(), "error", err)
		_ = stream.Close()
		return
	}
	d := &DataChannel{conn: c, spec: specOf(stream.StreamIdentifier(), dc.Config)}
	d.attach(stream, dc)
	s.channels[d.ID()] = d
	s.mu.Unlock()
	c.handler.OnDataChannel(d)
	c.readChannel(d, stream, dc)
}
