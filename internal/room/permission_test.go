package room

import (
	"slices"
	"testing"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
)

// publish announces a track and settles its negotiation, without media.
func publish(t *testing.T, s *Session, cid string, source livekit.TrackSource) (sid string) {
	t.Helper()
	announce(s, cid, source)
	negotiated(s, cid, source)
	s.do(func() {
		for _, pub := range s.p.pubs {
			if pub.info.Codecs[0].Cid == cid {
				sid = pub.info.Sid
			}
		}
	})
	if sid == "" {
		t.Fatalf("track %s of %s is not published", cid, s.p.identity)
	}
	return sid
}

func announce(s *Session, cid string, source livekit.TrackSource) {
	kind := livekit.TrackType_VIDEO
	if source == livekit.TrackSource_MICROPHONE {
		kind = livekit.TrackType_AUDIO
	}
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_AddTrack{AddTrack: &livekit.AddTrackRequest{
		Cid: cid, Type: kind, Source: source, Width: 1280, Height: 720,
	}}})
}

// negotiated is what the peer tells when a client's offer has such a track.
func negotiated(s *Session, cid string, source livekit.TrackSource) {
	u := peer.Uplink{Mid: "mid-" + cid, TrackID: cid, Kind: sfu.Video, Mime: "video/VP8"}
	if source == livekit.TrackSource_MICROPHONE {
		u.Kind, u.Mime = sfu.Audio, "audio/opus"
	}
	u.Receiver = sfu.NewReceiver(sfu.ReceiverParams{TrackID: cid, Kind: u.Kind, Codec: sfu.Codec{Mime: u.Mime, ClockRate: 90000, PayloadType: 96}, Layers: 1})
	s.do(func() { s.p.room.trackNegotiated(s.p, u) })
}

// live lists the tracks that a participant's peer was asked for.
func live(s *Session) (sids []string) {
	s.do(func() {
		for sid, sub := range s.p.subs {
			if sub.live {
				sids = append(sids, sid)
			}
		}
	})
	slices.Sort(sids)
	return sids
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// allow changes a participant's permission through the server API.
func (r *rig) allow(identity string, change func(*livekit.ParticipantPermission)) {
	r.t.Helper()
	perm := &livekit.ParticipantPermission{CanPublish: true, CanSubscribe: true, CanPublishData: true}
	change(perm)
	if _, err := r.Room("r").UpdateParticipant(r.t.Context(), &livekit.UpdateParticipantRequest{Identity: identity, Permission: perm}); err != nil {
		r.t.Fatal(err)
	}
}

func TestSubscribePermissionTakenAndGiven(t *testing.T) {
	r := newRig(t, nil)
	ann, _ := r.join("ann", nil)
	bob, _ := r.join("bob", nil)
	cat, _ := r.join("cat", func(j *Join) { j.AutoSubscribe = false })
	cam := publish(t, ann, "cam", livekit.TrackSource_CAMERA)
	cat.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_Subscription{Subscription: &livekit.UpdateSubscription{TrackSids: []string{cam}, Subscribe: true}}})
	cat.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_TrackSetting{TrackSetting: &livekit.UpdateTrackSettings{TrackSids: []string{cam}, Quality: livekit.VideoQuality_LOW}}})
	for _, s := range []*Session{bob, cat} {
		same(t, s.p.identity, live(s), cam)
		r.allow(s.p.identity, func(p *livekit.ParticipantPermission) { p.CanSubscribe = false })
		same(t, s.p.identity+" may not subscribe", live(s))
	}
	mic := publish(t, ann, "mic", livekit.TrackSource_MICROPHONE)
	same(t, "published meanwhile", live(bob))
	for _, s := range []*Session{bob, cat} {
		r.allow(s.p.identity, func(*livekit.ParticipantPermission) {})
	}
	same(t, "bob may again", live(bob), cam, mic)
	same(t, "cat may again what it had asked for", live(cat), cam)
	cat.do(func() {
		if got := cat.p.subs[cam].settings.Quality; got != livekit.VideoQuality_LOW {
			t.Errorf("cat's settings are forgotten: %v", got)
		}
	})
}

func TestPublisherDeniesAndAllows(t *testing.T) {
	r := newRig(t, nil)
	ann, _ := r.join("ann", nil)
	bob, b := r.join("bob", nil)
	cam := publish(t, ann, "cam", livekit.TrackSource_CAMERA)
	permit := func(list ...*livekit.TrackPermission) {
		ann.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_SubscriptionPermission{SubscriptionPermission: &livekit.SubscriptionPermission{TrackPermissions: list}}})
	}
	told := func() (out []bool) {
		for _, m := range b.all() {
			if u := m.GetSubscriptionPermissionUpdate(); u.GetTrackSid() == cam {
				out = append(out, u.Allowed)
			}
		}
		return out
	}
	permit()
	same(t, "denied", live(bob))
	permit(&livekit.TrackPermission{ParticipantSid: bob.p.sid, TrackSids: []string{cam}})
	same(t, "allowed by sid", live(bob), cam)
	permit(&livekit.TrackPermission{ParticipantIdentity: "eve", AllTracks: true})
	same(t, "another is allowed", live(bob))
	permit(&livekit.TrackPermission{ParticipantIdentity: "bob", AllTracks: true})
	same(t, "allowed by identity", live(bob), cam)
	if got := told(); !slices.Equal(got, []bool{false, true, false, true}) {
		t.Errorf("bob was told %v", got)
	}
	permit()
	_, c := r.join("cat", nil)
	wait(t, c, "a newcomer is told", func(m *livekit.SignalResponse) (bool, bool) {
		u := m.GetSubscriptionPermissionUpdate()
		return true, u != nil && !u.Allowed
	})
}

func TestPublishPermissionTaken(t *testing.T) {
	r := newRig(t, nil)
	ann, a := r.join("ann", nil)
	bob, b := r.join("bob", nil)
	mic := publish(t, ann, "mic", livekit.TrackSource_MICROPHONE)
	cam := publish(t, ann, "cam", livekit.TrackSource_CAMERA)
	announce(ann, "screen", livekit.TrackSource_SCREEN_SHARE)
	ann.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_PublishDataTrackRequest{PublishDataTrackRequest: &livekit.PublishDataTrackRequest{PubHandle: 1, Name: "d"}}})
	r.allow("ann", func(p *livekit.ParticipantPermission) {
		p.CanPublishSources, p.CanPublishData = []livekit.TrackSource{livekit.TrackSource_MICROPHONE}, false
	})
	negotiated(ann, "screen", livekit.TrackSource_SCREEN_SHARE) // announced while it was allowed
	same(t, "bob receives", live(bob), mic)
	gone := wait(t, a, "word that the camera is unpublished", func(m *livekit.SignalResponse) (string, bool) {
		return m.GetTrackUnpublished().GetTrackSid(), m.GetTrackUnpublished() != nil
	})
	if gone != cam {
		t.Errorf("unpublished %s, want %s", gone, cam)
	}
	wait(t, a, "word that the data track is unpublished", func(m *livekit.SignalResponse) (bool, bool) {
		return true, m.GetUnpublishDataTrackResponse().GetInfo().GetName() == "d"
	})
	wait(t, b, "ann with a microphone only", update("ann", func(p *livekit.ParticipantInfo) bool {
		return len(p.Tracks) == 1 && p.Tracks[0].Sid == mic && len(p.DataTracks) == 0
	}))
	r.allow("ann", func(*livekit.ParticipantPermission) {})
	announce(ann, "screen", livekit.TrackSource_SCREEN_SHARE) // its media still comes
	wait(t, b, "ann's screen", update("ann", func(p *livekit.ParticipantInfo) bool { return len(p.Tracks) == 2 }))
}

// Who is hidden can see; what it publishes nobody can.
func TestHiddenPublisher(t *testing.T) {
	r := newRig(t, nil)
	bob, b := r.join("bob", func(j *Join) { j.AutoSubscribeData = true })
	spy, _ := r.join("spy", func(j *Join) { j.Claims = claims("spy", func(c *auth.Claims) { c.Video.Hidden = true }) })
	cat, _ := r.join("cat", nil)
	bobs := publish(t, bob, "mic", livekit.TrackSource_MICROPHONE)
	same(t, "the spy receives", live(spy), bobs)
	sid := publish(t, spy, "mic", livekit.TrackSource_MICROPHONE)
	spy.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_PublishDataTrackRequest{PublishDataTrackRequest: &livekit.PublishDataTrackRequest{PubHandle: 1, Name: "d"}}})
	bob.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_Subscription{Subscription: &livekit.UpdateSubscription{TrackSids: []string{sid}, Subscribe: true}}})
	same(t, "bob receives", live(bob))
	same(t, "cat receives", live(cat), bobs)
	if e := wait(t, b, "refusal", func(m *livekit.SignalResponse) (*livekit.SubscriptionResponse, bool) {
		return m.GetSubscriptionResponse(), m.GetSubscriptionResponse() != nil
	}); e.Err != livekit.SubscriptionError_SE_TRACK_NOTFOUND {
		t.Errorf("bob learns that there is such a track: %v", e)
	}
	for _, m := range b.all() {
		if m.GetDataTrackSubscriberHandles() != nil {
			t.Errorf("bob gets the hidden participant's data track: %v", m)
		}
	}
	r.allow("spy", func(*livekit.ParticipantPermission) {})
	same(t, "the spy shows itself", live(bob), sid)
	shown := wait(t, b, "the spy", update("spy", func(p *livekit.ParticipantInfo) bool { return p.State != livekit.ParticipantInfo_DISCONNECTED }))
	wait(t, b, "its data track", func(m *livekit.SignalResponse) (bool, bool) {
		return true, len(m.GetDataTrackSubscriberHandles().GetSubHandles()) == 1
	})
	r.allow("spy", func(p *livekit.ParticipantPermission) { p.Hidden = true })
	same(t, "the spy hides again", live(bob))
	gone := wait(t, b, "the spy's end", update("spy", func(p *livekit.ParticipantInfo) bool { return p.State == livekit.ParticipantInfo_DISCONNECTED }))
	if gone.Version <= shown.Version {
		t.Errorf("version %d after %d: clients ignore it", gone.Version, shown.Version)
	}
}

// What a limit keeps back comes when another goes.
func TestSubscriptionLimitWaits(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxSubscribedVideo = 1 })
	ann, _ := r.join("ann", nil)
	bob, b := r.join("bob", nil)
	one := publish(t, ann, "1", livekit.TrackSource_CAMERA)
	two := publish(t, ann, "2", livekit.TrackSource_CAMERA)
	three := publish(t, ann, "3", livekit.TrackSource_CAMERA)
	mic := publish(t, ann, "mic", livekit.TrackSource_MICROPHONE)
	same(t, "the first", live(bob), one, mic)
	refused := 0
	for _, m := range b.all() {
		if m.GetSubscriptionResponse() != nil {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("told of %d that wait, want 2", refused)
	}
	ann.do(func() { r.Room("r").trackEnded(ann.p, "mid-1") })
	same(t, "the first ended", live(bob), two, mic)
	bob.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_Subscription{Subscription: &livekit.UpdateSubscription{TrackSids: []string{two}}}})
	same(t, "bob gives the second up", live(bob), three, mic)
}

// A newcomer gets the data tracks that are there, one that may no longer
// subscribe loses them.
func TestDataTrackSubscriptions(t *testing.T) {
	r := newRig(t, nil)
	ann, _ := r.join("ann", nil)
	ann.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_PublishDataTrackRequest{PublishDataTrackRequest: &livekit.PublishDataTrackRequest{PubHandle: 1, Name: "d"}}})
	_, b := r.join("bob", func(j *Join) { j.AutoSubscribeData = true })
	if b.all()[0].GetJoin() == nil {
		t.Fatalf("first response is %v", b.all()[0])
	}
	handles := func(n int) func(*livekit.SignalResponse) (bool, bool) {
		seen := len(b.all())
		return func(m *livekit.SignalResponse) (bool, bool) {
			h := m.GetDataTrackSubscriberHandles()
			return true, h != nil && len(h.SubHandles) == n && slices.Index(b.all(), m) >= seen
		}
	}
	wait(t, b, "handle of ann's track", func(m *livekit.SignalResponse) (bool, bool) {
		for _, h := range m.GetDataTrackSubscriberHandles().GetSubHandles() {
			return true, h.PublisherIdentity == "ann" && h.PublisherSid == ann.p.sid
		}
		return false, false
	})
	for _, step := range []struct {
		what string
		do   func()
		want int
	}{
		{"may not subscribe", func() { r.allow("bob", func(p *livekit.ParticipantPermission) { p.CanSubscribe = false }) }, 0},
		{"may again", func() { r.allow("bob", func(*livekit.ParticipantPermission) {}) }, 1},
		{"the publisher denies", func() {
			ann.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_SubscriptionPermission{SubscriptionPermission: &livekit.SubscriptionPermission{}}})
		}, 0},
		{"the publisher allows", func() {
			ann.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_SubscriptionPermission{SubscriptionPermission: &livekit.SubscriptionPermission{AllParticipants: true}}})
		}, 1},
		{"the publisher leaves", func() { _ = r.Room("r").RemoveParticipant(t.Context(), "ann") }, 0},
	} {
		match := handles(step.want)
		step.do()
		wait(t, b, step.what, match)
	}
}
