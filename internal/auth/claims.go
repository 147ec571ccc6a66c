package auth

import (
	"maps"
	"time"

	lkauth "github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
)

// The grants are LiveKit's own types, so that their JSON names and the meaning
// of an absent value are theirs by construction.
type (
	// VideoGrant says what the holder may do with rooms. A nil can* is true,
	// except canUpdateOwnMetadata, canSubscribeMetrics and
	// canManageAgentSession; a nil canPublishData is canPublish. Read them
	// through the Get methods.
	VideoGrant = lkauth.VideoGrant
	// SIPGrant says what the holder may do with SIP trunks and calls.
	SIPGrant = lkauth.SIPGrant
	// AgentGrant says what the holder may do with agent deployments.
	AgentGrant = lkauth.AgentGrant
)

// Claims is the content of one access token.
type Claims struct {
	// APIKey is the issuer: the key whose secret signs the token.
	APIKey string
	// Identity is the subject, unique in a room. Server API tokens have none.
	Identity string
	// Name is the display name of the participant.
	Name string
	// Metadata is opaque to the server.
	Metadata string
	// Attributes are the participant's initial attributes.
	Attributes map[string]string
	// Kind is STANDARD when the token says nothing or something unknown.
	Kind livekit.ParticipantInfo_Kind
	// KindDetails refine Kind.
	KindDetails []livekit.ParticipantInfo_KindDetail
	// Video is never nil after [Keys.Verify]: a token without a video grant
	// has an empty one, which allows nothing.
	Video *VideoGrant
	// SIP is nil when absent.
	SIP *SIPGrant
	// Agent is nil when absent.
	Agent *AgentGrant
	// RoomConfig applies when this participant is the one that creates the
	// room; nil when absent.
	RoomConfig *livekit.RoomConfiguration
	// RoomPreset names a room configuration of the server.
	RoomPreset string
	// SHA256 is the base64 digest of the body that the token vouches for
	// (webhooks); empty otherwise.
	SHA256 string
	// NotBefore and ExpiresAt bound the token's life. Sign sets both; a
	// verified token always has an expiry.
	NotBefore, ExpiresAt time.Time
}

// Clone returns a copy that shares nothing with c.
func (c Claims) Clone() Claims {
	out := fromGrants((*lkauth.ClaimGrants)(c.grants()).Clone())
	out.APIKey, out.NotBefore, out.ExpiresAt = c.APIKey, c.NotBefore, c.ExpiresAt
	return out
}

// grants returns c as LiveKit's token body. It shares c's pointers and maps.
func (c Claims) grants() *lkauth.ClaimGrants {
	g := &lkauth.ClaimGrants{
		Identity:   c.Identity,
		Name:       c.Name,
		Metadata:   c.Metadata,
		Attributes: c.Attributes,
		Video:      c.Video,
		SIP:        c.SIP,
		Agent:      c.Agent,
		RoomConfig: (*lkauth.RoomConfiguration)(c.RoomConfig),
		RoomPreset: c.RoomPreset,
		Sha256:     c.SHA256,
	}
	if c.Kind != livekit.ParticipantInfo_STANDARD {
		g.SetParticipantKind(c.Kind)
	}
	if len(c.KindDetails) > 0 {
		g.SetKindDetail(c.KindDetails...)
	}
	return g
}

// fromGrants is the inverse of grants.
func fromGrants(g *lkauth.ClaimGrants) Claims {
	c := Claims{
		Identity:   g.Identity,
		Name:       g.Name,
		Metadata:   g.Metadata,
		Attributes: maps.Clone(g.Attributes),
		Kind:       g.GetParticipantKind(),
		Video:      g.Video,
		SIP:        g.SIP,
		Agent:      g.Agent,
		RoomConfig: g.GetRoomConfiguration(),
		RoomPreset: g.RoomPreset,
		SHA256:     g.Sha256,
	}
	if details := g.GetKindDetails(); len(details) > 0 {
		c.KindDetails = details
	}
	if c.Video == nil {
		c.Video = &VideoGrant{}
	}
	return c
}
