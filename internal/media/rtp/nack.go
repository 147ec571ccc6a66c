package rtp

import "time"

// NackPolicy says when a missing packet is asked for. The zero value of a field
// takes the default.
type NackPolicy struct {
	// Wait is how long a packet may be out of order before it counts as lost
	// (default 20 ms).
	Wait time.Duration
	// Repeat is the least time between two requests for one packet; the round
	// trip is used when it is longer (default 40 ms).
	Repeat time.Duration
	// Tries is the number of requests for one packet (default 5).
	Tries int
	// Window is how many packets back one may be missing (default 512).
	Window int64
}

// maxMissing bounds the packets that one tracker looks for.
const maxMissing = 128

// NackTracker knows which packets of a stream are missing and when to ask the
// sender for them. The zero value uses the default policy.
type NackTracker struct {
	Policy NackPolicy

	missing [maxMissing]missingPacket // ordered by seq
	n       int
	highest int64
	started bool
	// abandoned counts the packets given up.
	abandoned uint64
}

type missingPacket struct {
	seq   int64
	ask   time.Time // when to ask next
	tries int
}

// Received notes the arrival of a packet.
func (t *NackTracker) Received(seq int64, at time.Time) {
	switch {
	case !t.started:
		t.highest, t.started = seq, true
	case seq > t.highest:
		t.expect(t.highest+1, seq, at)
		t.highest = seq
	case t.n > 0:
		t.remove(seq)
	}
}

// Missing returns how many packets are being looked for.
func (t *NackTracker) Missing() int { return t.n }

// Abandoned returns how many packets were given up since the start.
func (t *NackTracker) Abandoned() uint64 { return t.abandoned }

// Reset forgets everything but the policy and the count of packets given up.
func (t *NackTracker) Reset() { t.n, t.started = 0, false }

// Due appends to dst the sequence numbers to ask for now, oldest first, and
// counts them as asked. Packets past their last try are given up.
func (t *NackTracker) Due(dst []uint16, now time.Time, rtt time.Duration) []uint16 {
	p := t.policy()
	repeat := max(p.Repeat, rtt+rtt/4)
	kept := 0
	for i := range t.n {
		m := t.missing[i]
		if m.seq <= t.highest-p.Window {
			t.abandoned++
			continue
		}
		if !now.Before(m.ask) {
			if m.tries == p.Tries {
				t.abandoned++
				continue
			}
			m.tries++
			m.ask = now.Add(repeat)
			dst = append(dst, uint16(m.seq)) //nolint:gosec // wire form
		}
		t.missing[kept] = m
		kept++
	}
	t.n = kept
	return dst
}

// expect adds the packets from..to-1 as missing. Of a gap too large to repair
// only the newest part is kept, and older packets make room for newer ones.
func (t *NackTracker) expect(from, to int64, at time.Time) {
	if from == to {
		return
	}
	if to-from > maxMissing {
		t.abandoned += uint64(to - from - maxMissing) //nolint:gosec // positive
		from = to - maxMissing
	}
	if over := t.n + int(to-from) - maxMissing; over > 0 {
		t.abandoned += uint64(over)
		copy(t.missing[:], t.missing[over:t.n])
		t.n -= over
	}
	ask := at.Add(t.policy().Wait)
	for seq := from; seq < to; seq++ {
		t.missing[t.n] = missingPacket{seq: seq, ask: ask}
		t.n++
	}
}

func (t *NackTracker) remove(seq int64) {
	for i := t.n - 1; i >= 0 && t.missing[i].seq >= seq; i-- {
		if t.missing[i].seq == seq {
			copy(t.missing[i:], t.missing[i+1:t.n])
			t.n--
			return
		}
	}
}

func (t *NackTracker) policy() NackPolicy {
	p := t.Policy
	if p.Wait == 0 {
		p.Wait = 20 * time.Millisecond
	}
	if p.Repeat == 0 {
		p.Repeat = 40 * time.Millisecond
	}
	if p.Tries == 0 {
		p.Tries = 5
	}
	if p.Window == 0 {
		p.Window = 512
	}
	return p
}
