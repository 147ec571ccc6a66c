package rtp

import (
	"encoding/binary"
	"time"
)

// URIs of the header extensions the packet path understands, as they stand in
// an a=extmap line.
const (
	URIMID                  = "urn:ietf:params:rtp-hdrext:sdes:mid"                    // RFC 9143
	URIRID                  = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"          // RFC 8852
	URIRepairedRID          = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id" // RFC 8852
	URIAudioLevel           = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"            // RFC 6464
	URIVideoOrientation     = "urn:3gpp:video-orientation"                             // TS 26.114
	URITWCC                 = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	URIAbsSendTime          = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	URIAbsCaptureTime       = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
	URIPlayoutDelay         = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
	URIDependencyDescriptor = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
)

// ExtensionIDs are the local identifiers negotiated for one media section; 0
// means not negotiated.
type ExtensionIDs struct {
	MID, RID, RepairedRID uint8
	AudioLevel            uint8
	TWCC                  uint8
	AbsSendTime           uint8
	AbsCaptureTime        uint8
	DependencyDescriptor  uint8
	VideoOrientation      uint8
	PlayoutDelay          uint8
}

// SetByURI stores the identifier negotiated for that URI. It reports whether the
// URI is one the packet path understands.
func (e *ExtensionIDs) SetByURI(uri string, id uint8) bool {
	p := e.byURI(uri)
	if p == nil {
		return false
	}
	*p = id
	return true
}

// ByURI returns the identifier negotiated for that URI, 0 when there is none.
func (e *ExtensionIDs) ByURI(uri string) uint8 {
	if p := e.byURI(uri); p != nil {
		return *p
	}
	return 0
}

func (e *ExtensionIDs) byURI(uri string) *uint8 {
	switch uri {
	case URIMID:
		return &e.MID
	case URIRID:
		return &e.RID
	case URIRepairedRID:
		return &e.RepairedRID
	case URIAudioLevel:
		return &e.AudioLevel
	case URITWCC:
		return &e.TWCC
	case URIAbsSendTime:
		return &e.AbsSendTime
	case URIAbsCaptureTime:
		return &e.AbsCaptureTime
	case URIDependencyDescriptor:
		return &e.DependencyDescriptor
	case URIVideoOrientation:
		return &e.VideoOrientation
	case URIPlayoutDelay:
		return &e.PlayoutDelay
	}
	return nil
}

// ParseAudioLevel reads an audio level extension (RFC 6464 section 3): the level
// in -dBov (0 is the loudest, 127 is silence) and the voice activity flag.
func ParseAudioLevel(b []byte) (level uint8, voice, ok bool) {
	if len(b) == 0 {
		return 127, false, false
	}
	return b[0] & 0x7f, b[0]&0x80 != 0, true
}

// AbsSendTime returns the abs-send-time value of an instant: 24 bits of seconds
// in 6.18 fixed point.
func AbsSendTime(at time.Time) [3]byte {
	v := uint32(ToNTP(at) >> 14) //nolint:gosec // the low 24 bits are the value
	return [3]byte{byte(v >> 16), byte(v >> 8), byte(v)}
}

// ParseTWCC reads a transport-wide sequence number.
func ParseTWCC(b []byte) (seq uint16, ok bool) {
	if len(b) < 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(b), true
}
