package peer

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/sdp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

var (
	// ErrClosed is returned by a peer that has been closed.
	ErrClosed = errors.New("peer: closed")
	// ErrMode is returned for a call that the peer's mode does not have, such
	// as an offer to a Subscriber.
	ErrMode = errors.New("peer: not possible in this mode")
	// ErrNegotiation is returned for a description that contradicts what has
	// been negotiated before.
	ErrNegotiation = errors.New("peer: description contradicts the session")
	// ErrNegotiationTimeout is reported when a client does not answer an offer.
	ErrNegotiationTimeout = errors.New("peer: no answer to an offer")
	// ErrUnsupportedCodec is reported for a down track whose codecs the client
	// cannot decode.
	ErrUnsupportedCodec = errors.New("peer: the client supports no codec of the track")
	// ErrSectionRefused is reported for a down track whose section the client
	// refused.
	ErrSectionRefused = errors.New("peer: the client refused the media section")
)

// Mode is the role of a connection.
type Mode uint8

// The modes of a connection, as LiveKit's two protocol versions have them.
const (
	// Single is the one connection of protocol v1: the client makes all
	// offers, and media flows both ways.
	Single Mode = iota + 1
	// Publisher is the connection of v0 on which the client offers and sends.
	Publisher
	// Subscriber is the connection of v0 on which the server offers and sends.
	Subscriber
)

// String returns the mode's name in lower case.
func (m Mode) String() string {
	switch m {
	case Single:
		return "single"
	case Publisher:
		return "publisher"
	case Subscriber:
		return "subscriber"
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}

// CodecSpec enables a codec; see [sdp.CodecSpec].
type CodecSpec = sdp.CodecSpec

// Quirks are what a client needs done differently.
type Quirks struct {
	// Firefox does not negotiate repaired-rid: retransmissions are paired by
	// a=ssrc-group.
	Firefox bool
	// Safari loses media on a section that has carried another track before,
	// so sections are never reused.
	Safari bool
	// Go clients announce a track with its first packet, so packets are sent
	// to them also while a track is muted, and they may send another codec
	// than the first they list.
	Go bool
	// NoRED leaves audio/red out.
	NoRED bool
}

// AudioOptions are the Opus parameters asked of the publisher of a track.
type AudioOptions struct {
	// Stereo asks for two channels at a bitrate that suits music.
	Stereo bool
	// NoDTX asks not to stop sending in silence.
	NoDTX bool
}

// Uplink is a track the client sends.
type Uplink struct {
	// Mid is the section that carries it.
	Mid string
	// TrackID and StreamID are the halves of a=msid: TrackID is what the client
	// calls cid in AddTrackRequest. Either may be empty.
	TrackID, StreamID string
	Kind              sfu.Kind
	// Mime is the codec the client sends.
	Mime string
	// Rids are the simulcast layers, lowest first; empty for a single layer.
	Rids []string
	// Receiver gets the packets. The peer closes it when the track ends.
	Receiver *sfu.Receiver
}

// Downlink is a track the client shall receive.
type Downlink struct {
	// TrackID and StreamID become a=msid. TrackID identifies the subscription.
	TrackID, StreamID string
	// ReusedStreamID takes StreamID's place on a section that carried another
	// track before: browsers keep the track id of the first on their receiver,
	// so only the stream can tell which track it is now. "" changes nothing.
	ReusedStreamID string
	Kind           sfu.Kind
	// Codecs are the media types the track can be had in, best first.
	Codecs []string
	// Stereo announces to the client that Opus comes in two channels.
	Stereo bool
	// Bound is called with the down track once its section is negotiated; the
	// caller then adds it to a receiver. The peer closes it. It is called again
	// with a new down track when the client has the section changed.
	Bound func(*sfu.DownTrack)
	// Failed is called instead when the client cannot receive the track. nil
	// is allowed.
	Failed func(error)
}

// Handler is told what happens on a connection. Except for OnMessage the calls
// do not overlap and keep their order. None may block, and none may call
// [Peer.Close].
type Handler interface {
	// OnState receives the states of the transport.
	OnState(s transport.State)
	// OnTrack announces a track the client sends, before its first packet. For
	// a client that does not say which of its codecs it sends ([Quirks].Go) it
	// comes with the first packet.
	OnTrack(t Uplink)
	// OnTrackEnded tells that the client stopped sending on a section.
	OnTrackEnded(mid string)
	// OnOffer has an offer for the client, in Subscriber mode. midToTrack maps
	// mids to Downlink.TrackID.
	OnOffer(sdp string, id uint32, midToTrack map[string]string)
	// OnMediaSections asks the client for an offer with so many further
	// recvonly sections, in Single mode. Both may be 0: an offer is needed, its
	// sections suffice.
	OnMediaSections(audios, videos int)
	// OnMessage receives a message of a data channel, in order per channel.
	// data is valid until it returns; blocking holds back the client.
	OnMessage(ch Channel, data []byte, isString bool)
}

// Params are what a peer is made from.
type Params struct {
	Mode Mode
	// Host provides the sockets. Loop does the periodic work and may serve all
	// peers of the process. Both are required and outlive the peer.
	Host *transport.Host
	Loop *Loop
	// Handler is required.
	Handler Handler
	Log     *slog.Logger
	// Codecs are the enabled codecs; nil means [sdp.DefaultCodecs]. Their order
	// is that of our offers.
	Codecs []CodecSpec
	Quirks Quirks
	// CNAME is the RTCP canonical name of what we send (RFC 7022); "" takes the
	// stream id of each track. It also names the viewer in logs.
	CNAME string
	// PreferredCodec returns the media type a track is to be published in, ""
	// for the client's first. nil is allowed. It is called by HandleOffer on
	// its caller's goroutine.
	PreferredCodec func(trackID string) (mime string)
	// AudioOptions returns the Opus options of a published track; nil means
	// mono with DTX. It is called like PreferredCodec.
	AudioOptions func(trackID string) AudioOptions
	// PLIThrottle is the least time between key-frame requests for each layer.
	PLIThrottle [sfu.MaxLayers]time.Duration
	// Downlink is the congestion feedback asked of the client.
	Downlink sdp.CongestionControl
	// NegotiationFailed is told when the client does not answer an offer in
	// time; it is called like the Handler. nil is allowed.
	NegotiationFailed func(error)
	// Debounce is how long an offer waits for further changes, AnswerTimeout
	// how long an answer may take. Zero means 150 ms and 15 s.
	Debounce, AnswerTimeout time.Duration
}

// Defaults of Params.
const (
	defaultDebounce      = 150 * time.Millisecond
	defaultAnswerTimeout = 15 * time.Second
)

// Answer is the reply to a client's offer.
type Answer struct {
	SDP string
	// ID is that of the offer.
	ID uint32
	// MidToTrack maps the mids of down tracks to Downlink.TrackID.
	MidToTrack map[string]string
}

// Peer is one client's media connection. All methods may be called by any
// goroutine.
type Peer struct {
	params     Params
	log        *slog.Logger
	link       link
	policy     sdp.Policy
	senderSSRC uint32 // of our RTCP

	mu           sync.Mutex // negotiation
	closed       bool
	session      uint64 // o= line
	version      uint64
	protocol     string // of the candidates we offer, "" for all
	host         *transport.Host
	handler      *transportHandler   // of the present connection
	moving       *moving             // while the connection changes hosts
	past         transport.ConnStats // of the connections before
	remote       sdp.ICE
	sections     []*section             // in the order of the m= lines
	downs        map[string]*downlink   // by TrackID
	pending      []*downlink            // without a section, oldest first
	taken        map[uint32]struct{}    // SSRCs we have used
	offering     offering               // Subscriber
	negotiatedAt time.Time              // of the last offer or request for one
	asking       asking                 // Single
	routes       atomic.Pointer[routes] // what packets are routed by

	join     Join // of a resumed peer
	router   router
	feedback feedback
	data     dataChannels
	events   eventQueue
	counters counters
	rttAt    time.Time // of the tick
}

// New makes a peer that waits for its client. In Subscriber mode the first
// offer is made by the first Negotiate or Subscribe.
func New(params Params) (*Peer, error) {
	p, err := newPeer(params)
	if err != nil {
		return nil, err
	}
	p.handler = &transportHandler{peer: p}
	conn, err := params.Host.NewConn(p.transportParams(p.handler))
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	p.link.store(conn)
	p.start()
	return p, nil
}

// transportParams are those of a connection that begins with its handshake.
func (p *Peer) transportParams(h *transportHandler) transport.Params {
	tp := transport.Params{Handler: h, Log: p.log}
	if p.params.Mode == Subscriber {
		tp.DataChannels = channelSpecs()
	}
	return tp
}

// newPeer makes everything but the connection.
func newPeer(params Params) (*Peer, error) {
	if params.Mode < Single || params.Mode > Subscriber {
		return nil, fmt.Errorf("peer: %v is not a mode", params.Mode)
	}
	if params.Host == nil || params.Loop == nil || params.Handler == nil {
		return nil, errors.New("peer: Host, Loop and Handler are required")
	}
	if params.Log == nil {
		params.Log = slog.New(slog.DiscardHandler)
	}
	if params.Codecs == nil {
		params.Codecs = sdp.DefaultCodecs()
	}
	if params.Debounce <= 0 {
		params.Debounce = defaultDebounce
	}
	if params.AnswerTimeout <= 0 {
		params.AnswerTimeout = defaultAnswerTimeout
	}
	p := &Peer{
		params: params, host: params.Host,
		log: params.Log.With("connection", params.Mode.String()),
		policy: sdp.Policy{
			Codecs:   params.Codecs,
			NoRED:    params.Quirks.NoRED || params.Quirks.Safari,
			Downlink: params.Downlink,
		},
		session: rand.Uint64() >> 2, // RFC 8829 section 5.2.1: below 2^62
		downs:   make(map[string]*downlink),
		taken:   make(map[uint32]struct{}),
	}
	p.senderSSRC = p.newSSRC()
	p.router.init(p)
	p.feedback.init()
	p.routes.Store(newRoutes(nil))
	if params.Mode == Subscriber {
		p.sections = []*section{{mid: dataMid, kind: sdp.Application}}
	}
	return p, nil
}

// start begins the periodic work.
func (p *Peer) start() { p.params.Loop.add(p) }

// newSSRC returns a random SSRC that this connection has not used. The caller
// holds mu or is alone.
func (p *Peer) newSSRC() uint32 {
	for {
		ssrc := rand.Uint32() //nolint:gosec // not a secret
		if _, used := p.taken[ssrc]; ssrc != 0 && !used {
			p.taken[ssrc] = struct{}{}
			return ssrc
		}
	}
}

// Mode returns the peer's mode.
func (p *Peer) Mode() Mode { return p.params.Mode }

// State returns the state of the transport.
func (p *Peer) State() transport.State { return p.link.load().State() }

// SetProtocol restricts the candidates of later descriptions to "udp" or "tcp";
// "" lifts that. It takes effect with the client's next ICE restart.
func (p *Peer) SetProtocol(protocol string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.protocol = protocol
}

// local describes our transport for the next description. The caller holds mu.
func (p *Peer) local() *sdp.Local {
	p.version++
	conn, host := p.negotiated()
	ufrag, pwd := conn.LocalCredentials()
	l := &sdp.Local{
		SessionID: p.session, Version: p.version,
		ICE:         sdp.ICE{Ufrag: ufrag, Pwd: pwd},
		Fingerprint: sdp.Fingerprint{Hash: "sha-256", Value: host.Fingerprint()},
	}
	if p.params.Quirks.Go {
		// Pion answers an ICE-lite offer with setup:passive whatever else it
		// says, but keeps to the role it can deduce from a definite one.
		l.Setup = sdp.SetupPassive
	}
	for _, c := range host.Candidates() {
		// Go clients dial no TCP candidates and only waste checks on them.
		if p.params.Quirks.Go && c.Protocol == "tcp" && p.protocol != "tcp" {
			continue
		}
		if p.protocol == "" || p.protocol == c.Protocol {
			l.Candidates = append(l.Candidates, c.String())
		}
	}
	return l
}

// setRemote gives the transport what a description of the client says.
func (p *Peer) setRemote(s *sdp.Session) error {
	if s.ICE.Ufrag == "" {
		return nil // every section is rejected
	}
	fps := make([]transport.Fingerprint, 0, len(s.Fingerprints))
	for _, f := range s.Fingerprints {
		fps = append(fps, transport.Fingerprint{Algorithm: f.Hash, Value: f.Value})
	}
	// What roles allow has been checked before: the client is active.
	conn, _ := p.negotiated()
	if err := conn.SetRemote(s.ICE.Ufrag, s.ICE.Pwd, fps, sdp.SetupActive.String()); err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	p.remote = s.ICE
	return nil
}

// Close ends the connection, its tracks and its down tracks, and waits for its
// goroutines. No Handler is called after it returns. It is idempotent and must
// not be called from a Handler.
func (p *Peer) Close() {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.dropMoving()
	ups, downs := p.endAll()
	conn := p.link.load()
	p.mu.Unlock()
	if first {
		p.params.Loop.remove(p)
		for _, d := range downs {
			d.Close()
		}
		_ = conn.Close() // never fails
		for _, u := range ups {
			u.end()
		}
		p.data.close()
	}
	conn.Wait()
	p.events.close()
}

// endAll takes all tracks out of the routes. The caller holds mu.
func (p *Peer) endAll() (ups []*uplink, downs []*sfu.DownTrack) {
	for _, s := range p.sections {
		if s.up != nil {
			ups = append(ups, s.up)
			s.up = nil
		}
		if s.down != nil && s.down.track != nil {
			downs = append(downs, s.down.track)
		}
		s.down = nil
	}
	p.pending, p.downs = nil, make(map[string]*downlink)
	p.publishRoutes()
	return ups, downs
}

// midToTrack maps the sections of down tracks. The caller holds mu.
func (p *Peer) midToTrack() map[string]string {
	out := make(map[string]string)
	for _, s := range p.sections {
		if s.down != nil {
			out[s.mid] = s.down.TrackID
		}
	}
	return out
}

// hasMime reports whether a media type is in the list, whatever its case.
func hasMime(mimes []string, mime string) bool {
	return slices.ContainsFunc(mimes, func(m string) bool { return equalMime(m, mime) })
}
