package room

import (
	"math"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
)

// levelMeter turns the levels of RFC 6464 into LiveKit's speaker level: over a
// window, how loud and for how long, smoothed over a few windows.
type levelMeter struct {
	cfg LevelConfig

	mu       sync.Mutex
	loudest  uint8 // dBov below zero: smaller is louder
	active   time.Duration
	observed time.Duration
	smoothed float64
	last     time.Time
}

// silentLevel is RFC 6464's digital silence.
const silentLevel = 127

// packetTime is Opus' usual frame, counted for a first packet. Later ones stand
// for the time since the one before, as in LiveKit: with DTX a short sound has
// few packets of its own.
const packetTime = 20 * time.Millisecond

func newLevelMeter(cfg LevelConfig) *levelMeter {
	return &levelMeter{cfg: cfg, loudest: silentLevel}
}

// observe takes the level of one packet. It runs on a socket goroutine.
func (m *levelMeter) observe(level uint8, _ bool, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
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
func (m *levelMeter) roll() {
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
	m.loudest, m.active, m.observed = silentLevel, 0, 0
}

// level returns the smoothed level, 0 to 1, and whether it counts as speech.
func (m *levelMeter) level(now time.Time) (float64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.last) > 2*m.cfg.Interval { // DTX, mute or gone
		m.smoothed, m.loudest, m.active, m.observed = 0, silentLevel, 0, 0
	}
	threshold := math.Pow(10, -float64(m.cfg.Active)/20)
	return m.smoothed, m.smoothed >= threshold
}

func (m *levelMeter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.smoothed, m.loudest, m.active, m.observed = 0, silentLevel, 0, 0
}

// speakers is what clients know about who speaks. Actor owned.
type speakers struct {
	sent      map[string]*livekit.SpeakerInfo // by participant sid
	simulated time.Time                       // until when everybody is shown as speaking
}

// levelSteps quantises levels, so that small changes are not sent.
const levelSteps = 8

func quantise(level float64) float32 {
	return float32(math.Ceil(min(level, 1)*levelSteps) / levelSteps)
}

// tickSpeakers tells clients what changed about who speaks. Actor.
func (r *Room) tickSpeakers(now time.Time) {
	current := map[string]*livekit.SpeakerInfo{}
	for _, p := range r.participants {
		if level := r.speakingLevel(p, now); level > 0 {
			current[p.sid] = &livekit.SpeakerInfo{Sid: p.sid, Level: level, Active: true}
		}
	}
	var changed []*livekit.SpeakerInfo
	for sid, s := range current {
		if old := r.speakers.sent[sid]; old == nil || old.Level != s.Level {
			changed = append(changed, s)
		}
	}
	for sid := range r.speakers.sent {
		if current[sid] == nil {
			changed = append(changed, &livekit.SpeakerInfo{Sid: sid})
		}
	}
	r.speakers.sent = current
	if len(changed) > 0 {
		r.broadcast(speakersChanged(changed), nil)
	}
}

// speakingLevel is 0 for who does not speak. Actor.
func (r *Room) speakingLevel(p *Participant, now time.Time) float32 {
	if p.permission.Hidden {
		return 0
	}
	loudest := 0.0
	for _, pub := range p.pubs {
		if pub.meter == nil || pub.info.Muted {
			continue
		}
		if level, active := pub.meter.level(now); active {
			loudest = max(loudest, level)
		}
	}
	if now.Before(r.speakers.simulated) && len(p.pubs) > 0 {
		loudest = max(loudest, 0.5)
	}
	return quantise(loudest)
}

// sendSpeakersTo tells a newcomer who speaks. Actor.
func (r *Room) sendSpeakersTo(p *Participant) {
	var list []*livekit.SpeakerInfo
	for _, s := range r.speakers.sent {
		list = append(list, s)
	}
	if len(list) > 0 {
		p.send(speakersChanged(list))
	}
}

func speakersChanged(list []*livekit.SpeakerInfo) *livekit.SignalResponse {
	return &livekit.SignalResponse{Message: &livekit.SignalResponse_SpeakersChanged{
		SpeakersChanged: &livekit.SpeakersChanged{Speakers: list},
	}}
}
