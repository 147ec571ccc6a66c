package track

import (
	"testing"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

func TestNew(t *testing.T) {
	req := &livekit.AddTrackRequest{
		Cid: "cid", Name: "cam", Type: livekit.TrackType_VIDEO, Source: livekit.TrackSource_SCREEN_SHARE,
		Width: 1280, Height: 720,
		Layers: []*livekit.VideoLayer{{Quality: livekit.VideoQuality_HIGH, Width: 1280}, {Quality: livekit.VideoQuality_LOW, Width: 320}},
		SimulcastCodecs: []*livekit.SimulcastCodec{
			{Codec: "VP9"}, {Codec: "video/VP8", Layers: []*livekit.VideoLayer{{Quality: livekit.VideoQuality_HIGH}}},
		},
	}
	was := proto.CloneOf(req)
	info := New(req, "TR_x")
	if !proto.Equal(req, was) {
		t.Error("the request was changed")
	}
	if info.Sid != "TR_x" || info.Stream != "screen_share" || !info.Simulcast {
		t.Errorf("info %v", info)
	}
	if l := info.Layers; len(l) != 2 || l[0].Width != 320 || l[1].SpatialLayer != 1 {
		t.Errorf("layers %v, want the lowest first", l)
	}
	if c := info.Codecs; len(c) != 2 || c[0].MimeType != "video/vp9" || c[0].Cid != "cid" || len(c[0].Layers) != 2 ||
		c[1].MimeType != "video/vp8" || c[1].Cid != "" || len(c[1].Layers) != 1 {
		t.Errorf("codecs %v", c)
	}
}

func TestNewAudio(t *testing.T) {
	info := New(&livekit.AddTrackRequest{Cid: "c", Type: livekit.TrackType_AUDIO, Stereo: true, DisableDtx: true,
		AudioFeatures: []livekit.AudioTrackFeature{livekit.AudioTrackFeature_TF_STEREO}}, "TR_x")
	if f := info.AudioFeatures; len(f) != 2 || f[0] != livekit.AudioTrackFeature_TF_STEREO || f[1] != livekit.AudioTrackFeature_TF_NO_DTX {
		t.Errorf("features %v: the flags of older clients say the same", f)
	}
	if len(info.Codecs) != 1 || info.Codecs[0].Cid != "c" {
		t.Errorf("codecs %v", info.Codecs)
	}
}

func TestNames(t *testing.T) {
	for want, req := range map[string]*livekit.AddTrackRequest{
		"TR_VC": {Type: livekit.TrackType_VIDEO, Source: livekit.TrackSource_CAMERA},
		"TR_AM": {Type: livekit.TrackType_AUDIO, Source: livekit.TrackSource_MICROPHONE},
		"TR_VS": {Type: livekit.TrackType_VIDEO, Source: livekit.TrackSource_SCREEN_SHARE},
		"TR_As": {Type: livekit.TrackType_AUDIO, Source: livekit.TrackSource_SCREEN_SHARE_AUDIO},
		"TR_V":  {Type: livekit.TrackType_VIDEO},
	} {
		if got := SIDPrefix(req); got != want {
			t.Errorf("%v: %s, want %s", req, got, want)
		}
	}
	for in, want := range map[string]string{"": "", "vp8": "video/vp8", "video/VP8": "video/vp8"} {
		if got := MIME(livekit.TrackType_VIDEO, in); got != want {
			t.Errorf("MIME(%q) = %q", in, got)
		}
	}
	if got := MIME(livekit.TrackType_AUDIO, "red"); got != "audio/red" {
		t.Errorf("MIME(red) = %q", got)
	}
}
