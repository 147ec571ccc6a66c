package rtp

import "time"

// ClockMap ties the RTP timestamps of a stream to its sender's wall clock, as a
// sender report does (RFC 3550 section 6.4.1). The zero value is "not known yet".
type ClockMap struct {
	// NTP and RTP name the same instant.
	NTP uint64
	RTP uint32
	// At is when the report arrived, on our clock.
	At time.Time
}

// Known reports whether a report has been received.
func (c ClockMap) Known() bool { return !c.At.IsZero() }

// NTPOf returns the sender's wall clock at an RTP timestamp within 2^31 ticks of
// the report.
func (c ClockMap) NTPOf(ts, clockRate uint32) uint64 {
	return AddNTP(c.NTP, ticksDuration(int64(int32(ts-c.RTP)), clockRate)) //nolint:gosec // signed distance
}

// RTPOf returns the RTP timestamp at an instant of the sender's wall clock.
func (c ClockMap) RTPOf(ntp uint64, clockRate uint32) uint32 {
	return c.RTP + uint32(Ticks(NTPDuration(ntp, c.NTP), clockRate)) //nolint:gosec // wrap-around arithmetic
}

func ticksDuration(ticks int64, clockRate uint32) time.Duration {
	if clockRate == 0 {
		return 0
	}
	r := int64(clockRate)
	return time.Duration(ticks/r)*time.Second + time.Duration(ticks%r*int64(time.Second)/r)
}

// maxSwitchError is how far the timestamp of a switch that the sender reports
// give may be from the one real time gives. Beyond it the reports are not
// believed: jitter buffers absorb hundreds of milliseconds, not more.
const maxSwitchError = 500 * time.Millisecond

// Switch describes a change of source for [SwitchTimestamp].
type Switch struct {
	ClockRate uint32
	// LastTS is the newest outgoing timestamp, LastAt when its packet passed.
	LastTS uint32
	LastAt time.Time
	// TS is the source timestamp of the new source's first packet and At when it
	// arrived.
	TS uint32
	At time.Time
	// From and To are the clock maps of the old and the new source, if known.
	// FromOffset is what is taken off the old source's timestamps.
	From, To   ClockMap
	FromOffset uint32
	// SameClock says that both are one source, whose timestamps went on meanwhile.
	SameClock bool
}

// SwitchTimestamp returns the outgoing timestamp of the first packet after a
// change of source. It is after LastTS always. Sender reports of both sources
// place it exactly; without them, or when they contradict the clock by more than
// half a second, it advances by the real time that passed.
func SwitchTimestamp(s Switch) uint32 {
	elapsed := max(Ticks(s.At.Sub(s.LastAt), s.ClockRate), 0)
	byClock := s.LastTS + uint32(elapsed) //nolint:gosec // wrap-around arithmetic
	out := byClock
	switch {
	case s.SameClock:
		out = s.TS - s.FromOffset
	case s.From.Known() && s.To.Known():
		out = s.From.RTPOf(s.To.NTPOf(s.TS, s.ClockRate), s.ClockRate) - s.FromOffset
	}
	limit := Ticks(maxSwitchError, s.ClockRate)
	if d := int64(int32(out - byClock)); d > limit || d < -limit { //nolint:gosec // signed distance
		out = byClock
	}
	if !NewerTS(out, s.LastTS) {
		out = s.LastTS + 1
	}
	return out
}
