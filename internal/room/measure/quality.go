package measure

import (
	"time"

	"github.com/livekit/protocol/livekit"
)

// Link is what one participant's media looked like over an interval.
type Link struct {
	Loss   float64       // 0 to 1, the worst of its tracks either way
	RTT    time.Duration // to the client and back
	Jitter time.Duration
	Dead   bool // the connection is down
}

// Judge maps a link to LiveKit's scale, with a score of 1 to 5, by a simplified
// E-model (ITU-T G.107): delay costs a little, loss a lot.
func Judge(l Link) (livekit.ConnectionQuality, float32) {
	if l.Dead {
		return livekit.ConnectionQuality_LOST, 0
	}
	delay := (l.RTT/2 + l.Jitter).Seconds() * 1000
	r := 93.2 - delay/40
	if delay > 160 {
		r = 93.2 - (delay-120)/10
	}
	r -= l.Loss * 100 * 2.5
	r = max(0, min(r, 100))
	mos := 1 + 0.035*r + 7e-6*r*(r-60)*(100-r)
	switch {
	case mos >= 4:
		return livekit.ConnectionQuality_EXCELLENT, float32(mos)
	case mos >= 3:
		return livekit.ConnectionQuality_GOOD, float32(mos)
	}
	return livekit.ConnectionQuality_POOR, float32(mos)
}
