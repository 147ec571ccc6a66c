package turn

import (
	"fmt"
	"net/netip"
	"sync/atomic"
)

// peerRule decides whom clients may reach through the relay. Its list may be
// replaced while packets are checked against it.
type peerRule struct {
	loopback    bool
	allow, deny []netip.Prefix
	media       atomic.Pointer[mediaAddrs]
}

// mediaAddrs is an immutable set of addresses.
type mediaAddrs struct {
	addrs map[netip.AddrPort]struct{}
	ips   map[netip.Addr]struct{}
}

func (p *peerRule) set(addrs []netip.AddrPort) error {
	m := &mediaAddrs{addrs: make(map[netip.AddrPort]struct{}, len(addrs)), ips: map[netip.Addr]struct{}{}}
	for _, a := range addrs {
		ip := a.Addr().Unmap()
		switch {
		case !ip.IsValid() || a.Port() == 0:
			return fmt.Errorf("%w: media address %v needs an IP address and a port", ErrConfig, a)
		case ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast():
			return fmt.Errorf("%w: media address %v cannot be a peer", ErrConfig, a)
		case ip.IsLoopback() && !p.loopback:
			return fmt.Errorf("%w: media address %v is on loopback, which is for development only", ErrConfig, a)
		}
		m.addrs[netip.AddrPortFrom(ip, a.Port())] = struct{}{}
		m.ips[ip] = struct{}{}
	}
	p.media.Store(m)
	return nil
}

// allows reports whether a packet may go to, or come from, an unmapped address.
func (p *peerRule) allows(a netip.AddrPort) bool {
	if _, ok := p.media.Load().addrs[a]; ok {
		return !p.denied(a.Addr())
	}
	return p.allowsNetwork(a.Addr())
}

// allowsIP reports whether any port of an unmapped address may be reached.
func (p *peerRule) allowsIP(ip netip.Addr) bool {
	if _, ok := p.media.Load().ips[ip]; ok {
		return !p.denied(ip)
	}
	return p.allowsNetwork(ip)
}

func (p *peerRule) allowsNetwork(ip netip.Addr) bool {
	if ip.IsLoopback() && !p.loopback || ip.IsUnspecified() || ip.IsMulticast() || p.denied(ip) {
		return false
	}
	return contains(p.allow, ip)
}

func (p *peerRule) denied(ip netip.Addr) bool { return contains(p.deny, ip) }

func contains(prefixes []netip.Prefix, ip netip.Addr) bool {
	for _, n := range prefixes {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}
