package sfu

import (
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// Rules of retransmission to a viewer.
const (
	// resendInterval is the least time between two retransmissions of one packet
	// while the round trip is not known, and the most when it is.
	resendInterval = 100 * time.Millisecond
	// resendTries is how often one packet is sent again.
	resendTries = 3
)

// Sizes of the map from sent to source numbers, a power of two.
const (
	sentVideo = 512
	sentAudio = 64
)

// sentPacket is what is needed to send a packet again exactly as it was.
type sentPacket struct {
	sn             int64 // 0 = empty; numbers begin above it
	seq            int64 // of the source
	source         uint32
	ts             uint32
	lastResent     time.Duration // since sentPackets.begin
	spatial        int8
	marker         bool
	changed        bool // its dependency descriptor had more than another number
	resent         uint8
	descriptorSize uint8
	descriptor     [codec.MaxVP8Header]byte
	abs            [3]byte
}

// sentPackets maps the numbers a viewer knows to those of the source. The payload
// itself stays in the receiver's history, once for all viewers. The down track
// locks.
type sentPackets struct {
	ring  []sentPacket
	begin time.Time
}

func newSentPackets(video bool) *sentPackets {
	n := sentAudio
	if video {
		n = sentVideo
	}
	return &sentPackets{ring: make([]sentPacket, n)}
}

// add returns the slot for a number, to be overwritten.
func (s *sentPackets) add(sn int64) *sentPacket { return &s.ring[sn&int64(len(s.ring)-1)] }

// find returns the packet sent with that number, nil when it is not remembered.
func (s *sentPackets) find(sn int64) *sentPacket {
	if e := s.add(sn); e.sn == sn && sn != 0 {
		return e
	}
	return nil
}

// due reports whether the packet may be sent again now, and counts it if so.
func (s *sentPackets) due(e *sentPacket, now time.Time, rtt time.Duration) bool {
	if s.begin.IsZero() {
		s.begin = now
	}
	wait := resendInterval
	if rtt > 0 {
		wait = min(rtt, resendInterval)
	}
	since := now.Sub(s.begin)
	if e.resent >= resendTries || (e.resent > 0 && since-e.lastResent < wait) {
		return false
	}
	e.resent++
	e.lastResent = since
	return true
}

// handleNACK sends again what the viewer misses. Repeats within a round trip,
// packets asked for too often and packets from before the present layer began are
// ignored. The caller holds d.mu.
func (d *DownTrack) handleNACK(n *rtcp.TransportLayerNack, at time.Time) {
	d.stats.nacks++
	r := d.receiver.Load()
	if d.sent == nil || r == nil {
		return
	}
	last, _ := d.sn.Last()
	for _, pair := range n.Nacks {
		for mask, id := uint32(pair.LostPackets)<<1|1, pair.PacketID; mask != 0; mask, id = mask>>1, id+1 {
			if mask&1 == 0 {
				continue
			}
			sn := last - int64(uint16(last)-id) //nolint:gosec // the number at or before the last
			if e := d.sent.find(sn); e != nil && sn >= d.joinSN && d.sent.due(e, at, d.stats.rtt) {
				d.resendPacket(r, e, at)
			}
		}
	}
}

// resendPacket sends a packet again, from the receiver's history: as a
// retransmission (RFC 4588) with a number of its own when that was negotiated,
// else as the very same bytes, because one SRTP index must never protect two
// different packets.
func (d *DownTrack) resendPacket(r *Receiver, e *sentPacket, at time.Time) {
	l := r.layer(int(e.spatial))
	if l == nil {
		return
	}
	var p rtp.Packet
	raw := l.stored(d.resend, e.source, e.seq)
	if raw == nil || p.Unmarshal(raw) != nil {
		d.stats.misses++
		return
	}
	d.resend = raw
	payload, ok := d.originalPayload(r, e, &p)
	if !ok {
		d.stats.misses++
		return
	}
	ids := &r.params.Extensions
	dd, ok := d.descriptors.resent(e, p.Extension(ids.DependencyDescriptor)) // the layer, and so its frame offset, is still the same
	if !ok {
		d.stats.misses++
		return
	}
	h := rtp.Header{
		PayloadType: d.payloadType(r.bare(p.PayloadType)), Marker: e.marker,
		SequenceNumber: uint16(e.sn), Timestamp: e.ts, SSRC: d.params.SSRC, //nolint:gosec // wire form
	}
	abs := e.abs
	if d.params.Codec.RTXPayloadType != 0 && d.params.RTXSSRC != 0 {
		abs = d.absSendTime(at)
		h.PayloadType, h.SSRC, h.SequenceNumber = d.params.Codec.RTXPayloadType, d.params.RTXSSRC, d.rtxSN
		d.rtxSN++
	} else {
		payload = payload[2:] // no original sequence number in front
	}
	exts := extensions{
		absCapture:   p.Extension(ids.AbsCaptureTime),
		orientation:  p.Extension(ids.VideoOrientation),
		playoutDelay: p.Extension(ids.PlayoutDelay),
		audioLevel:   p.Extension(ids.AudioLevel),
	}
	d.header = d.appendHeader(d.header[:0], h, &exts, dd, &abs)
	_, err := d.params.Writer.WriteRTP(d.header, payload)
	d.stats.countResent(len(d.header)+len(payload), at, err)
}

// originalPayload builds the payload as it was sent, behind room for the original
// sequence number, which is filled in.
func (d *DownTrack) originalPayload(r *Receiver, e *sentPacket, p *rtp.Packet) (payload []byte, ok bool) {
	body := p.Payload
	if formFor(r.kind, d.kind) == formPlain && !r.bare(p.PayloadType) {
		primary, _, err := codec.REDPrimary(body)
		if err != nil {
			return nil, false
		}
		body = primary
	}
	if e.descriptorSize > 0 {
		var vp8 codec.VP8
		if vp8.Parse(body) != nil {
			return nil, false
		}
		body = body[vp8.HeaderLen:]
	}
	d.payload = append(d.payload[:0], byte(e.sn>>8), byte(e.sn)) //nolint:gosec // wire form
	d.payload = append(d.payload, e.descriptor[:e.descriptorSize]...)
	d.payload = append(d.payload, body...)
	return d.payload, true
}
