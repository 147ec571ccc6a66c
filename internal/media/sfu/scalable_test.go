package sfu

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"pgregory.net/rapid"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// ddID is the id of the dependency descriptor in these tests.
const ddID = 4

var (
	av1Codec = Codec{Mime: "video/AV1", ClockRate: 90000, PayloadType: 45, RTXPayloadType: 46, Feedback: FeedbackNACK | FeedbackPLI}
	vp9Codec = Codec{Mime: "video/VP9", ClockRate: 90000, PayloadType: 98, RTXPayloadType: 99, Feedback: FeedbackNACK | FeedbackPLI}
	withDD   = rtp.ExtensionIDs{DependencyDescriptor: ddID}
)

// recording is what a browser sent from its first key frame on. It can be played
// again and again: each round goes on in time and numbers, and so begins with a key
// frame.
type recording struct {
	codec   Codec
	packets []recorded
	ssrc    uint32
	bare    bool // without descriptors
	// Of one round.
	frames uint16
	ticks  uint32
}

type recorded struct {
	dd, payload []byte
	marker      bool
	sn          uint16
	ts          uint32
}

func load(tb testing.TB, name string, c Codec) *recording {
	tb.Helper()
	b, err := os.ReadFile("../codec/testdata/" + name + ".txt")
	if err != nil {
		tb.Fatal(err)
	}
	r := &recording{codec: c, ssrc: 100}
	for line := range strings.Lines(string(b)) {
		fields := strings.Split(strings.TrimSpace(line), " ")
		if len(fields) != 5 {
			tb.Fatalf("line %q", line)
		}
		p := recorded{marker: fields[2] == "true"}
		if fields[0] != "-" {
			p.dd, _ = hex.DecodeString(fields[0])
		}
		p.payload, _ = hex.DecodeString(fields[1])
		sn, _ := strconv.ParseUint(fields[3], 10, 16)
		ts, _ := strconv.ParseUint(fields[4], 10, 32)
		p.sn, p.ts = uint16(sn), uint32(ts)
		r.packets = append(r.packets, p)
	}
	for !r.packets[len(r.packets)-1].marker { // whole pictures only
		r.packets = r.packets[:len(r.packets)-1]
	}
	first, last := r.packets[0], r.packets[len(r.packets)-1]
	r.frames = frameNumber(last.dd) - frameNumber(first.dd) + 1
	r.ticks = last.ts - first.ts + 3000
	return r
}

// packet returns packet i, counted over all rounds. Each tells its number in its
// last bytes.
func (r *recording) packet(tb testing.TB, i int) *rtp.Packet {
	tb.Helper()
	round, p := i/len(r.packets), r.packets[i%len(r.packets)]
	k := pkt{
		ssrc: r.ssrc, pt: r.codec.PayloadType, sn: r.packets[0].sn + uint16(i), marker: p.marker,
		ts: p.ts + uint32(round)*r.ticks, payload: binary.BigEndian.AppendUint32(slices.Clone(p.payload), uint32(i)),
	}
	if len(p.payload) == 0 {
		k.payload, k.padding = nil, 100
	}
	if p.dd != nil && !r.bare {
		dd := slices.Clone(p.dd)
		binary.BigEndian.PutUint16(dd[1:], frameNumber(dd)+uint16(round)*r.frames)
		k.exts = []rtp.Extension{{ID: ddID, Data: dd}}
	}
	return k.parse(tb)
}

// decoder checks what a viewer gets as a decoder with the dependency descriptor
// would: every frame comes whole and after all it refers to.
type decoder struct {
	reader   codec.DescriptorReader
	frames   map[uint16]bool // whether it is complete
	active   uint32
	spatial  uint8 // of the last packet
	temporal uint8 // the highest
	spatials map[uint8]int
}

func newDecoder() *decoder {
	return &decoder{frames: map[uint16]bool{}, spatials: map[uint8]int{}}
}

func (d *decoder) take(p *rtp.Packet) error {
	var dd codec.Descriptor
	if err := d.reader.Read(p.Extension(ddID), &dd); err != nil {
		return fmt.Errorf("descriptor %x: %w", p.Extension(ddID), err)
	}
	n := dd.FrameNumber
	if dd.First {
		if _, again := d.frames[n]; again {
			return fmt.Errorf("frame %d begins again", n)
		}
		d.frames[n] = false
		d.spatials[dd.Frame.Spatial]++
		d.temporal = max(d.temporal, dd.Frame.Temporal)
		for _, diff := range dd.Frame.FrameDiffs[:dd.Frame.NumDiffs] {
			if !d.frames[n-diff] {
				return fmt.Errorf("frame %d refers to %d, which did not come", n, n-diff)
			}
		}
	}
	whole, begun := d.frames[n]
	if !begun || whole {
		return fmt.Errorf("packet of frame %d outside of it", n)
	}
	d.frames[n] = dd.Last
	d.active, d.spatial = dd.Active, dd.Frame.Spatial
	return nil
}

// checkPictures holds packets in order against the rules: no holes, a marker on the
// last packet of each picture and nowhere else.
func checkPictures(t *testing.T, packets []rtp.Packet) {
	t.Helper()
	for i := range packets {
		last := i+1 == len(packets) || packets[i+1].Timestamp != packets[i].Timestamp
		if packets[i].Marker != last {
			t.Fatalf("packet %d: marker %v, last of its picture %v", i, packets[i].Marker, last)
		}
		if i > 0 && packets[i].SequenceNumber != packets[i-1].SequenceNumber+1 {
			t.Fatalf("packet %d: number %d after %d", i, packets[i].SequenceNumber, packets[i-1].SequenceNumber)
		}
	}
}

// TestScalableByDescriptor plays real L3T3_KEY streams to viewers of each layer.
func TestScalableByDescriptor(t *testing.T) {
	for name, c := range map[string]Codec{"chrome_av1_L3T3_KEY": av1Codec, "chrome_vp9_L3T3_KEY": vp9Codec} {
		for spatial := range 3 {
			for temporal := range 3 {
				t.Run(fmt.Sprintf("%s/S%dT%d", name, spatial, temporal), func(t *testing.T) {
					rec := load(t, name, c)
					s := newStage(t, ReceiverParams{Codec: c, Layers: 1, Extensions: withDD}, c, withDD)
					s.d.SetMaxLayer(spatial, temporal)
					plain := new(wire) // a viewer without the extension gets the same packets
					other := NewDownTrack(DownTrackParams{SSRC: 9, Codec: c, Writer: plain})
					other.SetMaxLayer(spatial, temporal)
					s.r.AddDownTrack(other)
					defer other.Close()
					want := 0
					var source codec.DescriptorReader
					for i := range 2 * len(rec.packets) {
						p := rec.packet(t, i)
						var d codec.Descriptor
						if len(p.Payload) > 0 && source.Read(p.Extension(ddID), &d) == nil && d.Frame.DTIs[3*spatial+temporal] != codec.DTINotPresent {
							want++
						}
						s.r.Push(0, p, s.now)
						s.after(7 * time.Millisecond)
					}
					got := s.media()
					if len(got) != want || len(plain.packets) != want {
						t.Fatalf("%d and %d packets, want %d", len(got), len(plain.packets), want)
					}
					checkPictures(t, got)
					checkPictures(t, plain.packets)
					dec := newDecoder()
					for i := range got {
						if err := dec.take(&got[i]); err != nil {
							t.Fatalf("packet %d: %v", i, err)
						}
						if targets := uint32(1<<(temporal+1)-1) << (3 * spatial); dec.active != targets {
							t.Fatalf("packet %d: active targets %b, want %b", i, dec.active, targets)
						}
						if !bytes.Equal(got[i].Payload, plain.packets[i].Payload) {
							t.Fatalf("packet %d differs for the viewer without the extension", i)
						}
					}
					if int(dec.temporal) > temporal {
						t.Errorf("temporal layer %d", dec.temporal)
					}
					if st := s.d.Stats(); st.Spatial != spatial || st.Temporal != temporal || st.Wanted != spatial {
						t.Errorf("stats %+v", st)
					}
				})
			}
		}
	}
}

// TestScalableSwitches: in KEY mode the viewer moves between spatial layers at key
// frames, which are asked for, and between temporal layers without.
func TestScalableSwitches(t *testing.T) {
	rec := load(t, "chrome_av1_L3T3_KEY", av1Codec)
	s := newStage(t, ReceiverParams{Codec: av1Codec, Layers: 1, Extensions: withDD}, av1Codec, withDD)
	s.now = time.Now() // requests that do not wait for Tick take the clock themselves
	dec := newDecoder()
	i := 0
	play := func(n int) map[uint8]int {
		t.Helper()
		clear(dec.spatials)
		for range n {
			s.r.Push(0, rec.packet(t, i), s.now)
			s.after(7 * time.Millisecond)
			i++
		}
		got := s.media()
		for k := range got {
			if err := dec.take(&got[k]); err != nil {
				t.Fatalf("packet %d of %d: %v", k, len(got), err)
			}
		}
		return dec.spatials
	}
	asked := func() bool { return len(s.sent) > 0 || hasPLI(s.r.Tick(s.now)) }
	round := len(rec.packets)
	play(round / 2)
	s.sent = nil
	s.d.SetMaxLayer(0, 2)
	if !asked() {
		t.Error("no key frame was asked for to go down")
	}
	if got := play(round - round/2); got[0]+got[1] != 0 || got[2] == 0 {
		t.Errorf("frames until the key frame by layer: %v", got)
	}
	if got := play(round / 2); got[1]+got[2] != 0 || got[0] == 0 {
		t.Errorf("frames of the lowest layer: %v", got)
	}
	s.sent = nil
	s.d.SetMaxLayer(0, 0)
	dec.temporal = 0
	if play(20); dec.temporal != 0 || asked() {
		t.Errorf("down to temporal layer %d, or a key frame was asked for", dec.temporal)
	}
	s.d.SetMaxLayer(0, 2)
	if play(40); dec.temporal != 2 || asked() {
		t.Errorf("up to temporal layer %d, or a key frame was asked for", dec.temporal)
	}
	s.d.SetMaxLayer(2, 2)
	if !asked() {
		t.Error("no key frame was asked for to go up")
	}
	play(2*round - i)
	if got := play(round); got[2] == 0 || got[0] != 1 || got[1] != 1 {
		t.Errorf("frames after going up: %v", got)
	}
	if got, _ := s.d.CurrentLayer(); got != 2 {
		t.Errorf("on layer %d", got)
	}
}

func hasPLI(pkts []rtcp.Packet) bool {
	return slices.ContainsFunc(pkts, func(p rtcp.Packet) bool { _, ok := p.(*rtcp.PictureLossIndication); return ok })
}

// TestVP9WithoutDescriptor selects by the payload descriptor: lower spatial layers
// are forwarded too, and going down needs no key frame.
func TestVP9WithoutDescriptor(t *testing.T) {
	rec := load(t, "chrome_vp9_L3T3_KEY", vp9Codec)
	rec.bare = true
	s := newStage(t, ReceiverParams{Codec: vp9Codec, Layers: 1}, vp9Codec, rtp.ExtensionIDs{})
	i := 0
	play := func(n int, what string, want uint8) {
		t.Helper()
		for range n {
			s.r.Push(0, rec.packet(t, i), s.now)
			s.after(7 * time.Millisecond)
			i++
		}
		for !rec.packets[(i-1)%len(rec.packets)].marker { // to the end of the picture
			s.r.Push(0, rec.packet(t, i), s.now)
			i++
		}
		got := s.media()
		checkPictures(t, got)
		var top uint8
		for k := range got {
			var v codec.VP9
			if err := v.Parse(got[k].Payload); err != nil {
				t.Fatal(err)
			}
			top = max(top, v.SID)
			if last := k+1 == len(got) || got[k+1].Timestamp != got[k].Timestamp; last && v.SID != want {
				t.Errorf("%s: a picture ends with layer %d, want %d", what, v.SID, want)
			}
		}
		if top != want || len(got) == 0 {
			t.Errorf("%s: %d packets up to layer %d, want %d", what, len(got), top, want)
		}
	}
	play(60, "from the start", 2)
	s.d.SetMaxLayer(0, 7)
	if st := s.d.Stats(); st.Wanted != 0 {
		t.Errorf("wants layer %d", st.Wanted)
	}
	s.sent = nil
	play(40, "down at once", 0)
	if hasPLI(s.sent) || hasPLI(s.r.Tick(s.now)) {
		t.Error("a key frame was asked for to go down")
	}
	s.d.SetMaxLayer(1, 7)
	if !hasPLI(s.sent) && !hasPLI(s.r.Tick(s.now)) {
		t.Error("no key frame was asked for to go up")
	}
	play(len(rec.packets)-i-1, "until the key frame", 0)
	play(60, "up", 1)
}

// TestScalableBitrates: what each layer takes is measured, and what comes out is
// that.
func TestScalableBitrates(t *testing.T) {
	for _, bare := range []bool{false, true} {
		rec := load(t, "chrome_vp9_L3T3_KEY", vp9Codec)
		rec.bare = bare
		s := newStage(t, ReceiverParams{Codec: vp9Codec, Layers: 1, Extensions: withDD}, vp9Codec, withDD)
		s.d.SetMaxLayer(1, 7)
		for i := range 140 {
			s.r.Push(0, rec.packet(t, i), s.now)
			s.after(7 * time.Millisecond)
		}
		rates, st, out := s.r.Bitrates(s.now), s.r.layers[0].snapshot(s.now), 8*s.d.stats.bytes.PerSecond(s.now)
		if len(st.Spatial) != 3 || st.Width != 1280 || st.Spatial[0].Width != 320 || st.Spatial[1].Height != 360 {
			t.Fatalf("stats %+v", st)
		}
		own := 0.0
		for spatial, ss := range st.Spatial {
			own += ss.Bitrate
			all := rates[spatial][MaxTemporal-1]
			if ss.FPS < 10 || rates[spatial][0] <= 0 || rates[spatial][0] >= rates[spatial][1] || rates[spatial][1] >= all {
				t.Errorf("layer %d: %+v, %v", spatial, ss, rates[spatial])
			}
			// In KEY mode a layer is alone; without descriptors lower ones come with it.
			want := ss.Bitrate
			if bare {
				want = own
			}
			if float64(all) < 0.99*want || float64(all) > 1.01*want {
				t.Errorf("layer %d takes %d, want %v", spatial, all, want)
			}
		}
		if got := float64(rates[1][MaxTemporal-1]); out < 0.7*got || out > 1.4*got {
			t.Errorf("layer 1 takes %v as measured, the viewer gets %v", got, out)
		}
	}
}

func TestSimulcastBitrates(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 3}, vp8Codec, rtp.ExtensionIDs{})
	cam := &camera{}
	for range 30 {
		for _, spatial := range []int{0, 2} {
			cam.layers[spatial].ts += 3000
			for _, p := range cam.frame(t, spatial, 1+spatial) {
				s.r.Push(spatial, p, s.now)
			}
		}
		s.after(33 * time.Millisecond)
	}
	b := s.r.Bitrates(s.now)
	if b[0][0] <= 0 || b[0][1] <= b[0][0] || b[0][2] <= b[0][1] || b[0][3] != b[0][2] || b[1] != [MaxTemporal]int64{} || b[2][3] < 2*b[0][3] {
		t.Errorf("bitrates %v", b)
	}
	audio := NewReceiver(ReceiverParams{Kind: Audio, Codec: opusCodec})
	if audio.Bitrates(s.now) != (Bitrates{}) {
		t.Error("bitrates of video layers for audio")
	}
}

// TestResentAsSent: without RTX a retransmission is the packet sent before, byte
// for byte, also its marker and descriptor.
func TestResentAsSent(t *testing.T) {
	c := av1Codec
	c.RTXPayloadType = 0
	rec := load(t, "chrome_av1_L3T3_KEY", c)
	s := newStage(t, ReceiverParams{Codec: c, Layers: 1, Extensions: withDD}, c, withDD)
	s.d.SetMaxLayer(1, 1)
	for i := range 2 * len(rec.packets) {
		s.r.Push(0, rec.packet(t, i), s.now)
		s.after(2 * time.Millisecond)
		for _, p := range s.media() {
			s.d.HandleRTCP(nack(7, p.SequenceNumber), s.now)
			again := s.media()
			if len(again) != 1 || !bytes.Equal(again[0].Raw, p.Raw) {
				t.Fatalf("packet %d: %x was sent again as %v", i, p.Raw, again)
			}
			s.after(200 * time.Microsecond)
		}
	}
	if st := s.d.Stats(); st.Resent != st.Packets || st.Misses != 0 {
		t.Errorf("%d of %d sent again, %d misses", st.Resent, st.Packets, st.Misses)
	}
}

// TestScalableCarriedOver: another node goes on in the middle of the stream,
// without a key frame, on the same layers.
func TestScalableCarriedOver(t *testing.T) {
	for _, spatial := range []int{0, 1, 2} {
		rec := load(t, "chrome_vp9_L3T3_KEY", vp9Codec)
		s := newStage(t, ReceiverParams{Codec: vp9Codec, Layers: 1, Extensions: withDD}, vp9Codec, withDD)
		s.d.SetMaxLayer(spatial, 1)
		for i := range 61 { // in the middle of a frame
			s.r.Push(0, rec.packet(t, i), s.now)
			s.after(7 * time.Millisecond)
		}
		s.d.SetMaxLayer(2, 1) // waits for a key frame now, or is there
		s.d.Close()
		w := new(wire)
		r := NewReceiver(ReceiverParams{Kind: Video, Codec: vp9Codec, Layers: 1, Extensions: withDD})
		d := NewDownTrack(DownTrackParams{SSRC: 7, RTXSSRC: 8, Codec: vp9Codec, Extensions: withDD, Writer: w})
		r.Restore(s.r.State())
		d.Restore(s.d.State())
		r.AddDownTrack(d)
		defer d.Close()
		asked := false
		for i := 61; i < len(rec.packets); i++ {
			r.Push(0, rec.packet(t, i), s.now)
			s.after(7 * time.Millisecond)
			asked = hasPLI(r.Tick(s.now)) || asked
		}
		if asked != (spatial < 2) {
			t.Errorf("layer %d: a key frame was asked for: %v", spatial, asked)
		}
		got := append(s.media(), w.packets...)
		checkPictures(t, got)
		dec := newDecoder()
		for i := range got {
			if err := dec.take(&got[i]); err != nil {
				t.Fatalf("packet %d: %v", i, err)
			}
		}
		if now, _ := d.CurrentLayer(); now != spatial || len(w.packets) == 0 {
			t.Errorf("on layer %d with %d packets, want %d", now, len(w.packets), spatial)
		}
	}
}

// TestVP8WithDescriptor: Chromium sends VP8 without picture ids and temporal layers
// once the descriptor is negotiated; that has them then.
func TestVP8WithDescriptor(t *testing.T) {
	for _, ids := range []rtp.ExtensionIDs{withDD, {}} { // viewers with it and without
		for temporal := range 3 {
			rec := load(t, "chrome_vp8_L1T3", vp8Codec)
			s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1, Extensions: withDD}, vp8Codec, ids)
			s.d.SetMaxLayer(0, temporal)
			total := 0
			for i := range len(rec.packets) {
				p := rec.packet(t, i)
				s.r.Push(0, p, s.now)
				s.after(7 * time.Millisecond)
				if len(p.Payload) > 0 {
					total++
				}
			}
			got := s.media()
			checkPictures(t, got)
			if (len(got) == total) != (temporal == 2) || len(got) == 0 {
				t.Errorf("temporal layer %d: %d of %d packets", temporal, len(got), total)
			}
			if ids == (rtp.ExtensionIDs{}) {
				continue
			}
			dec := newDecoder()
			for i := range got {
				if err := dec.take(&got[i]); err != nil {
					t.Fatalf("packet %d: %v", i, err)
				}
			}
			if int(dec.temporal) != temporal {
				t.Errorf("temporal layer %d, want %d", dec.temporal, temporal)
			}
		}
	}
}

// TestSimulcastWithDescriptor: each simulcast layer has frame numbers and a
// structure of its own; the viewer gets one numbering and the right structure.
func TestSimulcastWithDescriptor(t *testing.T) {
	low, high := load(t, "chrome_vp8_L1T3", vp8Codec), load(t, "chrome_vp8_L1T3", vp8Codec)
	high.ssrc = 101
	for i := range high.packets { // it has been sending for longer
		if p := &high.packets[i]; p.dd != nil {
			p.dd = slices.Clone(p.dd)
			binary.BigEndian.PutUint16(p.dd[1:], frameNumber(p.dd)+0xf000)
		}
		high.packets[i].ts += 1 << 30
	}
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 2, Extensions: withDD}, vp8Codec, withDD)
	dec := newDecoder()
	next := map[*recording]int{}
	play := func(n int, want uint32) {
		t.Helper()
		for range n {
			for spatial, rec := range []*recording{low, high} {
				s.r.Push(spatial, rec.packet(t, next[rec]), s.now)
				next[rec]++
			}
			s.after(7 * time.Millisecond)
		}
		got := s.media()
		for i := range got {
			if err := dec.take(&got[i]); err != nil {
				t.Fatalf("packet %d of %d: %v", i, len(got), err)
			}
		}
		if spatial, _ := s.d.CurrentLayer(); spatial != int(want) || len(got) == 0 {
			t.Errorf("on layer %d with %d packets, want %d", spatial, len(got), want)
		}
	}
	round := len(low.packets)
	s.d.SetMaxLayer(0, 2)
	play(round/2, 0)
	s.d.SetMaxLayer(1, 2)
	play(round-round/2, 0)
	play(round/2, 1)
	s.d.SetMaxLayer(0, 1)
	play(round-round/2, 1)
	play(round, 0)
}

// TestStructureIsAttached: the viewer begins with a layer whose frames do not bring
// the structure, because a lower layer's key frame did (S modes).
func TestStructureIsAttached(t *testing.T) {
	rec := load(t, "chrome_av1_L3T3_KEY", av1Codec)
	s := newStage(t, ReceiverParams{Codec: av1Codec, Layers: 1, Extensions: withDD}, av1Codec, withDD)
	var reader codec.DescriptorReader
	var d codec.Descriptor
	p := rec.packet(t, 0)
	if err := reader.Read(p.Extension(ddID), &d); err != nil {
		t.Fatal(err)
	}
	v := &viewerDescriptors{attach: true}
	d.Attached = false
	c, changes := v.changeFor(&d, 3, true)
	if !changes || !c.Attach || !c.SetActive || c.Active != 3 || v.attach {
		t.Fatalf("change %+v", c)
	}
	first := []byte{0xc0, 0, 1}
	if err := reader.Read(first, &d); err != nil {
		t.Fatal(err)
	}
	var fresh codec.DescriptorReader
	var got codec.Descriptor
	if err := fresh.Read(d.AppendRewritten(nil, first, c), &got); err != nil || !got.Attached || got.Active != 3 {
		t.Errorf("%v, %+v", err, got)
	}
	s.d.Close()
}

// TestLostUpperLayersLeaveNoHole: packets that the network lost from layers a viewer
// does not get leave no numbers free.
func TestLostUpperLayersLeaveNoHole(t *testing.T) {
	rec := load(t, "chrome_av1_L3T3_KEY", av1Codec)
	s := newStage(t, ReceiverParams{Codec: av1Codec, Layers: 1, Extensions: withDD}, av1Codec, withDD)
	s.d.SetMaxLayer(0, 2)
	lost := 0
	for i := range len(rec.packets) {
		// Only the middles of frames that another one follows in the picture.
		inside := func(k int) bool { return len(rec.packets[k].dd) > 0 && rec.packets[k].dd[0]&0x80 == 0 }
		if i > 0 && i+1 < len(rec.packets) && inside(i) && inside(i+1) && !rec.packets[i].marker {
			lost++
			continue
		}
		s.r.Push(0, rec.packet(t, i), s.now)
		s.after(7 * time.Millisecond)
	}
	if lost == 0 {
		t.Fatal("nothing was lost: the test measures nothing")
	}
	checkPictures(t, s.media())
}

// TestScalableForwardProperties: a viewer whose limits change at any time, of a stream
// that arrives with losses, late and twice, gets what its decoder needs.
func TestScalableForwardProperties(t *testing.T) {
	recs := []*recording{load(t, "chrome_av1_L3T3_KEY", av1Codec), load(t, "chrome_vp9_L3T3_KEY", vp9Codec), load(t, "chrome_vp8_L1T3", vp8Codec)}
	rapid.Check(t, func(rt *rapid.T) {
		rec := rapid.SampledFrom(recs).Draw(rt, "stream")
		loss := rapid.SampledFrom([]int{0, 0, 3, 10}).Draw(rt, "loss %")
		delay := rapid.SampledFrom([]int{0, 5, 20}).Draw(rt, "late %")
		chance := func(percent int, what string) bool {
			return percent > 0 && rapid.IntRange(0, 99).Draw(rt, what) < percent
		}
		r := NewReceiver(ReceiverParams{Kind: Video, Codec: rec.codec, Layers: 1, Extensions: withDD})
		w := new(wire)
		d := NewDownTrack(DownTrackParams{SSRC: 7, Codec: rec.codec, Extensions: withDD, Writer: w})
		r.AddDownTrack(d)
		now, lost := at0, 0
		type held struct{ i, after int }
		var late []held
		n := rapid.IntRange(10, 3*len(rec.packets)).Draw(rt, "packets")
		push := func(i int) {
			r.Push(0, rec.packet(t, i), now)
			if chance(3, "twice") {
				r.Push(0, rec.packet(t, i), now)
			}
		}
		for i := range n {
			switch {
			case i%len(rec.packets) > 0 && chance(loss, "loss"):
				lost++
			case i%len(rec.packets) > 0 && chance(delay, "late"):
				late = append(late, held{i, rapid.IntRange(1, 20).Draw(rt, "by")})
			default:
				push(i)
			}
			late = slices.DeleteFunc(late, func(h held) bool { return h.i+h.after <= i && func() bool { push(h.i); return true }() })
			if chance(5, "change") {
				d.SetMaxLayer(rapid.IntRange(0, 2).Draw(rt, "spatial"), rapid.IntRange(0, 2).Draw(rt, "temporal"))
			}
			now = now.Add(5 * time.Millisecond)
		}
		for _, h := range late {
			push(h.i)
		}
		checkScalable(rt, w.packets, lost)
		if st := d.Stats(); st.Refused != 0 {
			rt.Fatalf("%d numbers refused", st.Refused)
		}
	})
}

// checkScalable puts a viewer's packets in order and decodes them.
func checkScalable(t *rapid.T, packets []rtp.Packet, lost int) {
	var sn rtp.Unwrapper
	numbers := make(map[int64]*rtp.Packet, len(packets))
	order := make([]int64, 0, len(packets))
	tags := map[uint32]bool{}
	for i := range packets {
		n := sn.Unwrap(packets[i].SequenceNumber)
		if numbers[n] != nil {
			t.Fatalf("number %d was used twice", n)
		}
		numbers[n] = &packets[i]
		order = append(order, n)
		if p := packets[i].Payload; len(p) > 0 {
			tag := binary.BigEndian.Uint32(p[len(p)-4:])
			if tags[tag] {
				t.Fatalf("packet %d of the publisher was sent twice", tag)
			}
			tags[tag] = true
		}
	}
	slices.Sort(order)
	dec, holes := newDecoder(), 0
	for i, n := range order {
		if i > 0 {
			holes += int(n - order[i-1] - 1)
		}
		p := numbers[n]
		if len(p.Payload) == 0 || lost > 0 {
			continue
		}
		if err := dec.take(p); err != nil {
			t.Fatalf("number %d: %v", n, err)
		}
	}
	if holes > lost {
		t.Fatalf("%d holes with %d packets lost", holes, lost)
	}
}

// TestScalableAllocs: nothing is allocated per packet, whatever layers viewers are
// on, also when descriptors are rewritten and packets sent again.
func TestScalableAllocs(t *testing.T) {
	for name, c := range map[string]Codec{"chrome_av1_L3T3_KEY": av1Codec, "chrome_vp9_L3T3_KEY": vp9Codec} {
		rec := load(t, name, c)
		r := NewReceiver(ReceiverParams{Kind: Video, Codec: c, Layers: 1, Extensions: withDD})
		var tracks []*DownTrack
		for i := range 12 {
			d := NewDownTrack(DownTrackParams{SSRC: uint32(2*i + 10), RTXSSRC: uint32(2*i + 11), Codec: c, Extensions: withDD, Writer: new(discard)})
			d.SetMaxLayer(i%3, i/4)
			r.AddDownTrack(d)
			tracks = append(tracks, d)
		}
		raw := make([]byte, 0, 2000)
		var p rtp.Packet
		i := 0
		push := func() { // packet() allocates, so the recording is played from copies
			k := &rec.packets[i%len(rec.packets)]
			round := i / len(rec.packets)
			h := rtp.Header{PayloadType: c.PayloadType, Marker: k.marker, SSRC: 1, SequenceNumber: uint16(i), Timestamp: k.ts + uint32(round)*rec.ticks}
			dd := k.dd
			if dd != nil {
				binary.BigEndian.PutUint16(dd[1:], frameNumber(dd)+min(1, uint16(round))*rec.frames)
			}
			raw = append(rtp.AppendHeader(raw[:0], h, rtp.Extension{ID: ddID, Data: dd}), k.payload...)
			if i++; len(k.payload) == 0 {
				return
			}
			if err := p.Unmarshal(raw); err != nil {
				t.Fatal(err)
			}
			r.Push(0, &p, at0.Add(time.Duration(i)*7*time.Millisecond))
		}
		for range 10 * len(rec.packets) { // rings grow to their size
			push()
		}
		if n := testing.AllocsPerRun(3*len(rec.packets), push); n != 0 {
			t.Errorf("%s: %v allocations a packet", name, n)
		}
		for i, d := range tracks {
			if st := d.Stats(); st.Packets == 0 || st.Spatial != i%3 {
				t.Errorf("%s: viewer %d is on layer %d with %d packets", name, i, st.Spatial, st.Packets)
			}
		}
	}
}

func BenchmarkForwardScalable(b *testing.B) {
	rec := load(b, "chrome_av1_L3T3_KEY", av1Codec)
	for _, viewers := range []int{1, 100} {
		b.Run(fmt.Sprintf("viewers=%d", viewers), func(b *testing.B) {
			r := NewReceiver(ReceiverParams{Kind: Video, Codec: av1Codec, Layers: 1, Extensions: withDD})
			for i := range viewers {
				d := NewDownTrack(DownTrackParams{SSRC: uint32(i + 10), Codec: av1Codec, Extensions: withDD, Writer: new(discard)})
				d.SetMaxLayer(i%3, 2)
				r.AddDownTrack(d)
			}
			packets := make([]*rtp.Packet, 20*len(rec.packets))
			for i := range packets {
				packets[i] = rec.packet(b, i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				p := packets[i%len(packets)]
				binary.BigEndian.PutUint16(p.Raw[2:], uint16(i))
				p.SequenceNumber = uint16(i)
				r.Push(0, p, at0)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*viewers), "ns/viewer-packet")
		})
	}
}
