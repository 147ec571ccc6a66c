package auth

import (
	"errors"
	"testing"

	"github.com/livekit/protocol/livekit"
)

func TestEnsureJoin(t *testing.T) {
	for _, tc := range []struct {
		name      string
		c         Claims
		requested string
		room      string
		err       error
	}{
		{"token names the room", Claims{Identity: "a", Video: &VideoGrant{RoomJoin: true, Room: "r"}}, "", "r", nil},
		{"both agree", Claims{Identity: "a", Video: &VideoGrant{RoomJoin: true, Room: "r"}}, "r", "r", nil},
		{"wrong room", Claims{Identity: "a", Video: &VideoGrant{RoomJoin: true, Room: "r"}}, "s", "", ErrPermission},
		{"any room", Claims{Identity: "a", Video: &VideoGrant{RoomJoin: true}}, "s", "s", nil},
		{"no room at all", Claims{Identity: "a", Video: &VideoGrant{RoomJoin: true}}, "", "", ErrNoRoom},
		{"no grant", Claims{Identity: "a", Video: &VideoGrant{RoomAdmin: true, Room: "r"}}, "r", "", ErrPermission},
		{"nil grant", Claims{Identity: "a"}, "r", "", ErrPermission},
		{"no identity", Claims{Video: &VideoGrant{RoomJoin: true, Room: "r"}}, "", "", ErrNoIdentity},
	} {
		room, err := tc.c.EnsureJoin(tc.requested)
		if room != tc.room || !errors.Is(err, tc.err) {
			t.Errorf("%s: %q, %v; want %q, %v", tc.name, room, err, tc.room, tc.err)
		}
	}
	c := Claims{Identity: "a", Video: &VideoGrant{RoomJoin: true, Room: "r"}}
	if !c.CanJoin("r") || c.CanJoin("s") || c.CanJoin("") {
		t.Error("CanJoin disagrees with EnsureJoin")
	}
}

// Each Ensure method passes for its own grant and for no other.
func TestEnsureGrants(t *testing.T) {
	checks := map[string]func(Claims) error{
		"admin":   func(c Claims) error { return c.EnsureAdmin("r") },
		"dest":    func(c Claims) error { return c.EnsureDestination("r", "d") },
		"create":  Claims.EnsureCreate,
		"list":    Claims.EnsureList,
		"record":  Claims.EnsureRecord,
		"ingress": Claims.EnsureIngressAdmin,
		"worker":  Claims.EnsureAgentWorker,
		"sip":     Claims.EnsureSIPAdmin,
		"call":    Claims.EnsureSIPCall,
	}
	video := func(v VideoGrant) Claims { return Claims{Video: &v} }
	for _, tc := range []struct {
		name   string
		c      Claims
		passes []string
	}{
		{"nothing", Claims{}, nil},
		{"empty", video(VideoGrant{}), nil},
		{"join only", video(VideoGrant{RoomJoin: true, Room: "r"}), nil},
		{"admin", video(VideoGrant{RoomAdmin: true, Room: "r"}), []string{"admin"}},
		{"admin of no room", video(VideoGrant{RoomAdmin: true}), nil},
		{"admin of another room", video(VideoGrant{RoomAdmin: true, Room: "s"}), nil},
		{"admin and destination", video(VideoGrant{RoomAdmin: true, Room: "r", DestinationRoom: "d"}), []string{"admin", "dest"}},
		{"create", video(VideoGrant{RoomCreate: true}), []string{"create"}},
		{"list", video(VideoGrant{RoomList: true}), []string{"list"}},
		{"record", video(VideoGrant{RoomRecord: true}), []string{"record"}},
		{"ingress", video(VideoGrant{IngressAdmin: true}), []string{"ingress"}},
		{"worker", video(VideoGrant{Agent: true}), []string{"worker"}},
		{"sip", Claims{SIP: &SIPGrant{Admin: true}}, []string{"sip"}},
		{"call", Claims{SIP: &SIPGrant{Call: true}}, []string{"call"}},
	} {
		want := map[string]bool{}
		for _, p := range tc.passes {
			want[p] = true
		}
		for name, check := range checks {
			err := check(tc.c)
			if (err == nil) != want[name] || (err != nil && !errors.Is(err, ErrPermission)) {
				t.Errorf("%s: %s is %v, want pass %v", tc.name, name, err, want[name])
			}
		}
	}
}

// LiveKit's defaults: a nil can* is true, canPublishData defaults to
// canPublish, canUpdateOwnMetadata is false.
func TestPermissionDefaults(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    Claims
		want *livekit.ParticipantPermission
	}{
		{"no grant", Claims{}, &livekit.ParticipantPermission{}},
		{"all nil", Claims{Video: &VideoGrant{}}, &livekit.ParticipantPermission{CanPublish: true, CanSubscribe: true, CanPublishData: true}},
		{"no publishing", Claims{Video: &VideoGrant{CanPublish: no()}}, &livekit.ParticipantPermission{CanSubscribe: true}},
		{"data only", Claims{Video: &VideoGrant{CanPublish: no(), CanPublishData: yes()}}, &livekit.ParticipantPermission{CanSubscribe: true, CanPublishData: true}},
		{"hidden recorder", Claims{Video: &VideoGrant{CanPublish: no(), Hidden: true, Recorder: true, Agent: true, CanUpdateOwnMetadata: yes()}},
			&livekit.ParticipantPermission{CanSubscribe: true, Hidden: true, Recorder: true, Agent: true, CanUpdateMetadata: true}},
	} {
		got := tc.c.Permission()
		if got.String() != tc.want.String() {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestCanPublishSource(t *testing.T) {
	for _, tc := range []struct {
		name        string
		v           *VideoGrant
		camera, mic bool
	}{
		{"nil", nil, false, false},
		{"default", &VideoGrant{}, true, true},
		{"camera only", &VideoGrant{CanPublishSources: []string{"camera"}}, true, false},
		{"publishing off wins", &VideoGrant{CanPublish: no(), CanPublishSources: []string{"camera"}}, false, false},
	} {
		c := Claims{Video: tc.v}
		if got := c.CanPublishSource(livekit.TrackSource_CAMERA); got != tc.camera {
			t.Errorf("%s: camera %v", tc.name, got)
		}
		if got := c.CanPublishSource(livekit.TrackSource_MICROPHONE); got != tc.mic {
			t.Errorf("%s: microphone %v", tc.name, got)
		}
	}
}
