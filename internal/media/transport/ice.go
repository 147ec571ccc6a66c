package transport

import (
	"crypto/rand"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// iceChars are the characters of ufrag and pwd (RFC 8839 section 5.4).
	iceChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	// ufragLength gives 72 bits: no two connections of a cluster collide.
	ufragLength = 12
	// pwdLength gives 144 bits; RFC 8445 section 5.3 wants 128.
	pwdLength = 24

	// maxPairs bounds the addresses one connection may hold.
	maxPairs = 16
	// pairExpiry is the silence after which an address that is not selected is
	// forgotten.
	pairExpiry = 60 * time.Second
	// rebindSilence is how long the selected address must be silent before a
	// new address that looks like the same one behind a rebound NAT replaces
	// it without a nomination.
	rebindSilence = 500 * time.Millisecond
	// deadSilence is how long the selected address must be silent before any
	// other address replaces it without a nomination.
	deadSilence = 4 * time.Second
)

// credential is one generation of a connection's local ICE credentials.
type credential struct {
	conn       *Conn
	ufrag, pwd string
	generation uint32 // counts restarts
}

// randomICE returns n random ice-chars.
func randomICE(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	for i := range b {
		b[i] = iceChars[b[i]&63]
	}
	return string(b)
}

// pair is a local and a remote address between which a check was valid.
type pair struct {
	conn          *Conn
	udp           *udpSocket // one of udp and tcp is set
	tcp           *tcpConn
	local, remote netip.AddrPort
	lastSeen      atomic.Int64 // host clock of the last authenticated packet

	// guarded by Conn.iceMu
	priority   uint32
	generation uint32 // newest credentials a check used
	nominated  bool
	firstSeen  int64
	aggressive bool // its very first check nominated it
}

// write sends one packet to the pair's remote address.
func (p *pair) write(b []byte) error {
	if p.tcp != nil {
		return p.tcp.write(b)
	}
	_, err := p.udp.conn.WriteToUDPAddrPort(b, p.remote)
	return err
}

// replaces reports whether media moves from the selected pair to p after a
// check on p. now is the host clock.
//
// Before a nomination the first valid pair is used, so that DTLS starts early.
// Then the latest nomination wins, with one exception: an agent that nominates
// with its very first check (aggressive nomination, RFC 5245 section 8.1.1.2,
// still seen in Firefox) nominates every pair in turn, and of those the
// highest priority wins. libwebrtc nominates towards a lite agent only the
// pair it has selected and has had an answer on, so that its pairs are never
// taken for aggressive ones, and a change to a lower priority (Wi-Fi to
// mobile) counts at once.
func (p *pair) replaces(sel *pair, useCandidate bool, now int64) bool {
	switch {
	case sel == nil:
		return true
	case p == sel:
		return false
	}
	silence := time.Duration(now - sel.lastSeen.Load())
	switch {
	case p.generation < sel.generation:
		return false // a late check of credentials that a restart replaced
	case useCandidate && (!sel.nominated || p.generation > sel.generation || !p.aggressive):
		return true
	case useCandidate:
		return p.priority >= sel.priority || silence >= rebindSilence
	case p.generation > sel.generation:
		return false // a restart moves on its nomination
	case p.firstSeen > sel.firstSeen && p.local == sel.local && p.priority == sel.priority:
		return silence >= rebindSilence // the NAT gave the client another port
	default:
		return silence >= deadSilence
	}
}

// newCredential makes and registers the next generation of local credentials.
// The caller holds iceMu.
func (c *Conn) newCredential(ufrag, pwd string) error {
	cr := &credential{conn: c, ufrag: ufrag, pwd: pwd, generation: c.generation + 1}
	if err := c.host.register(cr); err != nil {
		return err
	}
	c.generation++
	c.creds = append(c.creds, cr)
	return nil
}

// LocalCredentials returns the ICE user fragment and password to put in SDP.
func (c *Conn) LocalCredentials() (ufrag, pwd string) {
	c.iceMu.Lock()
	defer c.iceMu.Unlock()
	cr := c.creds[len(c.creds)-1]
	return cr.ufrag, cr.pwd
}

// RestartICE replaces the local credentials (RFC 8445 section 9). Media stays
// on the present address until a check with the new ones nominates, and until
// then the old ones are still answered. ErrClosed when the Conn is closed.
func (c *Conn) RestartICE() error {
	c.iceMu.Lock()
	defer c.iceMu.Unlock()
	if c.gone {
		return ErrClosed
	}
	// Restarts that nobody answered do not pile up.
	if n := len(c.creds); n > 2 {
		c.dropCredentials(c.creds[1 : n-1]...)
		c.creds = append(c.creds[:1], c.creds[n-1])
	}
	return c.newCredential(randomICE(ufragLength), randomICE(pwdLength))
}

func (c *Conn) dropCredentials(list ...*credential) {
	for _, cr := range list {
		c.host.unregister(cr)
	}
}

// handleCheck records a valid check and reports whether to answer it.
func (c *Conn) handleCheck(k check, from source, at time.Time) bool {
	now := c.host.clock(at)
	c.iceMu.Lock()
	if c.gone {
		c.iceMu.Unlock()
		return false
	}
	p := c.pairOf(k, from, now)
	if p == nil {
		c.iceMu.Unlock()
		return false
	}
	p.priority = k.priority
	p.generation = max(p.generation, k.generation)
	sel := c.selected.Load()
	if (k.useCandidate || !c.unselected) && p.replaces(sel, k.useCandidate, now) {
		c.selected.Store(p)
	}
	if k.useCandidate {
		p.nominated = true
		if c.selected.Load() == p {
			c.retire(p.generation)
		}
	}
	p.lastSeen.Store(now)
	c.lastSeen.Store(now)
	c.iceMu.Unlock()

	c.quiet.Store(false)
	c.startSession()
	c.refreshState()
	return true
}

// retire forgets the credentials older than a generation that nominated.
func (c *Conn) retire(generation uint32) {
	for len(c.creds) > 1 && c.creds[0].generation < generation {
		c.dropCredentials(c.creds[0])
		c.creds = c.creds[1:]
	}
}

// pairOf finds or learns the pair a check came on. nil means that the
// connection has all the addresses it may have. The caller holds iceMu.
func (c *Conn) pairOf(k check, from source, now int64) *pair {
	for _, p := range c.pairs {
		if p.udp == from.udp && p.tcp == from.tcp && p.remote == from.remote {
			return p
		}
	}
	if len(c.pairs) >= maxPairs && !c.evictPair() {
		return nil
	}
	p := &pair{
		conn: c, udp: from.udp, tcp: from.tcp, local: from.local, remote: from.remote,
		firstSeen: now, aggressive: k.useCandidate,
	}
	c.pairs = append(c.pairs, p)
	if p.tcp != nil {
		p.tcp.pair.Store(p)
	} else {
		p.udp.bind(p)
	}
	return p
}

// evictPair drops the longest silent pair that is not selected.
func (c *Conn) evictPair() bool {
	sel, oldest := c.selected.Load(), -1
	for i, p := range c.pairs {
		if p != sel && (oldest < 0 || p.lastSeen.Load() < c.pairs[oldest].lastSeen.Load()) {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	c.dropPair(oldest)
	return true
}

// dropPair forgets the i-th pair. The caller holds iceMu.
func (c *Conn) dropPair(i int) {
	p := c.pairs[i]
	c.pairs = append(c.pairs[:i], c.pairs[i+1:]...)
	p.release()
}

// release gives the pair's address back to its socket.
func (p *pair) release() {
	if p.tcp != nil {
		p.tcp.close()
		return
	}
	p.udp.unbind(p)
}

// expirePairs drops the pairs that have been silent for long.
func (c *Conn) expirePairs(now int64) {
	sel := c.selected.Load()
	for i := len(c.pairs) - 1; i >= 0; i-- {
		p := c.pairs[i]
		if p != sel && time.Duration(now-p.lastSeen.Load()) > pairExpiry {
			c.dropPair(i)
		}
	}
}

// SelectedPair returns the addresses media uses and "udp" or "tcp"; ok is
// false when no check was valid yet.
func (c *Conn) SelectedPair() (local, remote netip.AddrPort, protocol string, ok bool) {
	p := c.selected.Load()
	switch {
	case p == nil:
		return netip.AddrPort{}, netip.AddrPort{}, "", false
	case p.tcp != nil:
		return p.local, p.remote, "tcp", true
	default:
		return p.local, p.remote, "udp", true
	}
}
