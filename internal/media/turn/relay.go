package turn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"github.com/pion/turn/v5"
)

// relayTries is how many ports of the range are tried for one allocation when
// other programs hold some of them.
const relayTries = 16

// Why an allocation was not made; the client is told 508, Insufficient
// Capacity (RFC 8656 section 7.2).
var (
	errNoRelayPort   = errors.New("turn: no relay port left")
	errNoRelayFamily = errors.New("turn: no node IP of the address family")
	errNotOffered    = errors.New("turn: TCP relays, even ports and port reservations are not offered")
	errClosed        = errors.New("turn: server closed")
	errQuota         = errors.New("turn: too many allocations of one participant")
)

// relays are the relay addresses in use.
type relays struct {
	peers   *peerRule
	metrics Metrics
	nodeIPs []netip.Addr
	limit   int
	// allocations counts pion's, which end a little after their sockets.
	allocations counter

	mu     sync.Mutex
	closed bool
	held   map[string]map[*relayConn]struct{} // by participant id
	ports  portPool
}

func newRelays(cfg Config, peers *peerRule, m Metrics) *relays {
	return &relays{
		peers:   peers,
		metrics: m,
		nodeIPs: cfg.NodeIPs,
		limit:   cfg.AllocationsPerParticipant,
		held:    map[string]map[*relayConn]struct{}{},
		ports:   newPortPool(cfg.RelayRangeStart, cfg.RelayRangeEnd),
	}
}

// generator makes the relay addresses for the clients of one listener.
func (r *relays) generator(t Transport, bind netip.Addr) turn.RelayAddressGenerator {
	return &generator{relays: r, transport: t, bind: bind}
}

// quota tells pion whether a participant may have one more allocation.
func (r *relays) quota(participantID, _ string, _ net.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.held[participantID]) < r.limit {
		return true
	}
	r.metrics.Refused(RefusedQuota)
	return false
}

// open binds a relay socket on local for a participant.
func (r *relays) open(t Transport, network string, local netip.Addr, participantID string) (*relayConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, errClosed
	case len(r.held[participantID]) >= r.limit:
		return nil, errQuota
	}
	conn, port, err := r.ports.listen(network, local)
	if err != nil {
		return nil, err
	}
	c := &relayConn{UDPConn: conn, relays: r, transport: t, participantID: participantID, port: port}
	if r.held[participantID] == nil {
		r.held[participantID] = map[*relayConn]struct{}{}
	}
	r.held[participantID][c] = struct{}{}
	r.metrics.Opened(t)
	return c, nil
}

func (r *relays) forget(c *relayConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := r.held[c.participantID]
	delete(set, c)
	if len(set) == 0 {
		delete(r.held, c.participantID)
	}
	r.ports.put(c.port)
	r.metrics.Closed(c.transport)
}

// release closes a participant's relay sockets, which ends the allocations.
func (r *relays) release(participantID string) { closeAll(r.conns(participantID)) }

// close closes all relay sockets and refuses new ones.
func (r *relays) close() {
	r.mu.Lock()
	r.closed = true
	var all []*relayConn
	for _, set := range r.held {
		for c := range set {
			all = append(all, c)
		}
	}
	r.mu.Unlock()
	closeAll(all)
}

func (r *relays) conns(participantID string) []*relayConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*relayConn
	for c := range r.held[participantID] {
		out = append(out, c)
	}
	return out
}

func closeAll(conns []*relayConn) {
	for _, c := range conns {
		_ = c.Close()
	}
}

// generator implements turn.RelayAddressGenerator.
type generator struct {
	relays    *relays
	transport Transport
	bind      netip.Addr
}

// Validate implements turn.RelayAddressGenerator.
func (g *generator) Validate() error { return nil }

// AllocatePacketConn implements turn.RelayAddressGenerator. The relay address
// is the node IP of the wanted family.
func (g *generator) AllocatePacketConn(conf turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	// pion looks for an even port without naming a user.
	if conf.UserID == "" || conf.RequestedPort != 0 {
		g.relays.metrics.Refused(RefusedCapacity)
		return nil, nil, errNotOffered
	}
	ipv4 := conf.Network == "udp4"
	ip, ok := g.nodeIP(ipv4)
	if !ok {
		g.relays.metrics.Refused(RefusedCapacity)
		return nil, nil, errNoRelayFamily
	}
	c, err := g.relays.open(g.transport, conf.Network, g.local(ipv4), conf.UserID)
	if err != nil {
		g.relays.metrics.Refused(RefusedCapacity)
		return nil, nil, err
	}
	port := c.UDPConn.LocalAddr().(*net.UDPAddr).Port
	return c, &net.UDPAddr{IP: ip.AsSlice(), Port: port}, nil
}

func (g *generator) nodeIP(ipv4 bool) (netip.Addr, bool) {
	for _, ip := range g.relays.nodeIPs {
		if ip = ip.Unmap(); ip.Is4() == ipv4 {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// local is where the relay socket is bound: where the listener is, if it is of
// the same family. The node IP itself may be outside of a NAT.
func (g *generator) local(ipv4 bool) netip.Addr {
	if ip := g.bind.Unmap(); ip.Is4() == ipv4 {
		return ip
	}
	if ipv4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// AllocateListener refuses relays for TCP peers (RFC 6062).
func (g *generator) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	g.relays.metrics.Refused(RefusedCapacity)
	return nil, nil, errNotOffered
}

// AllocateConn refuses connections to TCP peers (RFC 6062).
func (g *generator) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) {
	return nil, errNotOffered
}

// relayConn is a relay socket that talks to permitted addresses only. TURN
// permissions are for an IP address; here the port counts too, so that the
// node's other services are out of reach.
type relayConn struct {
	*net.UDPConn
	relays        *relays
	transport     Transport
	participantID string
	port          uint16 // of the pool, 0 without one
	once          sync.Once
}

// WriteTo sends a client's packet to a peer. What is not permitted is dropped.
func (c *relayConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("turn: relay to %T", addr)
	}
	to := unmap(udp.AddrPort())
	if !c.relays.peers.allows(to) {
		c.relays.metrics.Refused(RefusedPeer)
		return len(p), nil
	}
	n, err := c.UDPConn.WriteToUDPAddrPort(p, to)
	if err == nil {
		c.relays.metrics.Relayed(c.transport, FromClient, n)
	}
	return n, err
}

// ReadFrom receives a permitted peer's packet for the client.
func (c *relayConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.UDPConn.ReadFromUDPAddrPort(p)
		if err != nil {
			return 0, nil, err
		}
		if from = unmap(from); !c.relays.peers.allows(from) {
			continue
		}
		c.relays.metrics.Relayed(c.transport, ToClient, n)
		return n, net.UDPAddrFromAddrPort(from), nil
	}
}

// Close closes the socket and gives its port back. Only the first call counts.
func (c *relayConn) Close() error {
	var err error
	c.once.Do(func() {
		err = c.UDPConn.Close()
		c.relays.forget(c)
	})
	return err
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// portPool hands out the ports of a range in random order (RFC 8656 section
// 7.2). The empty pool lets the system choose.
type portPool struct {
	ranged bool
	free   []uint16
}

func newPortPool(start, end int) portPool {
	if start == 0 {
		return portPool{}
	}
	p := portPool{ranged: true}
	for port := start; port <= end; port++ {
		p.free = append(p.free, uint16(port))
	}
	return p
}

// listen binds a socket to a free port and returns the port to be put back.
func (p *portPool) listen(network string, ip netip.Addr) (*net.UDPConn, uint16, error) {
	if !p.ranged {
		conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 0)))
		return conn, 0, err
	}
	var taken []uint16 // by others; tried again another time
	defer func() { p.free = append(p.free, taken...) }()
	for range relayTries {
		if len(p.free) == 0 {
			break
		}
		i, last := rand.IntN(len(p.free)), len(p.free)-1
		port := p.free[i]
		p.free[i], p.free = p.free[last], p.free[:last]
		conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
		if err == nil {
			return conn, port, nil
		}
		taken = append(taken, port)
	}
	return nil, 0, errNoRelayPort
}

func (p *portPool) put(port uint16) {
	if port != 0 {
		p.free = append(p.free, port)
	}
}

// counter counts what is alive and waits for the last to end.
type counter struct {
	mu   sync.Mutex
	n    int
	zero chan struct{} // made by wait, closed at zero
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n += n; c.n == 0 && c.zero != nil {
		close(c.zero)
		c.zero = nil
	}
}

func (c *counter) wait() {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return
	}
	if c.zero == nil {
		c.zero = make(chan struct{})
	}
	zero := c.zero
	c.mu.Unlock()
	<-zero
}
