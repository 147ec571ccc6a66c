package view

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/media/sfu"
)

func TestTrack(t *testing.T) {
	v := NewTrack(&livekit.TrackInfo{Sid: "TR_a", Type: livekit.TrackType_VIDEO, Source: livekit.TrackSource_CAMERA, MimeType: "video/VP8", Muted: true})
	if v.Type != "video" || v.Source != "camera" || v.Encryption != "none" || !v.Muted {
		t.Errorf("track %+v", v)
	}
	raw, err := json.Marshal(v)
	if err != nil || !strings.Contains(string(raw), `"layers":[]`) {
		t.Errorf("%s, %v: the page wants a list, also an empty one", raw, err)
	}
	v.AddLayers([]string{"q", "h"}, []sfu.LayerStats{
		{Bitrate: 100, FractionLost: 0.1, Jitter: 1500 * time.Microsecond}, {Bitrate: 400}, {Bitrate: 1},
	})
	if v.Bitrate != 501 || v.LossRatio != 0.1 || len(v.Layers) != 3 {
		t.Errorf("sums %+v", v)
	}
	if l := v.Layers; l[0].RID != "q" || l[0].JitterMs != 1.5 || l[1].Spatial != 1 || l[2].RID != "" {
		t.Errorf("layers %+v", l)
	}
}

func TestSubscription(t *testing.T) {
	st := sfu.DownTrackStats{Spatial: 1, Wanted: 2, Bitrate: 9, Lost: 3, NACKs: 4}
	audio, video := Subscription{CurrentLayer: -1}, Subscription{}
	audio.SetStats(st, false)
	video.SetStats(st, true)
	if audio.CurrentLayer != -1 || video.CurrentLayer != 1 || video.TargetLayer != 2 || video.Lost != 3 || video.NACKs != 4 {
		t.Errorf("audio %+v, video %+v", audio, video)
	}
}
