package rtp

import "time"

// History retains the most recent packets of one stream so that they can be sent
// again. Packets are copied into one ring of bytes, back to back, so a small
// packet costs its own size; the index is a ring keyed by the extended sequence
// number. The ring doubles while it goes round faster than the time to retain,
// up to its limit, and then allocates nothing more.
//
// The owner locks: a slice returned by Get is valid until the next Put.
type History struct {
	data []byte
	// head counts the bytes ever written (those skipped at the ring's end
	// included); a packet is whole until head is a full ring past it.
	head     uint64
	index    []historyEntry
	maxBytes uint64
	retain   time.Duration
	lap      time.Time // when the present round began
}

type historyEntry struct {
	seq  int64
	pos  uint64 // of the first byte, in the count of head
	size uint16 // 0 = empty
}

const minHistoryBytes = 8 << 10

// NewHistory returns a history of at most packets packets and maxBytes bytes
// (both rounded up to a power of two) that starts small and grows until it holds
// about retain of the stream.
func NewHistory(packets, maxBytes int, retain time.Duration) *History {
	return &History{
		data:     make([]byte, minHistoryBytes),
		index:    make([]historyEntry, ceilPow2(packets, 16)),
		maxBytes: uint64(ceilPow2(maxBytes, minHistoryBytes)), //nolint:gosec // positive
		retain:   retain,
	}
}

// Put stores a copy of raw under the extended sequence number. Packets above
// MaxPacketSize are not stored.
func (h *History) Put(seq int64, raw []byte, at time.Time) {
	if len(raw) == 0 || len(raw) > MaxPacketSize {
		return
	}
	size, n := uint64(len(h.data)), uint64(len(raw))
	if h.head%size+n > size { // packets do not wrap: the next round begins
		h.head += size - h.head%size
	}
	if h.head%size == 0 {
		if h.head > 0 && at.Sub(h.lap) < h.retain && size < h.maxBytes {
			h.grow()
			size = uint64(len(h.data))
		}
		h.lap = at
	}
	copy(h.data[h.head%size:], raw)
	h.index[seq&int64(len(h.index)-1)] = historyEntry{seq: seq, pos: h.head, size: uint16(n)} //nolint:gosec // checked above
	h.head += n
}

// Get returns the packet stored under the extended sequence number, or nil.
func (h *History) Get(seq int64) []byte {
	e := &h.index[seq&int64(len(h.index)-1)]
	size := uint64(len(h.data))
	if e.size == 0 || e.seq != seq || h.head-e.pos > size {
		return nil
	}
	pos := e.pos % size
	return h.data[pos : pos+uint64(e.size) : pos+uint64(e.size)]
}

// Reset forgets all packets and keeps the memory.
func (h *History) Reset() { clear(h.index) }

// grow doubles the ring. It is called where a round begins, so the old ring is
// exactly the last round: rounds of the new ring are two of the old, and no
// packet wraps in it either.
func (h *History) grow() {
	old := h.data
	for i := range h.index { // what the last round has overwritten is gone for good
		if h.head-h.index[i].pos > uint64(len(old)) {
			h.index[i] = historyEntry{}
		}
	}
	h.data = make([]byte, 2*len(old))
	copy(h.data[(h.head-uint64(len(old)))%uint64(len(h.data)):], old)
}

func ceilPow2(n, least int) int {
	p := least
	for p < n {
		p *= 2
	}
	return p
}
