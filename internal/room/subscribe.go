package room

import (
	"errors"
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

// Subscription is one participant's wish to receive one track. Actor owned.
type Subscription struct {
	pub        *Publication
	subscriber *Participant
	settings   *livekit.UpdateTrackSettings // as the client last asked
	denied     bool                         // by the publisher's permission
	bound      *sfu.DownTrack               // nil until its media section is negotiated
	from       *sfu.Receiver                // what bound is attached to
	ended      bool
}

// allows tells whether the publisher lets q subscribe to this track.
func (pub *Publication) allows(q *Participant) bool {
	return track.Allowed(pub.publisher.grant, pub.info.Sid, q.identity, q.sid)
}

// subscribeToAll subscribes a newcomer to everything. Actor.
func (r *Room) subscribeToAll(p *Participant) {
	if !p.autoSubscribe {
		return
	}
	for _, q := range r.participants {
		for _, pub := range q.pubs {
			if q != p {
				r.subscribe(p, pub)
			}
		}
	}
}

// subscribe makes p receive pub, or notes why it may not. Actor.
func (r *Room) subscribe(p *Participant, pub *Publication) {
	sid := pub.info.Sid
	if s := p.subs[sid]; s != nil && !s.denied {
		return
	}
	if !p.permission.CanSubscribe {
		return
	}
	if r.overLimit(p, pub.info.Type) {
		p.log.Warn("subscription over the limit", "track", sid)
		p.send(reply.SubscriptionError(sid, livekit.SubscriptionError_SE_UNKNOWN))
		return
	}
	s := p.subs[sid]
	if s == nil {
		s = &Subscription{pub: pub, subscriber: p, settings: &livekit.UpdateTrackSettings{Quality: livekit.VideoQuality_HIGH}}
		p.subs[sid], pub.subs[p] = s, s
	}
	if s.denied = !pub.allows(p); s.denied {
		p.send(reply.SubscriptionPermission(pub.publisher.sid, pub.info.Sid, false))
		return
	}
	kind := sfu.Video
	if pub.info.Type == livekit.TrackType_AUDIO {
		kind = sfu.Audio
	}
	p.down.Subscribe(peer.Downlink{
		TrackID: sid, StreamID: p.streamID(pub), ReusedStreamID: pub.publisher.sid + "|" + sid,
		Kind: kind, Codecs: pub.mimes(),
		Stereo: pub.info.Stereo,
		Bound:  func(d *sfu.DownTrack) { r.mail.post(func() { s.bind(d) }) },
		Failed: func(err error) { r.mail.post(func() { s.failed(err) }) },
	})
	p.down.Negotiate()
}

func (r *Room) overLimit(p *Participant, t livekit.TrackType) bool {
	limit := r.cfg.MaxSubscribedVideo
	if t == livekit.TrackType_AUDIO {
		limit = r.cfg.MaxSubscribedAudio
	}
	if limit <= 0 {
		return false
	}
	n := 0
	for _, s := range p.subs {
		if s.pub.info.Type == t && !s.denied {
			n++
		}
	}
	return n >= limit
}

// mimes lists the codecs a viewer may get, best first: those that flow, then
// those announced as backup.
func (pub *Publication) mimes() (out []string) {
	for _, u := range pub.uplinks {
		out = append(out, u.Mime)
	}
	for _, c := range pub.info.Codecs {
		if c.MimeType != "" && !slices.ContainsFunc(out, func(m string) bool { return strings.EqualFold(m, c.MimeType) }) {
			out = append(out, c.MimeType)
		}
	}
	return out
}

// streamID names the client-side MediaStream "participant|stream". Tracks of
// one stream are kept in sync by browsers. Firefox cannot move a track between
// streams, so it gets a stream for each track.
func (p *Participant) streamID(pub *Publication) string {
	stream := pub.info.Stream
	if stream == "" || p.quirks().Firefox {
		stream = pub.info.Sid
	}
	return pub.publisher.sid + "|" + stream
}

// bind connects a negotiated down track to its source. Actor.
func (s *Subscription) bind(d *sfu.DownTrack) {
	if s.ended || s.denied {
		d.Close()
		return
	}
	s.bound, s.from = d, nil // a track bound before was closed by the peer
	s.attach()
	pub := s.pub
	if !pub.announced {
		pub.announced = true
		pub.publisher.send(reply.TrackSubscribed(pub.info.Sid))
	}
}

// failed tells the client that it will not get this track. Actor.
func (s *Subscription) failed(err error) {
	if s.ended {
		return
	}
	reason := livekit.SubscriptionError_SE_UNKNOWN
	if errors.Is(err, peer.ErrUnsupportedCodec) {
		reason = livekit.SubscriptionError_SE_CODEC_UNSUPPORTED
	}
	s.subscriber.log.Warn("subscription failed", "track", s.pub.info.Sid, "error", err)
	s.subscriber.send(reply.SubscriptionError(s.pub.info.Sid, reason))
}

// attach makes the down track receive the codec it was negotiated for, once the
// viewer's connection is up: a key frame sent before that would be lost, and the
// next one is throttled. When the publisher does not send that codec yet, it is
// asked to.
func (s *Subscription) attach() {
	if s.bound == nil || !s.subscriber.downReady {
		return
	}
	mime := s.bound.Codec().Mime
	from := s.pub.receiver(mime)
	if from == nil && strings.HasPrefix(strings.ToLower(mime), "audio/") && len(s.pub.uplinks) > 0 {
		from = s.pub.uplinks[0].Receiver // opus and red convert into each other
	}
	if from == s.from && from != nil {
		return
	}
	if s.from != nil {
		s.from.RemoveDownTrack(s.bound)
	}
	s.from = from
	s.apply()
	if from == nil {
		s.pub.missing = mime
		s.pub.requestCodec(time.Now())
		return
	}
	from.AddDownTrack(s.bound)
	if s.pub.info.Muted && s.subscriber.quirks().Go {
		s.bound.Prime() // pion clients fire their track event on the first packet
	}
}

// codecRetry is how often a missing codec is asked for: browsers ignore the
// request until they have finished publishing the first codec.
const codecRetry = time.Second

// requestCodec asks the publisher to send the missing codec beside those it
// sends. It is asked again until the codec comes.
func (pub *Publication) requestCodec(now time.Time) {
	if pub.missing == "" || now.Sub(pub.requested) < codecRetry {
		return
	}
	pub.requested = now
	all := []*livekit.SubscribedQuality{
		{Quality: livekit.VideoQuality_LOW, Enabled: true},
		{Quality: livekit.VideoQuality_MEDIUM, Enabled: true},
		{Quality: livekit.VideoQuality_HIGH, Enabled: true},
	}
	u := &livekit.SubscribedQualityUpdate{TrackSid: pub.info.Sid}
	for _, m := range append(pub.sending(), pub.missing) {
		_, name, _ := strings.Cut(strings.ToLower(m), "/")
		u.SubscribedCodecs = append(u.SubscribedCodecs, &livekit.SubscribedCodec{Codec: name, Qualities: all})
	}
	pub.publisher.send(reply.SubscribedQuality(u))
}

func (pub *Publication) sending() (out []string) {
	for _, u := range pub.uplinks {
		out = append(out, u.Mime)
	}
	return out
}

// apply makes the down track follow the client's settings.
func (s *Subscription) apply() {
	if s.bound == nil {
		return
	}
	s.bound.SetPaused(s.settings.Disabled)
	s.bound.SetMaxLayer(s.spatial(), maxTemporal)
}

// maxTemporal admits every temporal layer.
const maxTemporal = 7

// spatial is the layer that the client's settings ask for.
func (s *Subscription) spatial() int {
	mime := ""
	if s.bound != nil {
		mime = s.bound.Codec().Mime
	}
	return track.Spatial(s.pub.info, mime, s.settings)
}

// unsubscribe ends s. Actor.
func (r *Room) unsubscribe(s *Subscription) {
	s.ended = true
	delete(s.pub.subs, s.subscriber)
	delete(s.subscriber.subs, s.pub.info.Sid)
	s.release()
}

// release takes the down track away; the subscription itself may live on.
func (s *Subscription) release() {
	if s.bound != nil && s.from != nil {
		s.from.RemoveDownTrack(s.bound)
	}
	s.bound, s.from = nil, nil
	s.subscriber.down.Unsubscribe(s.pub.info.Sid)
	s.subscriber.down.Negotiate()
}

// updateSubscription handles UpdateSubscription of a client or the API. Actor.
func (r *Room) updateSubscription(p *Participant, u *livekit.UpdateSubscription) {
	sids := slices.Clone(u.GetTrackSids())
	for _, pt := range u.GetParticipantTracks() {
		sids = append(sids, pt.GetTrackSids()...)
	}
	for _, sid := range sids {
		pub, s := r.tracks[sid], p.subs[sid]
		switch {
		case !u.Subscribe && s != nil:
			r.unsubscribe(s)
		case !u.Subscribe:
		case pub == nil:
			p.send(reply.SubscriptionError(sid, livekit.SubscriptionError_SE_TRACK_NOTFOUND))
		case pub.publisher != p:
			r.subscribe(p, pub)
		}
	}
}

// updateTrackSettings handles UpdateTrackSettings. Actor.
func (r *Room) updateTrackSettings(p *Participant, u *livekit.UpdateTrackSettings) {
	for _, sid := range u.GetTrackSids() {
		if s := p.subs[sid]; s != nil {
			s.settings = proto.Clone(u).(*livekit.UpdateTrackSettings)
			s.apply()
		}
	}
}

// setSubscriptionPermission: the publisher says who may subscribe. Actor.
func (r *Room) setSubscriptionPermission(p *Participant, g *livekit.SubscriptionPermission) {
	p.grant = g
	for _, pub := range p.pubs {
		for q, s := range pub.subs {
			allowed := pub.allows(q)
			if allowed == !s.denied {
				continue
			}
			q.send(reply.SubscriptionPermission(pub.publisher.sid, pub.info.Sid, allowed))
			if allowed {
				r.subscribe(q, pub)
				continue
			}
			s.denied = true
			s.release()
		}
	}
	r.enforceDataPermission(p)
}

// enforceCanSubscribe applies a changed can_subscribe. Actor.
func (r *Room) enforceCanSubscribe(p *Participant) {
	if p.permission.CanSubscribe {
		r.subscribeToAll(p)
		return
	}
	for _, s := range p.subs {
		r.unsubscribe(s)
	}
}
