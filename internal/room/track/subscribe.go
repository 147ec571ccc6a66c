package track

import (
	"slices"

	"github.com/livekit/protocol/livekit"
)

// Allowed reports whether a publisher's permission lets the participant with
// that identity and sid subscribe to a track; nil lets everybody. One entry that
// lets it is enough.
func Allowed(g *livekit.SubscriptionPermission, track, identity, sid string) bool {
	if g == nil || g.AllParticipants {
		return true
	}
	return slices.ContainsFunc(g.TrackPermissions, func(t *livekit.TrackPermission) bool {
		named := t.GetParticipantIdentity() == identity || t.GetParticipantSid() != "" && t.GetParticipantSid() == sid
		return named && (t.GetAllTracks() || slices.Contains(t.GetTrackSids(), track))
	})
}

// Spatial maps what a viewer asked for to a simulcast or spatial layer, 0 the
// lowest, of the codec that is forwarded; "" is a codec that is not known yet.
func Spatial(info *livekit.TrackInfo, mime string, s *livekit.UpdateTrackSettings) int {
	layers, q := info.Layers, s.Quality
	if i := CodecIndex(info, mime); mime != "" && i >= 0 && len(info.Codecs[i].Layers) > 0 {
		layers = info.Codecs[i].Layers
	}
	if s.Width > 0 {
		q = qualityForSize(info, layers, s.Width, s.Height)
	}
	for i, l := range layers {
		if l.Quality == q {
			return i
		}
	}
	return int(max(livekit.VideoQuality_LOW, min(q, livekit.VideoQuality_HIGH)))
}

// qualityForSize returns the smallest quality that fills width × height. Only
// the shorter side counts, so that portrait and landscape agree.
func qualityForSize(info *livekit.TrackInfo, layers []*livekit.VideoLayer, width, height uint32) livekit.VideoQuality {
	full, want := min(info.Width, info.Height), height
	if info.Width < info.Height {
		want = width
	}
	if full == 0 {
		return livekit.VideoQuality_HIGH
	}
	for _, l := range layers {
		if side := min(l.Width, l.Height); side > 0 && float64(want) <= float64(side)*sizeTolerance {
			return l.Quality
		}
	}
	if len(layers) > 0 {
		return layers[len(layers)-1].Quality
	}
	switch {
	case want <= full/4:
		return livekit.VideoQuality_LOW
	case want <= full/2:
		return livekit.VideoQuality_MEDIUM
	}
	return livekit.VideoQuality_HIGH
}

// sizeTolerance: a layer is big enough when upscaling it by this much would do,
// else a window one pixel too large would cost four times the bits.
const sizeTolerance = 1.1
