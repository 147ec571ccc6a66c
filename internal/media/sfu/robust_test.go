package sfu

import (
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// FuzzPush offers arbitrary packets on arbitrary layers of every codec.
func FuzzPush(f *testing.F) {
	f.Add(uint8(0), append([]byte{0}, key(0, 1, 1000, 1).parse(f).Raw...))
	f.Add(uint8(1), append([]byte{0x10}, delta(1, 1, 1000, 1).parse(f).Raw...))
	f.Add(uint8(6), append([]byte{0}, pkt{ssrc: 1, pt: 63, payload: []byte{0x80 | 111, 0, 4, 1, 111, 9, 0xf8}}.parse(f).Raw...))
	for which, name := range map[uint8]string{3: "chrome_av1_L3T3_KEY", 2: "chrome_vp9_L3T3_KEY", 0: "chrome_vp8_L1T3"} {
		rec := load(f, name, vp8Codec)
		var stream []byte // as read below: control and length before each packet
		for i := 0; len(stream) < 2000; i++ {
			if raw := rec.packet(f, i).Raw; len(raw) < 256 {
				stream = append(append(stream, 0x80|uint8(i%3)<<4, uint8(len(raw))), raw...)
			}
		}
		f.Add(which, stream)
	}
	codecs := []string{"video/VP8", "video/H264", "video/VP9", "video/AV1", "video/H265", "video/none", "audio/red", "audio/opus"}
	ids := rtp.ExtensionIDs{AbsSendTime: 1, AbsCaptureTime: 2, AudioLevel: 3, DependencyDescriptor: 4, VideoOrientation: 5, PlayoutDelay: 6}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		c := Codec{Mime: codecs[int(which)%len(codecs)], ClockRate: 90000, PayloadType: 96, RTXPayloadType: 97, REDPrimaryPayloadType: 111, Feedback: FeedbackNACK | FeedbackPLI}
		kind := Video
		if which%8 >= 6 {
			kind = Audio
		}
		r := NewReceiver(ReceiverParams{Kind: kind, Codec: c, Layers: 3, Extensions: ids})
		viewer := c
		if c.Mime == "audio/red" {
			viewer.Mime = "audio/opus"
		} else if kind == Audio {
			viewer.Mime = "audio/red"
		}
		var wires [2]wire
		tracks := [2]*DownTrack{
			NewDownTrack(DownTrackParams{SSRC: 7, RTXSSRC: 8, Codec: viewer, Extensions: ids, Writer: &wires[0]}),
			NewDownTrack(DownTrackParams{SSRC: 9, Codec: c, Writer: &wires[1]}),
		}
		for _, d := range tracks {
			r.AddDownTrack(d)
			defer d.Close()
		}
		now := at0
		for len(b) > 0 { // each packet: one byte of control, one of length, the rest
			control := b[0]
			n := len(b)
			if control&0x80 != 0 && len(b) > 1 {
				n = min(len(b), 2+int(b[1]))
				b = b[1:]
				n--
			}
			var p rtp.Packet
			if p.Unmarshal(b[1:n]) == nil {
				if control&0x40 != 0 {
					r.PushRTX(int(control&3), &p, now)
				} else {
					r.Push(int(control&3), &p, now)
				}
			}
			b = b[n:]
			now = now.Add(time.Duration(control>>2&0xf) * 7 * time.Millisecond)
			r.Tick(now)
			tracks[0].HandleRTCP(nack(7, p.SequenceNumber, 0, 1), now)
			tracks[0].SetMaxLayer(int(control&3)-1, int(control>>4&3))
		}
		for i := range wires {
			seen := map[uint32]bool{}
			for _, p := range wires[i].packets {
				id := uint32(p.SequenceNumber)
				if p.SSRC == 8 || p.SSRC == 9 {
					continue // retransmissions have numbers of their own
				}
				if seen[id] {
					t.Fatalf("number %d used twice", p.SequenceNumber)
				}
				seen[id] = true
			}
		}
	})
}

// FuzzHandleRTCP gives a down track whatever parses as RTCP.
func FuzzHandleRTCP(f *testing.F) {
	seed, err := nack(7, 1, 2, 3).Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(_ *testing.T, b []byte) {
		pkts, err := rtcp.Unmarshal(b)
		if err != nil {
			return
		}
		r := NewReceiver(ReceiverParams{Kind: Video, Codec: vp8Codec, Layers: 1})
		d := NewDownTrack(DownTrackParams{SSRC: 7, RTXSSRC: 8, Codec: vp8Codec, Writer: new(discard)})
		r.AddDownTrack(d)
		defer d.Close()
		var p rtp.Packet
		if p.Unmarshal(rtp.AppendHeader(nil, rtp.Header{SSRC: 1, SequenceNumber: 5})) == nil {
			r.Push(0, &p, at0)
		}
		for _, pkt := range pkts {
			d.HandleRTCP(pkt, at0)
			if sr, ok := pkt.(*rtcp.SenderReport); ok {
				r.SenderReport(0, sr, at0)
			}
		}
		r.Tick(at0)
		d.SenderReport(at0)
	})
}

// lockedWire is a wire that is safe for the concurrent writers of this test to be
// caught: it fails when two write at once.
type lockedWire struct {
	t    *testing.T
	mu   sync.Mutex
	last int
	sns  map[uint16]int
}

func (w *lockedWire) WriteRTP(h, _ []byte) (int, error) {
	if !w.mu.TryLock() {
		w.t.Error("two writers of one stream at once")
		return 0, nil
	}
	defer w.mu.Unlock()
	sn := uint16(h[2])<<8 | uint16(h[3])
	if h[11] == 7 { // the stream itself, not retransmissions
		w.sns[sn]++
		w.last++
	}
	return len(h), nil
}

func (w *lockedWire) WriteRTCP([]byte) error { return nil }

// TestConcurrentUse pushes three layers at once while viewers come and go, change
// what they want and send RTCP. It is for the race detector, and checks that each
// stream has one writer and no number twice.
func TestConcurrentUse(t *testing.T) {
	r := NewReceiver(ReceiverParams{Kind: Video, Codec: vp8Codec, Layers: 3, SendRTCP: func([]rtcp.Packet) {}})
	r.OnLayersChanged(func([]bool) {})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(f func(i int)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					f(i)
				}
			}
		}()
	}
	w := &lockedWire{t: t, sns: map[uint16]int{}}
	stay := NewDownTrack(DownTrackParams{SSRC: 7, RTXSSRC: 8, Codec: vp8Codec, Writer: w})
	r.AddDownTrack(stay)
	const packets = 2000
	var pushers sync.WaitGroup
	for spatial := range 3 {
		pushers.Add(1)
		go func() {
			defer pushers.Done()
			for i := range packets {
				k := delta(spatial, uint16(i), 3000*uint32(i), uint16(i))
				if i%50 == 0 {
					k = key(spatial, uint16(i), 3000*uint32(i), uint16(i))
				}
				r.Push(spatial, k.parse(t), time.Now())
			}
		}()
	}
	loop(func(i int) { stay.SetMaxLayer(i%4-1, i%3); stay.SetTarget(2-i%2, 2); stay.SetPaused(i%7 == 0) })
	loop(func(i int) {
		stay.HandleRTCP(nack(7, uint16(i), uint16(i+5)), time.Now())
		stay.HandleRTCP(&rtcp.PictureLossIndication{MediaSSRC: 7}, time.Now())
		stay.SenderReport(time.Now())
		stay.Stats()
		stay.State()
	})
	loop(func(i int) {
		d := NewDownTrack(DownTrackParams{SSRC: uint32(100 + i), Codec: vp8Codec, Writer: new(discard)})
		r.AddDownTrack(d)
		if i%2 == 0 {
			r.RemoveDownTrack(d)
		}
		d.Close()
	})
	loop(func(i int) {
		r.Tick(time.Now())
		r.SenderReport(i%3, &rtcp.SenderReport{SSRC: uint32(100 + i%3), NTPTime: rtp.ToNTP(time.Now()), RTPTime: uint32(i)}, time.Now())
		r.Stats()
		r.State()
		if i%20 == 0 {
			r.SetMuted(i%40 == 0)
		}
	})
	pushers.Wait()
	close(stop)
	wg.Wait()
	r.SetMuted(false)
	stay.SetPaused(false)
	stay.SetMaxLayer(2, 2)
	stay.SetTarget(2, 2)
	before := w.last
	r.Push(2, key(2, packets, 3000*packets, packets).parse(t), time.Now())
	if w.last != before+1 {
		t.Error("after all that the viewer gets nothing")
	}
	stay.Close()
	r.Close()
	for sn, n := range w.sns {
		if n > 1 {
			t.Errorf("number %d was used %d times", sn, n)
		}
	}
}
