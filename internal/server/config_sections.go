package server

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/config"
	"github.com/concertina-rtc/concertina/internal/webhook"
)

// Room holds the defaults of every room.
type Room struct {
	// AutoCreate creates a room when its first participant joins. Otherwise
	// only the server API creates rooms.
	AutoCreate bool `yaml:"auto_create"`
	// EnabledCodecs are the codecs that clients may publish, best first. RTX
	// goes without saying.
	EnabledCodecs []Codec `yaml:"enabled_codecs"`
	// MaxParticipants is how many may be in a room at a time.
	MaxParticipants uint32 `yaml:"max_participants"`
	// EmptyTimeout is how long a room waits for its first participant.
	EmptyTimeout time.Duration `yaml:"empty_timeout" unit:"s" range:"0s.."`
	// DepartureTimeout is how long a room stays after its last participant
	// has left.
	DepartureTimeout time.Duration `yaml:"departure_timeout" unit:"s" range:"0s.."`
	// JoinTimeout is how long a participant may take from its join until its
	// media connection is up.
	JoinTimeout time.Duration `yaml:"join_timeout" unit:"s" range:"1s..10m"`
	// MediaGrace is how long a participant stays after its media connection was
	// lost, so that its client can resume.
	MediaGrace time.Duration `yaml:"media_grace" unit:"s" range:"0s..10m"`
	// SignalGrace is how long a participant stays after its signalling
	// connection was lost, while its media goes on.
	SignalGrace time.Duration `yaml:"signal_grace" unit:"s" range:"0s..24h"`
	// EnableRemoteUnmute lets the server API unmute tracks. Muting is always
	// possible.
	EnableRemoteUnmute bool `yaml:"enable_remote_unmute"`
	// PlayoutDelay asks viewers to delay video, for smoother playing.
	PlayoutDelay PlayoutDelay `yaml:"playout_delay"`
	// SyncStreams keeps audio and video of a participant together when
	// playout_delay is large. Transceivers are then not reused.
	SyncStreams bool `yaml:"sync_streams"`
}

// Codec is a codec that clients may publish.
type Codec struct {
	// MIME is its name.
	MIME MIME `yaml:"mime" oneof:"audio/opus audio/red video/vp8 video/h264 video/vp9 video/av1"`
}

// MIME is a codec name such as video/vp8, in lower case.
type MIME string

// UnmarshalText folds the case: names of codecs have none (RFC 6838).
func (m *MIME) UnmarshalText(text []byte) error {
	*m = MIME(strings.ToLower(string(text)))
	return nil
}

// PlayoutDelay is the playout-delay header extension.
type PlayoutDelay struct {
	// Enabled sends the extension.
	Enabled bool `yaml:"enabled"`
	// Min is the least delay.
	Min time.Duration `yaml:"min" unit:"ms" range:"0s..40s"`
	// Max is the largest delay.
	Max time.Duration `yaml:"max" unit:"ms" range:"0s..40s"`
}

// Audio tunes who counts as a speaker.
type Audio struct {
	// ActiveLevel is the level from which a participant speaks, in -dBov: 0 is
	// the loudest, 127 silence.
	ActiveLevel int `yaml:"active_level" range:"0..127"`
	// MinPercentile is the part of the interval, in percent, that must be
	// above the level.
	MinPercentile int `yaml:"min_percentile" range:"0..100"`
	// UpdateInterval is how often speakers are computed and sent.
	UpdateInterval time.Duration `yaml:"update_interval" unit:"ms" range:"50ms..10s"`
	// SmoothIntervals is over how many intervals levels are averaged; 0 is off.
	SmoothIntervals int `yaml:"smooth_intervals" range:"0..100"`
}

// Video tunes layers.
type Video struct {
	// DynacastPauseDelay is how long a layer that nobody watches goes on
	// before its publisher is told to stop sending it.
	DynacastPauseDelay time.Duration `yaml:"dynacast_pause_delay" range:"0s..5m"`
}

// Webhook is the delivery of events to your servers, signed, in order for each
// room and at least once.
type Webhook struct {
	// APIKey signs the requests. It may be left out when there is only one.
	APIKey string `yaml:"api_key"`
	// URLs each get every event.
	URLs []string `yaml:"urls"`
	// Timeout is how long one request may take.
	Timeout time.Duration `yaml:"timeout" range:"100ms..5m"`
	// MaxAge is how long delivery of an event is tried again.
	MaxAge time.Duration `yaml:"max_age" range:"0s..24h"`
	// QueueSize is how many events may wait for one URL. Beyond it the oldest
	// are dropped, which is counted and logged.
	QueueSize int `yaml:"queue_size" range:"1..1000000"`
	// FilterParams selects events.
	FilterParams WebhookFilter `yaml:"filter_params"`
}

// WebhookFilter selects events by name.
type WebhookFilter struct {
	// IncludeEvents are the only ones to send; empty is all.
	IncludeEvents []string `yaml:"include_events" oneof:"room_started room_finished participant_joined participant_left participant_connection_aborted track_published track_unpublished"`
	// ExcludeEvents are not sent, unless included.
	ExcludeEvents []string `yaml:"exclude_events" oneof:"room_started room_finished participant_joined participant_left participant_connection_aborted track_published track_unpublished"`
}

// Logging is what is written to standard error.
type Logging struct {
	// Level is the least severe level to write.
	Level string `yaml:"level" oneof:"debug info warn error"`
	// JSON writes one JSON object a line instead of text.
	JSON bool `yaml:"json"`
}

// Limit protects the server from its clients. Zero and less is no limit.
type Limit struct {
	// NumTracks is how many tracks, in and out, the node carries before it
	// refuses new participants.
	NumTracks int `yaml:"num_tracks" range:"-1.."`
	// BytesPerSec is how much traffic, in and out, the node carries before it
	// refuses new participants.
	BytesPerSec config.Size `yaml:"bytes_per_sec" range:"-1.."`
	// TracksPerParticipant is how many tracks one participant may publish, and
	// as many data tracks.
	TracksPerParticipant int `yaml:"tracks_per_participant" range:"-1.."`
	// SubscriptionLimitVideo is how many video tracks one participant may
	// receive at a time. Further ones wait.
	SubscriptionLimitVideo int `yaml:"subscription_limit_video" range:"-1.."`
	// SubscriptionLimitAudio is the same for audio.
	SubscriptionLimitAudio int `yaml:"subscription_limit_audio" range:"-1.."`
	// MaxMetadataSize is for the metadata of a room or participant.
	MaxMetadataSize config.Size `yaml:"max_metadata_size" range:"0.."`
	// MaxAttributesSize is for all attributes of a participant together.
	MaxAttributesSize config.Size `yaml:"max_attributes_size" range:"0.."`
	// MaxDataMessageSize is for one data packet of a participant or of SendData.
	// What is larger goes as a byte stream.
	MaxDataMessageSize config.Size `yaml:"max_data_message_size" range:"1..64KiB"`
	// MaxRoomNameLength is in bytes.
	MaxRoomNameLength int `yaml:"max_room_name_length" range:"0.."`
	// MaxParticipantIdentityLength is in bytes.
	MaxParticipantIdentityLength int `yaml:"max_participant_identity_length" range:"0.."`
	// MaxParticipantNameLength is in bytes.
	MaxParticipantNameLength int `yaml:"max_participant_name_length" range:"0.."`
	// SignalMessageSizeLimit is for one message on the signalling WebSocket.
	SignalMessageSizeLimit config.Size `yaml:"signal_message_size_limit" range:"0.."`
	// MaxAPIRequestBodySize is for the body of one server API request.
	MaxAPIRequestBodySize config.Size `yaml:"max_api_request_body_size" range:"0.."`
	// JoinsPerSecondPerIP is how fast one address may join in the long run.
	JoinsPerSecondPerIP int `yaml:"joins_per_second_per_ip" range:"0.."`
	// JoinBurstPerIP is how many joins of one address may come at once: a
	// school behind one address joins at the same minute.
	JoinBurstPerIP int `yaml:"join_burst_per_ip" range:"1.."`
}

// Prometheus is where metrics are served.
type Prometheus struct {
	// Port serves /metrics alone; 0 serves it on the main port.
	Port int `yaml:"port" range:"0..65535"`
	// Username asks for HTTP basic authentication; empty asks for none.
	Username string `yaml:"username"`
	// Password belongs to the user name.
	Password string `yaml:"password" secret:"true"`
}

func defaultRoom() Room {
	return Room{
		AutoCreate: true,
		EnabledCodecs: []Codec{
			{"audio/opus"}, {"audio/red"}, {"video/vp8"}, {"video/h264"}, {"video/vp9"}, {"video/av1"},
		},
		EmptyTimeout: 5 * time.Minute, DepartureTimeout: 20 * time.Second,
		JoinTimeout: time.Minute, MediaGrace: 5 * time.Second, SignalGrace: time.Minute,
	}
}

func defaultAudio() Audio {
	return Audio{ActiveLevel: 35, MinPercentile: 40, UpdateInterval: 400 * time.Millisecond, SmoothIntervals: 2}
}

func defaultVideo() Video { return Video{DynacastPauseDelay: 5 * time.Second} }

func defaultWebhook() Webhook {
	d := webhook.DefaultConfig()
	return Webhook{Timeout: d.Timeout, MaxAge: d.MaxAge, QueueSize: d.QueueSize}
}

func defaultLimit() Limit {
	return Limit{
		NumTracks: -1, BytesPerSec: -1, TracksPerParticipant: 100, MaxDataMessageSize: 64 << 10,
		MaxMetadataSize: 512 << 10, MaxAttributesSize: 64 << 10,
		MaxRoomNameLength: 256, MaxParticipantIdentityLength: 256, MaxParticipantNameLength: 256,
		SignalMessageSizeLimit: 2 << 20, MaxAPIRequestBodySize: 10 << 20,
		JoinsPerSecondPerIP: 50, JoinBurstPerIP: 200,
	}
}

// Check implements [config.Checker].
func (c *Room) Check(r *config.Report) {
	if len(c.EnabledCodecs) == 0 {
		r.Errorf("enabled_codecs", "a room needs at least one codec")
	}
	seen := map[MIME]bool{}
	for i, codec := range c.EnabledCodecs {
		if seen[codec.MIME] {
			r.Errorf(fmt.Sprintf("enabled_codecs[%d].mime", i), "%q is listed twice", codec.MIME)
		}
		seen[codec.MIME] = true
	}
}

// Check implements [config.Checker].
func (c *PlayoutDelay) Check(r *config.Report) {
	if c.Max != 0 && c.Min > c.Max {
		r.Errorf("min", "%v is above max %v", c.Min, c.Max)
	}
}

// Check implements [config.Checker].
func (c *Webhook) Check(r *config.Report) {
	for i, s := range c.URLs {
		key := fmt.Sprintf("urls[%d]", i)
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			r.Errorf(key, "expected an http:// or https:// URL")
		} else if slices.Contains(c.URLs[:i], s) {
			r.Errorf(key, "the URL is listed twice")
		}
	}
}

// Check implements [config.Checker].
func (c *Prometheus) Check(r *config.Report) {
	if (c.Username == "") != (c.Password == "") {
		r.Errorf("username", "username and password go together")
	}
}
