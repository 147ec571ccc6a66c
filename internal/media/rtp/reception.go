package rtp

import (
	"time"

	"github.com/pion/rtcp"
)

// ReceptionStats measures the reception of one stream as RFC 3550 asks: loss
// (appendix A.3) and interarrival jitter (A.8), for receiver reports. Packets
// restored from retransmissions are not counted here, so that the sender learns
// what its network loses.
type ReceptionStats struct {
	clockRate uint32
	started   bool
	base      int64
	highest   int64
	received  int64

	expectedPrior, receivedPrior int64
	fraction                     uint8

	jitter      float64 // in ticks
	lastTransit int64
	lastTS      uint32
	lastAt      time.Time
	haveTransit bool

	lsr   uint32
	lsrAt time.Time
}

// NewReceptionStats returns statistics of a stream with that RTP clock rate.
func NewReceptionStats(clockRate uint32) ReceptionStats { return ReceptionStats{clockRate: clockRate} }

// Received counts a packet; seq is its extended sequence number.
func (s *ReceptionStats) Received(seq int64, ts uint32, at time.Time) {
	if !s.started {
		s.base, s.highest, s.started = seq, seq, true
	}
	s.received++
	if seq < s.highest {
		return // late packets say nothing about jitter
	}
	s.highest = seq
	if s.haveTransit && ts == s.lastTS {
		return // packets of one frame are sent in a burst
	}
	if s.haveTransit {
		d := Ticks(at.Sub(s.lastAt), s.clockRate) - int64(int32(ts-s.lastTS)) //nolint:gosec // signed distance
		if d < 0 {
			d = -d
		}
		if d < 10*int64(s.clockRate) { // a jump of the source's clock is not jitter
			s.jitter += (float64(d) - s.jitter) / 16
		}
	}
	s.lastTS, s.lastAt, s.haveTransit = ts, at, true
}

// SenderReport notes a report of the stream's sender, for LSR and DLSR.
func (s *ReceptionStats) SenderReport(ntp uint64, at time.Time) { s.lsr, s.lsrAt = NTPMiddle(ntp), at }

// Lost returns the packets lost so far; duplicates make it smaller, never
// negative.
func (s *ReceptionStats) Lost() uint32 {
	if !s.started {
		return 0
	}
	return uint32(max(0, min(s.expected()-s.received, 0x7fffff))) //nolint:gosec // bounded to 24 bits
}

// Packets returns the packets received so far.
func (s *ReceptionStats) Packets() int64 { return s.received }

// Jitter returns the interarrival jitter.
func (s *ReceptionStats) Jitter() time.Duration {
	return ticksDuration(int64(s.jitter), s.clockRate)
}

// FractionLost returns the fraction lost between the last two reports, in 1/256.
func (s *ReceptionStats) FractionLost() uint8 { return s.fraction }

// Report returns the reception report block for the interval since the last one.
// ok is false before the first packet.
func (s *ReceptionStats) Report(ssrc uint32, now time.Time) (block rtcp.ReceptionReport, ok bool) {
	if !s.started {
		return block, false
	}
	expected := s.expected() - s.expectedPrior
	lost := expected - (s.received - s.receivedPrior)
	s.expectedPrior, s.receivedPrior = s.expected(), s.received
	s.fraction = 0
	if expected > 0 && lost > 0 {
		s.fraction = uint8(min(lost<<8/expected, 255)) //nolint:gosec // bounded
	}
	block = rtcp.ReceptionReport{
		SSRC:               ssrc,
		FractionLost:       s.fraction,
		TotalLost:          s.Lost(),
		LastSequenceNumber: uint32(s.highest), //nolint:gosec // cycles and number, as on the wire
		Jitter:             uint32(s.jitter),
	}
	if !s.lsrAt.IsZero() {
		block.LastSenderReport, block.Delay = s.lsr, DLSR(now.Sub(s.lsrAt))
	}
	return block, true
}

func (s *ReceptionStats) expected() int64 { return s.highest - s.base + 1 }
