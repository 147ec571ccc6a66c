package bwe

import "math"

// Tuning of the loss control (draft-ietf-rmcat-gcc-02 section 7; here losses
// count above what the network loses anyway).
const (
	lossInterval   micros = 200_000
	lossPackets           = 20
	lossTolerated         = 0.10 // above the usual, before the estimate is lowered
	lossUnusual           = 0.04 // above the usual, before it no longer grows
	lossSevere            = 0.30
	lossUsualMax          = 0.25
	lossUsualFirst        = 0.05
	lossMemory     micros = 10_000_000 // half of the time the usual is learnt over
	lossNoRelief          = 0.75       // part of a loss that stays although less is sent
	lossReliefTime micros = 700_000
)

// lossVerdict is what the losses of an interval call for.
type lossVerdict uint8

const (
	lossNone lossVerdict = iota
	lossHold
	lossHigh
)

// lossControl tells losses that come of sending too much from those of a bad
// radio, which sending less would not cure.
type lossControl struct {
	received, missing int // of the present interval
	since             micros

	verdict  lossVerdict
	high     bool    // in the last interval; once may be a key frame's burst
	fraction float64 // of the last interval
	smoothed float64

	usual, lowest, before float64 // the least loss of the last 10 to 20 s
	until                 micros
	after                 float64 // loss that the last decrease was for, 0 is none
	afterAt               micros
}

func (l *lossControl) acked() { l.received++ }
func (l *lossControl) lost()  { l.missing++ }

// found takes back a loss: the packet came late.
func (l *lossControl) found() { l.missing = max(l.missing-1, 0) }

// judge returns what to do, once for each interval, and the fraction lost in it.
// Between intervals growth is held as the last one said.
func (l *lossControl) judge(now, rtt micros) (lossVerdict, float64) {
	if l.since == 0 {
		l.since = now
	}
	n := l.received + l.missing
	if n < lossPackets || now-l.since < max(lossInterval, rtt) {
		return min(l.verdict, lossHold), l.fraction
	}
	l.fraction = float64(l.missing) / float64(n)
	if l.until == 0 { // what is lost from the first is more likely the radio's
		l.smoothed = l.fraction
		l.lowest = max(l.lowest, min(l.fraction, lossUsualFirst))
		l.before, l.until = l.lowest, now+lossMemory
	}
	l.smoothed += 0.3 * (l.fraction - l.smoothed)
	l.received, l.missing, l.since = 0, 0, now
	l.learn(now)
	// What chance makes of so few packets is no sign.
	chance := 2 * math.Sqrt(l.smoothed*(1-l.smoothed)/float64(n))
	high := l.fraction-l.usual-chance > lossTolerated
	again := high && l.high
	l.high = high
	switch excess := l.smoothed - l.usual; {
	case again && excess > lossTolerated/2:
		l.verdict = lossHigh
		if l.after == 0 || now-l.afterAt > 5*lossReliefTime {
			l.after, l.afterAt = l.smoothed, now
		}
	case excess > lossUnusual:
		l.verdict = lossHold
	default:
		l.verdict = lossNone
	}
	return l.verdict, l.fraction
}

// learn keeps the loss that is usual: the least of the last seconds, or what
// stayed although the estimate was lowered because of it.
func (l *lossControl) learn(now micros) {
	if now >= l.until {
		l.before, l.lowest, l.until = l.lowest, l.smoothed, now+lossMemory
	}
	l.lowest = min(l.lowest, l.smoothed)
	least := min(l.before, l.lowest)
	if l.after > 0 && now-l.afterAt > lossReliefTime {
		if l.smoothed >= lossNoRelief*l.after {
			l.before, l.lowest = l.smoothed, l.smoothed
			least = l.smoothed
		}
		l.after = 0
	}
	l.usual = min(least, lossUsualMax)
}
