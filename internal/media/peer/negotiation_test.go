package peer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/concertina-rtc/concertina/internal/media/sdp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// source is a published track without a publisher.
func source(kind sfu.Kind, mime string) *sfu.Receiver {
	c := sfu.Codec{Mime: mime, ClockRate: 90000, PayloadType: 96}
	if kind == sfu.Audio {
		c = sfu.Codec{Mime: mime, ClockRate: 48000, Channels: 2, PayloadType: 111}
	}
	return sfu.NewReceiver(sfu.ReceiverParams{TrackID: "source", Kind: kind, Codec: c, Layers: 1})
}

// sectionOrder lists mids and kinds of a description.
func sectionOrder(t *testing.T, text string) []string {
	t.Helper()
	s, err := sdp.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range s.Sections {
		out = append(out, s.Sections[i].Mid+"="+s.Sections[i].Kind.String())
	}
	return out
}

func TestSubscriberKeepsOrder(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Subscriber, nil)
	c := newClient(t)
	rng := rand.New(rand.NewPCG(1, 2))
	kinds := map[string]sfu.Kind{}
	add := func(i int) {
		id, kind, mime := fmt.Sprintf("TR_%d", i), sfu.Audio, "audio/opus"
		if i%2 == 1 {
			kind, mime = sfu.Video, "video/VP8"
		}
		kinds[id] = kind
		p.Subscribe(Downlink{TrackID: id, StreamID: "PA_x|s", Kind: kind, Codecs: []string{mime}, Bound: func(*sfu.DownTrack) {}})
	}
	for i := range 20 {
		add(i)
	}
	var before []string
	version, most := uint64(0), [2]int{}
	for round := range 6 {
		o := c.answer(p, e)
		order := sectionOrder(t, o.sdp)
		if len(order) < len(before) || !slices.Equal(order[:len(before)], before) {
			t.Fatalf("round %d: sections moved:\n%v\n%v", round, before, order)
		}
		var count [2]int
		for _, k := range kinds {
			count[k-sfu.Audio]++
		}
		most = [2]int{max(most[0], count[0]), max(most[1], count[1])}
		if want := 1 + most[0] + most[1]; len(order) > want {
			t.Errorf("round %d: %d sections, %d would do: free ones are not reused", round, len(order), want)
		}
		before = order
		parsed, _ := sdp.Parse(o.sdp)
		if parsed.Version <= version {
			t.Errorf("o= version %d after %d", parsed.Version, version)
		}
		version = parsed.Version
		if len(o.mids) != len(kinds) {
			t.Errorf("round %d: %d mids for %d tracks", round, len(o.mids), len(kinds))
		}
		for mid, id := range o.mids {
			s := parsed.Section(mid)
			if s == nil || s.TrackID != id || trackKind(s.Kind) != kinds[id] || s.Direction != sdp.SendOnly {
				t.Errorf("round %d: mid %q does not send %s: %+v", round, mid, id, s)
			}
		}
		if round%2 == 0 { // some go; the answer to it frees their sections
			for id := range kinds {
				if rng.IntN(2) == 0 {
					p.Unsubscribe(id)
					delete(kinds, id)
				}
			}
			continue
		}
		for i := 20 * (round + 1); len(kinds) < 20; i++ {
			add(i)
		}
	}
}

func TestSingleKeepsOrder(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Single, nil)
	c := newClient(t)
	c.openChannels()
	c.recvonly(webrtc.RTPCodecTypeAudio, 3)
	c.recvonly(webrtc.RTPCodecTypeVideo, 3)
	subscribe := func(id string, kind sfu.Kind, mime string) {
		p.Subscribe(Downlink{TrackID: id, StreamID: "PA_x|s", Kind: kind, Codecs: []string{mime}})
	}
	for i := range 10 {
		subscribe(fmt.Sprint("TR_a", i), sfu.Audio, "audio/opus")
		subscribe(fmt.Sprint("TR_v", i), sfu.Video, "video/VP8")
	}
	a := c.negotiate(p, nil)
	if len(a.MidToTrack) != 6 {
		t.Errorf("%d tracks in the first six sections", len(a.MidToTrack))
	}
	if !strings.Contains(a.SDP, fmt.Sprint("a=max-message-size:", maxMessageSize)) {
		t.Error("the client is told another limit than the transport has")
	}
	ask := <-e.asks
	if ask != [2]int{7, 7} {
		t.Fatalf("asked for %v, want seven of each", ask)
	}
	c.recvonly(webrtc.RTPCodecTypeAudio, ask[0])
	c.recvonly(webrtc.RTPCodecTypeVideo, ask[1])
	before := a.MidToTrack
	a = c.negotiate(p, nil)
	if len(a.MidToTrack) != 20 {
		t.Errorf("%d of 20 tracks have a section", len(a.MidToTrack))
	}
	for mid, id := range before {
		if a.MidToTrack[mid] != id {
			t.Errorf("mid %q moved from %s to %s", mid, id, a.MidToTrack[mid])
		}
	}
	// A track that goes frees its section, but only after the client knows.
	p.Unsubscribe("TR_a0")
	subscribe("TR_new", sfu.Audio, "audio/opus")
	if ask = <-e.asks; ask != [2]int{1, 0} && ask != [2]int{0, 0} {
		t.Errorf("asked for %v", ask)
	}
	c.negotiate(p, nil)
	eventually(t, "the new track on the section that became free", func() bool {
		select {
		case <-e.asks:
		default:
		}
		return c.negotiate(p, nil).MidToTrack[midOf(before, "TR_a0")] == "TR_new"
	})
}

func midOf(m map[string]string, id string) string {
	for mid, track := range m {
		if track == id {
			return mid
		}
	}
	return ""
}

func TestSafariSectionsAreNotReused(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Subscriber, func(p *Params) { p.Quirks.Safari = true })
	c := newClient(t)
	p.Subscribe(Downlink{TrackID: "TR_1", StreamID: "PA|1", Kind: sfu.Video, Codecs: []string{"video/VP8"}})
	first := c.answer(p, e)
	p.Unsubscribe("TR_1")
	c.answer(p, e)
	p.Subscribe(Downlink{TrackID: "TR_2", StreamID: "PA|2", Kind: sfu.Video, Codecs: []string{"video/VP8"}})
	second := c.answer(p, e)
	if midOf(first.mids, "TR_1") == midOf(second.mids, "TR_2") {
		t.Error("the section of the first track carries the second")
	}
}

func TestSSRCIsNewForEachTrackOfASection(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Subscriber, nil)
	c := newClient(t)
	seen := make(map[uint32]bool)
	for i := range 4 {
		id := fmt.Sprint("TR_", i)
		p.Subscribe(Downlink{TrackID: id, StreamID: "PA|s", Kind: sfu.Video, Codecs: []string{"video/VP8"}})
		o := c.answer(p, e)
		parsed, _ := sdp.Parse(o.sdp)
		s := parsed.Section(midOf(o.mids, id))
		if len(s.SSRCs) != 1 || s.SSRCs[0].RTX == 0 || seen[s.SSRCs[0].ID] || seen[s.SSRCs[0].RTX] {
			t.Errorf("sources %+v: want a new pair", s.SSRCs)
		}
		seen[s.SSRCs[0].ID], seen[s.SSRCs[0].RTX] = true, true
		p.Unsubscribe(id)
		c.answer(p, e)
	}
}

func TestOfferIDs(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Subscriber, nil)
	c := newClient(t)
	p.Negotiate() // the data channels alone
	first := <-e.offers
	p.Subscribe(Downlink{TrackID: "TR_1", StreamID: "PA|1", Kind: sfu.Audio, Codecs: []string{"audio/opus"}})
	answer := c.answerTo(first)
	if err := p.HandleAnswer(answer, first.id+7); err != nil {
		t.Errorf("an answer with a foreign id is ignored, got %v", err)
	}
	select {
	case o := <-e.offers:
		t.Fatalf("offer %d while the answer to %d is awaited", o.id, first.id)
	case <-time.After(4 * loopInterval):
	}
	if err := p.HandleAnswer(answer, first.id); err != nil {
		t.Fatal(err)
	}
	second := <-e.offers
	if second.id != first.id+1 || len(second.mids) != 1 {
		t.Errorf("second offer %d with %v", second.id, second.mids)
	}
	if err := p.HandleAnswer(c.answerTo(second), 0); err != nil {
		t.Errorf("an answer without id is taken as that of the last offer: %v", err)
	}
	if p.Stats().Downlinks != 1 {
		t.Error("the track is not bound")
	}
}

func TestAnswerTimeout(t *testing.T) {
	failed := make(chan error, 1)
	r := newRig(t)
	p, e := r.peer(Subscriber, func(p *Params) {
		p.AnswerTimeout = 60 * time.Millisecond
		p.NegotiationFailed = func(err error) { failed <- err }
	})
	p.Negotiate()
	<-e.offers
	select {
	case err := <-failed:
		if !errors.Is(err, ErrNegotiationTimeout) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the silence of the client goes unnoticed")
	}
}

func TestRestartICE(t *testing.T) {
	r := newRig(t)
	t.Run("subscriber", func(t *testing.T) {
		p, e := r.peer(Subscriber, nil)
		c := newClient(t)
		p.Negotiate()
		first := c.answer(p, e)
		eventually(t, "connection", func() bool { return p.State() == transport.StateConnected })
		p.RestartICE()
		second := c.answer(p, e)
		if ufrag(t, first.sdp) == ufrag(t, second.sdp) {
			t.Error("the restart has the old credentials")
		}
		if err := p.Send(Reliable, []byte("after")); err != nil {
			t.Error(err)
		}
		eventually(t, "a message after the restart", func() bool { return c.has("_reliable after") })
		// A lost offer does not block a restart.
		p.Subscribe(Downlink{TrackID: "TR_1", StreamID: "PA|1", Kind: sfu.Audio, Codecs: []string{"audio/opus"}})
		<-e.offers
		p.RestartICE()
		c.answer(p, e)
		eventually(t, "the track", func() bool { return p.Stats().Downlinks == 1 })
	})
	t.Run("single", func(t *testing.T) {
		p, e := r.peer(Single, nil)
		c := newClient(t)
		c.openChannels()
		c.publishAudio("cid")
		a1 := c.negotiate(p, nil)
		u := waitTrack(t, e, sfu.Audio)
		eventually(t, "media", func() bool { return u.Receiver.Stats().Layers[0].Packets > 5 })
		a2 := c.negotiate(p, nil)
		if ufrag(t, a1.SDP) != ufrag(t, a2.SDP) {
			t.Error("new credentials without a restart")
		}
		a3 := c.negotiate(p, &webrtc.OfferOptions{ICERestart: true})
		if ufrag(t, a2.SDP) == ufrag(t, a3.SDP) {
			t.Error("the restart is answered with the old credentials")
		}
		before := u.Receiver.Stats().Layers[0].Packets
		eventually(t, "media after the restart", func() bool { return u.Receiver.Stats().Layers[0].Packets > before+20 })
		if got := waitTrack(t, e, sfu.Audio); got.Receiver != u.Receiver {
			t.Error("the restart replaced the track")
		}
	})
}

func ufrag(t *testing.T, text string) string {
	t.Helper()
	s, err := sdp.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s.ICE.Ufrag
}

func TestUnsupportedCodec(t *testing.T) {
	r := newRig(t)
	for _, mode := range []Mode{Subscriber, Single} {
		t.Run(mode.String(), func(t *testing.T) {
			p, e := r.peer(mode, nil)
			c := newClientWith(t, func(_ *webrtc.SettingEngine, me *webrtc.MediaEngine) {
				*me = webrtc.MediaEngine{}
				vp8 := webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: "video/VP8", ClockRate: 90000}, PayloadType: 96}
				if err := me.RegisterCodec(vp8, webrtc.RTPCodecTypeVideo); err != nil {
					t.Fatal(err)
				}
			})
			failed := make(chan error, 1)
			p.Subscribe(Downlink{
				TrackID: "TR_av1", StreamID: "PA|1", Kind: sfu.Video, Codecs: []string{"video/AV1"},
				Failed: func(err error) { failed <- err },
			})
			p.Subscribe(Downlink{TrackID: "TR_vp8", StreamID: "PA|1", Kind: sfu.Video, Codecs: []string{"video/AV1", "video/VP8"}})
			if mode == Single {
				c.openChannels()
				c.recvonly(webrtc.RTPCodecTypeVideo, 2)
				c.negotiate(p, nil)
			} else {
				c.answer(p, e)
			}
			select {
			case err := <-failed:
				if !errors.Is(err, ErrUnsupportedCodec) && !errors.Is(err, ErrSectionRefused) {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Fatal("nobody is told that the client has no AV1")
			}
			eventually(t, "the other track", func() bool { return p.Stats().Downlinks == 1 })
		})
	}
}

func TestOffersThatLie(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Single, nil)
	c := newClient(t)
	c.openChannels()
	c.recvonly(webrtc.RTPCodecTypeAudio, 2)
	c.publishAudio("cid")
	c.negotiate(p, nil)
	u := waitTrack(t, e, sfu.Audio)
	o, err := c.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	good := o.SDP
	last := good[strings.LastIndex(good, "m="):]
	cases := []struct {
		name, text string
		want       error
	}{
		{"garbage", "v=0\r\nhello", sdp.ErrSyntax},
		{"fewer sections", strings.Replace(strings.TrimSuffix(good, last), " 3", "", 1), nil},
		{"another fingerprint", flipFingerprint(good), transport.ErrFingerprintChanged},
		{"DTLS server", strings.ReplaceAll(good, "a=setup:actpass", "a=setup:passive"), sdp.ErrInvalid},
		{"kind changed", strings.Replace(good, "m=audio", "m=video", 1), ErrNegotiation},
		{"mid changed", strings.NewReplacer("a=mid:0", "a=mid:99", "BUNDLE 0", "BUNDLE 99").Replace(good), ErrNegotiation},
	}
	for _, tc := range cases {
		if _, err := p.HandleOffer(tc.text, 1); err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want %v", tc.name, err, tc.want)
		}
	}
	if err := p.HandleAnswer(good, 1); !errors.Is(err, ErrMode) {
		t.Errorf("answer to a single connection: %v", err)
	}
	// Nothing of it has any effect.
	before := u.Receiver.Stats().Layers[0].Packets
	eventually(t, "media after the lies", func() bool { return u.Receiver.Stats().Layers[0].Packets > before+20 })
	c.negotiate(p, nil)
}

// flipFingerprint changes the first digit of every fingerprint.
func flipFingerprint(text string) string {
	const key = "a=fingerprint:sha-256 "
	parts := strings.Split(text, key)
	for i := 1; i < len(parts); i++ {
		digit := "0"
		if parts[i][0] == '0' {
			digit = "1"
		}
		parts[i] = digit + parts[i][1:]
	}
	return strings.Join(parts, key)
}

func TestUnpublish(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Publisher, nil)
	c := newClient(t)
	c.openChannels()
	sender := c.publishVideo("cid-1", "q", "h")
	c.negotiate(p, nil)
	u := waitTrack(t, e, sfu.Video)
	eventually(t, "media", func() bool { return u.Receiver.Stats().Layers[0].Packets > 5 })
	if err := c.pc.RemoveTrack(sender); err != nil {
		t.Fatal(err)
	}
	c.negotiate(p, nil)
	eventually(t, "the end of the track", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return slices.Contains(e.ended, u.Mid)
	})
	c.publishVideo("cid-2", "q", "h")
	c.negotiate(p, nil)
	var again Uplink
	eventually(t, "the next track", func() (ok bool) {
		again, ok = e.track(sfu.Video)
		return ok && again.TrackID == "cid-2"
	})
	eventually(t, "media of the next track", func() bool { return again.Receiver.Stats().Layers[1].Packets > 5 })
}

func TestPreferredCodec(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Publisher, func(p *Params) {
		p.PreferredCodec = func(trackID string) string {
			if trackID == "cid" {
				return "video/vp8"
			}
			return ""
		}
	})
	c := newClientWith(t, func(_ *webrtc.SettingEngine, me *webrtc.MediaEngine) {
		*me = webrtc.MediaEngine{}
		for pt, mime := range map[webrtc.PayloadType]string{98: "video/VP9", 96: "video/VP8"} {
			c := webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000}, PayloadType: pt}
			if err := me.RegisterCodec(c, webrtc.RTPCodecTypeVideo); err != nil {
				t.Fatal(err)
			}
		}
	})
	c.publishVideo("cid")
	a := c.negotiate(p, nil)
	if u := waitTrack(t, e, sfu.Video); u.Mime != "video/VP8" || strings.Contains(a.SDP, "VP9") {
		t.Errorf("negotiated %s\n%s", u.Mime, a.SDP)
	}
}

func TestClose(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Single, nil)
	c := newClient(t)
	c.openChannels()
	c.recvonly(webrtc.RTPCodecTypeVideo, 2)
	c.publishVideo("cid", "q", "h", "f")
	src := source(sfu.Video, "video/VP8")
	defer src.Close()
	p.Subscribe(Downlink{TrackID: "TR", StreamID: "PA|1", Kind: sfu.Video, Codecs: []string{"video/VP8"}, Bound: src.AddDownTrack})
	c.negotiate(p, nil)
	u := waitTrack(t, e, sfu.Video)
	eventually(t, "media", func() bool { return u.Receiver.Stats().Layers[0].Packets > 5 })
	offer, err := c.pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	for range 3 {
		go func() {
			p.Close()
			done <- struct{}{}
		}()
	}
	for range 3 {
		<-done
	}
	if n := src.Stats().DownTracks; n != 0 {
		t.Errorf("%d down tracks left on their source", n)
	}
	if _, err := p.HandleOffer(offer.SDP, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("offer after Close: %v", err)
	}
	if err := p.Send(Reliable, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("send after Close: %v", err)
	}
	p.Subscribe(Downlink{TrackID: "TR2", Kind: sfu.Audio})
	p.Unsubscribe("TR2")
	p.Negotiate()
	p.RestartICE()
}
