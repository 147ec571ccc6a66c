package bwe_test

import (
	"fmt"
	"testing"
	"time"
)

// TestFallAndRise repeats the step of the network over many networks and chances:
// within 2 s of the fall the viewer is on what fits, for good; no picture is
// missing for longer than a second; 10 s after the rise the best layer is back.
func TestFallAndRise(t *testing.T) {
	for _, kbps := range []float64{300, 500, 800, 1200} {
		for _, delay := range []time.Duration{5, 40, 100} {
			for _, jitter := range []time.Duration{0, 12} {
				for seed := range uint64(3) {
					name := fmt.Sprintf("%.0f kbps, %d ms, jitter %d ms, seed %d", kbps, delay, jitter, seed)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						fallAndRise(t, kbps*1000, delay*time.Millisecond, jitter*time.Millisecond, seed)
					})
				}
			}
		}
	}
}

func fallAndRise(t *testing.T, rate float64, delay, jitter time.Duration, seed uint64) {
	w := newWorld(seed)
	l := &link{world: w, rate: 5_000_000, queue: 3 * time.Second, delay: delay, jitter: jitter}
	v := newViewer(w, "a", l, false, 1_000_000)
	v.back = delay
	v.log = func(format string, args ...any) { t.Logf("%7.2f "+format, append([]any{w.now.Seconds()}, args...)...) }
	w.run(10 * time.Second)
	if v.layer() != "s2t2" {
		t.Errorf("is on %s before the fall", v.layer())
	}
	v.freeze, l.longest = 0, 0
	l.rate = rate
	w.run(12 * time.Second)
	if !v.fits(rate) {
		t.Errorf("is on %s 2 s after the fall", v.layer())
	}
	w.run(30 * time.Second)
	// What is too much until the sender can know of it waits in any case.
	reaction := 280*time.Millisecond + 2*delay + jitter
	wait := time.Duration((layerRates[2]/rate-1)*float64(reaction)) + 350*time.Millisecond
	if v.freeze > time.Second || l.longest > wait {
		t.Errorf("no picture for %v, packets waited %v of %v", v.freeze, l.longest, wait)
	}
	if !v.fits(rate) || v.layer() == "none" {
		t.Errorf("is on %s 20 s after the fall", v.layer())
	}
	l.rate = 5_000_000
	back := time.Duration(0)
	for back < 10*time.Second && v.layer() != "s2t2" {
		back += 100 * time.Millisecond
		w.run(30*time.Second + back)
	}
	t.Logf("back after %v", back)
	if v.layer() != "s2t2" {
		t.Errorf("is on %s 10 s after the rise", v.layer())
	}
}

// fits reports whether what goes out is no more than the link carries.
func (v *viewer) fits(rate float64) bool {
	l := v.selector.Current()
	return l.Spatial < 0 || float64(v.demand.Bitrates[l.Spatial][l.Temporal]+audioSize*8*50) <= rate
}
