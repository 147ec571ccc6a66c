// Package layer decides, packet by packet, which layers of a track one viewer
// gets: simulcast layers, which are streams of their own, and the spatial and
// temporal layers inside a stream (SVC). It says what is forwarded, where the
// viewer is switched from one layer to another, and for which layer a key frame
// is needed to do so.
//
// It owns the rules and their state ([Selector]). It does not own how packets
// are rewritten after a decision (rtp, codec), how a key frame is asked for
// (sfu), nor how a viewer's bandwidth becomes a target (allocator).
//
// The package is pure: no clock, no I/O, no locks; a Selector is owned by one
// down track. Start reading at [Selector.Select].
package layer

import "github.com/concertina-rtc/concertina/internal/media/codec"

// None is the layer of a viewer that gets nothing.
const None int8 = -1

// MaxSpatial is the highest spatial layer a Selector knows, from 0.
const MaxSpatial int8 = 7

// MaxTemporal is the highest temporal layer there is, from 0.
const MaxTemporal int8 = 7

// Layer names a spatial layer (0 is the lowest) and a temporal layer in it.
type Layer struct{ Spatial, Temporal int8 }

// Frame is what the decision needs to know of the frame a packet belongs to.
type Frame struct {
	// Spatial is the simulcast layer the packet came on, Temporal its temporal
	// layer inside that.
	Spatial, Temporal int8
	// KeyFrame is set on a packet with which a decoder can begin.
	KeyFrame bool
	// Start is set on the first packet of a frame.
	Start bool
	// Sync says that the viewer may move up to this temporal layer here.
	Sync bool
	// Opaque says that the payload could not be read, or that every packet can
	// be begun with (audio): the viewer may then begin with any Start.
	Opaque bool
	// Continues says that the packet belongs to the frame of the packet this
	// viewer got last.
	Continues bool
	// Unit is the frame's place among the layers inside its stream, nil when there
	// are none. Temporal and Sync then count for streams without descriptors only.
	Unit *Unit
}

// Decision is what becomes of a packet.
type Decision uint8

const (
	// Drop: the packet is not for this viewer.
	Drop Decision = iota
	// Forward: the packet continues what the viewer gets.
	Forward
	// Switch: the packet is the first of another layer, or the first at all;
	// numbering must be joined, then it is forwarded.
	Switch
)

// Selector follows one viewer of one track. The zero value wants nothing; use
// [NewSelector].
type Selector struct {
	current Layer
	max     Layer
	target  Layer
	alive   uint8 // bit i: layer i is being received
	paused  bool
	inner   scalable // layers inside the stream
}

// NewSelector returns a selector that wants the highest layer there is and has
// begun with none.
func NewSelector() Selector {
	top := Layer{Spatial: MaxSpatial, Temporal: MaxTemporal}
	return Selector{current: Layer{Spatial: None}, max: top, target: top}
}

// SetMax limits what the viewer's application wants to see. A negative spatial
// layer means nothing.
func (s *Selector) SetMax(l Layer) { s.max = l }

// SetTarget limits what the viewer's network carries. A negative spatial layer
// means nothing.
func (s *Selector) SetTarget(l Layer) { s.target = l }

// SetPaused stops the viewer at the end of the frame, or lets it begin again with
// the next key frame.
func (s *Selector) SetPaused(paused bool) { s.paused = paused }

// Limits returns what SetMax and SetTarget set.
func (s *Selector) Limits() (maximum, target Layer) { return s.max, s.target }

// Paused reports whether the viewer gets nothing, by pause or by limits.
func (s *Selector) Paused() bool { return s.paused || s.limit() < 0 }

// SetAlive says which simulcast layers are being received, bit i for layer i.
func (s *Selector) SetAlive(mask uint8) { s.alive = mask }

// Current returns the simulcast layer the viewer is on; its spatial layer is None
// when the viewer has not begun.
func (s *Selector) Current() Layer { return s.current }

// Layers returns the layers the viewer gets, whether they are streams or inside
// of one, and those it should get.
func (s *Selector) Layers() (current, wanted Layer) {
	current, wanted = s.current, Layer{s.Wanted(), s.temporalLimit()}
	if !s.inner.On || current.Spatial == None {
		return current, wanted
	}
	current.Temporal = s.inner.Top.Temporal
	if s.inner.spatials > 1 {
		current.Spatial = s.inner.Top.Spatial
	}
	if wanted.Spatial == s.current.Spatial {
		inside := s.inner.wanted(s.limits())
		wanted.Temporal = inside.Temporal
		if s.inner.spatials > 1 {
			wanted.Spatial = inside.Spatial
		}
	}
	return current, wanted
}

// SetCurrent puts the viewer on a layer without a key frame, when its stream is
// carried over from another node.
func (s *Selector) SetCurrent(l Layer, inside ScalableState) {
	s.current = l
	s.inner.restore(inside)
}

// Scalable returns the state of the layers inside the viewer's stream.
func (s *Selector) Scalable() ScalableState { return s.inner.ScalableState }

// Lose makes the viewer begin again with a key frame, because the continuity of
// its layer is broken.
func (s *Selector) Lose() { s.current.Spatial = None }

// Wanted returns the spatial layer the viewer should be on: the highest living
// one within the limits, else the lowest living one above, because a picture too
// good is better than none. None when it is paused or nothing lives.
func (s *Selector) Wanted() int8 {
	if s.Paused() {
		return None
	}
	for l := min(s.limit(), MaxSpatial); l >= 0; l-- {
		if s.lives(l) {
			return l
		}
	}
	for l := s.limit() + 1; l <= MaxSpatial; l++ {
		if s.lives(l) {
			return l
		}
	}
	return None
}

// NeedKeyFrame returns the simulcast layer of which a key frame would bring the
// viewer to where it should be, None when it is there or gets there without.
func (s *Selector) NeedKeyFrame() int8 {
	w := s.Wanted()
	if w != s.current.Spatial || w != None && s.inner.On && s.inner.needKeyFrame(s.limits()) {
		return w
	}
	return None
}

// Select decides about a packet that is in order in its layer. Late packets are
// not its business: they follow what was decided about their frame.
func (s *Selector) Select(f Frame) Decision {
	if s.Paused() {
		if f.Continues && f.Spatial == s.current.Spatial {
			if f.Unit != nil {
				return s.inner.choose(&f, s.inner.Top)
			}
			return Forward // a decoder is not left with half a frame
		}
		s.current.Spatial = None
		return Drop
	}
	if f.Spatial == s.current.Spatial && f.Unit != nil && s.inner.restarts(&f) {
		s.Lose()
	}
	if f.Spatial == s.current.Spatial {
		if f.Unit != nil {
			return s.inner.choose(&f, s.limits())
		}
		if s.temporal(f) {
			return Forward
		}
		return Drop
	}
	if !f.KeyFrame && !(f.Opaque && f.Start) || !s.improves(f.Spatial) {
		return Drop
	}
	s.current = Layer{Spatial: f.Spatial, Temporal: s.temporalLimit()}
	s.inner = scalable{}
	if f.Unit != nil {
		s.inner.begin(f.Unit, s.limits())
	}
	return Switch
}

// Late reports whether a packet that comes after later ones of its layer belongs
// to a frame the viewer gets.
func (s *Selector) Late(f Frame) bool {
	return f.Unit == nil || !s.inner.On || s.inner.late(f.Unit)
}

// EndsPicture reports whether the packet is the last one of its picture for this
// viewer, because it gets no higher spatial layers.
func (s *Selector) EndsPicture(f Frame) bool { return f.Unit != nil && s.inner.ends(f.Unit) }

// ActiveTargets returns the decode targets of a descriptor that are left to the
// viewer.
func (s *Selector) ActiveTargets(d *codec.Descriptor) uint32 { return s.inner.activeTargets(d) }

// improves reports whether being on that layer is nearer to where the viewer
// should be. Before it has begun any layer within the limits is: the first
// picture counts, the right one follows.
func (s *Selector) improves(l int8) bool {
	wanted := s.Wanted()
	switch current := s.current.Spatial; {
	case l == wanted:
		return true
	case current == None:
		return l <= s.limit()
	case l > current:
		return l < wanted
	default:
		return l > wanted
	}
}

// temporal reports whether a packet of the current spatial layer belongs to the
// temporal layers the viewer gets, and moves the viewer between them: up where
// the stream allows it, down at any frame.
func (s *Selector) temporal(f Frame) bool {
	limit := s.temporalLimit()
	switch {
	case f.KeyFrame:
		s.current.Temporal = limit
	case f.Start && f.Sync && f.Temporal > s.current.Temporal && f.Temporal <= limit:
		s.current.Temporal = f.Temporal
	case f.Start && s.current.Temporal > limit:
		s.current.Temporal = limit
	}
	return f.Temporal <= s.current.Temporal
}

func (s *Selector) limits() Layer       { return Layer{s.limit(), s.temporalLimit()} }
func (s *Selector) limit() int8         { return min(s.max.Spatial, s.target.Spatial) }
func (s *Selector) temporalLimit() int8 { return max(0, min(s.max.Temporal, s.target.Temporal)) }
func (s *Selector) lives(l int8) bool   { return s.alive&(1<<l) != 0 }
