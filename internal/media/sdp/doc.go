// Package sdp is the session description layer of the server: it turns the
// text a client sends into a checked, typed [Session] and writes the answers
// and offers the server sends back (RFC 8866, RFC 8829 JSEP, RFC 8843 BUNDLE).
//
// The package owns the rules that concern text only: what may stand in an
// offer, which of the offered codecs and header extensions the server takes
// ([Policy]), and how an answer mirrors an offer. Every session it accepts is
// one bundled transport, because the server knows no other kind.
//
// It does not negotiate over time: which section carries which track, when to
// make an offer and what changes between two of them is package peer. It opens
// no sockets, reads no clock and keeps no state.
//
// Start with [Parse], then [Answer] and [Offer].
package sdp
