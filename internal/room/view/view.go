// Package view names what the console shows of a room: plain values in the
// shapes of console/API.md, for reading only. Bit rates are bits per second,
// ratios 0 to 1.
//
// It only translates: package room fills the values in, package api sends them.
// Start at [Room].
package view

import (
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/media/sfu"
)

// Room is one room.
type Room struct {
	Name            string        `json:"name"`
	SID             string        `json:"sid"`
	CreatedAt       time.Time     `json:"created_at"`
	Metadata        string        `json:"metadata"`
	NumParticipants int           `json:"num_participants"`
	NumPublishers   int           `json:"num_publishers"`
	BitrateIn       float64       `json:"bitrate_in"`
	BitrateOut      float64       `json:"bitrate_out"`
	Participants    []Participant `json:"participants,omitempty"`

	// In and out, for the node's totals.
	TracksIn  int `json:"-"` // published tracks
	TracksOut int `json:"-"` // tracks that are forwarded to somebody
}

// Participant is one connection to a room.
type Participant struct {
	Identity      string         `json:"identity"`
	SID           string         `json:"sid"`
	Name          string         `json:"name"`
	State         string         `json:"state"`
	Kind          string         `json:"kind"`
	JoinedAt      time.Time      `json:"joined_at"`
	Client        Client         `json:"client"`
	Connection    Connection     `json:"connection"`
	Quality       string         `json:"quality"`
	BitrateIn     float64        `json:"bitrate_in"`
	BitrateOut    float64        `json:"bitrate_out"`
	Tracks        []Track        `json:"tracks"`
	Subscriptions []Subscription `json:"subscriptions"`
}

// Client is what the SDK said about itself.
type Client struct {
	SDK     string `json:"sdk"`
	Version string `json:"version"`
	OS      string `json:"os"`
	Browser string `json:"browser"`
}

// Connection is the transport of a participant.
type Connection struct {
	Mode      string  `json:"mode"`
	Transport string  `json:"transport"`
	RTTMs     float64 `json:"rtt_ms"`
	Address   string  `json:"address"`
}

// Track is a publication.
type Track struct {
	SID         string  `json:"sid"`
	Name        string  `json:"name"`
	Type        string  `json:"type"`
	Source      string  `json:"source"`
	Mime        string  `json:"mime"`
	Muted       bool    `json:"muted"`
	Width       uint32  `json:"width"`
	Height      uint32  `json:"height"`
	Simulcast   bool    `json:"simulcast"`
	Encryption  string  `json:"encryption"`
	Layers      []Layer `json:"layers"`
	Bitrate     float64 `json:"bitrate"`
	LossRatio   float64 `json:"loss_ratio"`
	Subscribers int     `json:"subscribers"`
}

// Layer is one simulcast layer, or the only stream of a track.
type Layer struct {
	RID       string  `json:"rid"`
	Spatial   int     `json:"spatial"`
	Bitrate   float64 `json:"bitrate"`
	FPS       float64 `json:"fps"`
	Packets   uint64  `json:"packets"`
	Lost      uint64  `json:"lost"`
	LossRatio float64 `json:"loss_ratio"`
	JitterMs  float64 `json:"jitter_ms"`
}

// Subscription is a track on its way to a participant.
type Subscription struct {
	TrackSID          string  `json:"track_sid"`
	PublisherIdentity string  `json:"publisher_identity"`
	State             string  `json:"state"`
	CurrentLayer      int     `json:"current_layer"`
	TargetLayer       int     `json:"target_layer"`
	Bitrate           float64 `json:"bitrate"`
	Packets           uint64  `json:"packets"`
	Lost              uint64  `json:"lost"`
	LossRatio         float64 `json:"loss_ratio"`
	NACKs             uint64  `json:"nacks"`
	PLIs              uint64  `json:"plis"`
}

// NewClient describes a client by what it said.
func NewClient(c *livekit.ClientInfo) Client {
	return Client{
		SDK: strings.ToLower(c.GetSdk().String()), Version: c.GetVersion(), OS: c.GetOs(),
		Browser: strings.TrimSpace(c.GetBrowser() + " " + c.GetBrowserVersion()),
	}
}

// NewTrack describes a publication without its layers and subscribers.
func NewTrack(info *livekit.TrackInfo) Track {
	return Track{
		SID: info.Sid, Name: info.Name, Type: strings.ToLower(info.Type.String()),
		Source: strings.ToLower(info.Source.String()), Mime: info.MimeType, Muted: info.Muted,
		Width: info.Width, Height: info.Height, Simulcast: info.Simulcast,
		Encryption: strings.ToLower(info.Encryption.String()), Layers: []Layer{},
	}
}

// AddLayers adds the layers of one codec of the track; rids name them, lowest
// first.
func (t *Track) AddLayers(rids []string, layers []sfu.LayerStats) {
	for i, l := range layers {
		v := Layer{
			Spatial: i, Bitrate: l.Bitrate, FPS: l.FPS, Packets: l.Packets, Lost: uint64(l.Lost),
			LossRatio: l.FractionLost, JitterMs: float64(l.Jitter.Microseconds()) / 1000,
		}
		if i < len(rids) {
			v.RID = rids[i]
		}
		t.Bitrate += l.Bitrate
		t.LossRatio = max(t.LossRatio, l.FractionLost)
		t.Layers = append(t.Layers, v)
	}
}

// SetStats fills in what flows; audio has no layers to tell.
func (s *Subscription) SetStats(st sfu.DownTrackStats, video bool) {
	s.Bitrate, s.Packets, s.Lost, s.LossRatio = st.Bitrate, st.Packets, uint64(st.Lost), st.FractionLost
	s.NACKs, s.PLIs = st.NACKs, st.PLIs
	if video {
		s.CurrentLayer, s.TargetLayer = st.Spatial, st.Wanted
	}
}
