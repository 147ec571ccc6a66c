package rtp

import "time"

// rateSlots and rateSlot make the window of a RateMeter one second.
const (
	rateSlots = 10
	rateSlot  = 100 * time.Millisecond
)

// RateMeter measures a rate over the last second. The zero value is ready.
type RateMeter struct {
	slots [rateSlots]uint64
	slot  int64 // number of the newest slot
	begin int64 // number of the first slot ever
	used  bool
}

// Add counts n (bytes, packets, frames) at an instant. Instants may go back a
// little.
func (r *RateMeter) Add(n int, at time.Time) {
	r.advance(at)
	r.slots[r.slot%rateSlots] += uint64(n) //nolint:gosec // counts are positive
}

// PerSecond returns the rate over the window that ends with now, or over the time
// since the first Add when that is shorter.
func (r *RateMeter) PerSecond(now time.Time) float64 {
	if !r.used {
		return 0
	}
	r.advance(now)
	var sum uint64
	for _, n := range r.slots {
		sum += n
	}
	window := min(r.slot-r.begin+1, rateSlots)
	return float64(sum) * float64(time.Second) / float64(time.Duration(window)*rateSlot)
}

func (r *RateMeter) advance(at time.Time) {
	slot := at.UnixNano() / int64(rateSlot)
	if !r.used {
		r.slot, r.begin, r.used = slot, slot, true
		return
	}
	if slot-r.slot >= rateSlots {
		clear(r.slots[:])
		r.slot = slot
	}
	for r.slot < slot {
		r.slot++
		r.slots[r.slot%rateSlots] = 0
	}
}
