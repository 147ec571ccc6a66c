package track

import (
	"testing"

	"github.com/livekit/protocol/livekit"
)

func TestQualityForSize(t *testing.T) {
	three := []*livekit.VideoLayer{
		{Quality: livekit.VideoQuality_LOW, Width: 320, Height: 180},
		{Quality: livekit.VideoQuality_MEDIUM, Width: 640, Height: 360},
		{Quality: livekit.VideoQuality_HIGH, Width: 1280, Height: 720},
	}
	landscape := &livekit.TrackInfo{Width: 1280, Height: 720}
	portrait := &livekit.TrackInfo{Width: 720, Height: 1280}
	for _, tc := range []struct {
		name   string
		info   *livekit.TrackInfo
		layers []*livekit.VideoLayer
		w, h   uint32
		want   livekit.VideoQuality
	}{
		{"thumbnail", landscape, three, 160, 90, livekit.VideoQuality_LOW},
		{"exactly low", landscape, three, 320, 180, livekit.VideoQuality_LOW},
		{"a little more than low", landscape, three, 350, 197, livekit.VideoQuality_LOW},
		{"half way", landscape, three, 480, 270, livekit.VideoQuality_MEDIUM},
		{"larger than everything", landscape, three, 4000, 2200, livekit.VideoQuality_HIGH},
		{"portrait", portrait, three, 180, 320, livekit.VideoQuality_LOW},
		{"one layer", landscape, three[2:], 100, 60, livekit.VideoQuality_HIGH},
		{"no layers, a quarter", landscape, nil, 200, 180, livekit.VideoQuality_LOW},
		{"no layers, half", landscape, nil, 600, 360, livekit.VideoQuality_MEDIUM},
		{"size unknown", &livekit.TrackInfo{}, nil, 100, 100, livekit.VideoQuality_HIGH},
	} {
		if got := qualityForSize(tc.info, tc.layers, tc.w, tc.h); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestSpatial(t *testing.T) {
	layers := []*livekit.VideoLayer{
		{Quality: livekit.VideoQuality_LOW, Width: 320, Height: 180},
		{Quality: livekit.VideoQuality_HIGH, Width: 1280, Height: 720},
	}
	info := &livekit.TrackInfo{Width: 1280, Height: 720, Layers: layers, Codecs: []*livekit.SimulcastCodecInfo{
		{MimeType: "video/VP8"}, {MimeType: "video/vp9", Layers: layers[1:]},
	}}
	for _, tc := range []struct {
		name, mime string
		settings   *livekit.UpdateTrackSettings
		want       int
	}{
		{"the top", "video/vp8", &livekit.UpdateTrackSettings{Quality: livekit.VideoQuality_HIGH}, 1},
		{"the bottom", "video/vp8", &livekit.UpdateTrackSettings{Quality: livekit.VideoQuality_LOW}, 0},
		{"by size", "video/vp8", &livekit.UpdateTrackSettings{Quality: livekit.VideoQuality_HIGH, Width: 160, Height: 90}, 0},
		{"the only layer of a codec", "video/vp9", &livekit.UpdateTrackSettings{Quality: livekit.VideoQuality_HIGH}, 0},
		{"a layer that is not there", "video/vp8", &livekit.UpdateTrackSettings{Quality: livekit.VideoQuality_MEDIUM}, 1},
		{"a quality that is not there", "", &livekit.UpdateTrackSettings{Quality: 99}, 2},
		{"a quality below all", "", &livekit.UpdateTrackSettings{Quality: -5}, 0},
	} {
		if got := Spatial(info, tc.mime, tc.settings); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

func TestAllowed(t *testing.T) {
	only := func(list ...*livekit.TrackPermission) *livekit.SubscriptionPermission {
		return &livekit.SubscriptionPermission{TrackPermissions: list}
	}
	for _, tc := range []struct {
		name  string
		grant *livekit.SubscriptionPermission
		want  bool
	}{
		{"no grant", nil, true},
		{"everybody", &livekit.SubscriptionPermission{AllParticipants: true}, true},
		{"nobody", only(), false},
		{"by identity, all tracks", only(&livekit.TrackPermission{ParticipantIdentity: "bob", AllTracks: true}), true},
		{"by sid, this track", only(&livekit.TrackPermission{ParticipantSid: "PA_b", TrackSids: []string{"TR_x", "TR_a"}}), true},
		{"another track", only(&livekit.TrackPermission{ParticipantIdentity: "bob", TrackSids: []string{"TR_x"}}), false},
		{"another participant", only(&livekit.TrackPermission{ParticipantIdentity: "eve", AllTracks: true}), false},
		{"an entry for nobody", only(&livekit.TrackPermission{AllTracks: true}), false},
		{"two entries, the second lets it", only(
			&livekit.TrackPermission{ParticipantIdentity: "bob", TrackSids: []string{"TR_x"}},
			&livekit.TrackPermission{ParticipantSid: "PA_b", TrackSids: []string{"TR_a"}}), true},
	} {
		if got := Allowed(tc.grant, "TR_a", "bob", "PA_b"); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
