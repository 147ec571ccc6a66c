package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Host owns a node's media sockets, its DTLS certificate and the table of its
// connections. Safe for concurrent use.
type Host struct {
	cfg         Config
	cert        tls.Certificate
	fingerprint string
	log         *slog.Logger
	epoch       time.Time // zero of the host's clock, see clock

	sockets    []*udpSocket
	listeners  []*tcpListener
	candidates []Candidate
	warnings   []string

	mu     sync.RWMutex
	creds  map[string]*credential // by local user fragment
	conns  map[*Conn]struct{}
	past   Traffic // of connections that are gone
	closed bool

	stop chan struct{}
	wg   sync.WaitGroup // every goroutine of the host and its connections

	tcpPending atomic.Int64
	drops      dropCounters
}

// dropCounters count what a socket refused, by reason.
type dropCounters struct {
	malformed, unknownAddress, unknownUfrag, badIntegrity, tcpRefused, tcpOverflow atomic.Uint64
}

// HostStats are the counters of a Host since it started.
type HostStats struct {
	// Connections is how many are open now.
	Connections int
	// TCPPending is how many TCP connections have not sent a valid check yet.
	TCPPending int
	// PacketsReceived counts datagrams and frames, whatever became of them.
	PacketsReceived uint64
	// Malformed counts packets that are no STUN, DTLS, RTP or RTCP.
	Malformed uint64
	// UnknownAddress counts packets from addresses without a valid check.
	UnknownAddress uint64
	// UnknownUfrag counts checks for no connection of this host.
	UnknownUfrag uint64
	// BadIntegrity counts checks with a wrong password or fingerprint.
	BadIntegrity uint64
	// TCPRefused counts TCP connections closed for sending no valid check.
	TCPRefused uint64
	// TCPOverflow counts packets dropped because a TCP client is too slow.
	TCPOverflow uint64
	// Traffic is that of all connections, also those that are gone.
	Traffic Traffic
}

// Traffic counts SRTP and SRTCP packets and their bytes on the wire, without
// UDP and IP headers.
type Traffic struct {
	PacketsIn, BytesIn   uint64
	PacketsOut, BytesOut uint64
}

func (t *Traffic) add(s ConnStats) {
	t.PacketsIn += s.PacketsIn
	t.BytesIn += s.BytesIn
	t.PacketsOut += s.PacketsOut
	t.BytesOut += s.BytesOut
}

// NewHost opens the sockets and starts their goroutines. The certificate's key
// must be ECDSA, RSA or Ed25519; see [NewCertificate].
func NewHost(cfg Config, cert tls.Certificate, log *slog.Logger) (*Host, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("media transport: %w", err)
	}
	if len(cert.Certificate) == 0 || cert.PrivateKey == nil {
		return nil, errors.New("media transport: no DTLS certificate")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Host{
		cfg:         cfg,
		cert:        cert,
		fingerprint: CertificateFingerprint(cert.Certificate[0]),
		log:         log,
		epoch:       time.Now(),
		creds:       make(map[string]*credential),
		conns:       make(map[*Conn]struct{}),
		stop:        make(chan struct{}),
	}
	if err := h.open(); err != nil {
		h.closeSockets()
		return nil, fmt.Errorf("media transport: %w", err)
	}
	for _, s := range h.sockets {
		h.wg.Go(s.readLoop)
	}
	for _, l := range h.listeners {
		h.wg.Go(l.acceptLoop)
	}
	h.wg.Go(h.tickLoop)
	return h, nil
}

// open binds every local address and works out what to advertise.
func (h *Host) open() error {
	addrs, err := listenAddrs(h.cfg)
	if err != nil {
		return err
	}
	udpPort, tcpPort := h.cfg.UDPPort, h.cfg.TCPPort
	var udp, tcp []netip.AddrPort
	for _, a := range addrs {
		local, err := h.openUDP(a, udpPort)
		if err != nil {
			if len(h.cfg.BindAddresses) == 0 && a.Is6() {
				h.warnings = append(h.warnings, fmt.Sprintf("not listening on %s: %v", a, err))
				continue
			}
			return err
		}
		udpPort = int(local.Port())
		udp = append(udp, local)
		if tcpPort < 0 {
			continue
		}
		l, err := listenTCP(h, netip.AddrPortFrom(a, uint16(tcpPort)))
		if err != nil {
			return err
		}
		h.listeners = append(h.listeners, l)
		tcpPort = int(l.local.Port())
		tcp = append(tcp, l.local)
	}
	external := h.discoverExternal()
	h.candidates = append(advertise(h.cfg, "udp", udp, external), advertise(h.cfg, "tcp", tcp, external)...)
	return nil
}

func (h *Host) openUDP(a netip.Addr, port int) (netip.AddrPort, error) {
	local := netip.AddrPortFrom(a, uint16(port))
	for range h.cfg.UDPSockets {
		s, warnings, err := listenUDP(h, local)
		if err != nil {
			return netip.AddrPort{}, err
		}
		local = s.local
		h.sockets = append(h.sockets, s)
		for _, w := range warnings {
			if !slices.Contains(h.warnings, w) {
				h.warnings = append(h.warnings, w)
			}
		}
	}
	return local, nil
}

// Candidates returns what to put into SDP, best first.
func (h *Host) Candidates() []Candidate { return slices.Clone(h.candidates) }

// Fingerprint returns the SHA-256 fingerprint of the certificate, as in SDP.
func (h *Host) Fingerprint() string { return h.fingerprint }

// Warnings returns what an operator should know about the sockets, such as the
// sysctl that caps their buffers.
func (h *Host) Warnings() []string { return slices.Clone(h.warnings) }

// Stats returns the host's counters.
func (h *Host) Stats() HostStats {
	h.mu.RLock()
	n, traffic := len(h.conns), h.past
	for c := range h.conns {
		traffic.add(c.Stats())
	}
	h.mu.RUnlock()
	st := HostStats{
		Connections:    n,
		Traffic:        traffic,
		TCPPending:     int(h.tcpPending.Load()),
		Malformed:      h.drops.malformed.Load(),
		UnknownAddress: h.drops.unknownAddress.Load(),
		UnknownUfrag:   h.drops.unknownUfrag.Load(),
		BadIntegrity:   h.drops.badIntegrity.Load(),
		TCPRefused:     h.drops.tcpRefused.Load(),
		TCPOverflow:    h.drops.tcpOverflow.Load(),
	}
	for _, s := range h.sockets {
		st.PacketsReceived += s.received.Load()
	}
	for _, l := range h.listeners {
		st.PacketsReceived += l.received.Load()
	}
	return st
}

// Close closes every connection and socket and waits for all goroutines. It
// must not be called from a Handler.
func (h *Host) Close() error {
	h.mu.Lock()
	first := !h.closed
	h.closed = true
	conns := h.snapshot(nil)
	h.mu.Unlock()
	if first {
		for _, c := range conns {
			_ = c.Close()
		}
		close(h.stop)
		h.closeSockets()
	}
	h.wg.Wait()
	return nil
}

func (h *Host) closeSockets() {
	for _, s := range h.sockets {
		_ = s.conn.Close()
	}
	for _, l := range h.listeners {
		l.close()
	}
}

// goFunc starts a goroutine that Close waits for; false means closed.
func (h *Host) goFunc(f func()) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return false
	}
	h.wg.Go(f)
	return true
}

// clock is the time in nanoseconds since the host started: monotonic, and
// small enough for one atomic.
func (h *Host) clock(at time.Time) int64 { return int64(at.Sub(h.epoch)) }

// tickInterval is how late the timers of a connection may fire.
func (h *Host) tickInterval() time.Duration {
	return max(10*time.Millisecond, min(500*time.Millisecond, h.cfg.DisconnectedAfter/4, h.cfg.ConnectTimeout/4))
}

// tickLoop runs the timers of every connection.
func (h *Host) tickLoop() {
	t := time.NewTicker(h.tickInterval())
	defer t.Stop()
	var conns []*Conn
	for {
		select {
		case <-h.stop:
			return
		case <-t.C:
		}
		h.mu.RLock()
		conns = h.snapshot(conns[:0])
		h.mu.RUnlock()
		now := h.clock(time.Now())
		for _, c := range conns {
			c.tick(now)
		}
		clear(conns)
	}
}

// snapshot appends the connections to buf. The caller holds mu.
func (h *Host) snapshot(buf []*Conn) []*Conn {
	for c := range h.conns {
		buf = append(buf, c)
	}
	return buf
}

// add puts a connection into the table.
func (h *Host) add(c *Conn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return ErrClosed
	}
	h.conns[c] = struct{}{}
	return nil
}

// remove takes a connection out of the table.
func (h *Host) remove(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.conns[c]; ok {
		delete(h.conns, c)
		h.past.add(c.Stats())
	}
}

// register makes checks with the credential find its connection.
func (h *Host) register(cr *credential) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.creds[cr.ufrag]; ok {
		return ErrDuplicate
	}
	h.creds[cr.ufrag] = cr
	return nil
}

// unregister undoes register.
func (h *Host) unregister(cr *credential) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.creds[cr.ufrag] == cr {
		delete(h.creds, cr.ufrag)
	}
}

// credential returns the credential with a local user fragment, or nil.
func (h *Host) credential(ufrag []byte) *credential {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.creds[string(ufrag)]
}

// discoverExternal asks the STUN servers for the address behind each IPv4
// socket's. It runs before the read loops start.
func (h *Host) discoverExternal() map[netip.Addr]netip.Addr {
	out := make(map[netip.Addr]netip.Addr)
	if !h.cfg.UseExternalIP || h.cfg.NodeIP != "" {
		return out
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, s := range h.sockets {
		a := s.local.Addr()
		if !a.Is4() || a.IsLoopback() {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), h.cfg.STUNTimeout)
			defer cancel()
			ext, err := externalAddr(ctx, s.conn, h.cfg.STUNServers)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				h.warnings = append(h.warnings, fmt.Sprintf("no external address for %s, advertising it as it is: %v", a, err))
				return
			}
			out[a] = ext
		})
	}
	wg.Wait()
	return out
}
