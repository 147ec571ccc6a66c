package sdp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	psdp "github.com/pion/sdp/v3"
)

// Local describes the server's side of a transport.
type Local struct {
	// SessionID stays the same for the life of the connection; Version grows
	// by one with every description (RFC 8829 section 5.2.2).
	SessionID, Version uint64
	ICE                ICE
	Fingerprint        Fingerprint
	// Setup is the role in an offer; SetupNone means actpass, as RFC 8842
	// section 5.2 wants it. Answers are always passive.
	Setup Setup
	// Candidates are values of a=candidate, without the attribute name.
	Candidates []string
}

// Source is what the server sends on a section.
type Source struct {
	// StreamID and TrackID become a=msid; neither may have spaces.
	StreamID, TrackID string
	SSRC              uint32
	// RTX is the source of retransmissions, 0 for none.
	RTX   uint32
	CNAME string
}

// Media is the server's side of one section.
type Media struct {
	// Mid and Kind are taken from the offer in an answer.
	Mid  string
	Kind Kind
	// Reject makes it port 0: the section is dead from then on and only holds
	// its place.
	Reject     bool
	Direction  Direction
	Codecs     []Codec
	Extensions []Extension
	// Source is set when the server sends.
	Source *Source
	// SCTPPort and MaxMessageSize are for application sections; zero means
	// the defaults, 5000 and 262144.
	SCTPPort       uint16
	MaxMessageSize uint64
}

// Defaults of an application section.
const (
	DefaultSCTPPort       = 5000
	DefaultMaxMessageSize = 262144
)

// Answer writes the answer to an offer. media holds one entry for each section
// of the offer, in its order. What the client offered decides the rest: mids,
// protocols and the simulcast rids that are accepted. The server is always the
// DTLS server, so an offer with a=setup:passive has no answer.
func Answer(offer *Session, local *Local, media []Media) (string, error) {
	if len(media) != len(offer.Sections) {
		return "", fmt.Errorf("%w: %d sections answered of %d", ErrInvalid, len(media), len(offer.Sections))
	}
	if offer.Setup == SetupPassive {
		return "", fmt.Errorf("%w: a=setup:passive in an offer; the server is always the DTLS server", ErrInvalid)
	}
	w := newWriter(local, SetupPassive)
	w.mixed(offer.ExtmapAllowMixed)
	for i := range media {
		o, m := &offer.Sections[i], media[i]
		m.Mid, m.Kind = o.Mid, o.Kind
		m.Reject = m.Reject || o.Rejected || m.Kind != Application && len(m.Codecs) == 0
		if m.Reject {
			w.rejected(o)
			continue
		}
		if m.Direction.Send() && !o.Direction.Recv() || m.Direction.Recv() && !o.Direction.Send() {
			return "", fmt.Errorf("%w: mid %q is offered %v and cannot be answered %v", ErrInvalid, m.Mid, o.Direction, m.Direction)
		}
		d := w.section(&m, o.Protocol)
		if m.Kind != Application && m.Direction.Recv() {
			acceptSimulcast(d, o)
		}
	}
	return w.text()
}

// Offer writes an offer of the server with its sections in order.
func Offer(local *Local, media []Media) (string, error) {
	setup := local.Setup
	if setup == SetupNone {
		setup = SetupActPass
	}
	w := newWriter(local, setup)
	w.mixed(true)
	for i := range media {
		m := &media[i]
		if m.Reject && m.Mid != "" && m.Kind != Application {
			w.rejected(&Section{Mid: m.Mid, Kind: m.Kind, Protocol: "UDP/TLS/RTP/SAVPF"})
			continue
		}
		if m.Mid == "" || m.Kind != Application && len(m.Codecs) == 0 {
			return "", fmt.Errorf("%w: section %d of the offer has no mid or no codec", ErrInvalid, i)
		}
		protocol := "UDP/TLS/RTP/SAVPF"
		if m.Kind == Application {
			protocol = "UDP/DTLS/SCTP"
		}
		w.section(m, protocol)
	}
	return w.text()
}

// acceptSimulcast mirrors the rids the client wants to send. The pause marks
// are the sender's own business and are not repeated.
func acceptSimulcast(d *psdp.MediaDescription, offered *Section) {
	ids := offered.SendRids()
	if len(ids) == 0 {
		return
	}
	for _, id := range ids {
		d.WithValueAttribute("rid", id+" recv")
	}
	if offered.Simulcast {
		d.WithValueAttribute("simulcast", "recv "+strings.Join(ids, ";"))
	}
}

// writer assembles a description.
type writer struct {
	local  *Local
	setup  Setup
	out    psdp.SessionDescription
	bundle []string
}

func newWriter(local *Local, setup Setup) *writer {
	return &writer{local: local, setup: setup, out: psdp.SessionDescription{
		Origin: psdp.Origin{
			Username: "-", SessionID: local.SessionID, SessionVersion: local.Version,
			NetworkType: "IN", AddressType: "IP4", UnicastAddress: "0.0.0.0",
		},
		SessionName:      "-",
		TimeDescriptions: []psdp.TimeDescription{{}},
		Attributes: []psdp.Attribute{
			{Key: "ice-lite"},
			{Key: "fingerprint", Value: local.Fingerprint.Hash + " " + local.Fingerprint.Value},
			{Key: "msid-semantic", Value: " WMS *"},
		},
	}}
}

func (w *writer) mixed(on bool) {
	if on {
		w.out.Attributes = append(w.out.Attributes, psdp.Attribute{Key: "extmap-allow-mixed"})
	}
}

// text finishes the description.
func (w *writer) text() (string, error) {
	if len(w.bundle) > 0 {
		group := psdp.Attribute{Key: "group", Value: "BUNDLE " + strings.Join(w.bundle, " ")}
		w.out.Attributes = slices.Insert(w.out.Attributes, 0, group)
	}
	b, err := w.out.Marshal()
	if err != nil {
		return "", fmt.Errorf("sdp: marshal: %w", err)
	}
	return string(b), nil
}

func (w *writer) add(m *Media, port int, protocol string, formats []string) *psdp.MediaDescription {
	d := &psdp.MediaDescription{
		MediaName: psdp.MediaName{
			Media: m.Kind.String(), Port: psdp.RangedPort{Value: port},
			Protos: strings.Split(protocol, "/"), Formats: formats,
		},
		ConnectionInformation: &psdp.ConnectionInformation{
			NetworkType: "IN", AddressType: "IP4", Address: &psdp.Address{Address: "0.0.0.0"},
		},
	}
	w.out.MediaDescriptions = append(w.out.MediaDescriptions, d)
	if m.Mid != "" {
		d.WithValueAttribute("mid", m.Mid)
	}
	return d
}

// rejected keeps the place of a dead section.
func (w *writer) rejected(o *Section) {
	formats := o.Formats
	if len(formats) == 0 {
		formats = []string{"0"}
	}
	d := w.add(&Media{Mid: o.Mid, Kind: o.Kind}, 0, o.Protocol, formats)
	d.WithPropertyAttribute("inactive")
}

// section writes one living section.
func (w *writer) section(m *Media, protocol string) *psdp.MediaDescription {
	if m.Kind == Application {
		return w.application(m, protocol)
	}
	formats := make([]string, 0, 2*len(m.Codecs))
	for _, c := range m.Codecs {
		formats = append(formats, strconv.Itoa(int(c.PayloadType)))
	}
	for _, c := range m.Codecs {
		if c.RTX != 0 {
			formats = append(formats, strconv.Itoa(int(c.RTX)))
		}
	}
	d := w.add(m, 9, protocol, formats)
	w.transport(d, m)
	d.WithPropertyAttribute("rtcp-mux").WithPropertyAttribute("rtcp-rsize")
	d.WithPropertyAttribute(m.Direction.String())
	for _, e := range m.Extensions {
		d.WithValueAttribute("extmap", strconv.Itoa(int(e.ID))+" "+e.URI)
	}
	for i := range m.Codecs {
		writeCodec(d, &m.Codecs[i])
	}
	if m.Source != nil && m.Direction.Send() {
		writeSource(d, m.Source)
	}
	return d
}

// transport writes the bundle's transport; only the first section carries the
// candidates (RFC 8843 section 10.1.1).
func (w *writer) transport(d *psdp.MediaDescription, m *Media) {
	first := len(w.bundle) == 0
	w.bundle = append(w.bundle, m.Mid)
	d.WithICECredentials(w.local.ICE.Ufrag, w.local.ICE.Pwd)
	d.WithValueAttribute("setup", w.setup.String())
	if !first {
		return
	}
	for _, c := range w.local.Candidates {
		d.WithCandidate(strings.TrimPrefix(c, "candidate:"))
	}
	d.WithPropertyAttribute("end-of-candidates")
}

func (w *writer) application(m *Media, protocol string) *psdp.MediaDescription {
	d := w.add(m, 9, protocol, []string{"webrtc-datachannel"})
	w.transport(d, m)
	port, size := m.SCTPPort, m.MaxMessageSize
	if port == 0 {
		port = DefaultSCTPPort
	}
	if size == 0 {
		size = DefaultMaxMessageSize
	}
	d.WithPropertyAttribute("sendrecv")
	d.WithValueAttribute("sctp-port", strconv.Itoa(int(port)))
	d.WithValueAttribute("max-message-size", strconv.FormatUint(size, 10))
	return d
}

func writeCodec(d *psdp.MediaDescription, c *Codec) {
	pt := strconv.Itoa(int(c.PayloadType))
	_, name, _ := strings.Cut(c.Mime, "/")
	rate := strconv.FormatUint(uint64(c.ClockRate), 10)
	rtpmap := pt + " " + name + "/" + rate
	if c.Channels > 1 {
		rtpmap += "/" + strconv.Itoa(int(c.Channels))
	}
	d.WithValueAttribute("rtpmap", rtpmap)
	if c.Fmtp != "" {
		d.WithValueAttribute("fmtp", pt+" "+c.Fmtp)
	}
	for _, fb := range c.Feedback {
		d.WithValueAttribute("rtcp-fb", pt+" "+fb)
	}
	if c.RTX != 0 {
		rtx := strconv.Itoa(int(c.RTX))
		d.WithValueAttribute("rtpmap", rtx+" rtx/"+rate)
		d.WithValueAttribute("fmtp", rtx+" apt="+pt)
	}
}

func writeSource(d *psdp.MediaDescription, s *Source) {
	d.WithValueAttribute("msid", s.StreamID+" "+s.TrackID)
	id := strconv.FormatUint(uint64(s.SSRC), 10)
	if s.RTX == 0 {
		d.WithValueAttribute("ssrc", id+" cname:"+s.CNAME)
		return
	}
	rtx := strconv.FormatUint(uint64(s.RTX), 10)
	d.WithValueAttribute("ssrc-group", "FID "+id+" "+rtx)
	d.WithValueAttribute("ssrc", id+" cname:"+s.CNAME)
	d.WithValueAttribute("ssrc", rtx+" cname:"+s.CNAME)
}
