package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// maxDatagram bounds a packet on the wire, in either direction. WebRTC keeps
// below 1,500 bytes.
const maxDatagram = 2048

// udpSocket is one UDP socket and the addresses whose checks it has answered.
type udpSocket struct {
	host     *Host
	conn     *net.UDPConn
	local    netip.AddrPort
	received atomic.Uint64

	mu    sync.RWMutex // held for writing only when an address comes or goes
	pairs map[netip.AddrPort]*pair
}

func listenUDP(h *Host, local netip.AddrPort) (*udpSocket, []string, error) {
	network := "udp4"
	if local.Addr().Is6() {
		network = "udp6"
	}
	lc := net.ListenConfig{Control: reusePort}
	pc, err := lc.ListenPacket(context.Background(), network, local.String())
	if err != nil {
		return nil, nil, fmt.Errorf("listen on udp %s: %w", local, err)
	}
	c, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, nil, fmt.Errorf("listen on udp %s: got a %T", local, pc)
	}
	bound, _ := netip.ParseAddrPort(c.LocalAddr().String())
	s := &udpSocket{
		host:  h,
		conn:  c,
		local: netip.AddrPortFrom(local.Addr(), bound.Port()),
		pairs: make(map[netip.AddrPort]*pair),
	}
	return s, raiseBuffers(c, h.cfg.ReceiveBuffer, h.cfg.SendBuffer), nil
}

// readLoop is the goroutine every packet of the socket runs on to its end.
func (s *udpSocket) readLoop() {
	buf := make([]byte, maxDatagram)
	scratch := newSTUNScratch()
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Anything else is about one packet or passing memory pressure.
			s.host.log.Debug("udp read", "local", s.local, "error", err)
			select {
			case <-s.host.stop:
				return
			case <-time.After(time.Millisecond):
			}
			continue
		}
		s.received.Add(1)
		remote := netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		s.dispatch(buf[:n], remote, time.Now(), scratch)
	}
}

// dispatch hands one datagram to what it is for.
func (s *udpSocket) dispatch(b []byte, remote netip.AddrPort, at time.Time, scratch *stunScratch) {
	kind := classify(b)
	switch kind {
	case packetUnknown:
		s.host.drops.malformed.Add(1)
		return
	case packetSTUN:
		s.host.handleSTUN(b, source{udp: s, local: s.local, remote: remote}, at, scratch)
		return
	}
	p := s.lookup(remote)
	if p == nil {
		s.host.drops.unknownAddress.Add(1)
		return
	}
	p.conn.handlePacket(kind, b, p, at)
}

func (s *udpSocket) lookup(remote netip.AddrPort) *pair {
	s.mu.RLock()
	p := s.pairs[remote]
	s.mu.RUnlock()
	return p
}

// bind makes packets from the pair's address its own. The latest valid check
// wins: a NAT may give the port of one client to another.
func (s *udpSocket) bind(p *pair) {
	s.mu.Lock()
	s.pairs[p.remote] = p
	s.mu.Unlock()
}

func (s *udpSocket) unbind(p *pair) {
	s.mu.Lock()
	if s.pairs[p.remote] == p {
		delete(s.pairs, p.remote)
	}
	s.mu.Unlock()
}
