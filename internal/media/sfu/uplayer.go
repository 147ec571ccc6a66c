package sfu

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/layer"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// Bounds of a layer's sequence numbers (RFC 3550 appendix A.1).
const (
	maxDropout  = 3000 // ahead: beyond it the source has probably restarted
	maxMisorder = rtp.ReplayWindowSize
)

// Sizes of the publisher's history, which answers viewers' NACKs.
const (
	historyPackets = 1024
	historyBytes   = 1 << 20
	historyRetain  = time.Second
)

// upLayer is one simulcast layer of a published track.
//
// Two locks, taken in this order: push serialises the packets of the layer from
// their arrival to the end of the fan-out and guards what only that needs; mu
// guards what reports, NACKs and statistics read and is held for moments.
type upLayer struct {
	index  int8
	kind   codec.Kind
	params *ReceiverParams

	push      sync.Mutex
	inspector codec.Inspector
	frame     codec.Frame
	unit      layer.Unit
	spatials  int8 // spatial layers seen in a stream without descriptors
	in        inbound
	lastTS    uint32 // of the newest packet
	lastEnd   bool   // the newest packet ended its frame
	red       redForms
	restored  []byte // scratch of PushRTX

	clock atomic.Pointer[rtp.ClockMap]

	mu        sync.Mutex
	ssrc      uint32
	started   bool
	epoch     uint32 // changes when continuity is broken
	seq       rtp.Unwrapper
	window    rtp.ReplayWindow
	resync    uint16 // the number that would confirm a jump
	jumped    bool
	history   *rtp.History
	nack      rtp.NackTracker
	reception rtp.ReceptionStats
	lastAt    time.Time
	stats     upLayerCounters
	rates     *layerRates // of video
}

// upLayerCounters are guarded by upLayer.mu.
type upLayerCounters struct {
	bytes, frames                        rtp.RateMeter
	packets, octets                      uint64
	duplicates, restored, padding        uint64
	keyFrames, nacks, opaque, jumps, bad uint64
	width, height                        uint16
	temporal                             uint8
	pliSent                              uint64
}

func newUpLayer(index int8, kind codec.Kind, p *ReceiverParams) *upLayer {
	l := &upLayer{
		index: index, kind: kind, params: p,
		inspector: codec.NewInspector(kind),
		reception: rtp.NewReceptionStats(p.Codec.ClockRate),
		history:   rtp.NewHistory(historyPackets, historyBytes, historyRetain),
	}
	if p.Kind == Video {
		l.rates = new(layerRates)
	} else {
		l.history = rtp.NewHistory(64, 32<<10, historyRetain)
	}
	return l
}

// accept takes a packet into the books: it places its sequence number, refuses
// duplicates, keeps it for retransmission and fills l.in. restored tells a packet
// that came as a retransmission. It reports whether the packet is to be
// forwarded. The caller holds l.push.
func (l *upLayer) accept(p *rtp.Packet, at time.Time, restored bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if restored && (!l.started || l.ssrc != p.SSRC) {
		return false // a stream does not begin with a retransmission
	}
	if !l.started || l.ssrc != p.SSRC {
		l.begin(p)
	}
	before, had := l.seq.Highest()
	if had && !l.plausible(l.seq.Peek(p.SequenceNumber)-before, p.SequenceNumber, restored) {
		l.stats.bad++
		return false
	}
	seq := l.seq.Unwrap(p.SequenceNumber)
	if !l.window.Accept(seq) {
		l.stats.duplicates++
		return false
	}
	if restored {
		l.stats.restored++
	} else {
		l.reception.Received(seq, p.Timestamp, at)
		l.lastAt = at
	}
	l.nack.Received(seq, at)
	if !p.PaddingOnly() {
		l.history.Put(seq, p.Raw, at)
	} else {
		l.stats.padding++
	}
	l.stats.packets++
	l.stats.octets += uint64(len(p.Payload))
	l.stats.bytes.Add(len(p.Raw), at)
	l.in = inbound{
		at: at, seq: seq, source: p.SSRC, epoch: l.epoch, ts: p.Timestamp, spatial: l.index,
		marker: p.Marker, newest: !had || seq > before, payload: p.Payload, size: len(p.Raw),
	}
	return true
}

// begin starts a new source on this layer: the first, or another SSRC.
func (l *upLayer) begin(p *rtp.Packet) {
	l.ssrc, l.started, l.jumped = p.SSRC, true, false
	l.epoch++
	l.seq, l.window = rtp.Unwrapper{}, rtp.ReplayWindow{}
	l.history.Reset()
	l.nack.Reset()
	l.reception = rtp.NewReceptionStats(l.params.Codec.ClockRate)
	l.clock.Store(nil)
	l.inspector = codec.NewInspector(l.kind)
	l.spatials = 0
	if l.rates != nil {
		*l.rates = layerRates{}
	}
}

// plausible judges the distance of a packet from the newest one. A jump is
// believed when the packet after it follows; continuity is then broken and
// numbering goes on ahead of everything before.
func (l *upLayer) plausible(distance int64, sn uint16, restored bool) bool {
	if distance <= maxDropout && distance > -maxMisorder {
		l.jumped = false
		return true
	}
	if restored {
		return false
	}
	if !l.jumped || sn != l.resync {
		l.jumped, l.resync = true, sn+1
		return false
	}
	l.jumped = false
	highest, _ := l.seq.Highest()
	next := (highest/(1<<16)+2)<<16 + int64(sn) // unique, and the low 16 bits stay
	l.seq.Restart(next - 1)
	l.epoch++
	l.stats.jumps++
	l.window.Reset()
	l.nack.Reset()
	l.history.Reset()
	l.reception = rtp.NewReceptionStats(l.params.Codec.ClockRate)
	return true
}

// senderReport notes the publisher's clock.
func (l *upLayer) senderReport(sr *rtcp.SenderReport, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started && l.ssrc != sr.SSRC {
		return
	}
	l.reception.SenderReport(sr.NTPTime, at)
	ntp := sr.NTPTime
	if ntp == 0 { // the sender has no wall clock (RFC 3550 section 6.4.1)
		ntp = rtp.ToNTP(at)
	}
	l.clock.Store(&rtp.ClockMap{NTP: ntp, RTP: sr.RTPTime, At: at})
}

// clockMap returns the layer's clock, unknown when source is not its SSRC or has
// not reported.
func (l *upLayer) clockMap(source uint32) rtp.ClockMap {
	if c := l.clock.Load(); c != nil && l.sourceIs(source) {
		return *c
	}
	return rtp.ClockMap{}
}

func (l *upLayer) sourceIs(ssrc uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.started && l.ssrc == ssrc
}

// stored copies a packet of the history to dst and returns the copy, nil when the
// history does not have it.
func (l *upLayer) stored(dst []byte, source uint32, seq int64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.started || l.ssrc != source {
		return nil
	}
	raw := l.history.Get(seq)
	if raw == nil {
		return nil
	}
	return append(dst[:0], raw...)
}

func (l *upLayer) lastPacket() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastAt
}

// mediaSSRC returns the layer's SSRC once a packet has been received.
func (l *upLayer) mediaSSRC() (uint32, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ssrc, l.started
}
