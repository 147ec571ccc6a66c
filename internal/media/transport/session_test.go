package transport

import (
	"bytes"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

func TestWrongFingerprint(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	conn := newConn(t, h, r)
	other := CertificateFingerprint(testCertificate(t).Certificate[0])
	if err := conn.SetRemote("u", "p", []Fingerprint{{"sha-256", other}}, "active"); err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	answer := answerFor(t, parseSDP(t, offer.SDP).sd, h, conn)
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is failed", func() bool { return conn.State() == StateFailed })
	if !errors.Is(conn.Err(), ErrFingerprint) {
		t.Errorf("Err = %v, want ErrFingerprint", conn.Err())
	}
	if r.sawState(StateConnected) {
		t.Errorf("states = %v", r.states)
	}
	if _, err := conn.WriteRTP(make([]byte, rtpHeaderSize), nil); err != ErrClosed {
		t.Errorf("WriteRTP = %v, want ErrClosed", err)
	}
	_ = conn.Close()
	if conn.State() != StateClosed || !errors.Is(conn.Err(), ErrFingerprint) {
		t.Errorf("after Close: %v, %v", conn.State(), conn.Err())
	}
}

func TestSetRemote(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	conn := newConn(t, h, newRecorder())
	good := []Fingerprint{{"SHA-256", strings.ToLower(h.Fingerprint())}}
	tests := []struct {
		name, ufrag, setup string
		fps                []Fingerprint
		want               error
	}{
		{"no credentials", "", "active", good, ErrMalformed},
		{"client wants to be server", "u", "passive", good, ErrSetup},
		{"no fingerprint", "u", "active", nil, ErrFingerprint},
		{"weak hash only", "u", "active", []Fingerprint{{"sha-1", "AA"}}, ErrFingerprint},
		{"active", "u", "active", good, nil},
		{"restart, same fingerprint in other case", "u2", "actpass", []Fingerprint{{"sha-256", h.Fingerprint()}}, nil},
		{"another fingerprint", "u3", "active", []Fingerprint{{"sha-256", "AA"}}, ErrFingerprintChanged},
	}
	for _, tt := range tests {
		if err := conn.SetRemote(tt.ufrag, "p", tt.fps, tt.setup); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	_ = conn.Close()
	if err := conn.SetRemote("u", "p", good, "active"); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestSRTPProfiles(t *testing.T) {
	for name, profiles := range map[string][]dtls.SRTPProtectionProfile{
		"client prefers 256": {dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AEAD_AES_128_GCM},
		"256 only":           {dtls.SRTP_AEAD_AES_256_GCM},
		"SHA1 only":          {dtls.SRTP_AES128_CM_HMAC_SHA1_80},
	} {
		t.Run(name, func(t *testing.T) {
			h := testHost(t, testCertificate(t), nil)
			r := newRecorder()
			conn := newConn(t, h, r)
			c := newClient(t, func(se *webrtc.SettingEngine) { se.SetSRTPProtectionProfiles(profiles...) })
			c.connect(h, conn)
			waitConnected(t, conn)
			flow(t, c, conn, r, 1)
			p, _ := conn.dtls.SelectedSRTPProtectionProfile()
			want := profiles[len(profiles)-1] // the server's choice among them
			if uint16(p) != uint16(want) {
				t.Errorf("profile = %#x, want %#x", p, want)
			}
		})
	}
}

func TestClientCloses(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	conn := newConn(t, h, r)
	c := newClient(t)
	c.connect(h, conn)
	waitConnected(t, conn)
	if err := c.pc.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is closed", func() bool { return conn.State() == StateClosed })
	if conn.Err() != ErrRemoteClosed {
		t.Errorf("Err = %v, want ErrRemoteClosed", conn.Err())
	}
	conn.Wait()
	if n := h.Stats().Connections; n != 0 {
		t.Errorf("%d connections left", n)
	}
}

func TestServerCloses(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	conn := newConn(t, h, r, ChannelSpec{Label: "x"})
	c := newClient(t)
	dc, err := c.pc.CreateDataChannel("_reliable", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.watch(dc)
	c.connect(h, conn)
	waitConnected(t, conn)
	eventually(t, "channels are open", func() bool { return r.channel("_reliable") != nil && r.channel("x") != nil })
	closed := make(chan struct{})
	dc.OnClose(func() { close(closed) })
	for range 3 {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	conn.Wait()
	select {
	case <-closed:
	case <-time.After(testDeadline):
		t.Error("the client did not notice")
	}
	if conn.State() != StateClosed || conn.Err() != ErrClosed {
		t.Errorf("%v, %v", conn.State(), conn.Err())
	}
	if err := r.channel("x").Write([]byte("late"), true); !errors.Is(err, ErrChannelNotOpen) {
		t.Errorf("Write after Close = %v", err)
	}
	if _, err := conn.OpenDataChannel(ChannelSpec{Label: "y"}); err != ErrClosed {
		t.Errorf("OpenDataChannel after Close = %v", err)
	}
	if _, err := conn.Export(); err != ErrClosed {
		t.Errorf("Export after Close = %v", err)
	}
}

// closer closes its connection from inside a callback.
type closer struct {
	*recorder
	conn chan *Conn
}

func (c *closer) OnState(s State) {
	c.recorder.OnState(s)
	if s == StateConnected {
		_ = (<-c.conn).Close()
	}
}

func TestCloseFromHandler(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	cl := &closer{recorder: newRecorder(), conn: make(chan *Conn, 1)}
	conn, err := h.NewConn(Params{Handler: cl})
	if err != nil {
		t.Fatal(err)
	}
	cl.conn <- conn
	c := newClient(t)
	c.connect(h, conn)
	eventually(t, "the connection is closed", func() bool { return cl.sawState(StateClosed) })
	conn.Wait()
}

func TestBufferFull(t *testing.T) {
	h := testHost(t, testCertificate(t), func(c *Config) { c.DataBuffer, c.MaxMessageSize = 64<<10, 32<<10 })
	r := newRecorder()
	conn := newConn(t, h, r, ChannelSpec{Label: "x"})
	nat := newNATProxy(t, h.Candidates()[0].Address)
	c := newClient(t)
	if _, err := c.pc.CreateDataChannel("_reliable", nil); err != nil {
		t.Fatal(err)
	}
	c.negotiate(h, conn, false, nat.through)
	waitConnected(t, conn)
	eventually(t, "the channel is open", func() bool { return r.channel("x") != nil && c.isOpen("x") })
	d := r.channel("x")
	if err := d.Write(make([]byte, 33<<10), false); err != ErrMessageTooLarge {
		t.Errorf("oversized message: %v", err)
	}
	nat.setCut(true)
	eventually(t, "the buffer is full", func() bool {
		err := d.Write(make([]byte, 8<<10), false)
		if err != nil && err != ErrBufferFull {
			t.Fatal(err)
		}
		return err == ErrBufferFull
	})
	if n := d.BufferedAmount(); n == 0 || n > 64<<10 {
		t.Errorf("BufferedAmount = %d", n)
	}
	nat.setCut(false)
	eventually(t, "the buffer drains", func() bool { return d.BufferedAmount() == 0 })
}

func TestGoroutinesPerConnection(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	conn := newConn(t, h, r)
	c := newClient(t)
	before := runtime.NumGoroutine()
	for range 100 {
		_ = newConn(t, h, newRecorder())
	}
	if n := runtime.NumGoroutine() - before; n > 0 {
		t.Errorf("waiting connections started %d goroutines", n)
	}
	c.connect(h, conn)
	waitConnected(t, conn)
	count := func() int {
		buf := make([]byte, 4<<20)
		n := 0
		for _, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			if bytes.Contains(g, []byte("transport.(*Conn)")) || bytes.Contains(g, []byte("transport.recordConn")) {
				n++
			}
		}
		return n
	}
	eventually(t, "an RTP-only connection has its session and record reader only", func() bool { return count() == 2 })
}

func TestManyConnectionsLeaveNothing(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	h := testHost(t, testCertificate(t), func(c *Config) { c.TCPPort = 0 })
	for range 1000 {
		conn, err := h.NewConn(Params{Handler: newRecorder(), DataChannels: []ChannelSpec{{Label: "x"}}})
		if err != nil {
			t.Fatal(err)
		}
		ufrag, pwd := conn.LocalCredentials()
		if m := exchangeOn(t, h, request(t, ufrag, pwd)); m == 0 {
			t.Fatal("no answer to a check")
		}
		_ = conn.Close()
		conn.Wait()
	}
	for range 20 {
		r := newRecorder()
		conn := newConn(t, h, r, ChannelSpec{Label: "x"})
		c := newClient(t)
		c.connect(h, conn)
		waitConnected(t, conn)
		_ = conn.Close()
		conn.Wait()
		if err := c.pc.GracefulClose(); err != nil {
			t.Fatal(err)
		}
	}
	if st := h.Stats(); st.Connections != 0 {
		t.Errorf("%d connections left", st.Connections)
	}
	h.mu.RLock()
	if len(h.creds) != 0 {
		t.Errorf("%d credentials left", len(h.creds))
	}
	h.mu.RUnlock()
	s := h.sockets[0]
	s.mu.RLock()
	if len(s.pairs) != 0 {
		t.Errorf("%d addresses left", len(s.pairs))
	}
	s.mu.RUnlock()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, ignore)
	if _, err := h.NewConn(Params{Handler: newRecorder()}); err != ErrClosed {
		t.Errorf("NewConn on a closed host: %v", err)
	}
}

// exchangeOn sends a check and returns the length of the answer.
func exchangeOn(t *testing.T, h *Host, b []byte) int {
	t.Helper()
	c, err := net.Dial("udp", h.Candidates()[0].Address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(testDeadline))
	n, err := c.Read(make([]byte, 1500))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
