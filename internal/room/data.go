package room

import (
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/room/data"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// onPacket takes one DataPacket from a client's data channel, stamps it with
// its sender and passes it on. Payloads are opaque.
func (p *Participant) onPacket(kind livekit.DataPacket_Kind, raw []byte) {
	r := p.room
	if !p.canData.Load() {
		r.totals.DataDropped.Add(1)
		return
	}
	if limit := r.cfg.MaxDataMessage; limit > 0 && len(raw) > limit {
		r.totals.DataDropped.Add(1)
		p.log.Warn("data packet too large", "bytes", len(raw), "limit", limit)
		p.send(reply.Refused(livekit.RequestResponse_LIMIT_EXCEEDED, "data packet is larger than the limit of 64 kB (limit.max_data_message); send it as a byte stream", nil))
		return
	}
	dp := &livekit.DataPacket{}
	if err := proto.Unmarshal(raw, dp); err != nil {
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
	r.totals.DataBytes.Add(int64(len(raw)))
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
	case *livekit.DataPacket_RpcResponse, *livekit.DataPacket_RpcAck:
		if p.answersServer(dp) {
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
	raw, err := proto.Marshal(dp)
	if err != nil {
		r.log.Error("marshal data packet", "error", err)
		return
	}
	sids := dp.GetUser().GetDestinationSids()
	ch := peer.Lossy
	if kind == livekit.DataPacket_RELIABLE {
		ch = peer.Reliable
		if dp.Sequence > 0 && from != nil {
			r.reliable.add(from.sid, dp, raw, sids)
		}
	}
	for _, q := range *r.roster.Load() {
		if q != from && data.For(dp.DestinationIdentities, sids, q.identity, q.sid) {
			q.sendData(ch, raw)
		}
	}
}

func (p *Participant) sendData(ch peer.Channel, raw []byte) {
	if err := p.down.Send(ch, raw); err != nil {
		p.room.totals.DataDropped.Add(1)
		p.log.Debug("data packet not delivered", "error", err)
	}
}

// reliableCache is the room's [data.Cache], shared by all data goroutines.
type reliableCache struct {
	mu sync.Mutex
	c  *data.Cache
}

func newReliableCache(ttl time.Duration, limit int) *reliableCache {
	return &reliableCache{c: data.NewCache(ttl, limit)}
}

func (c *reliableCache) add(sender string, dp *livekit.DataPacket, raw []byte, sids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Add(data.Packet{
		At: time.Now(), Sender: sender, Sequence: dp.Sequence,
		Identities: dp.DestinationIdentities, SIDs: sids, Data: raw,
	})
}

// expire frees what is too old to be asked for.
func (c *reliableCache) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.c.Expire(now)
}

// since returns what a newcomer has missed while its channel was not up.
func (c *reliableCache) since(p *Participant, at time.Time) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c.Since(p.identity, p.sid, at)
}

// after returns what a resumed client has missed; see [data.Cache.After].
func (c *reliableCache) after(p *Participant, seen map[string]uint32) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c.After(p.identity, p.sid, seen)
}

// newest returns the last packets for p; see [data.Cache.Newest].
func (c *reliableCache) newest(p *Participant, size uint64) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.c.Newest(p.identity, p.sid, size)
}

// replay sends p again what it missed. Clients drop repeated sequences.
func (p *Participant) replay(packets [][]byte) {
	for _, raw := range packets {
		p.sendData(peer.Reliable, raw)
	}
}

// nonceCache is [data.Nonces] for all data goroutines.
type nonceCache struct {
	mu sync.Mutex
	n  data.Nonces
}

func (c *nonceCache) seen(nonce []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n.Seen(nonce)
}
