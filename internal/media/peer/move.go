package peer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// Moves, best first (the receiving node's calls are indented):
//
//	s := a.Snapshot()
//	        b := Prepare(params, s, join)  // not connected, but can answer offers
//	        b.HandleOffer(the client's ICE restart)
//	        b's OnState(Connecting): the client has nominated b
//	s := a.Export()                        // a falls silent at packet n
//	        b.Resume(s)                    // b goes on at packet n+1
//
// Between two hosts of one process [Peer.HandOver] does the same to the transport
// alone: sections and tracks stay where they are.
//
// Without the client's help a peer can only be resumed under its own ICE
// credentials, where the old node's address leads (Resume).

// Join is called for every down track of a resumed peer, so that the room adds it
// to its receiver. It is called like the Handler.
type Join func(trackID string, d *sfu.DownTrack)

// Snapshot returns the negotiated state without transport and numbering, to
// prepare a move. It changes nothing.
func (p *Peer) Snapshot() SessionState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessionState()
}

// Export ends the peer without a word to the client and returns what another
// node needs to go on with it. Nothing is sent from its first moment on. Down
// tracks and receivers of the peer are closed. Errors: [ErrClosed] and those of
// [transport.Conn.Export]; the peer is closed in any case.
func (p *Peer) Export() (SessionState, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return SessionState{}, ErrClosed
	}
	p.closed = true
	p.dropMoving()
	for _, s := range p.sections {
		if s.down != nil && s.down.track != nil {
			s.down.track.Close() // its numbering stands still from here on
		}
	}
	conn := p.link.load()
	state, err := conn.Export() // afterwards no packet is being handled any more
	s := p.sessionState()
	s.Conn = state
	for ssrc, l := range p.router.latched {
		s.Latched = append(s.Latched, LatchState{SSRC: ssrc, Mid: l.up.mid, Layer: l.layer, RTX: l.rtx})
	}
	slices.SortFunc(s.Latched, func(a, b LatchState) int { return int(int64(a.SSRC) - int64(b.SSRC)) })
	ups, _ := p.endAll()
	p.mu.Unlock()
	p.params.Loop.remove(p)
	for _, u := range ups {
		u.end()
	}
	p.data.close()
	_ = conn.Close() // already ended, without a close_notify
	conn.Wait()
	p.events.close()
	if err != nil {
		return SessionState{}, fmt.Errorf("peer: %w", err)
	}
	return s, nil
}

// sessionState reads everything but transport and latches. The caller holds mu.
func (p *Peer) sessionState() SessionState {
	s := SessionState{
		Mode: p.params.Mode, Session: p.session, Version: p.version, SenderSSRC: p.senderSSRC, Remote: p.remote,
		OfferID: p.offering.id, NextMid: p.offering.nextMid, Waiting: p.offering.waiting,
		Taken: slices.Sorted(maps.Keys(p.taken)),
	}
	for _, sec := range p.sections {
		st := SectionState{
			Mid: sec.mid, Kind: sec.kind, Rejected: sec.rejected, Answered: sec.answered, Sending: sec.sending,
			Used: sec.used, Receivable: sec.receivable, Extensions: sec.extensions, Offered: sec.offered,
		}
		if sec.up != nil {
			st.Up = sec.up.state()
		}
		if sec.down != nil {
			st.Down = sec.down.state()
		}
		s.Sections = append(s.Sections, st)
	}
	for _, d := range p.pending {
		s.Pending = append(s.Pending, *d.state())
	}
	return s
}

func (u *uplink) state() *UplinkState {
	s := &UplinkState{
		TrackID: u.trackID, StreamID: u.streamID, Rids: u.rids, Layers: u.layers, IDs: u.ids,
		Codecs: u.codecs, Declared: u.declared, Decided: u.receiver != nil,
	}
	if u.receiver != nil {
		s.Receiver = u.receiver.State()
	}
	return s
}

func (d *downlink) state() *DownlinkState {
	s := &DownlinkState{
		TrackID: d.TrackID, StreamID: d.StreamID, Kind: d.Kind, Codecs: d.Codecs, Stereo: d.Stereo,
		SSRC: d.ssrc, RTX: d.rtx, Bound: d.track != nil, Codec: d.codec, TrackCodec: d.trackCodec, IDs: d.ids,
		Confirmed: d.mid == nil || d.mid.confirmed.Load(),
	}
	if d.track != nil {
		s.Track = d.track.State()
	}
	return s
}

// Prepare makes a peer from a [Peer.Snapshot] that waits for [Peer.Resume]: it
// can answer the client's ICE restart and holds what arrives, but has no keys.
// Its tracks are announced by OnTrack and join when it is resumed.
func Prepare(params Params, s SessionState, join Join) (*Peer, error) {
	return restore(params, s, join, params.Host.Prepare)
}

// Resume makes a peer from the state of a [Peer.Export] that goes on under the
// same ICE credentials at once.
func Resume(params Params, s SessionState, join Join) (*Peer, error) {
	p, err := restore(params, s, join, func(tp transport.Params) (*transport.Conn, error) {
		return params.Host.Resume(s.Conn, tp)
	})
	if err != nil {
		return nil, err
	}
	p.resumed(&s)
	return p, nil
}

// Resume gives a prepared peer the state to go on with. Errors: [ErrClosed],
// [ErrNegotiation] when the state is not of the session that was prepared, those
// of [transport.Conn.Resume].
func (p *Peer) Resume(s SessionState) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if s.Session != p.session {
		p.mu.Unlock()
		return fmt.Errorf("%w: state of session %d for session %d", ErrNegotiation, s.Session, p.session)
	}
	p.restoreTracks(&s)
	p.mu.Unlock()
	// What the client has sent meanwhile is delivered from here on.
	if err := p.link.load().Resume(s.Conn); err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	p.resumed(&s)
	return nil
}

// restore makes a peer with the sections of a state.
func restore(params Params, s SessionState, join Join, connect func(transport.Params) (*transport.Conn, error)) (*Peer, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	params.Mode = s.Mode
	p, err := newPeer(params)
	if err != nil {
		return nil, err
	}
	p.session, p.version, p.senderSSRC, p.remote = s.Session, s.Version, s.SenderSSRC, s.Remote
	// An offer that was under way is made again: its answer may have been lost.
	p.offering = offering{id: s.OfferID, nextMid: s.NextMid, dirty: s.Waiting}
	for _, ssrc := range s.Taken {
		p.taken[ssrc] = struct{}{}
	}
	p.join = join
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = &transportHandler{peer: p}
	conn, err := connect(transport.Params{Handler: p.handler, Log: p.log})
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	p.link.store(conn)
	p.sections = nil
	for i := range s.Sections {
		p.sections = append(p.sections, p.restoreSection(&s.Sections[i]))
	}
	for i := range s.Pending {
		p.pending = append(p.pending, p.restoreDownlink(&s.Pending[i]))
	}
	if s.Conn.LocalUfrag != "" {
		p.restoreTracks(&s)
	}
	p.publishRoutes()
	p.start()
	return p, nil
}

// restoreSection makes a section with its tracks. The caller holds mu.
func (p *Peer) restoreSection(s *SectionState) *section {
	sec := &section{
		mid: s.Mid, kind: s.Kind, rejected: s.Rejected, answered: s.Answered, sending: s.Sending,
		used: s.Used, receivable: s.Receivable, extensions: s.Extensions, offered: s.Offered,
	}
	if u := s.Up; u != nil {
		sec.up = &uplink{
			mid: s.Mid, trackID: u.TrackID, streamID: u.StreamID, kind: trackKind(s.Kind), rids: u.Rids,
			layers: u.Layers, ids: u.IDs, codecs: u.Codecs, declared: u.Declared,
		}
		if u.Decided {
			sec.up.decide(p, &u.Codecs[0])
		}
	}
	if s.Down != nil {
		sec.down = p.restoreDownlink(s.Down)
		if s.Down.Bound {
			sec.down.codec, sec.down.trackCodec, sec.down.ids = s.Down.Codec, s.Down.TrackCodec, s.Down.IDs
			p.makeTrack(sec, sec.down)
		}
	}
	return sec
}

func (p *Peer) restoreDownlink(s *DownlinkState) *downlink {
	d := &downlink{
		Downlink: Downlink{TrackID: s.TrackID, StreamID: s.StreamID, Kind: s.Kind, Codecs: s.Codecs, Stereo: s.Stereo},
		ssrc:     s.SSRC, rtx: s.RTX,
	}
	d.Bound = func(track *sfu.DownTrack) {
		if p.join != nil {
			p.join(d.TrackID, track)
		}
	}
	p.downs[d.TrackID] = d
	return d
}

// restoreTracks gives the tracks the numbering of an export. Sections that were
// negotiated after the snapshot are added; a down track that is not in the export
// must not go on under its SSRC and is negotiated anew. The caller holds mu.
func (p *Peer) restoreTracks(s *SessionState) {
	for i := range s.Sections {
		st := &s.Sections[i]
		if i >= len(p.sections) {
			p.sections = append(p.sections, p.restoreSection(st))
		}
		sec := p.sections[i]
		if st.Up != nil && sec.up != nil && sec.up.receiver != nil && sec.mid == st.Mid && sec.up.trackID == st.Up.TrackID {
			sec.up.receiver.Restore(st.Up.Receiver)
		}
		d := sec.down
		if d == nil || d.track == nil {
			continue
		}
		if st.Down == nil || !st.Down.Bound || st.Down.SSRC != d.ssrc || st.Down.TrackID != d.TrackID {
			p.unbind(sec, true)
			continue
		}
		d.track.Restore(st.Down.Track)
		if d.mid != nil {
			d.mid.confirmed.Store(st.Down.Confirmed)
		}
	}
	p.router.restore(p.sections, s.Latched)
	p.publishRoutes()
}

// resumed hands out the tracks once the connection can carry them.
func (p *Peer) resumed(s *SessionState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ssrc := range s.Taken {
		p.taken[ssrc] = struct{}{}
	}
	for _, sec := range p.sections {
		if sec.up != nil && sec.up.receiver != nil {
			track := sec.up.public()
			p.events.post(func() { p.params.Handler.OnTrack(track) })
		}
		if d := sec.down; d != nil && d.track != nil {
			track, bound := d.track, d.Bound
			p.events.post(func() { bound(track) })
		}
	}
	p.negotiate()
}

// restore makes the router know SSRCs that no longer tell what they are.
func (r *router) restore(sections []*section, latched []LatchState) {
	for _, l := range latched {
		for _, s := range sections {
			if s.up != nil && s.mid == l.Mid && l.Layer >= 0 && l.Layer < s.up.layers {
				r.latch(l.SSRC, latch{s.up, l.Layer, l.RTX})
			}
		}
	}
}
