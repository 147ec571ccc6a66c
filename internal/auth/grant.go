package auth

import (
	"errors"
	"fmt"

	"github.com/livekit/protocol/livekit"
)

// Errors of the Ensure methods. ErrPermission is LiveKit's permission_denied.
var (
	ErrPermission = errors.New("permission denied")
	ErrNoIdentity = errors.New("token has no identity")
	ErrNoRoom     = errors.New("no room name")
)

// EnsureJoin decides which room the holder joins. requested is the room asked
// for beside the token, usually empty because SDKs put it into the token only.
// A token without a room opens any room. Errors: [ErrPermission] (no roomJoin
// grant, or the token is for another room), [ErrNoIdentity], [ErrNoRoom].
func (c Claims) EnsureJoin(requested string) (room string, err error) {
	if c.Video == nil || !c.Video.RoomJoin {
		return "", fmt.Errorf("%w: the token has no roomJoin grant", ErrPermission)
	}
	if c.Identity == "" {
		return "", ErrNoIdentity
	}
	granted := c.Video.Room
	switch {
	case granted == "" && requested == "":
		return "", ErrNoRoom
	case granted == "":
		return requested, nil
	case requested == "" || requested == granted:
		return granted, nil
	default:
		return "", fmt.Errorf("%w: the token is for another room", ErrPermission)
	}
}

// CanJoin reports whether the holder may join room.
func (c Claims) CanJoin(room string) bool {
	if room == "" {
		return false
	}
	_, err := c.EnsureJoin(room)
	return err == nil
}

// EnsureAdmin requires roomAdmin for exactly this room. Unlike joining, an
// admin token without a room administers none, as in LiveKit.
func (c Claims) EnsureAdmin(room string) error {
	return c.ensure(c.Video != nil && c.Video.RoomAdmin && c.Video.Room == room, "roomAdmin grant for this room")
}

// EnsureDestination requires roomAdmin for source and destination as its
// destinationRoom (MoveParticipant, ForwardParticipant).
func (c Claims) EnsureDestination(source, destination string) error {
	if err := c.EnsureAdmin(source); err != nil {
		return err
	}
	return c.ensure(c.Video.DestinationRoom == destination, "destinationRoom grant for this room")
}

// EnsureCreate requires roomCreate (create and delete rooms).
func (c Claims) EnsureCreate() error {
	return c.ensure(c.Video != nil && c.Video.RoomCreate, "roomCreate grant")
}

// EnsureList requires roomList.
func (c Claims) EnsureList() error {
	return c.ensure(c.Video != nil && c.Video.RoomList, "roomList grant")
}

// EnsureRecord requires roomRecord (egress).
func (c Claims) EnsureRecord() error {
	return c.ensure(c.Video != nil && c.Video.RoomRecord, "roomRecord grant")
}

// EnsureIngressAdmin requires ingressAdmin.
func (c Claims) EnsureIngressAdmin() error {
	return c.ensure(c.Video != nil && c.Video.IngressAdmin, "ingressAdmin grant")
}

// EnsureAgentWorker requires the agent grant that lets a worker register.
func (c Claims) EnsureAgentWorker() error {
	return c.ensure(c.Video != nil && c.Video.Agent, "agent grant")
}

// EnsureSIPAdmin requires sip.admin.
func (c Claims) EnsureSIPAdmin() error {
	return c.ensure(c.SIP != nil && c.SIP.Admin, "sip.admin grant")
}

// EnsureSIPCall requires sip.call.
func (c Claims) EnsureSIPCall() error {
	return c.ensure(c.SIP != nil && c.SIP.Call, "sip.call grant")
}

// CanPublishSource reports whether the holder may publish a track of source:
// canPublish, and when canPublishSources lists any, that this one is listed.
func (c Claims) CanPublishSource(source livekit.TrackSource) bool {
	return c.Video != nil && c.Video.GetCanPublishSource(source)
}

// Permission returns the video grant as the permission that participants see.
func (c Claims) Permission() *livekit.ParticipantPermission {
	if c.Video == nil {
		return &livekit.ParticipantPermission{}
	}
	return c.Video.ToPermission()
}

func (c Claims) ensure(ok bool, need string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: the token needs a %s", ErrPermission, need)
}
