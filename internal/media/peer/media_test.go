package peer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	prtp "github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

func TestDataChannels(t *testing.T) {
	r := newRig(t)
	for _, mode := range []Mode{Subscriber, Single} {
		t.Run(mode.String(), func(t *testing.T) {
			p, e := r.peer(mode, nil)
			c := newClient(t)
			if err := p.Send(Reliable, []byte("early")); err != nil { // waits for the channel
				t.Fatal(err)
			}
			if mode == Single {
				c.openChannels()
				c.negotiate(p, nil)
			} else {
				p.Negotiate()
				c.answer(p, e)
			}
			eventually(t, "what was sent before the channel was open", func() bool { return c.has("_reliable early") })
			eventually(t, "the other channels", func() bool {
				return p.Send(Lossy, []byte("l")) == nil && p.Send(DataTrack, []byte("d")) == nil && c.has("_lossy l") && c.has("_data_track d")
			})
			for label, dc := range c.channels {
				ordered := dc.Ordered() && dc.MaxRetransmits() == nil
				if ordered != (label == "_reliable") {
					t.Errorf("%s: ordered %v", label, ordered)
				}
				if err := dc.Send([]byte("hello")); err != nil {
					t.Fatal(err)
				}
				eventually(t, "a message on "+label, func() bool { return e.has(label + " hello") })
			}
			if err := p.Send(Reliable, make([]byte, maxMessageSize+1)); !errors.Is(err, ErrMessageTooLarge) {
				t.Errorf("too large a message: %v", err)
			}
			eventually(t, "all acknowledged", func() bool { return p.BufferedAmount(Reliable) == 0 })
		})
	}
}

func TestSendIsBoundedBeforeOpen(t *testing.T) {
	r := newRig(t)
	p, _ := r.peer(Single, nil)
	for range maxQueued {
		if err := p.Send(Reliable, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Send(Reliable, []byte("x")); !errors.Is(err, ErrChannelNotOpen) {
		t.Errorf("message %d: %v", maxQueued+1, err)
	}
	if n := p.BufferedAmount(Reliable); n != maxQueued {
		t.Errorf("%d bytes buffered", n)
	}
	if err := p.Send(Channel(9), nil); !errors.Is(err, ErrChannelNotOpen) {
		t.Errorf("unknown channel: %v", err)
	}
}

// TestGoClient: a stock Pion client answers an ICE-lite offer with the wrong
// role, sends a codec it did not announce, and fires its track by RTP.
func TestGoClient(t *testing.T) {
	r := newRig(t)
	plain := func(se *webrtc.SettingEngine, _ *webrtc.MediaEngine) {
		*se = webrtc.SettingEngine{} // without the answering role of the other tests
		se.SetIncludeLoopbackCandidate(true)
	}
	isGo := func(p *Params) { p.Quirks.Go = true }
	t.Run("muted track", func(t *testing.T) {
		p, e := r.peer(Subscriber, isGo)
		c := newClientWith(t, plain)
		src := source(sfu.Video, "video/VP8")
		defer src.Close()
		src.SetMuted(true)
		p.Subscribe(Downlink{TrackID: "TR_muted", StreamID: "PA|1", Kind: sfu.Video, Codecs: []string{"video/VP8"}, Bound: src.AddDownTrack})
		o := c.answer(p, e)
		if !strings.Contains(o.sdp, "a=setup:passive") {
			t.Error("the offer leaves the DTLS role to the client")
		}
		eventually(t, "the track without media", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.received["TR_muted"] != nil
		})
	})
	t.Run("codec told by the first packet", func(t *testing.T) {
		p, e := r.peer(Publisher, isGo)
		c := newClientWith(t, plain)
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP9}, "cid", "stream")
		if err != nil {
			t.Fatal(err)
		}
		tr, err := c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			t.Fatal(err)
		}
		c.drain(tr.Sender())
		c.negotiate(p, nil)
		eventually(t, "connection", func() bool { return p.State() == transport.StateConnected })
		if u, ok := e.track(sfu.Video); ok {
			t.Errorf("track announced as %s before anything was sent", u.Mime)
		}
		c.pump(10*time.Millisecond, 900, func(seq uint16, ts uint32) error {
			return track.WriteRTP(&prtp.Packet{Header: prtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: true}, Payload: []byte{0x08, 0, 1, 2}})
		})
		u := waitTrack(t, e, sfu.Video)
		if u.Mime != "video/VP9" || u.TrackID != "cid" {
			t.Errorf("track %+v", u)
		}
		eventually(t, "its packets", func() bool { return u.Receiver.Stats().Layers[0].Packets > 5 })
		c.negotiate(p, nil) // a later offer changes nothing
		if again := waitTrack(t, e, sfu.Video); again.Receiver != u.Receiver {
			t.Error("a later offer replaced the track")
		}
	})
}

// TestRetransmission: the viewer asks for a packet and gets it as RTX, the
// publisher is asked for what is missing.
func TestRetransmission(t *testing.T) {
	r := newRig(t)
	pub, pubEvents := r.peer(Publisher, nil)
	a := newClient(t)
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "cid", "stream")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := a.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	asked := make(map[uint16]bool)
	a.wg.Go(func() {
		for {
			pkts, _, err := tr.Sender().ReadRTCP()
			if err != nil {
				return
			}
			for _, pkt := range pkts {
				if n, ok := pkt.(*rtcp.TransportLayerNack); ok {
					mu.Lock()
					for _, pair := range n.Nacks {
						for _, seq := range pair.PacketList() {
							asked[seq] = true
						}
					}
					mu.Unlock()
				}
			}
		}
	})
	a.negotiate(pub, nil)
	lost := uint16(33)
	a.pump(10*time.Millisecond, 900, func(seq uint16, ts uint32) error {
		payload := vp8Delta
		if seq%10 == 0 {
			payload = vp8Key
		}
		if seq == lost {
			return nil
		}
		return track.WriteRTP(&prtp.Packet{Header: prtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: true}, Payload: payload})
	})

	sub, subEvents := r.peer(Subscriber, nil)
	b := newClient(t)
	var down *sfu.DownTrack
	bound := make(chan *sfu.DownTrack, 1)
	u := waitTrack(t, pubEvents, sfu.Video)
	sub.Subscribe(Downlink{
		TrackID: "TR", StreamID: "PA|1", Kind: sfu.Video, Codecs: []string{u.Mime},
		Bound: func(d *sfu.DownTrack) { u.Receiver.AddDownTrack(d); bound <- d },
	})
	b.answer(sub, subEvents)
	down = <-bound
	eventually(t, "the publisher being asked for the missing packet", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return asked[lost]
	})
	eventually(t, "media at the viewer", func() bool { return b.got("TR") > 20 })
	b.mu.Lock()
	seqs := b.seqs["TR"]
	want := seqs[len(seqs)-1]
	b.mu.Unlock()
	nack := &rtcp.TransportLayerNack{MediaSSRC: down.SSRC(), Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{want})}
	if err := b.pc.WriteRTCP([]rtcp.Packet{nack, &rtcp.PictureLossIndication{MediaSSRC: down.SSRC()}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the packet again", func() bool {
		s := down.Stats()
		return s.Resent > 0 && s.PLIs > 0
	})
}

func TestSenderReports(t *testing.T) {
	r := newRig(t)
	pub, pubEvents := r.peer(Publisher, nil)
	a := newClient(t)
	sender := a.publishAudio("cid")
	a.negotiate(pub, nil)
	u := waitTrack(t, pubEvents, sfu.Audio)
	eventually(t, "media", func() bool { return u.Receiver.Stats().Layers[0].Packets > 3 })
	sub, subEvents := r.peer(Subscriber, nil)
	b := newClient(t)
	reports := make(chan *rtcp.SenderReport, 16)
	b.pc.OnTrack(func(_ *webrtc.TrackRemote, rx *webrtc.RTPReceiver) {
		b.wg.Go(func() {
			for {
				pkts, _, err := rx.ReadRTCP()
				if err != nil {
					return
				}
				for _, pkt := range pkts {
					if sr, ok := pkt.(*rtcp.SenderReport); ok {
						reports <- sr
					}
				}
			}
		})
	})
	forward(t, pubEvents, sfu.Audio, sub, "TR")
	b.answer(sub, subEvents)
	ssrc := uint32(sender.GetParameters().Encodings[0].SSRC)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for {
		select {
		case <-ticker.C:
			sr := &rtcp.SenderReport{SSRC: ssrc, NTPTime: 0xe0000000 << 32, RTPTime: 1000, PacketCount: 1, OctetCount: 4}
			if err := a.pc.WriteRTCP([]rtcp.Packet{sr}); err != nil {
				t.Fatal(err)
			}
		case sr := <-reports:
			if sr.NTPTime>>32 < 0xe0000000 || sr.NTPTime>>32 > 0xe0000000+60 {
				t.Errorf("report %+v is not the publisher's clock", sr)
			}
			if sr.PacketCount > 0 {
				return
			}
		case <-deadline:
			t.Fatal("the viewer gets no sender report")
		}
	}
}

// TestTransportFeedback: a publisher that numbers its packets is told which came.
func TestTransportFeedback(t *testing.T) {
	r := newRig(t)
	p, _ := r.peer(Publisher, nil)
	c := newClient(t)
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "cid", "stream")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	told := 0
	c.wg.Go(func() {
		for {
			pkts, _, err := tr.Sender().ReadRTCP()
			if err != nil {
				return
			}
			for _, pkt := range pkts {
				if f, ok := pkt.(*rtcp.TransportLayerCC); ok {
					mu.Lock()
					told += int(f.PacketStatusCount)
					mu.Unlock()
				}
			}
		}
	})
	c.negotiate(p, nil)
	c.pump(10*time.Millisecond, 900, func(seq uint16, ts uint32) error {
		pkt := &prtp.Packet{Header: prtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: true}, Payload: vp8Key}
		for _, e := range tr.Sender().GetParameters().HeaderExtensions {
			if strings.Contains(e.URI, "transport-wide") {
				if err := pkt.SetExtension(uint8(e.ID), []byte{byte(seq >> 8), byte(seq)}); err != nil {
					return err
				}
			}
		}
		return track.WriteRTP(pkt)
	})
	eventually(t, "feedback about 50 packets", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return told >= 50
	})
}

// TestCloseUnderLoad closes peers while media flows through them both ways.
func TestCloseUnderLoad(t *testing.T) {
	r := newRig(t)
	pub, pubEvents := r.peer(Publisher, nil)
	a := newClient(t)
	a.publishAudio("cid-a")
	a.publishVideo("cid-v", "q", "h", "f")
	a.negotiate(pub, nil)
	u := waitTrack(t, pubEvents, sfu.Video)
	var viewers []*Peer
	for i := range 4 {
		sub, e := r.peer(Subscriber, nil)
		b := newClient(t)
		forward(t, pubEvents, sfu.Audio, sub, fmt.Sprint("TR_a", i))
		forward(t, pubEvents, sfu.Video, sub, fmt.Sprint("TR_v", i))
		b.answer(sub, e)
		eventually(t, "media", func() bool { return b.got(fmt.Sprint("TR_v", i)) > 3 })
		viewers = append(viewers, sub)
	}
	var wg sync.WaitGroup
	for _, v := range viewers[:2] {
		wg.Go(v.Close)
	}
	wg.Go(func() { viewers[2].Unsubscribe("TR_v2") })
	wg.Wait()
	eventually(t, "only two video viewers", func() bool { return u.Receiver.Stats().DownTracks == 1 })
	pub.Close()
	if n := u.Receiver.Stats().DownTracks; n != 0 {
		t.Errorf("%d down tracks on a closed receiver", n)
	}
}

// TestRED: a publisher's RED goes as it is to a viewer that takes it, unpacked to
// one that does not.
func TestRED(t *testing.T) {
	r := newRig(t)
	pub, pubEvents := r.peer(Publisher, nil)
	a := newClient(t)
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: "111/111"}, "cid", "stream")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := a.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	a.drain(tr.Sender())
	a.negotiate(pub, nil)
	opus := []byte{0x78, 1, 2, 3}
	a.pump(20*time.Millisecond, 960, func(seq uint16, ts uint32) error {
		return track.WriteRTP(&prtp.Packet{Header: prtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts}, Payload: append([]byte{111}, opus...)})
	})
	if u := waitTrack(t, pubEvents, sfu.Audio); u.Mime != "audio/red" {
		t.Fatalf("published %s", u.Mime)
	}
	for _, tc := range []struct {
		noRED bool
		mime  string
		want  []byte
	}{{false, "audio/red", append([]byte{111}, opus...)}, {true, "audio/opus", opus}} {
		sub, e := r.peer(Subscriber, func(p *Params) { p.Quirks.NoRED = tc.noRED })
		b := newClient(t)
		payloads := make(chan []byte, 1)
		mimes := make(chan string, 1)
		b.pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			pkt, _, err := tr.ReadRTP()
			if err == nil {
				mimes <- tr.Codec().MimeType
				payloads <- pkt.Payload
			}
		})
		forward(t, pubEvents, sfu.Audio, sub, "TR")
		b.answer(sub, e)
		select {
		case p := <-payloads:
			if m := <-mimes; m != tc.mime || !bytes.Equal(p, tc.want) {
				t.Errorf("viewer without RED %v got %s %v, want %s %v", tc.noRED, m, p, tc.mime, tc.want)
			}
		case <-time.After(patience):
			t.Fatalf("viewer without RED %v got nothing", tc.noRED)
		}
	}
}
