package peer

import (
	"fmt"
	"strconv"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/sdp"
)

// dataMid is the section of the data channels in our own offers; it comes first,
// so that it never moves.
const dataMid = "data"

// offering is the state of a Subscriber's negotiation.
type offering struct {
	due      dueTime // the debounced offer
	deadline dueTime // of the answer
	id       uint32  // of the last offer
	waiting  bool    // for the answer to it
	dirty    bool    // an offer is wanted although no section changes
	nextMid  int
}

// RestartICE has the client check the connection again, from new credentials
// on. In Subscriber mode a new offer goes out at once, which also replaces one
// that waits for its answer; in the other modes the client restarts and the
// next answer has new credentials.
func (p *Peer) RestartICE() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.params.Mode != Subscriber {
		return
	}
	if err := p.restartICE(); err != nil {
		p.log.Debug("no ICE restart", "error", err)
		return
	}
	if p.offering.id == 0 {
		return // nothing to restart yet
	}
	p.offering.waiting, p.offering.dirty = false, true
	if m := p.moving; m != nil {
		p.data.hold()
		m.offerBy.setIfUnset(drainTime)
		return
	}
	p.makeOffer()
}

// changed reports whether an offer would tell the client anything. The caller
// holds mu.
func (p *Peer) changed() bool {
	if p.offering.dirty || len(p.pending) > 0 {
		return true
	}
	for _, s := range p.sections {
		if s.sending && s.down == nil {
			return true
		}
	}
	return false
}

// makeOffer offers all that is subscribed. While an answer is awaited it only
// notes that another offer is needed. The caller holds mu.
func (p *Peer) makeOffer() {
	o := &p.offering
	o.due.clear()
	if p.closed || o.waiting || !p.changed() {
		return
	}
	p.allocate()
	media := make([]sdp.Media, len(p.sections))
	for i, s := range p.sections {
		media[i] = p.offerSection(s)
	}
	text, err := sdp.Offer(p.local(), media)
	if err != nil {
		p.log.Error("offer not made", "error", err) // a mistake of ours
		return
	}
	o.id++
	p.negotiatedAt = time.Now()
	o.waiting, o.dirty = true, false
	o.deadline.set(p.params.AnswerTimeout)
	id, mids := o.id, p.midToTrack()
	p.events.post(func() { p.params.Handler.OnOffer(text, id, mids) })
}

// allocate gives every waiting down track a section: one that is free, or a new
// one at the end. The caller holds mu.
func (p *Peer) allocate() {
	waiting := p.pending
	p.pending = nil
	for _, d := range waiting {
		kind := sectionKind(d.Kind)
		codecs := d.accepts(p.policy.Supported(kind))
		if len(codecs) == 0 {
			p.drop(d, fmt.Errorf("%w: %v are not enabled", ErrUnsupportedCodec, d.Codecs))
			continue
		}
		var home *section
		for _, s := range p.sections {
			if s.kind == kind && s.free(p.params.Quirks.Safari) {
				home = s
				break
			}
		}
		if home == nil {
			home = &section{mid: strconv.Itoa(p.offering.nextMid), kind: kind}
			p.offering.nextMid++
			p.sections = append(p.sections, home)
		}
		if home.used && d.ReusedStreamID != "" {
			d.StreamID = d.ReusedStreamID
		}
		home.down, home.used, home.offered = d, true, codecs
		d.ssrc = p.newSSRC()
		if codecs[0].RTX != 0 {
			d.rtx = p.newSSRC()
		}
	}
}

// offerSection describes a section as it is wanted.
func (p *Peer) offerSection(s *section) sdp.Media {
	m := sdp.Media{Mid: s.mid, Kind: s.kind, Direction: sdp.Inactive}
	if s.kind == sdp.Application {
		m.MaxMessageSize = maxMessageSize
		return m
	}
	if s.rejected {
		m.Reject = true
		return m
	}
	m.Extensions = p.policy.OfferExtensions(s.kind)
	m.Codecs = p.policy.SelectFeedback(s.offered, false, true)
	if s.kind == sdp.Audio && len(m.Codecs) > 0 {
		stereo := s.down != nil && s.down.Stereo
		m.Codecs = sdp.WithOpusOptions(m.Codecs, sdp.OpusOptions{SpropStereo: stereo})
	}
	if s.down != nil {
		m.Direction = sdp.SendOnly
		m.Source = p.source(s.down, s.down.rtx != 0)
	}
	return m
}

// HandleAnswer takes the client's answer to the offer with that id; id 0 means
// the last one, for clients that do not tell. An answer to an older offer is
// ignored. Errors: [ErrMode], [ErrClosed], those of [sdp.Parse],
// [ErrNegotiation] and [transport.ErrFingerprintChanged].
func (p *Peer) HandleAnswer(text string, id uint32) error {
	if p.params.Mode != Subscriber {
		return fmt.Errorf("%w: answer to a %v connection", ErrMode, p.params.Mode)
	}
	answer, err := sdp.Parse(text)
	if err != nil {
		return fmt.Errorf("peer: answer: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case !p.offering.waiting || id != 0 && id != p.offering.id:
		p.log.Debug("answer to an older offer ignored", "id", id, "last", p.offering.id)
		return nil
	}
	if id == 0 && len(answer.Sections) < len(p.sections) {
		p.log.Debug("answer to an offer that was replaced ignored")
		return nil
	}
	if err := p.checkAnswer(answer); err != nil {
		return err
	}
	if err := p.setRemote(answer); err != nil {
		return err
	}
	p.offering.waiting = false
	p.offering.deadline.clear()
	for i, s := range p.sections {
		if s.kind != sdp.Application {
			p.settleSection(s, &answer.Sections[i])
		}
	}
	p.publishRoutes()
	if p.changed() {
		p.makeOffer() // what changed meanwhile
	}
	return nil
}

// checkAnswer holds that the answer has the sections of the offer.
func (p *Peer) checkAnswer(answer *sdp.Session) error {
	if len(answer.Sections) != len(p.sections) {
		return fmt.Errorf("%w: %d media sections answered of %d", ErrNegotiation, len(answer.Sections), len(p.sections))
	}
	for i, s := range p.sections {
		a := &answer.Sections[i]
		if a.Mid != s.mid && !(a.Rejected && a.Mid == "") || a.Kind != s.kind {
			return fmt.Errorf("%w: section %d is answered as %v %.64q and was offered as %v %q",
				ErrNegotiation, i, a.Kind, a.Mid, s.kind, s.mid)
		}
	}
	if !p.params.Quirks.Go && (answer.Setup == sdp.SetupPassive || answer.Setup == sdp.SetupActPass) {
		return fmt.Errorf("%w: a=setup:%v in an answer; the client must be active", ErrNegotiation, answer.Setup)
	}
	return nil
}

// settleSection binds what the client has accepted. The caller holds mu.
func (p *Peer) settleSection(s *section, a *sdp.Section) {
	s.answered, s.rejected = true, a.Rejected
	s.sending = a.Direction.Recv() && !a.Rejected
	d := s.down
	if d == nil {
		return
	}
	fit := d.accepts(p.policy.Select(a))
	if s.sending && len(fit) > 0 {
		m := sdp.Media{
			Codecs:     p.policy.SelectFeedback(fit, false, true),
			Extensions: p.policy.SelectExtensions(a, false, true),
		}
		p.bind(s, d, p.policy.SelectFeedback(fit[:1], false, true)[0], m)
		return
	}
	p.unbind(s, false)
	if len(fit) == 0 {
		p.drop(d, fmt.Errorf("%w: %v", ErrUnsupportedCodec, d.Codecs))
	} else {
		p.drop(d, fmt.Errorf("%w: mid %q", ErrSectionRefused, s.mid))
	}
}

// negotiationTimeout gives up on an answer. The caller holds mu.
func (p *Peer) negotiationTimeout() {
	p.offering.waiting = false
	p.offering.deadline.clear()
	err := fmt.Errorf("%w: id %d after %v", ErrNegotiationTimeout, p.offering.id, p.params.AnswerTimeout)
	p.log.Warn("client does not answer", "error", err)
	if failed := p.params.NegotiationFailed; failed != nil {
		p.events.post(func() { failed(err) })
	}
}
