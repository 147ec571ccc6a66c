// Package sfu is the packet path: what one publisher sends on a track reaches
// every viewer of it, each in its own numbering, on its own layer.
//
// It owns the [Receiver] (a published track in one codec: its layers, history,
// loss recovery, reports and key-frame requests), the [DownTrack] (one viewer's
// copy of it: layer choice, rewriting, retransmission, sender reports) and the
// list that joins them. It does not own connections, SDP, rooms or bandwidth
// estimation: a down track writes to a [Writer], and rooms tell it what a viewer
// wants.
//
// Buffers: a packet given to Push belongs to the caller and is used only until
// Push returns. Locks: see DESIGN.md beside this file.
//
// Start reading at [Receiver.Push] in forward.go, which reads top to bottom.
package sfu

import "errors"

// MaxLayers is the number of simulcast layers a track can have.
const MaxLayers = 3

// ErrClosed is returned for a track that has been closed.
var ErrClosed = errors.New("sfu: track is closed")

// Kind is the kind of media of a track.
type Kind uint8

// The kinds of media.
const (
	Audio Kind = iota + 1
	Video
)

// String returns the word SDP has for the kind.
func (k Kind) String() string {
	switch k {
	case Audio:
		return "audio"
	case Video:
		return "video"
	}
	return "unknown"
}

// Feedback is the set of RTCP feedback negotiated for a codec (a=rtcp-fb lines).
type Feedback uint8

// The kinds of feedback.
const (
	FeedbackNACK Feedback = 1 << iota // generic NACK, RFC 4585 section 6.2.1
	FeedbackPLI                       // picture loss indication, RFC 4585 section 6.3.1
	FeedbackFIR                       // full intra request, RFC 5104 section 4.3.1
	FeedbackTWCC                      // transport-wide congestion control
	FeedbackREMB                      // receiver estimated maximum bitrate
)

// Has reports whether all of f is in the set.
func (s Feedback) Has(f Feedback) bool { return s&f == f }

// Codec is a codec as negotiated with one client.
type Codec struct {
	// Mime is the MIME type, for example "video/VP8"; case does not matter.
	Mime string
	// ClockRate is the RTP clock rate in Hz.
	ClockRate uint32
	// Channels is the number of audio channels, 0 for video.
	Channels uint16
	// Fmtp is the format parameter line of SDP.
	Fmtp string
	// PayloadType is the payload type of media, RTXPayloadType that of
	// retransmissions (RFC 4588), 0 when there are none.
	PayloadType, RTXPayloadType uint8
	// REDPrimaryPayloadType is, for audio/red, the payload type of the Opus
	// inside.
	REDPrimaryPayloadType uint8
	// Feedback is what the client has agreed to send or accept.
	Feedback Feedback
}

// Writer is one client's connection as a down track sees it. Both methods
// consume their arguments before they return, must not block on the network and
// may be called by any goroutine.
type Writer interface {
	// WriteRTP sends one packet: header is a whole RTP header with extensions,
	// payload is everything after it, padding included.
	WriteRTP(header, payload []byte) (int, error)
	// WriteRTCP sends one compound RTCP packet.
	WriteRTCP(raw []byte) error
}
