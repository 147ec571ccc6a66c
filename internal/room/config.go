package room

import (
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/room/measure"
)

// Config holds what a node allows in its rooms. Zero limits mean no limit.
type Config struct {
	AutoCreate         bool          // a room comes to be when its first participant joins
	EmptyTimeout       time.Duration // life of a room that nobody ever joined
	DepartureTimeout   time.Duration // life of a room after its last participant left
	MaxParticipants    uint32        // per room, when CreateRoom names none
	EnableRemoteUnmute bool          // the server API may unmute tracks
	Codecs             []peer.CodecSpec
	Protocol           string // of the candidates clients are offered: "udp", "tcp" or "" for both

	MaxMetadataSize    int // bytes
	MaxAttributesSize  int // bytes, keys and values together
	MaxRoomName        int // bytes
	MaxIdentity        int // bytes
	MaxName            int // bytes
	MaxTracks          int // published by one participant
	MaxSubscribedAudio int // tracks forwarded to one participant
	MaxSubscribedVideo int
	MaxDataMessage     int // bytes of one data packet
	PLIThrottle        [3]time.Duration
	Levels             measure.Levels
	JoinTimeout        time.Duration // from join to media
	MediaGrace         time.Duration // from losing media to removal, unless resumed
	SignalGrace        time.Duration // from losing signalling to removal while media lives
	TokenRefresh       time.Duration // how often a fresh token is sent
	PingInterval       time.Duration
	PingTimeout        time.Duration
	ReliableCacheTTL   time.Duration // how long reliable packets are kept for joiners
}

// DefaultConfig returns LiveKit's defaults.
func DefaultConfig() Config {
	return Config{
		AutoCreate:         true,
		EmptyTimeout:       300 * time.Second,
		DepartureTimeout:   20 * time.Second,
		MaxMetadataSize:    64000,
		MaxAttributesSize:  64000,
		MaxRoomName:        256,
		MaxIdentity:        256,
		MaxName:            256,
		MaxTracks:          100,
		MaxDataMessage:     64 << 10,
		PLIThrottle:        [3]time.Duration{500 * time.Millisecond, time.Second, time.Second},
		Levels:             measure.DefaultLevels(),
		JoinTimeout:        time.Minute,
		MediaGrace:         5 * time.Second,
		SignalGrace:        60 * time.Second,
		TokenRefresh:       5 * time.Minute,
		PingInterval:       5 * time.Second,
		PingTimeout:        15 * time.Second,
		ReliableCacheTTL:   2 * time.Second,
		EnableRemoteUnmute: false,
	}
}

// enabledPublishCodecs lists the codecs in the form the join response carries.
func (c *Config) enabledPublishCodecs() []*livekit.Codec {
	out := make([]*livekit.Codec, 0, len(c.Codecs))
	for _, s := range c.Codecs {
		out = append(out, &livekit.Codec{Mime: s.Mime, FmtpLine: s.Fmtp})
	}
	return out
}
