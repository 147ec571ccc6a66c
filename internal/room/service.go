package room

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// This file is what the server API does to rooms. Every method may be called
// from any goroutine.

// Info returns the room's public state.
func (r *Room) Info(ctx context.Context) (info *livekit.Room, err error) {
	err = r.call(ctx, func() error { info = r.proto(); return nil })
	return info, err
}

// Delete disconnects everybody and ends the room.
func (r *Room) Delete(ctx context.Context) error {
	if err := r.call(ctx, func() error { r.close(livekit.DisconnectReason_ROOM_DELETED); return nil }); err != nil {
		return err
	}
	return r.gone(ctx)
}

// Participants lists everybody, hidden ones too, first come first.
func (r *Room) Participants(ctx context.Context) (list []*livekit.ParticipantInfo, err error) {
	err = r.call(ctx, func() error {
		for _, p := range r.participants {
			list = append(list, p.proto())
		}
		return nil
	})
	slices.SortFunc(list, func(a, b *livekit.ParticipantInfo) int {
		if a.JoinedAtMs != b.JoinedAtMs {
			return int(a.JoinedAtMs - b.JoinedAtMs)
		}
		return strings.Compare(a.Identity, b.Identity)
	})
	return list, err
}

// with runs f on the room's goroutine with the participant of that identity.
func (r *Room) with(ctx context.Context, identity string, f func(p *Participant) error) error {
	return r.call(ctx, func() error {
		p := r.participants[identity]
		if p == nil {
			return ErrParticipantNotFound
		}
		return f(p)
	})
}

// Participant returns one participant's public state.
func (r *Room) Participant(ctx context.Context, identity string) (info *livekit.ParticipantInfo, err error) {
	err = r.with(ctx, identity, func(p *Participant) error { info = p.proto(); return nil })
	return info, err
}

// RemoveParticipant disconnects a participant; its client does not come back.
func (r *Room) RemoveParticipant(ctx context.Context, identity string) error {
	return r.with(ctx, identity, func(p *Participant) error {
		r.remove(p, livekit.DisconnectReason_PARTICIPANT_REMOVED, livekit.LeaveRequest_DISCONNECT, true)
		return nil
	})
}

// MuteTrack mutes or, where the configuration allows it, unmutes a track.
func (r *Room) MuteTrack(ctx context.Context, identity, sid string, muted bool) (info *livekit.TrackInfo, err error) {
	err = r.with(ctx, identity, func(p *Participant) error {
		pub := r.tracks[sid]
		switch {
		case pub == nil || pub.publisher != p:
			return ErrTrackNotFound
		case !muted && pub.info.Muted && !r.cfg.EnableRemoteUnmute:
			return ErrRemoteUnmute
		}
		if pub.info.Muted != muted {
			p.send(reply.Mute(sid, muted))
		}
		r.setMuted(pub, muted)
		info = pub.proto()
		return nil
	})
	return info, err
}

// UpdateParticipant changes what the request sets.
func (r *Room) UpdateParticipant(ctx context.Context, req *livekit.UpdateParticipantRequest) (info *livekit.ParticipantInfo, err error) {
	err = r.with(ctx, req.Identity, func(p *Participant) error {
		if err := r.setProfile(p, req.Name, req.Metadata, req.Attributes); err != nil {
			return err
		}
		if req.Permission != nil {
			r.applyPermission(p, req.Permission)
		}
		r.broadcastParticipant(p, true)
		info = p.proto()
		return nil
	})
	return info, err
}

// setProfile changes name, metadata and attributes where they are not empty;
// an attribute set to "" is deleted. Actor.
func (r *Room) setProfile(p *Participant, name, metadata string, attributes map[string]string) error {
	next := map[string]string{}
	for k, v := range p.attributes {
		next[k] = v
	}
	for k, v := range attributes {
		if v == "" {
			delete(next, k)
			continue
		}
		next[k] = v
	}
	if err := r.checkProfile(name, metadata, next); err != nil {
		return err
	}
	if name != "" {
		p.name = name
	}
	if metadata != "" {
		p.metadata = metadata
	}
	p.attributes = next
	return nil
}

// applyPermission makes a changed permission take effect at once. Actor.
func (r *Room) applyPermission(p *Participant, perm *livekit.ParticipantPermission) {
	wasHidden, could := p.permission.Hidden, p.permission.CanSubscribe
	p.setPermission(proto.Clone(perm).(*livekit.ParticipantPermission))
	p.dropPending(func(t *pendingTrack) bool { return !mayPublishSource(perm, t.info.Source) })
	for _, pub := range slices.Clone(p.pubs) {
		if !mayPublishSource(perm, pub.info.Source) {
			r.unpublish(pub)
			p.send(reply.TrackUnpublished(pub.info.Sid))
		}
	}
	if !perm.CanPublishData {
		p.data.UnpublishAll(func(d *livekit.DataTrackInfo) { p.send(reply.DataTrackUnpublished(d)) })
	}
	if could != perm.CanSubscribe {
		r.canSubscribeChanged(p)
	}
	if wasHidden != perm.Hidden {
		r.hiddenChanged(p)
	}
	p.data.PermissionChanged()
	r.refreshToken(p, time.Now())
}

// mayPublishSource: a list of sources restricts who may publish at all.
func mayPublishSource(perm *livekit.ParticipantPermission, s livekit.TrackSource) bool {
	return perm.CanPublish && (len(perm.CanPublishSources) == 0 || slices.Contains(perm.CanPublishSources, s))
}

// hiddenChanged lets others see p, and what it publishes, come or go. Actor.
func (r *Room) hiddenChanged(p *Participant) {
	if !p.permission.Hidden { // the caller's broadcast shows p
		for _, q := range r.participants {
			r.subscribeToAll(q)
		}
		return
	}
	for _, pub := range p.pubs {
		for _, s := range pub.subs {
			r.unsubscribe(s)
		}
	}
	p.version++
	gone := p.proto()
	gone.State = livekit.ParticipantInfo_DISCONNECTED
	r.broadcast(reply.Participants(gone), p)
}

// updateOwnProfile handles UpdateParticipantMetadata of the client. Actor.
func (r *Room) updateOwnProfile(p *Participant, m *livekit.UpdateParticipantMetadata) {
	res := &livekit.RequestResponse{RequestId: m.RequestId}
	if !p.permission.CanUpdateMetadata {
		res.Reason, res.Message = livekit.RequestResponse_NOT_ALLOWED, "does not have permission to update own metadata"
	} else if err := r.setProfile(p, m.Name, m.Metadata, m.Attributes); err != nil {
		res.Reason, res.Message = livekit.RequestResponse_LIMIT_EXCEEDED, err.Error()
	} else {
		r.broadcastParticipant(p, true)
	}
	if m.RequestId != 0 || res.Reason != livekit.RequestResponse_OK {
		p.send(reply.Outcome(res))
	}
}

// UpdateSubscriptions subscribes or unsubscribes a participant.
func (r *Room) UpdateSubscriptions(ctx context.Context, identity string, u *livekit.UpdateSubscription) error {
	return r.with(ctx, identity, func(p *Participant) error {
		sids := slices.Clone(u.TrackSids)
		for _, pt := range u.ParticipantTracks {
			sids = append(sids, pt.GetTrackSids()...)
		}
		for _, sid := range sids {
			if u.Subscribe && r.tracks[sid] == nil {
				return ErrTrackNotFound
			}
		}
		r.updateSubscription(p, u)
		return nil
	})
}

// SendData sends a packet to everybody or to those named.
func (r *Room) SendData(ctx context.Context, req *livekit.SendDataRequest) error {
	if limit := r.cfg.MaxDataMessage; limit > 0 && len(req.Data) > limit {
		return fmt.Errorf("%w: data has %d bytes, at most %d are allowed (limit.max_data_message_size)", ErrLimit, len(req.Data), limit)
	}
	dp := &livekit.DataPacket{
		Kind: req.Kind, DestinationIdentities: req.DestinationIdentities,
		Value: &livekit.DataPacket_User{User: &livekit.UserPacket{
			Payload: req.Data, DestinationSids: req.DestinationSids,
			DestinationIdentities: req.DestinationIdentities, Topic: req.Topic, Nonce: req.Nonce,
		}},
	}
	return r.call(ctx, func() error { r.forwardData(nil, dp, req.Kind); return nil })
}

// SetMetadata replaces the room's metadata and tells everybody.
func (r *Room) SetMetadata(ctx context.Context, metadata string) (info *livekit.Room, err error) {
	if n := r.cfg.MaxMetadataSize; n > 0 && len(metadata) > n {
		return nil, fmt.Errorf("%w: metadata has %d bytes, at most %d are allowed (limit.max_metadata_size)", ErrLimit, len(metadata), n)
	}
	err = r.call(ctx, func() error {
		r.info.Metadata = metadata
		r.broadcastRoom()
		info = r.proto()
		return nil
	})
	return info, err
}
