package rtp

// ReplayWindow remembers which of the last ReplayWindowSize sequence numbers have
// been used. The zero value is empty.
type ReplayWindow struct {
	bits    [ReplayWindowSize / 64]uint64
	highest int64
	started bool
}

// ReplayWindowSize is how many numbers back a ReplayWindow remembers.
const ReplayWindowSize = 1024

// Accept marks a number as used. It returns false when the number has been used
// before or is too old to tell.
func (w *ReplayWindow) Accept(seq int64) bool {
	switch {
	case !w.started:
		w.highest, w.started = seq, true
	case seq > w.highest:
		w.advance(seq)
	case seq <= w.highest-ReplayWindowSize:
		return false
	}
	word, bit := &w.bits[(seq&(ReplayWindowSize-1))/64], uint64(1)<<(seq&63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// Restart makes every number up to and including highest count as used.
func (w *ReplayWindow) Restart(highest int64) {
	w.highest, w.started = highest, true
	for i := range w.bits {
		w.bits[i] = ^uint64(0)
	}
}

// Reset forgets everything.
func (w *ReplayWindow) Reset() { *w = ReplayWindow{} }

// advance clears the bits of the numbers that come into the window.
func (w *ReplayWindow) advance(seq int64) {
	if seq-w.highest >= ReplayWindowSize {
		clear(w.bits[:])
	} else {
		for s := w.highest + 1; s <= seq; s++ {
			w.bits[(s&(ReplayWindowSize-1))/64] &^= 1 << (s & 63)
		}
	}
	w.highest = seq
}
