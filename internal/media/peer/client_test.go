package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	prtp "github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// rig is a host and a loop for the peers of one test.
type rig struct {
	t    testing.TB
	host *transport.Host
	loop *Loop
	log  *slog.Logger
}

func newRig(t testing.TB) *rig {
	t.Helper()
	cert, err := transport.NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return newRigWith(t, cert)
}

func newRigWith(t testing.TB, cert tls.Certificate) *rig {
	t.Helper()
	return newRigChanged(t, cert, func(*transport.Config) {})
}

func newRigChanged(t testing.TB, cert tls.Certificate, change func(*transport.Config)) *rig {
	t.Helper()
	cfg := transport.Default()
	cfg.UDPPort, cfg.TCPPort, cfg.EnableLoopback = 0, -1, true
	cfg.BindAddresses = []string{"127.0.0.1"}
	change(&cfg)
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	host, err := transport.NewHost(cfg, cert, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, host: host, loop: NewLoop(), log: log}
	t.Cleanup(func() {
		r.loop.Close()
		if err := host.Close(); err != nil {
			t.Errorf("close host: %v", err)
		}
	})
	return r
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// events records what a Handler is told.
type events struct {
	mu       sync.Mutex
	states   []transport.State
	tracks   map[string]Uplink // by mid
	order    []string
	ended    []string
	asked    [][2]int
	messages []string
	offers   chan offerEvent
	asks     chan [2]int
}

type offerEvent struct {
	sdp  string
	id   uint32
	mids map[string]string
}

func newEvents() *events {
	return &events{tracks: make(map[string]Uplink), offers: make(chan offerEvent, 64), asks: make(chan [2]int, 64)}
}

func (e *events) OnState(s transport.State) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.states = append(e.states, s)
}

func (e *events) OnTrack(u Uplink) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tracks[u.Mid] = u
	e.order = append(e.order, u.Mid)
}

func (e *events) OnTrackEnded(mid string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.tracks, mid)
	e.ended = append(e.ended, mid)
}

func (e *events) OnOffer(sdp string, id uint32, mids map[string]string) {
	e.offers <- offerEvent{sdp, id, mids}
}

func (e *events) OnMediaSections(a, v int) {
	e.mu.Lock()
	e.asked = append(e.asked, [2]int{a, v})
	e.mu.Unlock()
	e.asks <- [2]int{a, v}
}

func (e *events) OnMessage(ch Channel, data []byte, _ bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.messages = append(e.messages, ch.String()+" "+string(data))
}

func (e *events) track(kind sfu.Kind) (Uplink, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, u := range e.tracks {
		if u.Kind == kind {
			return u, true
		}
	}
	return Uplink{}, false
}

func (e *events) has(message string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.messages {
		if m == message {
			return true
		}
	}
	return false
}

// peer makes a peer that is closed with the test.
func (r *rig) peer(mode Mode, change func(*Params)) (*Peer, *events) {
	r.t.Helper()
	e := newEvents()
	params := Params{Mode: mode, Host: r.host, Loop: r.loop, Handler: e, Log: r.log, CNAME: "PA_test"}
	if change != nil {
		change(&params)
	}
	p, err := New(params)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.Close)
	return p, e
}

// client is a browser's side: a stock Pion PeerConnection.
type client struct {
	t  testing.TB
	pc *webrtc.PeerConnection

	mu       sync.Mutex
	received map[string]*webrtc.TrackRemote // by track id
	packets  map[string]int                 // by track id
	seqs     map[string][]uint16
	messages []string
	channels map[string]*webrtc.DataChannel

	stop context.CancelFunc
	ctx  context.Context
	wg   sync.WaitGroup
}

func newClient(t testing.TB) *client { return newClientWith(t, nil) }

func newClientWith(t testing.TB, change func(*webrtc.SettingEngine, *webrtc.MediaEngine)) *client {
	t.Helper()
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	se.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() && ip.To4() != nil })
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	me := &webrtc.MediaEngine{}
	if err := me.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	red := webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: "111/111"}, PayloadType: 63}
	if err := me.RegisterCodec(red, webrtc.RTPCodecTypeAudio); err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{rtp.URIMID, rtp.URIRID, rtp.URIRepairedRID, rtp.URITWCC} {
		for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
			if err := me.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				t.Fatal(err)
			}
		}
	}
	// As browsers do; without it Pion answers an ICE-lite offer as Quirks.Go says.
	if err := se.SetAnsweringDTLSRole(webrtc.DTLSRoleClient); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&se, me)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(se), webrtc.WithMediaEngine(me)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{
		t: t, pc: pc, received: make(map[string]*webrtc.TrackRemote), packets: make(map[string]int),
		seqs: make(map[string][]uint16), channels: make(map[string]*webrtc.DataChannel),
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	pc.OnTrack(c.onTrack)
	pc.OnDataChannel(c.onChannel)
	t.Cleanup(c.close)
	return c
}

func (c *client) close() {
	c.stop()
	if err := c.pc.GracefulClose(); err != nil {
		c.t.Errorf("close client: %v", err)
	}
	c.wg.Wait()
}

func (c *client) onTrack(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	c.mu.Lock()
	c.received[track.ID()] = track
	c.mu.Unlock()
	c.wg.Go(func() {
		for {
			pkt, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.packets[track.ID()]++
			if len(c.seqs[track.ID()]) < 1000 {
				c.seqs[track.ID()] = append(c.seqs[track.ID()], pkt.SequenceNumber)
			}
			c.mu.Unlock()
		}
	})
}

func (c *client) onChannel(dc *webrtc.DataChannel) {
	c.mu.Lock()
	c.channels[dc.Label()] = dc
	c.mu.Unlock()
	dc.OnMessage(func(m webrtc.DataChannelMessage) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.messages = append(c.messages, dc.Label()+" "+string(m.Data))
	})
}

func (c *client) got(trackID string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packets[trackID]
}

func (c *client) has(message string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.messages {
		if m == message {
			return true
		}
	}
	return false
}

// openChannels opens the channels a LiveKit client opens.
func (c *client) openChannels() {
	c.t.Helper()
	no, zero := false, uint16(0)
	for label, init := range map[string]*webrtc.DataChannelInit{
		"_reliable": nil, "_lossy": {Ordered: &no, MaxRetransmits: &zero}, "_data_track": {Ordered: &no, MaxRetransmits: &zero},
	} {
		dc, err := c.pc.CreateDataChannel(label, init)
		if err != nil {
			c.t.Fatal(err)
		}
		c.onChannel(dc)
	}
}

func (c *client) offer(opt *webrtc.OfferOptions) string {
	c.t.Helper()
	o, err := c.pc.CreateOffer(opt)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.pc.SetLocalDescription(o); err != nil {
		c.t.Fatal(err)
	}
	return o.SDP
}

var offerID uint32 = 100

// negotiate makes the client offer and the peer answer.
func (c *client) negotiate(p *Peer, opt *webrtc.OfferOptions) Answer {
	c.t.Helper()
	a, err := p.HandleOffer(c.offer(opt), offerID)
	if err != nil {
		c.t.Fatal(err)
	}
	if a.ID != offerID {
		c.t.Errorf("answer id %d, want %d", a.ID, offerID)
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: a.SDP}); err != nil {
		c.t.Fatalf("answer refused: %v\n%s", err, a.SDP)
	}
	return a
}

// answer takes the next offer of a peer and answers it.
func (c *client) answer(p *Peer, e *events) offerEvent {
	c.t.Helper()
	select {
	case o := <-e.offers:
		if err := p.HandleAnswer(c.answerTo(o), o.id); err != nil {
			c.t.Fatal(err)
		}
		return o
	case <-time.After(patience):
		c.t.Fatal("no offer")
		return offerEvent{}
	}
}

func (c *client) answerTo(o offerEvent) string {
	c.t.Helper()
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: o.sdp}); err != nil {
		c.t.Fatalf("offer refused: %v\n%s", err, o.sdp)
	}
	a, err := c.pc.CreateAnswer(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.pc.SetLocalDescription(a); err != nil {
		c.t.Fatal(err)
	}
	return a.SDP
}

// recvonly adds transceivers to receive on.
func (c *client) recvonly(kind webrtc.RTPCodecType, n int) {
	c.t.Helper()
	for range n {
		if _, err := c.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// publishAudio sends Opus until the test ends.
func (c *client) publishAudio(id string) *webrtc.RTPSender {
	c.t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, id, "stream")
	if err != nil {
		c.t.Fatal(err)
	}
	tr, err := c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		c.t.Fatal(err)
	}
	c.drain(tr.Sender())
	c.pump(20*time.Millisecond, 960, func(seq uint16, ts uint32) error {
		return track.WriteRTP(&prtp.Packet{
			Header:  prtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts},
			Payload: []byte{0x78, byte(seq), 2, 3},
		})
	})
	return tr.Sender()
}

// vp8Key and vp8Delta are the beginnings of VP8 frames: descriptor, frame tag
// and, for the key frame, start code and 320x180.
var (
	vp8Key   = []byte{0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00, 1, 2, 3, 4, 5, 6, 7}
	vp8Delta = []byte{0x10, 0x11, 0x02, 0x00, 1, 2, 3, 4, 5, 6, 7, 8, 9}
)

// publishVideo sends VP8 with those rids (none for a single layer) until the
// test ends; every tenth frame is a key frame.
func (c *client) publishVideo(id string, rids ...string) *webrtc.RTPSender {
	c.t.Helper()
	var sender *webrtc.RTPSender
	var tr *webrtc.RTPTransceiver
	add := func(opts ...func(*webrtc.TrackLocalStaticRTP)) *webrtc.TrackLocalStaticRTP {
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, id, "stream", opts...)
		if err != nil {
			c.t.Fatal(err)
		}
		if sender != nil {
			err = sender.AddEncoding(track)
		} else if tr, err = c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err == nil {
			sender = tr.Sender()
		}
		if err != nil {
			c.t.Fatal(err)
		}
		return track
	}
	send := func(track *webrtc.TrackLocalStaticRTP) {
		c.pump(20*time.Millisecond, 1800, func(seq uint16, ts uint32) error {
			payload := vp8Delta
			if seq%10 == 0 {
				payload = vp8Key
			}
			pkt := &prtp.Packet{Header: prtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: true}, Payload: payload}
			for _, ext := range sender.GetParameters().HeaderExtensions {
				value := ""
				switch ext.URI {
				case rtp.URIMID:
					value = tr.Mid()
				case rtp.URIRID:
					value = track.RID()
				}
				if value != "" {
					if err := pkt.SetExtension(uint8(ext.ID), []byte(value)); err != nil {
						return err
					}
				}
			}
			return track.WriteRTP(pkt)
		})
	}
	if len(rids) == 0 {
		send(add())
	}
	for _, rid := range rids {
		send(add(webrtc.WithRTPStreamID(rid)))
	}
	c.drain(sender)
	return sender
}

// drain reads a sender's RTCP, which pion wants.
func (c *client) drain(s *webrtc.RTPSender) {
	c.wg.Go(func() {
		for {
			if _, _, err := s.ReadRTCP(); err != nil {
				return
			}
		}
	})
}

// pump calls send at an even pace until the test ends.
func (c *client) pump(every time.Duration, ticks uint32, send func(seq uint16, ts uint32) error) {
	c.wg.Go(func() {
		t := time.NewTicker(every)
		defer t.Stop()
		for seq, ts := uint16(1), uint32(1000); ; seq, ts = seq+1, ts+ticks {
			select {
			case <-c.ctx.Done():
				return
			case <-t.C:
			}
			if err := send(seq, ts); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return
			}
		}
	})
}
