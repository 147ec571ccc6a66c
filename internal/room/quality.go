package room

import (
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/concertina-rtc/concertina/internal/room/measure"
	"github.com/concertina-rtc/concertina/internal/room/reply"
)

// qualityInterval is how often connection quality is judged, as LiveKit does.
const qualityInterval = 5 * time.Second

// tickQuality judges everybody, and tells each client what it does not know yet
// of itself and of those whose media it receives. Actor.
func (r *Room) tickQuality() {
	for _, p := range r.participants {
		if p.state == livekit.ParticipantInfo_ACTIVE {
			q, score := measure.Judge(r.link(p))
			p.quality = &livekit.ConnectionQualityInfo{ParticipantSid: p.sid, Quality: q, Score: score}
		}
	}
	for _, p := range r.participants {
		r.tellQuality(p)
	}
}

// lostSince is the protocol version that knows the quality "lost".
const lostSince = 11

func (r *Room) tellQuality(p *Participant) {
	told := map[string]livekit.ConnectionQuality{}
	var news []*livekit.ConnectionQualityInfo
	tell := func(q *Participant) {
		if _, done := told[q.sid]; done || q.quality == nil {
			return
		}
		info := q.quality
		if info.Quality == livekit.ConnectionQuality_LOST && p.client.GetProtocol() < lostSince {
			info = &livekit.ConnectionQualityInfo{ParticipantSid: q.sid, Quality: livekit.ConnectionQuality_POOR}
		}
		if before, known := p.qualities[q.sid]; !known || before != info.Quality {
			news = append(news, info)
		}
		told[q.sid] = info.Quality
	}
	tell(p)
	for _, s := range p.subs {
		if s.live {
			tell(s.pub.publisher)
		}
	}
	p.qualities = told
	if len(news) > 0 {
		p.send(reply.Quality(news))
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
