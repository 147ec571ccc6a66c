package peer

import (
	"fmt"
	"slices"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/sdp"
)

// asking is what a Single peer has asked its client for.
type asking struct {
	due       dueTime // the debounced request
	waiting   bool    // for an offer
	since     dueTime // when to ask again
	requested [2]int  // sections asked for since the last offer: audio, video
}

// wish is what the room says about a track before it is negotiated.
type wish struct {
	mime  string
	audio AudioOptions
}

// HandleOffer answers an offer of the client; id is echoed. Tracks that the
// client sends are announced, down tracks that wait are given the sections that
// the client added for them. Errors: [ErrMode], [ErrClosed], those of
// [sdp.Parse], [ErrNegotiation] and [transport.ErrFingerprintChanged]; an offer
// that is refused changes nothing.
func (p *Peer) HandleOffer(text string, id uint32) (Answer, error) {
	if p.params.Mode == Subscriber {
		return Answer{}, fmt.Errorf("%w: offer to a %v connection", ErrMode, p.params.Mode)
	}
	offer, err := sdp.Parse(text)
	if err != nil {
		return Answer{}, fmt.Errorf("peer: offer: %w", err)
	}
	wishes := p.wishes(offer) // calls the room: not under mu
	p.quiesce(offer)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return Answer{}, ErrClosed
	}
	if err := p.checkOffer(offer); err != nil {
		return Answer{}, err
	}
	if p.restarts(offer) {
		if err := p.restartICE(); err != nil {
			return Answer{}, fmt.Errorf("peer: %w", err)
		}
	}
	plan := p.plan(offer, wishes)
	answer, err := sdp.Answer(offer, p.local(), plan.media())
	if err != nil {
		return Answer{}, fmt.Errorf("peer: answer: %w", err)
	}
	if err := p.setRemote(offer); err != nil {
		return Answer{}, err
	}
	p.settle(plan)
	return Answer{SDP: answer, ID: id, MidToTrack: p.midToTrack()}, nil
}

// restarts reports whether an offer asks for an ICE restart. The caller holds mu.
func (p *Peer) restarts(offer *sdp.Session) bool {
	return p.remote.Ufrag != "" && offer.ICE.Ufrag != "" && p.remote.Ufrag != offer.ICE.Ufrag
}

// wishes asks the room about the tracks an offer has.
func (p *Peer) wishes(offer *sdp.Session) map[string]wish {
	out := make(map[string]wish)
	for i := range offer.Sections {
		o := &offer.Sections[i]
		if o.Rejected || o.Kind == sdp.Application || !o.Direction.Send() {
			continue
		}
		var w wish
		if p.params.PreferredCodec != nil {
			w.mime = p.params.PreferredCodec(o.TrackID)
		}
		if p.params.AudioOptions != nil && o.Kind == sdp.Audio {
			w.audio = p.params.AudioOptions(o.TrackID)
		}
		out[o.Mid] = w
	}
	return out
}

// checkOffer holds that sections never move, change or disappear; a rejected
// one may be taken over by a new mid (RFC 8829 section 5.2.2).
func (p *Peer) checkOffer(offer *sdp.Session) error {
	if len(offer.Sections) < len(p.sections) {
		return fmt.Errorf("%w: %d media sections after %d", ErrNegotiation, len(offer.Sections), len(p.sections))
	}
	for i, s := range p.sections {
		o := &offer.Sections[i]
		if s.rejected && (o.Mid != s.mid || o.Rejected) {
			continue
		}
		if o.Mid != s.mid && !(o.Rejected && o.Mid == "") {
			return fmt.Errorf("%w: section %d has mid %.64q and had %q", ErrNegotiation, i, o.Mid, s.mid)
		}
		if o.Kind != s.kind {
			return fmt.Errorf("%w: mid %q was %v and is %v", ErrNegotiation, s.mid, s.kind, o.Kind)
		}
	}
	return nil
}

// planned is what an answer does with one section.
type planned struct {
	offer   *sdp.Section
	section *section // as it is; a new one has no history
	media   sdp.Media
	up      *uplink // to begin with this answer
	keepUp  bool    // the present uplink goes on
	down    *downlink
	codec   sdp.Codec // of down
}

// answerPlan is what an answer does, decided before anything is changed.
type answerPlan struct {
	sections []planned
	// unfit are waiting down tracks whose codecs the client does not list.
	unfit []*downlink
}

func (a *answerPlan) media() []sdp.Media {
	out := make([]sdp.Media, len(a.sections))
	for i := range a.sections {
		out[i] = a.sections[i].media
	}
	return out
}

// plan decides about every section of an offer. The caller holds mu.
func (p *Peer) plan(offer *sdp.Session, wishes map[string]wish) *answerPlan {
	a := &answerPlan{sections: make([]planned, len(offer.Sections))}
	waiting := slices.Clone(p.pending)
	for i := range offer.Sections {
		o, pl := &offer.Sections[i], &a.sections[i]
		pl.offer = o
		if i < len(p.sections) && p.sections[i].mid == o.Mid {
			pl.section = p.sections[i]
		} else {
			pl.section = &section{mid: o.Mid, kind: o.Kind}
		}
		if o.Kind == sdp.Application {
			pl.media.MaxMessageSize = maxMessageSize
			continue
		}
		if o.Rejected {
			continue
		}
		p.planUp(pl, wishes[o.Mid])
		waiting = p.planDown(pl, waiting, a)
		p.planMedia(pl)
	}
	return a
}

// planUp decides what the client sends on a section.
func (p *Peer) planUp(pl *planned, w wish) {
	o, up := pl.offer, pl.section.up
	if !o.Direction.Send() {
		return
	}
	codecs, decided := p.uplinkCodecs(o, w.mime)
	if up != nil && up.trackID == o.TrackID && slices.Equal(up.rids, orderRids(o.SendRids())) {
		if same := up.stillIn(p.policy.Select(o)); len(same) > 0 {
			codecs, pl.keepUp = same, true
		}
	}
	if len(codecs) == 0 {
		return
	}
	if o.Kind == sdp.Audio {
		codecs = sdp.WithOpusOptions(codecs, sdp.OpusOptions{DTX: !w.audio.NoDTX, Stereo: w.audio.Stereo})
	}
	pl.media.Codecs = p.policy.SelectFeedback(codecs, true, false)
	if pl.keepUp {
		return
	}
	pl.up = p.newUplink(o, pl.media.Codecs, p.policy.SelectExtensions(o, true, false), decided)
}

// planDown decides what the client receives on a section and returns the down
// tracks that still wait.
func (p *Peer) planDown(pl *planned, waiting []*downlink, a *answerPlan) []*downlink {
	o, s := pl.offer, pl.section
	if p.params.Mode != Single || !o.Direction.Recv() {
		return waiting
	}
	codecs := p.policy.Select(o)
	if s.down != nil {
		if fit := s.down.accepts(codecs); len(fit) > 0 {
			pl.takeDown(s.down, fit)
		}
		return waiting
	}
	reusable := !s.answered || s.free(p.params.Quirks.Safari)
	if o.Direction.Send() || !reusable {
		return waiting
	}
	for i, d := range waiting {
		if sectionKind(d.Kind) != o.Kind || slices.Contains(a.unfit, d) {
			continue
		}
		fit := d.accepts(codecs)
		if len(fit) == 0 {
			a.unfit = append(a.unfit, d)
			continue
		}
		pl.takeDown(d, fit)
		return slices.Delete(waiting, i, i+1)
	}
	return waiting
}

// takeDown puts a down track on the section. The codec it has had stays when the
// client still lists it, so that nothing restarts.
func (pl *planned) takeDown(d *downlink, fit []sdp.Codec) {
	pl.down, pl.codec = d, fit[0]
	for _, c := range fit {
		if d.track != nil && c.PayloadType == d.codec.PayloadType && c.Equal(&d.codec) {
			pl.codec = c
		}
	}
	for _, c := range fit {
		if !slices.ContainsFunc(pl.media.Codecs, func(o sdp.Codec) bool { return o.PayloadType == c.PayloadType }) {
			pl.media.Codecs = append(pl.media.Codecs, c)
		}
	}
}

// planMedia completes the section's side of the answer.
func (p *Peer) planMedia(pl *planned) {
	o, m := pl.offer, &pl.media
	up, down := pl.up != nil || pl.keepUp, pl.down != nil
	if !up && !down {
		m.Codecs = p.policy.Select(o)
	}
	m.Codecs = p.policy.SelectFeedback(m.Codecs, up, down)
	m.Extensions = p.policy.SelectExtensions(o, up, down)
	if s := pl.section; down && !up && s.down == pl.down && s.down.track != nil {
		m.Extensions = slices.DeleteFunc(m.Extensions, func(e sdp.Extension) bool { return !slices.Contains(s.extensions, e) })
	}
	m.Direction = sdp.NewDirection(down, up)
	if !down {
		return
	}
	d := pl.down
	if d.ssrc == 0 {
		d.ssrc = p.newSSRC()
	}
	if pl.codec.RTX != 0 && d.rtx == 0 {
		d.rtx = p.newSSRC()
	}
	pl.codec = p.policy.SelectFeedback([]sdp.Codec{pl.codec}, up, true)[0]
	m.Source = p.source(d, pl.codec.RTX != 0)
}

// source describes what we send for a down track.
func (p *Peer) source(d *downlink, rtx bool) *sdp.Source {
	s := &sdp.Source{StreamID: d.StreamID, TrackID: d.TrackID, SSRC: d.ssrc, CNAME: p.cname(d)}
	if rtx {
		s.RTX = d.rtx
	}
	return s
}

func (p *Peer) cname(d *downlink) string {
	if p.params.CNAME != "" {
		return p.params.CNAME
	}
	return d.StreamID
}

// settle carries out a plan whose answer is going to the client. The caller
// holds mu.
func (p *Peer) settle(a *answerPlan) {
	begun := make([]*uplink, 0, len(a.sections))
	for i := range a.sections {
		pl := &a.sections[i]
		s := pl.section
		if i < len(p.sections) && p.sections[i] != s {
			p.leave(p.sections[i]) // a rejected section whose place is taken
		}
		if i < len(p.sections) {
			p.sections[i] = s
		} else {
			p.sections = append(p.sections, s)
		}
		refused := pl.offer.Rejected || s.kind != sdp.Application && len(pl.media.Codecs) == 0
		if s.up != nil && !pl.keepUp {
			p.endUplink(s)
		}
		if s.down != nil && s.down != pl.down {
			p.unbind(s, true)
		}
		s.rejected, s.answered = refused, true
		s.sending = pl.down != nil
		s.receivable = pl.offer.Direction.Recv() && !refused
		if pl.up != nil {
			s.up = pl.up
			begun = append(begun, pl.up)
		}
		if pl.down != nil {
			s.extensions = pl.media.Extensions
			p.bind(s, pl.down, pl.codec, pl.media)
		}
	}
	for _, d := range a.unfit {
		p.drop(d, fmt.Errorf("%w: %v", ErrUnsupportedCodec, d.Codecs))
	}
	p.publishRoutes()
	for _, u := range begun {
		if u.receiver != nil {
			track := u.public()
			p.events.post(func() { p.params.Handler.OnTrack(track) })
		}
	}
	p.asking = asking{}
	p.askSections()
}

// leave ends what an abandoned section carried.
func (p *Peer) leave(s *section) {
	if s.up != nil {
		p.endUplink(s)
	}
	if s.down != nil {
		p.unbind(s, true)
	}
}

// endUplink ends the track the client sent on a section. The caller holds mu
// and publishes the routes.
func (p *Peer) endUplink(s *section) {
	u := s.up
	s.up = nil
	u.end()
	p.events.post(func() { p.params.Handler.OnTrackEnded(u.mid) })
}

// missing counts the sections that waiting down tracks need beyond those that
// the client's last offer has. The caller holds mu.
func (p *Peer) missing() (need [2]int) {
	for _, d := range p.pending {
		need[kindIndex(sectionKind(d.Kind))]++
	}
	for _, s := range p.sections {
		if s.kind == sdp.Application || s.rejected || !s.receivable || s.up != nil || s.down != nil {
			continue
		}
		if s.used && p.params.Quirks.Safari {
			continue
		}
		need[kindIndex(s.kind)]--
	}
	return [2]int{max(need[0], 0), max(need[1], 0)}
}

func kindIndex(k sdp.Kind) int {
	if k == sdp.Audio {
		return 0
	}
	return 1
}

// askSections asks a Single client for an offer when something waits for one.
// The caller holds mu.
func (p *Peer) askSections() {
	if p.params.Mode != Single || !p.needsOffer() {
		return
	}
	need := p.missing()
	more := [2]int{need[0] - p.asking.requested[0], need[1] - p.asking.requested[1]}
	if p.asking.waiting && more[0] <= 0 && more[1] <= 0 {
		return
	}
	more = [2]int{max(more[0], 0), max(more[1], 0)}
	p.asking.requested[0] += more[0]
	p.asking.requested[1] += more[1]
	p.asking.waiting = true
	p.negotiatedAt = time.Now()
	p.asking.since.set(p.params.AnswerTimeout)
	p.events.post(func() { p.params.Handler.OnMediaSections(more[0], more[1]) })
}

// needsOffer reports whether what is settled differs from what is wanted. The
// caller holds mu.
func (p *Peer) needsOffer() bool {
	if len(p.sections) == 0 {
		return false // the first offer comes by itself
	}
	return len(p.pending) > 0 || slices.ContainsFunc(p.sections, func(s *section) bool { return s.sending && s.down == nil })
}

// resolve makes the receiver of an uplink whose first packet has told its codec.
func (p *Peer) resolve(old *uplink, pt uint8) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.sections, func(s *section) bool { return s.up == old })
	c, _ := old.codecOf(pt)
	if p.closed || i < 0 || c == nil {
		return
	}
	u := &uplink{
		mid: old.mid, trackID: old.trackID, streamID: old.streamID, kind: old.kind, rids: old.rids,
		layers: old.layers, ids: old.ids, declared: old.declared, codecs: []sdp.Codec{*c},
	}
	u.decide(p, c)
	old.ended.Store(true)
	p.sections[i].up = u
	p.publishRoutes()
	track := u.public()
	p.events.post(func() { p.params.Handler.OnTrack(track) })
}
