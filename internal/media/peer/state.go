package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
	"github.com/concertina-rtc/concertina/internal/media/sdp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// ErrStateVersion means that a SessionState was written by another version, or
// is none.
var ErrStateVersion = errors.New("peer: unknown session state")

// SessionState is a peer as a value: everything another node needs to go on with
// the client's connection. Conn is empty in a [Peer.Snapshot]. The state of an
// export holds keys: send it sealed and resume it at most once.
type SessionState struct {
	Mode       Mode
	Session    uint64 // o= line
	Version    uint64
	SenderSSRC uint32
	Remote     sdp.ICE
	// OfferID and NextMid continue the offers of a Subscriber.
	OfferID uint32
	NextMid int
	// Waiting is set while an offer has not been answered.
	Waiting  bool
	Sections []SectionState
	// Pending are the down tracks without a section, oldest first.
	Pending []DownlinkState
	// Latched tells what the client's SSRCs carry: it no longer says so itself.
	Latched []LatchState
	// Taken are the SSRCs that were ever sent with the connection's keys.
	Taken []uint32
	// Conn is the transport, keys included.
	Conn transport.ConnState `json:"-"`
}

// SectionState is one media section.
type SectionState struct {
	Mid                         string
	Kind                        sdp.Kind
	Rejected, Answered, Sending bool
	Used, Receivable            bool
	Extensions                  []sdp.Extension `json:",omitempty"`
	Offered                     []sdp.Codec     `json:",omitempty"`
	Up                          *UplinkState    `json:",omitempty"`
	Down                        *DownlinkState  `json:",omitempty"`
}

// UplinkState is a track the client sends.
type UplinkState struct {
	TrackID, StreamID string
	Rids              []string
	Layers            int
	IDs               rtp.ExtensionIDs
	Codecs            []sdp.Codec
	Declared          []sdp.SSRC
	// Decided is set when it is known which of Codecs the client sends: the first.
	Decided  bool
	Receiver sfu.ReceiverState
}

// DownlinkState is a track the client receives or shall receive.
type DownlinkState struct {
	TrackID, StreamID string
	Kind              sfu.Kind
	Codecs            []string
	Stereo            bool
	SSRC, RTX         uint32
	// Bound is set once the section is negotiated; the rest is empty before.
	Bound bool
	Codec sdp.Codec
	// Track is the codec in the down track's terms.
	TrackCodec sfu.Codec
	IDs        rtp.ExtensionIDs
	Confirmed  bool // the client has reported on the stream
	Track      sfu.DownTrackState
}

// LatchState is what one of the client's SSRCs carries.
type LatchState struct {
	SSRC  uint32
	Mid   string
	Layer int
	RTX   bool
}

// String tells nothing secret.
func (s *SessionState) String() string {
	return fmt.Sprintf("SessionState(%v, %d sections, %d SSRCs, %v)", s.Mode, len(s.Sections), len(s.Latched), s.Conn)
}

// LogValue tells nothing secret.
func (s *SessionState) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Wipe overwrites the key material.
func (s *SessionState) Wipe() {
	s.Conn.Wipe()
	*s = SessionState{}
}

// sessionStateVersion is the first byte of a marshalled state.
const sessionStateVersion = 1

// wireState is a SessionState with its transport as bytes.
type wireState struct {
	Session   *SessionState
	Transport []byte `json:",omitempty"`
}

// MarshalBinary implements encoding.BinaryMarshaler. The result holds keys when
// the state does.
func (s *SessionState) MarshalBinary() ([]byte, error) {
	w := wireState{Session: s}
	if s.Conn.LocalUfrag != "" {
		b, err := s.Conn.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("peer: marshal state: %w", err)
		}
		w.Transport = b
	}
	b, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("peer: marshal state: %w", err)
	}
	return append([]byte{sessionStateVersion}, b...), nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. Errors wrap
// [ErrStateVersion] or name what is wrong.
func (s *SessionState) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != sessionStateVersion {
		return ErrStateVersion
	}
	out := SessionState{}
	w := wireState{Session: &out}
	if err := json.Unmarshal(b[1:], &w); err != nil {
		return fmt.Errorf("%w: %w", ErrStateVersion, err)
	}
	if len(w.Transport) > 0 {
		if err := out.Conn.UnmarshalBinary(w.Transport); err != nil {
			return fmt.Errorf("peer: unmarshal state: %w", err)
		}
	}
	if err := out.check(); err != nil {
		return err
	}
	*s = out
	return nil
}

// check holds what the rest of the package relies on.
func (s *SessionState) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrStateVersion, fmt.Sprintf(format, args...))
	}
	if s.Mode < Single || s.Mode > Subscriber || len(s.Sections) > sdp.MaxSections {
		return bad("mode %d with %d sections", s.Mode, len(s.Sections))
	}
	mids := make(map[string]bool)
	for i := range s.Sections {
		sec := &s.Sections[i]
		if sec.Mid != "" && mids[sec.Mid] {
			return bad("mid %.64q twice", sec.Mid)
		}
		mids[sec.Mid] = true
		if sec.Kind < sdp.Audio || sec.Kind > sdp.Application || sec.Kind == sdp.Application && (sec.Up != nil || sec.Down != nil) {
			return bad("mid %.64q of kind %d", sec.Mid, sec.Kind)
		}
		if u := sec.Up; u != nil {
			if u.Layers < 1 || u.Layers > sfu.MaxLayers || len(u.Rids) > sfu.MaxLayers || len(u.Codecs) == 0 || !validCodecs(u.Codecs) {
				return bad("mid %.64q: %d layers, %d rids, %d codecs", sec.Mid, u.Layers, len(u.Rids), len(u.Codecs))
			}
		}
	}
	return nil
}

func validCodecs(codecs []sdp.Codec) bool {
	for _, c := range codecs {
		if c.PayloadType > 127 || c.RTX > 127 {
			return false
		}
	}
	return true
}
