package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
)

// State is where a connection is in its life.
type State uint8

// States of a Conn. Disconnected, and Failed with ErrConsent, go back to
// Connected when the client is heard again; other failures are final.
const (
	StateNew          State = iota // no valid check yet
	StateConnecting                // an address is known, keys are not
	StateConnected                 // DTLS and SRTP are up
	StateDisconnected              // silent for DisconnectedAfter
	StateFailed                    // see Conn.Err
	StateClosed                    // closed by either side, or exported
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case StateNew:
		return "new"
	case StateConnecting:
		return "connecting"
	case StateConnected:
		return "connected"
	case StateDisconnected:
		return "disconnected"
	case StateFailed:
		return "failed"
	case StateClosed:
		return "closed"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Handler receives what a client sends. A callback may still be running when
// [Conn.Close] returns, and none may call [Conn.Export], [Conn.Wait] or
// [Host.Close].
type Handler interface {
	// OnRTP receives a decrypted RTP packet and when it was read. It runs on a
	// socket's goroutine and must not block; the calls of one Conn do not
	// overlap with each other or with OnRTCP. pkt is valid until it returns and
	// may be changed.
	OnRTP(pkt []byte, at time.Time)
	// OnRTCP is OnRTP for compound or reduced-size RTCP packets.
	OnRTCP(pkt []byte, at time.Time)
	// OnState receives every change of state in order, from whichever goroutine
	// caused it. It must not block.
	OnState(s State)
	// OnDataChannel announces a channel that can be written to, opened by the
	// client or by us. The first message of a channel comes after it.
	OnDataChannel(c *DataChannel)
	// OnMessage receives one message, in order per channel, on the channel's
	// own goroutine: blocking it holds back that channel's sender. data is
	// valid until it returns.
	OnMessage(c *DataChannel, data []byte, isString bool)
}

// Params are what a connection needs besides its Host.
type Params struct {
	// Handler is required.
	Handler Handler
	// Log is for this connection; nil takes the host's.
	Log *slog.Logger
	// DataChannels are opened as soon as the client's DTLS is up.
	DataChannels []ChannelSpec
}

// Conn is the server side of one client's connection. Safe for concurrent use.
//
// Locks, in the order they may be taken: recvMu; iceMu; sendMu;
// dataState.mu; DataChannel.mu; those of Host, udpSocket and tcpConn; stateMu.
// A Handler is called with recvMu held, or with no lock at all.
type Conn struct {
	host    *Host
	handler Handler
	log     *slog.Logger
	created int64 // host clock
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup // session and channel readers
	stats   connCounters

	selected atomic.Pointer[pair]
	lastSeen atomic.Int64 // host clock of the last authenticated packet
	quiet    atomic.Bool  // the ticker found it silent
	secured  atomic.Bool  // SRTP is up

	iceMu      sync.Mutex // pairs, credentials and the start of the session
	gone       bool
	standby    bool // no DTLS of its own: waits for Resume
	unselected bool // use no address before the client does
	creds      []*credential
	generation uint32
	pairs      []*pair
	remote     remoteParams
	started    bool
	resume     *dtls.State
	dtls       *dtls.Conn
	records    recordQueue

	recvMu sync.Mutex // the inbound half of SRTP
	in     *srtpReceiver
	held   []heldPacket
	deaf   bool

	sendMu sync.Mutex // everything that leaves
	out    *srtpSender
	sealed bool

	data dataState

	stateMu  sync.Mutex
	state    State
	err      error
	events   []State
	draining bool
}

// remoteParams are what the client's SDP says.
type remoteParams struct {
	set          bool
	ufrag, pwd   string
	fingerprints []Fingerprint
}

// heldPacket is a media packet that came before the keys.
type heldPacket struct {
	kind packetKind
	pair *pair
	at   time.Time
	data []byte
}

// maxHeld bounds the packets held until keys are there: half a second of video
// between a nomination and the arrival of the state.
const maxHeld = 256

// connCounters are written by the packet path.
type connCounters struct {
	packetsIn, bytesIn, packetsOut, bytesOut atomic.Uint64
	undecryptable, heldDropped, sendErrors   atomic.Uint64
}

// ConnStats are the counters of a Conn since it was made. Bytes are those of
// SRTP and SRTCP packets on the wire, without UDP and IP headers.
type ConnStats struct {
	PacketsIn, BytesIn   uint64
	PacketsOut, BytesOut uint64
	// Undecryptable counts packets that failed authentication.
	Undecryptable uint64
	// HeldDropped counts packets that came too long before the keys.
	HeldDropped uint64
	// RecordsDropped counts DTLS datagrams that came faster than they were
	// taken.
	RecordsDropped uint64
	// SendErrors counts packets the socket or the TCP queue refused.
	SendErrors uint64
}

// NewConn makes a connection that waits for its client. Put its credentials,
// the host's candidates and fingerprint, "a=ice-lite" and "a=setup:passive"
// (actpass in an offer) into SDP, and call SetRemote with the client's.
func (h *Host) NewConn(p Params) (*Conn, error) {
	return h.newConn(p, false, randomICE(ufragLength), randomICE(pwdLength))
}

// Prepare makes a connection that answers ICE and holds what arrives (up to a
// bound) but does no DTLS of its own: [Conn.Resume] gives it the state of the
// node it takes over from. It is Connecting when the client nominates it or sends
// anything but checks, which is the moment for that node to export.
func (h *Host) Prepare(p Params) (*Conn, error) {
	c, err := h.newConn(p, true, randomICE(ufragLength), randomICE(pwdLength))
	if err != nil {
		return nil, err
	}
	c.iceMu.Lock()
	c.unselected = true // nobody knows its credentials yet
	c.iceMu.Unlock()
	return c, nil
}

func (h *Host) newConn(p Params, standby bool, ufrag, pwd string) (*Conn, error) {
	if p.Handler == nil {
		return nil, errors.New("media transport: connection without handler")
	}
	log := p.Log
	if log == nil {
		log = h.log
	}
	c := &Conn{host: h, handler: p.Handler, log: log, standby: standby, created: h.clock(time.Now())}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.records.init()
	c.data.init()
	for _, spec := range p.DataChannels {
		if _, err := c.OpenDataChannel(spec); err != nil {
			c.cancel()
			return nil, err
		}
	}
	c.iceMu.Lock()
	defer c.iceMu.Unlock()
	if err := c.newCredential(ufrag, pwd); err != nil {
		c.cancel()
		return nil, err
	}
	if err := h.add(c); err != nil {
		c.dropCredentials(c.creds...)
		c.cancel()
		return nil, err
	}
	return c, nil
}

// SetRemote gives the connection what the client's SDP says: ICE credentials,
// the fingerprints its certificate must match one of, and its a=setup role
// ("active" or "actpass"). A later call, for an ICE restart, may change the
// credentials only. Errors: ErrMalformed, ErrSetup, ErrFingerprint when no
// fingerprint has a usable hash, ErrFingerprintChanged.
func (c *Conn) SetRemote(ufrag, pwd string, fingerprints []Fingerprint, setup string) error {
	if ufrag == "" || pwd == "" {
		return fmt.Errorf("%w: remote SDP without ICE credentials", ErrMalformed)
	}
	switch strings.ToLower(setup) {
	case "active", "actpass", "":
	default:
		return fmt.Errorf("%w: a=setup:%s", ErrSetup, setup)
	}
	usable := slices.ContainsFunc(fingerprints, func(f Fingerprint) bool {
		_, ok := fingerprintHash(f.Algorithm)
		return ok
	})
	if !usable {
		return fmt.Errorf("%w: no fingerprint with a known hash", ErrFingerprint)
	}
	c.iceMu.Lock()
	switch {
	case c.gone:
		c.iceMu.Unlock()
		return ErrClosed
	case c.remote.set && !sameFingerprints(c.remote.fingerprints, fingerprints):
		c.iceMu.Unlock()
		return ErrFingerprintChanged
	}
	c.remote = remoteParams{set: true, ufrag: ufrag, pwd: pwd, fingerprints: slices.Clone(fingerprints)}
	c.iceMu.Unlock()
	c.startSession()
	return nil
}

func sameFingerprints(a, b []Fingerprint) bool {
	return slices.EqualFunc(a, b, func(x, y Fingerprint) bool {
		return strings.EqualFold(x.Algorithm, y.Algorithm) && strings.EqualFold(x.Value, y.Value)
	})
}

// handlePacket takes one packet from an address whose check was valid.
func (c *Conn) handlePacket(kind packetKind, b []byte, p *pair, at time.Time) {
	if c.selected.Load() == nil {
		c.selectPair(p)
	}
	if kind == packetDTLS {
		c.records.push(b)
		c.startSession()
		return
	}
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	if c.in == nil {
		c.hold(kind, b, p, at)
		return
	}
	c.receive(kind, b, p, at)
}

// selectPair takes a packet of a prepared connection for the nomination of its
// pair: a client sends only where it has selected, and libwebrtc tells a lite agent
// so with its next check, some 50 ms later.
func (c *Conn) selectPair(p *pair) {
	c.iceMu.Lock()
	if !c.gone && c.selected.Load() == nil {
		c.selected.Store(p)
	}
	c.iceMu.Unlock()
	c.startSession()
	c.refreshState()
}

// hold keeps a packet until the keys are there. The caller holds recvMu.
func (c *Conn) hold(kind packetKind, b []byte, p *pair, at time.Time) {
	if c.deaf || len(c.held) >= maxHeld {
		c.stats.heldDropped.Add(1)
		return
	}
	c.held = append(c.held, heldPacket{kind: kind, pair: p, at: at, data: slices.Clone(b)})
}

// receive decrypts a packet in place and hands it on. The caller holds recvMu.
func (c *Conn) receive(kind packetKind, b []byte, p *pair, at time.Time) {
	size := uint64(len(b))
	var err error
	if kind == packetRTP {
		b, err = c.in.openRTP(b)
	} else {
		b, err = c.in.openRTCP(b)
	}
	if err != nil {
		c.stats.undecryptable.Add(1)
		return
	}
	c.stats.packetsIn.Add(1)
	c.stats.bytesIn.Add(size)
	now := c.host.clock(at)
	p.lastSeen.Store(now)
	c.lastSeen.Store(now)
	if c.quiet.Load() {
		c.quiet.Store(false)
		c.refreshState()
	}
	if kind == packetRTP {
		c.handler.OnRTP(b, at)
	} else {
		c.handler.OnRTCP(b, at)
	}
}

// WriteRTP encrypts and sends one packet: a marshalled RTP header and a
// payload, which is not changed. It returns the bytes sent. Errors:
// ErrNotConnected, ErrClosed, ErrPacketTooLarge, ErrMalformed, ErrIndexUsed,
// ErrBufferFull (TCP), or the socket's; none of the last two ends the
// connection.
func (c *Conn) WriteRTP(header, payload []byte) (int, error) {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	p, err := c.sendable()
	if err != nil {
		return 0, err
	}
	b, err := c.out.sealRTP(header, payload)
	if err != nil {
		return 0, err
	}
	return c.send(p, b)
}

// WriteRTCP encrypts and sends one RTCP packet, compound or reduced-size.
// Errors as WriteRTP.
func (c *Conn) WriteRTCP(raw []byte) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	p, err := c.sendable()
	if err != nil {
		return err
	}
	b, err := c.out.sealRTCP(raw)
	if err != nil {
		return err
	}
	_, err = c.send(p, b)
	return err
}

// sendable returns the pair to send media on. The caller holds sendMu.
func (c *Conn) sendable() (*pair, error) {
	switch p := c.selected.Load(); {
	case c.sealed:
		return nil, ErrClosed
	case c.out == nil || p == nil || c.quiet.Load() && c.consentLost():
		return nil, ErrNotConnected
	default:
		return p, nil
	}
}

// consentLost reports whether the client has been silent for FailedAfter.
func (c *Conn) consentLost() bool {
	c.stateMu.Lock()
	defer c.stateMu.Unlock()
	return c.state == StateFailed
}

// send gives a packet to the socket. The caller holds sendMu.
func (c *Conn) send(p *pair, b []byte) (int, error) {
	if err := p.write(b); err != nil {
		c.stats.sendErrors.Add(1)
		return 0, err
	}
	c.stats.packetsOut.Add(1)
	c.stats.bytesOut.Add(uint64(len(b)))
	return len(b), nil
}

// sendRecord sends one DTLS datagram, or loses it like a network would: when
// there is no address yet, and after the connection fell silent.
func (c *Conn) sendRecord(b []byte) {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	if p := c.selected.Load(); p != nil && !c.sealed {
		if err := p.write(b); err != nil {
			c.stats.sendErrors.Add(1)
		}
	}
}

// Stats returns the connection's counters.
func (c *Conn) Stats() ConnStats {
	return ConnStats{
		PacketsIn:     c.stats.packetsIn.Load(),
		BytesIn:       c.stats.bytesIn.Load(),
		PacketsOut:    c.stats.packetsOut.Load(),
		BytesOut:      c.stats.bytesOut.Load(),
		Undecryptable: c.stats.undecryptable.Load(),
		HeldDropped:   c.stats.heldDropped.Load(),
		SendErrors:    c.stats.sendErrors.Load(),

		RecordsDropped: c.records.drops(),
	}
}

// Close ends the connection, telling the client so by close_notify. It does
// not wait and may be called from a Handler; see Wait.
func (c *Conn) Close() error {
	c.end(StateClosed, ErrClosed, false)
	return nil
}

// Wait blocks until the goroutines of a closed connection have ended.
func (c *Conn) Wait() { c.wg.Wait() }

// end takes the connection off the host and stops its goroutines. silent sends
// nothing more, not even close_notify.
func (c *Conn) end(s State, err error, silent bool) {
	c.iceMu.Lock()
	first := !c.gone
	c.gone = true
	d := c.dtls
	c.iceMu.Unlock()
	if first {
		c.cancel()
		if silent {
			c.seal()
		}
		if d != nil {
			_ = d.Close() // sends close_notify when the handshake was complete
		}
		c.seal()
		c.records.close()
		c.release()
	}
	c.setState(s, err)
	if s == StateClosed {
		c.host.remove(c)
	}
}

// seal makes sure that nothing leaves any more once it has returned.
func (c *Conn) seal() {
	c.sendMu.Lock()
	c.sealed = true
	c.sendMu.Unlock()
}

// release gives back credentials and addresses, and forgets held packets.
func (c *Conn) release() {
	c.iceMu.Lock()
	c.dropCredentials(c.creds...)
	for _, p := range c.pairs {
		p.release()
	}
	c.pairs = nil
	c.iceMu.Unlock()
}
