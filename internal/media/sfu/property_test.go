package sfu

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"pgregory.net/rapid"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// camera is a simulcast publisher of VP8 with three layers and three temporal
// layers, whose packets carry a unique tag at the end.
type camera struct {
	layers [3]cameraLayer
	now    time.Time
	tag    uint32
}

type cameraLayer struct {
	sn        uint16
	ts        uint32
	pictureID uint16
	tl0       uint8
	frame     int
	wantKey   bool
	held      []heldPacket // delayed on the way
}

type heldPacket struct {
	p     *rtp.Packet
	after int // packets of the layer still to pass before it
}

const taglen = 4

// frame produces the next frame of a layer as packets.
func (c *camera) frame(tb testing.TB, spatial, packets int) []*rtp.Packet {
	l := &c.layers[spatial]
	key := l.wantKey || l.frame == 0
	l.wantKey = false
	if key {
		l.frame = 0
	}
	tid, sync := uint8(0), false
	switch l.frame % 4 {
	case 1, 3:
		tid, sync = 2, l.frame%4 == 1
	case 2:
		tid, sync = 1, true
	}
	if tid == 0 {
		l.tl0++
	}
	l.frame++
	l.pictureID = (l.pictureID + 1) & 0x7fff
	out := make([]*rtp.Packet, packets)
	for i := range out {
		payload := vp8(key, i == 0, l.pictureID, l.tl0, tid, sync)
		c.tag++
		payload = binary.BigEndian.AppendUint32(payload, c.tag)
		out[i] = pkt{ssrc: uint32(100 + spatial), pt: 96, sn: l.sn, ts: l.ts, marker: i == packets-1, payload: payload}.parse(tb)
		l.sn++
	}
	return out
}

func (c *camera) padding(tb testing.TB, spatial int) *rtp.Packet {
	l := &c.layers[spatial]
	l.sn++
	return pkt{ssrc: uint32(100 + spatial), pt: 96, sn: l.sn - 1, ts: l.ts, padding: 200}.parse(tb)
}

// outgoing is what a viewer can check of its stream.
type outgoing struct {
	sn      int64
	ts      uint32
	empty   bool
	tag     uint32
	picture uint16
	start   bool
}

// checkStream holds a viewer's stream against the rules. lost is how many packets
// the publisher's network swallowed.
func checkStream(t *rapid.T, packets []rtp.Packet, lost int) {
	var sn rtp.Unwrapper
	var out []outgoing
	tags := map[uint32]bool{}
	for i := range packets {
		p := &packets[i]
		o := outgoing{sn: sn.Unwrap(p.SequenceNumber), ts: p.Timestamp, empty: len(p.Payload) == 0}
		if !o.empty {
			o.tag = binary.BigEndian.Uint32(p.Payload[len(p.Payload)-taglen:])
			if tags[o.tag] {
				t.Fatalf("packet %d of the publisher was sent twice", o.tag)
			}
			tags[o.tag] = true
			var d codec.VP8
			if err := d.Parse(p.Payload); err != nil {
				t.Fatal(err)
			}
			o.picture, o.start = d.PictureID, d.Start
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b outgoing) int { return int(a.sn - b.sn) })
	holes, filled := 0, 0 // filled: packets without media since the last with
	var last *outgoing
	for i := range out {
		o := &out[i]
		if i > 0 {
			switch gap := o.sn - out[i-1].sn; {
			case gap == 0:
				t.Fatalf("number %d was used twice", o.sn)
			default:
				holes += int(gap - 1)
			}
		}
		if o.empty {
			filled++
			continue
		}
		if last != nil {
			checkFollows(t, last, o, lost+filled)
		}
		last, filled = o, 0
	}
	if holes > lost {
		t.Fatalf("%d holes with %d packets lost", holes, lost)
	}
}

// checkFollows compares two media packets that follow each other by number.
// Pictures may be missing when excused packets are: lost, or filled in because
// they came after a change of layer.
func checkFollows(t *rapid.T, a, b *outgoing, excused int) {
	step := (b.picture - a.picture) & 0x7fff
	switch {
	case a.ts == b.ts && step != 0:
		t.Fatalf("pictures %d and %d share timestamp %d", a.picture, b.picture, a.ts)
	case a.ts != b.ts && !rtp.NewerTS(b.ts, a.ts):
		t.Fatalf("timestamp goes back from %d to %d", a.ts, b.ts)
	case a.ts != b.ts && (step == 0 || step > 1000):
		t.Fatalf("picture id goes from %d to %d", a.picture, b.picture)
	case excused == 0 && step > 1:
		t.Fatalf("picture ids have a hole: %+v, %+v", *a, *b)
	}
}

// TestForwardProperties: whatever layers are switched and whatever packets are
// lost, reordered, repeated, padded or left out, each viewer's stream is what a
// decoder needs: numbers and pictures without holes of our making, time that never
// goes back, no packet twice.
func TestForwardProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		network := struct{ loss, reorder, repeat, padding int }{
			rapid.SampledFrom([]int{0, 0, 5, 20}).Draw(rt, "loss %"), rapid.SampledFrom([]int{0, 10, 30}).Draw(rt, "reorder %"),
			rapid.SampledFrom([]int{0, 10}).Draw(rt, "repeat %"), rapid.SampledFrom([]int{0, 10}).Draw(rt, "padding %"),
		}
		chance := func(percent int, what string) bool { return rapid.IntRange(0, 99).Draw(rt, what) < percent }
		cam := &camera{now: at0}
		r := NewReceiver(ReceiverParams{Kind: Video, Codec: vp8Codec, Layers: 3})
		var wires [3]*wire
		var tracks [3]*DownTrack
		for i := range tracks {
			wires[i] = new(wire)
			tracks[i] = NewDownTrack(DownTrackParams{SSRC: uint32(i + 1), Codec: vp8Codec, Writer: wires[i]})
			r.AddDownTrack(tracks[i])
		}
		for i := range cam.layers {
			cam.layers[i] = cameraLayer{sn: rapid.Uint16().Draw(rt, "sn"), ts: rapid.Uint32().Draw(rt, "ts"), pictureID: rapid.Uint16Range(0, 0x7fff).Draw(rt, "picture")}
		}
		lost := 0
		push := func(spatial int, p *rtp.Packet) {
			r.Push(spatial, p, cam.now)
			if chance(network.repeat, "repeat") {
				r.Push(spatial, p, cam.now)
			}
		}
		send := func(spatial int, p *rtp.Packet) {
			l := &cam.layers[spatial]
			switch {
			case chance(network.loss, "loss"):
				lost++
			case chance(network.reorder, "reorder"):
				l.held = append(l.held, heldPacket{p, rapid.IntRange(1, 6).Draw(rt, "by")})
				return
			default:
				push(spatial, p)
			}
			for i := 0; i < len(l.held); i++ {
				if l.held[i].after--; l.held[i].after == 0 {
					push(spatial, l.held[i].p)
					l.held = slices.Delete(l.held, i, i+1)
					i--
				}
			}
		}
		for range rapid.IntRange(5, 60).Draw(rt, "frames") {
			for spatial := range cam.layers {
				cam.layers[spatial].ts += 3000
				for _, p := range cam.frame(t, spatial, rapid.IntRange(1, 3).Draw(rt, "packets")) {
					send(spatial, p)
				}
				if chance(network.padding, "padding") {
					send(spatial, cam.padding(t, spatial))
				}
			}
			cam.now = cam.now.Add(33 * time.Millisecond)
			for _, p := range r.Tick(cam.now) {
				if pli, ok := p.(*rtcp.PictureLossIndication); ok {
					cam.layers[pli.MediaSSRC-100].wantKey = true
				}
			}
			d := tracks[rapid.IntRange(0, 2).Draw(rt, "viewer")]
			switch rapid.IntRange(0, 9).Draw(rt, "event") {
			case 0:
				d.SetMaxLayer(rapid.IntRange(-1, 2).Draw(rt, "spatial"), rapid.IntRange(0, 2).Draw(rt, "temporal"))
			case 1:
				d.SetTarget(rapid.IntRange(0, 2).Draw(rt, "spatial"), rapid.IntRange(0, 2).Draw(rt, "temporal"))
			case 2:
				d.SetPaused(rapid.Bool().Draw(rt, "paused"))
			case 3:
				cam.layers[rapid.IntRange(0, 2).Draw(rt, "layer")].wantKey = true
			}
		}
		for spatial := range cam.layers { // what is still on the way arrives
			for _, h := range cam.layers[spatial].held {
				push(spatial, h.p)
			}
		}
		for i := range tracks {
			checkStream(rt, wires[i].packets, lost)
			if s := tracks[i].Stats(); s.Refused != 0 {
				rt.Fatalf("%d packets with a number used before", s.Refused)
			}
		}
	})
}
