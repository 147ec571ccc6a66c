package room

import (
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/room/measure"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// levelMeter is a [measure.Meter] that the publisher's socket goroutine feeds
// and the room reads.
type levelMeter struct {
	mu sync.Mutex
	m  *measure.Meter
}

func newLevelMeter(cfg measure.Levels) *levelMeter { return &levelMeter{m: measure.NewMeter(cfg)} }

func (m *levelMeter) observe(level uint8, _ bool, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.m.Observe(level, at)
}

func (m *levelMeter) level(now time.Time) (float64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.m.Level(now)
}

func (m *levelMeter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.m.Reset()
}

// speakers is what clients know about who speaks. Actor owned.
type speakers struct {
	sent      map[string]*livekit.SpeakerInfo // by participant sid
	simulated time.Time                       // until when everybody is shown as speaking
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
		r.broadcast(reply.Speakers(changed), nil)
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
	return measure.Quantise(loudest)
}

// sendSpeakersTo tells a newcomer who speaks. Actor.
func (r *Room) sendSpeakersTo(p *Participant) {
	var list []*livekit.SpeakerInfo
	for _, s := range r.speakers.sent {
		list = append(list, s)
	}
	if len(list) > 0 {
		p.send(reply.Speakers(list))
	}
}
