package sdp

import (
	"slices"
	"strings"

	"github.com/concertina-rtc/concertina/internal/media/codec"
)

// Opus format parameters the server writes (RFC 7587 section 6.1).
const opusFmtp = "minptime=10;useinbandfec=1"

// canonicalMime returns the usual spelling of a media type the server knows
// and any other as it is.
func canonicalMime(mime string) string {
	if k := codec.ParseMIME(mime); k != codec.KindUnknown {
		return k.MIME()
	}
	return mime
}

func isRTX(mime string) bool {
	_, name, _ := strings.Cut(mime, "/")
	return strings.EqualFold(name, "rtx")
}

// Parameter returns the value of one format parameter, "" when it is absent.
func Parameter(fmtp, name string) string {
	for p := range strings.SplitSeq(fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// setParameter returns fmtp with the parameter set to value, or without it
// when value is "".
func setParameter(fmtp, name, value string) string {
	var out []string
	for p := range strings.SplitSeq(fmtp, ";") {
		p = strings.TrimSpace(p)
		key, _, _ := strings.Cut(p, "=")
		if p != "" && !strings.EqualFold(key, name) {
			out = append(out, p)
		}
	}
	if value != "" {
		out = append(out, name+"="+value)
	}
	return strings.Join(out, ";")
}

// CodecSpec enables a codec. Fmtp narrows it: only the parameters it names
// must agree, so an empty Fmtp enables every form of the codec the server
// supports.
type CodecSpec struct {
	Mime, Fmtp string
}

// DefaultCodecs returns the codecs that are enabled when nothing is configured.
func DefaultCodecs() []CodecSpec {
	return []CodecSpec{
		{Mime: codec.MIMEOpus}, {Mime: codec.MIMERED}, {Mime: codec.MIMEVP8}, {Mime: codec.MIMEH264},
		{Mime: codec.MIMEVP9}, {Mime: codec.MIMEAV1}, {Mime: codec.MIMEH265},
	}
}

// CongestionControl is how a client reports what it received, which is what a
// bandwidth estimate of its downlink is made of.
type CongestionControl uint8

// The two mechanisms in use. They exclude each other: a client that negotiates
// both sends only transport-wide feedback.
const (
	// REMB has the client estimate (goog-remb over abs-send-time).
	REMB CongestionControl = iota
	// TransportCC has the server estimate from arrival times (transport-cc).
	TransportCC
)

// Policy says what the server takes from an offer and puts in its own.
type Policy struct {
	// Codecs are the enabled codecs; their order is the order of the server's
	// offers.
	Codecs []CodecSpec
	// NoRED leaves audio/red out, for clients that cannot decode it.
	NoRED bool
	// Downlink is the feedback asked of a client for what it receives.
	Downlink CongestionControl
}

// supported returns the codec forms the server can carry with the payload
// types of its own offers. Audio comes first, then video; RTX is always the
// payload type that follows.
func supported() []Codec {
	video := func(mime string, pt uint8, fmtp string) Codec {
		return Codec{
			Mime: mime, PayloadType: pt, RTX: pt + 1, ClockRate: 90000, Fmtp: fmtp,
			Feedback: []string{"goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"},
		}
	}
	h264 := func(pt uint8, mode, profile string) Codec {
		return video(codec.MIMEH264, pt, "level-asymmetry-allowed=1;packetization-mode="+mode+";profile-level-id="+profile)
	}
	return []Codec{
		{Mime: codec.MIMEOpus, PayloadType: 111, ClockRate: 48000, Channels: 2, Fmtp: opusFmtp, Feedback: []string{"nack", "transport-cc"}},
		{Mime: codec.MIMERED, PayloadType: 63, ClockRate: 48000, Channels: 2, Fmtp: "111/111", Feedback: []string{"transport-cc"}},
		video(codec.MIMEVP8, 96, ""),
		h264(125, "1", "42e01f"),
		h264(102, "1", "42001f"),
		h264(108, "0", "42e01f"),
		h264(106, "0", "42001f"),
		video(codec.MIMEVP9, 98, "profile-id=0"),
		video(codec.MIMEVP9, 100, "profile-id=2"),
		video(codec.MIMEAV1, 45, ""),
		video(codec.MIMEH265, 116, ""),
	}
}

// Equal reports whether two payload types carry the same bit stream, so that a
// packet of one can be sent as the other.
func (c *Codec) Equal(o *Codec) bool {
	if !strings.EqualFold(c.Mime, o.Mime) || c.ClockRate != o.ClockRate {
		return false
	}
	same := func(name, absent string) bool {
		a, b := Parameter(c.Fmtp, name), Parameter(o.Fmtp, name)
		if a == "" {
			a = absent
		}
		if b == "" {
			b = absent
		}
		return strings.EqualFold(a, b)
	}
	switch canonicalMime(c.Mime) {
	case codec.MIMEH264:
		return same("packetization-mode", "0") && profileH264(c.Fmtp) == profileH264(o.Fmtp)
	case codec.MIMEVP9:
		return same("profile-id", "0")
	case codec.MIMEAV1:
		return same("profile", "0")
	case codec.MIMEH265:
		return same("profile-id", "1") // RFC 7798 section 7.1: Main
	case codec.MIMEOpus, codec.MIMERED:
		return c.Channels == o.Channels
	}
	return true
}

// profileH264 names the profile of a profile-level-id: constrained baseline
// ("42e0"), baseline ("4200") or else its first four digits. The level, the
// last two digits, does not bind a forwarder (level-asymmetry-allowed).
func profileH264(fmtp string) string {
	id := strings.ToLower(Parameter(fmtp, "profile-level-id"))
	if len(id) != 6 {
		return "4200" // RFC 6184 section 8.1: baseline when absent
	}
	if id[:2] == "42" && strings.ContainsAny(id[2:3], "4567cdef") {
		return "42e0" // constraint_set1_flag
	}
	if id[:2] == "42" {
		return "4200"
	}
	return id[:4]
}

// allows reports whether a spec covers the codec.
func (sp CodecSpec) allows(c *Codec) bool {
	if !strings.EqualFold(sp.Mime, c.Mime) {
		return false
	}
	if sp.Fmtp == "" {
		// Ten-bit VP9 is decoded by few clients: only on request.
		return Parameter(c.Fmtp, "profile-id") != "2"
	}
	for p := range strings.SplitSeq(sp.Fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if key != "" && !strings.EqualFold(Parameter(c.Fmtp, key), value) {
			return false
		}
	}
	return true
}

// Supported returns the enabled codecs of a kind with the payload types of the
// server's own offers, in the order of the policy.
func (p *Policy) Supported(kind Kind) []Codec {
	var out []Codec
	all := supported()
	for _, spec := range p.Codecs {
		for _, c := range all {
			if !strings.HasPrefix(c.Mime, kind.String()+"/") || p.NoRED && c.Mime == codec.MIMERED || !spec.allows(&c) {
				continue
			}
			if !slices.ContainsFunc(out, func(o Codec) bool { return o.PayloadType == c.PayloadType }) {
				out = append(out, c)
			}
		}
	}
	return out
}

// Select returns the codecs of a section, offered or answered by a client,
// that the server supports: with the client's payload types and order, and
// only the feedback both sides know.
func (p *Policy) Select(s *Section) []Codec {
	ours := p.Supported(s.Kind)
	var out []Codec
	for i := range s.Codecs {
		theirs := s.Codecs[i]
		k := slices.IndexFunc(ours, func(o Codec) bool { return o.Equal(&theirs) })
		if k < 0 || theirs.Mime == codec.MIMERED && !redOfOpus(s, &theirs) {
			continue
		}
		var fb []string
		for _, f := range theirs.Feedback {
			if ours[k].HasFeedback(f) && !slices.Contains(fb, f) {
				fb = append(fb, f)
			}
		}
		theirs.Feedback = fb
		out = append(out, theirs)
	}
	return out
}

// redOfOpus reports whether a RED payload type wraps an Opus one of the same
// section (RFC 2198: the fmtp lists the inner payload types).
func redOfOpus(s *Section, red *Codec) bool {
	first, _, _ := strings.Cut(red.Fmtp, "/")
	if first == "" {
		return true // implied
	}
	pt, err := parsePT(first)
	if err != nil {
		return false
	}
	inner := s.Codec(pt)
	return inner != nil && inner.Mime == codec.MIMEOpus
}

// Prefer moves the codecs of a media type to the front and returns the slice.
func Prefer(codecs []Codec, mime string) []Codec {
	if mime == "" {
		return codecs
	}
	slices.SortStableFunc(codecs, func(a, b Codec) int {
		return rank(a.Mime, mime) - rank(b.Mime, mime)
	})
	return codecs
}

func rank(mime, preferred string) int {
	if strings.EqualFold(mime, preferred) {
		return 0
	}
	return 1
}

// Only keeps the codecs of the given media types, in the order of mimes.
func Only(codecs []Codec, mimes []string) []Codec {
	var out []Codec
	for _, m := range mimes {
		for _, c := range codecs {
			if strings.EqualFold(c.Mime, m) {
				out = append(out, c)
			}
		}
	}
	return out
}

// OpusOptions are the Opus parameters an answer or offer sets for one track.
type OpusOptions struct {
	// DTX lets the sender stop in silence (usedtx=1).
	DTX bool
	// Stereo asks for two channels at a bitrate that suits music.
	Stereo bool
	// SpropStereo announces that the server will send two channels.
	SpropStereo bool
}

// WithOpusOptions returns a copy of codecs whose Opus parameters say what the
// options say.
func WithOpusOptions(codecs []Codec, o OpusOptions) []Codec {
	out := slices.Clone(codecs)
	for i := range out {
		if out[i].Mime != codec.MIMEOpus {
			continue
		}
		f := out[i].Fmtp
		if f == "" {
			f = opusFmtp
		}
		f = setParameter(f, "usedtx", when(o.DTX, "1"))
		f = setParameter(f, "stereo", when(o.Stereo, "1"))
		f = setParameter(f, "maxaveragebitrate", when(o.Stereo, "510000"))
		f = setParameter(f, "sprop-stereo", when(o.SpropStereo, "1"))
		out[i].Fmtp = f
	}
	return out
}

func when(on bool, value string) string {
	if on {
		return value
	}
	return ""
}
