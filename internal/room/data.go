package room

import (
	"bytes"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/media/peer"
)

// onPacket takes one DataPacket from a client's data channel, stamps it with
// its sender and passes it on. Payloads are opaque.
func (p *Participant) onPacket(kind livekit.DataPacket_Kind, data []byte) {
	r := p.room
	if !p.canData.Load() {
		r.totals.DataDropped.Add(1)
		return
	}
	if limit := r.cfg.MaxDataMessage; limit > 0 && len(data) > limit {
		r.totals.DataDropped.Add(1)
		p.log.Warn("data packet too large", "bytes", len(data), "limit", limit)
		p.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_RequestResponse{RequestResponse: &livekit.RequestResponse{
			Reason:  livekit.RequestResponse_LIMIT_EXCEEDED,
			Message: "data packet is larger than the limit of 64 kB (limit.max_data_message); send it as a byte stream",
		}}})
		return
	}
	dp := &livekit.DataPacket{}
	if err := proto.Unmarshal(data, dp); err != nil {
		r.totals.BadMessages.Add(1)
		p.log.Warn("data packet is not a protobuf", "error", err)
		return
	}
	if kind == livekit.DataPacket_RELIABLE && dp.Sequence > 0 {
		if last := p.lastReliable.Load(); dp.Sequence <= last {
			return // sent again after a resume
		}
		p.lastReliable.Store(dp.Sequence)
	}
	if !p.stamp(dp, kind) {
		return
	}
	r.totals.DataPackets.Add(1)
	r.totals.DataBytes.Add(int64(len(data)))
	r.forwardData(p, dp, kind)
}

// stamp makes the sender the one whose channel it came by. It reports false
// for packets that are not to be forwarded.
func (p *Participant) stamp(dp *livekit.DataPacket, kind livekit.DataPacket_Kind) bool {
	dp.Kind = kind
	sid, identity := p.sid, p.identity
	if p.hidden.Load() {
		sid, identity = "", ""
	}
	onBehalf := p.agent && dp.ParticipantIdentity != "" // agents may speak for others
	switch v := dp.Value.(type) {
	case *livekit.DataPacket_User:
		if v.User == nil || p.dedup.seen(v.User.Nonce) {
			return false
		}
		v.User.ParticipantSid, v.User.ParticipantIdentity = sid, identity
		if len(dp.DestinationIdentities) > 0 {
			v.User.DestinationIdentities = dp.DestinationIdentities
		} else {
			dp.DestinationIdentities = v.User.DestinationIdentities
		}
	case *livekit.DataPacket_Transcription:
		if !p.agent {
			return false
		}
	case *livekit.DataPacket_RpcResponse:
		if p.room.answerRPC(v.RpcResponse) {
			return false
		}
	case *livekit.DataPacket_RpcAck:
		if slices.Contains(dp.DestinationIdentities, serverIdentity) {
			return false
		}
	case *livekit.DataPacket_Speaker, nil:
		return false // only the server tells who speaks
	}
	if !onBehalf {
		dp.ParticipantIdentity = identity
		dp.ParticipantSid = sid
	}
	return true
}

// forwardData sends dp to everybody it is for, except its sender. from is nil
// when the server sends. It runs on the sender's goroutine, hence in order.
func (r *Room) forwardData(from *Participant, dp *livekit.DataPacket, kind livekit.DataPacket_Kind) {
	data, err := proto.Marshal(dp)
	if err != nil {
		r.log.Error("marshal data packet", "error", err)
		return
	}
	sids := dp.GetUser().GetDestinationSids()
	ch := peer.Lossy
	if kind == livekit.DataPacket_RELIABLE {
		ch = peer.Reliable
		if dp.Sequence > 0 && from != nil {
			r.reliable.add(from.sid, dp, data, sids)
		}
	}
	for _, q := range *r.roster.Load() {
		if q != from && isFor(q, dp.DestinationIdentities, sids) {
			q.sendData(ch, data)
		}
	}
}

func isFor(q *Participant, identities, sids []string) bool {
	if len(identities) == 0 && len(sids) == 0 {
		return true
	}
	return slices.Contains(identities, q.identity) || slices.Contains(sids, q.sid)
}

func (p *Participant) sendData(ch peer.Channel, data []byte) {
	if err := p.down.Send(ch, data); err != nil {
		p.room.totals.DataDropped.Add(1)
		p.log.Debug("data packet not delivered", "error", err)
	}
}

// reliableCache keeps recent reliable packets, for participants whose channel
// was not up yet or was down for a moment.
type reliableCache struct {
	ttl   time.Duration
	limit int // bytes

	mu    sync.Mutex
	items []cachedPacket // oldest first
	bytes int
}

type cachedPacket struct {
	at         time.Time
	sender     string // sid
	seq        uint32
	identities []string
	sids       []string
	data       []byte
}

func newReliableCache(ttl time.Duration, limit int) *reliableCache {
	return &reliableCache{ttl: ttl, limit: limit}
}

func (c *reliableCache) add(sender string, dp *livekit.DataPacket, data []byte, sids []string) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items = append(c.items, cachedPacket{now, sender, dp.Sequence, dp.DestinationIdentities, sids, data})
	c.bytes += len(data)
	n := 0
	for n < len(c.items) && (c.bytes > c.limit || now.Sub(c.items[n].at) > c.ttl) {
		c.bytes -= len(c.items[n].data)
		n++
	}
	c.items = slices.Delete(c.items, 0, n)
}

// replay sends p what it missed: packets since a time for a joiner, or those
// above the sequence it has seen from each sender for a resumed client.
// Clients drop repeated sequences.
func (c *reliableCache) replay(p *Participant, since time.Time, seen map[string]uint32) {
	c.mu.Lock()
	items := slices.Clone(c.items)
	c.mu.Unlock()
	for _, it := range items {
		last, known := seen[it.sender]
		switch {
		case it.sender == p.sid, !isFor(p, it.identities, it.sids):
		case seen != nil && known && it.seq > last, seen == nil && !it.at.Before(since):
			p.sendData(peer.Reliable, it.data)
		}
	}
}

// nonceCache remembers the nonces of the last user packets.
type nonceCache struct {
	mu   sync.Mutex
	ring [64][]byte
	next int
}

func (c *nonceCache) seen(nonce []byte) bool {
	if len(nonce) == 0 {
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
