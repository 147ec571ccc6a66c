package transport

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

func TestPairReplaces(t *testing.T) {
	local, other := netip.MustParseAddrPort("10.0.0.1:7882"), netip.MustParseAddrPort("10.0.0.2:7882")
	const now = int64(time.Minute)
	mk := func(f func(*pair)) *pair {
		p := &pair{local: local, priority: 100, generation: 1, firstSeen: now - int64(time.Second)}
		p.lastSeen.Store(now)
		if f != nil {
			f(p)
		}
		return p
	}
	silent := func(d time.Duration, nominated bool) *pair {
		return mk(func(p *pair) {
			p.nominated = nominated
			p.firstSeen = now - int64(time.Hour)
			p.lastSeen.Store(now - int64(d))
		})
	}
	selected := mk(func(p *pair) { p.nominated = true; p.firstSeen = now - int64(time.Hour) })
	tests := []struct {
		name      string
		p, sel    *pair
		nominates bool
		want      bool
	}{
		{"first valid pair", mk(nil), nil, false, true},
		{"second valid pair before a nomination", mk(nil), mk(nil), false, false},
		{"nomination after a first valid pair", mk(nil), mk(nil), true, true},
		{"latest nomination, lower priority", mk(func(p *pair) { p.priority = 1 }), selected, true, true},
		{"aggressive nomination, lower priority", mk(func(p *pair) { p.priority, p.aggressive = 1, true }), selected, true, false},
		{"aggressive nomination, higher priority", mk(func(p *pair) { p.priority, p.aggressive = 200, true }), selected, true, true},
		{"aggressive nomination while the selected pair is silent", mk(func(p *pair) { p.priority, p.aggressive = 1, true }), silent(time.Second, true), true, true},
		{"check of retired credentials", mk(func(p *pair) { p.generation = 0 }), selected, true, false},
		{"check of new credentials without nomination", mk(func(p *pair) { p.generation = 2 }), selected, false, false},
		{"nomination of new credentials, aggressive, lower priority", mk(func(p *pair) { p.generation, p.priority, p.aggressive = 2, 1, true }), selected, true, true},
		{"new port of the same candidate while the old one talks", mk(nil), selected, false, false},
		{"new port of the same candidate after silence", mk(nil), silent(time.Second, true), false, true},
		{"another candidate after the same silence", mk(func(p *pair) { p.priority = 7 }), silent(time.Second, true), false, false},
		{"another local address after the same silence", mk(func(p *pair) { p.local = other }), silent(time.Second, true), false, false},
		{"another candidate after long silence", mk(func(p *pair) { p.priority = 7 }), silent(5*time.Second, true), false, true},
	}
	for _, tt := range tests {
		if got := tt.p.replaces(tt.sel, tt.nominates, now); got != tt.want {
			t.Errorf("%s: replaces = %v, want %v", tt.name, got, tt.want)
		}
	}
	if selected.replaces(selected, true, now) {
		t.Error("a pair replaces itself")
	}
}

func TestICERestart(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	conn := newConn(t, h, r)
	c := newClient(t)
	c.connect(h, conn)
	waitConnected(t, conn)
	next := flow(t, c, conn, r, 1)

	oldUfrag, _ := conn.LocalCredentials()
	if err := conn.RestartICE(); err != nil {
		t.Fatal(err)
	}
	newUfrag, _ := conn.LocalCredentials()
	if newUfrag == oldUfrag {
		t.Fatal("RestartICE kept the user fragment")
	}
	if h.credential([]byte(oldUfrag)) == nil {
		t.Fatal("the old credentials are not answered before a nomination")
	}
	next = flow(t, c, conn, r, next)
	c.negotiate(h, conn, true, nil)
	eventually(t, "the old credentials are retired", func() bool { return h.credential([]byte(oldUfrag)) == nil })
	flow(t, c, conn, r, next)
	if r.sawState(StateDisconnected) || r.sawState(StateFailed) {
		t.Errorf("states = %v", r.states)
	}
}

func TestUnansweredRestartsDoNotPileUp(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	conn := newConn(t, h, newRecorder())
	for range 50 {
		if err := conn.RestartICE(); err != nil {
			t.Fatal(err)
		}
	}
	h.mu.RLock()
	n := len(h.creds)
	h.mu.RUnlock()
	if n > 3 {
		t.Errorf("%d credentials registered", n)
	}
	ufrag, _ := conn.LocalCredentials()
	if h.credential([]byte(ufrag)) == nil {
		t.Error("the newest credentials are not registered")
	}
	_ = conn.Close()
	h.mu.RLock()
	defer h.mu.RUnlock()
	if len(h.creds) != 0 || len(h.conns) != 0 {
		t.Errorf("%d credentials and %d connections after Close", len(h.creds), len(h.conns))
	}
	if err := conn.RestartICE(); err == nil {
		t.Error("RestartICE of a closed connection succeeded")
	}
}

// natProxy is a NAT between one client and a server: rebind gives the client
// another outside port.
type natProxy struct {
	front  *net.UDPConn
	server netip.AddrPort

	mu     sync.Mutex
	back   *net.UDPConn
	client netip.AddrPort
	cut    bool
	wg     sync.WaitGroup
}

func newNATProxy(t *testing.T, server netip.AddrPort) *natProxy {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n := &natProxy{front: front, server: server}
	n.rebind(t)
	n.wg.Go(n.outward)
	t.Cleanup(func() {
		_ = front.Close()
		n.mu.Lock()
		_ = n.back.Close()
		n.mu.Unlock()
		n.wg.Wait()
	})
	return n
}

func (n *natProxy) rebind(t *testing.T) {
	t.Helper()
	back, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	old := n.back
	n.back = back
	n.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	n.wg.Go(func() { n.inward(back) })
}

func (n *natProxy) outward() {
	buf := make([]byte, 2048)
	for {
		k, from, err := n.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		n.mu.Lock()
		n.client = from
		if !n.cut {
			_, _ = n.back.WriteToUDPAddrPort(buf[:k], n.server)
		}
		n.mu.Unlock()
	}
}

func (n *natProxy) inward(back *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		k, _, err := back.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		n.mu.Lock()
		to, cut := n.client, n.cut
		n.mu.Unlock()
		if !cut {
			_, _ = n.front.WriteToUDPAddrPort(buf[:k], to)
		}
	}
}

func (n *natProxy) setCut(cut bool) {
	n.mu.Lock()
	n.cut = cut
	n.mu.Unlock()
}

// through puts the proxy's address where the answer has the host's.
func (n *natProxy) through(text string) string {
	front, _ := netip.ParseAddrPort(n.front.LocalAddr().String())
	return strings.ReplaceAll(text, fmt.Sprintf("127.0.0.1 %d typ", n.server.Port()), fmt.Sprintf("127.0.0.1 %d typ", front.Port()))
}

func TestAddressMigration(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	conn := newConn(t, h, r)
	nat := newNATProxy(t, h.Candidates()[0].Address)
	c := newClient(t)
	c.negotiate(h, conn, false, nat.through)
	waitConnected(t, conn)
	next := flow(t, c, conn, r, 1)

	_, before, _, _ := conn.SelectedPair()
	nat.rebind(t)
	eventually(t, "the connection moves to the new port", func() bool {
		_, after, _, _ := conn.SelectedPair()
		return after != before
	})
	flow(t, c, conn, r, next)
	if r.sawState(StateDisconnected) || r.sawState(StateFailed) {
		t.Errorf("states = %v", r.states)
	}
}

func TestVanishAndReturn(t *testing.T) {
	h := testHost(t, testCertificate(t), func(c *Config) {
		c.DisconnectedAfter, c.FailedAfter = 600*time.Millisecond, 1500*time.Millisecond
	})
	r := newRecorder()
	conn := newConn(t, h, r)
	nat := newNATProxy(t, h.Candidates()[0].Address)
	c := newClient(t)
	c.negotiate(h, conn, false, nat.through)
	waitConnected(t, conn)
	next := flow(t, c, conn, r, 1)

	nat.setCut(true)
	eventually(t, "the connection is disconnected", func() bool { return r.sawState(StateDisconnected) })
	if r.sawState(StateFailed) {
		t.Error("failed at once")
	}
	eventually(t, "the connection is failed", func() bool { return conn.State() == StateFailed })
	if conn.Err() != ErrConsent {
		t.Errorf("Err = %v, want ErrConsent", conn.Err())
	}
	if _, err := conn.WriteRTP(make([]byte, rtpHeaderSize), nil); err != ErrNotConnected {
		t.Errorf("WriteRTP without consent = %v, want ErrNotConnected", err)
	}
	nat.setCut(false)
	eventually(t, "the connection is back", func() bool { return conn.State() == StateConnected })
	if conn.Err() != nil {
		t.Errorf("Err = %v after coming back", conn.Err())
	}
	flow(t, c, conn, r, next)
}

func TestNeverConnects(t *testing.T) {
	h := testHost(t, testCertificate(t), func(c *Config) { c.ConnectTimeout = 100 * time.Millisecond })
	r := newRecorder()
	conn := newConn(t, h, r)
	eventually(t, "the connection is failed", func() bool { return conn.State() == StateFailed })
	if conn.Err() != ErrTimeout {
		t.Errorf("Err = %v, want ErrTimeout", conn.Err())
	}
	_ = conn.Close()
	if conn.State() != StateClosed || conn.Err() != ErrTimeout {
		t.Errorf("after Close: %v, %v", conn.State(), conn.Err())
	}
}

func TestWrongPassword(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	r := newRecorder()
	conn := newConn(t, h, r)
	_, pwd := conn.LocalCredentials()
	c := newClient(t)
	c.negotiate(h, conn, false, func(s string) string {
		return strings.ReplaceAll(s, pwd, strings.Repeat("x", len(pwd)))
	})
	eventually(t, "checks are refused", func() bool { return h.Stats().BadIntegrity > 2 })
	if conn.State() != StateNew {
		t.Errorf("state = %v", conn.State())
	}
}

func TestTCPOnly(t *testing.T) {
	h := testHost(t, testCertificate(t), func(c *Config) { c.TCPPort = 0 })
	r := newRecorder()
	conn := newConn(t, h, r)
	c := newClient(t, func(se *webrtc.SettingEngine) {
		se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
		se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	})
	dc, err := c.pc.CreateDataChannel("_reliable", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.watch(dc)
	c.connect(h, conn)
	waitConnected(t, conn)
	flow(t, c, conn, r, 1)
	if _, _, protocol, _ := conn.SelectedPair(); protocol != "tcp" {
		t.Errorf("protocol = %q", protocol)
	}
	eventually(t, "the channel is open", func() bool { return r.channel("_reliable") != nil && c.isOpen("_reliable") })
	text := strings.Repeat("0123456789abcdef", 3000) // 48 kB, many frames
	if err := r.channel("_reliable").Write([]byte(text), true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a large message arrives over TCP", func() bool { return c.got(message{"_reliable", text, true}) })
	if err := dc.SendText(text); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a large message arrives at the server", func() bool { return r.got(message{"_reliable", text, true}) })
	if h.Stats().TCPPending != 0 {
		t.Errorf("stats = %+v", h.Stats())
	}
}

func TestTCPRefusesStrangers(t *testing.T) {
	h := testHost(t, testCertificate(t), func(c *Config) {
		c.TCPPort, c.TCPFirstFrame, c.TCPUnauthenticated = 0, 200*time.Millisecond, 2
	})
	addr := h.listeners[0].local.String()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	closed := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(testDeadline))
		_, err := c.Read(make([]byte, 1))
		ne, timeout := err.(net.Error)
		return err != nil && !(timeout && ne.Timeout())
	}
	silent, second := dial(), dial()
	eventually(t, "two connections are pending", func() bool { return h.Stats().TCPPending == 2 })
	if !closed(dial()) {
		t.Error("a third unauthenticated connection was kept")
	}
	if _, err := second.Write([]byte{0, 4, 1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	if !closed(second) {
		t.Error("a connection whose first frame is no check was kept")
	}
	if !closed(silent) {
		t.Error("a silent connection was kept")
	}
	eventually(t, "none is pending", func() bool { return h.Stats().TCPPending == 0 })
	if got := h.Stats().TCPRefused; got != 3 {
		t.Errorf("TCPRefused = %d, want 3", got)
	}
}

// request is a binding request as a controlling agent sends it.
func request(t testing.TB, ufrag, pwd string, extra ...stun.Setter) []byte {
	t.Helper()
	setters := append([]stun.Setter{
		stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag + ":peer"),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{1, 2, 3, 4}},
	}, extra...)
	m, err := stun.Build(append(setters, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// exchange sends a packet to the host and returns the answer, or nil.
func exchange(t *testing.T, h *Host, b []byte) *stun.Message {
	t.Helper()
	c, err := net.Dial("udp", h.Candidates()[0].Address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	buf := make([]byte, 1500)
	n, err := c.Read(buf)
	if err != nil {
		return nil
	}
	m := &stun.Message{Raw: buf[:n]}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBindingRequests(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	conn := newConn(t, h, newRecorder())
	ufrag, pwd := conn.LocalCredentials()
	code := func(m *stun.Message) stun.ErrorCode {
		var e stun.ErrorCodeAttribute
		if m == nil || e.GetFrom(m) != nil {
			return 0
		}
		return e.Code
	}
	good := request(t, ufrag, pwd)
	m := exchange(t, h, good)
	if m == nil || m.Type != stun.BindingSuccess {
		t.Fatalf("answer to a valid check = %v", m)
	}
	var x stun.XORMappedAddress
	if err := x.GetFrom(m); err != nil || !x.IP.IsLoopback() || x.Port == 0 {
		t.Errorf("XOR-MAPPED-ADDRESS = %v, %v", x, err)
	}
	if err := stun.NewShortTermIntegrity(pwd).Check(m); err != nil {
		t.Errorf("answer's integrity: %v", err)
	}
	if err := stun.Fingerprint.Check(m); err != nil {
		t.Errorf("answer's fingerprint: %v", err)
	}
	if got := code(exchange(t, h, request(t, ufrag, pwd, stun.RawAttribute{Type: stun.AttrICEControlled, Value: make([]byte, 8)}))); got != stun.CodeRoleConflict {
		t.Errorf("a controlled peer got code %d, want 487", got)
	}
	if got := code(exchange(t, h, request(t, ufrag, pwd, stun.RawAttribute{Type: 0x7abc, Value: []byte{1}}))); got != stun.CodeUnknownAttribute {
		t.Errorf("an unknown required attribute got code %d, want 420", got)
	}
	noFingerprint, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag+":peer"), stun.NewShortTermIntegrity(pwd))
	if err != nil {
		t.Fatal(err)
	}
	noIntegrity, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag+":peer"), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	tampered := append([]byte(nil), good...)
	tampered[len(tampered)-40] ^= 1
	silent := map[string][]byte{
		"unknown ufrag":  request(t, "nobody", pwd),
		"wrong password": request(t, ufrag, "wrong"),
		"no fingerprint": noFingerprint.Raw,
		"no integrity":   noIntegrity.Raw,
		"tampered":       tampered,
		"truncated":      good[:len(good)-4],
		"trailing bytes": append(append([]byte(nil), good...), 0),
	}
	for name, b := range silent {
		if m := exchange(t, h, b); m != nil {
			t.Errorf("%s was answered with %v", name, m)
		}
	}
	st := h.Stats()
	if st.UnknownUfrag != 1 || st.BadIntegrity < 3 || st.Malformed < 2 {
		t.Errorf("stats = %+v", st)
	}
}

func TestAddressesAreBounded(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	conn := newConn(t, h, newRecorder())
	ufrag, pwd := conn.LocalCredentials()
	b := request(t, ufrag, pwd)
	sc := newSTUNScratch()
	for i := range 1000 {
		remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(i >> 8), byte(i)}), 9)
		h.handleSTUN(b, source{udp: h.sockets[0], local: h.sockets[0].local, remote: remote}, time.Now(), sc)
	}
	s := h.sockets[0]
	s.mu.RLock()
	n := len(s.pairs)
	s.mu.RUnlock()
	if n > maxPairs {
		t.Errorf("%d addresses kept", n)
	}
	_ = conn.Close()
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.pairs) != 0 {
		t.Errorf("%d addresses after Close", len(s.pairs))
	}
}
