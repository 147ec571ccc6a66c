package sdp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	psdp "github.com/pion/sdp/v3"
)

// sectionReader collects the lines of one section whose meaning depends on
// other lines, until all have been read.
type sectionReader struct {
	*Section
	rtpmaps   map[uint8]Codec
	fmtps     map[uint8]string
	feedback  map[uint8][]string
	wildcard  []string // a=rtcp-fb:*
	order     []uint8
	groups    map[string][][]uint32 // ssrc-group by semantics
	simulcast []Rid                 // a=simulcast, in its order
	ssrcMsid  string
}

// parse reads one m= section; the attributes of its transport go to t.
func (s *Section) parse(m *psdp.MediaDescription, t *transport) error {
	s.Protocol, s.Formats = strings.Join(m.MediaName.Protos, "/"), m.MediaName.Formats
	switch m.MediaName.Media {
	case "audio":
		s.Kind = Audio
	case "video":
		s.Kind = Video
	case "application":
		s.Kind = Application
	default:
		s.Kind = Application
		s.Rejected = true // unknown media types keep their place and nothing else
	}
	r := sectionReader{
		Section: s, rtpmaps: make(map[uint8]Codec), fmtps: make(map[uint8]string),
		feedback: make(map[uint8][]string), groups: make(map[string][][]uint32),
	}
	if mid, ok := m.Attribute("mid"); ok {
		if mid = strings.TrimSpace(mid); !isToken(mid) {
			return fmt.Errorf("%w: a=mid:%.64q", ErrInvalid, mid)
		}
		s.Mid = mid
	}
	if m.MediaName.Port.Value == 0 {
		if _, bundleOnly := m.Attribute("bundle-only"); !bundleOnly {
			s.Rejected = true
		}
	}
	if s.Rejected {
		s.Direction = Inactive
		return nil
	}
	if err := s.checkProtocol(m.MediaName); err != nil {
		return err
	}
	if s.Kind != Application {
		if err := r.formats(m.MediaName.Formats); err != nil {
			return err
		}
	}
	for _, a := range m.Attributes {
		if err := t.take(a); err != nil {
			return err
		}
		if err := r.attribute(a); err != nil {
			return err
		}
	}
	return r.finish()
}

// checkProtocol refuses transports that are not DTLS.
func (s *Section) checkProtocol(name psdp.MediaName) error {
	switch s.Protocol {
	case "UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF":
		if s.Kind != Application {
			return nil
		}
	case "UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP":
		if s.Kind == Application {
			return nil
		}
	}
	return fmt.Errorf("%w: m=%s with protocol %.32q", ErrInvalid, name.Media, s.Protocol)
}

// isToken holds the token grammar of RFC 8866 for mids and rids, shortened to
// what fits a header extension of a client (RFC 9143 section 15.1 allows 255).
func isToken(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphaNum(c) && !strings.ContainsRune("!#$%&'*+-.^_`{|}~", rune(c)) {
			return false
		}
	}
	return true
}

// parsePT reads a payload type that is usable beside RTCP (RFC 5761 section 4).
func parsePT(s string) (uint8, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n > 127 {
		return 0, fmt.Errorf("%w: payload type %.16q (0 to 127)", ErrInvalid, s)
	}
	if n >= 64 && n <= 95 {
		return 0, fmt.Errorf("%w: payload type %d collides with RTCP (64 to 95)", ErrInvalid, n)
	}
	return uint8(n), nil
}

func (r *sectionReader) formats(formats []string) error {
	if len(formats) > MaxCodecs {
		return fmt.Errorf("%w: %d payload types, at most %d", ErrLimit, len(formats), MaxCodecs)
	}
	var seen [128]bool
	for _, f := range formats {
		pt, err := parsePT(f)
		if err != nil {
			return err
		}
		if seen[pt] {
			return fmt.Errorf("%w: payload type %d stands twice in the m= line", ErrInvalid, pt)
		}
		seen[pt] = true
		r.order = append(r.order, pt)
	}
	return nil
}

func (r *sectionReader) attribute(a psdp.Attribute) error {
	switch a.Key {
	case "sendrecv":
		r.Direction = SendRecv
	case "sendonly":
		r.Direction = SendOnly
	case "recvonly":
		r.Direction = RecvOnly
	case "inactive":
		r.Direction = Inactive
	case "rtcp-mux":
		r.RTCPMux = true
	case "rtcp-rsize":
		r.RTCPReducedSize = true
	case "msid":
		if r.StreamID == "" && r.TrackID == "" {
			r.StreamID, r.TrackID = splitMsid(a.Value)
		}
	case "rtpmap":
		return r.rtpmap(a.Value)
	case "fmtp":
		return r.fmtp(a.Value)
	case "rtcp-fb":
		return r.rtcpFeedback(a.Value)
	case "extmap":
		return r.extmap(a.Value)
	case "ssrc":
		return r.ssrc(a.Value)
	case "ssrc-group":
		return r.ssrcGroup(a.Value)
	case "rid":
		return r.rid(a.Value)
	case "simulcast":
		return r.simulcastLine(a.Value)
	case "sctp-port":
		n, err := strconv.ParseUint(strings.TrimSpace(a.Value), 10, 16)
		if err != nil {
			return fmt.Errorf("%w: a=sctp-port:%.16q", ErrInvalid, a.Value)
		}
		r.SCTPPort = uint16(n)
	case "max-message-size":
		n, err := strconv.ParseUint(strings.TrimSpace(a.Value), 10, 64)
		if err != nil {
			return fmt.Errorf("%w: a=max-message-size:%.24q", ErrInvalid, a.Value)
		}
		r.MaxMessageSize = n
	}
	return nil
}

func splitMsid(v string) (stream, track string) {
	f := strings.Fields(v)
	if len(f) > 0 {
		stream = f[0]
	}
	if len(f) > 1 {
		track = f[1]
	}
	return stream, track
}

func (r *sectionReader) rtpmap(v string) error {
	ptText, rest, _ := strings.Cut(v, " ")
	pt, err := parsePT(ptText)
	if err != nil {
		return fmt.Errorf("a=rtpmap: %w", err)
	}
	if _, twice := r.rtpmaps[pt]; twice {
		return fmt.Errorf("%w: two a=rtpmap lines for payload type %d", ErrInvalid, pt)
	}
	parts := strings.Split(strings.TrimSpace(rest), "/")
	c := Codec{PayloadType: pt, Mime: canonicalMime(r.Kind.String() + "/" + parts[0])}
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" {
		return fmt.Errorf("%w: a=rtpmap:%.64q", ErrInvalid, v)
	}
	rate, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil || rate == 0 {
		return fmt.Errorf("%w: clock rate in a=rtpmap:%.64q", ErrInvalid, v)
	}
	c.ClockRate = uint32(rate)
	if len(parts) == 3 && r.Kind == Audio {
		n, err := strconv.ParseUint(parts[2], 10, 8)
		if err != nil {
			return fmt.Errorf("%w: channels in a=rtpmap:%.64q", ErrInvalid, v)
		}
		c.Channels = uint16(n)
	}
	r.rtpmaps[pt] = c
	return nil
}

func (r *sectionReader) fmtp(v string) error {
	ptText, params, _ := strings.Cut(v, " ")
	if r.Kind == Application {
		return nil
	}
	pt, err := parsePT(ptText)
	if err != nil {
		return fmt.Errorf("a=fmtp: %w", err)
	}
	r.fmtps[pt] = strings.TrimSpace(params)
	return nil
}

func (r *sectionReader) rtcpFeedback(v string) error {
	ptText, fb, _ := strings.Cut(v, " ")
	fb = strings.TrimSpace(fb)
	if ptText == "*" {
		if len(r.wildcard) < MaxCodecs {
			r.wildcard = append(r.wildcard, fb)
		}
		return nil
	}
	pt, err := parsePT(ptText)
	if err != nil {
		return fmt.Errorf("a=rtcp-fb: %w", err)
	}
	if len(r.feedback[pt]) < 32 {
		r.feedback[pt] = append(r.feedback[pt], fb)
	}
	return nil
}

func (r *sectionReader) extmap(v string) error {
	f := strings.Fields(v)
	if len(f) < 2 {
		return fmt.Errorf("%w: a=extmap:%.64q", ErrInvalid, v)
	}
	idText, _, _ := strings.Cut(f[0], "/")
	id, err := strconv.ParseUint(idText, 10, 16)
	switch {
	case err != nil || id == 0:
		return fmt.Errorf("%w: id in a=extmap:%.64q", ErrInvalid, v)
	case id > 255:
		return nil // RFC 8285 section 7: 4096 to 4351 only announce support
	}
	for _, e := range r.Extensions {
		if e.ID == uint8(id) {
			return fmt.Errorf("%w: header extension id %d for %.80q and %.80q", ErrInvalid, id, e.URI, f[1])
		}
		if e.URI == f[1] {
			return nil // the first id of a URI counts
		}
	}
	r.Extensions = append(r.Extensions, Extension{ID: uint8(id), URI: f[1]})
	return nil
}

func (r *sectionReader) ssrc(v string) error {
	idText, attr, _ := strings.Cut(v, " ")
	id, err := strconv.ParseUint(idText, 10, 32)
	if err != nil || id == 0 {
		return fmt.Errorf("%w: a=ssrc:%.32q", ErrInvalid, v)
	}
	name, value, _ := strings.Cut(attr, ":")
	if name == "msid" && r.ssrcMsid == "" {
		r.ssrcMsid = value
	}
	for i := range r.SSRCs {
		if r.SSRCs[i].ID == uint32(id) {
			if name == "cname" {
				r.SSRCs[i].CNAME = value
			}
			return nil
		}
	}
	if len(r.SSRCs) >= MaxSSRCs {
		return fmt.Errorf("%w: more than %d SSRCs", ErrLimit, MaxSSRCs)
	}
	src := SSRC{ID: uint32(id)}
	if name == "cname" {
		src.CNAME = value
	}
	r.SSRCs = append(r.SSRCs, src)
	return nil
}

func (r *sectionReader) ssrcGroup(v string) error {
	f := strings.Fields(v)
	if len(f) < 2 || len(f) > MaxSSRCs {
		return fmt.Errorf("%w: a=ssrc-group:%.64q", ErrInvalid, v)
	}
	ids := make([]uint32, 0, len(f)-1)
	for _, t := range f[1:] {
		id, err := strconv.ParseUint(t, 10, 32)
		if err != nil || id == 0 {
			return fmt.Errorf("%w: a=ssrc-group:%.64q", ErrInvalid, v)
		}
		ids = append(ids, uint32(id))
	}
	if len(r.groups[f[0]]) >= MaxSSRCs {
		return fmt.Errorf("%w: more than %d a=ssrc-group:%s", ErrLimit, MaxSSRCs, f[0])
	}
	r.groups[f[0]] = append(r.groups[f[0]], ids)
	return nil
}

func (r *sectionReader) rid(v string) error {
	f := strings.Fields(v)
	if len(f) < 2 || !isToken(f[0]) || f[1] != "send" && f[1] != "recv" {
		return fmt.Errorf("%w: a=rid:%.64q", ErrInvalid, v)
	}
	if len(r.Rids) >= MaxRids {
		return fmt.Errorf("%w: more than %d a=rid lines", ErrLimit, MaxRids)
	}
	rid := Rid{ID: f[0], Send: f[1] == "send"}
	if slices.Contains(r.Rids, rid) { // once per direction: Pion's later offers have both
		return fmt.Errorf("%w: rid %q declared twice", ErrInvalid, f[0])
	}
	r.Rids = append(r.Rids, rid)
	return nil
}

// simulcastLine reads "send q;h;~f recv a" (RFC 8853 section 5.1). Of
// alternatives, separated by commas, the first counts.
func (r *sectionReader) simulcastLine(v string) error {
	f := strings.Fields(v)
	if len(f) == 0 || len(f)%2 != 0 {
		return fmt.Errorf("%w: a=simulcast:%.64q", ErrInvalid, v)
	}
	r.Simulcast = true
	for i := 0; i < len(f); i += 2 {
		if f[i] != "send" && f[i] != "recv" {
			return fmt.Errorf("%w: a=simulcast:%.64q", ErrInvalid, v)
		}
		for layer := range strings.SplitSeq(f[i+1], ";") {
			id, _, _ := strings.Cut(layer, ",")
			id, paused := strings.CutPrefix(id, "~")
			if len(r.simulcast) >= MaxRids {
				return fmt.Errorf("%w: more than %d simulcast streams", ErrLimit, MaxRids)
			}
			r.simulcast = append(r.simulcast, Rid{ID: id, Send: f[i] == "send", Paused: paused})
		}
	}
	return nil
}

// finish resolves what needed all lines.
func (r *sectionReader) finish() error {
	if r.TrackID == "" && r.ssrcMsid != "" {
		r.StreamID, r.TrackID = splitMsid(r.ssrcMsid)
	}
	if r.Kind == Application {
		if r.SCTPPort == 0 {
			return fmt.Errorf("%w: application section without a=sctp-port", ErrInvalid)
		}
		return nil
	}
	if !r.RTCPMux {
		return fmt.Errorf("%w: no a=rtcp-mux", ErrInvalid)
	}
	r.finishCodecs()
	if err := r.finishRids(); err != nil {
		return err
	}
	return r.finishSSRCs()
}

func (r *sectionReader) finishCodecs() {
	r.Codecs = make([]Codec, 0, len(r.order))
	for _, pt := range r.order {
		c, ok := r.rtpmaps[pt]
		if !ok || isRTX(c.Mime) {
			continue
		}
		c.Fmtp = r.fmtps[pt]
		c.Feedback = append(r.feedback[pt], r.wildcard...)
		r.Codecs = append(r.Codecs, c)
	}
	for _, pt := range r.order {
		c, ok := r.rtpmaps[pt]
		if !ok || !isRTX(c.Mime) {
			continue
		}
		apt, err := parsePT(Parameter(r.fmtps[pt], "apt"))
		if err != nil {
			continue
		}
		if primary := r.Codec(apt); primary != nil && primary.RTX == 0 && primary.ClockRate == c.ClockRate {
			primary.RTX = pt
		}
	}
}

// finishRids puts the rids in simulcast order.
func (r *sectionReader) finishRids() error {
	if len(r.simulcast) == 0 {
		return nil
	}
	ordered := make([]Rid, 0, len(r.Rids))
	for _, sim := range r.simulcast {
		known := false
		for _, rid := range r.Rids {
			known = known || rid.ID == sim.ID && rid.Send == sim.Send
		}
		if !known {
			return fmt.Errorf("%w: a=simulcast names rid %.32q, which no a=rid declares", ErrInvalid, sim.ID)
		}
		for _, o := range ordered {
			if o.ID == sim.ID && o.Send == sim.Send {
				return fmt.Errorf("%w: rid %q stands twice in a=simulcast", ErrInvalid, sim.ID)
			}
		}
		ordered = append(ordered, sim)
	}
	r.Rids = ordered
	return nil
}

// finishSSRCs folds the FID groups into the sources they repair and orders the
// rest by the SIM group.
func (r *sectionReader) finishSSRCs() error {
	repairs := make(map[uint32]uint32) // RTX SSRC -> media SSRC
	media := make(map[uint32]uint32)
	for _, g := range r.groups["FID"] {
		if len(g) != 2 || g[0] == g[1] {
			return fmt.Errorf("%w: a=ssrc-group:FID %v", ErrInvalid, g)
		}
		if repairs[g[1]] != 0 || media[g[0]] != 0 {
			return fmt.Errorf("%w: SSRC in two FID groups: %v", ErrInvalid, g)
		}
		repairs[g[1]], media[g[0]] = g[0], g[1]
	}
	for _, g := range r.groups["FEC-FR"] {
		for _, id := range g[1:] {
			repairs[id] = g[0] // FEC is not used; its sources are no media
		}
	}
	var order []uint32
	for _, g := range r.groups["SIM"] {
		order = append(order, g...)
	}
	for _, src := range r.SSRCs {
		order = append(order, src.ID)
	}
	var out []SSRC
	for _, id := range order {
		if repairs[id] != 0 {
			continue
		}
		src := SSRC{ID: id, RTX: media[id]}
		dup := false
		for _, o := range out {
			dup = dup || o.ID == id
		}
		if dup {
			continue
		}
		for _, declared := range r.SSRCs {
			if declared.ID == id {
				src.CNAME = declared.CNAME
			}
		}
		out = append(out, src)
	}
	if len(out) > MaxSSRCs {
		return fmt.Errorf("%w: more than %d SSRCs", ErrLimit, MaxSSRCs)
	}
	r.SSRCs = out
	return nil
}
