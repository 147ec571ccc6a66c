// Package data holds what a room knows about data beside the packets: which
// reliable ones are kept to be sent again ([Cache]), which user packets came
// before ([Nonces]), which RPCs of the server are under way ([Calls]), and the
// data tracks with their handles ([Tracks]).
//
// It does not read data channels and decides nothing about permissions: package
// room does. Start at Tracks.
package data

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
)

// Packet is a reliable packet that was sent.
type Packet struct {
	At         time.Time
	Sender     string   // sid
	Sequence   uint32   // the sender's
	Identities []string // whom it is for; empty together with SIDs: everybody
	SIDs       []string
	Data       []byte // as it was sent; not to be changed
}

// Cache keeps recent reliable packets, for participants whose channel was not
// up yet or was down for a moment. Safe for concurrent use.
type Cache struct {
	ttl   time.Duration
	limit int // bytes

	mu    sync.Mutex
	items []Packet
	bytes int
}

// NewCache returns a cache that keeps packets for ttl, and limit bytes at most.
func NewCache(ttl time.Duration, limit int) *Cache { return &Cache{ttl: ttl, limit: limit} }

// Add keeps a packet. Times must not go back.
func (c *Cache) Add(p Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items = append(c.items, p)
	c.bytes += len(p.Data)
	c.expire(p.At)
}

// Expire drops what is too old or too much.
func (c *Cache) Expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now)
}

func (c *Cache) expire(now time.Time) {
	n := 0
	for n < len(c.items) && (c.bytes > c.limit || now.Sub(c.items[n].At) > c.ttl) {
		c.bytes -= len(c.items[n].Data)
		n++
	}
	c.items = slices.Delete(c.items, 0, n)
}

// For reports whether a packet for those identities and sids is for the
// participant with this identity and sid.
func For(identities, sids []string, identity, sid string) bool {
	if len(identities) == 0 && len(sids) == 0 {
		return true
	}
	return slices.Contains(identities, identity) || slices.Contains(sids, sid)
}

// isFor: nobody gets its own packets back.
func (p *Packet) isFor(identity, sid string) bool {
	return p.Sender != sid && For(p.Identities, p.SIDs, identity, sid)
}

// Since returns what was sent to a participant since a time, oldest first.
func (c *Cache) Since(identity, sid string, since time.Time) (out [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.items {
		if p := &c.items[i]; p.isFor(identity, sid) && !p.At.Before(since) {
			out = append(out, p.Data)
		}
	}
	return out
}

// After returns what a participant has missed, oldest first: from the senders
// it knows, the packets above the last sequence it has seen of each.
func (c *Cache) After(identity, sid string, seen map[string]uint32) (out [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.items {
		p := &c.items[i]
		if last, known := seen[p.Sender]; known && p.Sequence > last && p.isFor(identity, sid) {
			out = append(out, p.Data)
		}
	}
	return out
}

// Newest returns the last packets for a participant, oldest first, of so many
// bytes together or a little more, or all there are.
func (c *Cache) Newest(identity, sid string, size uint64) (out [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.items) - 1; i >= 0 && size > 0; i-- {
		p := &c.items[i]
		if !p.isFor(identity, sid) {
			continue
		}
		out = append(out, p.Data)
		size -= min(size, uint64(len(p.Data)))
	}
	slices.Reverse(out)
	return out
}

// States returns what a resuming client has seen, by sender sid.
func States(list []*livekit.DataChannelReceiveState) map[string]uint32 {
	seen := make(map[string]uint32, len(list))
	for _, d := range list {
		seen[d.GetPublisherSid()] = d.GetLastSeq()
	}
	return seen
}

// Nonces remembers the nonces of the last user packets. The zero value is
// ready. Safe for concurrent use.
type Nonces struct {
	mu   sync.Mutex
	ring [64][]byte
	next int
}

// maxNonce is the length up to which a nonce is remembered. SDKs use 16 bytes.
const maxNonce = 64

// Seen reports whether nonce came before, and remembers it. Packets without a
// nonce, or with an absurd one, are never repeats.
func (c *Nonces) Seen(nonce []byte) bool {
	if len(nonce) == 0 || len(nonce) > maxNonce {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.ring {
		if bytes.Equal(n, nonce) {
			return true
		}
	}
	c.ring[c.next] = bytes.Clone(nonce)
	c.next = (c.next + 1) % len(c.ring)
	return false
}
