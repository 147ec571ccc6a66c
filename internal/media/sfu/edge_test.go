package sfu

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// TestCarriedOverWithoutReceiver: the down track was restored but the receiver's
// numbering was not. The viewer begins again instead of going silent.
func TestCarriedOverWithoutReceiver(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, key(0, 65535, 1000, 1))
	s.push(0, delta(0, 0, 4000, 2)) // the second cycle of numbers
	before := s.media()
	s.d.Close()
	w := new(wire)
	r := NewReceiver(ReceiverParams{Kind: Video, Codec: vp8Codec, Layers: 1})
	d := NewDownTrack(DownTrackParams{SSRC: 7, RTXSSRC: 8, Codec: vp8Codec, Writer: w})
	d.Restore(s.d.State())
	r.AddDownTrack(d)
	defer d.Close()
	r.Push(0, delta(0, 1, 7000, 3).parse(t), s.now)
	if len(w.packets) != 0 {
		t.Fatal("went on with a numbering that does not match")
	}
	found := false
	for _, p := range r.Tick(s.now) {
		_, pli := p.(*rtcp.PictureLossIndication)
		found = found || pli
	}
	if !found {
		t.Error("no key frame was asked for")
	}
	r.Push(0, key(0, 2, 10_000, 4).parse(t), s.now)
	if len(w.packets) != 1 || w.packets[0].SequenceNumber != before[1].SequenceNumber+1 {
		t.Errorf("after the key frame %+v", w.packets)
	}
}

func TestRestartedPictureNumbersNeedAKeyFrame(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, key(0, 1, 1000, 5000))
	s.push(0, delta(0, 2, 4000, 100)) // picture ids fell back
	s.push(0, delta(0, 3, 7000, 101))
	s.push(0, key(0, 4, 10_000, 102))
	got := s.media()
	wantRun(t, got, 2)
	if picture(t, got[1]) != 5001 {
		t.Errorf("picture %d follows 5000", picture(t, got[1]))
	}
}

// TestUnreadablePayloadWithDescriptor: the payload is cipher text, the dependency
// descriptor says where a decoder can begin.
func TestUnreadablePayloadWithDescriptor(t *testing.T) {
	c := Codec{Mime: "video/x-sealed", ClockRate: 90000, PayloadType: 45, Feedback: FeedbackPLI}
	ids := rtp.ExtensionIDs{DependencyDescriptor: 3}
	s := newStage(t, ReceiverParams{Codec: c, Layers: 1, Extensions: ids}, c, ids)
	push := func(sn uint16, dd []byte) {
		s.push(0, pkt{ssrc: 1, pt: 45, sn: sn, ts: 3000 * uint32(sn), marker: true, payload: []byte{0xff, 0xff}, exts: []rtp.Extension{{ID: 3, Data: dd}}})
	}
	// One template, one decode target, no chains: the smallest structure.
	// start, end, template 0 | frame 1 | structure present | template offset 0,
	// one decode target | layers end | DTI switch | no more diffs | no chains |
	// no resolutions.
	structure := []byte{0xc0, 0, 1, 0x80, 0x00, 0xe0, 0x00, 0x00, 0x00}
	push(1, structure)
	push(2, []byte{0xc0, 0, 2})
	wantRun(t, s.media(), 2)
	st := s.r.Stats().Layers[0]
	if st.KeyFrames != 1 || st.Opaque != 0 {
		t.Errorf("key frames %d, opaque %d; want 1, 0", st.KeyFrames, st.Opaque)
	}
}

func TestAccessors(t *testing.T) {
	s := newStage(t, ReceiverParams{TrackID: "TR_x", Kind: Audio, Codec: opusCodec, Layers: 1, Extensions: rtp.ExtensionIDs{AudioLevel: 1}}, opusCodec, rtp.ExtensionIDs{})
	if level, at, _ := s.r.AudioLevel(); level != 127 || !at.IsZero() {
		t.Errorf("level %d at %v before the first packet", level, at)
	}
	s.push(0, pkt{ssrc: 1, pt: 111, sn: 1, payload: []byte{1}, exts: []rtp.Extension{{ID: 1, Data: []byte{0x80 | 12}}}})
	if level, at, voice := s.r.AudioLevel(); level != 12 || !at.Equal(at0) || !voice {
		t.Errorf("level %d at %v, voice %v", level, at, voice)
	}
	if s.r.TrackID() != "TR_x" || s.d.TrackID() != "TR_x" || s.r.Kind() != Audio || s.r.Codec() != opusCodec || s.d.Codec() != opusCodec || s.d.SSRC() != 7 || s.d.RTXSSRC() != 8 || s.d.Receiver() != s.r || s.r.Muted() {
		t.Error("an accessor does not say what was given")
	}
	if Audio.String() != "audio" || Video.String() != "video" || Kind(0).String() != "unknown" {
		t.Error("names of kinds")
	}
	if st := s.r.Stats(); st.TrackID != "TR_x" || st.DownTracks != 1 || st.Layers[0].SSRC != 1 || !st.Layers[0].Alive {
		t.Errorf("stats %+v", st)
	}
}

func TestBitratesAndFrameRates(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.now = time.Now().Add(-time.Second) // Stats takes the clock itself
	for i := range uint16(30) {
		k := delta(0, i, 3000*uint32(i), i)
		if i == 0 {
			k = key(0, 0, 0, 0)
		}
		k.payload = append(k.payload, make([]byte, 1000)...)
		s.push(0, k)
		s.after(33 * time.Millisecond)
	}
	st, dt := s.r.Stats().Layers[0], s.d.Stats()
	if st.FPS < 20 || st.FPS > 40 || st.Bitrate < 180_000 || st.Bitrate > 320_000 || dt.Bitrate < 180_000 || dt.Bitrate > 320_000 {
		t.Errorf("fps %v, bitrate %v in, %v out; want about 30 and 250 kbit/s", st.FPS, st.Bitrate, dt.Bitrate)
	}
}
