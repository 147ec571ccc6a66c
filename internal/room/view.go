package room

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
)

// This file is the read-only picture of a room for the console: plain values,
// in the shapes of console/API.md. Bit rates are bits per second, ratios 0..1.

// View is one room.
type View struct {
	Name            string            `json:"name"`
	SID             string            `json:"sid"`
	CreatedAt       time.Time         `json:"created_at"`
	Metadata        string            `json:"metadata"`
	NumParticipants int               `json:"num_participants"`
	NumPublishers   int               `json:"num_publishers"`
	BitrateIn       float64           `json:"bitrate_in"`
	BitrateOut      float64           `json:"bitrate_out"`
	Participants    []ParticipantView `json:"participants,omitempty"`

	tracksIn, tracksOut int
}

// TracksIn is the number of published tracks.
func (v *View) TracksIn() int { return v.tracksIn }

// TracksOut is the number of tracks that are forwarded to somebody.
func (v *View) TracksOut() int { return v.tracksOut }

// ParticipantView is one connection to a room.
type ParticipantView struct {
	Identity      string             `json:"identity"`
	SID           string             `json:"sid"`
	Name          string             `json:"name"`
	State         string             `json:"state"`
	Kind          string             `json:"kind"`
	JoinedAt      time.Time          `json:"joined_at"`
	Client        ClientView         `json:"client"`
	Connection    ConnectionView     `json:"connection"`
	Quality       string             `json:"quality"`
	BitrateIn     float64            `json:"bitrate_in"`
	BitrateOut    float64            `json:"bitrate_out"`
	Tracks        []TrackView        `json:"tracks"`
	Subscriptions []SubscriptionView `json:"subscriptions"`
}

// ClientView is what the SDK said about itself.
type ClientView struct {
	SDK     string `json:"sdk"`
	Version string `json:"version"`
	OS      string `json:"os"`
	Browser string `json:"browser"`
}

// ConnectionView is the transport of a participant.
type ConnectionView struct {
	Mode      string  `json:"mode"`
	Transport string  `json:"transport"`
	RTTMs     float64 `json:"rtt_ms"`
	Address   string  `json:"address"`
}

// TrackView is a publication.
type TrackView struct {
	SID         string      `json:"sid"`
	Name        string      `json:"name"`
	Type        string      `json:"type"`
	Source      string      `json:"source"`
	Mime        string      `json:"mime"`
	Muted       bool        `json:"muted"`
	Width       uint32      `json:"width"`
	Height      uint32      `json:"height"`
	Simulcast   bool        `json:"simulcast"`
	Encryption  string      `json:"encryption"`
	Layers      []LayerView `json:"layers"`
	Bitrate     float64     `json:"bitrate"`
	LossRatio   float64     `json:"loss_ratio"`
	Subscribers int         `json:"subscribers"`
}

// LayerView is one simulcast layer, or the only stream of a track.
type LayerView struct {
	RID       string  `json:"rid"`
	Spatial   int     `json:"spatial"`
	Bitrate   float64 `json:"bitrate"`
	FPS       float64 `json:"fps"`
	Packets   uint64  `json:"packets"`
	Lost      uint64  `json:"lost"`
	LossRatio float64 `json:"loss_ratio"`
	JitterMs  float64 `json:"jitter_ms"`
}

// SubscriptionView is a track on its way to a participant.
type SubscriptionView struct {
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

// View returns the picture of the room, with everybody in it when detailed.
func (r *Room) View(ctx context.Context, detailed bool) (v View, err error) {
	err = r.call(ctx, func() error { v = r.view(detailed); return nil })
	return v, err
}

func (r *Room) view(detailed bool) View {
	info := r.proto()
	v := View{
		Name: info.Name, SID: info.Sid, CreatedAt: r.created, Metadata: info.Metadata,
		NumParticipants: int(info.NumParticipants), NumPublishers: int(info.NumPublishers),
	}
	for _, p := range r.participants {
		pv := p.view()
		v.BitrateIn += pv.BitrateIn
		v.BitrateOut += pv.BitrateOut
		v.tracksIn += len(pv.Tracks)
		for _, s := range pv.Subscriptions {
			if s.State == "active" {
				v.tracksOut++
			}
		}
		if detailed {
			v.Participants = append(v.Participants, pv)
		}
	}
	slices.SortFunc(v.Participants, func(a, b ParticipantView) int {
		if c := a.JoinedAt.Compare(b.JoinedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Identity, b.Identity)
	})
	return v
}

func (p *Participant) view() ParticipantView {
	v := ParticipantView{
		Identity: p.identity, SID: p.sid, Name: p.name, JoinedAt: p.joinedAt,
		State: strings.ToLower(p.state.String()), Kind: strings.ToLower(p.claims.Kind.String()),
		Client: ClientView{
			SDK: strings.ToLower(p.client.GetSdk().String()), Version: p.client.GetVersion(),
			OS: p.client.GetOs(), Browser: strings.TrimSpace(p.client.GetBrowser() + " " + p.client.GetBrowserVersion()),
		},
		Connection: p.connectionView(),
	}
	if p.qualityKnown {
		v.Quality = strings.ToLower(p.quality.String())
	}
	for _, pub := range p.pubs {
		t := pub.view()
		v.BitrateIn += t.Bitrate
		v.Tracks = append(v.Tracks, t)
	}
	for _, d := range p.dataPubs {
		v.Tracks = append(v.Tracks, TrackView{
			SID: d.info.Sid, Name: d.info.Name, Type: "data", Source: "unknown",
			Encryption: strings.ToLower(d.info.Encryption.String()), Subscribers: len(*d.viewers.Load()),
		})
	}
	for _, s := range p.subs {
		sv := s.view()
		v.BitrateOut += sv.Bitrate
		v.Subscriptions = append(v.Subscriptions, sv)
	}
	slices.SortFunc(v.Subscriptions, func(a, b SubscriptionView) int { return strings.Compare(a.TrackSID, b.TrackSID) })
	return v
}

func (p *Participant) connectionView() ConnectionView {
	v := ConnectionView{Mode: "dual", Address: p.address}
	if p.single {
		v.Mode = "single"
	}
	st := p.primary.Stats()
	v.Transport, v.RTTMs = st.Protocol, float64(st.RTT.Microseconds())/1000
	if st.RemoteAddress != "" {
		v.Address = st.RemoteAddress
	}
	return v
}

func (pub *Publication) view() TrackView {
	info := pub.info
	v := TrackView{
		SID: info.Sid, Name: info.Name, Type: strings.ToLower(info.Type.String()),
		Source: strings.ToLower(info.Source.String()), Mime: info.MimeType, Muted: info.Muted,
		Width: info.Width, Height: info.Height, Simulcast: info.Simulcast,
		Encryption: strings.ToLower(info.Encryption.String()),
	}
	for _, s := range pub.subs {
		if s.bound != nil {
			v.Subscribers++
		}
	}
	for _, u := range pub.uplinks {
		for i, l := range u.Receiver.Stats().Layers {
			lv := LayerView{
				Spatial: i, Bitrate: l.Bitrate, FPS: l.FPS, Packets: l.Packets, Lost: uint64(l.Lost),
				LossRatio: l.FractionLost, JitterMs: float64(l.Jitter.Microseconds()) / 1000,
			}
			if i < len(u.Rids) {
				lv.RID = u.Rids[i]
			}
			v.Bitrate += l.Bitrate
			v.LossRatio = max(v.LossRatio, l.FractionLost)
			v.Layers = append(v.Layers, lv)
		}
	}
	return v
}

func (s *Subscription) view() SubscriptionView {
	v := SubscriptionView{
		TrackSID: s.pub.info.Sid, PublisherIdentity: s.pub.publisher.identity,
		State: "active", CurrentLayer: -1, TargetLayer: -1,
	}
	switch {
	case s.bound == nil || s.from == nil:
		v.State = "pending"
		return v
	case s.pub.info.Muted:
		v.State = "muted"
	case s.settings.Disabled:
		v.State = "paused"
	}
	st := s.bound.Stats()
	v.Bitrate, v.Packets, v.Lost, v.LossRatio = st.Bitrate, st.Packets, uint64(st.Lost), st.FractionLost
	v.NACKs, v.PLIs = st.NACKs, st.PLIs
	if s.pub.info.Type == livekit.TrackType_VIDEO {
		v.CurrentLayer, v.TargetLayer = st.Spatial, st.Wanted
	}
	return v
}
