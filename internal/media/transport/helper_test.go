package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

const testDeadline = 15 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eventually waits for a condition with a deadline.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(testDeadline)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting until %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func testCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	cert, err := NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func testHost(t testing.TB, cert tls.Certificate, change func(*Config)) *Host {
	t.Helper()
	cfg := Default()
	cfg.UDPPort, cfg.TCPPort = 0, -1
	cfg.BindAddresses = []string{"127.0.0.1"}
	cfg.EnableLoopback = true
	if change != nil {
		change(&cfg)
	}
	h, err := NewHost(cfg, cert, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// message is one data channel message.
type message struct {
	label, text string
	isString    bool
}

// recorder is a Handler that remembers.
type recorder struct {
	mu       sync.Mutex
	rtp      map[uint16]int // by sequence number
	rtcp     [][]byte
	states   []State
	channels map[string]*DataChannel
	messages []message
}

func newRecorder() *recorder {
	return &recorder{rtp: make(map[uint16]int), channels: make(map[string]*DataChannel)}
}

func (r *recorder) OnRTP(b []byte, _ time.Time) {
	var p rtp.Packet
	if p.Unmarshal(b) != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rtp[p.SequenceNumber]++
}

func (r *recorder) OnRTCP(b []byte, _ time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rtcp = append(r.rtcp, bytes.Clone(b))
}

func (r *recorder) OnState(s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, s)
}

func (r *recorder) OnDataChannel(c *DataChannel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.channels[c.Label()] = c
}

func (r *recorder) OnMessage(c *DataChannel, data []byte, isString bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, message{c.Label(), string(data), isString})
}

func (r *recorder) packets() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.rtp)
}

func (r *recorder) has(seq uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rtp[seq] > 0
}

func (r *recorder) channel(label string) *DataChannel {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.channels[label]
}

func (r *recorder) got(m message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.messages {
		if x == m {
			return true
		}
	}
	return false
}

func (r *recorder) sawState(s State) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.states {
		if x == s {
			return true
		}
	}
	return false
}

const (
	serverSSRC = 0x11223344
	serverPT   = 96
)

// client is a stock pion/webrtc client with a video track both ways.
type client struct {
	t     testing.TB
	pc    *webrtc.PeerConnection
	track *webrtc.TrackLocalStaticRTP
	seq   uint16

	mu       sync.Mutex
	received map[uint16]int
	channels map[string]*webrtc.DataChannel
	messages []message
	open     map[string]bool
	sender   *webrtc.RTPSender
}

type clientOption func(*webrtc.SettingEngine)

func newClient(t testing.TB, opts ...clientOption) *client {
	t.Helper()
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	se.SetIPFilter(isLoopback)
	se.SetHostAcceptanceMinWait(0)
	se.SetICETimeouts(30*time.Second, 60*time.Second, 200*time.Millisecond)
	for _, o := range opts {
		o(&se)
	}
	var me webrtc.MediaEngine
	if err := me.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(se), webrtc.WithMediaEngine(&me)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{
		t: t, pc: pc, received: make(map[uint16]int),
		channels: make(map[string]*webrtc.DataChannel), open: make(map[string]bool),
	}
	c.track, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", "client")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := pc.AddTransceiverFromTrack(c.track)
	if err != nil {
		t.Fatal(err)
	}
	c.sender = tr.Sender()
	pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			p, _, err := tr.ReadRTP()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.received[p.SequenceNumber]++
			c.mu.Unlock()
		}
	})
	pc.OnDataChannel(c.watch)
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return c
}

// watch records a channel's messages.
func (c *client) watch(dc *webrtc.DataChannel) {
	c.mu.Lock()
	c.channels[dc.Label()] = dc
	c.mu.Unlock()
	dc.OnOpen(func() {
		c.mu.Lock()
		c.open[dc.Label()] = true
		c.mu.Unlock()
	})
	dc.OnMessage(func(m webrtc.DataChannelMessage) {
		c.mu.Lock()
		c.messages = append(c.messages, message{dc.Label(), string(m.Data), m.IsString})
		c.mu.Unlock()
	})
}

func (c *client) isOpen(label string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[label]
}

func (c *client) got(m message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.messages {
		if x == m {
			return true
		}
	}
	return false
}

func (c *client) packets() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.received)
}

func (c *client) has(seq uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received[seq] > 0
}

// send writes n packets on the client's track.
func (c *client) send(n int) {
	c.t.Helper()
	for range n {
		c.seq++
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: c.seq, Timestamp: uint32(c.seq) * 3000},
			Payload: []byte{0x10, 1, 2, 3},
		}
		if err := c.track.WriteRTP(p); err != nil {
			c.t.Fatal(err)
		}
	}
}

// connect negotiates with a connection: the client offers, we answer.
func (c *client) connect(h *Host, conn *Conn) {
	c.t.Helper()
	c.negotiate(h, conn, false, nil)
}

func (c *client) negotiate(h *Host, conn *Conn, restart bool, change func(string) string) {
	c.t.Helper()
	offer, err := c.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		c.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(offer); err != nil {
		c.t.Fatal(err)
	}
	<-gathered
	local := parseSDP(c.t, c.pc.LocalDescription().SDP)
	if err := local.apply(conn); err != nil {
		c.t.Fatal(err)
	}
	text := answerFor(c.t, local.sd, h, conn)
	if change != nil {
		text = change(text)
	}
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: text}); err != nil {
		c.t.Fatalf("client refused the answer: %v\n%s", err, text)
	}
}

// remoteSDP is what a connection needs of the client's SDP.
type remoteSDP struct {
	sd                 sdp.SessionDescription
	ufrag, pwd, setup  string
	fingerprint, value string
}

func parseSDP(t testing.TB, text string) remoteSDP {
	t.Helper()
	var r remoteSDP
	if err := r.sd.UnmarshalString(text); err != nil {
		t.Fatal(err)
	}
	get := func(key string) string {
		if v, ok := r.sd.MediaDescriptions[0].Attribute(key); ok {
			return v
		}
		v, _ := r.sd.Attribute(key)
		return v
	}
	r.ufrag, r.pwd, r.setup = get("ice-ufrag"), get("ice-pwd"), get("setup")
	r.fingerprint, r.value, _ = strings.Cut(get("fingerprint"), " ")
	return r
}

func (r remoteSDP) apply(conn *Conn) error {
	return conn.SetRemote(r.ufrag, r.pwd, []Fingerprint{{Algorithm: r.fingerprint, Value: r.value}}, r.setup)
}

// transportLines are the attributes every m-section carries.
func transportLines(h *Host, conn *Conn, setup string) string {
	ufrag, pwd := conn.LocalCredentials()
	return fmt.Sprintf("a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:sha-256 %s\r\na=setup:%s\r\n", ufrag, pwd, h.Fingerprint(), setup)
}

func candidateLines(h *Host) string {
	var b strings.Builder
	for _, c := range h.Candidates() {
		fmt.Fprintf(&b, "a=candidate:%s\r\n", c)
	}
	b.WriteString("a=end-of-candidates\r\n")
	return b.String()
}

// answerFor writes the smallest answer a browser would take.
func answerFor(t testing.TB, offer sdp.SessionDescription, h *Host, conn *Conn) string {
	t.Helper()
	group, _ := offer.Attribute("group")
	var b strings.Builder
	fmt.Fprintf(&b, "v=0\r\no=- 1 %d IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:%s\r\na=ice-lite\r\na=msid-semantic: WMS *\r\n", time.Now().UnixNano(), group)
	for i, m := range offer.MediaDescriptions {
		mid, _ := m.Attribute("mid")
		fmt.Fprintf(&b, "m=%s 9 %s %s\r\nc=IN IP4 0.0.0.0\r\na=mid:%s\r\n", m.MediaName.Media,
			strings.Join(m.MediaName.Protos, "/"), strings.Join(m.MediaName.Formats, " "), mid)
		b.WriteString(transportLines(h, conn, "passive"))
		if i == 0 {
			b.WriteString(candidateLines(h))
		}
		if m.MediaName.Media == "application" {
			b.WriteString("a=sctp-port:5000\r\na=max-message-size:65536\r\n")
			continue
		}
		b.WriteString("a=rtcp-mux\r\na=sendrecv\r\n")
		for _, a := range m.Attributes {
			switch a.Key {
			case "rtpmap", "fmtp", "rtcp-fb", "extmap":
				fmt.Fprintf(&b, "a=%s:%s\r\n", a.Key, a.Value)
			}
		}
		fmt.Fprintf(&b, "a=msid:server video\r\na=ssrc:%d cname:server\r\na=ssrc:%d msid:server video\r\n", serverSSRC, serverSSRC)
	}
	return b.String()
}

// writeRTP sends one packet of the server's stream.
func writeRTP(t testing.TB, conn *Conn, seq uint16) {
	t.Helper()
	h, err := (&rtp.Header{Version: 2, PayloadType: serverPT, SSRC: serverSSRC, SequenceNumber: seq, Timestamp: uint32(seq) * 3000}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.WriteRTP(h, []byte{0x10, 4, 5, 6}); err != nil {
		t.Fatal(err)
	}
}

func newConn(t testing.TB, h *Host, r *recorder, channels ...ChannelSpec) *Conn {
	t.Helper()
	c, err := h.NewConn(Params{Handler: r, DataChannels: channels})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func waitConnected(t testing.TB, conn *Conn) {
	t.Helper()
	eventually(t, "the connection is connected", func() bool {
		if s := conn.State(); s == StateFailed || s == StateClosed {
			t.Fatalf("connection is %s: %v", s, conn.Err())
		}
		return conn.State() == StateConnected
	})
}

// flow checks that media runs both ways now; from is the server's next
// sequence number, and the next one after it is returned.
func flow(t testing.TB, c *client, conn *Conn, r *recorder, from uint16) uint16 {
	t.Helper()
	before := r.packets()
	eventually(t, "RTP reaches the server", func() bool { c.send(1); return r.packets() > before+5 })
	before = c.packets()
	eventually(t, "RTP reaches the client", func() bool { writeRTP(t, conn, from); from++; return c.packets() > before+5 })
	return from
}

func contextWithin(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
