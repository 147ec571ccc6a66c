package room

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/room/reply"
	"github.com/concertina-rtc/concertina/internal/room/track"
)

// Publication is a published track. Actor owned.
type Publication struct {
	info      *livekit.TrackInfo
	publisher *Participant
	uplinks   []peer.Uplink // one per codec, the primary first
	subs      map[*Participant]*Subscription
	meter     *levelMeter // audio only
	announced bool        // TrackSubscribed was sent
	missing   string      // a codec that a viewer needs and the publisher does not send yet
	requested time.Time   // when it was last asked for
}

// pendingTrack is an AddTrackRequest whose media is not negotiated yet.
type pendingTrack struct {
	info *livekit.TrackInfo
	cids []string
	into *Publication // a further codec of this publication
	at   time.Time
}

// Bounds of what one announcement may hold, and how long one that no media
// follows keeps its place when others need it.
const (
	maxAnnouncement = 64 << 10 // bytes
	maxCodecs       = 8
	staleAfter      = time.Minute
)

func (pub *Publication) proto() *livekit.TrackInfo {
	return proto.Clone(pub.info).(*livekit.TrackInfo)
}

// receiver returns the receiver of that codec, or nil.
func (pub *Publication) receiver(mime string) *sfu.Receiver {
	for _, u := range pub.uplinks {
		if strings.EqualFold(u.Mime, mime) {
			return u.Receiver
		}
	}
	return nil
}

// addTrack announces a track: it gets its sid now and appears to others when
// its media is negotiated. Actor.
func (r *Room) addTrack(p *Participant, req *livekit.AddTrackRequest) {
	if reason, msg := r.mayPublish(p, req); reason != livekit.RequestResponse_OK {
		p.complain("track refused", "cid", req.Cid, "source", req.Source.String(), "why", msg)
		p.send(reply.Refused(reason, msg, req))
		return
	}
	if req.Sid != "" {
		r.addCodec(p, req)
		return
	}
	if pt := p.pendingByCID(req.Cid); pt != nil { // asked again
		p.send(reply.TrackPublished(req.Cid, pt.info))
		return
	}
	pt := &pendingTrack{info: track.New(req, newSID(track.SIDPrefix(req))), cids: []string{req.Cid}, at: time.Now()}
	for i, c := range req.SimulcastCodecs {
		if c.Cid != "" && !slices.Contains(pt.cids, c.Cid) {
			pt.cids = append(pt.cids, c.Cid)
		}
		if cid := track.CodecCID(req, i); cid != "" && c.Codec != "" {
			p.preferCodec(cid, track.MIME(req.Type, c.Codec))
		}
	}
	if req.Type == livekit.TrackType_AUDIO {
		p.setAudioOptions(req.Cid, peer.AudioOptions{
			Stereo: slices.Contains(pt.info.AudioFeatures, livekit.AudioTrackFeature_TF_STEREO),
			NoDTX:  slices.Contains(pt.info.AudioFeatures, livekit.AudioTrackFeature_TF_NO_DTX),
		})
		if req.DisableRed {
			p.preferCodec(req.Cid, "audio/opus")
		}
	}
	p.pending = append(p.pending, pt)
	p.send(reply.TrackPublished(req.Cid, pt.info))
	r.adoptOrphans(p)
}

// mayPublish checks grants and limits.
func (r *Room) mayPublish(p *Participant, req *livekit.AddTrackRequest) (livekit.RequestResponse_Reason, string) {
	perm := p.permission
	switch {
	case req.Cid == "":
		return livekit.RequestResponse_INVALID_REQUEST, "a track needs a client id (cid)"
	case !perm.CanPublish:
		return livekit.RequestResponse_NOT_ALLOWED, "does not have permission to publish"
	case !mayPublishSource(perm, req.Source):
		return livekit.RequestResponse_NOT_ALLOWED, fmt.Sprintf("does not have permission to publish source %s", req.Source)
	case proto.Size(req) > maxAnnouncement || len(req.SimulcastCodecs) > maxCodecs:
		return livekit.RequestResponse_LIMIT_EXCEEDED, fmt.Sprintf("a track has at most %d codecs, and its description %d bytes", maxCodecs, maxAnnouncement)
	case req.Sid == "" && p.pendingByCID(req.Cid) == nil && !p.mayAnnounce(r.cfg.MaxTracks, time.Now()):
		return livekit.RequestResponse_LIMIT_EXCEEDED, fmt.Sprintf("publishes %d tracks already (limit.tracks_per_participant)", r.cfg.MaxTracks)
	}
	return livekit.RequestResponse_OK, ""
}

// mayAnnounce tells whether another track fits; an announcement that has become
// stale makes room for it. Actor.
func (p *Participant) mayAnnounce(limit int, now time.Time) bool {
	if limit <= 0 || len(p.pubs)+len(p.pending) < limit {
		return true
	}
	for _, t := range p.pending { // the oldest first
		if now.Sub(t.at) > staleAfter {
			p.dropPending(func(o *pendingTrack) bool { return o == t })
			return true
		}
	}
	return false
}

// dropPending forgets announcements, and what the peer was to know of them.
// Actor.
func (p *Participant) dropPending(which func(*pendingTrack) bool) {
	p.pending = slices.DeleteFunc(p.pending, func(t *pendingTrack) bool {
		if !which(t) {
			return false
		}
		p.forgetCodecs(t.cids...)
		return true
	})
}

// addCodec adds a backup codec to a publication that is there.
func (r *Room) addCodec(p *Participant, req *livekit.AddTrackRequest) {
	pub := r.tracks[req.Sid]
	if pub == nil || pub.publisher != p {
		p.complain("codec for a track that is not published", "track", req.Sid)
		p.send(reply.Refused(livekit.RequestResponse_NOT_FOUND, "track "+req.Sid+" is not published", req))
		return
	}
	p.pending = slices.DeleteFunc(p.pending, func(t *pendingTrack) bool { return t.into == pub }) // asked again
	pt := &pendingTrack{info: pub.info, into: pub, cids: []string{req.Cid}, at: time.Now()}
	for _, c := range req.SimulcastCodecs {
		mime := track.MIME(req.Type, c.Codec)
		cid := cmp.Or(c.Cid, req.Cid)
		if !slices.Contains(pt.cids, cid) {
			pt.cids = append(pt.cids, cid)
		}
		p.preferCodec(cid, mime)
		if i := track.CodecIndex(pub.info, mime); i < 0 {
			if len(pub.info.Codecs) == maxCodecs {
				continue
			}
			pub.info.Codecs = append(pub.info.Codecs, &livekit.SimulcastCodecInfo{
				MimeType: mime, Cid: cid, Layers: track.LowestFirst(c.Layers), VideoLayerMode: c.VideoLayerMode,
			})
		} else {
			pub.info.Codecs[i].Cid = cid
			if len(c.Layers) > 0 {
				pub.info.Codecs[i].Layers = track.LowestFirst(c.Layers)
			}
		}
	}
	p.pending = append(p.pending, pt)
	p.send(reply.TrackPublished(req.Cid, pub.info))
	r.adoptOrphans(p)
}

func (p *Participant) pendingByCID(cid string) *pendingTrack {
	for _, t := range p.pending {
		if slices.Contains(t.cids, cid) {
			return t
		}
	}
	return nil
}

func (p *Participant) pendingBySID(sid string) *pendingTrack {
	for _, t := range p.pending {
		if t.info.Sid == sid {
			return t
		}
	}
	return nil
}

// pendingFor finds the request that an uplink belongs to: by the client's
// track id, else the first of its kind, since some browsers change ids in SDP.
func (p *Participant) pendingFor(u peer.Uplink) *pendingTrack {
	if t := p.pendingByCID(u.TrackID); t != nil {
		return t
	}
	want := livekit.TrackType_VIDEO
	if u.Kind == sfu.Audio {
		want = livekit.TrackType_AUDIO
	}
	for _, t := range p.pending {
		if t.info.Type == want && t.into == nil {
			return t
		}
	}
	return nil
}

// adoptOrphans publishes media that came before its announcement. Only the same
// id will do: what was never announced must not become another track.
func (r *Room) adoptOrphans(p *Participant) {
	orphans := p.orphans
	p.orphans = nil
	for _, u := range orphans {
		if u.TrackID == "" || p.pendingByCID(u.TrackID) != nil {
			r.trackNegotiated(p, u)
		} else {
			p.orphans = append(p.orphans, u)
		}
	}
}

// trackNegotiated makes a pending track a publication. Actor.
func (r *Room) trackNegotiated(p *Participant, u peer.Uplink) {
	if p.left {
		return
	}
	pt := p.pendingFor(u)
	if pt == nil {
		if len(p.orphans) < r.cfg.MaxTracks || r.cfg.MaxTracks == 0 {
			p.orphans = append(p.orphans, u)
		}
		return
	}
	p.pending = slices.DeleteFunc(p.pending, func(t *pendingTrack) bool { return t == pt })
	if pt.into != nil {
		r.codecNegotiated(pt.into, u)
		return
	}
	pub := &Publication{info: pt.info, publisher: p, uplinks: []peer.Uplink{u}, subs: map[*Participant]*Subscription{}}
	pub.describe(u, true)
	u.Receiver.SetMuted(pub.info.Muted)
	if u.Kind == sfu.Audio {
		pub.meter = newLevelMeter(r.cfg.Levels)
		u.Receiver.OnAudioLevel(pub.meter.observe)
	}
	p.pubs = append(p.pubs, pub)
	r.tracks[pub.info.Sid] = pub
	r.totals.TracksPublished.Add(1)
	p.log.Info("track published", "track", pub.info.Sid, "source", pub.info.Source.String(), "mime", u.Mime, "rids", u.Rids)
	r.broadcastParticipant(p, true)
	r.emitTrackPublished(pub)
	for _, q := range r.participants {
		if q.autoSubscribe {
			r.subscribe(q, pub)
		}
	}
}

// codecNegotiated adds the receiver of a further codec.
func (r *Room) codecNegotiated(pub *Publication, u peer.Uplink) {
	pub.uplinks = append(pub.uplinks, u)
	if strings.EqualFold(pub.missing, u.Mime) {
		pub.missing = ""
	}
	pub.describe(u, false)
	u.Receiver.SetMuted(pub.info.Muted)
	r.broadcastParticipant(pub.publisher, true)
	for _, s := range pub.subs {
		s.attach()
	}
}

// describe writes what negotiation told into the public info.
func (pub *Publication) describe(u peer.Uplink, primary bool) {
	info := pub.info
	if primary {
		info.MimeType, info.Mid = u.Mime, u.Mid
		info.Simulcast = info.Simulcast || len(u.Rids) > 1
		if len(info.Codecs) > 0 && info.Codecs[0].MimeType == "" {
			info.Codecs[0].MimeType = u.Mime
		}
	}
	i := track.CodecIndex(info, u.Mime)
	if i < 0 {
		info.Codecs = append(info.Codecs, &livekit.SimulcastCodecInfo{MimeType: u.Mime, Layers: info.Layers})
		i = len(info.Codecs) - 1
	}
	c := info.Codecs[i]
	c.MimeType, c.Mid = u.Mime, u.Mid
	if c.Cid == "" {
		c.Cid = u.TrackID
	} else if c.Cid != u.TrackID {
		c.SdpCid = u.TrackID
	}
	for j, l := range c.Layers {
		if j < len(u.Rids) {
			l.Rid = u.Rids[j]
		}
	}
}

// trackEnded: the client stopped sending a section. Actor.
func (r *Room) trackEnded(p *Participant, mid string) {
	p.orphans = slices.DeleteFunc(p.orphans, func(u peer.Uplink) bool { return u.Mid == mid })
	for _, pub := range p.pubs {
		i := slices.IndexFunc(pub.uplinks, func(u peer.Uplink) bool { return u.Mid == mid })
		if i < 0 {
			continue
		}
		pub.uplinks = slices.Delete(pub.uplinks, i, i+1)
		if i == 0 || len(pub.uplinks) == 0 {
			r.unpublish(pub)
			r.broadcastParticipant(p, true)
			return
		}
		for _, s := range pub.subs {
			s.attach()
		}
		return
	}
}

// unpublish ends a publication; the caller tells the others. Actor.
func (r *Room) unpublish(pub *Publication) {
	p := pub.publisher
	p.log.Info("track unpublished", "track", pub.info.Sid)
	p.pubs = slices.DeleteFunc(p.pubs, func(x *Publication) bool { return x == pub })
	delete(r.tracks, pub.info.Sid)
	p.dropPending(func(t *pendingTrack) bool { return t.into == pub })
	for _, c := range pub.info.Codecs {
		p.forgetCodecs(c.Cid, c.SdpCid)
	}
	for _, s := range pub.subs {
		r.unsubscribe(s)
	}
	r.emitTrackUnpublished(pub)
}

// muteOwn: the client muted or unmuted its track. Actor.
func (r *Room) muteOwn(p *Participant, sid string, muted bool) {
	if pub := r.tracks[sid]; pub != nil && pub.publisher == p {
		r.setMuted(pub, muted)
		return
	}
	if pt := p.pendingBySID(sid); pt != nil {
		pt.info.Muted = muted
		return
	}
	p.complain("mute of a track that is not published", "track", sid)
}

func (r *Room) setMuted(pub *Publication, muted bool) {
	if pub.info.Muted == muted {
		return
	}
	pub.info.Muted = muted
	for _, u := range pub.uplinks {
		u.Receiver.SetMuted(muted)
	}
	if pub.meter != nil && muted {
		pub.meter.reset()
	}
	r.broadcastParticipant(pub.publisher, true)
}

func (r *Room) updateLocalAudio(p *Participant, u *livekit.UpdateLocalAudioTrack) {
	if pub := r.tracks[u.GetTrackSid()]; pub != nil && pub.publisher == p && len(u.GetFeatures()) <= len(livekit.AudioTrackFeature_name) {
		pub.info.AudioFeatures = u.GetFeatures()
		pub.info.Stereo = slices.Contains(u.GetFeatures(), livekit.AudioTrackFeature_TF_STEREO)
		pub.info.DisableDtx = slices.Contains(u.GetFeatures(), livekit.AudioTrackFeature_TF_NO_DTX)
		r.broadcastParticipant(p, true)
	}
}

func (r *Room) updateLocalVideo(p *Participant, u *livekit.UpdateLocalVideoTrack) {
	if pub := r.tracks[u.GetTrackSid()]; pub != nil && pub.publisher == p {
		pub.info.Width, pub.info.Height = u.GetWidth(), u.GetHeight()
		r.broadcastParticipant(p, true)
	}
}
