package peer

import (
	"slices"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
)

// routes is what packets are routed by between two negotiations. It is
// immutable: negotiation publishes a new one.
type routes struct {
	uplinks []*uplink
	byMid   map[string]*uplink
	// midIDs are the header extension ids under which uplinks send their mid;
	// browsers use one for the whole bundle.
	midIDs []uint8
	// declared are the SSRCs of a=ssrc lines.
	declared map[uint32]declaredSource
	// byPT holds the uplink of a payload type that only one uplink has, for
	// clients that send neither mid nor a=ssrc.
	byPT  [128]*uplink
	downs []*downRoute
	// bySSRC finds the down track that a client's RTCP is about, by its SSRC or
	// that of its retransmissions.
	bySSRC map[uint32]*downRoute
}

// declaredSource is what an a=ssrc line says of an SSRC.
type declaredSource struct {
	up    *uplink
	layer int
	rtx   bool
}

// downRoute is a down track with its sender reports, which the tick owns.
type downRoute struct {
	track   *sfu.DownTrack
	reports *reportSchedule
	mid     *midWriter // nil when there is none
}

// newRoutes builds the routes of the sections.
func newRoutes(sections []*section) *routes {
	r := &routes{
		byMid: make(map[string]*uplink), declared: make(map[uint32]declaredSource),
		bySSRC: make(map[uint32]*downRoute),
	}
	var count [128]int
	for _, s := range sections {
		if u := s.up; u != nil {
			r.addUplink(u, &count)
		}
		if d := s.down; d != nil && d.track != nil {
			down := &downRoute{d.track, d.reports, d.mid}
			r.downs = append(r.downs, down)
			r.bySSRC[d.track.SSRC()] = down
			if rtx := d.track.RTXSSRC(); rtx != 0 {
				r.bySSRC[rtx] = down
			}
		}
	}
	for pt, n := range count {
		if n != 1 {
			r.byPT[pt] = nil
		}
	}
	return r
}

func (r *routes) addUplink(u *uplink, count *[128]int) {
	r.uplinks = append(r.uplinks, u)
	r.byMid[u.mid] = u
	if id := u.ids.MID; id != 0 && !slices.Contains(r.midIDs, id) {
		r.midIDs = append(r.midIDs, id)
	}
	for i, src := range u.declared {
		// With rids the order of a=ssrc lines is that of the rids.
		layer := i
		if len(u.rids) > 0 && len(u.declared) != len(u.rids) || layer >= u.layers {
			break
		}
		r.declared[src.ID] = declaredSource{u, layer, false}
		if src.RTX != 0 {
			r.declared[src.RTX] = declaredSource{u, layer, true}
		}
	}
	for _, c := range u.codecs {
		r.byPT[c.PayloadType] = u
		count[c.PayloadType]++
		if c.RTX != 0 {
			r.byPT[c.RTX] = u
			count[c.RTX]++
		}
	}
}

// publishRoutes makes the present sections the ones packets are routed by. The
// caller holds mu.
func (p *Peer) publishRoutes() { p.routes.Store(newRoutes(p.sections)) }

// latch says what an SSRC carries, once a packet has told.
type latch struct {
	up    *uplink
	layer int
	rtx   bool
}

// router sends packets to receivers. It belongs to the socket goroutine. Its
// map is bounded by the negotiated layers: a layer has one media and one RTX
// SSRC, and the last one that claims to be it wins.
type router struct {
	peer    *Peer
	routes  *routes
	latched map[uint32]latch
	packet  rtp.Packet
}

func (r *router) init(p *Peer) { r.peer, r.latched = p, make(map[uint32]latch) }

// adopt switches to new routes and forgets what is no longer sent.
func (r *router) adopt(n *routes) {
	r.routes = n
	for ssrc, l := range r.latched {
		if !slices.Contains(n.uplinks, l.up) {
			delete(r.latched, ssrc)
		}
	}
}

// handle routes one packet.
func (r *router) handle(pkt []byte, at time.Time) {
	c := &r.peer.counters
	p := &r.packet
	if p.Unmarshal(pkt) != nil {
		c.malformed.Add(1)
		return
	}
	if n := r.peer.routes.Load(); n != r.routes {
		r.adopt(n)
	}
	l, ok := r.latched[p.SSRC]
	if !ok {
		if l, ok = r.identify(p); !ok {
			c.unrouted.Add(1)
			return
		}
		r.latch(p.SSRC, l)
	}
	if seq, ok := rtp.ParseTWCC(p.Extension(l.up.ids.TWCC)); ok {
		r.peer.feedback.record(seq, p.SSRC, at)
	}
	r.deliver(l, p, at)
}

// deliver gives a packet to its receiver.
func (r *router) deliver(l latch, p *rtp.Packet, at time.Time) {
	u := l.up
	if u.receiver == nil {
		if _, rtx := u.codecOf(p.PayloadType); !rtx && !u.deciding.Swap(true) {
			pt := p.PayloadType
			r.peer.events.post(func() { r.peer.resolve(u, pt) })
		}
		return
	}
	switch c := &u.codec; {
	case l.rtx && p.PayloadType == c.RTXPayloadType:
		u.receiver.PushRTX(l.layer, p, at)
	case !l.rtx && (p.PayloadType == c.PayloadType || p.PayloadType == c.REDPrimaryPayloadType):
		u.receiver.Push(l.layer, p, at)
	default:
		r.peer.counters.wrongPayload.Add(1)
	}
}

// latch remembers what an SSRC carries in place of the SSRC before it.
func (r *router) latch(ssrc uint32, l latch) {
	src := &l.up.sources[l.layer]
	old := &src.media
	if l.rtx {
		old = &src.rtx
	}
	if *old != 0 {
		delete(r.latched, *old)
	}
	*old = ssrc
	r.latched[ssrc] = l
}

// identify finds out what an unknown SSRC carries, in the order of RFC 8843
// section 9.2: by its mid (and rid), by a=ssrc, by its payload type.
func (r *router) identify(p *rtp.Packet) (latch, bool) {
	for _, id := range r.routes.midIDs {
		mid := p.Extension(id)
		if mid == nil {
			continue
		}
		if u := r.routes.byMid[string(mid)]; u != nil {
			if layer, rtx, ok := r.layer(u, p); ok {
				return latch{u, layer, rtx}, true
			}
		}
	}
	if d, ok := r.routes.declared[p.SSRC]; ok {
		return latch(d), true
	}
	if u := r.routes.byPT[p.PayloadType]; u != nil && u.layers == 1 {
		_, rtx := u.codecOf(p.PayloadType)
		return latch{u, 0, rtx}, true
	}
	return latch{}, false
}

// layer finds the simulcast layer of a packet whose section is known.
func (r *router) layer(u *uplink, p *rtp.Packet) (layer int, rtx, ok bool) {
	c, rtx := u.codecOf(p.PayloadType)
	if c == nil {
		return 0, false, false
	}
	if d, declared := r.routes.declared[p.SSRC]; declared && d.up == u && (len(u.rids) == 0 || p.Extension(u.ids.RID) == nil) {
		return d.layer, d.rtx, d.rtx == rtx
	}
	if u.layers == 1 {
		return 0, rtx, true
	}
	rid := p.Extension(u.ids.RID)
	if rtx {
		if rrid := p.Extension(u.ids.RepairedRID); rrid != nil {
			rid = rrid
		}
	}
	layer = u.layerOf(rid)
	return layer, rtx, layer >= 0
}
