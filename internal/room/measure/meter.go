// Package measure judges what clients are shown: how loud somebody speaks
// ([Meter]) and how good a connection is ([Judge]).
//
// It is pure: the time comes with every call, and the caller owns the lock.
// Who is told about it, and when, is package room's. Start at Meter.
package measure

import (
	"math"
	"time"
)

// Levels is LiveKit's definition of an active speaker (audio.* keys).
type Levels struct {
	Active    uint8         // dBov below zero; quieter packets do not count
	Percent   uint8         // share of the window that must be active
	Interval  time.Duration // window, and how often clients are told
	Smoothing uint32        // windows in the moving average; 0 = none
}

// DefaultLevels returns LiveKit's definition.
func DefaultLevels() Levels {
	return Levels{Active: 35, Percent: 40, Interval: 400 * time.Millisecond, Smoothing: 2}
}

// Meter turns the audio levels of one track's packets (RFC 6464) into LiveKit's
// speaker level: over a window, how loud and for how long, smoothed over a few
// windows.
type Meter struct {
	cfg      Levels
	loudest  uint8 // dBov below zero: smaller is louder
	active   time.Duration
	observed time.Duration
	smoothed float64
	last     time.Time
}

// silent is RFC 6464's digital silence.
const silent = 127

// packetTime is Opus' usual frame, counted for a first packet. Later ones stand
// for the time since the one before, as in LiveKit: with DTX a short sound has
// few packets of its own.
const packetTime = 20 * time.Millisecond

// NewMeter returns a meter that has heard nothing.
func NewMeter(cfg Levels) *Meter { return &Meter{cfg: cfg, loudest: silent} }

// Observe takes the level of one packet, in dBov below zero.
func (m *Meter) Observe(level uint8, at time.Time) {
	span := at.Sub(m.last)
	if m.last.IsZero() || span < 0 || span > 2*m.cfg.Interval {
		span = packetTime
	}
	m.last = at
	m.observed += span
	if level <= m.cfg.Active {
		m.active += span
		m.loudest = min(m.loudest, level)
	}
	if m.observed >= m.cfg.Interval {
		m.roll()
	}
}

// roll ends a window.
func (m *Meter) roll() {
	linear := 0.0
	if m.active >= m.cfg.Interval*time.Duration(m.cfg.Percent)/100 && m.active > 0 {
		weight := 20 * math.Log10(float64(m.active)/float64(m.cfg.Interval))
		linear = math.Pow(10, -(float64(m.loudest)-weight)/20)
	}
	alpha := 1.0
	if m.cfg.Smoothing > 0 {
		alpha = 2 / float64(m.cfg.Smoothing+1)
	}
	m.smoothed += (linear - m.smoothed) * alpha
	if linear == 0 {
		m.smoothed = 0
	}
	m.loudest, m.active, m.observed = silent, 0, 0
}

// Level returns the smoothed level, 0 to 1, and whether it counts as speech.
func (m *Meter) Level(now time.Time) (float64, bool) {
	if now.Sub(m.last) > 2*m.cfg.Interval { // DTX, mute or gone
		m.Reset()
	}
	threshold := math.Pow(10, -float64(m.cfg.Active)/20)
	return m.smoothed, m.smoothed >= threshold
}

// Reset forgets what was heard.
func (m *Meter) Reset() {
	m.smoothed, m.loudest, m.active, m.observed = 0, silent, 0, 0
}

// steps quantises levels, so that small changes are not sent.
const steps = 8

// Quantise rounds a level up to the next of the steps that clients are told.
func Quantise(level float64) float32 {
	return float32(math.Ceil(min(level, 1)*steps) / steps)
}
