// Package api serves LiveKit's server API over Twirp, protobuf and JSON: who
// may call what, what the room package answers, and the error codes SDKs test
// for. Nothing else turns errors into codes.
//
// It owns no state. Start at room.go (RoomService) and errors.go.
package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/twitchtv/twirp"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/room"
)

// RoomService implements livekit.RoomService on the rooms of this node.
type RoomService struct {
	rooms *room.Manager
}

// Routes registers the Twirp services on mux, authenticated with keys. maxBody
// bounds a request in bytes; 0 is no limit.
func Routes(mux *http.ServeMux, keys *auth.Keys, rooms *room.Manager, maxBody int64) {
	svc := livekit.NewRoomServiceServer(&RoomService{rooms: rooms})
	mux.Handle(svc.PathPrefix(), authenticate(keys, maxBody, svc))
}

type claimsKey struct{}

// authenticate puts the claims of the request's token into its context. Which
// grant a call needs is checked by the call.
func authenticate(keys *auth.Keys, maxBody int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Livekit-Request-Id")
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		token, err := auth.FromRequest(r)
		if err == nil {
			var claims auth.Claims
			if claims, err = keys.Verify(token, time.Now()); err == nil {
				r = r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims))
			}
		}
		if err != nil {
			_ = twirp.WriteError(w, twirp.Unauthenticated.Error(err.Error())) // the client is gone otherwise
			return
		}
		if maxBody > 0 {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		next.ServeHTTP(w, r)
	})
}

func claims(ctx context.Context) auth.Claims {
	c, _ := ctx.Value(claimsKey{}).(auth.Claims)
	return c
}

// admin returns the room when the caller may administer it.
func (s *RoomService) admin(ctx context.Context, name string) (*room.Room, error) {
	if err := claims(ctx).EnsureAdmin(name); err != nil {
		return nil, toTwirp(err)
	}
	r := s.rooms.Room(name)
	if r == nil {
		return nil, toTwirp(room.ErrRoomNotFound)
	}
	return r, nil
}

// CreateRoom makes a room ahead of its first participant, or changes one.
func (s *RoomService) CreateRoom(ctx context.Context, req *livekit.CreateRoomRequest) (*livekit.Room, error) {
	if err := claims(ctx).EnsureCreate(); err != nil {
		return nil, toTwirp(err)
	}
	if req.Egress != nil {
		if err := claims(ctx).EnsureRecord(); err != nil {
			return nil, toTwirp(err)
		}
	}
	info, err := s.rooms.Create(ctx, req)
	return info, toTwirp(err)
}

// ListRooms lists the rooms, or those named that exist.
func (s *RoomService) ListRooms(ctx context.Context, req *livekit.ListRoomsRequest) (*livekit.ListRoomsResponse, error) {
	if err := claims(ctx).EnsureList(); err != nil {
		return nil, toTwirp(err)
	}
	res := &livekit.ListRoomsResponse{}
	for _, r := range s.rooms.Rooms(req.Names...) {
		if info, err := r.Info(ctx); err == nil { // it may close meanwhile
			res.Rooms = append(res.Rooms, info)
		}
	}
	return res, nil
}

// DeleteRoom disconnects everybody and ends the room; not_found when there is
// none.
func (s *RoomService) DeleteRoom(ctx context.Context, req *livekit.DeleteRoomRequest) (*livekit.DeleteRoomResponse, error) {
	if err := claims(ctx).EnsureCreate(); err != nil {
		return nil, inRoom(err)
	}
	r := s.rooms.Room(req.Room)
	if r == nil {
		return nil, toTwirp(room.ErrRoomNotFound)
	}
	return &livekit.DeleteRoomResponse{}, inRoom(r.Delete(ctx))
}

// ListParticipants lists everybody in a room; none when the room is not there.
func (s *RoomService) ListParticipants(ctx context.Context, req *livekit.ListParticipantsRequest) (*livekit.ListParticipantsResponse, error) {
	if err := claims(ctx).EnsureAdmin(req.Room); err != nil {
		return nil, inRoom(err)
	}
	r := s.rooms.Room(req.Room)
	if r == nil {
		return &livekit.ListParticipantsResponse{}, nil
	}
	list, err := r.Participants(ctx)
	if errors.Is(err, room.ErrClosed) {
		err = nil // it ended a moment ago
	}
	return &livekit.ListParticipantsResponse{Participants: list}, inRoom(err)
}

// GetParticipant returns one participant.
func (s *RoomService) GetParticipant(ctx context.Context, req *livekit.RoomParticipantIdentity) (*livekit.ParticipantInfo, error) {
	r, err := s.admin(ctx, req.Room)
	if err != nil {
		return nil, err
	}
	info, err := r.Participant(ctx, req.Identity)
	return info, inRoom(err)
}

// RemoveParticipant disconnects one participant.
func (s *RoomService) RemoveParticipant(ctx context.Context, req *livekit.RoomParticipantIdentity) (*livekit.RemoveParticipantResponse, error) {
	r, err := s.admin(ctx, req.Room)
	if err != nil {
		return nil, err
	}
	return &livekit.RemoveParticipantResponse{}, inRoom(r.RemoveParticipant(ctx, req.Identity))
}

// MutePublishedTrack mutes a track, or unmutes it where that is enabled.
func (s *RoomService) MutePublishedTrack(ctx context.Context, req *livekit.MuteRoomTrackRequest) (*livekit.MuteRoomTrackResponse, error) {
	r, err := s.admin(ctx, req.Room)
	if err != nil {
		return nil, err
	}
	info, err := r.MuteTrack(ctx, req.Identity, req.TrackSid, req.Muted)
	return &livekit.MuteRoomTrackResponse{Track: info}, inRoom(err)
}

// UpdateParticipant changes permission, name, metadata and attributes.
func (s *RoomService) UpdateParticipant(ctx context.Context, req *livekit.UpdateParticipantRequest) (*livekit.ParticipantInfo, error) {
	r, err := s.admin(ctx, req.Room)
	if err != nil {
		return nil, err
	}
	info, err := r.UpdateParticipant(ctx, req)
	return info, inRoom(err)
}

// UpdateSubscriptions subscribes or unsubscribes a participant.
func (s *RoomService) UpdateSubscriptions(ctx context.Context, req *livekit.UpdateSubscriptionsRequest) (*livekit.UpdateSubscriptionsResponse, error) {
	r, err := s.admin(ctx, req.Room)
	if err != nil {
		return nil, err
	}
	err = r.UpdateSubscriptions(ctx, req.Identity, &livekit.UpdateSubscription{
		TrackSids: req.TrackSids, Subscribe: req.Subscribe, ParticipantTracks: req.ParticipantTracks,
	})
	return &livekit.UpdateSubscriptionsResponse{}, inRoom(err)
}

// SendData sends a data packet to a room or to some of its participants.
func (s *RoomService) SendData(ctx context.Context, req *livekit.SendDataRequest) (*livekit.SendDataResponse, error) {
	r, err := s.admin(ctx, req.Room)
	if err != nil {
		return nil, err
	}
	return &livekit.SendDataResponse{}, inRoom(r.SendData(ctx, req))
}

// UpdateRoomMetadata replaces a room's metadata.
func (s *RoomService) UpdateRoomMetadata(ctx context.Context, req *livekit.UpdateRoomMetadataRequest) (*livekit.Room, error) {
	r, err := s.admin(ctx, req.Room)
	if err != nil {
		return nil, err
	}
	info, err := r.SetMetadata(ctx, req.Metadata)
	return info, inRoom(err)
}

// PerformRpc calls a method of a participant and waits for its answer.
func (s *RoomService) PerformRpc(ctx context.Context, req *livekit.PerformRpcRequest) (*livekit.PerformRpcResponse, error) {
	r, err := s.admin(ctx, req.Room)
	if err != nil {
		return nil, err
	}
	payload, err := r.PerformRPC(ctx, req)
	return &livekit.PerformRpcResponse{Payload: payload}, inRoom(err)
}

// ForwardParticipant is not there yet.
func (s *RoomService) ForwardParticipant(context.Context, *livekit.ForwardParticipantRequest) (*livekit.ForwardParticipantResponse, error) {
	return nil, twirp.Unimplemented.Error("ForwardParticipant is not implemented yet")
}

// MoveParticipant is not there yet.
func (s *RoomService) MoveParticipant(context.Context, *livekit.MoveParticipantRequest) (*livekit.MoveParticipantResponse, error) {
	return nil, twirp.Unimplemented.Error("MoveParticipant is not implemented yet")
}
