package sdp

import (
	"slices"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// uplinkURIs are taken on what a client sends to the server.
func uplinkURIs(kind Kind) []string {
	if kind == Audio {
		return []string{rtp.URIMID, rtp.URIRID, rtp.URIAudioLevel, rtp.URITWCC, rtp.URIAbsCaptureTime}
	}
	return []string{
		rtp.URIMID, rtp.URIRID, rtp.URIRepairedRID, rtp.URITWCC, rtp.URIDependencyDescriptor, rtp.URIAbsCaptureTime,
		rtp.URIVideoOrientation, rtp.URIPlayoutDelay,
	}
}

// downlinkExtensions are offered on what the server sends, with the ids of its
// own offers. A uri has the same id in every section, as BUNDLE requires
// (RFC 8843 section 9).
func (p *Policy) downlinkExtensions(kind Kind) []Extension {
	out := []Extension{{ID: 4, URI: rtp.URIAbsCaptureTime}}
	switch {
	case p.Downlink == TransportCC:
		out = append(out, Extension{ID: 3, URI: rtp.URITWCC})
	case kind == Video:
		out = append(out, Extension{ID: 2, URI: rtp.URIAbsSendTime})
	}
	if kind == Video {
		out = append(out,
			Extension{ID: 5, URI: rtp.URIDependencyDescriptor},
			Extension{ID: 6, URI: rtp.URIPlayoutDelay},
			Extension{ID: 7, URI: rtp.URIVideoOrientation},
		)
	}
	return out
}

// OfferExtensions returns the header extensions of a section the server
// offers to send on.
func (p *Policy) OfferExtensions(kind Kind) []Extension { return p.downlinkExtensions(kind) }

// SelectExtensions returns the header extensions of a client's section that
// the server takes, with the client's ids. up and down say whether the client
// and the server send on it; with neither, both lists count, so that a section
// keeps its ids while it is idle.
func (p *Policy) SelectExtensions(s *Section, up, down bool) []Extension {
	var uris []string
	if up || !down {
		uris = append(uris, uplinkURIs(s.Kind)...)
	}
	if down || !up {
		for _, e := range p.downlinkExtensions(s.Kind) {
			uris = append(uris, e.URI)
		}
		// Chromium starts a new sender with the extensions that are still
		// negotiated somewhere on the connection: without these it cannot offer
		// simulcast once every section so far receives.
		uris = append(uris, rtp.URIMID, rtp.URIRID, rtp.URIRepairedRID)
	}
	var out []Extension
	for _, e := range s.Extensions {
		if slices.Contains(uris, e.URI) {
			out = append(out, e)
		}
	}
	return out
}

// SelectFeedback returns a copy of codecs without the congestion feedback that
// does not belong to the directions in use: a client that sends is answered
// with transport-cc, a client that receives with the policy's mechanism.
func (p *Policy) SelectFeedback(codecs []Codec, up, down bool) []Codec {
	out := slices.Clone(codecs)
	for i := range out {
		var fb []string
		for _, f := range out[i].Feedback {
			switch {
			case f == "transport-cc" && !up && down && p.Downlink != TransportCC:
			case f == "goog-remb" && (!down || p.Downlink != REMB):
			default:
				fb = append(fb, f)
			}
		}
		out[i].Feedback = fb
	}
	return out
}
