package peer

import (
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/concertina-rtc/concertina/internal/media/sfu"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// waitTrack waits for a track of that kind.
func waitTrack(t *testing.T, e *events, kind sfu.Kind) Uplink {
	t.Helper()
	var u Uplink
	eventually(t, "a published "+kind.String()+" track", func() (ok bool) {
		u, ok = e.track(kind)
		return ok
	})
	return u
}

func TestPublish(t *testing.T) {
	r := newRig(t)
	p, e := r.peer(Publisher, nil)
	c := newClient(t)
	c.openChannels()
	c.publishAudio("cid-audio")
	c.publishVideo("cid-video", "q", "h", "f")
	c.negotiate(p, nil)

	audio, video := waitTrack(t, e, sfu.Audio), waitTrack(t, e, sfu.Video)
	if audio.TrackID != "cid-audio" || video.TrackID != "cid-video" || video.Mime != "video/VP8" {
		t.Errorf("tracks %+v %+v", audio, video)
	}
	if len(video.Rids) != 3 || video.Rids[0] != "q" {
		t.Errorf("rids %v", video.Rids)
	}
	eventually(t, "packets of audio and of all three layers", func() bool {
		layers := video.Receiver.Stats().Layers
		return len(layers) == 3 && layers[0].Packets > 5 && layers[1].Packets > 5 && layers[2].Packets > 5 &&
			audio.Receiver.Stats().Layers[0].Packets > 5
	})
	if s := p.Stats(); s.State != transport.StateConnected || s.Uplinks != 2 || s.Malformed != 0 || s.WrongPayload != 0 || s.Protocol != "udp" {
		t.Errorf("stats %+v", s)
	}
}

// forward joins two peers as a room does.
func forward(t *testing.T, from *events, kind sfu.Kind, to *Peer, id string) *sfu.DownTrack {
	t.Helper()
	u := waitTrack(t, from, kind)
	bound := make(chan *sfu.DownTrack, 4)
	to.Subscribe(Downlink{
		TrackID: id, StreamID: "PA_x|" + id, Kind: kind, Codecs: []string{u.Mime},
		Bound: func(d *sfu.DownTrack) {
			u.Receiver.AddDownTrack(d)
			bound <- d
		},
		Failed: func(err error) { t.Errorf("track %s: %v", id, err) },
	})
	return nil
}

func TestSubscriberMode(t *testing.T) {
	r := newRig(t)
	pub, pubEvents := r.peer(Publisher, nil)
	a := newClient(t)
	a.openChannels()
	a.publishAudio("cid-audio")
	a.publishVideo("cid-video", "q", "h", "f")
	a.negotiate(pub, nil)

	sub, subEvents := r.peer(Subscriber, nil)
	b := newClient(t)
	forward(t, pubEvents, sfu.Audio, sub, "TR_audio")
	forward(t, pubEvents, sfu.Video, sub, "TR_video")
	o := b.answer(sub, subEvents)
	if len(o.mids) != 2 {
		t.Errorf("mids %v", o.mids)
	}
	eventually(t, "both tracks at the viewer", func() bool { return b.got("TR_audio") > 10 && b.got("TR_video") > 10 })
}

func TestSingleMode(t *testing.T) {
	r := newRig(t)
	pub, pubEvents := r.peer(Publisher, nil)
	a := newClient(t)
	a.openChannels()
	a.publishAudio("cid-audio")
	a.publishVideo("cid-video", "q", "h", "f")
	a.negotiate(pub, nil)

	p, e := r.peer(Single, nil)
	b := newClient(t)
	b.openChannels()
	b.recvonly(webrtc.RTPCodecTypeAudio, 2)
	b.recvonly(webrtc.RTPCodecTypeVideo, 1)
	b.publishAudio("cid-b")
	forward(t, pubEvents, sfu.Video, p, "TR_video")
	answer := b.negotiate(p, nil)
	if len(answer.MidToTrack) != 1 {
		t.Errorf("mids %v", answer.MidToTrack)
	}
	waitTrack(t, e, sfu.Audio)
	eventually(t, "the first track", func() bool { return b.got("TR_video") > 10 })

	// A section is free for the audio, none for a second video.
	forward(t, pubEvents, sfu.Audio, p, "TR_audio")
	forward(t, pubEvents, sfu.Video, p, "TR_video2")
	ask := <-e.asks
	if ask != [2]int{0, 1} {
		t.Errorf("asked for %v, want one video section", ask)
	}
	b.recvonly(webrtc.RTPCodecTypeVideo, ask[1])
	b.negotiate(p, nil)
	eventually(t, "the further tracks", func() bool { return b.got("TR_audio") > 10 && b.got("TR_video2") > 10 })
}
