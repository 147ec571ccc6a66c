package bwe

import "math"

// Tuning of the detector (draft-ietf-rmcat-gcc-02 section 5, with a line fitted
// through the delay instead of the Kalman filter).
const (
	trendWindow       = 20   // groups
	trendSmoothing    = 0.9  // share of the past in the smoothed delay
	trendGain         = 4.0  // from slope to threshold
	trendMaxSamples   = 60.0 // a long steady trend counts as much as that many groups
	thresholdStart    = 12.5 // ms
	thresholdMin      = 6.0
	thresholdMax      = 600.0
	thresholdUp       = 0.0087 // per ms, when the trend is outside
	thresholdDown     = 0.039  // per ms, when it is inside
	thresholdOutlier  = 15.0   // ms beyond the threshold that do not move it
	overuseTime       = 10.0   // ms the trend must be outside
	sharpGroups       = 5      // newest groups looked at for a sharp rise
	sharpRise         = 50.0   // ms that they rise without the largest step
	sharpSlope        = 0.4    // ms per ms
	steadyRise        = 0.3    // part of the largest step that the others rise together
	minRise           = 8.0    // ms; below it nothing is a queue
	minTrendSamples   = 4
	maxThresholdDelta = 100.0 // ms between two moves of the threshold that count
)

// signal is what the delay says about the use of the network.
type signal uint8

const (
	normal signal = iota
	overuse
	underuse
)

// trend watches how the one-way delay changes from group to group. Its threshold
// adapts, so that flows which fill the queue do not starve this one.
type trend struct {
	threshold float64
	moved     micros // when the threshold moved last

	n           int // samples since the last reset
	start       micros
	delay       float64 // sum of all steps, in ms
	smoothed    float64
	x, y        [trendWindow]float64 // ms since start, smoothed delay
	steps       [trendWindow]float64 // ms of delay
	spans       [trendWindow]float64 // ms between sendings
	slope       float64
	overFor     float64
	overSamples int

	state signal
	seen  signal // the worst since begin
}

func (t *trend) init() { t.threshold = thresholdStart }

// reset forgets the delays, not the threshold.
func (t *trend) reset() {
	*t = trend{threshold: t.threshold, moved: t.moved, seen: t.seen}
}

// begin starts a report: seen tells afterwards what it showed.
func (t *trend) begin() { t.seen = t.state }

// update takes the newest group and the one before it.
func (t *trend) update(g, before group) {
	sent := float64(g.sendLast-before.sendLast) / 1000
	step := float64(g.arrivalLast-before.arrivalLast)/1000 - sent
	if t.n == 0 {
		t.start = before.arrivalLast
	}
	i := t.n % trendWindow
	t.n++
	t.delay += step
	t.smoothed = trendSmoothing*t.smoothed + (1-trendSmoothing)*t.delay
	t.x[i], t.y[i] = float64(g.arrivalLast-t.start)/1000, t.smoothed
	t.steps[i], t.spans[i] = step, sent
	previous := t.slope
	t.slope = t.fit()
	t.detect(sent, previous, g.arrivalLast)
}

// fit returns the slope of the line through the smoothed delays.
func (t *trend) fit() float64 {
	n := min(t.n, trendWindow)
	if n < 2 {
		return 0
	}
	var sumX, sumY float64
	for i := range n {
		sumX += t.x[i]
		sumY += t.y[i]
	}
	meanX, meanY := sumX/float64(n), sumY/float64(n)
	var num, den float64
	for i := range n {
		num += (t.x[i] - meanX) * (t.y[i] - meanY)
		den += (t.x[i] - meanX) * (t.x[i] - meanX)
	}
	if den == 0 {
		return 0
	}
	return num / den
}

// detect judges the trend and moves the threshold.
func (t *trend) detect(sent, previous float64, at micros) {
	value := min(float64(t.n), trendMaxSamples) * t.slope * trendGain
	was := t.state
	switch {
	case t.sharp():
		t.state = overuse
	case t.n < minTrendSamples:
		t.state = normal
	case value > t.threshold:
		if t.overSamples == 0 {
			t.overFor = sent / 2
		} else {
			t.overFor += sent
		}
		t.overSamples++
		if t.overFor > overuseTime && t.overSamples > 1 && t.slope >= previous && t.rises() {
			t.overFor, t.overSamples = 0, 0
			t.state = overuse
		}
	case value < -t.threshold:
		t.state = underuse
	default:
		t.state = normal
	}
	if value <= t.threshold {
		t.overFor, t.overSamples = 0, 0
	}
	if t.state == overuse || was != overuse && t.seen != overuse {
		t.seen = t.state
	}
	t.adapt(value, at)
}

// adapt moves the threshold towards the trend (section 5.4), slowly up and
// slower down, unless the trend is far outside.
func (t *trend) adapt(value float64, at micros) {
	size := math.Abs(value)
	elapsed := min(float64(at-t.moved)/1000, maxThresholdDelta)
	t.moved = at
	if size > t.threshold+thresholdOutlier || elapsed < 0 {
		return
	}
	k := thresholdDown
	if size > t.threshold {
		k = thresholdUp
	}
	t.threshold = min(max(t.threshold+k*(size-t.threshold)*elapsed, thresholdMin), thresholdMax)
}

// sharp reports whether the newest groups were delayed more and more, by so much
// that waiting for the line to turn would fill the queue.
func (t *trend) sharp() bool {
	n := min(t.n, sharpGroups)
	total, largest, span := 0.0, 0.0, 0.0
	for back := 1; back <= n; back++ {
		i := (t.n - back) % trendWindow
		if t.steps[i] < 0 {
			return false
		}
		total += t.steps[i]
		largest = max(largest, t.steps[i])
		span += t.spans[i]
		if rest := total - largest; rest >= sharpRise && rest >= sharpSlope*span {
			return true
		}
	}
	return false
}

// rises reports whether the delay rises in several steps. A single one, however
// large, is a change of the path or a pause of the radio, and lowering the rate
// would not undo it.
func (t *trend) rises() bool {
	total, largest := 0.0, 0.0
	for i := range min(t.n, trendWindow) {
		total += t.steps[i]
		largest = max(largest, t.steps[i])
	}
	return total >= minRise && total-largest >= steadyRise*largest
}
