package layer

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/concertina-rtc/concertina/internal/media/codec"
)

// mode is a scalability mode as W3C's webrtc-svc names it.
type mode struct {
	spatial, temporal int
	kind              byte // 'F' every picture refers between layers, 'K' key pictures do (_KEY), 'S' none does
}

func (m mode) String() string { return fmt.Sprintf("L%dT%d%c", m.spatial, m.temporal, m.kind) }

var modes = []mode{
	{1, 1, 'F'}, {1, 3, 'F'}, {2, 1, 'F'}, {2, 2, 'F'}, {3, 3, 'F'}, {2, 2, 'K'}, {3, 1, 'K'}, {3, 3, 'K'}, {2, 2, 'S'},
}

// encoder makes the frames of a scalability mode with their descriptors.
type encoder struct {
	mode
	s       *codec.Structure
	number  uint16
	picture int // since the key picture
	// last is the newest frame of each layer, low the newest below each temporal
	// layer, chain the newest of each chain; number+1, 0 = none since the key picture.
	last  [4][4]int
	chain [4]int
	// frames are what was made, by number.
	frames map[uint16]*codec.Descriptor
}

func newEncoder(m mode, first uint16) *encoder {
	e := &encoder{mode: m, number: first, frames: map[uint16]*codec.Descriptor{}}
	s := &codec.Structure{NumTargets: uint8(m.spatial * m.temporal), NumChains: uint8(m.spatial)}
	for i := range s.Targets[:s.NumTargets] {
		s.Targets[i] = codec.DecodeTarget{Spatial: uint8(i / m.temporal), Temporal: uint8(i % m.temporal), Chain: uint8(i / m.temporal)}
		s.Within[i] = 1<<s.NumTargets - 1
	}
	for i := range m.spatial {
		for j := range m.temporal {
			t := codec.FrameTemplate{Spatial: uint8(i), Temporal: uint8(j), DTIs: e.dtis(i, j, false)}
			s.Templates[s.NumTemplates] = t
			s.NumTemplates++
			for a := range int(s.NumTargets) {
				for b := range int(s.NumTargets) {
					if t.DTIs[a] == codec.DTINotPresent && t.DTIs[b] != codec.DTINotPresent {
						s.Within[a] &^= 1 << b
					}
				}
			}
		}
	}
	e.s = s
	return e
}

// dtis says what a frame is to each target.
func (e *encoder) dtis(spatial, temporal int, key bool) (out [codec.MaxDecodeTargets]codec.DTI) {
	for i := range e.spatial * e.temporal {
		ts, tt := i/e.temporal, i%e.temporal
		in := ts == spatial || spatial < ts && (e.kind == 'F' || e.kind == 'K' && key)
		switch {
		case !in || temporal > tt:
		case key || spatial == ts && temporal == 0:
			out[i] = codec.DTISwitch
		case spatial == ts && temporal == tt:
			out[i] = codec.DTIDiscardable
		case spatial == ts:
			out[i] = codec.DTISwitch
		default:
			out[i] = codec.DTIRequired
		}
	}
	return out
}

// next makes the frames of a picture.
func (e *encoder) next(key bool) (out []*codec.Descriptor) {
	if key {
		e.picture, e.last, e.chain = 0, [4][4]int{}, [4]int{}
	}
	temporal := 0
	switch {
	case e.temporal == 2:
		temporal = e.picture % 2
	case e.temporal == 3:
		temporal = []int{0, 2, 1, 2}[e.picture%4]
	}
	for s := range e.spatial {
		d := &codec.Descriptor{FrameNumber: e.number, Structure: e.s, Active: 1<<e.s.NumTargets - 1, KeyPicture: key}
		d.Attached = key && s == 0
		f := &d.Frame
		f.Spatial, f.Temporal, f.DTIs = uint8(s), uint8(temporal), e.dtis(s, temporal, key)
		refer := func(to int) {
			if to > 0 {
				f.FrameDiffs[f.NumDiffs] = e.number - uint16(to-1)
				f.NumDiffs++
			}
		}
		if !key {
			newest := 0 // of the same spatial layer and a lower temporal one
			for t := range max(temporal, 1) {
				if n := e.last[s][t]; newest == 0 || n > 0 && int16(uint16(n)-uint16(newest)) > 0 {
					newest = n
				}
			}
			refer(newest)
		}
		if s > 0 && (e.kind == 'F' || e.kind == 'K' && key) {
			refer(int(e.number-1) + 1)
		}
		for c := range e.spatial {
			if e.chain[c] > 0 {
				f.ChainDiffs[c] = uint8(e.number - uint16(e.chain[c]-1))
			}
		}
		for c := range e.spatial {
			if temporal == 0 && (c == s || s < c && (e.kind == 'F' || e.kind == 'K' && key)) {
				e.chain[c] = int(e.number) + 1
			}
		}
		e.last[s][temporal] = int(e.number) + 1
		e.frames[e.number] = d
		e.number++
		out = append(out, d)
	}
	e.picture++
	return out
}

// viewer is a Selector and what came of it.
type viewer struct {
	Selector
	got      map[uint16]Decision // by frame
	begun    bool
	pictures int // the last one of which it got a packet
}

func newViewer() *viewer {
	v := &viewer{Selector: NewSelector(), got: map[uint16]Decision{}}
	v.SetAlive(1)
	return v
}

func frameOf(d *codec.Descriptor, first, last bool) Frame {
	return Frame{
		KeyFrame: first && d.Attached && d.Frame.NumDiffs == 0, Start: first,
		Unit: &Unit{
			Number: d.FrameNumber, Numbered: true, First: first, Last: last, Described: true, Layered: true, Descriptor: d,
			Spatial: int8(d.Frame.Spatial), Temporal: int8(d.Frame.Temporal),
		},
	}
}

// offer gives the viewer a packet of a picture and reports whether it is forwarded
// and marked.
func (v *viewer) offer(picture int, d *codec.Descriptor, first, last bool) (take, marked bool) {
	f := frameOf(d, first, last)
	f.Continues = v.pictures == picture
	switch v.Select(f) {
	case Switch:
		v.got = map[uint16]Decision{}
		take = true
	case Forward:
		take = true
	}
	if take {
		v.pictures = picture
	}
	return take, take && v.EndsPicture(f)
}

// TestModes walks each mode through changes of the limits, without loss.
func TestModes(t *testing.T) {
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			e, v := newEncoder(m, 65500), newViewer()
			picture := 0
			run := func(pictures int, key bool) {
				for range pictures {
					picture++
					var lastTaken *codec.Descriptor
					marks := 0
					for _, d := range e.next(key) {
						for part := range 2 {
							take, marked := v.offer(picture, d, part == 0, part == 1)
							if take {
								lastTaken = d
							}
							if marked {
								marks++
								if int8(d.Frame.Spatial) != v.inner.Top.Spatial {
									t.Fatalf("marked layer %d on %+v", d.Frame.Spatial, v.inner.Top)
								}
							}
						}
					}
					if lastTaken != nil && marks != 1 && m.kind != 'S' {
						t.Fatalf("picture %d: %d marks", picture, marks)
					}
					key = false
				}
			}
			run(3, false)
			if v.Current().Spatial != None || v.NeedKeyFrame() != 0 {
				t.Fatal("began without a key frame")
			}
			run(1, true)
			top := Layer{int8(m.spatial - 1), int8(m.temporal - 1)}
			if now, wanted := v.Layers(); now != top || wanted != top || v.NeedKeyFrame() != None {
				t.Fatalf("begins on %v, wants %v, the top is %v", now, wanted, top)
			}
			run(4, false) // just after a key picture every layer would be at hand
			for spatial := range int8(m.spatial) {
				for temporal := range int8(m.temporal) {
					for _, limit := range []Layer{{spatial, temporal}, top, {0, 0}, {spatial, temporal}} {
						before, _ := v.Layers()
						v.SetMax(limit)
						free := limit.Spatial == before.Spatial || limit.Spatial < before.Spatial && m.kind == 'F'
						run(8, false)
						now, wanted := v.Layers()
						if wanted != limit {
							t.Fatalf("limit %v: wants %v", limit, wanted)
						}
						if (now == wanted) != free {
							t.Fatalf("from %v to %v without a key frame: on %v", before, limit, now)
						}
						if need := v.NeedKeyFrame(); (need == 0) == free {
							t.Fatalf("from %v to %v: needs %d", before, limit, need)
						}
						if !free {
							run(1, true)
							if now, _ := v.Layers(); now != limit || v.NeedKeyFrame() != None {
								t.Fatalf("after the key picture on %v, wants %v", now, limit)
							}
							run(4, false)
						}
					}
				}
			}
		})
	}
}

// packet is one of a frame, on its way.
type packet struct {
	d           *codec.Descriptor
	picture     int
	first, last bool
	late        int // packets to pass before it
	index       int // in the order of sending
}

// TestScalableProperties: whatever is lost, late, repeated by a key frame or limited, a viewer gets
// whole frames all of whose references it gets too, and nothing above what it is on.
func TestScalableProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := newEncoder(rapid.SampledFrom(modes).Draw(t, "mode"), rapid.Uint16().Draw(t, "number"))
		v := newViewer()
		loss := rapid.SampledFrom([]int{0, 0, 3, 15}).Draw(t, "loss %")
		delay := rapid.SampledFrom([]int{0, 0, 10}).Draw(t, "late %")
		chance := func(percent int, what string) bool {
			return percent > 0 && rapid.IntRange(0, 99).Draw(t, what) < percent
		}
		decided := map[uint16]bool{} // frames since the viewer began, forwarded or not
		seen := map[uint16]bool{}
		decide := func(p packet, take bool) {
			n := p.d.FrameNumber
			if before, ok := decided[n]; ok && before != take {
				t.Fatalf("frame %d is half forwarded", n)
			}
			decided[n], seen[n] = take, true
			if !take {
				return
			}
			for _, diff := range p.d.Frame.FrameDiffs[:p.d.Frame.NumDiffs] {
				if ref := n - diff; seen[ref] && !decided[ref] {
					t.Fatalf("frame %d is forwarded, %d it refers to is not", n, ref)
				}
			}
		}
		newest := -1
		var held []packet
		index := 0
		deliver := func(p packet, inOrder bool) {
			if !inOrder {
				if _, known := v.Layers(); v.Current().Spatial == None || known.Spatial == None {
					return
				}
				decide(p, v.Late(frameOf(p.d, p.first, p.last)))
				return
			}
			begun := v.Current().Spatial
			take, _ := v.offer(p.picture, p.d, p.first, p.last)
			if begun == None && v.Current().Spatial != None {
				clear(decided)
				clear(seen)
			}
			if v.Current().Spatial != None {
				decide(p, take)
			}
		}
		for picture := range rapid.IntRange(2, 40).Draw(t, "pictures") {
			key := picture == 0 || chance(5, "key") || v.NeedKeyFrame() != None && chance(30, "answer")
			for _, d := range e.next(key) {
				parts := rapid.IntRange(1, 2).Draw(t, "packets")
				for part := range parts {
					index++
					p := packet{d: d, picture: picture, first: part == 0, last: part == parts-1, index: index}
					switch {
					case chance(loss, "loss"):
					case chance(delay, "delay"):
						p.late = rapid.IntRange(1, 12).Draw(t, "by")
						held = append(held, p)
					default:
						newest = index
						deliver(p, true)
					}
					keep := held[:0]
					for _, h := range held {
						if h.late--; h.late == 0 {
							deliver(h, h.index > newest)
							newest = max(newest, h.index)
						} else {
							keep = append(keep, h)
						}
					}
					held = keep
				}
			}
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0:
				v.SetMax(Layer{rapid.Int8Range(0, 2).Draw(t, "max"), rapid.Int8Range(0, 2).Draw(t, "maxT")})
			case 1:
				v.SetTarget(Layer{rapid.Int8Range(-1, 2).Draw(t, "target"), rapid.Int8Range(0, 2).Draw(t, "targetT")})
			case 2:
				state, current := v.Scalable(), v.Current()
				other := newViewer()
				limit, target := v.Limits()
				other.SetMax(limit)
				other.SetTarget(target)
				other.SetCurrent(current, state)
				other.pictures = v.pictures
				v = other
			}
		}
		for range 16 { // left alone with a key picture, it is where it should be
			if v.Paused() {
				return
			}
			for _, d := range e.next(v.NeedKeyFrame() != None) {
				v.offer(1000+e.picture, d, true, true)
			}
		}
		if now, wanted := v.Layers(); now != wanted || v.NeedKeyFrame() != None {
			t.Fatalf("on %v, wants %v, needs %d", now, wanted, v.NeedKeyFrame())
		}
	})
}

// TestLongRun: numbers wrap, and nothing of long ago is mistaken for now.
func TestLongRun(t *testing.T) {
	e, v := newEncoder(mode{2, 1, 'F'}, 0), newViewer()
	for picture := range 50_000 {
		if picture == 10 {
			v.SetMax(Layer{0, 0})
		}
		for i, d := range e.next(picture == 0) {
			take, marked := v.offer(picture+1, d, true, true)
			want := i == 0 || picture < 10
			if take != want || marked != (want && (i == 1 || picture >= 10)) {
				t.Fatalf("picture %d, layer %d: forwarded %v, marked %v", picture, i, take, marked)
			}
		}
	}
}

// TestInactiveTargets: the encoder stops a spatial layer, and brings it back with
// a key picture.
func TestInactiveTargets(t *testing.T) {
	for _, m := range []mode{{3, 1, 'F'}, {3, 1, 'K'}} {
		e, v := newEncoder(m, 7), newViewer()
		send := func(picture int, key bool, active uint32) {
			for _, d := range e.next(key)[:min(3, 1+int(active)/2)] {
				d.Active = active
				v.offer(picture, d, true, true)
			}
		}
		for i := range 4 {
			send(1+i, i == 0, 7)
		}
		send(10, false, 3)
		now, wanted := v.Layers()
		if need := v.NeedKeyFrame(); wanted.Spatial != 1 || (now.Spatial == 1) != (m.kind == 'F') || (need == 0) != (m.kind == 'K') {
			t.Errorf("%v: the top layer stopped: on %v, wants %v, needs %d", m, now, wanted, need)
		}
		if got := v.ActiveTargets(&codec.Descriptor{Structure: e.s, Active: 3}); m.kind == 'F' && got != 3 {
			t.Errorf("%v: active targets %b", m, got)
		}
		send(11, true, 7)
		if now, _ := v.Layers(); now.Spatial != 2 || v.NeedKeyFrame() != None {
			t.Errorf("%v: it is back, but the viewer is on %v", m, now)
		}
	}
}

// TestRestartedNumbers: a key frame whose number was passed long ago begins anew.
func TestRestartedNumbers(t *testing.T) {
	e, v := newEncoder(mode{1, 1, 'F'}, 1000), newViewer()
	for i := range 20 {
		v.offer(i+1, e.next(i == 0)[0], true, true)
	}
	e.number = 900
	if v.Select(frameOf(e.next(false)[0], true, true)) != Drop {
		t.Error("a frame from before the key frame was forwarded")
	}
	if v.Select(frameOf(e.next(true)[0], true, true)) != Switch || v.Select(frameOf(e.next(false)[0], true, true)) != Forward {
		t.Error("the key frame was not joined")
	}
}

// TestLostStructure: descriptors cannot be read after a key frame whose start was
// lost. The viewer gets on, and a key frame is asked for when the structure does
// not come.
func TestLostStructure(t *testing.T) {
	e, v := newEncoder(mode{2, 1, 'F'}, 1), newViewer()
	for i := range 3 {
		for _, d := range e.next(i == 0) {
			v.offer(i+1, d, true, true)
		}
	}
	v.SetMax(Layer{0, 0})
	for _, d := range e.next(false) {
		v.offer(4, d, true, true)
	}
	for i := range 10 {
		for spatial, d := range e.next(i == 0) {
			f := frameOf(d, true, true)
			f.KeyFrame, f.Unit.Descriptor = false, nil
			f.Unit.Layered = true
			if got := v.Select(f); (got == Forward) != (spatial == 0) {
				t.Fatalf("layer %d: %v", spatial, got)
			}
		}
		if need := v.NeedKeyFrame(); (need == 0) != (i >= 7) {
			t.Errorf("after %d pictures it needs %d", i+1, need)
		}
	}
}

// TestBlindStart: a viewer that begins where nothing can be read is put right by
// the next key frame.
func TestBlindStart(t *testing.T) {
	e, v := newEncoder(mode{2, 1, 'K'}, 1), newViewer()
	e.next(true)
	v.SetMax(Layer{0, 0})
	f := frameOf(e.next(false)[0], true, true)
	f.Unit.Descriptor, f.Unit.Layered, f.Opaque = nil, false, true
	if v.Select(f) != Switch || v.EndsPicture(f) {
		t.Fatal("an unreadable stream was not begun")
	}
	for i := range 2 {
		for spatial, d := range e.next(i == 0) {
			if take, _ := v.offer(i+10, d, true, true); take != (spatial == 0) {
				t.Errorf("picture %d, layer %d: forwarded %v", i, spatial, take)
			}
		}
	}
}

// vp9Frame is a layer frame of a stream without descriptors.
func vp9Frame(picture, spatial, temporal int, inter, interLayer, up bool, layers int) Frame {
	return Frame{
		KeyFrame: spatial == 0 && !inter, Start: true, Sync: temporal == 0 || up,
		Unit: &Unit{
			Number: uint16(picture<<3 | spatial), Numbered: true, First: true, Last: true, Layered: true,
			Spatial: int8(spatial), Temporal: int8(temporal), SpatialSync: !inter, InterLayer: interLayer, Spatials: int8(layers),
		},
	}
}

// TestVP9Layers: selection by the payload descriptor.
func TestVP9Layers(t *testing.T) {
	v, picture := newViewer(), 100
	// send sends a picture and returns the layers forwarded and the one marked.
	send := func(temporal int, key, up bool) (taken, marked int) {
		picture++
		marked = -1
		sent := false
		for s := range 3 {
			f := vp9Frame(picture, s, temporal, !key, s > 0 && key, up, 3)
			f.Continues = sent
			if v.Select(f) == Drop {
				continue
			}
			taken, sent = taken+1, true
			if v.EndsPicture(f) {
				marked = s
			}
		}
		return taken, marked
	}
	check := func(what string, taken, marked, wantTaken, wantMarked int) {
		t.Helper()
		if taken != wantTaken || marked != wantMarked {
			t.Errorf("%s: %d layers forwarded, %d marked; want %d, %d", what, taken, marked, wantTaken, wantMarked)
		}
	}
	step := func(what string, temporal int, key, up bool, taken, marked int) {
		t.Helper()
		a, b := send(temporal, key, up)
		check(what, a, b, taken, marked)
	}
	step("before the key frame", 0, false, false, 0, -1)
	step("key frame", 0, true, false, 3, 2)
	step("upper temporal layer", 1, false, true, 3, 2)
	v.SetMax(Layer{1, 7})
	step("down at once", 0, false, false, 2, 1)
	if v.NeedKeyFrame() != None {
		t.Error("a key frame is needed to go down")
	}
	v.SetMax(Layer{2, 7})
	step("not up without a key frame", 0, false, false, 2, 1)
	if v.NeedKeyFrame() != 0 {
		t.Error("no key frame is needed to go up")
	}
	step("up with one", 0, true, false, 3, 2)
	v.SetMax(Layer{0, 0})
	step("lowest layer", 0, false, false, 1, 0)
	step("no upper temporal layer", 1, false, true, 0, -1)
	v.SetMax(Layer{0, 7})
	step("temporal layer without a switch point", 1, false, false, 0, -1)
	step("temporal layer with one", 1, false, true, 1, 0)
	if now, wanted := v.Layers(); now != (Layer{0, 1}) || wanted.Spatial != 0 {
		t.Errorf("on %v, wants %v", now, wanted)
	}
	v.SetMax(Layer{7, 7})
	if _, wanted := v.Layers(); wanted.Spatial != 2 {
		t.Errorf("wants %v of three layers", wanted)
	}
	late := vp9Frame(picture, 2, 1, true, false, false, 3)
	if v.Late(late) {
		t.Error("a late packet of a layer above was forwarded")
	}
	late.Unit.Spatial, late.Unit.Number = 0, uint16(picture<<3)
	if !v.Late(late) {
		t.Error("a late packet of the viewer's layer was not forwarded")
	}
}

// TestLateFollowsItsTime: a frame of which nothing had come belongs to what the
// viewer was on then, not to what it is on now.
func TestLateFollowsItsTime(t *testing.T) {
	e, v := newEncoder(mode{2, 1, 'F'}, 65530), newViewer()
	var missing []*codec.Descriptor
	for i := range 8 {
		if i == 5 {
			v.SetMax(Layer{0, 0})
		}
		for spatial, d := range e.next(i == 0) {
			if spatial == 1 && (i == 3 || i == 6) {
				missing = append(missing, d)
				continue
			}
			v.offer(i+1, d, true, true)
		}
	}
	if f := frameOf(missing[0], true, true); !v.Late(f) || !v.EndsPicture(f) {
		t.Error("a frame of the layer the viewer was on is refused, or not marked")
	}
	if v.Late(frameOf(missing[1], true, true)) {
		t.Error("a frame of a layer the viewer had left is forwarded")
	}
	if v.Late(frameOf(&codec.Descriptor{FrameNumber: 65000, Structure: e.s}, true, true)) {
		t.Error("a frame from before the viewer began is forwarded")
	}
}

// TestLimitInTheMiddleOfAPicture: what has begun of a picture is finished, or its
// end would not be marked.
func TestLimitInTheMiddleOfAPicture(t *testing.T) {
	e, v := newEncoder(mode{2, 2, 'F'}, 1), newViewer()
	for _, d := range e.next(true) {
		v.offer(1, d, true, true)
	}
	upper := e.next(false) // of temporal layer 1
	v.offer(2, upper[0], true, true)
	v.SetMax(Layer{1, 0})
	if take, marked := v.offer(2, upper[1], true, true); !take || !marked {
		t.Errorf("the rest of the picture: forwarded %v, marked %v", take, marked)
	}
	e.next(false)
	if take, _ := v.offer(4, e.next(false)[0], true, true); take {
		t.Error("the next picture of the upper temporal layer was forwarded")
	}
}

// TestSkippedLayerIsNotGoneBackTo: the viewer came to the top layer past the middle
// one, of which it has nothing, although the top one usually contains it.
func TestSkippedLayerIsNotGoneBackTo(t *testing.T) {
	e, v := newEncoder(mode{3, 1, 'F'}, 1), newViewer()
	v.SetMax(Layer{0, 0})
	for i := range 3 {
		for _, d := range e.next(i == 0) {
			v.offer(i+1, d, true, true)
		}
	}
	v.SetMax(Layer{2, 0})
	for i, d := range e.next(false) {
		if i == 2 { // a switch point that refers to the lowest layer only
			d.Frame.NumDiffs, d.Frame.FrameDiffs[0] = 1, 2
		}
		if take, _ := v.offer(4, d, true, true); take != (i != 1) {
			t.Fatalf("layer %d: forwarded %v", i, take)
		}
	}
	v.SetMax(Layer{1, 0})
	for i, d := range e.next(false) {
		if take, marked := v.offer(5, d, true, true); take != (i == 0) || marked != (i == 0) {
			t.Errorf("layer %d: forwarded %v, marked %v", i, take, marked)
		}
	}
	if now, _ := v.Layers(); now.Spatial != 0 || v.NeedKeyFrame() != 0 {
		t.Errorf("on %v, needs %d; want layer 0 and a key frame", now, v.NeedKeyFrame())
	}
}

// TestMissingReference: a frame of the viewer's own target refers to one that it
// did not get. It is not forwarded, nor is what refers to it, until a key frame.
func TestMissingReference(t *testing.T) {
	e, v := newEncoder(mode{2, 1, 'K'}, 1), newViewer()
	v.SetMax(Layer{0, 0})
	send := func(picture int, key bool, change func([]*codec.Descriptor)) (taken int) {
		frames := e.next(key)
		change(frames)
		for _, d := range frames {
			if take, _ := v.offer(picture, d, true, true); take {
				taken++
			}
		}
		return taken
	}
	same := func([]*codec.Descriptor) {}
	send(1, true, same)
	send(2, false, same)
	wrong := func(f []*codec.Descriptor) { f[0].Frame.FrameDiffs[0] = 1 } // of the upper layer
	if got := send(3, false, wrong); got != 0 || v.NeedKeyFrame() != 0 {
		t.Errorf("%d frames forwarded, needs %d", got, v.NeedKeyFrame())
	}
	if got := send(4, false, same); got != 0 {
		t.Errorf("%d frames forwarded that refer to it", got)
	}
	if got := send(5, true, same); got != 1 || v.NeedKeyFrame() != None {
		t.Errorf("after the key picture %d frames, needs %d", got, v.NeedKeyFrame())
	}
}

// FuzzSelect gives a selector frames of any descriptor in any order.
func FuzzSelect(f *testing.F) {
	f.Add([]byte{0x80, 1, 0, 1, 0x81, 3, 2, 9}, uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, limit uint8) {
		e := newEncoder(modes[int(limit)%len(modes)], uint16(limit)<<8)
		v := newViewer()
		v.SetMax(Layer{int8(limit & 3), int8(limit >> 2 & 3)})
		queue := e.next(true)
		for ; len(b) >= 4; b = b[4:] {
			if len(queue) == 0 {
				queue = e.next(b[0]&1 != 0)
			}
			d := queue[0]
			queue = queue[1:]
			d.FrameNumber += uint16(int8(b[1]))
			d.Active = uint32(b[2]) | uint32(b[3])<<8
			d.Frame.FrameDiffs[0] ^= uint16(b[3] & 7)
			frame := frameOf(d, b[0]&2 == 0, b[0]&4 == 0)
			frame.Continues = b[0]&8 != 0
			switch {
			case b[0]&0x30 == 0x30:
				v.Late(frame)
			case b[0]&0x30 == 0x20:
				frame.Unit.Descriptor = nil
				v.Select(frame)
			default:
				v.Select(frame)
			}
			v.EndsPicture(frame)
			v.ActiveTargets(d)
			now, wanted := v.Layers()
			if now.Spatial > 7 || wanted.Temporal > 7 || v.NeedKeyFrame() > 0 {
				t.Fatalf("on %v, wants %v, needs %d", now, wanted, v.NeedKeyFrame())
			}
		}
	})
}
