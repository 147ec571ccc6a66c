package rtp

import "time"

// ntpEpochOffset is the number of seconds from 1900 (NTP) to 1970 (Unix).
const ntpEpochOffset = 2208988800

// ToNTP returns the 64-bit NTP timestamp (32.32 fixed point) of an instant.
func ToNTP(t time.Time) uint64 {
	sec := uint64(t.Unix() + ntpEpochOffset)               //nolint:gosec // after 1900
	frac := (uint64(t.Nanosecond()) << 32) / 1_000_000_000 //nolint:gosec // below 1e9
	return sec<<32 | frac
}

// FromNTP returns the instant of a 64-bit NTP timestamp.
func FromNTP(ntp uint64) time.Time {
	sec := int64(ntp>>32) - ntpEpochOffset
	nsec := int64((ntp & 0xffffffff) * 1_000_000_000 >> 32) //nolint:gosec // below 1e9
	return time.Unix(sec, nsec)
}

// NTPMiddle returns the middle 32 bits of an NTP timestamp, the form that LSR
// has in receiver reports (RFC 3550 section 6.4.1).
func NTPMiddle(ntp uint64) uint32 { return uint32(ntp >> 16) } //nolint:gosec // meant to cut

// NTPDuration returns the duration from b to a, both 64-bit NTP timestamps. It
// saturates at about 68 years, which keeps nonsense from a peer harmless.
func NTPDuration(a, b uint64) time.Duration {
	d := int64(a - b) //nolint:gosec // two's complement difference
	return time.Duration(d>>32)*time.Second + time.Duration((d&0xffffffff)*1_000_000_000>>32)
}

// AddNTP returns the NTP timestamp d later.
func AddNTP(ntp uint64, d time.Duration) uint64 {
	sec, nsec := int64(d/time.Second), int64(d%time.Second)
	return ntp + uint64(sec<<32) + uint64(nsec<<32/1_000_000_000) //nolint:gosec // two's complement sum
}

// DLSR returns a duration in units of 1/65536 s, the form it has in receiver
// reports. Negative durations are 0.
func DLSR(d time.Duration) uint32 {
	if d < 0 {
		return 0
	}
	return uint32(d.Seconds() * 65536)
}

// Ticks returns the number of RTP clock ticks in d, rounded; d may be negative.
func Ticks(d time.Duration, clockRate uint32) int64 {
	part := int64(d%time.Second) * int64(clockRate)
	half := int64(time.Second / 2)
	if part < 0 {
		half = -half
	}
	return int64(d/time.Second)*int64(clockRate) + (part+half)/int64(time.Second)
}
