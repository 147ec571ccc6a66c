package room

import (
	"time"

	"github.com/livekit/protocol/livekit"
)

// qualityInterval is how often connection quality is judged, as LiveKit does.
const qualityInterval = 5 * time.Second

// linkStats is what one participant's media looked like over an interval.
type linkStats struct {
	loss   float64 // 0 to 1, the worst of its tracks either way
	rtt    time.Duration
	jitter time.Duration
	media  bool // something flowed or was expected to
	dead   bool // a track that should flow does not
}

// judge maps a link to LiveKit's scale with a simplified E-model (ITU-T G.107):
// delay costs a little, loss a lot.
func judge(l linkStats) (livekit.ConnectionQuality, float32) {
	if l.dead {
		return livekit.ConnectionQuality_LOST, 0
	}
	delay := (l.rtt/2 + l.jitter).Seconds() * 1000
	r := 93.2 - delay/40
	if delay > 160 {
		r = 93.2 - (delay-120)/10
	}
	r -= l.loss * 100 * 2.5
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

// tickQuality judges everybody and tells those concerned what changed: the
// participant itself and those who receive its media. Actor.
func (r *Room) tickQuality() {
	changed := map[*Participant]*livekit.ConnectionQualityInfo{}
	for _, p := range r.participants {
		if p.state != livekit.ParticipantInfo_ACTIVE {
			continue
		}
		q, score := judge(r.link(p))
		if p.qualityKnown && p.quality == q {
			continue
		}
		p.quality, p.qualityKnown = q, true
		changed[p] = &livekit.ConnectionQualityInfo{ParticipantSid: p.sid, Quality: q, Score: score}
	}
	if len(changed) == 0 {
		return
	}
	for _, p := range r.participants {
		var list []*livekit.ConnectionQualityInfo
		for q, info := range changed {
			if q == p || !q.permission.Hidden {
				list = append(list, info)
			}
		}
		if len(list) > 0 {
			p.send(&livekit.SignalResponse{Message: &livekit.SignalResponse_ConnectionQuality{
				ConnectionQuality: &livekit.ConnectionQualityUpdate{Updates: list},
			}})
		}
	}
}

// link gathers the media statistics of one participant. Actor.
func (r *Room) link(p *Participant) linkStats {
	l := linkStats{dead: !p.mediaLost().IsZero()}
	for _, pub := range p.pubs {
		for _, u := range pub.uplinks {
			st := u.Receiver.Stats()
			for _, layer := range st.Layers {
				if layer.Packets > 0 {
					l.media = true
					l.loss = max(l.loss, layer.FractionLost)
					l.jitter = max(l.jitter, layer.Jitter)
				}
			}
		}
	}
	for _, s := range p.subs {
		if s.bound == nil {
			continue
		}
		st := s.bound.Stats()
		if st.Packets > 0 {
			l.media = true
			l.loss = max(l.loss, st.FractionLost)
			l.rtt = max(l.rtt, st.RTT)
			l.jitter = max(l.jitter, st.Jitter)
		}
	}
	return l
}
