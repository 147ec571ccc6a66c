package codec

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// vp8Source is a model of one simulcast layer's encoder.
type vp8Source struct {
	long     bool
	id       uint16
	tl0, key uint8
	pattern  []uint8
	step     int
}

// next returns the descriptors of the packets of the next picture.
func (s *vp8Source) next(keyFrame bool, packets int) []VP8 {
	limit := uint16(0x7f)
	if s.long {
		limit = 0x7fff
	}
	s.id = (s.id + 1) & limit
	if keyFrame {
		s.step, s.key = 0, (s.key+1)&0x1f
	}
	tid := s.pattern[s.step%len(s.pattern)]
	s.step++
	if tid == 0 {
		s.tl0++
	}
	out := make([]VP8, packets)
	for i := range out {
		out[i] = VP8{
			HasPictureID: true, LongPictureID: s.long, PictureID: s.id,
			HasTL0PICIDX: true, TL0PICIDX: s.tl0, HasTID: true, TID: tid,
			HasKeyIndex: true, KeyIndex: s.key,
			Start: i == 0, KeyFrame: keyFrame && i == 0,
		}
	}
	return out
}

func drawSource(t *rapid.T) *vp8Source {
	s := &vp8Source{
		long:    rapid.Bool().Draw(t, "15bit"),
		tl0:     rapid.Uint8().Draw(t, "tl0"),
		key:     rapid.Uint8Range(0, 31).Draw(t, "key"),
		pattern: rapid.SampledFrom([][]uint8{{0}, {0, 1}, {0, 2, 1, 2}}).Draw(t, "pattern"),
	}
	limit := uint16(0x7f)
	if s.long {
		limit = 0x7fff
	}
	s.id = rapid.Uint16Range(0, limit).Draw(t, "id")
	return s
}

func munge(t rapid.TB, m *VP8Munger, d *VP8) VP8 {
	t.Helper()
	var buf [MaxVP8Header]byte
	n, err := m.Munge(buf[:], d)
	if err != nil {
		t.Fatalf("munge %+v: %v", *d, err)
	}
	var out VP8
	if err := out.Parse(buf[:n]); err != nil {
		t.Fatal(err)
	}
	return out
}

// mungerModel knows what a viewer must see. It numbers pictures by counting
// them, where the munger takes offsets.
type mungerModel struct {
	t *rapid.T
	m *VP8Munger

	started       bool
	id            uint16 // of the newest picture placed
	out           uint16 // of the newest picture written
	tl0, key      uint8  // the newest written
	tl0Off        uint8  // what the current source is ahead
	keyOff        uint8
	unseen        []*modelPicture // wholly lost, not placed yet
	retransmitted []*modelPicture // with packets to come late
}

type modelPicture struct {
	packets []VP8 // the lost ones
	id      uint16
	age     int
}

// place gives the pictures that were wholly lost, and the next one if it is not
// dropped, their ids.
func (v *mungerModel) place(dropped bool) {
	for _, p := range v.unseen {
		v.id = (v.id + 1) & 0x7fff
		p.id = v.id
		v.retransmitted = append(v.retransmitted, p)
	}
	v.unseen = nil
	if !dropped {
		v.id = (v.id + 1) & 0x7fff
	}
}

func (v *mungerModel) switchTo(d *VP8) {
	if !v.started {
		v.started, v.out, v.tl0, v.key = true, d.PictureID-1, d.TL0PICIDX-1, d.KeyIndex-1
	}
	// Places of pictures that never came are free again.
	v.id, v.unseen, v.retransmitted = v.out, nil, nil
	v.tl0Off, v.keyOff = d.TL0PICIDX-v.tl0-1, d.KeyIndex-v.key-1
	v.m.Switch(d)
}

// expect munges a packet and compares all that was rewritten.
func (v *mungerModel) expect(d *VP8, id uint16) {
	v.t.Helper()
	want := *d
	want.KeyFrame, want.LongPictureID = false, true
	want.PictureID = id
	want.TL0PICIDX = d.TL0PICIDX - v.tl0Off
	want.KeyIndex = (d.KeyIndex - v.keyOff) & 0x1f
	want.HeaderLen = MaxVP8Header
	if diff := cmp.Diff(want, munge(v.t, v.m, d)); diff != "" {
		v.t.Fatalf("packet %+v: %s", *d, diff)
	}
	// The newest written, which a late packet may be.
	if ahead := (id - v.out) & 0x7fff; ahead < 0x4000 {
		v.out = id
	}
	if int8(want.TL0PICIDX-v.tl0) > 0 {
		v.tl0 = want.TL0PICIDX
	}
	v.key = want.KeyIndex // it changes with the source only
}

// arrive delivers the packets of a picture of which the first few are lost.
func (v *mungerModel) arrive(packets []VP8, lost int, drop bool) {
	if lost == len(packets) {
		v.unseen = append(v.unseen, &modelPicture{packets: packets})
		return
	}
	v.place(drop)
	for i := range packets {
		d := &packets[i]
		if !drop {
			if i >= lost {
				v.expect(d, v.id)
			}
			continue
		}
		if !v.m.Drop(d) {
			v.t.Fatalf("not dropped: %+v", *d)
		}
		var buf [MaxVP8Header]byte
		if _, err := v.m.Munge(buf[:], d); !errors.Is(err, ErrDropped) {
			v.t.Fatalf("dropped picture: %v", err)
		}
	}
	if !drop && lost > 0 {
		v.retransmitted = append(v.retransmitted, &modelPicture{packets: packets[:lost], id: v.id})
	}
}

// retransmit delivers late packets. They are forwarded whatever their temporal
// layer, because their pictures have a place.
func (v *mungerModel) retransmit() {
	kept := v.retransmitted[:0]
	for _, p := range v.retransmitted {
		if p.age++; p.age > 20 {
			continue
		}
		if !rapid.Bool().Draw(v.t, "retransmitted") {
			kept = append(kept, p)
			continue
		}
		for i := range p.packets {
			if v.m.Drop(&p.packets[i]) {
				v.t.Fatalf("dropped although it has a place: %+v", p.packets[i])
			}
			v.expect(&p.packets[i], p.id)
		}
	}
	v.retransmitted = kept
}

func (v *mungerModel) insert(like *VP8) {
	var buf [MaxVP8Header]byte
	n, err := v.m.Insert(buf[:], like)
	if err != nil {
		v.t.Fatal(err)
	}
	v.out = (v.out + 1) & 0x7fff
	v.id, v.tl0, v.key = v.out, v.tl0+1, (v.key+1)&0x1f
	v.tl0Off, v.keyOff = v.tl0Off-1, v.keyOff-1
	v.unseen, v.retransmitted = nil, nil
	want := VP8{
		Start: true, HasPictureID: true, LongPictureID: true, PictureID: v.id, HasTL0PICIDX: true, TL0PICIDX: v.tl0,
		HasTID: true, LayerSync: true, HasKeyIndex: true, KeyIndex: v.key, HeaderLen: n,
	}
	var got VP8
	if err := got.Parse(buf[:n]); err != nil {
		v.t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		v.t.Fatal(diff)
	}
}

// TestVP8MungerIsContiguous plays pictures of several sources with temporal
// layers dropped, packets lost and retransmitted, sources switched, pictures
// inserted, and the state carried over. Every picture that is forwarded, or may
// still be, must own one picture id, which is one more than that of the picture
// before; TL0PICIDX and KEYIDX go on from source to source.
func TestVP8MungerIsContiguous(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sources := []*vp8Source{drawSource(t), drawSource(t), drawSource(t)}
		src, maxTID := sources[0], uint8(2)
		v := &mungerModel{t: t, m: new(VP8Munger)}
		var newest VP8
		for i := range rapid.IntRange(1, 150).Draw(t, "pictures") {
			event := rapid.IntRange(0, 15).Draw(t, "event")
			key := i == 0 || event == 1
			switch event {
			case 1:
				src = rapid.SampledFrom(sources).Draw(t, "source")
			case 2:
				maxTID = rapid.Uint8Range(0, 2).Draw(t, "max tid")
			case 3:
				s := v.m.State()
				v.m = new(VP8Munger)
				v.m.Restore(s)
			case 4:
				// A picture whose loss nobody knows of yet has no place.
				if i > 0 && len(v.unseen) == 0 {
					v.insert(&newest)
				}
			}
			packets := src.next(key, rapid.IntRange(1, 3).Draw(t, "packets"))
			newest = packets[0]
			lost := 0
			if key {
				v.switchTo(&packets[0])
			} else if len(v.unseen) < 20 {
				lost = rapid.IntRange(0, len(packets)).Draw(t, "lost")
			}
			v.arrive(packets, lost, packets[0].TID > maxTID)
			v.retransmit()
		}
	})
}

func TestVP8MungerWrapsAndWidens(t *testing.T) {
	var m VP8Munger
	d := VP8{Start: true, KeyFrame: true, HasPictureID: true, PictureID: 126}
	m.Switch(&d)
	want := uint16(126)
	step := func(id uint16, long bool) {
		t.Helper()
		d.PictureID, d.LongPictureID = id, long
		if got := munge(t, &m, &d).PictureID; got != want {
			t.Fatalf("source %d became %d, want %d", id, got, want)
		}
		want = (want + 1) & 0x7fff
	}
	step(126, false)
	step(127, false)
	step(0, false) // a 7 bit source wraps, the viewer's ids do not
	step(1, false)
	step(2, true) // the source goes on with 15 bits
	for id := uint16(3); id != 1; id = (id + 1) & 0x7fff {
		step(id, true)
	}
}

func TestVP8MungerRefusesTheOld(t *testing.T) {
	var m VP8Munger
	var buf [MaxVP8Header]byte
	d := VP8{HasPictureID: true, LongPictureID: true, PictureID: 100, HasTID: true}
	if _, err := m.Munge(buf[:], &d); !errors.Is(err, ErrTooLate) {
		t.Errorf("before the first source: %v", err)
	}
	if _, err := m.Insert(buf[:], &d); !errors.Is(err, ErrTooLate) {
		t.Errorf("insert before the first source: %v", err)
	}
	m.Switch(&d)
	munge(t, &m, &d)
	d.PictureID = 99
	if _, err := m.Munge(buf[:], &d); !errors.Is(err, ErrTooLate) {
		t.Errorf("before the key frame: %v", err)
	}
	if !m.Drop(&d) {
		t.Error("a packet from before the key frame must be dropped")
	}
	// More drops than are remembered: the oldest can no longer be placed.
	for i := range uint16(MaxDroppedPictures + 1) {
		d.PictureID = 101 + 2*i
		munge(t, &m, &d)
		d.PictureID++
		if !m.Drop(&d) {
			t.Fatal("not dropped")
		}
	}
	for id, want := range map[uint16]error{100: ErrTooLate, 102: ErrTooLate, 103: nil, 104: ErrDropped} {
		d.PictureID = id
		if _, err := m.Munge(buf[:], &d); !errors.Is(err, want) {
			t.Errorf("picture %d: %v, want %v", id, err, want)
		}
		var carried VP8Munger
		carried.Restore(m.State())
		if _, err := carried.Munge(buf[:], &d); !errors.Is(err, want) {
			t.Errorf("picture %d after hand-over: %v, want %v", id, err, want)
		}
	}
}

func TestVP8MungerShortBuffer(t *testing.T) {
	var m VP8Munger
	d := VP8{HasPictureID: true, PictureID: 1}
	m.Switch(&d)
	if _, err := m.Munge(make([]byte, 3), &d); !errors.Is(err, ErrShortBuffer) {
		t.Errorf("error %v", err)
	}
	if got := munge(t, &m, &d); got.PictureID != 1 {
		t.Errorf("the second try wrote %d", got.PictureID)
	}
}

// TestVP8MungerWithoutPictureID: the minimal descriptor has nothing to rewrite.
func TestVP8MungerWithoutPictureID(t *testing.T) {
	var m VP8Munger
	var buf [MaxVP8Header]byte
	d := VP8{Start: true}
	m.Switch(&d)
	n, err := m.Munge(buf[:], &d)
	if err != nil || n != 1 || buf[0] != 0x10 {
		t.Errorf("%x, %v", buf[:n], err)
	}
	if !m.Drop(&d) {
		t.Error("not dropped")
	}
}

// TestVP8MungerStateIsPlain carries the state as JSON and goes on in step.
func TestVP8MungerStateIsPlain(t *testing.T) {
	src := &vp8Source{long: true, id: 32760, tl0: 250, key: 30, pattern: []uint8{0, 1}}
	var a VP8Munger
	first := src.next(true, 1)[0]
	a.Switch(&first)
	munge(t, &a, &first)
	for range 20 {
		d := src.next(false, 1)[0]
		if d.TID == 1 {
			a.Drop(&d)
		} else {
			munge(t, &a, &d)
		}
	}
	b, err := json.Marshal(a.State())
	if err != nil {
		t.Fatal(err)
	}
	var s VP8State
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	var c VP8Munger
	c.Restore(s)
	if d := cmp.Diff(a.State(), c.State()); d != "" {
		t.Error(d)
	}
	d := src.next(false, 1)[0]
	if x, y := munge(t, &a, &d), munge(t, &c, &d); x != y {
		t.Errorf("%+v and %+v", x, y)
	}
}

func TestVP8MungerAllocatesNothing(t *testing.T) {
	src := &vp8Source{long: true, pattern: []uint8{0, 2, 1, 2}}
	var m VP8Munger
	var ds []VP8
	for range 16 {
		ds = append(ds, src.next(len(ds) == 0, 1)...)
	}
	var buf [MaxVP8Header]byte
	if n := testing.AllocsPerRun(100, func() {
		m.Switch(&ds[0])
		for i := range ds {
			if ds[i].TID == 2 && m.Drop(&ds[i]) {
				continue
			}
			if _, err := m.Munge(buf[:], &ds[i]); err != nil {
				t.Error(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVP8Munger(b *testing.B) {
	src := &vp8Source{long: true, pattern: []uint8{0, 2, 1, 2}}
	var m VP8Munger
	d := src.next(true, 1)[0]
	m.Switch(&d)
	var buf [MaxVP8Header]byte
	b.ReportAllocs()
	for b.Loop() {
		d.PictureID = (d.PictureID + 1) & 0x7fff
		if _, err := m.Munge(buf[:], &d); err != nil {
			b.Fatal(err)
		}
	}
}
