package layer

import "github.com/concertina-rtc/concertina/internal/media/codec"

// Unit is the frame of one packet in a stream that has layers inside: spatial
// ones (SVC) or temporal ones that a dependency descriptor describes.
type Unit struct {
	// Number counts the frames of all layers; meaningless unless Numbered.
	Number   uint16
	Numbered bool
	// First and Last say that the packet is the first and the last of its frame.
	First, Last bool
	// Spatial and Temporal are the frame's layers, meaningless unless Layered.
	Spatial, Temporal int8
	Layered           bool
	// SpatialSync says that a viewer of the next lower spatial layer may begin to
	// take this one here; for streams without descriptors.
	SpatialSync bool
	// InterLayer says that the frame refers to the next lower spatial layer of its
	// picture; for streams without descriptors.
	InterLayer bool
	// Spatials is the number of spatial layers of the stream; for streams without
	// descriptors.
	Spatials int8
	// Described says that the stream has descriptors. Descriptor is this packet's,
	// nil when it could not be read because its structure was lost.
	Described  bool
	Descriptor *codec.Descriptor
}

// ScalableState is what a Selector knows of the layers inside the viewer's
// stream, as plain data that can be carried to another node.
type ScalableState struct {
	// On is false when the stream has no layers inside; nothing else counts then.
	On bool
	// Top is what the viewer gets at most; Target is false before a structure has
	// been seen.
	Top Layer
	// First is the frame the viewer began with, Newest the last one decided.
	First, Newest uint16
	// Forwarded and Dropped tell what became of the newest frames: bit n%256.
	Forwarded, Dropped [frameWords]uint64
	// Broken says that a frame the viewer needs was not forwarded.
	Broken bool
}

// frameMemory is how many frames back decisions are remembered: references and
// chains rarely go further than a few pictures.
const (
	frameMemory = 256
	frameWords  = frameMemory / 64
)

// blindFrames is how many frames without a readable descriptor in a row make a
// key frame necessary. A lost structure usually comes by retransmission before.
const blindFrames = 16

// formerTops is how many changes of Top are remembered, for late packets of frames
// from before.
const formerTops = 8

// formerTop is what Top was for frames before a number.
type formerTop struct {
	top    Layer
	before uint16
}

// fate is what became of a frame.
type fate uint8

const (
	unseen    fate = iota // no packet of it has come
	forwarded             // the viewer gets it
	dropped               // it does not
	forgotten             // too long ago to say
)

// scalable chooses among the layers inside one stream for one viewer. Frames are
// decided as a whole and once; packets of a frame follow its first one.
//
// With descriptors a viewer is on a decode target: it gets the frames that are
// present in the target. It moves to another target at a frame that is a switch
// point of it and refers only to frames the viewer has got; or, at the start of a
// picture, to a target all of whose frames it gets already.
type scalable struct {
	ScalableState
	structure *codec.Structure
	spatials  int8 // spatial layers of the stream
	target    int8 // index of the decode target, -1 = everything
	active    uint32
	blind     uint8
	// former are what Top was before its latest changes, a ring; changes counts them.
	former  [formerTops]formerTop
	changes uint8
	// For NeedKeyFrame: the best target within limit.
	limit Layer
	best  int8
}

// noTarget says that no decode target has been chosen.
const noTarget int8 = -1

// begin starts the viewer at a key frame.
func (s *scalable) begin(u *Unit, limit Layer) {
	*s = scalable{ScalableState: ScalableState{On: true, Top: limit, First: u.Number, Newest: u.Number}, target: noTarget, best: noTarget}
	switch d := u.Descriptor; {
	case d != nil:
		s.adopt(d, limit)
		s.setTarget(s.entry(d, limit), u)
	case !u.Described:
		s.spatials = max(u.Spatials, 1)
		s.Top.Spatial = min(limit.Spatial, s.spatials-1)
	}
	s.changes = 0
	s.note(u, true)
}

// resume starts the selection for a viewer that gets all of the stream already.
func (s *scalable) resume(u *Unit, limit Layer) {
	*s = scalable{
		ScalableState: ScalableState{On: true, Top: limit, First: u.Number - 1<<13, Newest: u.Number - 1},
		target:        noTarget, best: noTarget,
	}
}

// restore makes the selection go on where another one stopped.
func (s *scalable) restore(state ScalableState) {
	*s = scalable{ScalableState: state, target: noTarget, best: noTarget}
}

// restarts reports whether a packet begins a key frame that was numbered before:
// the encoder has begun anew.
func (s *scalable) restarts(f *Frame) bool {
	return s.On && f.KeyFrame && f.Start && s.fate(f.Unit) != unseen
}

// entry returns the best target within the limit that can be begun with this
// frame, else the lowest that can.
func (s *scalable) entry(d *codec.Descriptor, limit Layer) int8 {
	var mask uint32
	for t := range s.structure.NumTargets {
		if d.Frame.DTIs[t] == codec.DTISwitch {
			mask |= 1 << t
		}
	}
	return find(s.structure, limit, mask&d.Active)
}

// adopt takes over a structure and finds what is wanted of it.
func (s *scalable) adopt(d *codec.Descriptor, limit Layer) {
	if d.Structure != s.structure {
		s.structure = d.Structure
		spatial, _ := d.Structure.MaxLayers()
		s.spatials = int8(spatial) + 1 //nolint:gosec // at most 4
		s.target = find(s.structure, s.Top, ^uint32(0))
		s.best = noTarget
		s.active = 0
	}
	if s.active != d.Active || s.limit != limit || s.best == noTarget {
		s.active, s.limit = d.Active, limit
		s.best = find(s.structure, limit, d.Active)
	}
}

// find returns the best target of a mask within a limit, else the lowest of the
// mask, noTarget when it is empty.
func find(s *codec.Structure, limit Layer, mask uint32) int8 {
	best, lowest := noTarget, noTarget
	for t := range int8(s.NumTargets) { //nolint:gosec // at most 32
		if mask&(1<<t) == 0 {
			continue
		}
		l := layerOf(s, t)
		if lowest == noTarget || below(l, layerOf(s, lowest)) {
			lowest = t
		}
		if within(l, limit) && (best == noTarget || below(layerOf(s, best), l)) {
			best = t
		}
	}
	if best == noTarget {
		return lowest
	}
	return best
}

// choose decides about a packet in order.
func (s *scalable) choose(f *Frame, limit Layer) Decision {
	u := f.Unit
	if !s.On {
		s.resume(u, limit)
	}
	switch s.fate(u) {
	case forwarded:
		return Forward
	case dropped, forgotten:
		return Drop
	}
	take := s.judge(f, u, limit)
	s.note(u, take)
	if take {
		return Forward
	}
	return Drop
}

// judge decides about a frame of which nothing is known yet.
func (s *scalable) judge(f *Frame, u *Unit, limit Layer) bool {
	d := u.Descriptor
	switch {
	case d != nil:
		s.blind = 0
		s.adopt(d, limit)
		s.setTarget(s.next(f, u), u)
		if f.KeyFrame {
			s.Broken = false
		}
		return s.wants(d, u.Number, true)
	case u.Described:
		s.blind = min(s.blind+1, blindFrames)
		return !u.Layered || within(Layer{u.Spatial, u.Temporal}, s.Top)
	default:
		s.layers(f, u, limit)
		return within(Layer{u.Spatial, u.Temporal}, s.Top)
	}
}

// next returns the target the viewer should be on from this frame on: of those it
// can go on with, the best within what is wanted, else the present one.
func (s *scalable) next(f *Frame, u *Unit) int8 {
	if s.best == s.target || s.best == noTarget {
		return s.target
	}
	wanted, best := s.layerOf(s.best), noTarget
	for t := range int8(s.structure.NumTargets) { //nolint:gosec // at most 32
		if s.active&(1<<t) == 0 || !within(s.layerOf(t), wanted) {
			continue
		}
		if best != noTarget && !below(s.layerOf(best), s.layerOf(t)) {
			continue
		}
		if t == s.target && !s.Broken || s.reaches(f, u, t) {
			best = t
		}
	}
	if best == noTarget {
		return s.target
	}
	return best
}

// reaches reports whether the viewer can go on with target t at this frame.
func (s *scalable) reaches(f *Frame, u *Unit, t int8) bool {
	d := u.Descriptor
	if d.Frame.DTIs[t] == codec.DTISwitch {
		return u.First && s.gotReferences(d, u.Number)
	}
	if f.Continues || s.target == noTarget || s.Broken || s.structure.Within[s.target]&(1<<t) == 0 {
		return false // in the middle of a picture its last packet may have gone out unmarked
	}
	return s.chainHolds(d, u.Number, t)
}

// gotReferences reports whether the viewer has got all frames this one refers to.
func (s *scalable) gotReferences(d *codec.Descriptor, number uint16) bool {
	for _, diff := range d.Frame.FrameDiffs[:d.Frame.NumDiffs] {
		if s.fateOf(number-diff) != forwarded {
			return false
		}
	}
	return true
}

// chainHolds reports whether the frame before this one in the chain that protects
// target t was not kept from the viewer.
func (s *scalable) chainHolds(d *codec.Descriptor, number uint16, t int8) bool {
	if s.structure.NumChains == 0 {
		return true
	}
	diff := d.Frame.ChainDiffs[s.structure.Targets[t].Chain]
	return diff == 0 || s.fateOf(number-uint16(diff)) != dropped
}

// wants reports whether the viewer's target has the frame, and all it refers to
// was forwarded or may still come.
func (s *scalable) wants(d *codec.Descriptor, number uint16, inOrder bool) bool {
	if s.target == noTarget {
		return true
	}
	dti := d.Frame.DTIs[s.target]
	if dti == codec.DTINotPresent {
		return false
	}
	for _, diff := range d.Frame.FrameDiffs[:d.Frame.NumDiffs] {
		if s.fateOf(number-diff) == dropped {
			s.Broken = s.Broken || inOrder && dti != codec.DTIDiscardable
			return false
		}
	}
	return true
}

// layers moves a viewer of a stream without descriptors (VP9, RFC 9628) between
// the layers. Of lower spatial layers it gets everything.
func (s *scalable) layers(f *Frame, u *Unit, limit Layer) {
	s.spatials = max(s.spatials, u.Spatials, 1)
	limit.Spatial = min(limit.Spatial, s.spatials-1)
	s.limit = limit
	top := s.Top
	switch {
	case f.KeyFrame && f.Start && !f.Continues:
		top = limit
	case !f.Continues:
		top = Layer{min(top.Spatial, limit.Spatial), min(top.Temporal, limit.Temporal)}
		if u.First && f.Sync && u.Temporal > top.Temporal && u.Temporal <= limit.Temporal {
			top.Temporal = u.Temporal
		}
	}
	if u.First && u.SpatialSync && u.Spatial == top.Spatial+1 && u.Spatial <= limit.Spatial && (f.Continues || !u.InterLayer) {
		top.Spatial = u.Spatial
	}
	s.setTop(top, u)
}

func (s *scalable) setTarget(t int8, u *Unit) {
	s.target = t
	if t != noTarget {
		s.setTop(s.layerOf(t), u)
	}
}

func (s *scalable) setTop(top Layer, u *Unit) {
	if top != s.Top && u.Numbered {
		s.former[s.changes%formerTops] = formerTop{s.Top, u.Number}
		s.changes++
	}
	s.Top = top
}

// topAt returns what Top was for a frame, as far back as changes are remembered.
func (s *scalable) topAt(u *Unit) Layer {
	top := s.Top
	if !u.Numbered {
		return top
	}
	for i := range min(s.changes, formerTops) {
		f := &s.former[(s.changes-1-i)%formerTops]
		if age := f.before - u.Number; age == 0 || age >= frameMemory {
			break
		}
		top = f.top
	}
	return top
}

// needKeyFrame reports whether only a key frame brings the viewer to the spatial
// layer it should be on. Temporal layers come and go by themselves.
func (s *scalable) needKeyFrame(limit Layer) bool {
	if s.Broken || s.blind >= blindFrames {
		return true
	}
	if s.structure == nil || s.target == noTarget {
		return s.structure == nil && s.target == noTarget && min(limit.Spatial, s.spatials-1) > s.Top.Spatial
	}
	if s.limit != limit || s.best == noTarget {
		s.limit, s.best = limit, find(s.structure, limit, s.active)
	}
	if s.best == noTarget || s.layerOf(s.best).Spatial == s.Top.Spatial {
		return false
	}
	return s.structure.Within[s.target]&(1<<s.best) == 0
}

// wanted returns the layers the viewer should be on.
func (s *scalable) wanted(limit Layer) Layer {
	if s.structure == nil {
		return Layer{min(limit.Spatial, s.spatials-1), limit.Temporal}
	}
	if t := find(s.structure, limit, s.active); t != noTarget {
		return s.layerOf(t)
	}
	return s.Top
}

// late decides about a packet that comes after later ones.
func (s *scalable) late(u *Unit) bool {
	switch s.fate(u) {
	case forwarded:
		return true
	case dropped, forgotten:
		return false
	}
	take := true
	if d := u.Descriptor; d != nil {
		if s.structure == nil {
			s.adopt(d, s.Top)
		}
		now := s.target
		if now != noTarget || d.Structure != s.structure {
			s.target = find(d.Structure, s.topAt(u), ^uint32(0))
		}
		take = s.wants(d, u.Number, false)
		s.target = now
	} else if u.Layered {
		take = within(Layer{u.Spatial, u.Temporal}, s.topAt(u))
	}
	s.note(u, take)
	return take
}

// ends reports whether the packet is the last one of a picture for this viewer.
func (s *scalable) ends(u *Unit) bool {
	if !s.On || !u.Last || !u.Layered || u.Described && u.Descriptor == nil {
		return false
	}
	return u.Spatial == min(s.topAt(u).Spatial, max(s.spatials-1, 0))
}

// activeTargets returns the targets that are left to the viewer of those the
// sender produces.
func (s *scalable) activeTargets(d *codec.Descriptor) uint32 {
	if s.target == noTarget || d.Structure != s.structure {
		return d.Active
	}
	return d.Active & s.structure.Within[s.target]
}

func (s *scalable) layerOf(t int8) Layer { return layerOf(s.structure, t) }

func layerOf(s *codec.Structure, t int8) Layer {
	l := &s.Targets[t]
	return Layer{int8(l.Spatial), int8(l.Temporal)} //nolint:gosec // at most 7
}

// fate returns what became of a packet's frame.
func (s *scalable) fate(u *Unit) fate {
	if !u.Numbered {
		return unseen
	}
	return s.fateOf(u.Number)
}

func (s *scalable) fateOf(number uint16) fate {
	age := int16(s.Newest - number) //nolint:gosec // wrap-around arithmetic
	switch {
	case age < 0:
		return unseen
	case int16(number-s.First) < 0: //nolint:gosec // wrap-around arithmetic
		return dropped
	case age >= frameMemory:
		return forgotten
	}
	word, bit := number%frameMemory/64, uint64(1)<<(number%64)
	switch {
	case s.Forwarded[word]&bit != 0:
		return forwarded
	case s.Dropped[word]&bit != 0:
		return dropped
	}
	return unseen
}

// note remembers what became of a frame.
func (s *scalable) note(u *Unit, take bool) {
	if !u.Numbered {
		return
	}
	number := u.Number
	if ahead := int16(number - s.Newest); ahead > 0 { //nolint:gosec // wrap-around arithmetic
		if ahead >= frameMemory {
			s.Forwarded, s.Dropped = [frameWords]uint64{}, [frameWords]uint64{}
		} else {
			for n := s.Newest + 1; n != number+1; n++ {
				s.Forwarded[n%frameMemory/64] &^= 1 << (n % 64)
				s.Dropped[n%frameMemory/64] &^= 1 << (n % 64)
			}
		}
		s.Newest = number
		if int16(number-s.First) > 1<<14 { //nolint:gosec // wrap-around arithmetic
			s.First = number - 1<<13 // it stays behind when numbers wrap
		}
		if s.changes > 0 && number-s.former[(s.changes-1)%formerTops].before >= frameMemory {
			s.changes = 0 // too long ago for late packets
		}
	}
	word, bit := number%frameMemory/64, uint64(1)<<(number%64)
	if take {
		s.Forwarded[word] |= bit
	} else {
		s.Dropped[word] |= bit
	}
}

// within reports whether a layer is within a limit.
func within(l, limit Layer) bool { return l.Spatial <= limit.Spatial && l.Temporal <= limit.Temporal }

// below orders layers, spatial ones first.
func below(a, b Layer) bool {
	if a.Spatial != b.Spatial {
		return a.Spatial < b.Spatial
	}
	return a.Temporal < b.Temporal
}
