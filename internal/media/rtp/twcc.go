package rtp

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

// Bounds of transport-wide feedback.
const (
	twccWindow     = 2048 // packets remembered; power of two
	twccMaxPackets = 400  // reported by one feedback packet, which keeps it below 1200 bytes
	twccTick       = 250 * time.Microsecond
	twccReference  = 64 * time.Millisecond
)

// Packet status symbols of draft-holmer-rmcat-transport-wide-cc-extensions-01
// section 3.1.1.
const (
	twccNotReceived = 0
	twccSmallDelta  = 1
	twccLargeDelta  = 2
)

// TWCCRecorder notes when the packets of a transport arrived and builds
// transport-wide congestion control feedback from it
// (draft-holmer-rmcat-transport-wide-cc-extensions-01). One recorder serves a
// whole transport: numbers run over all its streams, retransmissions included.
// Make one with [NewTWCCRecorder].
type TWCCRecorder struct {
	// MediaSSRC is what feedback names as its media source: any stream of the
	// transport.
	MediaSSRC uint32

	seq      Unwrapper
	epoch    time.Time // arrivals count from here
	arrivals [twccWindow]twccArrival
	base     int64 // first number not yet reported
	pending  int   // arrivals since the last feedback
	count    uint8 // feedback packets built

	symbols []uint8
	deltas  []int16
}

type twccArrival struct {
	seq int64
	at  time.Duration // since epoch
	set bool
}

// NewTWCCRecorder returns an empty recorder.
func NewTWCCRecorder() *TWCCRecorder { return &TWCCRecorder{} }

// Record notes the arrival of the packet with that transport-wide number. Of
// duplicates the first counts.
func (r *TWCCRecorder) Record(seq uint16, at time.Time) {
	before, started := r.seq.Highest()
	ext := r.seq.Unwrap(seq)
	switch {
	case !started:
		r.epoch, r.base = at.Truncate(twccReference), ext
	case ext <= before-twccWindow:
		return
	case ext >= r.base+twccWindow: // holes beyond the window are not reported
		r.base = ext - twccWindow + 1
	}
	slot := &r.arrivals[ext&(twccWindow-1)]
	if slot.set && slot.seq == ext {
		return
	}
	*slot = twccArrival{seq: ext, at: at.Sub(r.epoch), set: true}
	r.base = min(r.base, ext) // one that was reported as missing came after all
	r.pending++
}

// Pending returns how many packets have arrived since the last Feedback.
func (r *TWCCRecorder) Pending() int { return r.pending }

// Feedback reports everything that arrived since the last call, in as few packets
// as the format allows; nil when nothing did. Call it every 50 to 250 ms.
func (r *TWCCRecorder) Feedback(senderSSRC uint32) []rtcp.Packet {
	if r.pending == 0 {
		return nil
	}
	r.pending = 0
	highest, _ := r.seq.Highest()
	var out []rtcp.Packet
	for r.base <= highest {
		first, ok := r.next(r.base, highest)
		if !ok {
			break
		}
		if first-r.base > twccMaxPackets/2 { // a hole that long says nothing more
			r.base = first
		}
		out = append(out, r.build(senderSSRC, first, highest))
	}
	r.base = highest + 1
	return out
}

// next returns the first packet at or after from that has arrived.
func (r *TWCCRecorder) next(from, highest int64) (int64, bool) {
	for seq := from; seq <= highest; seq++ {
		if a := &r.arrivals[seq&(twccWindow-1)]; a.set && a.seq == seq {
			return seq, true
		}
	}
	return 0, false
}

// build makes one feedback packet that starts at r.base and moves r.base behind
// what it reports. first is the first packet that has arrived.
func (r *TWCCRecorder) build(senderSSRC uint32, first, highest int64) rtcp.Packet {
	start := r.base
	reference := int64(r.arrivals[first&(twccWindow-1)].at / twccReference)
	if r.arrivals[first&(twccWindow-1)].at < 0 {
		reference-- // round down: deltas of the first packet are never negative
	}
	last := reference * int64(twccReference/twccTick) // in ticks
	r.symbols, r.deltas = r.symbols[:0], r.deltas[:0]
	for ; r.base <= highest && len(r.symbols) < twccMaxPackets; r.base++ {
		a := &r.arrivals[r.base&(twccWindow-1)]
		if !a.set || a.seq != r.base {
			r.symbols = append(r.symbols, twccNotReceived)
			continue
		}
		at := int64(a.at / twccTick)
		delta := at - last
		if delta != int64(int16(delta)) { //nolint:gosec // the test for it
			break // too far apart for this packet's deltas: the next begins here
		}
		last = at
		symbol := uint8(twccLargeDelta)
		if delta >= 0 && delta <= 255 {
			symbol = twccSmallDelta
		}
		r.symbols, r.deltas = append(r.symbols, symbol), append(r.deltas, int16(delta)) //nolint:gosec // tested above
	}
	return r.encode(senderSSRC, start, reference)
}

func (r *TWCCRecorder) encode(senderSSRC uint32, start, reference int64) rtcp.Packet {
	b := make([]byte, 20, 24+2*len(r.symbols)+2*len(r.deltas))
	binary.BigEndian.PutUint32(b[4:], senderSSRC)
	binary.BigEndian.PutUint32(b[8:], r.MediaSSRC)
	binary.BigEndian.PutUint16(b[12:], uint16(start))          //nolint:gosec // wire form
	binary.BigEndian.PutUint16(b[14:], uint16(len(r.symbols))) //nolint:gosec // bounded
	binary.BigEndian.PutUint32(b[16:], uint32(reference)<<8)   //nolint:gosec // 24 bits on the wire
	b[19] = r.count
	r.count++
	b = appendTWCCChunks(b, r.symbols)
	i := 0
	for _, s := range r.symbols {
		switch s {
		case twccSmallDelta:
			b = append(b, byte(r.deltas[i])) //nolint:gosec // 0..255
			i++
		case twccLargeDelta:
			b = binary.BigEndian.AppendUint16(b, uint16(r.deltas[i])) //nolint:gosec // two's complement
			i++
		}
	}
	b[0], b[1] = 0x80|rtcp.FormatTCC, byte(rtcp.TypeTransportSpecificFeedback)
	if pad := (4 - len(b)%4) % 4; pad > 0 {
		b[0] |= 0x20
		b = append(b, make([]byte, pad)...)
		b[len(b)-1] = byte(pad)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)/4-1)) //nolint:gosec // bounded
	return (*rtcp.RawPacket)(&b)
}

// appendTWCCChunks writes packet status chunks (section 3.1.2 and 3.1.3): long
// runs as run lengths, the rest as vectors of 14 one-bit or 7 two-bit symbols.
func appendTWCCChunks(b []byte, symbols []uint8) []byte {
	for len(symbols) > 0 {
		run := 1
		for run < len(symbols) && symbols[run] == symbols[0] {
			run++
		}
		if run >= 14 || run == len(symbols) {
			b = binary.BigEndian.AppendUint16(b, uint16(symbols[0])<<13|uint16(run)) //nolint:gosec // at most twccMaxPackets
			symbols = symbols[run:]
			continue
		}
		one := min(14, len(symbols))
		large := false
		for _, s := range symbols[:one] {
			large = large || s == twccLargeDelta
		}
		var chunk uint16
		if !large {
			chunk = 0x8000
			for i, s := range symbols[:one] {
				chunk |= uint16(s) << (13 - i)
			}
			symbols = symbols[one:]
		} else {
			two := min(7, len(symbols))
			chunk = 0xc000
			for i, s := range symbols[:two] {
				chunk |= uint16(s) << (12 - 2*i)
			}
			symbols = symbols[two:]
		}
		b = binary.BigEndian.AppendUint16(b, chunk)
	}
	return b
}
