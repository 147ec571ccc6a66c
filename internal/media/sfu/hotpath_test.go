package sfu

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// discard is a Writer that only counts.
type discard struct{ packets, bytes int }

func (d *discard) WriteRTP(h, p []byte) (int, error) {
	d.packets++
	d.bytes += len(h) + len(p)
	return len(h) + len(p), nil
}

func (d *discard) WriteRTCP([]byte) error { return nil }

// pusher feeds one packet after the other to a receiver, without allocating.
type pusher struct {
	r       *Receiver
	p       rtp.Packet
	raw     []byte
	sn      uint16
	picture uint16
	now     time.Time
	video   bool
}

// newPusher makes a receiver with that many viewers. Of video viewers every third
// leaves temporal layers out, so that descriptors are rewritten.
func newPusher(tb testing.TB, video bool, viewers int) *pusher {
	tb.Helper()
	ids := rtp.ExtensionIDs{AbsSendTime: 2, AbsCaptureTime: 3, AudioLevel: 4}
	p := &pusher{video: video, now: at0}
	if video {
		p.r = NewReceiver(ReceiverParams{Kind: Video, Codec: vp8Codec, Layers: 3, Extensions: ids})
		k := key(0, 0, 0, 0)
		k.payload = append(k.payload, make([]byte, 1100)...)
		k.exts = []rtp.Extension{{ID: 3, Data: make([]byte, 8)}}
		p.raw = k.parse(tb).Raw
	} else {
		p.r = NewReceiver(ReceiverParams{Kind: Audio, Codec: opusCodec, Layers: 1, Extensions: ids})
		p.raw = pkt{ssrc: 1, pt: 111, payload: make([]byte, 80), exts: []rtp.Extension{{ID: 4, Data: []byte{20}}}}.parse(tb).Raw
	}
	for i := range viewers {
		c := opusCodec
		if video {
			c = vp8Codec
		} else if i%2 == 1 {
			c = redCodec
		}
		d := NewDownTrack(DownTrackParams{SSRC: uint32(2*i + 10), RTXSSRC: uint32(2*i + 11), Codec: c, Extensions: ids, Writer: new(discard)})
		if i%3 == 2 {
			d.SetMaxLayer(0, 0)
		}
		p.r.AddDownTrack(d)
	}
	for range 3000 { // rings grow to their size
		p.push()
	}
	return p
}

func (p *pusher) push() {
	p.sn++
	binary.BigEndian.PutUint16(p.raw[2:], p.sn)
	binary.BigEndian.PutUint32(p.raw[4:], uint32(p.sn)*3000)
	if p.video {
		p.picture = (p.picture + 1) & 0x7fff
		d := p.raw[len(p.raw)-1100-16:]
		binary.BigEndian.PutUint16(d[2:], p.picture|0x8000)
		d[5] = 0
		if p.picture%2 == 1 { // every other frame is of the second temporal layer
			d[5] = 1<<6 | 0x20
		}
	}
	if err := p.p.Unmarshal(p.raw); err != nil {
		panic(err)
	}
	p.r.Push(0, &p.p, p.now)
	p.now = p.now.Add(5 * time.Millisecond)
}

func TestForwardAllocs(t *testing.T) {
	for _, video := range []bool{true, false} {
		for _, viewers := range []int{0, 1, 100} {
			t.Run(fmt.Sprintf("video=%v/viewers=%d", video, viewers), func(t *testing.T) {
				p := newPusher(t, video, viewers)
				if n := testing.AllocsPerRun(500, p.push); n != 0 {
					t.Errorf("%v allocations a packet", n)
				}
				if st := p.r.Stats(); viewers > 0 && st.DownTracks != viewers {
					t.Fatalf("%d viewers", st.DownTracks)
				}
				for _, tracks := range p.r.list.Load().byForm {
					for _, d := range tracks {
						if d.Stats().Packets == 0 {
							t.Fatal("a viewer got nothing: the test measures nothing")
						}
					}
				}
			})
		}
	}
}

func TestResendAllocs(t *testing.T) {
	p := newPusher(t, true, 1)
	d := p.r.list.Load().byForm[formSame][0]
	var n int
	allocs := testing.AllocsPerRun(200, func() {
		p.push()
		last, _ := d.sn.Last()
		request := nack(d.SSRC(), uint16(last)) // two allocations of the test's own
		d.HandleRTCP(request, p.now)
		n++
	})
	if allocs > 2 {
		t.Errorf("%v allocations a retransmission", allocs-2)
	}
	if st := d.Stats(); st.Resent < uint64(n/2) {
		t.Fatalf("%d resent of %d", st.Resent, n)
	}
}

func BenchmarkForward(b *testing.B) {
	for _, kind := range []string{"video", "audio"} {
		for _, viewers := range []int{1, 100, 1000} {
			b.Run(fmt.Sprintf("%s/viewers=%d", kind, viewers), func(b *testing.B) {
				p := newPusher(b, kind == "video", viewers)
				b.ReportAllocs()
				for b.Loop() {
					p.push()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*viewers), "ns/viewer-packet")
			})
		}
	}
}
