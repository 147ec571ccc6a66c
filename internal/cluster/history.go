package cluster

import "time"

// maxHistorySlots bounds the memory of a History.
const maxHistorySlots = 1 << 16

// historyWeight is what a new day counts against the days before it.
const historyWeight = 0.5

// Scaling is what the autoscaler remembers between two ticks. It is part of the
// state, so that a new leader, a replay and a dry run decide alike.
type Scaling struct {
	LastOut   time.Time    `json:"last_out,omitzero"` // last time nodes were added
	LastIn    time.Time    `json:"last_in,omitzero"`  // last time nodes were removed
	Announced Announcement `json:"announced,omitzero"`
	History   History      `json:"history,omitzero"`
}

// Announcement is the advice last given to an operator who launches nodes by
// hand, and the situation in which it was given.
type Announcement struct {
	At       time.Time `json:"at,omitzero"`
	NewNodes int       `json:"new_nodes,omitempty"`
	Active   int       `json:"active,omitempty"` // running + launching nodes at the time
}

// History is the total load by time of season (a day, by default), averaged
// over the seasons seen with recent ones counting most.
type History struct {
	Slots []HistorySlot `json:"slots,omitempty"`
}

// HistorySlot is one bucket of a History.
type HistorySlot struct {
	Total   float64 `json:"total"`             // average over the seasons, percent points
	Seasons int     `json:"seasons,omitempty"` // how many seasons have been seen
	Current float64 `json:"current,omitempty"` // highest value of the season under way
	Start   int64   `json:"start,omitempty"`   // Unix time of the bucket under way
}

// At returns the slot for time t, filled by the seasons before t's own, and
// whether there was one.
func (h *History) At(t time.Time, p Policy) (HistorySlot, bool) {
	if len(h.Slots) == 0 {
		return HistorySlot{}, false
	}
	s := h.Slots[slotOf(t, p)%len(h.Slots)]
	if s.Start != 0 && s.Start < bucketOf(t, p) {
		s.fold()
	}
	return s, s.Seasons > 0
}

// slotOf is the index of the bucket of the season that t is in. Seasons and
// buckets are counted from the Unix epoch, in whole seconds.
func slotOf(t time.Time, p Policy) int {
	season, bucket := int64(p.HistorySeason/time.Second), int64(p.HistoryBucket/time.Second)
	return int(modulo(t.Unix(), season) / bucket)
}

// bucketOf is the Unix time at which the bucket that t is in began.
func bucketOf(t time.Time, p Policy) int64 {
	return t.Unix() - modulo(t.Unix(), int64(p.HistoryBucket/time.Second))
}

// modulo is never negative.
func modulo(a, b int64) int64 { return (a%b + b) % b }

// observe adds a sample. A bucket's value joins the average of the seasons when
// the same bucket comes round again.
func (h *History) observe(t time.Time, total float64, p Policy) {
	if n := int(p.HistorySeason / p.HistoryBucket); len(h.Slots) != n {
		h.Slots = make([]HistorySlot, n)
	}
	s := &h.Slots[slotOf(t, p)]
	start := bucketOf(t, p)
	if s.Start == start {
		s.Current = max(s.Current, total)
		return
	}
	if s.Start != 0 {
		s.fold()
	}
	s.Start, s.Current = start, total
}

func (s *HistorySlot) fold() {
	if s.Seasons == 0 {
		s.Total = s.Current
	} else {
		s.Total += historyWeight * (s.Current - s.Total)
	}
	s.Seasons++
}
