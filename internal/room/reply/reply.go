// Package reply makes the signal responses that a room sends to its clients.
//
// It only wraps: what is said, to whom and when is package room's. Messages are
// not copied unless a comment says so. Start at [Refused], the answer to what a
// client may not do.
package reply

import (
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// Response is short for LiveKit's type.
type Response = livekit.SignalResponse

// Leave tells the client to go, and whether and how to come back.
func Leave(reason livekit.DisconnectReason, action livekit.LeaveRequest_Action) *Response {
	return &Response{Message: &livekit.SignalResponse_Leave{Leave: &livekit.LeaveRequest{
		CanReconnect: action != livekit.LeaveRequest_DISCONNECT, Reason: reason, Action: action,
	}}}
}

// Join is the first response on a new connection.
func Join(j *livekit.JoinResponse) *Response {
	return &Response{Message: &livekit.SignalResponse_Join{Join: j}}
}

// Reconnect is the first response on a resumed connection.
func Reconnect(r *livekit.ReconnectResponse) *Response {
	return &Response{Message: &livekit.SignalResponse_Reconnect{Reconnect: r}}
}

// Participants tells how some participants are now.
func Participants(infos ...*livekit.ParticipantInfo) *Response {
	return &Response{Message: &livekit.SignalResponse_Update{Update: &livekit.ParticipantUpdate{Participants: infos}}}
}

// Room tells how the room is now.
func Room(info *livekit.Room) *Response {
	return &Response{Message: &livekit.SignalResponse_RoomUpdate{RoomUpdate: &livekit.RoomUpdate{Room: info}}}
}

// Offer carries a session description for the subscriber connection.
func Offer(sdp string, id uint32, mids map[string]string) *Response {
	return &Response{Message: &livekit.SignalResponse_Offer{
		Offer: &livekit.SessionDescription{Type: "offer", Sdp: sdp, Id: id, MidToTrackId: mids},
	}}
}

// Answer answers the client's offer of that id.
func Answer(sdp string, id uint32, mids map[string]string) *Response {
	return &Response{Message: &livekit.SignalResponse_Answer{
		Answer: &livekit.SessionDescription{Type: "answer", Sdp: sdp, Id: id, MidToTrackId: mids},
	}}
}

// MediaSections asks for an offer with so many further sections to receive on.
func MediaSections(audios, videos int) *Response {
	return &Response{Message: &livekit.SignalResponse_MediaSectionsRequirement{
		MediaSectionsRequirement: &livekit.MediaSectionsRequirement{NumAudios: uint32(audios), NumVideos: uint32(videos)},
	}}
}

// TrackPublished answers an AddTrackRequest. info is copied.
func TrackPublished(cid string, info *livekit.TrackInfo) *Response {
	return &Response{Message: &livekit.SignalResponse_TrackPublished{
		TrackPublished: &livekit.TrackPublishedResponse{Cid: cid, Track: proto.CloneOf(info)},
	}}
}

// TrackUnpublished tells a publisher that the server ended its track.
func TrackUnpublished(sid string) *Response {
	return &Response{Message: &livekit.SignalResponse_TrackUnpublished{
		TrackUnpublished: &livekit.TrackUnpublishedResponse{TrackSid: sid},
	}}
}

// TrackSubscribed tells a publisher that somebody receives its track.
func TrackSubscribed(sid string) *Response {
	return &Response{Message: &livekit.SignalResponse_TrackSubscribed{
		TrackSubscribed: &livekit.TrackSubscribed{TrackSid: sid},
	}}
}

// Mute tells a publisher that the server muted or unmuted its track.
func Mute(sid string, muted bool) *Response {
	return &Response{Message: &livekit.SignalResponse_Mute{Mute: &livekit.MuteTrackRequest{Sid: sid, Muted: muted}}}
}

// SubscribedQuality tells a publisher which codecs and layers are needed.
func SubscribedQuality(u *livekit.SubscribedQualityUpdate) *Response {
	return &Response{Message: &livekit.SignalResponse_SubscribedQualityUpdate{SubscribedQualityUpdate: u}}
}

// SubscriptionPermission tells a viewer whether it may receive a track.
func SubscriptionPermission(publisher, track string, allowed bool) *Response {
	return &Response{Message: &livekit.SignalResponse_SubscriptionPermissionUpdate{
		SubscriptionPermissionUpdate: &livekit.SubscriptionPermissionUpdate{
			ParticipantSid: publisher, TrackSid: track, Allowed: allowed,
		},
	}}
}

// SubscriptionError tells a viewer why it does not receive a track.
func SubscriptionError(track string, e livekit.SubscriptionError) *Response {
	return &Response{Message: &livekit.SignalResponse_SubscriptionResponse{
		SubscriptionResponse: &livekit.SubscriptionResponse{TrackSid: track, Err: e},
	}}
}

// Speakers tells what changed about who speaks.
func Speakers(list []*livekit.SpeakerInfo) *Response {
	return &Response{Message: &livekit.SignalResponse_SpeakersChanged{
		SpeakersChanged: &livekit.SpeakersChanged{Speakers: list},
	}}
}

// Quality tells how good connections are.
func Quality(list []*livekit.ConnectionQualityInfo) *Response {
	return &Response{Message: &livekit.SignalResponse_ConnectionQuality{
		ConnectionQuality: &livekit.ConnectionQualityUpdate{Updates: list},
	}}
}

// RefreshToken gives the client a token to come back with.
func RefreshToken(token string) *Response {
	return &Response{Message: &livekit.SignalResponse_RefreshToken{RefreshToken: token}}
}

// DataTrackPublished answers a PublishDataTrackRequest.
func DataTrackPublished(info *livekit.DataTrackInfo) *Response {
	return &Response{Message: &livekit.SignalResponse_PublishDataTrackResponse{
		PublishDataTrackResponse: &livekit.PublishDataTrackResponse{Info: info},
	}}
}

// DataTrackUnpublished answers an UnpublishDataTrackRequest, or tells that the
// server ended the track.
func DataTrackUnpublished(info *livekit.DataTrackInfo) *Response {
	return &Response{Message: &livekit.SignalResponse_UnpublishDataTrackResponse{
		UnpublishDataTrackResponse: &livekit.UnpublishDataTrackResponse{Info: info},
	}}
}

// DataHandles tells a viewer which handle stands for which data track.
func DataHandles(handles map[uint32]*livekit.DataTrackSubscriberHandles_PublishedDataTrack) *Response {
	return &Response{Message: &livekit.SignalResponse_DataTrackSubscriberHandles{
		DataTrackSubscriberHandles: &livekit.DataTrackSubscriberHandles{SubHandles: handles},
	}}
}

// Outcome wraps a RequestResponse.
func Outcome(r *livekit.RequestResponse) *Response {
	return &Response{Message: &livekit.SignalResponse_RequestResponse{RequestResponse: r}}
}

// Refused answers a request with a reason and a sentence. Requests that SDKs
// match by their content are echoed, copied; others may be nil.
func Refused(reason livekit.RequestResponse_Reason, message string, req proto.Message) *Response {
	r := &livekit.RequestResponse{Reason: reason, Message: message}
	switch m := req.(type) {
	case *livekit.AddTrackRequest:
		r.Request = &livekit.RequestResponse_AddTrack{AddTrack: proto.CloneOf(m)}
	case *livekit.PublishDataTrackRequest:
		r.Request = &livekit.RequestResponse_PublishDataTrack{PublishDataTrack: proto.CloneOf(m)}
	case *livekit.UnpublishDataTrackRequest:
		r.Request = &livekit.RequestResponse_UnpublishDataTrack{UnpublishDataTrack: proto.CloneOf(m)}
	}
	return Outcome(r)
}

// Pong answers a ping in its own form, at now in milliseconds since 1970: SDKs
// send both forms and wait for both.
func Pong(req *livekit.SignalRequest, now int64) *Response {
	if m, ok := req.GetMessage().(*livekit.SignalRequest_PingReq); ok {
		return &Response{Message: &livekit.SignalResponse_PongResp{
			PongResp: &livekit.Pong{LastPingTimestamp: m.PingReq.GetTimestamp(), Timestamp: now},
		}}
	}
	return &Response{Message: &livekit.SignalResponse_Pong{Pong: now}}
}
