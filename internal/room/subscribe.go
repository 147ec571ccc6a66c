package room

import (
	"cmp"
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

// Subscription is one participant's wish to receive one track. It lives as long
// as the wish, also while the track may not be received. Actor owned.
type Subscription struct {
	pub        *Publication
	subscriber *Participant
	number     uint64                       // of the subscriber's wishes, the oldest first
	settings   *livekit.UpdateTrackSettings // as the client last asked
	denied     bool                         // by the publisher's permission
	waiting    bool                         // for another to end, because of a limit
	live       bool                         // the peer was asked for it
	round      int                          // how often it was
	bound      *sfu.DownTrack               // nil until its media section is negotiated
	from       *sfu.Receiver                // what bound is attached to
}

// subscribeToAll subscribes p to everything, if it wants that. Actor.
func (r *Room) subscribeToAll(p *Participant) {
	if !p.autoSubscribe {
		return
	}
	for _, q := range r.participants {
		for _, pub := range q.pubs {
			r.subscribe(p, pub)
		}
	}
}

// subscribe notes that p wishes to receive pub, and sees to it. Nobody can
// subscribe to who is hidden. Actor.
func (r *Room) subscribe(p *Participant, pub *Publication) {
	if pub.publisher == p || pub.publisher.permission.Hidden || p.subs[pub.info.Sid] != nil {
		return
	}
	p.wishes++
	s := &Subscription{
		pub: pub, subscriber: p, number: p.wishes,
		settings: &livekit.UpdateTrackSettings{Quality: livekit.VideoQuality_HIGH},
	}
	p.subs[pub.info.Sid], pub.subs[p] = s, s
	r.settle(s)
}

// settle makes the track flow, or stops it, as permissions and limits say, and
// tells the client why it does not. Actor.
func (r *Room) settle(s *Subscription) {
	p, pub := s.subscriber, s.pub
	if denied := !track.Allowed(pub.publisher.grant, pub.info.Sid, p.identity, p.sid); denied != s.denied {
		s.denied = denied
		p.send(reply.SubscriptionPermission(pub.publisher.sid, pub.info.Sid, !denied))
	}
	may := !s.denied && p.permission.CanSubscribe
	if over := may && !s.live && r.overLimit(p, pub.info.Type); over != s.waiting {
		if s.waiting = over; over {
			p.log.Info("subscription waits: limit reached", "track", pub.info.Sid)
			p.send(reply.SubscriptionError(pub.info.Sid, livekit.SubscriptionError_SE_UNKNOWN))
		}
	}
	switch want := may && !s.waiting; {
	case want && !s.live:
		s.start()
	case !want && s.live:
		s.release()
		r.settleWaiting(p)
	}
}

// settleWaiting gives what has become free to those that wait for it, the
// longest first. Actor.
func (r *Room) settleWaiting(p *Participant) {
	var waiting []*Subscription
	for _, s := range p.subs {
		if s.waiting {
			waiting = append(waiting, s)
		}
	}
	slices.SortFunc(waiting, func(a, b *Subscription) int { return cmp.Compare(a.number, b.number) })
	for _, s := range waiting {
		r.settle(s)
	}
}

// start asks the peer for the track.
func (s *Subscription) start() {
	p, pub, mail := s.subscriber, s.pub, s.subscriber.room.mail
	kind := sfu.Video
	if pub.info.Type == livekit.TrackType_AUDIO {
		kind = sfu.Audio
	}
	s.live = true
	s.round++
	round := s.round
	p.down.Subscribe(peer.Downlink{
		TrackID: pub.info.Sid, StreamID: p.streamID(pub), ReusedStreamID: pub.publisher.sid + "|" + pub.info.Sid,
		Kind: kind, Codecs: pub.mimes(),
		Stereo: pub.info.Stereo,
		Bound:  func(d *sfu.DownTrack) { mail.post(func() { s.bind(round, d) }) },
		Failed: func(err error) { mail.post(func() { s.failed(round, err) }) },
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
		if s.pub.info.Type == t && s.live {
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

// bind connects a negotiated down track to its source. A down track of an
// earlier round has been closed by the peer. Actor.
func (s *Subscription) bind(round int, d *sfu.DownTrack) {
	if !s.live || round != s.round {
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
func (s *Subscription) failed(round int, err error) {
	if !s.live || round != s.round {
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
	if pub.missing = pub.unserved(); pub.missing == "" {
		return // who needed it is gone
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

// unserved returns a codec that a viewer waits for, or "".
func (pub *Publication) unserved() string {
	for _, s := range pub.subs {
		if s.bound != nil && s.from == nil && s.subscriber.downReady {
			return s.bound.Codec().Mime
		}
	}
	return ""
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
	delete(s.pub.subs, s.subscriber)
	delete(s.subscriber.subs, s.pub.info.Sid)
	if s.live {
		s.release()
		r.settleWaiting(s.subscriber)
	}
}

// release takes the down track away; the subscription itself may live on.
func (s *Subscription) release() {
	s.live = false
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
		case pub == nil || pub.publisher.permission.Hidden && pub.publisher != p:
			p.send(reply.SubscriptionError(sid, livekit.SubscriptionError_SE_TRACK_NOTFOUND))
		default:
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
		for _, s := range pub.subs {
			r.settle(s)
		}
	}
	p.data.PermissionChanged()
}

// canSubscribeChanged applies a changed can_subscribe. Actor.
func (r *Room) canSubscribeChanged(p *Participant) {
	for _, s := range p.subs {
		r.settle(s)
	}
	r.subscribeToAll(p)
}
