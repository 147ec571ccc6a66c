// Package rtp is the arithmetic of the packet path: reading and building RTP
// packets, and the small state machines that a forwarder is made of.
//
// It owns the wire format of RTP (RFC 3550, RFC 8285), the wrap-around of
// sequence numbers, the rewriting of sequence numbers and timestamps ([Munger]),
// the history of sent packets ([History]), what is missing and when to ask for
// it ([NackTracker]), reception statistics ([ReceptionStats]) and transport-wide
// feedback ([TWCCRecorder]).
//
// It does no I/O, reads no clock, starts no goroutine and takes no lock: `now`
// is a parameter and the owner of a value serialises its use. It knows nothing
// of codecs (see codec), of layers (see layer) and of who receives what (see
// sfu).
//
// Start reading at [Packet], then [Munger].
package rtp
