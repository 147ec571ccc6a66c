package peer

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	prtp "github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// publishSilentMids sends one layer of simulcast VP8 whose mid and rid stand in
// its first packets only, as browsers do.
func (c *client) publishSilentMids(id, rid string) {
	c.t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, id, "stream", webrtc.WithRTPStreamID(rid))
	if err != nil {
		c.t.Fatal(err)
	}
	other, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, id, "stream", webrtc.WithRTPStreamID("q"))
	if err != nil {
		c.t.Fatal(err)
	}
	tr, err := c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := tr.Sender().AddEncoding(other); err != nil {
		c.t.Fatal(err)
	}
	c.drain(tr.Sender())
	told := 0
	c.pump(20*time.Millisecond, 1800, func(seq uint16, ts uint32) error {
		pkt := &prtp.Packet{Header: prtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: true}, Payload: vp8Delta}
		if seq%10 == 0 {
			pkt.Payload = vp8Key
		}
		if c.pc.ConnectionState() == webrtc.PeerConnectionStateConnected && told < 20 {
			told++
			for _, ext := range tr.Sender().GetParameters().HeaderExtensions {
				switch ext.URI {
				case rtp.URIMID:
					_ = pkt.SetExtension(uint8(ext.ID), []byte(tr.Mid()))
				case rtp.URIRID:
					_ = pkt.SetExtension(uint8(ext.ID), []byte(rid))
				}
			}
		}
		return track.WriteRTP(pkt)
	})
}

// TestMove hands a live connection from one host to another while media flows
// both ways: the client sees one unbroken stream.
func TestMove(t *testing.T) {
	cert, err := transport.NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	nodeA, nodeB := newRigWith(t, cert), newRigWith(t, cert)

	// A publisher that stays where it is.
	pub, pubEvents := nodeA.peer(Publisher, nil)
	source := newClient(t)
	source.publishVideo("cid-source")
	source.publishAudio("cid-audio")
	source.negotiate(pub, nil)
	tracks := map[string]Uplink{"TR_video": waitTrack(t, pubEvents, sfu.Video), "TR_audio": waitTrack(t, pubEvents, sfu.Audio)}

	// The participant that moves.
	a, aEvents := nodeA.peer(Single, nil)
	c := newClient(t)
	c.openChannels()
	c.recvonly(webrtc.RTPCodecTypeAudio, 1)
	c.recvonly(webrtc.RTPCodecTypeVideo, 1)
	c.publishSilentMids("cid-mine", "h")
	for id, u := range tracks {
		a.Subscribe(Downlink{TrackID: id, StreamID: "PA|" + id, Kind: u.Kind, Codecs: []string{u.Mime}, Bound: u.Receiver.AddDownTrack})
	}
	c.negotiate(a, nil)
	mine := waitTrack(t, aEvents, sfu.Video)

	// Somebody who watches the one that moves.
	view, viewEvents := nodeA.peer(Subscriber, nil)
	viewer := newClient(t)
	watching := make(chan *sfu.DownTrack, 1)
	view.Subscribe(Downlink{TrackID: "TR_mine", StreamID: "PA|mine", Kind: sfu.Video, Codecs: []string{mine.Mime}, Bound: func(d *sfu.DownTrack) {
		mine.Receiver.AddDownTrack(d)
		watching <- d
	}})
	viewer.answer(view, viewEvents)
	eventually(t, "media at the one who watches", func() bool { return viewer.got("TR_mine") > 20 })
	eventually(t, "media both ways", func() bool {
		return c.got("TR_video") > 20 && c.got("TR_audio") > 20 && mine.Receiver.Stats().Layers[1].Packets > 40
	})

	// Prepare, answer the client's ICE restart, take over when it has nominated.
	snapshot := roundTrip(t, a.Snapshot())
	bEvents := newEvents()
	joined := make(chan string, 8)
	b, err := Prepare(Params{Host: nodeB.host, Loop: nodeB.loop, Handler: bEvents, Log: nodeB.log, CNAME: "PA_test"}, snapshot,
		func(id string, d *sfu.DownTrack) {
			tracks[id].Receiver.AddDownTrack(d)
			joined <- id
		})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	answer := c.negotiate(b, &webrtc.OfferOptions{ICERestart: true})
	if len(answer.MidToTrack) != 2 {
		t.Errorf("the new node answers with %v", answer.MidToTrack)
	}
	eventually(t, "nomination of the new node", func() bool { return b.State() == transport.StateConnecting })
	state, err := a.Export()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Resume(roundTrip(t, state)); err != nil {
		t.Fatal(err)
	}
	moved := waitTrack(t, bEvents, sfu.Video)
	if moved.TrackID != "cid-mine" || moved.Mid != mine.Mid || len(moved.Rids) != 2 {
		t.Errorf("uplink %+v, was %+v", moved, mine)
	}
	moved.Receiver.AddDownTrack(<-watching)
	watched := viewer.got("TR_mine")
	<-joined
	<-joined
	eventually(t, "connection", func() bool { return b.State() == transport.StateConnected })
	before := map[string]int{"TR_video": c.got("TR_video"), "TR_audio": c.got("TR_audio")}
	eventually(t, "media from the new node", func() bool {
		return c.got("TR_video") > before["TR_video"]+20 && c.got("TR_audio") > before["TR_audio"]+20
	})
	eventually(t, "the uplink at the new node, without a mid", func() bool { return moved.Receiver.Stats().Layers[1].Packets > 20 })
	eventually(t, "media at the one who watches, after the move", func() bool { return viewer.got("TR_mine") > watched+20 })
	if s := b.Stats(); s.Unrouted != 0 || s.Uplinks != 1 || s.Downlinks != 2 {
		t.Errorf("stats %+v", s)
	}
	// One stream each, whose numbers go on: only what the source sent between the
	// client's restart and the hand-over is missing (Pion drops its old pair when
	// it restarts; browsers still listen there).
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.received) != 2 {
		t.Errorf("%d tracks at the client", len(c.received))
	}
	for id, seqs := range c.seqs {
		for i := 1; i < len(seqs); i++ {
			if step := seqs[i] - seqs[i-1]; step == 0 || step > 200 {
				t.Errorf("%s: sequence number %d after %d", id, seqs[i], seqs[i-1])
			}
		}
	}
	if _, err := a.Export(); !errors.Is(err, ErrClosed) {
		t.Errorf("a second export: %v", err)
	}
}

func roundTrip(t *testing.T, s SessionState) SessionState {
	t.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var out SessionState
	if err := out.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	again, err := out.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(b) {
		t.Errorf("the state changes on the way:\n%s\n%s", b, again)
	}
	return out
}

// TestResumeSubscriber resumes a Subscriber under its own credentials on the same
// address, with an offer under way.
func TestResumeSubscriber(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Subscriber, nil)
	c := newClient(t)
	p.Subscribe(Downlink{TrackID: "TR_1", StreamID: "PA|1", Kind: sfu.Video, Codecs: []string{"video/VP8"}})
	c.answer(p, e)
	eventually(t, "connection", func() bool { return p.State() == transport.StateConnected })
	p.Subscribe(Downlink{TrackID: "TR_2", StreamID: "PA|1", Kind: sfu.Audio, Codecs: []string{"audio/opus"}})
	lost := <-e.offers // and its answer never comes
	state, err := p.Export()
	if err != nil {
		t.Fatal(err)
	}
	events := newEvents()
	var mu sync.Mutex
	joined := map[string]bool{}
	q, err := Resume(Params{Host: r.host, Loop: r.loop, Handler: events, Log: r.log}, roundTrip(t, state), func(id string, _ *sfu.DownTrack) {
		mu.Lock()
		defer mu.Unlock()
		joined[id] = true
	})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	var again offerEvent
	select {
	case again = <-events.offers:
	case <-time.After(patience):
		t.Fatal("the lost offer is not made again")
	}
	if again.id != lost.id+1 || len(again.mids) != 2 || ufrag(t, again.sdp) != ufrag(t, lost.sdp) {
		t.Errorf("offer %d %v after %d %v", again.id, again.mids, lost.id, lost.mids)
	}
	if err := q.HandleAnswer(c.answerTo(again), again.id); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both down tracks", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return joined["TR_1"] && joined["TR_2"]
	})
}

func TestSessionStateIsNotPrinted(t *testing.T) {
	s := SessionState{Mode: Single}
	s.Conn = transport.ConnState{LocalUfrag: "u", LocalPwd: "topsecret", DTLS: []byte("topsecret")}
	for _, text := range []string{fmt.Sprint(&s), fmt.Sprintf("%+v", &s), s.LogValue().String(), s.String()} {
		if strings.Contains(text, "topsecret") {
			t.Errorf("a key is printed: %s", text)
		}
	}
	s.Wipe()
	if !reflect.DeepEqual(s, SessionState{}) {
		t.Error("Wipe leaves something")
	}
}

func TestUnmarshalRefusesNonsense(t *testing.T) {
	for _, b := range []string{"", "\x02{}", "\x01", "\x01{}", "\x01[]", `{"Session":{"Mode":9}}`,
		"\x01" + `{"Session":{"Mode":1,"Sections":[{"Mid":"0","Kind":3,"Up":{}}]}}`,
		"\x01" + `{"Session":{"Mode":1,"Sections":[{"Mid":"0","Kind":1},{"Mid":"0","Kind":1}]}}`,
		"\x01" + `{"Session":{"Mode":1},"Transport":"AAAA"}`,
	} {
		var s SessionState
		if err := s.UnmarshalBinary([]byte(b)); err == nil {
			t.Errorf("%q is taken for a state", b)
		}
	}
}

func FuzzUnmarshalState(f *testing.F) {
	f.Add([]byte("\x01" + `{"Session":{"Mode":1,"Sections":[{"Mid":"0","Kind":1,"Up":{"Layers":1,"Codecs":[{"Mime":"audio/opus"}]},"Down":{"TrackID":"x","Bound":true}}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s SessionState
		if s.UnmarshalBinary(b) != nil {
			return
		}
		if _, err := s.MarshalBinary(); err != nil {
			t.Fatal(err)
		}
	})
}
