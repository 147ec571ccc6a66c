package peer

import (
	"slices"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/sdp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
)

// Subscribe has the client receive a track. It is negotiated with the next
// offer, which is asked for or made after the debounce time. A second Subscribe
// with the same TrackID replaces the first.
func (p *Peer) Subscribe(d Downlink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.params.Mode == Publisher {
		return
	}
	p.unsubscribe(d.TrackID)
	link := &downlink{Downlink: d}
	p.downs[d.TrackID] = link
	p.pending = append(p.pending, link)
	p.negotiate()
}

// Unsubscribe ends a subscription: its down track is closed at once, and the
// client is told with the next offer. Its section is kept for another track.
func (p *Peer) Unsubscribe(trackID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unsubscribe(trackID) {
		p.negotiate()
	}
}

// unsubscribe reports whether there was such a subscription. The caller holds mu.
func (p *Peer) unsubscribe(trackID string) bool {
	d := p.downs[trackID]
	if d == nil {
		return false
	}
	delete(p.downs, trackID)
	p.pending = slices.DeleteFunc(p.pending, func(o *downlink) bool { return o == d })
	for _, s := range p.sections {
		if s.down == d {
			p.unbind(s, false)
			p.publishRoutes()
		}
	}
	return true
}

// Negotiate brings the client up to date with what has been subscribed and
// unsubscribed, after the debounce time. In Subscriber mode it makes an offer,
// in Single mode it asks the client for one when one is needed.
func (p *Peer) Negotiate() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.params.Mode == Subscriber && len(p.downs) == 0 && p.offering.id == 0 {
		p.offering.dirty = true // the first offer carries the data channels
	}
	p.negotiate()
}

// fastDebounce divides the debounce time of a change that comes after a quiet
// time: a join should not wait, a series of changes should be one offer.
const fastDebounce = 8

// negotiate starts the debounce time. The caller holds mu.
func (p *Peer) negotiate() {
	if p.closed {
		return
	}
	wait := p.params.Debounce
	if time.Since(p.negotiatedAt) > wait {
		wait /= fastDebounce
	}
	switch p.params.Mode {
	case Subscriber:
		p.offering.due.setIfUnset(wait)
	case Single:
		p.asking.due.setIfUnset(wait)
	}
}

// bind gives a down track its negotiated section. The caller holds mu and
// publishes the routes.
func (p *Peer) bind(s *section, d *downlink, c sdp.Codec, m sdp.Media) {
	p.pending = slices.DeleteFunc(p.pending, func(o *downlink) bool { return o == d })
	s.down, s.used = d, true
	if d.track != nil {
		if d.codec.PayloadType == c.PayloadType && d.codec.Equal(&c) {
			return
		}
		d.track.Close()
	}
	d.codec, d.trackCodec, d.ids = c, trackCodec(&c, m.Codecs), extensionIDs(m.Extensions)
	p.makeTrack(s, d)
	track, bound := d.track, d.Bound
	p.events.post(func() {
		if bound != nil {
			bound(track)
		}
	})
}

// makeTrack makes the down track of a negotiated section. The caller holds mu.
func (p *Peer) makeTrack(s *section, d *downlink) {
	params := sfu.DownTrackParams{
		TrackID: d.TrackID, Subscriber: p.params.CNAME, SSRC: d.ssrc, Codec: d.trackCodec, Extensions: d.ids,
		Writer: &p.link, CNAME: p.cname(d), Log: p.log,
	}
	if d.codec.RTX != 0 {
		params.RTXSSRC = d.rtx
	}
	d.mid = nil
	if id := params.Extensions.MID; id != 0 {
		d.mid = &midWriter{Writer: &p.link, id: id, mid: s.mid, rtx: params.RTXSSRC}
		d.mid.confirmed.Store(p.params.Mode != Single)
		params.Writer = d.mid
	}
	d.track = sfu.NewDownTrack(params)
	d.reports = &reportSchedule{bound: time.Now()}
}

// unbind takes a down track off its section; back says whether it waits for
// another one. A stream never goes on under an SSRC it had before, because its
// numbering begins anew. The caller holds mu and publishes the routes.
func (p *Peer) unbind(s *section, back bool) {
	d := s.down
	s.down = nil
	if d.track != nil {
		d.track.Close()
	}
	d.track, d.codec, d.ssrc, d.rtx = nil, sdp.Codec{}, 0, 0
	if back {
		p.pending = append(p.pending, d)
	}
}

// drop ends a subscription that cannot be. The caller holds mu.
func (p *Peer) drop(d *downlink, err error) {
	if p.downs[d.TrackID] == d {
		delete(p.downs, d.TrackID)
	}
	p.pending = slices.DeleteFunc(p.pending, func(o *downlink) bool { return o == d })
	p.log.Info("track cannot be received", "track", d.TrackID, "error", err)
	if failed := d.Failed; failed != nil {
		p.events.post(func() { failed(err) })
	}
}

// reportSchedule says when the next sender report of a down track is due. It
// belongs to the tick.
type reportSchedule struct {
	bound  time.Time
	next   time.Time
	sent   int
	primed bool
}

// Sender reports are frequent at first, since browsers synchronise audio and
// video with them, and rare later.
const (
	reportEvery      = 3 * time.Second
	reportEveryFirst = time.Second
	firstReports     = 5
	// reportRetry is the pace while the publisher has sent no report yet.
	reportRetry = 200 * time.Millisecond
)
