package sdp

import (
	"errors"
	"slices"
	"strings"
)

// Limits of what [Parse] accepts. They are far above what any client sends in
// the largest room, and low enough that a hostile description stays cheap.
const (
	// MaxSize is the longest description in bytes. A browser that offers all
	// its codecs spends about 5 kB on each video section, and in single
	// connection mode there is one section for each received track.
	MaxSize = 2 << 20
	// MaxSections is the largest number of m= sections.
	MaxSections = 1024
	// MaxCodecs is the largest number of payload types in one section.
	MaxCodecs = 96
	// MaxSSRCs is the largest number of declared sources in one section.
	MaxSSRCs = 64
	// MaxRids is the largest number of a=rid lines in one section.
	MaxRids = 16
)

var (
	// ErrLimit is returned for a description that exceeds a limit of this package.
	ErrLimit = errors.New("sdp: limit exceeded")
	// ErrSyntax is returned for text that is not SDP or has an unreadable line.
	ErrSyntax = errors.New("sdp: syntax error")
	// ErrInvalid is returned for a description that can be read but contradicts
	// itself or asks for something the server does not do.
	ErrInvalid = errors.New("sdp: invalid description")
)

// Kind is the media type of a section.
type Kind uint8

// The kinds of section.
const (
	Audio Kind = iota + 1
	Video
	Application
)

// String returns the name used in the m= line.
func (k Kind) String() string {
	switch k {
	case Audio:
		return "audio"
	case Video:
		return "video"
	case Application:
		return "application"
	}
	return "unknown"
}

// Direction is the direction attribute of a section, from the point of view of
// the side that wrote the description.
type Direction uint8

// The directions of RFC 8866 section 6.7.
const (
	SendRecv Direction = iota
	SendOnly
	RecvOnly
	Inactive
)

// NewDirection returns the direction that sends and receives as asked.
func NewDirection(send, recv bool) Direction {
	switch {
	case send && recv:
		return SendRecv
	case send:
		return SendOnly
	case recv:
		return RecvOnly
	}
	return Inactive
}

// Send reports whether the writer of the description may send.
func (d Direction) Send() bool { return d == SendRecv || d == SendOnly }

// Recv reports whether the writer of the description may receive.
func (d Direction) Recv() bool { return d == SendRecv || d == RecvOnly }

// String returns the attribute name.
func (d Direction) String() string {
	switch d {
	case SendRecv:
		return "sendrecv"
	case SendOnly:
		return "sendonly"
	case RecvOnly:
		return "recvonly"
	}
	return "inactive"
}

// Setup is the DTLS role attribute (RFC 8842, RFC 4145 section 4).
type Setup uint8

// The values of a=setup.
const (
	SetupNone Setup = iota
	SetupActive
	SetupPassive
	SetupActPass
)

// String returns the attribute value.
func (s Setup) String() string {
	switch s {
	case SetupActive:
		return "active"
	case SetupPassive:
		return "passive"
	case SetupActPass:
		return "actpass"
	}
	return ""
}

// ICE is a pair of ICE credentials (RFC 8839 section 5.4).
type ICE struct {
	Ufrag, Pwd string
}

// Fingerprint is the hash of a DTLS certificate (RFC 8122): the hash function
// in lower case and the value in upper-case hexadecimal with colons.
type Fingerprint struct {
	Hash, Value string
}

// Codec is one payload type of a section together with its RTX payload type.
type Codec struct {
	// Mime is the media type in canonical case, such as "video/VP8".
	Mime string
	// PayloadType is the RTP payload type, 0 to 127 without 64 to 95.
	PayloadType uint8
	// RTX is the payload type that retransmits this one (RFC 4588), 0 for none.
	RTX uint8
	// ClockRate is the RTP clock rate in Hz.
	ClockRate uint32
	// Channels is the number of audio channels, 0 when not given.
	Channels uint16
	// Fmtp is the format parameters as written.
	Fmtp string
	// Feedback lists the RTCP feedback, such as "nack pli" or "transport-cc".
	Feedback []string
}

// HasFeedback reports whether the codec lists that RTCP feedback.
func (c *Codec) HasFeedback(fb string) bool { return slices.Contains(c.Feedback, fb) }

// Extension is one negotiated RTP header extension (RFC 8285).
type Extension struct {
	ID  uint8
	URI string
}

// Rid is one a=rid line (RFC 8851).
type Rid struct {
	ID string
	// Send is true for a stream the writer sends.
	Send bool
	// Paused is true when a=simulcast marks it with "~" (RFC 8853).
	Paused bool
}

// SSRC is a source declared in a section with the source that repairs it.
type SSRC struct {
	ID uint32
	// RTX is the source of the retransmissions (ssrc-group FID), 0 for none.
	RTX uint32
	// CNAME is the RTCP canonical name.
	CNAME string
}

// Section is one m= section.
type Section struct {
	// Mid identifies the section for the life of the connection. Only a
	// rejected section may be without one.
	Mid  string
	Kind Kind
	// Rejected is true for port 0 without a=bundle-only: the section is dead
	// and only holds its place.
	Rejected  bool
	Direction Direction
	// Protocol is the transport of the m= line, such as UDP/TLS/RTP/SAVPF.
	Protocol string
	// Formats is the format list of the m= line, as written.
	Formats []string
	// Codecs are the payload types that have an a=rtpmap, in order of
	// preference, without the RTX ones.
	Codecs     []Codec
	Extensions []Extension
	// StreamID and TrackID are the two halves of a=msid.
	StreamID, TrackID string
	// SSRCs are the media sources in order, lowest simulcast layer first when
	// the section has a SIM group.
	SSRCs []SSRC
	// Rids are in the order of a=simulcast when there is one, else as written.
	Rids []Rid
	// Simulcast is true when the section has an a=simulcast line.
	Simulcast bool
	// RTCPMux and RTCPReducedSize tell whether a=rtcp-mux and a=rtcp-rsize are present.
	RTCPMux, RTCPReducedSize bool
	// SCTPPort and MaxMessageSize belong to an application section (RFC 8841).
	SCTPPort       uint16
	MaxMessageSize uint64
}

// Codec returns the codec with that payload type, nil if there is none.
func (s *Section) Codec(payloadType uint8) *Codec {
	for i := range s.Codecs {
		if s.Codecs[i].PayloadType == payloadType {
			return &s.Codecs[i]
		}
	}
	return nil
}

// HasMime reports whether the section lists a codec of that media type.
func (s *Section) HasMime(mime string) bool {
	return slices.ContainsFunc(s.Codecs, func(c Codec) bool { return strings.EqualFold(c.Mime, mime) })
}

// SendRids returns the rids the writer sends, in simulcast order.
func (s *Section) SendRids() []string {
	var ids []string
	for _, r := range s.Rids {
		if r.Send {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// Session is a checked description of one bundled transport.
type Session struct {
	// SessionID and Version are the o= line's numbers.
	SessionID, Version uint64
	// Bundle lists the mids of the BUNDLE group in order.
	Bundle []string
	// Lite is true when the writer is an ICE-lite agent.
	Lite bool
	// ICE, Fingerprints and Setup describe the transport of the bundle. They
	// are empty when every section is rejected.
	ICE          ICE
	Fingerprints []Fingerprint
	Setup        Setup
	// ExtmapAllowMixed is true when one-byte and two-byte header extensions
	// may be mixed in a stream (RFC 8285 section 6).
	ExtmapAllowMixed bool
	Sections         []Section
}

// Section returns the section with that mid, nil if there is none.
func (s *Session) Section(mid string) *Section {
	for i := range s.Sections {
		if s.Sections[i].Mid == mid {
			return &s.Sections[i]
		}
	}
	return nil
}
