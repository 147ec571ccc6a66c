package room

import (
	"maps"
	"sync/atomic"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/room/data"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// dataTrack is a published data track. info and publisher never change; viewers
// is read by the publisher's data goroutine and replaced by the actor.
type dataTrack struct {
	info      *livekit.DataTrackInfo
	publisher *Participant
	viewers   atomic.Pointer[map[*Participant]uint16] // our handle for each viewer
}

func (d *dataTrack) proto() *livekit.DataTrackInfo {
	return proto.Clone(d.info).(*livekit.DataTrackInfo)
}

// setViewers replaces the viewers by what change makes of a copy. Actor.
func (d *dataTrack) setViewers(change func(map[*Participant]uint16)) {
	next := maps.Clone(*d.viewers.Load())
	change(next)
	d.viewers.Store(&next)
}

const (
	maxHandle        = 1<<16 - 1
	maxDataTrackName = 256
)

// publishDataTrack handles PublishDataTrackRequest. Actor.
func (r *Room) publishDataTrack(p *Participant, req *livekit.PublishDataTrackRequest) {
	refuse := func(reason livekit.RequestResponse_Reason, msg string) {
		p.send(reply.Refused(reason, msg, req))
	}
	switch {
	case !p.permission.CanPublishData:
		refuse(livekit.RequestResponse_NOT_ALLOWED, "does not have permission to publish data")
		return
	case req.PubHandle == 0 || req.PubHandle > maxHandle:
		refuse(livekit.RequestResponse_INVALID_HANDLE, "handle must be between 1 and 65535")
		return
	case req.Name == "" || len(req.Name) > maxDataTrackName:
		refuse(livekit.RequestResponse_INVALID_NAME, "name must have between 1 and 256 characters")
		return
	case p.dataPubs[uint16(req.PubHandle)] != nil:
		refuse(livekit.RequestResponse_DUPLICATE_HANDLE, "a data track with this handle is published already")
		return
	case r.cfg.MaxTracks > 0 && len(p.dataPubs) >= r.cfg.MaxTracks:
		refuse(livekit.RequestResponse_LIMIT_EXCEEDED, "too many data tracks (limit.num_tracks)")
		return
	}
	for _, d := range p.dataPubs {
		if d.info.Name == req.Name {
			refuse(livekit.RequestResponse_DUPLICATE_NAME, "a data track with this name is published already")
			return
		}
	}
	d := &dataTrack{publisher: p, info: &livekit.DataTrackInfo{
		PubHandle: req.PubHandle, Sid: newSID("DTR_"), Name: req.Name, Encryption: req.Encryption,
		FrameEncoding: req.FrameEncoding, Schema: req.Schema,
	}}
	d.viewers.Store(&map[*Participant]uint16{})
	p.dataPubs[uint16(req.PubHandle)] = d
	p.publishDataHandles()
	p.isPublisher = true
	p.send(reply.DataTrackPublished(d.proto()))
	r.broadcastParticipant(p, true)
	for _, q := range r.participants {
		if q != p && q.autoSubscribeData {
			r.subscribeData(q, d)
			r.sendDataHandles(q)
		}
	}
}

// publishDataHandles shows the published data tracks to the data goroutine.
func (p *Participant) publishDataHandles() {
	m := maps.Clone(p.dataPubs)
	p.dataHandles.Store(&m)
}

// unpublishDataTrack handles UnpublishDataTrackRequest. Actor.
func (r *Room) unpublishDataTrack(p *Participant, req *livekit.UnpublishDataTrackRequest) {
	d := p.dataPubs[uint16(min(req.PubHandle, maxHandle))]
	if d == nil {
		p.send(reply.Refused(livekit.RequestResponse_NOT_FOUND, "no data track is published with this handle", req))
		return
	}
	r.dropDataTrack(d)
	p.send(reply.DataTrackUnpublished(d.proto()))
	r.broadcastParticipant(p, true)
}

func (r *Room) dropDataTrack(d *dataTrack) {
	p := d.publisher
	delete(p.dataPubs, uint16(d.info.PubHandle))
	p.publishDataHandles()
	p.isPublisher = len(p.pubs) > 0 || len(p.dataPubs) > 0
	for q := range *d.viewers.Load() {
		delete(q.dataSubs, d.info.Sid)
		r.sendDataHandles(q)
	}
	d.viewers.Store(&map[*Participant]uint16{})
}

// dropDataTracks takes p out of every data track, published or viewed. Actor.
func (r *Room) dropDataTracks(p *Participant) {
	for _, d := range p.dataPubs {
		r.dropDataTrack(d)
	}
	for sid := range p.dataSubs {
		if d := r.dataTrackBySID(sid); d != nil {
			d.setViewers(func(m map[*Participant]uint16) { delete(m, p) })
		}
	}
}

func (r *Room) dataTrackBySID(sid string) *dataTrack {
	for _, p := range r.participants {
		for _, d := range p.dataPubs {
			if d.info.Sid == sid {
				return d
			}
		}
	}
	return nil
}

// dataAllowed: a data track follows the publisher's subscription permission.
func dataAllowed(d *dataTrack, q *Participant) bool {
	pub := Publication{publisher: d.publisher, info: &livekit.TrackInfo{Sid: d.info.Sid}}
	return q.permission.CanSubscribe && pub.allows(q)
}

func (r *Room) subscribeData(q *Participant, d *dataTrack) {
	if _, there := q.dataSubs[d.info.Sid]; there || !dataAllowed(d, q) {
		return
	}
	q.nextData++
	if q.nextData == 0 {
		q.nextData++
	}
	q.dataSubs[d.info.Sid] = q.nextData
	d.setViewers(func(m map[*Participant]uint16) { m[q] = q.dataSubs[d.info.Sid] })
}

// updateDataSubscription handles UpdateDataSubscription. Actor.
func (r *Room) updateDataSubscription(p *Participant, u *livekit.UpdateDataSubscription) {
	for _, up := range u.GetUpdates() {
		d := r.dataTrackBySID(up.GetTrackSid())
		switch {
		case d == nil || d.publisher == p:
		case up.GetSubscribe():
			r.subscribeData(p, d)
		default:
			delete(p.dataSubs, d.info.Sid)
			d.setViewers(func(m map[*Participant]uint16) { delete(m, p) })
		}
	}
	r.sendDataHandles(p)
}

// enforceDataPermission drops viewers that p no longer allows. Actor.
func (r *Room) enforceDataPermission(p *Participant) {
	for _, d := range p.dataPubs {
		for q := range *d.viewers.Load() {
			if !dataAllowed(d, q) {
				delete(q.dataSubs, d.info.Sid)
				d.setViewers(func(m map[*Participant]uint16) { delete(m, q) })
				r.sendDataHandles(q)
			}
		}
	}
}

// sendDataHandles tells p which handle stands for which track. Actor.
func (r *Room) sendDataHandles(p *Participant) {
	if len(p.dataSubs) == 0 && p.nextData == 0 {
		return
	}
	handles := map[uint32]*livekit.DataTrackSubscriberHandles_PublishedDataTrack{}
	for sid, h := range p.dataSubs {
		if d := r.dataTrackBySID(sid); d != nil {
			handles[uint32(h)] = &livekit.DataTrackSubscriberHandles_PublishedDataTrack{
				PublisherIdentity: d.publisher.identity, PublisherSid: d.publisher.sid, TrackSid: sid,
			}
		}
	}
	p.send(reply.DataHandles(handles))
}

// onDataTrackPacket forwards one data track packet: the publisher's handle
// becomes the viewer's, and the packet names its publisher.
func (p *Participant) onDataTrackPacket(raw []byte) {
	handles := p.dataHandles.Load()
	if handles == nil || !p.canData.Load() {
		return
	}
	handle, err := data.Handle(raw)
	if err != nil {
		p.room.totals.BadMessages.Add(1)
		return
	}
	d := (*handles)[handle]
	if d == nil {
		return
	}
	out, err := data.Forward(make([]byte, 0, len(raw)+forwardRoom), raw, p.sid)
	if err != nil {
		p.room.totals.BadMessages.Add(1)
		return
	}
	for q, h := range *d.viewers.Load() {
		data.SetHandle(out, h) // Send copies
		q.sendData(peer.DataTrack, out)
	}
}

// forwardRoom is what naming the publisher adds to a packet at most.
const forwardRoom = 24
