package room

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/room/measure"
)

// addTrack sends an AddTrackRequest and returns why it was refused, OK when it
// was not.
func addTrack(s *Session, c *client, req *livekit.AddTrackRequest) livekit.RequestResponse_Reason {
	before := len(c.all())
	s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_AddTrack{AddTrack: req}})
	for _, m := range c.all()[before:] {
		if r := m.GetRequestResponse(); r != nil {
			return r.Reason
		}
	}
	return livekit.RequestResponse_OK
}

func TestAnnouncementsAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxTracks = 2 })
	s, c := r.join("ann", nil)
	const full, ok = livekit.RequestResponse_LIMIT_EXCEEDED, livekit.RequestResponse_OK
	many := &livekit.AddTrackRequest{Cid: "many"}
	for i := range maxCodecs + 1 {
		many.SimulcastCodecs = append(many.SimulcastCodecs, &livekit.SimulcastCodec{Codec: fmt.Sprint("c", i)})
	}
	for _, step := range []struct {
		what string
		req  *livekit.AddTrackRequest
		want livekit.RequestResponse_Reason
	}{
		{"no id", &livekit.AddTrackRequest{}, livekit.RequestResponse_INVALID_REQUEST},
		{"an endless name", &livekit.AddTrackRequest{Cid: "long", Name: strings.Repeat("x", maxAnnouncement)}, full},
		{"endless codecs", many, full},
		{"one", &livekit.AddTrackRequest{Cid: "1"}, ok},
		{"two", &livekit.AddTrackRequest{Cid: "2"}, ok},
		{"two, asked again", &livekit.AddTrackRequest{Cid: "2"}, ok},
		{"three", &livekit.AddTrackRequest{Cid: "3"}, full},
	} {
		if got := addTrack(s, c, step.req); got != step.want {
			t.Errorf("%s: %v, want %v", step.what, got, step.want)
		}
	}
	s.do(func() { s.p.pending[0].at = time.Now().Add(-2 * staleAfter) })
	if got := addTrack(s, c, &livekit.AddTrackRequest{Cid: "3"}); got != ok {
		t.Errorf("a track for which no media ever came keeps its place: %v", got)
	}
}

// Backup codecs do not count as tracks, and cannot pile up.
func TestBackupCodecsAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxTracks = 1 })
	s, c := r.join("ann", nil)
	sid := publish(t, s, "cam", livekit.TrackSource_CAMERA)
	for i := range 3 * maxCodecs {
		if got := addTrack(s, c, &livekit.AddTrackRequest{Cid: fmt.Sprint("b", i), Sid: sid, Type: livekit.TrackType_VIDEO, SimulcastCodecs: []*livekit.SimulcastCodec{
			{Codec: fmt.Sprint("codec", i), Cid: fmt.Sprint("b", i)},
		}}); got != livekit.RequestResponse_OK {
			t.Fatalf("backup codec %d: %v", i, got)
		}
	}
	s.do(func() {
		if n := len(s.p.pubs[0].info.Codecs); n != maxCodecs {
			t.Errorf("%d codecs, want %d", n, maxCodecs)
		}
		if n := len(s.p.pending); n != 1 {
			t.Errorf("%d announcements wait for one track", n)
		}
		s.p.room.trackEnded(s.p, "mid-cam")
		if len(s.p.pubs) != 0 || len(s.p.pending) != 0 {
			t.Errorf("%d tracks, %d announcements are left", len(s.p.pubs), len(s.p.pending))
		}
	})
	if got := addTrack(s, c, &livekit.AddTrackRequest{Cid: "x", Sid: sid}); got != livekit.RequestResponse_NOT_FOUND {
		t.Errorf("codec for a track that has ended: %v", got)
	}
}

func TestNothingIsKeptOfEndedTracks(t *testing.T) {
	r := newRig(t, nil)
	s, _ := r.join("ann", nil)
	for i := range 5 {
		cid := fmt.Sprint("t", i)
		s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_AddTrack{AddTrack: &livekit.AddTrackRequest{
			Cid: cid, Type: livekit.TrackType_AUDIO, DisableRed: true,
			SimulcastCodecs: []*livekit.SimulcastCodec{{Codec: "opus", Cid: cid}},
		}}})
		negotiated(s, cid, livekit.TrackSource_MICROPHONE)
		s.do(func() { s.p.room.trackEnded(s.p, "mid-"+cid) })
	}
	s.do(func() {
		if n := len(s.p.codecs) + len(s.p.audio) + len(s.p.pending) + len(s.p.orphans) + len(s.p.room.tracks); n != 0 {
			t.Errorf("%d things are remembered: codecs %v, options %v", n, s.p.codecs, s.p.audio)
		}
	})
}

// Media that was never announced must not be published as something else.
func TestUnannouncedMediaIsNotMistaken(t *testing.T) {
	r := newRig(t, nil)
	s, _ := r.join("ann", nil)
	negotiated(s, "camera", livekit.TrackSource_CAMERA)
	announce(s, "screen", livekit.TrackSource_SCREEN_SHARE)
	s.do(func() {
		if len(s.p.pubs) != 0 {
			t.Errorf("the camera is published as %v", s.p.pubs[0].info.Source)
		}
	})
	negotiated(s, "screen", livekit.TrackSource_SCREEN_SHARE)
	announce(s, "camera", livekit.TrackSource_CAMERA)
	s.do(func() {
		if len(s.p.pubs) != 2 {
			t.Errorf("%d tracks are published, want both", len(s.p.pubs))
		}
	})
}

func TestRecordersComeOnTop(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxParticipants = 1 })
	_, a := r.join("ann", nil)
	egress := func(j *Join) {
		j.Claims = claims("egress", func(c *auth.Claims) { c.Kind, c.Video.Hidden = livekit.ParticipantInfo_EGRESS, true })
	}
	for kind, change := range map[string]func(*auth.Claims){
		"agent":    func(c *auth.Claims) { c.Kind = livekit.ParticipantInfo_AGENT },
		"ingress":  func(c *auth.Claims) { c.Kind = livekit.ParticipantInfo_INGRESS },
		"recorder": func(c *auth.Claims) { c.Video.Recorder = true },
	} {
		if err := r.Admit(t.Context(), Join{Room: "r", Claims: claims("x", change)}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	r.join("egress", egress)
	told := func() (out []bool) {
		for _, m := range a.all() {
			if u := m.GetRoomUpdate(); u != nil {
				out = append(out, u.Room.ActiveRecording)
			}
		}
		return out
	}
	if info, err := r.Room("r").Info(t.Context()); err != nil || !info.ActiveRecording || info.NumParticipants != 1 {
		t.Errorf("room %v, %v", info, err)
	}
	if err := r.Room("r").RemoveParticipant(t.Context(), "egress"); err != nil {
		t.Fatal(err)
	}
	if got := told(); len(got) != 2 || !got[0] || got[1] {
		t.Errorf("clients were told %v, want that recording began and ended", got)
	}
}

// Everybody is told of its own connection and of those it receives, once.
func TestQualityIsTold(t *testing.T) {
	r := newRig(t, nil)
	ann, a := r.join("ann", nil)
	bob, b := r.join("bob", func(j *Join) { j.Client = &livekit.ClientInfo{Protocol: 9} })
	room := r.Room("r")
	publish(t, ann, "mic", livekit.TrackSource_MICROPHONE)
	publish(t, bob, "mic", livekit.TrackSource_MICROPHONE)
	mute := func(s *Session, subscribe bool) {
		s.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_Subscription{Subscription: &livekit.UpdateSubscription{
			TrackSids: []string{otherTrack(s)}, Subscribe: subscribe,
		}}})
	}
	mute(ann, false) // ann does not listen to bob
	ann.do(func() { ann.p.activate(); bob.p.activate() })
	tick := func() { ann.do(room.tickQuality) }
	told := func(c *client) (out []string) {
		for _, m := range c.all() {
			for _, u := range m.GetConnectionQuality().GetUpdates() {
				name := map[string]string{ann.p.sid: "ann", bob.p.sid: "bob"}[u.ParticipantSid]
				out = append(out, name+" "+strings.ToLower(u.Quality.String()))
			}
		}
		return out
	}
	tick()
	tick()
	same(t, "ann", told(a), "ann excellent")
	if got := told(b); len(got) != 2 {
		t.Errorf("bob was told %v, want both once", got)
	}
	mute(ann, true)
	tick()
	same(t, "ann after subscribing", told(a), "ann excellent", "bob excellent")
	ann.do(func() { ann.p.lost[0] = time.Now() })
	tick()
	if got := told(a); got[len(got)-1] != "ann lost" {
		t.Errorf("ann was told %v", got)
	}
	if got := told(b); got[len(got)-1] != "ann poor" {
		t.Errorf("bob, of an old protocol, was told %v", got)
	}
	if q, _ := measure.Judge(measure.Link{Dead: true}); q != livekit.ConnectionQuality_LOST {
		t.Errorf("a dead link is %v", q)
	}
}

// otherTrack returns the sid of a track that another participant publishes.
func otherTrack(s *Session) (sid string) {
	s.do(func() {
		for _, pub := range s.p.room.tracks {
			if pub.publisher != s.p {
				sid = pub.info.Sid
			}
		}
	})
	return sid
}

// A resuming client's word about what it has switched off is the last one.
func TestSyncStateSettings(t *testing.T) {
	r := newRig(t, nil)
	ann, _ := r.join("ann", nil)
	bob, _ := r.join("bob", nil)
	one, two := publish(t, ann, "1", livekit.TrackSource_CAMERA), publish(t, ann, "2", livekit.TrackSource_CAMERA)
	bob.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_TrackSetting{TrackSetting: &livekit.UpdateTrackSettings{TrackSids: []string{one}, Disabled: true}}})
	bob.Handle(&livekit.SignalRequest{Message: &livekit.SignalRequest_SyncState{SyncState: &livekit.SyncState{TrackSidsDisabled: []string{two}}}})
	bob.do(func() {
		if bob.p.subs[one].settings.Disabled || !bob.p.subs[two].settings.Disabled {
			t.Error("what was enabled while the connection was lost stays off, or the other way round")
		}
	})
}

// A client may be wrong at any pace; the log is not.
func TestComplaintsAreRare(t *testing.T) {
	r := newRig(t, nil)
	s, _ := r.join("ann", nil)
	n := 0
	for range 1000 {
		s.p.noise.Do(func() { n++ })
	}
	if n == 0 || n > 20 {
		t.Errorf("%d of 1000 complaints are logged", n)
	}
}

func TestAttributesOfAJoin(t *testing.T) {
	r := newRig(t, nil)
	_, c := r.join("ann", func(j *Join) {
		j.Claims = claims("ann", func(c *auth.Claims) { c.Attributes = map[string]string{"keep": "1", "change": "1"} })
		j.Attributes = map[string]string{"keep": "", "change": "2", "new": "3"}
	})
	got := wait(t, c, "join", joinOf).Participant.Attributes
	if len(got) != 3 || got["keep"] != "1" || got["change"] != "2" || got["new"] != "3" {
		t.Errorf("attributes %v", got)
	}
}
