package room

import (
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/room/measure"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// qualityInterval is how often connection quality is judged, as LiveKit does.
const qualityInterval = 5 * time.Second

// tickQuality judges everybody and tells those concerned what changed: the
// participant itself and those who receive its media. Actor.
func (r *Room) tickQuality() {
	changed := map[*Participant]*livekit.ConnectionQualityInfo{}
	for _, p := range r.participants {
		if p.state != livekit.ParticipantInfo_ACTIVE {
			continue
		}
		q, score := measure.Judge(r.link(p))
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
			p.send(reply.Quality(list))
		}
	}
}

// link gathers the media statistics of one participant. Actor.
func (r *Room) link(p *Participant) measure.Link {
	l := measure.Link{Dead: !p.mediaLost().IsZero()}
	for _, pub := range p.pubs {
		for _, u := range pub.uplinks {
			for _, layer := range u.Receiver.Stats().Layers {
				l.Loss = max(l.Loss, layer.FractionLost)
				l.Jitter = max(l.Jitter, layer.Jitter)
			}
		}
	}
	for _, s := range p.subs {
		if s.bound != nil {
			st := s.bound.Stats()
			l.Loss, l.RTT, l.Jitter = max(l.Loss, st.FractionLost), max(l.RTT, st.RTT), max(l.Jitter, st.Jitter)
		}
	}
	return l
}
