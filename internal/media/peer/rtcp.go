package peer

import (
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// maxRTCP bounds one RTCP datagram before encryption, in bytes.
const maxRTCP = 1180

// feedback is the transport-wide feedback for what the client sends: recorded
// on the socket goroutine, built by the tick.
type feedback struct {
	mu       sync.Mutex
	recorder *rtp.TWCCRecorder
	lastAt   time.Time
}

// feedbackEvery is the pace of transport-wide feedback; libwebrtc's bandwidth
// estimate wants it at least every 100 ms.
const feedbackEvery = 50 * time.Millisecond

func (f *feedback) init() { f.recorder = rtp.NewTWCCRecorder() }

func (f *feedback) record(seq uint16, ssrc uint32, at time.Time) {
	f.mu.Lock()
	f.recorder.MediaSSRC = ssrc
	f.recorder.Record(seq, at)
	f.mu.Unlock()
}

// due returns the feedback to send now.
func (f *feedback) due(now time.Time, senderSSRC uint32) []rtcp.Packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.recorder.Pending() == 0 || now.Sub(f.lastAt) < feedbackEvery {
		return nil
	}
	f.lastAt = now
	return f.recorder.Feedback(senderSSRC)
}

// sendRTCP sends packets in as few datagrams as hold them, reduced-size
// (RFC 5506). What cannot be sent is lost, as on a network.
func (p *Peer) sendRTCP(pkts []rtcp.Packet) {
	var buf []byte
	flush := func() {
		if len(buf) > 0 && p.link.WriteRTCP(buf) != nil {
			p.counters.rtcpUnsent.Add(1)
		}
		buf = buf[:0]
	}
	for _, pkt := range pkts {
		b, err := pkt.Marshal()
		if err != nil {
			p.log.Debug("RTCP packet not sent", "error", err)
			continue
		}
		if len(buf)+len(b) > maxRTCP {
			flush()
		}
		buf = append(buf, b...)
	}
	flush()
}

// handleRTCP routes what the client reports. It runs on the socket goroutine.
func (p *Peer) handleRTCP(raw []byte, at time.Time) {
	pkts, err := rtcp.Unmarshal(raw)
	if err != nil {
		p.counters.malformed.Add(1)
		return
	}
	routes := p.routes.Load()
	for _, pkt := range pkts {
		switch t := pkt.(type) {
		case *rtcp.SenderReport:
			if l, ok := p.router.latched[t.SSRC]; ok && !l.rtx && l.up.receiver != nil {
				l.up.receiver.SenderReport(l.layer, t, at)
			}
			routes.reports(t.Reports, at)
		case *rtcp.ReceiverReport:
			routes.reports(t.Reports, at)
		case *rtcp.TransportLayerNack:
			routes.feedback(t.MediaSSRC, pkt, at)
		case *rtcp.PictureLossIndication:
			routes.feedback(t.MediaSSRC, pkt, at)
		case *rtcp.FullIntraRequest:
			for _, e := range t.FIR {
				routes.feedback(e.SSRC, pkt, at)
			}
		case *rtcp.ReceiverEstimatedMaximumBitrate:
			for _, ssrc := range t.SSRCs {
				routes.feedback(ssrc, pkt, at)
			}
		case *rtcp.TransportLayerCC:
			p.counters.transportCC.Add(1) // for the bandwidth estimate
		case *rtcp.Goodbye:
			p.counters.goodbyes.Add(1)
			p.router.forget(t.Sources)
		}
	}
}

// reports gives each report block to the down track it is about.
func (r *routes) reports(blocks []rtcp.ReceptionReport, at time.Time) {
	for i := range blocks {
		if d := r.bySSRC[blocks[i].SSRC]; d != nil {
			if d.mid != nil {
				d.mid.confirmed.Store(true)
			}
			d.track.HandleRTCP(&rtcp.ReceiverReport{Reports: blocks[i : i+1]}, at)
		}
	}
}

func (r *routes) feedback(ssrc uint32, pkt rtcp.Packet, at time.Time) {
	if d := r.bySSRC[ssrc]; d != nil {
		d.track.HandleRTCP(pkt, at)
	}
}

// forget unlatches sources that said goodbye (RFC 3550 section 6.6). A later
// packet of them has to tell again what it is.
func (r *router) forget(sources []uint32) {
	for _, ssrc := range sources {
		l, ok := r.latched[ssrc]
		if !ok {
			continue
		}
		delete(r.latched, ssrc)
		src := &l.up.sources[l.layer]
		if l.rtx {
			src.rtx = 0
		} else {
			src.media = 0
		}
	}
}
