package rtp

// Munger rewrites the sequence numbers and timestamps of one or more sources
// into one continuous outgoing stream. Sources follow each other (a viewer's
// simulcast layer changes, a track is paused and resumed); within a source some
// packets are left out (temporal layers, padding) and others are put in (padding,
// silence). The output has no holes but those of packets that are missing in the
// source, and a packet that arrives late finds the number left free for it, also
// when the stream has moved on to another source since.
//
// A source is named by any number unique among those of one Munger (its SSRC).
// Its sequence numbers are extended ones. Every packet is given to exactly one of
// Map, Drop and Late, once; duplicates are the caller's to remove.
type Munger struct {
	// ranges is a ring of the latest pieces of the number line; the newest is
	// current.
	ranges [mungerRanges]MungerRange
	count  int64 // ranges ever begun
	last   int64 // highest outgoing number, extended
	lastTS uint32
}

// mungerRanges bounds how far back a late packet can be mapped: to that many
// gaps, that is seconds of a stream with temporal layers left out.
const mungerRanges = 64

// MungerRange is a run of source packets with one offset.
type MungerRange struct {
	Source uint32
	// Start and End are extended source numbers, both inclusive. End < Start
	// means that no packet of the range has been seen.
	Start, End int64
	// Offset is what is taken off a sequence number, TSOffset off a timestamp.
	Offset   int64
	TSOffset uint32
}

// MungerState is everything that another Munger needs to go on.
type MungerState struct {
	LastSN int64
	LastTS uint32
	// Ranges are oldest first; the last is current.
	Ranges []MungerRange
}

// NewMunger returns a munger whose first packet gets the sequence number sn.
// Start below 2^15, so that a lost first packet cannot make a receiver guess the
// SRTP rollover wrong (RFC 3711 section 3.3.1).
func NewMunger(sn uint16) *Munger { return &Munger{last: int64(sn) - 1} }

// Switch begins a source (or goes on with the same one after a pause): packet
// seq, whose timestamp is ts, becomes the next outgoing packet with the timestamp
// outTS. The packet itself is then given to Map.
func (m *Munger) Switch(source uint32, seq int64, ts, outTS uint32) {
	m.begin(MungerRange{Source: source, Start: seq, End: seq - 1, Offset: seq - (m.last + 1), TSOffset: ts - outTS})
}

// Map returns the outgoing sequence number (extended; its low 16 bits go on the
// wire) and timestamp of a packet that is newer than all before it. ok is false
// when it is not, or not of the current source.
func (m *Munger) Map(source uint32, seq int64, ts uint32) (sn int64, outTS uint32, ok bool) {
	r := m.current()
	if r == nil || r.Source != source || seq <= r.End {
		return 0, 0, false
	}
	r.End = seq
	m.last, m.lastTS = seq-r.Offset, ts-r.TSOffset
	return m.last, m.lastTS, true
}

// Drop leaves out a packet that is newer than all before it: the next one gets
// its number. Its timestamp counts as reached all the same, because packets
// missing before it may still come. Any other packet changes nothing.
func (m *Munger) Drop(source uint32, seq int64, ts uint32) {
	r := m.current()
	if r == nil || r.Source != source || seq <= r.End {
		return
	}
	if seq-1 > r.End { // those missing in between keep their numbers
		r.End = seq - 1
		m.last = r.End - r.Offset
	}
	if out := ts - r.TSOffset; NewerTS(out, m.lastTS) {
		m.lastTS = out
	}
	m.split(r, seq+1, r.Offset+1)
}

// Skip says that the packets missing before seq, which is the next to be given to
// Drop, are left out too: no numbers are kept for them.
func (m *Munger) Skip(source uint32, seq int64) {
	r := m.current()
	if r == nil || r.Source != source || seq-1 <= r.End {
		return
	}
	m.split(r, seq, r.Offset+seq-1-r.End)
}

// Late returns the number and timestamp that were left free for a packet which
// comes after newer ones. ok is false when there is none: the packet is older than
// what is remembered, or from a time when its source was not wanted. A packet not
// meant for the receiver after all should still be sent, empty, or the receiver
// waits for its number.
func (m *Munger) Late(source uint32, seq int64, ts uint32) (sn int64, outTS uint32, ok bool) {
	for i := m.count - 1; i >= 0 && i >= m.count-mungerRanges; i-- {
		r := &m.ranges[i%mungerRanges]
		if r.Source == source && seq >= r.Start && seq <= r.End {
			return seq - r.Offset, ts - r.TSOffset, true
		}
	}
	return 0, 0, false
}

// Insert returns a fresh number for a packet of the forwarder's own, between the
// newest packet and the next one, whether that comes from the current source or
// from one still to be switched to.
func (m *Munger) Insert() int64 {
	m.last++
	if r := m.current(); r != nil {
		m.split(r, r.End+1, r.Offset-1)
	}
	return m.last
}

// Last returns the newest outgoing sequence number and timestamp; before the
// first packet they are one before the first number and 0.
func (m *Munger) Last() (sn int64, ts uint32) { return m.last, m.lastTS }

// SetLastTS notes the timestamp of a packet of the forwarder's own.
func (m *Munger) SetLastTS(ts uint32) { m.lastTS = ts }

// Source returns the current source.
func (m *Munger) Source() (source uint32, ok bool) {
	if r := m.current(); r != nil {
		return r.Source, true
	}
	return 0, false
}

// TSOffset returns what is taken off the current source's timestamps.
func (m *Munger) TSOffset() (offset uint32, ok bool) {
	if r := m.current(); r != nil {
		return r.TSOffset, true
	}
	return 0, false
}

// State returns the munger as a value that [Munger.Restore] accepts.
func (m *Munger) State() MungerState {
	s := MungerState{LastSN: m.last, LastTS: m.lastTS}
	for i := max(0, m.count-mungerRanges); i < m.count; i++ {
		s.Ranges = append(s.Ranges, m.ranges[i%mungerRanges])
	}
	return s
}

// Restore makes the munger go on where the one that gave the state stopped.
func (m *Munger) Restore(s MungerState) {
	*m = Munger{last: s.LastSN, lastTS: s.LastTS}
	if over := len(s.Ranges) - mungerRanges; over > 0 {
		s.Ranges = s.Ranges[over:]
	}
	for _, r := range s.Ranges {
		m.begin(r)
	}
}

func (m *Munger) current() *MungerRange {
	if m.count == 0 {
		return nil
	}
	return &m.ranges[(m.count-1)%mungerRanges]
}

func (m *Munger) begin(r MungerRange) {
	m.ranges[m.count%mungerRanges] = r
	m.count++
}

// split lets the current range go on from start with another offset. A range
// without packets is replaced.
func (m *Munger) split(r *MungerRange, start, offset int64) {
	next := MungerRange{Source: r.Source, Start: start, End: start - 1, Offset: offset, TSOffset: r.TSOffset}
	if r.End < r.Start {
		*r = next
		return
	}
	m.begin(next)
}
