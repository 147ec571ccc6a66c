package transport

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

func TestClassify(t *testing.T) {
	long := func(first ...byte) []byte { return append(first, make([]byte, 40)...) }
	stunHeader := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42}, make([]byte, 12)...)
	tests := []struct {
		name string
		b    []byte
		want packetKind
	}{
		{"empty", nil, packetUnknown},
		{"short", make([]byte, 7), packetUnknown},
		{"STUN", stunHeader, packetSTUN},
		{"STUN without cookie", long(0, 1), packetUnknown},
		{"ZRTP", long(16), packetUnknown},
		{"DTLS lowest", long(20), packetDTLS},
		{"DTLS highest", long(63), packetDTLS},
		{"DTLS too short", []byte{22, 254, 253, 0, 0, 0, 0, 0}, packetUnknown},
		{"TURN channel", long(64), packetUnknown},
		{"RTP", long(0x80, 96), packetRTP},
		{"RTP with marker", long(0x90, 0x80|96), packetRTP},
		{"RTP too short", []byte{0x80, 96, 0, 0, 0, 0, 0, 0}, packetUnknown},
		{"RTCP SR", long(0x80, 200), packetRTCP},
		{"RTCP lowest", long(0x80, 192), packetRTCP},
		{"RTCP highest", long(0x80, 223), packetRTCP},
		{"above RTP", long(192), packetUnknown},
	}
	for _, tt := range tests {
		if got := classify(tt.b); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"udp_port":                      func(c *Config) { c.UDPPort = 70000 },
		"tcp_port":                      func(c *Config) { c.TCPPort = 70000 },
		"udp_sockets":                   func(c *Config) { c.UDPSockets = 0 },
		"mtu":                           func(c *Config) { c.MTU = 100 },
		"disconnected_after":            func(c *Config) { c.DisconnectedAfter = 0 },
		"failed_after":                  func(c *Config) { c.FailedAfter = time.Second },
		"connect_timeout":               func(c *Config) { c.ConnectTimeout = 0 },
		"tcp_first_frame_timeout":       func(c *Config) { c.TCPFirstFrame = 0 },
		"tcp_max_unauthenticated":       func(c *Config) { c.TCPUnauthenticated = 0 },
		"tcp_write_buffer":              func(c *Config) { c.TCPWriteBuffer = 1 },
		"data_channel_buffer":           func(c *Config) { c.DataBuffer = 0 },
		"data_channel_max_message_size": func(c *Config) { c.MaxMessageSize = 1 },
		"node_ip":                       func(c *Config) { c.NodeIP = "localhost" },
		"bind_addresses":                func(c *Config) { c.BindAddresses = []string{"eth0"} },
		"ips":                           func(c *Config) { c.IPs.Excludes = []string{"10/8"} },
	} {
		cfg := Default()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestAdvertise(t *testing.T) {
	ap := netip.MustParseAddrPort
	locals := []netip.AddrPort{ap("10.0.0.5:7882"), ap("10.1.0.5:7882"), ap("[2001:db8::5]:7882"), ap("127.0.0.1:7882")}
	external := map[netip.Addr]netip.Addr{netip.MustParseAddr("10.0.0.5"): netip.MustParseAddr("198.51.100.7")}
	tests := []struct {
		name   string
		change func(*Config)
		ext    map[netip.Addr]netip.Addr
		want   string
	}{
		{"as they are", func(*Config) {}, nil, "10.0.0.5:7882 10.1.0.5:7882 [2001:db8::5]:7882 127.0.0.1:7882"},
		{"node ip", func(c *Config) { c.NodeIP = "203.0.113.9" }, nil, "203.0.113.9:7882 [2001:db8::5]:7882 127.0.0.1:7882"},
		{"node ip and internal", func(c *Config) { c.NodeIP, c.AdvertiseInternalIP = "203.0.113.9", true }, nil, "203.0.113.9:7882 10.0.0.5:7882 10.1.0.5:7882 [2001:db8::5]:7882 127.0.0.1:7882"},
		{"discovered", func(*Config) {}, external, "198.51.100.7:7882 10.1.0.5:7882 [2001:db8::5]:7882 127.0.0.1:7882"},
	}
	for _, tt := range tests {
		cfg := Default()
		tt.change(&cfg)
		var got []string
		last := uint32(1<<32 - 1)
		for _, c := range advertise(cfg, "udp", locals, tt.ext) {
			got = append(got, c.Address.String())
			if c.Priority >= last {
				t.Errorf("%s: priorities do not fall: %d after %d", tt.name, c.Priority, last)
			}
			last = c.Priority
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	udp, tcp := newCandidate("udp", locals[3], 200), newCandidate("tcp", locals[0], 0)
	if udp.Priority <= tcp.Priority || udp.Foundation == tcp.Foundation {
		t.Errorf("udp %v, tcp %v", udp, tcp)
	}
	if got := tcp.String(); !strings.HasSuffix(got, " 10.0.0.5 7882 typ host tcptype passive") || !strings.Contains(got, " 1 tcp ") {
		t.Errorf("tcp candidate %q", got)
	}
}

func TestFilters(t *testing.T) {
	f := InterfaceFilter{Includes: []string{"eth0", "eth1"}, Excludes: []string{"eth1"}}
	if !f.allows("eth0") || f.allows("eth1") || f.allows("docker0") || !(InterfaceFilter{}).allows("any") {
		t.Error("interface filter")
	}
	cfg := Default()
	cfg.IPs = IPFilter{Includes: []string{"10.0.0.0/8", "192.0.2.1", "169.254.0.0/16", "127.0.0.0/8"}, Excludes: []string{"10.9.0.0/16"}}
	for ip, want := range map[string]bool{
		"10.1.2.3": true, "10.9.2.3": false, "192.0.2.1": true, "192.0.2.2": false,
		"169.254.1.1": false, "127.0.0.1": false, "224.0.0.1": false, "0.0.0.0": false,
	} {
		if got := cfg.usable(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s usable = %v", ip, got)
		}
	}
}

func TestListenOnAll(t *testing.T) {
	h := testHost(t, testCertificate(t), func(c *Config) {
		c.BindAddresses, c.TCPPort = nil, 0
		c.UDPSockets = 2
	})
	cands := h.Candidates()
	var udp, tcp uint16
	for _, c := range cands {
		port := &udp
		if c.Protocol == "tcp" {
			port = &tcp
		}
		if *port == 0 {
			*port = c.Address.Port()
		}
		if *port != c.Address.Port() {
			t.Errorf("%v is not on port %d", c, *port)
		}
	}
	if udp == 0 || tcp == 0 {
		t.Errorf("candidates %v", cands)
	}
	if n := len(h.sockets); n%2 != 0 || n < 2 {
		t.Errorf("%d sockets", n)
	}
	// Checks reach their connection whichever of the sockets reads them.
	conn := newConn(t, h, newRecorder())
	ufrag, pwd := conn.LocalCredentials()
	for range 10 {
		if exchangeOn(t, h, request(t, ufrag, pwd)) == 0 {
			t.Fatal("no answer")
		}
	}
}

func TestHostErrors(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	cfg := h.cfg
	cfg.UDPPort = -1
	if _, err := NewHost(cfg, h.cert, nil); err == nil {
		t.Error("a host with a bad configuration started")
	}
	cfg = h.cfg
	cfg.BindAddresses = []string{"203.0.113.99"} // nobody's
	if _, err := NewHost(cfg, h.cert, nil); err == nil {
		t.Error("a host on another machine's address started")
	}
	cfg.BindAddresses, cfg.IPs.Includes = nil, []string{"203.0.113.99"}
	if _, err := NewHost(cfg, h.cert, nil); err == nil || !strings.Contains(err.Error(), "no usable local address") {
		t.Errorf("a host without addresses: %v", err)
	}
	cfg.Interfaces = InterfaceFilter{}
	cert := h.cert
	cert.PrivateKey = nil
	if _, err := NewHost(h.cfg, cert, nil); err == nil {
		t.Error("a host without a key started")
	}
	if _, err := h.NewConn(Params{}); err == nil {
		t.Error("a connection without handler was made")
	}
	two := uint16(2)
	if _, err := h.NewConn(Params{Handler: newRecorder(), DataChannels: []ChannelSpec{{MaxLifetime: &two, MaxRetransmits: &two}}}); err == nil {
		t.Error("a channel with two limits was made")
	}
	if n := h.Stats().Connections; n != 0 {
		t.Errorf("%d connections left", n)
	}
}

func TestBufferWarnings(t *testing.T) {
	h := testHost(t, testCertificate(t), func(c *Config) { c.ReceiveBuffer, c.SendBuffer = 1<<30, 1<<30 })
	// As root the request may be granted; otherwise the sysctl is named, once.
	n := 0
	for _, w := range h.Warnings() {
		if strings.Contains(w, "net.core.rmem_max") {
			n++
		}
	}
	if n > 1 {
		t.Errorf("warnings %v", h.Warnings())
	}
}

// stunServer answers binding requests with a fixed mapped address, the first
// one only after a repetition.
func stunServer(t *testing.T, mapped net.IP) string {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for i := 0; ; i++ {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			m := &stun.Message{Raw: buf[:n]}
			if i == 0 || m.Decode() != nil {
				continue
			}
			resp, err := stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess, &stun.XORMappedAddress{IP: mapped, Port: 1}, stun.Fingerprint)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte("noise"), from)
			_, _ = c.WriteTo(resp.Raw, from)
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return c.LocalAddr().String()
}

func TestExternalAddr(t *testing.T) {
	h := testHost(t, testCertificate(t), nil)
	_ = h.Close()
	s, _, err := listenUDP(h, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.conn.Close() }()
	dead, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dead.Close() }()
	ctx, cancel := contextWithin(2 * time.Second)
	defer cancel()
	got, err := externalAddr(ctx, s.conn, []string{dead.LocalAddr().String(), stunServer(t, net.IPv4(198, 51, 100, 7))})
	if err != nil || got.String() != "198.51.100.7" {
		t.Errorf("externalAddr = %v, %v", got, err)
	}
	ctx, cancel = contextWithin(100 * time.Millisecond)
	defer cancel()
	if got, err := externalAddr(ctx, s.conn, []string{dead.LocalAddr().String(), "no port"}); err == nil {
		t.Errorf("externalAddr without answers = %v", got)
	}
	ctx, cancel = contextWithin(time.Second)
	defer cancel()
	if _, err := externalAddr(ctx, s.conn, nil); err == nil {
		t.Error("externalAddr without servers succeeded")
	}
}
