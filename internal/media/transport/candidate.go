package transport

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Candidate is one address a client can check, as it goes into SDP
// (RFC 8839 section 5.1). All are host candidates of component 1.
type Candidate struct {
	// Foundation is equal for candidates of the same base and protocol.
	Foundation string
	// Protocol is "udp" or "tcp"; a TCP candidate is passive (RFC 6544).
	Protocol string
	// Priority orders the candidates, highest first (RFC 8445 section 5.1.2).
	Priority uint32
	// Address is what the client connects to.
	Address netip.AddrPort
}

// String returns the value of an a=candidate line, without "candidate:".
func (c Candidate) String() string {
	var b strings.Builder
	b.WriteString(c.Foundation)
	b.WriteString(" 1 ")
	b.WriteString(c.Protocol)
	b.WriteByte(' ')
	b.WriteString(strconv.FormatUint(uint64(c.Priority), 10))
	b.WriteByte(' ')
	b.WriteString(c.Address.Addr().String())
	b.WriteByte(' ')
	b.WriteString(strconv.Itoa(int(c.Address.Port())))
	b.WriteString(" typ host")
	if c.Protocol == "tcp" {
		b.WriteString(" tcptype passive")
	}
	return b.String()
}

const (
	udpTypePreference = 126
	// Below every UDP type preference, so that a client uses TCP only where
	// UDP does not get through (RFC 6544 section 4.2).
	tcpTypePreference = 90
	// Passive candidates of a host have direction preference 4 (RFC 6544
	// section 4.2), in the upper three bits of the local preference.
	tcpPassivePreference = 4 << 13
)

// newCandidate ranks the n-th address of a protocol.
func newCandidate(protocol string, addr netip.AddrPort, n int) Candidate {
	typ, local := udpTypePreference, 1<<16-1-n
	if protocol == "tcp" {
		typ, local = tcpTypePreference, tcpPassivePreference+1<<13-1-n
	}
	h := fnv.New32a()
	h.Write([]byte(protocol))
	h.Write(addr.Addr().AsSlice())
	return Candidate{
		Foundation: strconv.FormatUint(uint64(h.Sum32()), 10),
		Protocol:   protocol,
		Priority:   uint32(typ)<<24 | uint32(local)<<8 | (256 - 1),
		Address:    addr,
	}
}

// advertise turns listening addresses into candidates: external addresses in
// place of internal ones, each address once, IPv6 and IPv4 as listed.
func advertise(cfg Config, protocol string, locals []netip.AddrPort, external map[netip.Addr]netip.Addr) []Candidate {
	var addrs []netip.AddrPort
	add := func(a netip.Addr, port uint16) {
		if ap := netip.AddrPortFrom(a, port); !slices.Contains(addrs, ap) {
			addrs = append(addrs, ap)
		}
	}
	node, _ := netip.ParseAddr(cfg.NodeIP)
	for _, l := range locals {
		a := l.Addr()
		switch ext, found := external[a]; {
		case node.IsValid() && node.Is4() == a.Is4() && !a.IsLoopback():
			add(node.Unmap(), l.Port())
		case found:
			add(ext, l.Port())
		default:
			add(a, l.Port())
			continue
		}
		if cfg.AdvertiseInternalIP {
			add(a, l.Port())
		}
	}
	out := make([]Candidate, 0, len(addrs))
	for i, a := range addrs {
		out = append(out, newCandidate(protocol, a, i))
	}
	return out
}

// listenAddrs returns the local addresses to bind, explicit ones first.
func listenAddrs(cfg Config) ([]netip.Addr, error) {
	var out []netip.Addr
	v4, v6 := len(cfg.BindAddresses) == 0, len(cfg.BindAddresses) == 0
	for _, s := range cfg.BindAddresses {
		if s == "" {
			v4, v6 = true, true
			continue
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("bind address %q: %w", s, err)
		}
		if a = a.Unmap(); a.IsUnspecified() {
			v4, v6 = v4 || a.Is4(), v6 || a.Is6()
			continue
		}
		out = append(out, a)
	}
	if !v4 && !v6 {
		return out, nil
	}
	found, err := interfaceAddrs(cfg)
	if err != nil {
		return nil, err
	}
	for _, a := range found {
		if (a.Is4() && v4 || a.Is6() && v6) && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no usable local address: check interfaces, ips and enable_loopback_candidate")
	}
	return out, nil
}

// interfaceAddrs returns the machine's addresses that the filters let through.
func interfaceAddrs(cfg Config) ([]netip.Addr, error) {
	ifaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []netip.Addr
	for _, ifc := range ifaces {
		if ifc.Flags&net.FlagUp == 0 || !cfg.Interfaces.allows(ifc.Name) {
			continue
		}
		addrs, err := ifc.Addrs()
		if err != nil {
			return nil, fmt.Errorf("addresses of %s: %w", ifc.Name, err)
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(n.IP)
			if ip = ip.Unmap(); ok && cfg.usable(ip) {
				out = append(out, ip)
			}
		}
	}
	return out, nil
}

func (c Config) usable(ip netip.Addr) bool {
	switch {
	case ip.IsLinkLocalUnicast(), ip.IsMulticast(), ip.IsUnspecified():
		return false
	case ip.IsLoopback() && !c.EnableLoopback:
		return false
	}
	return c.IPs.allows(ip)
}

func (f InterfaceFilter) allows(name string) bool {
	return !slices.Contains(f.Excludes, name) && (len(f.Includes) == 0 || slices.Contains(f.Includes, name))
}

func (f IPFilter) allows(ip netip.Addr) bool {
	in := func(list []string) bool {
		return slices.ContainsFunc(list, func(s string) bool {
			p, err := parsePrefix(s)
			return err == nil && p.Contains(ip)
		})
	}
	return !in(f.Excludes) && (len(f.Includes) == 0 || in(f.Includes))
}

// parsePrefix reads a prefix, or an address as a prefix of its own.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}
