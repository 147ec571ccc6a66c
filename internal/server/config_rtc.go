package server

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/config"
)

// RTC is media transport: sockets, addresses, ICE, buffers.
type RTC struct {
	// UDPPort carries the media of every participant. 0 picks a free port.
	UDPPort int `yaml:"udp_port" range:"0..65535" hint:"one port serves all CPUs, a range is not needed"`
	// TCPPort serves ICE over TCP, for networks that block UDP; 0 is off. It
	// must be reachable directly, not through a load balancer.
	TCPPort int `yaml:"tcp_port" range:"0..65535"`
	// UseExternalIP asks a STUN server for the public address of this machine
	// and gives that to clients. For clouds that map a public address to a
	// private one.
	UseExternalIP bool `yaml:"use_external_ip"`
	// NodeIP is the address given to clients when it is not one of this
	// machine and use_external_ip does not find it. An IPv4 and an IPv6
	// address may be given, separated by a comma.
	NodeIP string `yaml:"node_ip"`
	// Interfaces selects network interfaces by name.
	Interfaces Filter `yaml:"interfaces"`
	// IPs selects local addresses by CIDR, for example 10.0.0.0/16.
	IPs Filter `yaml:"ips"`
	// EnableLoopbackCandidate gives clients loopback addresses too.
	EnableLoopbackCandidate bool `yaml:"enable_loopback_candidate"`
	// STUNServers are given to clients, each host:port. Empty leaves clients
	// their own default.
	STUNServers []string `yaml:"stun_servers"`
	// TURNServers are TURN servers elsewhere that are given to clients.
	TURNServers []TURNServer `yaml:"turn_servers"`
	// AllowTCPFallback offers TCP candidates beside UDP ones; clients take them
	// when UDP does not get through.
	AllowTCPFallback bool `yaml:"allow_tcp_fallback"`
	// ForceTCP offers no UDP candidates. For tests of the TCP path.
	ForceTCP bool `yaml:"force_tcp"`
	// PLIThrottle is the least time between two key-frame requests to one
	// publisher, by layer.
	PLIThrottle PLIThrottle `yaml:"pli_throttle"`
	// PacketBufferSizeVideo is the number of packets kept of every video
	// layer to answer retransmission requests.
	PacketBufferSizeVideo int `yaml:"packet_buffer_size_video" range:"64..8192"`
	// PacketBufferSizeAudio is the same for audio tracks.
	PacketBufferSizeAudio int `yaml:"packet_buffer_size_audio" range:"16..8192"`
}

// Filter selects things by name. When includes is given, only those are used
// and excludes has no effect.
type Filter struct {
	// Includes are the only ones to use.
	Includes []string `yaml:"includes"`
	// Excludes are not used.
	Excludes []string `yaml:"excludes"`
}

// TURNServer is a TURN server that is given to clients. It has either a secret
// or a username and a credential.
type TURNServer struct {
	// Host is its name or address.
	Host string `yaml:"host"`
	// Port is where it listens.
	Port int `yaml:"port" range:"1..65535"`
	// Protocol is how clients reach it.
	Protocol string `yaml:"protocol" oneof:"udp tcp tls"`
	// Username is a fixed user name.
	Username string `yaml:"username"`
	// Credential is the password of username. Clients get to see it.
	Credential string `yaml:"credential" secret:"true"`
	// Secret is shared with the server; credentials that expire are made from
	// it for every participant (TURN REST API).
	Secret string `yaml:"secret" secret:"true"`
	// SecretFile holds the secret, instead of secret.
	SecretFile string `yaml:"secret_file"`
	// TTL is how long such credentials live.
	TTL time.Duration `yaml:"ttl" unit:"s" range:"1m.."`
}

// PLIThrottle is the least time between key-frame requests, by layer.
type PLIThrottle struct {
	// LowQuality is for the lowest layer.
	LowQuality time.Duration `yaml:"low_quality" range:"0s..1m"`
	// MidQuality is for the middle layer.
	MidQuality time.Duration `yaml:"mid_quality" range:"0s..1m"`
	// HighQuality is for the highest layer, and for tracks with one layer.
	HighQuality time.Duration `yaml:"high_quality" range:"0s..1m"`
}

// TURN is the embedded TURN server. Its credentials belong to one participant
// and expire.
type TURN struct {
	// Enabled starts it.
	Enabled bool `yaml:"enabled"`
	// Domain is the name under which clients reach it; it must match the
	// certificate. Required for TLS.
	Domain string `yaml:"domain"`
	// CertFile is the certificate of domain in PEM.
	CertFile string `yaml:"cert_file"`
	// KeyFile is the private key of the certificate in PEM.
	KeyFile string `yaml:"key_file"`
	// UDPPort is where it listens for UDP; 0 is off.
	UDPPort int `yaml:"udp_port" range:"0..65535"`
	// TLSPort is where it listens for TLS, usually 5349, or 443 without a load
	// balancer; 0 is off.
	TLSPort int `yaml:"tls_port" range:"0..65535"`
	// ExternalTLS says that a load balancer terminates TLS and forwards plain
	// TCP to tls_port.
	ExternalTLS bool `yaml:"external_tls"`
	// BindAddresses are the IP addresses to listen on.
	BindAddresses []string `yaml:"bind_addresses"`
	// RelayRangeStart is the first UDP port of relayed connections.
	RelayRangeStart int `yaml:"relay_range_start" range:"1..65535"`
	// RelayRangeEnd is the last of these ports.
	RelayRangeEnd int `yaml:"relay_range_end" range:"1..65535"`
	// TTL is how long credentials live.
	TTL time.Duration `yaml:"ttl_seconds" unit:"s" range:"1m..24h"`
	// PerUserRelayAllocationLimit is how many relays one participant may hold
	// at a time.
	PerUserRelayAllocationLimit int `yaml:"per_user_relay_allocation_limit" range:"0.."`
	// AllowRestrictedPeerCIDRs are the private, loopback and link-local
	// networks that may be reached through the relay. By default none may, so
	// that the relay is no way into your network.
	AllowRestrictedPeerCIDRs []string `yaml:"allow_restricted_peer_cidrs"`
	// DenyPeerCIDRs are networks that must not be reached through the relay.
	// They win over allowed ones.
	DenyPeerCIDRs []string `yaml:"deny_peer_cidrs"`
}

func defaultRTC() RTC {
	return RTC{
		UDPPort: 7882, TCPPort: 7881, AllowTCPFallback: true,
		PLIThrottle:           PLIThrottle{LowQuality: 500 * time.Millisecond, MidQuality: time.Second, HighQuality: time.Second},
		PacketBufferSizeVideo: 500, PacketBufferSizeAudio: 200,
	}
}

func defaultTURN() TURN {
	return TURN{
		UDPPort: 3478, BindAddresses: []string{"0.0.0.0"}, RelayRangeStart: 30000, RelayRangeEnd: 40000,
		TTL: 5 * time.Minute, PerUserRelayAllocationLimit: 12,
	}
}

// SetDefaults fills a server of the list before its keys are read.
func (s *TURNServer) SetDefaults() { s.Protocol, s.Port, s.TTL = "udp", 3478, 4*time.Hour }

// NodeIPs returns the addresses of node_ip.
func (c *RTC) NodeIPs() ([]netip.Addr, error) {
	if c.NodeIP == "" {
		return nil, nil
	}
	var out []netip.Addr
	for part := range strings.SplitSeq(c.NodeIP, ",") {
		ip, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("expected an IP address, or an IPv4 and an IPv6 address separated by a comma, got %q", c.NodeIP)
		}
		out = append(out, ip)
	}
	if len(out) > 2 || len(out) == 2 && out[0].Is4() == out[1].Is4() {
		return nil, fmt.Errorf("expected at most one IPv4 and one IPv6 address, got %q", c.NodeIP)
	}
	return out, nil
}

// Check implements [config.Checker].
func (c *RTC) Check(r *config.Report) {
	if _, err := c.NodeIPs(); err != nil {
		r.Errorf("node_ip", "%v", err)
	}
	if c.NodeIP != "" && c.UseExternalIP {
		r.Errorf("node_ip", "has no effect while rtc.use_external_ip is true: remove one of them")
	}
	if c.ForceTCP && c.TCPPort == 0 {
		r.Errorf("force_tcp", "needs rtc.tcp_port")
	}
	checkCIDRs(r, "ips.includes", c.IPs.Includes)
	checkCIDRs(r, "ips.excludes", c.IPs.Excludes)
	for i, s := range c.STUNServers {
		if strings.Contains(s, "stun:") || strings.ContainsAny(s, "/ ") || s == "" {
			r.Errorf(fmt.Sprintf("stun_servers[%d]", i), "expected host:port without a scheme, got %q", s)
		}
	}
}

// Check implements [config.Checker]. It reads secret_file.
func (s *TURNServer) Check(r *config.Report) {
	if s.Host == "" {
		r.Errorf("host", "a TURN server needs a host")
	}
	if s.SecretFile != "" {
		if s.Secret != "" && r.IsSet("secret") {
			r.Errorf("secret_file", "secret is set too: keep one of them")
			return
		}
		data, err := readPrivateFile(s.SecretFile)
		if err != nil {
			r.Errorf("secret_file", "%v", err)
			return
		}
		s.Secret = strings.TrimSpace(string(data))
	}
	switch hasPassword := s.Username != "" || s.Credential != ""; {
	case s.Secret != "" && hasPassword:
		r.Errorf("secret", "username and credential have no effect beside a secret: keep one of the two ways")
	case s.Secret == "" && (s.Username == "" || s.Credential == ""):
		r.Errorf("", "a TURN server needs a secret, or a username and a credential")
	}
}

// Check implements [config.Checker]. It reads the certificate.
func (c *TURN) Check(r *config.Report) {
	checkIPs(r, "bind_addresses", c.BindAddresses)
	checkCIDRs(r, "allow_restricted_peer_cidrs", c.AllowRestrictedPeerCIDRs)
	checkCIDRs(r, "deny_peer_cidrs", c.DenyPeerCIDRs)
	if c.RelayRangeStart > c.RelayRangeEnd {
		r.Errorf("relay_range_start", "%d is above relay_range_end %d", c.RelayRangeStart, c.RelayRangeEnd)
	}
	if !c.Enabled {
		return
	}
	if c.UDPPort == 0 && c.TLSPort == 0 {
		r.Errorf("enabled", "needs turn.udp_port or turn.tls_port")
	}
	if c.TLSPort == 0 {
		return
	}
	if c.Domain == "" {
		r.Errorf("domain", "turn.tls_port needs the domain of the certificate")
	}
	switch {
	case c.ExternalTLS:
	case c.CertFile == "":
		r.Errorf("cert_file", "turn.tls_port needs cert_file and key_file, or external_tls: true")
	case c.KeyFile == "":
		r.Errorf("key_file", "turn.tls_port needs cert_file and key_file, or external_tls: true")
	default:
		if _, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile); err != nil {
			r.Errorf("cert_file", "%v", err)
		}
	}
}

// checkIPs requires every element of a list to be an IP address.
func checkIPs(r *config.Report, key string, list []string) {
	for i, s := range list {
		if _, err := netip.ParseAddr(s); err != nil {
			r.Errorf(fmt.Sprintf("%s[%d]", key, i), "expected an IP address, got %q", s)
		}
	}
}

// checkCIDRs requires every element of a list to be a network.
func checkCIDRs(r *config.Report, key string, list []string) {
	for i, s := range list {
		if _, err := netip.ParsePrefix(s); err != nil {
			r.Errorf(fmt.Sprintf("%s[%d]", key, i), "expected a network such as 10.0.0.0/16, got %q", s)
		}
	}
}
