package turn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 5 * time.Second

// counts records what the metrics callbacks say.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counts) inc(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[name]++
}

// String lists all counts.
func (c *counts) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.n)
}

func (c *counts) get(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[name]
}

func (c *counts) metrics() Metrics {
	return Metrics{
		Opened:  func(t Transport) { c.inc("opened " + string(t)) },
		Closed:  func(t Transport) { c.inc("closed " + string(t)) },
		Refused: func(r Reason) { c.inc("refused " + string(r)) },
		Relayed: func(t Transport, d Direction, n int) { c.inc(string(t) + " " + string(d)) },
	}
}

// clock is a clock that tests turn.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type fixture struct {
	*Server
	counts *counts
	clock  *clock
	echo   *net.UDPConn // a media address
	roots  *x509.CertPool
}

// start runs a server on loopback with one echoing media address.
func start(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	return startWith(t, "a secret of some length", change)
}

func startWith(t *testing.T, secret string, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{counts: &counts{}, clock: &clock{at: time.Now()}, echo: echo(t)}
	cert, key, roots := writeCertificate(t, t.TempDir(), 1)
	f.roots = roots
	cfg := Config{
		UDPPort: AnyPort, TLSPort: AnyPort, Domain: "turn.example.com", CertFile: cert, KeyFile: key,
		BindAddrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, NodeIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		MediaAddrs: []netip.AddrPort{f.echo.LocalAddr().(*net.UDPAddr).AddrPort()}, AllowLoopback: true,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, Deps{Secret: []byte(secret), Metrics: f.counts.metrics(), Now: f.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if n := s.Allocations(); n != 0 {
			t.Errorf("%d allocations after Close", n)
		}
	})
	f.Server = s
	return f
}

// echo answers every datagram until the test ends.
func echo(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return conn
}

// writeCertificate makes a self-signed certificate in two files.
func writeCertificate(t *testing.T, dir string, serial int64) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "turn.example.com"}, DNSNames: []string{"turn.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	err = errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(leaf)
	return certFile, keyFile, roots
}

// dial connects pion's TURN client over a transport.
func (f *fixture) dial(t *testing.T, over Transport, username, password string) *turn.Client {
	t.Helper()
	var conn net.PacketConn
	addr := f.TLSAddr()
	switch over {
	case UDP:
		addr = f.UDPAddr()
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conn = c
	case TCP:
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conn = turn.NewSTUNConn(c)
	case TLS:
		c, err := tls.Dial("tcp", addr.String(), &tls.Config{RootCAs: f.roots, ServerName: "turn.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		conn = turn.NewSTUNConn(c)
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: addr.String(), Conn: conn, Username: username, Password: password, Realm: Realm,
		LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled},
	})
	if err == nil {
		err = client.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); _ = conn.Close() })
	return client
}

func (f *fixture) allocate(t *testing.T, over Transport, participant string) (*turn.Client, net.PacketConn) {
	t.Helper()
	user, password := f.Credentials(participant, f.clock.now())
	client := f.dial(t, over, user, password)
	relay, err := client.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	return client, relay
}

// guests counts the connections that are not strangers.
func (f *fixture) guests() int {
	l := f.listeners[0]
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, c := range l.conns {
		c.mu.Lock()
		if c.welcome {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// ping sends through the relay and expects the echo.
func ping(t *testing.T, relay net.PacketConn, peer net.Addr) {
	t.Helper()
	buf := make([]byte, 2048)
	for i := range 20 { // the first by indication, later ones by channel
		want := fmt.Sprintf("packet %d %s", i, strings.Repeat("x", i*60))
		if _, err := relay.WriteTo([]byte(want), peer); err != nil {
			t.Fatal(err)
		}
		_ = relay.SetReadDeadline(time.Now().Add(wait))
		n, from, err := relay.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) != want || from.String() != peer.String() {
			t.Fatalf("got %q from %v", buf[:n], from)
		}
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(wait); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestRelay(t *testing.T) {
	for _, over := range []Transport{UDP, TLS, TCP} {
		t.Run(string(over), func(t *testing.T) {
			f := start(t, func(c *Config) { c.ExternalTLS = over == TCP })
			_, relay := f.allocate(t, over, "PA_1")
			if addr := relay.LocalAddr().(*net.UDPAddr); !addr.IP.Equal(net.IPv4(127, 0, 0, 1)) {
				t.Errorf("relay address %v", addr)
			}
			if guests := f.guests(); over != UDP && guests != 1 {
				t.Errorf("%d connections are welcome", guests)
			}
			ping(t, relay, f.echo.LocalAddr())
			eventually(t, "all packets are counted", func() bool {
				return f.counts.get(string(over)+" from_client") == 20 && f.counts.get(string(over)+" to_client") == 20
			})
			if err := relay.Close(); err != nil {
				t.Error(err)
			}
			eventually(t, "the allocation ends", func() bool { return f.Allocations() == 0 })
			if f.counts.get("opened "+string(over)) != 1 || f.counts.get("closed "+string(over)) != 1 {
				t.Errorf("counted %v", f.counts)
			}
		})
	}
}

// TestCloseEndsClients: Close returns with clients of every kind connected.
func TestCloseEndsClients(t *testing.T) {
	f := start(t, nil)
	_, a := f.allocate(t, UDP, "PA_1")
	_, b := f.allocate(t, TLS, "PA_2")
	ping(t, a, f.echo.LocalAddr())
	ping(t, b, f.echo.LocalAddr())
	silent, err := net.Dial("tcp", f.TLSAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f.Allocations() != 0 || f.counts.get("closed udp") != 1 || f.counts.get("closed tls") != 1 {
		t.Errorf("%d allocations, counted %v", f.Allocations(), f.counts)
	}
	_ = silent.SetReadDeadline(time.Now().Add(wait))
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("silent connection: %v", err)
	}
}

func TestCredentialsRefused(t *testing.T) {
	f := start(t, nil)
	user, password := f.Credentials("PA_1", f.clock.now())
	later := fmt.Sprintf("%d:PA_1", f.clock.now().Add(time.Hour).Unix())
	for name, tc := range map[string]struct {
		user, password string
		reason         Reason
	}{
		"wrong password":         {user, password + "x", RefusedCredentials},
		"longer expiry":          {later, password, RefusedCredentials},
		"of another participant": {strings.Replace(user, "PA_1", "PA_2", 1), password, RefusedCredentials},
		"no expiry":              {"PA_1", password, RefusedCredentials},
		"no participant":         {"1893456000:", password, RefusedCredentials},
		"long":                   {user + strings.Repeat("x", 300), password, RefusedCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			before := f.counts.get("refused " + string(tc.reason))
			if _, err := f.dial(t, UDP, tc.user, tc.password).Allocate(); err == nil {
				t.Fatal("allocated")
			}
			if f.counts.get("refused "+string(tc.reason)) <= before {
				t.Errorf("counted %v", f.counts)
			}
		})
	}
	if f.Allocations() != 0 {
		t.Errorf("%d allocations", f.Allocations())
	}
	other := startWith(t, "another secret of the length", nil)
	if _, err := other.dial(t, UDP, user, password).Allocate(); err == nil {
		t.Error("a server with another secret accepts the credentials")
	}
	// One with the same secret does, as the nodes of a cluster do.
	relay, err := start(t, nil).dial(t, UDP, user, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	_ = relay.Close()
}

func TestCredentialsExpire(t *testing.T) {
	f := start(t, func(c *Config) { c.TTL = time.Minute })
	user, password := f.Credentials("PA_1", f.clock.now())
	relay, err := f.dial(t, UDP, user, password).Allocate()
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	f.clock.advance(time.Minute + time.Second)
	if _, err := f.dial(t, UDP, user, password).Allocate(); err == nil {
		t.Error("expired credentials accepted")
	}
	if f.counts.get("refused expired") != 1 {
		t.Errorf("counted %v", f.counts)
	}
	// The allocation made in time goes on: this needs a permission.
	ping(t, relay, f.echo.LocalAddr())
}

// TestForeignPeerRefused: nothing but the media addresses can be reached.
func TestForeignPeerRefused(t *testing.T) {
	f := start(t, nil)
	client, relay := f.allocate(t, UDP, "PA_1")
	for _, ip := range []string{"10.0.0.1", "127.0.0.2", "169.254.169.254", "8.8.8.8", "0.0.0.0"} {
		if err := client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(ip), Port: 7882}); err == nil {
			t.Errorf("permission for %s", ip)
		}
	}
	if f.counts.get("refused peer") != 5 {
		t.Errorf("counted %v", f.counts)
	}
	// Another service of this machine, which the permission for the media
	// address would cover: neither direction passes.
	other := echo(t)
	if _, err := relay.WriteTo([]byte("to another port"), other.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the packet is refused", func() bool { return f.counts.get("refused peer") == 6 })
	if _, err := other.WriteTo([]byte("from another port"), relay.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	ping(t, relay, f.echo.LocalAddr()) // fails if the other packet came through
	// The list can be replaced while clients are connected.
	if err := f.SetMediaAddrs([]netip.AddrPort{other.LocalAddr().(*net.UDPAddr).AddrPort()}); err != nil {
		t.Fatal(err)
	}
	ping(t, relay, other.LocalAddr())
}

func TestQuotaAndRelease(t *testing.T) {
	f := start(t, func(c *Config) { c.AllocationsPerParticipant = 2 })
	f.allocate(t, UDP, "PA_1")
	f.allocate(t, UDP, "PA_1")
	_, others := f.allocate(t, UDP, "PA_2")
	user, password := f.Credentials("PA_1", f.clock.now())
	if _, err := f.dial(t, UDP, user, password).Allocate(); err == nil || !strings.Contains(err.Error(), "486") {
		t.Errorf("third allocation: %v", err)
	}
	if f.counts.get("refused quota") != 1 {
		t.Errorf("counted %v", f.counts)
	}
	f.Release("PA_1")
	f.Release("PA_9")
	eventually(t, "the allocations end", func() bool { return f.Allocations() == 1 })
	f.allocate(t, UDP, "PA_1")
	ping(t, others, f.echo.LocalAddr())
}

func TestRelayRange(t *testing.T) {
	// Ask the system for a free port and make it the whole range.
	probe, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	port := probe.LocalAddr().(*net.UDPAddr).Port
	f := start(t, func(c *Config) { c.RelayRangeStart, c.RelayRangeEnd = port, port })
	user, password := f.Credentials("PA_1", f.clock.now())
	// Another program holds it.
	if _, err := f.dial(t, UDP, user, password).Allocate(); err == nil || !strings.Contains(err.Error(), "508") {
		t.Errorf("port in use: %v", err)
	}
	_ = probe.Close()
	_, relay := f.allocate(t, UDP, "PA_1")
	if got := relay.LocalAddr().(*net.UDPAddr).Port; got != port {
		t.Errorf("relay port %d, want %d", got, port)
	}
	// We hold it.
	if _, err := f.dial(t, UDP, user, password).Allocate(); err == nil || !strings.Contains(err.Error(), "508") {
		t.Errorf("range exhausted: %v", err)
	}
	f.Release("PA_1")
	eventually(t, "the allocation ends", func() bool { return f.Allocations() == 0 })
	f.allocate(t, UDP, "PA_1")
	if f.counts.get("refused capacity") != 2 {
		t.Errorf("counted %v", f.counts)
	}
}

func TestTCPPeersRefused(t *testing.T) {
	f := start(t, func(c *Config) { c.ExternalTLS = true })
	user, password := f.Credentials("PA_1", f.clock.now())
	if _, err := f.dial(t, TCP, user, password).AllocateTCP(); err == nil {
		t.Error("TCP relay allocated")
	}
	g := f.relays.generator(UDP, netip.MustParseAddr("127.0.0.1"))
	for name, conf := range map[string]turn.AllocateListenerConfig{
		"search for an even port": {Network: "udp4"},
		"reserved port":           {Network: "udp4", UserID: "PA_1", RequestedPort: 5000},
		"IPv6 without node IP":    {Network: "udp6", UserID: "PA_1"},
	} {
		if c, _, err := g.AllocatePacketConn(conf); err == nil {
			_ = c.Close()
			t.Errorf("%s: allocated", name)
		}
	}
	if _, err := g.AllocateConn(turn.AllocateConnConfig{}); err == nil {
		t.Error("connected to a TCP peer")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := g.AllocatePacketConn(turn.AllocateListenerConfig{Network: "udp4", UserID: "PA_1"}); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestICEServers(t *testing.T) {
	node := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	for name, tc := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"both": {func(*Config) {}, []string{
			"turn:192.0.2.1:UDP?transport=udp", "turn:[2001:db8::1]:UDP?transport=udp", "turns:turn.example.com:TLS?transport=tcp"}},
		"UDP only": {func(c *Config) { c.TLSPort = 0 }, []string{
			"turn:192.0.2.1:UDP?transport=udp", "turn:[2001:db8::1]:UDP?transport=udp"}},
		"TLS in front": {func(c *Config) { c.UDPPort, c.ExternalTLS = 0, true }, []string{"turns:turn.example.com:443?transport=tcp"}},
		"TLS elsewhere": {func(c *Config) { c.UDPPort, c.ExternalTLS, c.AdvertisedTLSPort = 0, true, 8443 },
			[]string{"turns:turn.example.com:8443?transport=tcp"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, func(c *Config) { c.NodeIPs = node; tc.change(c) })
			got := f.ICEServers("PA_1", f.clock.now())
			if len(got) != 1 {
				t.Fatalf("%+v", got)
			}
			ports := strings.NewReplacer()
			if f.UDPAddr() != nil && f.TLSAddr() != nil {
				ports = strings.NewReplacer("UDP", fmt.Sprint(f.UDPAddr().(*net.UDPAddr).Port), "TLS", fmt.Sprint(f.TLSAddr().(*net.TCPAddr).Port))
			} else if f.UDPAddr() != nil {
				ports = strings.NewReplacer("UDP", fmt.Sprint(f.UDPAddr().(*net.UDPAddr).Port))
			}
			for i, want := range tc.want {
				if i >= len(got[0].URLs) || got[0].URLs[i] != ports.Replace(want) {
					t.Errorf("URLs %q, want %q", got[0].URLs, tc.want)
				}
			}
			user, password := f.Credentials("PA_1", f.clock.now())
			if len(got[0].URLs) != len(tc.want) || got[0].Username != user || got[0].Credential != password {
				t.Errorf("%+v", got[0])
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	good := func() Config {
		return Config{UDPPort: AnyPort, NodeIPs: []netip.Addr{ip}, BindAddrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
	}
	for name, change := range map[string]func(*Config){
		"no port":             func(c *Config) { c.UDPPort = 0 },
		"port too high":       func(c *Config) { c.UDPPort = 65536 },
		"negative port":       func(c *Config) { c.UDPPort = -2 },
		"advertised any port": func(c *Config) { c.AdvertisedTLSPort = AnyPort },
		"TLS without domain":  func(c *Config) { c.TLSPort = AnyPort; c.ExternalTLS = true },
		"TLS without files":   func(c *Config) { c.TLSPort = AnyPort; c.Domain = "a" },
		"no node IP":          func(c *Config) { c.NodeIPs = nil },
		"unspecified node IP": func(c *Config) { c.NodeIPs = []netip.Addr{netip.IPv4Unspecified()} },
		"range turned round":  func(c *Config) { c.RelayRangeStart, c.RelayRangeEnd = 2, 1 },
		"half a range":        func(c *Config) { c.RelayRangeStart = 1 },
		"range too high":      func(c *Config) { c.RelayRangeStart, c.RelayRangeEnd = 1, 65536 },
		"short TTL":           func(c *Config) { c.TTL = time.Millisecond },
		"negative limit":      func(c *Config) { c.AllocationsPerParticipant = -1 },
		"loopback media":      func(c *Config) { c.MediaAddrs = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:7882")} },
		"mapped loopback":     func(c *Config) { c.MediaAddrs = []netip.AddrPort{netip.MustParseAddrPort("[::ffff:127.0.0.1]:7882")} },
		"media without port":  func(c *Config) { c.MediaAddrs = []netip.AddrPort{netip.AddrPortFrom(ip, 0)} },
		"media everywhere":    func(c *Config) { c.MediaAddrs = []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:7882")} },
		"media at link-local": func(c *Config) { c.MediaAddrs = []netip.AddrPort{netip.MustParseAddrPort("169.254.1.1:7882")} },
		"invalid media":       func(c *Config) { c.MediaAddrs = []netip.AddrPort{{}} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good()
			change(&cfg)
			s, err := New(cfg, Deps{})
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, ErrConfig) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := New(good(), Deps{Secret: []byte("short")}); !errors.Is(err, ErrConfig) {
		t.Errorf("short secret: %v", err)
	}
	cfg := good()
	cfg.TLSPort, cfg.Domain, cfg.CertFile, cfg.KeyFile = AnyPort, "a", "none.pem", "none.pem"
	if _, err := New(cfg, Deps{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no certificate: %v", err)
	}
	s, err := New(good(), Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cfg = good()
	cfg.UDPPort = s.UDPAddr().(*net.UDPAddr).Port
	if _, err := New(cfg, Deps{}); err == nil {
		t.Error("port in use accepted")
	}
}

func TestPeerRule(t *testing.T) {
	prefix := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	media := netip.MustParseAddrPort("10.0.0.5:7882")
	for _, tc := range []struct {
		name      string
		rule      *peerRule
		addr      string
		allow, ip bool
	}{
		{"media", &peerRule{}, "10.0.0.5:7882", true, true},
		{"other port", &peerRule{}, "10.0.0.5:22", false, true},
		{"neighbour", &peerRule{}, "10.0.0.6:7882", false, false},
		{"public", &peerRule{}, "8.8.8.8:53", false, false},
		{"allowed network", &peerRule{allow: prefix("10.0.0.0/8")}, "10.0.0.6:22", true, true},
		{"denied media", &peerRule{deny: prefix("10.0.0.0/24")}, "10.0.0.5:7882", false, false},
		{"denied in allowed", &peerRule{allow: prefix("10.0.0.0/8"), deny: prefix("10.0.0.6/32")}, "10.0.0.6:22", false, false},
		{"loopback in allowed", &peerRule{allow: prefix("0.0.0.0/0")}, "127.0.0.1:22", false, false},
		{"loopback in development", &peerRule{allow: prefix("127.0.0.0/8"), loopback: true}, "127.0.0.1:22", true, true},
		{"multicast in allowed", &peerRule{allow: prefix("0.0.0.0/0")}, "224.0.0.1:22", false, false},
		{"unspecified in allowed", &peerRule{allow: prefix("0.0.0.0/0")}, "0.0.0.0:22", false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.rule.set([]netip.AddrPort{media}); err != nil {
				t.Fatal(err)
			}
			addr := netip.MustParseAddrPort(tc.addr)
			if got := tc.rule.allows(addr); got != tc.allow {
				t.Errorf("packet %t, want %t", got, tc.allow)
			}
			if got := tc.rule.allowsIP(addr.Addr()); got != tc.ip {
				t.Errorf("permission %t, want %t", got, tc.ip)
			}
		})
	}
}

func FuzzParseUsername(f *testing.F) {
	f.Add("1893456000:PA_1")
	f.Add("-1:x")
	f.Fuzz(func(t *testing.T, username string) {
		id, expiry, ok := parseUsername(username)
		if ok && (id == "" || expiry.Unix() <= 0 || !strings.HasSuffix(username, ":"+id)) {
			t.Fatalf("%q: %q, %v", username, id, expiry)
		}
	})
}
