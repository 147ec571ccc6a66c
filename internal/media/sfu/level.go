package sfu

import (
	"sync/atomic"
	"time"
)

// audioLevel is the latest level a publisher has stated.
type audioLevel struct {
	observer atomic.Pointer[func(level uint8, voice bool, at time.Time)]
	// value packs the level (7 bits), the voice flag and the arrival.
	value atomic.Uint32
	at    atomic.Int64
}

func (a *audioLevel) observe(level uint8, voice bool, at time.Time) {
	v := uint32(level)
	if voice {
		v |= 0x80
	}
	a.value.Store(v)
	a.at.Store(at.UnixNano())
	if f := a.observer.Load(); f != nil && *f != nil {
		(*f)(level, voice, at)
	}
}

func (a *audioLevel) last() (level uint8, at time.Time, voice bool) {
	ns := a.at.Load()
	if ns == 0 {
		return 127, time.Time{}, false
	}
	v := a.value.Load()
	return uint8(v & 0x7f), time.Unix(0, ns), v&0x80 != 0 //nolint:gosec // 7 bits
}
