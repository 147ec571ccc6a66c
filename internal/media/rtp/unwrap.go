package rtp

// Unwrapper extends 16-bit sequence numbers to 64 bits. The zero value is ready:
// the first number is taken as it is.
type Unwrapper struct {
	highest int64
	started bool
}

// Unwrap returns the extended number nearest to the highest one seen so far. A
// number half the range or more behind counts as ahead.
func (u *Unwrapper) Unwrap(v uint16) int64 {
	ext := u.Peek(v)
	if !u.started || ext > u.highest {
		u.highest, u.started = ext, true
	}
	return ext
}

// Peek is Unwrap without remembering the number.
func (u *Unwrapper) Peek(v uint16) int64 {
	if !u.started {
		return int64(v)
	}
	return u.highest + int64(int16(v-uint16(u.highest))) //nolint:gosec // wrap-around arithmetic
}

// Highest returns the highest extended number seen and whether there is one.
func (u *Unwrapper) Highest() (int64, bool) { return u.highest, u.started }

// Restart makes the unwrapper go on from an extended number, as if it had been
// the highest seen.
func (u *Unwrapper) Restart(highest int64) { u.highest, u.started = highest, true }

// NewerSN reports whether sequence number a comes after b, with wrap-around.
func NewerSN(a, b uint16) bool { return a != b && a-b < 1<<15 }

// NewerTS reports whether timestamp a comes after b, with wrap-around.
func NewerTS(a, b uint32) bool { return a != b && a-b < 1<<31 }
