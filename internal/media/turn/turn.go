// Package turn is the embedded TURN server (RFC 8656), over which clients that
// cannot send UDP to the media port reach it: by UDP on another port, by TLS,
// or by TCP behind something that terminates TLS.
//
// It owns the listeners, the credentials it hands out (see Credentials), and
// the rule whom a client may reach through it: the media addresses of the
// cluster and nothing else, so that the relay is no way into the network it
// stands in. The protocol is pion/turn's. It does not own the media sockets,
// nor ICE; to the SFU a relayed client is a client at a relay address.
//
// Start reading at New, then relay.go for what happens to a packet.
package turn

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
)

// Realm is the authentication realm of the server.
const Realm = "concertina"

// AnyPort as a port lets the system choose one; see Server.UDPAddr and TLSAddr.
const AnyPort = -1

// Defaults of Config.
const (
	DefaultTTL                       = 5 * time.Minute
	DefaultAllocationsPerParticipant = 12
)

// ErrConfig says that a Config cannot work. It is wrapped with the reason.
var ErrConfig = errors.New("turn: invalid configuration")

// Config is what an operator can set, in livekit.yaml under turn, and what the
// node knows about itself.
type Config struct {
	// Domain is the name in the certificate; clients of the TLS port use it.
	Domain string `yaml:"domain"`
	// CertFile and KeyFile are PEM files, read again when they change. They
	// are not used with ExternalTLS.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// TLSPort is the TCP port for TLS, 0 for none.
	TLSPort int `yaml:"tls_port"`
	// UDPPort is the UDP port, 0 for none.
	UDPPort int `yaml:"udp_port"`
	// ExternalTLS says that something in front terminates TLS: TLSPort then
	// takes plain TCP, and clients are told port 443.
	ExternalTLS bool `yaml:"external_tls"`
	// AdvertisedTLSPort is the port clients are told in place of TLSPort, or
	// of 443 with ExternalTLS.
	AdvertisedTLSPort int `yaml:"advertised_tls_port"`
	// RelayRangeStart and RelayRangeEnd are the first and last UDP port of
	// relay addresses; both 0 lets the system choose.
	RelayRangeStart int `yaml:"relay_range_start"`
	RelayRangeEnd   int `yaml:"relay_range_end"`
	// TTL is how long credentials are good for a new allocation, at least one
	// second; 0 is DefaultTTL. Allocations outlive their credentials.
	TTL time.Duration `yaml:"ttl_seconds"`
	// AllocationsPerParticipant limits the relay addresses one participant may
	// hold at a time; 0 is DefaultAllocationsPerParticipant.
	AllocationsPerParticipant int `yaml:"per_user_relay_allocation_limit"`

	// BindAddrs are the addresses to listen on; none means 0.0.0.0.
	BindAddrs []netip.Addr `yaml:"-"`
	// NodeIPs are the addresses under which clients and the SFU reach this
	// node, at most one for IPv4 and one for IPv6. Relay addresses have them.
	NodeIPs []netip.Addr `yaml:"-"`
	// MediaAddrs are the UDP addresses that may be reached through the relay;
	// see Server.SetMediaAddrs.
	MediaAddrs []netip.AddrPort `yaml:"-"`
	// AllowPeers are networks that may be reached besides MediaAddrs, on any
	// port. DenyPeers wins over both.
	AllowPeers []netip.Prefix `yaml:"-"`
	DenyPeers  []netip.Prefix `yaml:"-"`
	// AllowLoopback permits loopback addresses among the above. It is for
	// development: on loopback, services often trust whoever reaches them.
	AllowLoopback bool `yaml:"-"`
}

// Deps are what the server needs from its surroundings.
type Deps struct {
	// Secret authenticates credentials, at least 16 bytes. Nodes that share it
	// accept each other's credentials; none makes a random one.
	Secret []byte
	// Log receives what an operator wants to know; nil discards it.
	Log *slog.Logger
	// Metrics are called as things happen.
	Metrics Metrics
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Server is a running TURN server.
type Server struct {
	cfg       Config
	log       *slog.Logger
	metrics   Metrics
	now       func() time.Time
	key       []byte
	peers     peerRule
	relays    *relays
	server    *turn.Server
	listeners []*listener
	udp, tcp  net.Addr
	closeOnce sync.Once
	closeErr  error
}

// New checks cfg, opens the listeners and serves until Close.
func New(cfg Config, deps Deps) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: deps.Log, metrics: deps.Metrics.complete(), now: deps.Now}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.setSecret(deps.Secret); err != nil {
		return nil, err
	}
	s.peers = peerRule{loopback: cfg.AllowLoopback, allow: cfg.AllowPeers, deny: cfg.DenyPeers}
	if err := s.peers.set(cfg.MediaAddrs); err != nil {
		return nil, err
	}
	s.relays = newRelays(cfg, &s.peers, s.metrics)
	if err := s.listen(); err != nil {
		return nil, err
	}
	s.log.Info("TURN server listening", "udp", s.udp, "tls", s.tcp, "external_tls", cfg.ExternalTLS,
		"relay_range_start", cfg.RelayRangeStart, "relay_range_end", cfg.RelayRangeEnd)
	return s, nil
}

// complete fills in defaults and checks the configuration.
func (c *Config) complete() error {
	if len(c.BindAddrs) == 0 {
		c.BindAddrs = []netip.Addr{netip.IPv4Unspecified()}
	}
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.AllocationsPerParticipant == 0 {
		c.AllocationsPerParticipant = DefaultAllocationsPerParticipant
	}
	switch {
	case c.UDPPort == 0 && c.TLSPort == 0:
		return fmt.Errorf("%w: neither udp_port nor tls_port is set", ErrConfig)
	case badPort(c.UDPPort), badPort(c.TLSPort), c.AdvertisedTLSPort < 0, badPort(c.AdvertisedTLSPort):
		return fmt.Errorf("%w: ports must be between 1 and 65535", ErrConfig)
	case c.TLSPort != 0 && c.Domain == "":
		return fmt.Errorf("%w: tls_port needs domain", ErrConfig)
	case c.TLSPort != 0 && !c.ExternalTLS && (c.CertFile == "" || c.KeyFile == ""):
		return fmt.Errorf("%w: tls_port needs cert_file and key_file, or external_tls", ErrConfig)
	case len(c.NodeIPs) == 0:
		return fmt.Errorf("%w: no node IP for relay addresses", ErrConfig)
	case c.TTL < time.Second:
		return fmt.Errorf("%w: ttl_seconds must be at least 1", ErrConfig)
	case c.AllocationsPerParticipant < 0:
		return fmt.Errorf("%w: per_user_relay_allocation_limit must not be negative", ErrConfig)
	}
	if start, end := c.RelayRangeStart, c.RelayRangeEnd; start != 0 || end != 0 {
		if start < 1 || end > 65535 || start > end {
			return fmt.Errorf("%w: relay_range_start %d to relay_range_end %d is no range of ports", ErrConfig, start, end)
		}
	}
	for _, ip := range c.NodeIPs {
		if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("%w: node IP %v cannot be a relay address", ErrConfig, ip)
		}
	}
	return nil
}

func badPort(p int) bool { return p < AnyPort || p > 65535 }

func (s *Server) setSecret(secret []byte) error {
	if len(secret) == 0 {
		secret = make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return fmt.Errorf("turn: random secret: %w", err)
		}
	}
	if len(secret) < minSecret {
		return fmt.Errorf("%w: the secret has less than %d bytes", ErrConfig, minSecret)
	}
	s.key = deriveKey(secret)
	return nil
}

// listen opens a socket per bind address and port and hands them to pion.
func (s *Server) listen() (err error) {
	conf := turn.ServerConfig{
		Realm:        Realm,
		AuthHandler:  s.authenticate,
		QuotaHandler: s.relays.quota,
		EventHandler: s.events(),
		// pion's log has nothing that an operator needs and the hooks lack;
		// at its debug level it has several lines a packet.
		LoggerFactory: &logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled},
	}
	defer func() {
		if err == nil {
			return
		}
		for _, p := range conf.PacketConnConfigs {
			_ = p.PacketConn.Close()
		}
		for _, l := range conf.ListenerConfigs {
			_ = l.Listener.Close()
		}
	}()
	for _, ip := range s.cfg.BindAddrs {
		if s.cfg.UDPPort != 0 {
			conn, err := net.ListenPacket(family("udp", ip), listenAddr(ip, s.cfg.UDPPort))
			if err != nil {
				return fmt.Errorf("turn: udp_port: %w", err)
			}
			s.udp = conn.LocalAddr()
			conf.PacketConnConfigs = append(conf.PacketConnConfigs, turn.PacketConnConfig{
				PacketConn:            conn,
				RelayAddressGenerator: s.relays.generator(UDP, ip),
				PermissionHandler:     s.permit,
			})
		}
		if s.cfg.TLSPort != 0 {
			l, transport, err := s.listenTLS(ip)
			if err != nil {
				return fmt.Errorf("turn: tls_port: %w", err)
			}
			s.tcp = l.Addr()
			s.listeners = append(s.listeners, l)
			conf.ListenerConfigs = append(conf.ListenerConfigs, turn.ListenerConfig{
				Listener:              l,
				RelayAddressGenerator: s.relays.generator(transport, ip),
				PermissionHandler:     s.permit,
			})
		}
	}
	if s.server, err = turn.NewServer(conf); err != nil {
		return fmt.Errorf("turn: %w", err)
	}
	return nil
}

func (s *Server) listenTLS(ip netip.Addr) (*listener, Transport, error) {
	if s.cfg.ExternalTLS {
		l, err := newListener(family("tcp", ip), listenAddr(ip, s.cfg.TLSPort), nil)
		return l, TCP, err
	}
	conf, err := tlsConfig(s.cfg.CertFile, s.cfg.KeyFile, s.log)
	if err != nil {
		return nil, TLS, err
	}
	l, err := newListener(family("tcp", ip), listenAddr(ip, s.cfg.TLSPort), conf)
	return l, TLS, err
}

func listenAddr(ip netip.Addr, port int) string {
	return net.JoinHostPort(ip.String(), strconv.Itoa(max(port, 0)))
}

// family keeps 0.0.0.0 to IPv4; :: takes both.
func family(network string, ip netip.Addr) string {
	if ip.Is4() {
		return network + "4"
	}
	return network
}

// permit is asked when a client wants to reach an address. pion asks by IP
// only; the port is checked with every packet, see relayConn.
func (s *Server) permit(client net.Addr, peer net.IP) bool {
	ip, ok := netip.AddrFromSlice(peer)
	if ok && s.peers.allowsIP(ip.Unmap()) {
		return true
	}
	s.metrics.Refused(RefusedPeer)
	s.log.Debug("TURN peer refused", "client", client, "peer", peer)
	return false
}

// events counts allocations, whose goroutines Close waits for, and frees their
// connections from the short deadline of strangers.
func (s *Server) events() turn.EventHandler {
	return turn.EventHandler{
		OnAuth: func(src, _ net.Addr, _, _, _ string, _ string, verdict bool) {
			if !verdict {
				s.metrics.Refused(RefusedCredentials)
				s.log.Debug("TURN credentials refused", "client", src)
			}
		},
		OnAllocationCreated: func(src, _ net.Addr, _, _, _ string, _ net.Addr, _ int) {
			s.relays.allocations.add(1)
			for _, l := range s.listeners {
				l.welcome(src)
			}
		},
		OnAllocationDeleted: func(net.Addr, net.Addr, string, string, string) {
			s.relays.allocations.add(-1)
		},
	}
}

// SetMediaAddrs replaces the UDP addresses that may be reached through the
// relay: the media addresses of this node and, as a participant may be moved
// while it is relayed here, of the cluster's other media nodes. Each needs a
// port. Addresses that can only be a mistake are refused with ErrConfig:
// unspecified, multicast, link-local, and loopback without AllowLoopback.
func (s *Server) SetMediaAddrs(addrs []netip.AddrPort) error { return s.peers.set(addrs) }

// Release ends all allocations of a participant, for one that has left.
func (s *Server) Release(participantID string) { s.relays.release(participantID) }

// Allocations returns the number of allocations in use.
func (s *Server) Allocations() int { return s.server.AllocationCount() }

// UDPAddr returns the address of the last UDP listener, nil without one.
func (s *Server) UDPAddr() net.Addr { return s.udp }

// TLSAddr returns the address of the last TLS or TCP listener, nil without one.
func (s *Server) TLSAddr() net.Addr { return s.tcp }

// Close stops listening, ends all allocations and waits for their goroutines.
// It may be called more than once.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.relays.close()
		s.closeErr = s.server.Close()
		for _, l := range s.listeners {
			l.closeConns()
		}
		s.relays.allocations.wait()
		for _, l := range s.listeners {
			l.ended.wait()
		}
	})
	return s.closeErr
}
