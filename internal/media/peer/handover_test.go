package peer

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// newRigPair returns two hosts of one certificate. change may be nil and is for
// the second.
func newRigPair(t *testing.T, change func(*transport.Config)) (a, b *rig) {
	t.Helper()
	cert, err := transport.NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if change == nil {
		change = func(*transport.Config) {}
	}
	return newRigWith(t, cert), newRigChanged(t, cert, change)
}

// handOver begins a hand-over and returns where its end is told.
func handOver(t *testing.T, p *Peer, to *rig) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	if err := p.HandOver(HandOver{Host: to.host, Done: func(err error) { done <- err }}); err != nil {
		t.Fatal(err)
	}
	return done
}

func waitDone(t *testing.T, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatal("the hand-over does not end")
		return nil
	}
}

// TestHandOver moves a Single connection to another host and back while media
// flows both ways: nobody but the transport changes.
func TestHandOver(t *testing.T) {
	nodeA, nodeB := newRigPair(t, nil)
	pub, pubEvents := nodeA.peer(Publisher, nil)
	source := newClient(t)
	source.publishVideo("cid-source")
	source.negotiate(pub, nil)
	video := waitTrack(t, pubEvents, sfu.Video)

	p, e := nodeA.peer(Single, nil)
	c := newClient(t)
	c.openChannels()
	c.recvonly(webrtc.RTPCodecTypeVideo, 1)
	c.publishSilentMids("cid-mine", "h")
	p.Subscribe(Downlink{TrackID: "TR_video", StreamID: "PA|1", Kind: sfu.Video, Codecs: []string{video.Mime}, Bound: video.Receiver.AddDownTrack})
	c.negotiate(p, nil)
	mine := waitTrack(t, e, sfu.Video)
	uplink := func() uint64 { return mine.Receiver.Stats().Layers[1].Packets }
	eventually(t, "media both ways", func() bool { return c.got("TR_video") > 20 && uplink() > 20 })

	for i, node := range []*rig{nodeB, nodeA} {
		before := p.Stats().Transport
		done := handOver(t, p, node)
		if err := p.HandOver(HandOver{Host: node.host}); !errors.Is(err, ErrHandOver) {
			t.Errorf("a second hand-over: %v", err)
		}
		answer := c.negotiate(p, &webrtc.OfferOptions{ICERestart: true})
		if want := node.host.Candidates()[0].Address.String(); !strings.Contains(answer.SDP, strings.Replace(want, ":", " ", 1)) {
			t.Errorf("the answer does not tell %s:\n%s", want, answer.SDP)
		}
		if err := waitDone(t, done); err != nil {
			t.Fatal(err)
		}
		eventually(t, "connection", func() bool { return p.State() == transport.StateConnected })
		down, up := c.got("TR_video"), uplink()
		eventually(t, "media both ways at the other host", func() bool { return c.got("TR_video") > down+20 && uplink() > up+20 })
		s := p.Stats()
		if s.Unrouted != 0 || s.Uplinks != 1 || s.Downlinks != 1 || s.Transport.Undecryptable != 0 ||
			s.Transport.PacketsIn <= before.PacketsIn || s.Transport.PacketsOut <= before.PacketsOut {
			t.Errorf("move %d: stats %+v, before %+v", i, s, before)
		}
	}
	e.mu.Lock()
	if len(e.order) != 1 || len(e.ended) != 0 || slices.Contains(e.states, transport.StateClosed) {
		t.Errorf("the room is told of tracks %v, ended %v, states %v", e.order, e.ended, e.states)
	}
	e.mu.Unlock()
	// The numbers go on: only what the source sent between the client's restart and
	// the hand-over may be missing, as Pion drops its old pair when it restarts. What
	// comes late was sent again.
	c.mu.Lock()
	defer c.mu.Unlock()
	seqs := c.seqs["TR_video"]
	for i, highest := 1, seqs[0]; i < len(seqs); i++ {
		if step := int16(seqs[i] - highest); step > 200 || step < -200 {
			t.Errorf("sequence number %d after %d", seqs[i], highest)
		} else if step > 0 {
			highest = seqs[i]
		}
	}
}

// TestHandOverSubscriber moves a connection whose offers are ours.
func TestHandOverSubscriber(t *testing.T) {
	nodeA, nodeB := newRigPair(t, nil)
	p, e := nodeA.peer(Subscriber, nil)
	c := newClient(t)
	p.Subscribe(Downlink{TrackID: "TR_1", StreamID: "PA|1", Kind: sfu.Video, Codecs: []string{"video/VP8"}})
	first := c.answer(p, e)
	eventually(t, "connection", func() bool { return p.State() == transport.StateConnected })
	done := handOver(t, p, nodeB)
	p.RestartICE()
	second := c.answer(p, e)
	if ufrag(t, second.sdp) == ufrag(t, first.sdp) || second.id != first.id+1 || fingerprint(second.sdp) != fingerprint(first.sdp) {
		t.Errorf("offer %d after %d:\n%s", second.id, first.id, second.sdp)
	}
	if err := waitDone(t, done); err != nil {
		t.Fatal(err)
	}
	if n := nodeA.host.Stats().Connections; n != 0 {
		t.Errorf("%d connections at the old host", n)
	}
	// Negotiation goes on at the new one.
	p.Subscribe(Downlink{TrackID: "TR_2", StreamID: "PA|1", Kind: sfu.Audio, Codecs: []string{"audio/opus"}})
	if third := c.answer(p, e); ufrag(t, third.sdp) != ufrag(t, second.sdp) || len(third.mids) != 2 {
		t.Errorf("offer after the move: %v\n%s", third.mids, third.sdp)
	}
}

func fingerprint(sdp string) string {
	_, rest, _ := strings.Cut(sdp, "a=fingerprint:")
	value, _, _ := strings.Cut(rest, "\r")
	return value
}

// TestHandOverUnused: a connection that no client has used has nothing to carry.
func TestHandOverUnused(t *testing.T) {
	nodeA, nodeB := newRigPair(t, nil)
	p, e := nodeA.peer(Publisher, nil)
	if err := waitDone(t, handOver(t, p, nodeB)); err != nil {
		t.Fatal(err)
	}
	c := newClient(t)
	c.publishAudio("cid")
	c.negotiate(p, nil)
	u := waitTrack(t, e, sfu.Audio)
	eventually(t, "media at the new host", func() bool { return u.Receiver.Stats().Layers[0].Packets > 5 })
	if a, b := nodeA.host.Stats().Connections, nodeB.host.Stats().Connections; a != 0 || b != 1 {
		t.Errorf("%d connections at the old host, %d at the new one", a, b)
	}
}

func TestHandOverRefused(t *testing.T) {
	nodeA, nodeB := newRigPair(t, nil)
	stranger := newRig(t) // with a certificate of its own
	p, _ := nodeA.peer(Single, nil)
	if err := p.HandOver(HandOver{Host: stranger.host}); !errors.Is(err, ErrHandOver) {
		t.Errorf("to another certificate: %v", err)
	}
	c := newClient(t)
	c.openChannels()
	if _, err := p.HandleOffer(c.offer(nil), 1); err != nil {
		t.Fatal(err)
	}
	if err := p.HandOver(HandOver{Host: nodeB.host}); !errors.Is(err, ErrHandOver) {
		t.Errorf("before the client is connected: %v", err)
	}
	p.Close()
	if err := p.HandOver(HandOver{Host: nodeB.host}); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed peer: %v", err)
	}
	if n := nodeB.host.Stats().Connections; n != 0 {
		t.Errorf("%d connections are left at the other host", n)
	}
}

// TestHandOverAbandoned: a client that never comes loses nothing.
func TestHandOverAbandoned(t *testing.T) {
	nodeA, nodeB := newRigPair(t, func(c *transport.Config) { c.ConnectTimeout = 300 * time.Millisecond })
	p, _ := nodeA.peer(Single, nil)
	c := newClient(t)
	c.openChannels()
	c.negotiate(p, nil)
	eventually(t, "a message", func() bool { return p.Send(Reliable, []byte("before")) == nil && c.has("_reliable before") })
	done := handOver(t, p, nodeB)
	// Its offer asks for a restart, but it does not act on the answer.
	offer := c.pc.LocalDescription().SDP
	offer = strings.ReplaceAll(offer, "a=ice-ufrag:"+ufrag(t, offer), "a=ice-ufrag:anotherone")
	if _, err := p.HandleOffer(offer, 7); err != nil {
		t.Fatal(err)
	}
	if err := p.Send(Reliable, []byte("held")); err != nil {
		t.Fatal(err)
	}
	if n := p.BufferedAmount(Reliable); n < 4 {
		t.Errorf("%d bytes wait", n)
	}
	if err := waitDone(t, done); !errors.Is(err, transport.ErrTimeout) {
		t.Errorf("the hand-over ended with %v", err)
	}
	eventually(t, "what was held", func() bool { return c.has("_reliable held") })
	if err := p.Send(Reliable, []byte("after")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what came later", func() bool { return c.has("_reliable after") })
}

// TestHeldMessages: what the client has not acknowledged comes first on the new
// connection, then what has waited.
func TestHeldMessages(t *testing.T) {
	r := newRig(t)
	p, _ := r.peer(Single, nil)
	c := newClient(t)
	c.openChannels()
	c.negotiate(p, nil)
	eventually(t, "the channel", func() bool { return p.Send(Reliable, []byte("first")) == nil && c.has("_reliable first") })
	eventually(t, "acknowledgement", p.data.drained)
	big := make([]byte, maxMessageSize)
	for range 16 {
		if err := p.Send(Reliable, big); err != nil {
			t.Fatal(err)
		}
	}
	p.data.hold()
	if err := p.Send(Reliable, []byte("waits")); err != nil {
		t.Fatal(err)
	}
	asked := uint64(0)
	p.data.detach(func(bytes uint64) [][]byte {
		asked = bytes
		return [][]byte{[]byte("again")}
	})
	if asked <= uint64(len("waits")) || asked > 16*maxMessageSize+uint64(len("waits")) {
		t.Errorf("asked for %d bytes", asked)
	}
	if err := p.Send(Reliable, []byte("later")); err != nil {
		t.Fatal(err)
	}
	p.data.mu.Lock()
	got := slices.Clone(p.data.list[Reliable].queue)
	p.data.mu.Unlock()
	if want := [][]byte{[]byte("again"), []byte("waits"), []byte("later")}; !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("%q wait, want %q", got, want)
	}
	for range maxHeld {
		_ = p.Send(Reliable, []byte{1})
	}
	if err := p.Send(Reliable, []byte{1}); !errors.Is(err, ErrChannelNotOpen) {
		t.Errorf("beyond the bound: %v", err)
	}
}

// TestLink: packets that come while the connection changes hosts are sent on the
// next one, each stream in its order.
func TestLink(t *testing.T) {
	nodeA, nodeB := newRigPair(t, nil)
	p, _ := nodeA.peer(Single, nil)
	q, _ := nodeB.peer(Single, nil)
	l := &p.link
	old := l.load()
	header := make([]byte, 12)
	if _, err := l.WriteRTP(header, nil); !errors.Is(err, transport.ErrNotConnected) {
		t.Errorf("before the connection is up: %v", err)
	}
	l.suspend()
	_ = old.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				if n, err := l.WriteRTP(header, []byte{1}); n != 13 || err != nil {
					t.Errorf("a packet while suspended: %d, %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	if len(l.held) != 40 {
		t.Errorf("%d packets held", len(l.held))
	}
	for range maxHeldPackets {
		_, _ = l.WriteRTP(header, nil)
	}
	if _, err := l.WriteRTP(header, nil); !errors.Is(err, transport.ErrBufferFull) {
		t.Errorf("beyond the bound: %v", err)
	}
	l.resume(q.link.load())
	if l.held != nil || l.load() == old {
		t.Error("the link is still on the old connection")
	}
	if _, err := l.WriteRTP(header, nil); !errors.Is(err, transport.ErrNotConnected) {
		t.Errorf("on the next connection: %v", err)
	}
	l.store(old) // for Close
}

func TestLinkAllocations(t *testing.T) {
	r := newRig(t)
	p, _ := r.peer(Single, nil)
	header := make([]byte, 12)
	if n := testing.AllocsPerRun(100, func() { _, _ = p.link.WriteRTP(header, nil) }); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}
