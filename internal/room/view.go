package room

import (
	"context"
	"slices"
	"strings"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/room/view"
)

// View returns the picture of the room, with everybody in it when detailed.
func (r *Room) View(ctx context.Context, detailed bool) (v view.Room, err error) {
	err = r.call(ctx, func() error { v = r.view(detailed); return nil })
	return v, err
}

func (r *Room) view(detailed bool) view.Room {
	info := r.proto()
	v := view.Room{
		Name: info.Name, SID: info.Sid, CreatedAt: r.created, Metadata: info.Metadata,
		NumParticipants: int(info.NumParticipants), NumPublishers: int(info.NumPublishers),
	}
	for _, p := range r.participants {
		pv := p.view()
		v.BitrateIn += pv.BitrateIn
		v.BitrateOut += pv.BitrateOut
		v.TracksIn += len(pv.Tracks)
		for _, s := range pv.Subscriptions {
			if s.State == "active" {
				v.TracksOut++
			}
		}
		if detailed {
			v.Participants = append(v.Participants, pv)
		}
	}
	slices.SortFunc(v.Participants, func(a, b view.Participant) int {
		if c := a.JoinedAt.Compare(b.JoinedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Identity, b.Identity)
	})
	return v
}

func (p *Participant) view() view.Participant {
	v := view.Participant{
		Identity: p.identity, SID: p.sid, Name: p.name, JoinedAt: p.joinedAt,
		State: strings.ToLower(p.state.String()), Kind: strings.ToLower(p.claims.Kind.String()),
		Client: view.NewClient(p.client), Connection: p.connectionView(),
		Tracks: []view.Track{}, Subscriptions: []view.Subscription{}, // lists in JSON, also when empty
	}
	if p.quality != nil {
		v.Quality = strings.ToLower(p.quality.Quality.String())
	}
	for _, pub := range p.pubs {
		t := pub.view()
		v.BitrateIn += t.Bitrate
		v.Tracks = append(v.Tracks, t)
	}
	for _, d := range p.data.Published() {
		v.Tracks = append(v.Tracks, view.Track{
			SID: d.Sid, Name: d.Name, Type: "data", Source: "unknown",
			Encryption: strings.ToLower(d.Encryption.String()), Subscribers: p.room.dataTracks.Viewers(d.Sid),
		})
	}
	for _, s := range p.subs {
		sv := s.view()
		v.BitrateOut += sv.Bitrate
		v.Subscriptions = append(v.Subscriptions, sv)
	}
	slices.SortFunc(v.Subscriptions, func(a, b view.Subscription) int { return strings.Compare(a.TrackSID, b.TrackSID) })
	return v
}

func (p *Participant) connectionView() view.Connection {
	v := view.Connection{Mode: "dual", Address: p.address}
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

func (pub *Publication) view() view.Track {
	v := view.NewTrack(pub.info)
	for _, s := range pub.subs {
		if s.bound != nil {
			v.Subscribers++
		}
	}
	for _, u := range pub.uplinks {
		v.AddLayers(u.Rids, u.Receiver.Stats().Layers)
	}
	return v
}

func (s *Subscription) view() view.Subscription {
	v := view.Subscription{
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
	v.SetStats(s.bound.Stats(), s.pub.info.Type == livekit.TrackType_VIDEO)
	return v
}
