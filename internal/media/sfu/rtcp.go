package sfu

import (
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/layer"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// appendNACKs appends the requests for packets the publisher should send again.
func (r *Receiver) appendNACKs(out []rtcp.Packet, now time.Time) []rtcp.Packet {
	rtt := time.Duration(r.rtt.Load())
	for _, l := range r.layers {
		if l == nil {
			continue
		}
		l.mu.Lock()
		r.nackBuf = l.nack.Due(r.nackBuf[:0], now, rtt)
		ssrc := l.ssrc
		l.stats.nacks += uint64(len(r.nackBuf))
		l.mu.Unlock()
		if len(r.nackBuf) > 0 {
			out = append(out, &rtcp.TransportLayerNack{
				SenderSSRC: r.params.SenderSSRC, MediaSSRC: ssrc,
				Nacks: rtcp.NackPairsFromSequenceNumbers(r.nackBuf),
			})
		}
	}
	return out
}

// appendReport appends a receiver report about all layers that send.
func (r *Receiver) appendReport(out []rtcp.Packet, now time.Time) []rtcp.Packet {
	var blocks []rtcp.ReceptionReport
	for _, l := range r.layers {
		if l == nil {
			continue
		}
		l.mu.Lock()
		if block, ok := l.reception.Report(l.ssrc, now); ok {
			blocks = append(blocks, block)
		}
		l.mu.Unlock()
	}
	if len(blocks) == 0 {
		return out
	}
	return append(out, &rtcp.ReceiverReport{SSRC: r.params.SenderSSRC, Reports: blocks})
}

// HandleRTCP takes one packet of the viewer's RTCP: receiver reports, NACK, PLI,
// FIR and REMB that concern this down track; anything else is ignored.
func (d *DownTrack) HandleRTCP(pkt rtcp.Packet, at time.Time) {
	switch p := pkt.(type) {
	case *rtcp.ReceiverReport:
		d.handleReports(p.Reports, at)
	case *rtcp.SenderReport:
		d.handleReports(p.Reports, at)
	case *rtcp.TransportLayerNack:
		if p.MediaSSRC == d.params.SSRC {
			d.mu.Lock()
			if !d.closed {
				d.handleNACK(p, at)
			}
			d.mu.Unlock()
		}
	case *rtcp.PictureLossIndication:
		if p.MediaSSRC == d.params.SSRC {
			d.handlePLI()
		}
	case *rtcp.FullIntraRequest:
		for _, e := range p.FIR {
			if e.SSRC == d.params.SSRC {
				d.handlePLI()
				break
			}
		}
	case *rtcp.ReceiverEstimatedMaximumBitrate:
		d.mu.Lock()
		d.stats.remb = uint64(max(p.Bitrate, 0))
		d.mu.Unlock()
	}
}

// handlePLI asks for a key frame of the layer the viewer is on, or of the one it
// is about to get.
func (d *DownTrack) handlePLI() {
	d.mu.Lock()
	d.stats.plis++
	spatial := d.sel.Current().Spatial
	if spatial == layer.None {
		spatial = d.sel.Wanted()
	}
	paused := d.sel.Paused() || d.closed
	d.mu.Unlock()
	if r := d.receiver.Load(); r != nil && !paused && spatial != layer.None {
		r.RequestKeyFrame(int(spatial))
	}
}

func (d *DownTrack) handleReports(reports []rtcp.ReceptionReport, at time.Time) {
	for i := range reports {
		if reports[i].SSRC != d.params.SSRC {
			continue
		}
		d.mu.Lock()
		d.stats.report(&reports[i], at, d.params.Codec.ClockRate)
		d.mu.Unlock()
	}
}

// SenderReport returns the report for this viewer, nil until the publisher has
// sent its first. It states the publisher's own wall clock at this moment and the
// viewer's RTP timestamp of the same instant. Both are moved on from the
// publisher's report by the same time, so the relation between a participant's
// audio and video that receivers synchronise by is exactly the publisher's.
func (d *DownTrack) SenderReport(now time.Time) *rtcp.SenderReport {
	r := d.receiver.Load()
	if r == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	offset, ok := d.sn.TSOffset()
	if !ok || d.closed {
		return nil
	}
	clock := r.clockOf(d.source)
	if !clock.Known() {
		return nil
	}
	since := max(now.Sub(clock.At), 0)
	rate := r.params.Codec.ClockRate
	sr := &rtcp.SenderReport{
		SSRC:        d.params.SSRC,
		NTPTime:     rtp.AddNTP(clock.NTP, since),
		RTPTime:     clock.RTP + uint32(rtp.Ticks(since, rate)) - offset, //nolint:gosec // wrap-around arithmetic
		PacketCount: uint32(d.stats.packets),                             //nolint:gosec // wraps on the wire
		OctetCount:  uint32(d.stats.octets),                              //nolint:gosec // wraps on the wire
	}
	d.stats.sentReport(sr.NTPTime, now)
	return sr
}

// CNAME returns the canonical name that goes with the sender reports.
func (d *DownTrack) CNAME() string { return d.params.CNAME }
