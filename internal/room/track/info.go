// Package track describes published tracks: from an AddTrackRequest to the
// TrackInfo that others see, and which layer of it fills a window.
//
// It is pure and keeps nothing. What becomes of a track is package room's.
// Start at [New].
package track

import (
	"cmp"
	"slices"
	"strings"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// New describes the track that a client announces, under the sid it gets.
func New(req *livekit.AddTrackRequest, sid string) *livekit.TrackInfo {
	info := &livekit.TrackInfo{
		Sid: sid, Type: req.Type, Name: req.Name, Muted: req.Muted,
		Width: req.Width, Height: req.Height, Source: req.Source, Layers: LowestFirst(req.Layers),
		DisableDtx: req.DisableDtx, DisableRed: req.DisableRed, Stereo: req.Stereo,
		Encryption: req.Encryption, Stream: cmp.Or(req.Stream, streamOf(req.Source)),
		BackupCodecPolicy: req.BackupCodecPolicy, AudioFeatures: slices.Clone(req.AudioFeatures),
		PacketTrailerFeatures: req.PacketTrailerFeatures,
		Simulcast:             len(req.Layers) > 1,
	}
	if req.Stereo && !slices.Contains(info.AudioFeatures, livekit.AudioTrackFeature_TF_STEREO) {
		info.AudioFeatures = append(info.AudioFeatures, livekit.AudioTrackFeature_TF_STEREO)
	}
	if req.DisableDtx && !slices.Contains(info.AudioFeatures, livekit.AudioTrackFeature_TF_NO_DTX) {
		info.AudioFeatures = append(info.AudioFeatures, livekit.AudioTrackFeature_TF_NO_DTX)
	}
	for i, c := range req.SimulcastCodecs {
		layers := LowestFirst(c.Layers)
		if len(layers) == 0 {
			layers = LowestFirst(req.Layers)
		}
		info.Codecs = append(info.Codecs, &livekit.SimulcastCodecInfo{
			MimeType: MIME(req.Type, c.Codec), Cid: CodecCID(req, i), Layers: layers, VideoLayerMode: c.VideoLayerMode,
		})
	}
	if len(info.Codecs) == 0 {
		info.Codecs = []*livekit.SimulcastCodecInfo{{Cid: req.Cid, Layers: LowestFirst(req.Layers)}}
	}
	return info
}

// LowestFirst copies layers in the order of their quality, which is that of
// simulcast and spatial layers. Clients list SVC layers from the top.
func LowestFirst(layers []*livekit.VideoLayer) []*livekit.VideoLayer {
	out := make([]*livekit.VideoLayer, 0, len(layers))
	for _, l := range layers {
		out = append(out, proto.Clone(l).(*livekit.VideoLayer))
	}
	slices.SortStableFunc(out, func(a, b *livekit.VideoLayer) int { return int(a.Quality) - int(b.Quality) })
	for i, l := range out {
		l.SpatialLayer = int32(i)
	}
	return out
}

// CodecCID is the client's id of one codec of a request. The first codec may
// leave it to the track's; a backup codec has none until it is published.
func CodecCID(req *livekit.AddTrackRequest, i int) string {
	if cid := req.SimulcastCodecs[i].Cid; cid != "" || i > 0 {
		return cid
	}
	return req.Cid
}

// SIDPrefix tells kind and source in the sid, as LiveKit's do.
func SIDPrefix(req *livekit.AddTrackRequest) string {
	kind := "V"
	if req.Type == livekit.TrackType_AUDIO {
		kind = "A"
	}
	source := map[livekit.TrackSource]string{
		livekit.TrackSource_CAMERA: "C", livekit.TrackSource_MICROPHONE: "M",
		livekit.TrackSource_SCREEN_SHARE: "S", livekit.TrackSource_SCREEN_SHARE_AUDIO: "s",
	}[req.Source]
	return "TR_" + kind + source
}

// streamOf groups what belongs together, so that clients keep it in sync.
func streamOf(s livekit.TrackSource) string {
	if s == livekit.TrackSource_SCREEN_SHARE || s == livekit.TrackSource_SCREEN_SHARE_AUDIO {
		return "screen_share"
	}
	return "camera"
}

// MIME returns the media type of a codec as clients name it: "vp8" or "video/vp8".
func MIME(t livekit.TrackType, codec string) string {
	codec = strings.ToLower(codec)
	if codec == "" || strings.Contains(codec, "/") {
		return codec
	}
	if t == livekit.TrackType_AUDIO {
		return "audio/" + codec
	}
	return "video/" + codec
}

// CodecIndex returns the index of a media type in info.Codecs, or -1.
func CodecIndex(info *livekit.TrackInfo, mime string) int {
	return slices.IndexFunc(info.Codecs, func(c *livekit.SimulcastCodecInfo) bool {
		return strings.EqualFold(c.MimeType, mime)
	})
}
