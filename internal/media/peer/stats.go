package peer

import (
	"sync/atomic"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// counters count what is not anybody's track.
type counters struct {
	malformed, unrouted, wrongPayload atomic.Uint64
	rtcpUnsent, transportCC, goodbyes atomic.Uint64
}

// Stats describe a connection.
type Stats struct {
	Mode  Mode
	State transport.State
	// Protocol is "udp" or "tcp", RemoteAddress the client's address and port;
	// both are empty before the connection is up.
	Protocol, RemoteAddress string
	// RTT is the round-trip time as SCTP measures it, 0 when unknown.
	RTT time.Duration
	// Transport counts what was sent and received.
	Transport transport.ConnStats
	// Uplinks and Downlinks are the tracks in either direction, Waiting those
	// subscribed but not negotiated.
	Uplinks, Downlinks, Waiting int
	// Malformed counts packets that could not be read, Unrouted those of
	// unknown streams, WrongPayload those with a payload type that was not
	// negotiated for their stream.
	Malformed, Unrouted, WrongPayload uint64
	// RTCPUnsent counts RTCP datagrams the transport refused, TransportCC the
	// transport-wide feedback received, Goodbyes the RTCP BYEs.
	RTCPUnsent, TransportCC, Goodbyes uint64
}

// Stats returns a snapshot.
func (p *Peer) Stats() Stats {
	p.mu.Lock()
	conn, waiting, transported := p.link.load(), len(p.pending), p.past
	p.mu.Unlock()
	addConnStats(&transported, conn.Stats())
	s := Stats{
		Mode: p.params.Mode, State: conn.State(), Transport: transported, Waiting: waiting,
		Malformed: p.counters.malformed.Load(), Unrouted: p.counters.unrouted.Load(),
		WrongPayload: p.counters.wrongPayload.Load(), RTCPUnsent: p.counters.rtcpUnsent.Load(),
		TransportCC: p.counters.transportCC.Load(), Goodbyes: p.counters.goodbyes.Load(),
	}
	if _, remote, protocol, ok := conn.SelectedPair(); ok {
		s.Protocol, s.RemoteAddress = protocol, remote.String()
	}
	s.RTT, _ = conn.RTT()
	r := p.routes.Load()
	s.Uplinks, s.Downlinks = len(r.uplinks), len(r.downs)
	return s
}

// addConnStats adds the counters of one connection to those before it.
func addConnStats(sum *transport.ConnStats, s transport.ConnStats) {
	sum.PacketsIn += s.PacketsIn
	sum.BytesIn += s.BytesIn
	sum.PacketsOut += s.PacketsOut
	sum.BytesOut += s.BytesOut
	sum.Undecryptable += s.Undecryptable
	sum.HeldDropped += s.HeldDropped
	sum.RecordsDropped += s.RecordsDropped
	sum.SendErrors += s.SendErrors
}
