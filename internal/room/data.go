package room

import (
	"fmt"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/room/data"
	"github.com/concertina-rtc/concertina/internal/room/reply"
	"github.com/concertina-rtc/concertina/internal/room/track"
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
		p.complain("data packet too large", "bytes", len(raw), "limit", limit)
		p.send(reply.Refused(livekit.RequestResponse_LIMIT_EXCEEDED, fmt.Sprintf(
			"data packet has %d bytes, at most %d are allowed (limit.max_data_message_size); send it as a byte stream", len(raw), limit), nil))
		return
	}
	dp := &livekit.DataPacket{}
	if err := proto.Unmarshal(raw, dp); err != nil {
		r.totals.BadMessages.Add(1)
		p.complain("data packet is not a protobuf", "error", err)
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
		if v.User == nil || p.room.nonces.Seen(v.User.Nonce) {
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
			r.reliable.Add(data.Packet{
				At: time.Now(), Sender: from.sid, Sequence: dp.Sequence,
				Identities: dp.DestinationIdentities, SIDs: sids, Data: raw,
			})
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

// replay sends p again what it missed. Clients drop repeated sequences.
func (p *Participant) replay(packets [][]byte) {
	for _, raw := range packets {
		p.sendData(peer.Reliable, raw)
	}
}

// dataMember is a participant as package data sees it.
type dataMember struct{ p *Participant }

// Identity implements data.Member.
func (m dataMember) Identity() string { return m.p.identity }

// SID implements data.Member.
func (m dataMember) SID() string { return m.p.sid }

// MayReceive implements data.Member.
func (m dataMember) MayReceive() bool { return m.p.permission.CanSubscribe }

// Lets implements data.Member: who is hidden has no viewers.
func (m dataMember) Lets(sid, identity, participantSID string) bool {
	return !m.p.permission.Hidden && track.Allowed(m.p.grant, sid, identity, participantSID)
}

// Send implements data.Member.
func (m dataMember) Send(r *livekit.SignalResponse) { m.p.send(r) }

// Deliver implements data.Member.
func (m dataMember) Deliver(packet []byte) { m.p.sendData(peer.DataTrack, packet) }

// publishDataTrack handles PublishDataTrackRequest. Actor.
func (r *Room) publishDataTrack(p *Participant, req *livekit.PublishDataTrackRequest) {
	if !p.permission.CanPublishData {
		p.send(reply.Refused(livekit.RequestResponse_NOT_ALLOWED, "does not have permission to publish data", req))
	} else if p.data.Publish(req) {
		r.broadcastParticipant(p, true)
	}
}

// unpublishDataTrack handles UnpublishDataTrackRequest. Actor.
func (r *Room) unpublishDataTrack(p *Participant, req *livekit.UnpublishDataTrackRequest) {
	if p.data.Unpublish(req) {
		r.broadcastParticipant(p, true)
	}
}

// onDataTrackPacket forwards one data track packet.
func (p *Participant) onDataTrackPacket(raw []byte) {
	if !p.canData.Load() {
		return
	}
	if err := p.data.Forward(raw); err != nil {
		p.room.totals.BadMessages.Add(1)
	}
}
