package codec

import "strings"

// Kind is a codec, or a payload format that wraps one.
type Kind uint8

// The codecs the media plane carries. KindUnknown is the zero value.
const (
	KindUnknown Kind = iota
	KindOpus         // audio/opus, RFC 7587
	KindRED          // audio/red with Opus inside, RFC 2198
	KindVP8          // video/VP8, RFC 7741
	KindVP9          // video/VP9, RFC 9628
	KindAV1          // video/AV1, RTP Payload Format For AV1 v1.0
	KindH264         // video/H264, RFC 6184
	KindH265         // video/H265, RFC 7798
)

// MIME types in the spelling used in SDP and in LiveKit's messages.
const (
	MIMEOpus = "audio/opus"
	MIMERED  = "audio/red"
	MIMEVP8  = "video/VP8"
	MIMEVP9  = "video/VP9"
	MIMEAV1  = "video/AV1"
	MIMEH264 = "video/H264"
	MIMEH265 = "video/H265"
)

// ParseMIME returns the codec of a MIME type such as "video/VP8". Case,
// surrounding space and parameters after a semicolon do not matter. Types that
// are not in the list above give KindUnknown.
func ParseMIME(s string) Kind {
	if i := strings.IndexByte(s, ';'); i >= 0 {
		s = s[:i]
	}
	s = strings.TrimSpace(s)
	for k := KindOpus; k <= KindH265; k++ {
		if strings.EqualFold(s, k.MIME()) {
			return k
		}
	}
	// Written by some encoders; the registered name is H265.
	if strings.EqualFold(s, "video/HEVC") {
		return KindH265
	}
	return KindUnknown
}

// ParseEncodingName returns the codec of an SDP rtpmap encoding name such as
// "opus" or "VP8" for the media type "audio" or "video".
func ParseEncodingName(media, name string) Kind {
	for k := KindOpus; k <= KindH265; k++ {
		m, n, _ := strings.Cut(k.MIME(), "/")
		if strings.EqualFold(media, m) && strings.EqualFold(name, n) {
			return k
		}
	}
	return KindUnknown
}

// MIME returns the MIME type in its usual spelling, "" for KindUnknown.
func (k Kind) MIME() string {
	switch k {
	case KindOpus:
		return MIMEOpus
	case KindRED:
		return MIMERED
	case KindVP8:
		return MIMEVP8
	case KindVP9:
		return MIMEVP9
	case KindAV1:
		return MIMEAV1
	case KindH264:
		return MIMEH264
	case KindH265:
		return MIMEH265
	default:
		return ""
	}
}

// String returns the encoding name of SDP, such as "VP8", or "unknown".
func (k Kind) String() string {
	_, name, ok := strings.Cut(k.MIME(), "/")
	if !ok {
		return "unknown"
	}
	return name
}

// IsAudio reports whether the codec is an audio codec.
func (k Kind) IsAudio() bool { return k == KindOpus || k == KindRED }

// IsVideo reports whether the codec is a video codec.
func (k Kind) IsVideo() bool { return k >= KindVP8 && k <= KindH265 }

// ClockRate returns the RTP clock rate in Hz, 0 for KindUnknown.
func (k Kind) ClockRate() uint32 {
	switch {
	case k.IsAudio():
		return 48000
	case k.IsVideo():
		return 90000
	default:
		return 0
	}
}
