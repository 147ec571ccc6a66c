package peer

import (
	"log/slog"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
	"github.com/concertina-rtc/concertina/internal/media/sdp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
)

// routed is a peer without a connection, for the router alone.
type routed struct {
	t *testing.T
	p *Peer
}

func newRouted(t *testing.T, ups ...*uplink) *routed {
	t.Helper()
	p := &Peer{log: slog.New(slog.DiscardHandler), taken: map[uint32]struct{}{}}
	p.router.init(p)
	p.feedback.init()
	p.routes.Store(newRoutes(nil))
	r := &routed{t, p}
	r.set(ups...)
	return r
}

// set publishes new uplinks.
func (r *routed) set(ups ...*uplink) {
	r.p.sections = nil
	for _, u := range ups {
		r.p.sections = append(r.p.sections, &section{mid: u.mid, up: u})
	}
	r.p.publishRoutes()
}

var testIDs = rtp.ExtensionIDs{MID: 4, RID: 10, RepairedRID: 11, TWCC: 3}

func videoUplink(mid string, rids []string, ssrcs ...sdp.SSRC) *uplink {
	codecs := []sdp.Codec{{Mime: "video/VP8", PayloadType: 96, RTX: 97, ClockRate: 90000}}
	u := &uplink{
		mid: mid, trackID: "cid" + mid, kind: sfu.Video, ids: testIDs, rids: rids, layers: max(len(rids), len(ssrcs), 1),
		codecs: codecs, declared: ssrcs,
	}
	u.decide(&Peer{log: slog.New(slog.DiscardHandler)}, &codecs[0])
	return u
}

// packet builds an RTP packet; exts alternates id and value.
func packet(pt uint8, ssrc uint32, seq uint16, exts ...rtp.Extension) []byte {
	b := rtp.AppendHeader(nil, rtp.Header{PayloadType: pt, SSRC: ssrc, SequenceNumber: seq, Timestamp: uint32(seq) * 3000, Marker: true}, exts...)
	if pt == 97 { // RFC 4588: the original sequence number comes first
		return append(append(b, byte(seq>>8), byte(seq)), vp8Key...)
	}
	return append(b, vp8Key...)
}

func ext(id uint8, value string) rtp.Extension { return rtp.Extension{ID: id, Data: []byte(value)} }

func (r *routed) push(b []byte) { r.p.router.handle(b, time.Now()) }

// packets returns what a layer has received.
func packets(u *uplink, layer int) uint64 { return u.receiver.Stats().Layers[layer].Packets }

func TestRouteByMidAndRid(t *testing.T) {
	u := videoUplink("1", []string{"q", "h", "f"})
	r := newRouted(t, u)
	for i, rid := range u.rids {
		ssrc := uint32(100 + i)
		r.push(packet(96, ssrc, 1, ext(4, "1"), ext(10, rid)))
		r.push(packet(96, ssrc, 2)) // browsers stop sending both
		if got := packets(u, i); got != 2 {
			t.Errorf("layer %s has %d packets, want 2", rid, got)
		}
	}
	// A retransmission finds its layer by repaired-rid, and then by its SSRC.
	r.push(packet(97, 201, 5, ext(4, "1"), ext(11, "h")))
	r.push(packet(97, 201, 6))
	if got := u.receiver.Stats().Layers[1].Restored; got != 2 {
		t.Errorf("%d packets restored, want 2", got)
	}
	if c := r.p.counters.unrouted.Load(); c != 0 {
		t.Errorf("%d packets unrouted", c)
	}
}

func TestRouteFirefox(t *testing.T) {
	// No repaired-rid: RTX is paired by a=ssrc-group alone; media has mid and rid.
	u := videoUplink("1", []string{"q", "h"}, sdp.SSRC{ID: 100, RTX: 200}, sdp.SSRC{ID: 101, RTX: 201})
	u.ids.RepairedRID = 0
	r := newRouted(t, u)
	r.push(packet(96, 101, 1, ext(4, "1"), ext(10, "h")))
	r.push(packet(97, 201, 2, ext(4, "1")))
	if s := u.receiver.Stats().Layers[1]; s.Packets != 2 || s.Restored != 1 {
		t.Errorf("layer h: %+v", s)
	}
	// The rid counts more than the order of the a=ssrc lines.
	r.push(packet(96, 100, 1, ext(4, "1"), ext(10, "q")))
	if packets(u, 0) != 1 {
		t.Error("layer q got nothing")
	}
}

func TestRouteBySSRCAndPayloadType(t *testing.T) {
	declared := videoUplink("1", nil, sdp.SSRC{ID: 7, RTX: 8})
	other := videoUplink("2", nil)
	other.codecs = []sdp.Codec{{Mime: "video/VP9", PayloadType: 98, RTX: 99, ClockRate: 90000}}
	other.decide(&Peer{log: slog.New(slog.DiscardHandler)}, &other.codecs[0])
	r := newRouted(t, declared, other)
	r.push(packet(96, 7, 1))
	r.push(packet(98, 9, 1)) // by payload type: only one uplink has it
	if packets(declared, 0) != 1 || packets(other, 0) != 1 {
		t.Errorf("packets %d %d, want one each", packets(declared, 0), packets(other, 0))
	}
	// The same payload type twice is ambiguous.
	r.set(declared, videoUplink("3", nil))
	r.push(packet(96, 1234, 1))
	if r.p.counters.unrouted.Load() != 1 {
		t.Error("a packet of nobody was routed")
	}
}

func TestRouteRefusals(t *testing.T) {
	u := videoUplink("1", []string{"q", "h", "f"})
	r := newRouted(t, u)
	c := &r.p.counters
	r.push([]byte{0x80, 96, 0})
	r.push([]byte("GET / HTTP/1.1\r\n\r\n"))
	if c.malformed.Load() != 2 {
		t.Errorf("malformed %d, want 2", c.malformed.Load())
	}
	r.push(packet(96, 1, 1))                             // no mid, no a=ssrc, three layers
	r.push(packet(96, 2, 1, ext(4, "9")))                // unknown mid
	r.push(packet(96, 3, 1, ext(4, "1"), ext(10, "zz"))) // unknown rid
	r.push(packet(50, 4, 1, ext(4, "1"), ext(10, "q")))  // payload type not negotiated
	if c.unrouted.Load() != 4 {
		t.Errorf("unrouted %d, want 4", c.unrouted.Load())
	}
	r.push(packet(96, 5, 1, ext(4, "1"), ext(10, "q")))
	r.push(packet(50, 5, 2)) // changes its payload type later
	r.push(packet(97, 5, 3)) // retransmission on the media SSRC
	if c.wrongPayload.Load() != 2 {
		t.Errorf("wrong payload types %d, want 2", c.wrongPayload.Load())
	}
}

func TestRouteTableIsBounded(t *testing.T) {
	u := videoUplink("1", []string{"q", "h", "f"})
	r := newRouted(t, u)
	for i := range uint32(10000) {
		r.push(packet(96, 1000+i, 1, ext(4, "1"), ext(10, u.rids[i%3])))
		r.push(packet(97, 90000+i, 1, ext(4, "1"), ext(11, u.rids[i%3])))
	}
	if n := len(r.p.router.latched); n > 6 {
		t.Errorf("%d SSRCs latched for three layers", n)
	}
	r.set()
	r.push(packet(96, 1, 1))
	if n := len(r.p.router.latched); n != 0 {
		t.Errorf("%d SSRCs latched after the track ended", n)
	}
}

func TestRouteAllocatesNothing(t *testing.T) {
	u := videoUplink("1", []string{"q"})
	r := newRouted(t, u)
	twcc := rtp.Extension{ID: 3, Data: []byte{0, 1}}
	b := packet(96, 1, 1, ext(4, "1"), ext(10, "q"), twcc)
	r.push(b)
	u.receiver.Close() // what the receiver does is not measured here
	now := time.Now()
	seq := uint16(1)
	if n := testing.AllocsPerRun(1000, func() {
		seq++
		b[2], b[3] = byte(seq>>8), byte(seq)
		r.p.router.handle(b, now)
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func TestOrderRids(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"qhf", "qhf"}, {"fhq", "qhf"}, {"fq", "qf"}, {"f", "f"}, {"abc", "abc"}, {"2q1", "2q1"}, {"", ""}, {"abcd", "abc"},
	} {
		var in []string
		for _, r := range c.in {
			in = append(in, string(r))
		}
		got := ""
		for _, r := range orderRids(in) {
			got += r
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}

func FuzzRoute(f *testing.F) {
	f.Add(packet(96, 1, 1, ext(4, "1"), ext(10, "q")))
	f.Add(packet(97, 1, 1, ext(4, "1"), ext(11, "h")))
	f.Add([]byte{0x81, 200, 0, 1, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		u := videoUplink("1", []string{"q", "h", "f"})
		r := newRouted(t, u)
		r.p.handleRTCP(b, time.Now())
		r.push(b)
		r.p.handleRTCP(b, time.Now())
	})
}
