package bwe

import "github.com/concertina-rtc/concertina/internal/media/rtp"

// historySize is how many packets are remembered, a power of two: more than 1.5 s
// at 25 Mbit/s.
const historySize = 4096

// Flags of a sentPacket.
const (
	flagSent = 1 << iota
	flagAcked
	flagLost
	flagAssumed // its report was lost, it counts as received
)

// sentPacket is one packet of the history, small because there are many for
// every viewer.
type sentPacket struct {
	at      uint32 // micros, the low 32 bits
	size    uint16
	cluster uint8 // probe cluster, 0 is none
	flags   uint8
}

// sentAt returns when the packet was sent, which is less than 71 minutes ago.
func (p *sentPacket) sentAt(now micros) micros {
	return now - micros(int32(uint32(now)-p.at)) //nolint:gosec // wrap-around arithmetic
}

// history remembers the newest packets by their transport-wide number. The zero
// value is ready.
type history struct {
	ring []sentPacket
	seq  rtp.Unwrapper
}

// add remembers a packet. Numbers that were skipped are forgotten.
func (h *history) add(seq uint16, at micros, size int, cluster uint8) {
	if h.ring == nil {
		h.ring = make([]sentPacket, historySize)
	}
	before, started := h.seq.Highest()
	ext := h.seq.Unwrap(seq)
	if started {
		if ext <= before-historySize {
			return
		}
		if ext-before > historySize {
			clear(h.ring)
			before = ext
		}
		for s := before + 1; s < ext; s++ {
			h.ring[s&(historySize-1)] = sentPacket{}
		}
	}
	h.ring[ext&(historySize-1)] = sentPacket{
		at:      uint32(at), //nolint:gosec // the low bits
		size:    uint16(min(max(size, 0), 1<<16-1)),
		cluster: cluster, flags: flagSent,
	}
}

// place returns the extended number that is nearest to what was sent last, false
// before anything was.
func (h *history) place(seq uint16) (int64, bool) {
	_, ok := h.seq.Highest()
	return h.seq.Peek(seq), ok && h.ring != nil
}

// get returns the packet with an extended number, nil when it is not remembered.
func (h *history) get(seq int64) *sentPacket {
	highest, _ := h.seq.Highest()
	if h.ring == nil || seq > highest || seq <= highest-historySize {
		return nil
	}
	p := &h.ring[seq&(historySize-1)]
	if p.flags&flagSent == 0 {
		return nil
	}
	return p
}

// markLost marks what is neither received nor marked yet in [from, to) and
// returns how many packets that were.
func (h *history) markLost(from, to int64, loss *lossControl) (n uint64) {
	highest, _ := h.seq.Highest()
	from, to = max(from, highest-historySize+1), min(to, highest+1)
	for seq := from; seq < to; seq++ {
		p := &h.ring[seq&(historySize-1)]
		if p.flags == flagSent {
			p.flags |= flagLost
			loss.lost()
			n++
		}
	}
	return n
}

// assume takes as received what no report has covered in [from, to), and returns
// how many bytes that are.
func (h *history) assume(from, to int64) (bytes int) {
	highest, _ := h.seq.Highest()
	from, to = max(from, highest-historySize+1), min(to, highest+1)
	for seq := from; seq < to; seq++ {
		if p := &h.ring[seq&(historySize-1)]; p.flags == flagSent {
			p.flags |= flagAssumed
			bytes += int(p.size)
		}
	}
	return bytes
}

// after returns how many bytes were sent from a number on.
func (h *history) after(from int64) (bytes int) {
	highest, _ := h.seq.Highest()
	for seq := max(from, highest-historySize+1); seq <= highest; seq++ {
		if p := &h.ring[seq&(historySize-1)]; p.flags == flagSent {
			bytes += int(p.size)
		}
	}
	return bytes
}

// outputPeriod is half of the time that output looks back.
const outputPeriod micros = 1_000_000

// output measures what is sent, and which part of it is sent again, over one to
// two seconds.
type output struct {
	from         micros // the present period, 0 is none
	before       bool   // there was one before
	bytes, again [2]int // of both
}

func (o *output) add(at micros, size int, again bool) {
	switch passed := at - o.from; {
	case o.from == 0 || passed >= 2*outputPeriod:
		*o = output{from: at}
	case passed >= outputPeriod:
		*o = output{
			from: o.from + outputPeriod, before: true,
			bytes: [2]int{0, o.bytes[0]}, again: [2]int{0, o.again[0]},
		}
	}
	o.bytes[0] += size
	if again {
		o.again[0] += size
	}
}

// resent returns the part that is sent again.
func (o *output) resent() float64 {
	all := o.bytes[0] + o.bytes[1]
	if all == 0 {
		return 0
	}
	return float64(o.again[0]+o.again[1]) / float64(all)
}

// rate returns the bit rate until now, 0 while too little is known.
func (o *output) rate(now micros) float64 {
	span := now - o.from
	if o.before {
		span += outputPeriod
	}
	if span < outputPeriod/2 {
		return 0
	}
	return float64(o.bytes[0]+o.bytes[1]) * 8e6 / float64(span)
}
