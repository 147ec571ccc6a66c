package sfu

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// stage is a receiver with one viewer, and the clock of the test.
type stage struct {
	t    *testing.T
	r    *Receiver
	d    *DownTrack
	w    *wire
	sent []rtcp.Packet // by SendRTCP
	now  time.Time
}

func newStage(t *testing.T, rp ReceiverParams, viewer Codec, ids rtp.ExtensionIDs) *stage {
	t.Helper()
	s := &stage{t: t, w: new(wire), now: at0}
	if rp.Kind == 0 {
		rp.Kind = Video
	}
	rp.SenderSSRC = 99
	rp.SendRTCP = func(p []rtcp.Packet) { s.sent = append(s.sent, p...) }
	s.r = NewReceiver(rp)
	s.d = NewDownTrack(DownTrackParams{TrackID: "TR_x", Subscriber: "bob", SSRC: 7, RTXSSRC: 8, Codec: viewer, Extensions: ids, Writer: s.w, CNAME: "cname"})
	s.r.AddDownTrack(s.d)
	t.Cleanup(s.d.Close)
	return s
}

func (s *stage) push(spatial int, k pkt) {
	s.t.Helper()
	s.r.Push(spatial, k.parse(s.t), s.now)
}

func (s *stage) after(d time.Duration) { s.now = s.now.Add(d) }

// media returns what the viewer got since the last call, without padding.
func (s *stage) media() (out []rtp.Packet) {
	for _, p := range s.w.take() {
		if len(p.Payload) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// key and delta are one-packet frames of a layer; the SSRC is 100 + layer.
func key(spatial int, sn uint16, ts uint32, picture uint16) pkt {
	return pkt{ssrc: uint32(100 + spatial), pt: 96, sn: sn, ts: ts, marker: true, payload: vp8(true, true, picture, 1, 0, true)}
}

func delta(spatial int, sn uint16, ts uint32, picture uint16) pkt {
	return pkt{ssrc: uint32(100 + spatial), pt: 96, sn: sn, ts: ts, marker: true, payload: vp8(false, true, picture, 1, 0, false)}
}

func picture(t *testing.T, p rtp.Packet) uint16 {
	t.Helper()
	var d codec.VP8
	if err := d.Parse(p.Payload); err != nil {
		t.Fatal(err)
	}
	return d.PictureID
}

func wantRun(t *testing.T, got []rtp.Packet, n int) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("%d packets, want %d", len(got), n)
	}
	for i := 1; i < n; i++ {
		if got[i].SequenceNumber != got[i-1].SequenceNumber+1 {
			t.Fatalf("number %d follows %d", got[i].SequenceNumber, got[i-1].SequenceNumber)
		}
	}
}

func TestSwitchLayersBySenderReports(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 3}, vp8Codec, rtp.ExtensionIDs{})
	report := func(spatial int, ts uint32) {
		s.r.SenderReport(spatial, &rtcp.SenderReport{SSRC: uint32(100 + spatial), NTPTime: rtp.ToNTP(at0), RTPTime: ts}, at0)
	}
	s.push(0, key(0, 65535, 1000, 0x7fff))
	s.push(2, delta(2, 10, 500_000, 5))
	report(0, 1000)
	report(2, 497_000) // the layer's origin differs; one frame had passed at at0
	s.after(33 * time.Millisecond)
	s.push(0, delta(0, 0, 4000, 0))
	s.after(30 * time.Millisecond)       // early by network jitter
	s.push(2, key(2, 11, 503_000+3, 40)) // 66 ms after at0 by the sender's clock
	s.push(0, delta(0, 1, 7000, 1))
	s.after(33 * time.Millisecond)
	s.push(2, delta(2, 12, 506_003, 41))
	got := s.media()
	wantRun(t, got, 4)
	for i, want := range []uint32{0, 3000, 6003, 9003} {
		if ts := got[i].Timestamp - got[0].Timestamp; ts != want {
			t.Errorf("packet %d: timestamp %d after the first, want %d", i, ts, want)
		}
		if id := picture(t, got[i]); id != (0x7fff+uint16(i))&0x7fff {
			t.Errorf("packet %d: picture %d", i, id)
		}
	}
	if spatial, _ := s.d.CurrentLayer(); spatial != 2 {
		t.Errorf("on layer %d, want 2", spatial)
	}
}

func TestLayerDiesAndRevives(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 3}, vp8Codec, rtp.ExtensionIDs{})
	var changes [][]bool
	s.r.OnLayersChanged(func(a []bool) { changes = append(changes, a) })
	s.push(0, key(0, 1, 1000, 1))
	s.push(2, key(2, 1, 1000, 1))
	for i := range uint16(60) { // layer 2 falls silent, layer 0 goes on
		s.after(33 * time.Millisecond)
		s.push(0, delta(0, 2+i, 4000+3000*uint32(i), 2+i))
		s.r.Tick(s.now)
	}
	if st := s.d.Stats(); st.Wanted != 0 || st.Spatial != 2 {
		t.Fatalf("wants %d, is on %d; want 0, still 2 until a key frame", st.Wanted, st.Spatial)
	}
	s.push(0, key(0, 62, 200_000, 62))
	if spatial, _ := s.d.CurrentLayer(); spatial != 0 {
		t.Fatalf("on layer %d after the key frame, want 0", spatial)
	}
	s.push(2, key(2, 2, 300_000, 2))
	if spatial, _ := s.d.CurrentLayer(); spatial != 2 {
		t.Errorf("on layer %d after layer 2 is back, want 2", spatial)
	}
	if len(changes) != 4 || changes[2][2] || !changes[3][2] {
		t.Errorf("layer changes %v", changes)
	}
	for range 100 { // everything silent says nothing about layers
		s.after(100 * time.Millisecond)
		s.r.Tick(s.now)
	}
	if len(changes) != 4 {
		t.Errorf("layers changed while all were silent: %v", changes[4:])
	}
	wantRun(t, s.media(), 4)
}

func TestTemporalLayersAreLeftOutWithoutHoles(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.d.SetMaxLayer(0, 1)
	cam := &camera{}
	for range 12 { // T0 T2 T1 T2 ...
		cam.layers[0].ts += 3000
		for _, p := range cam.frame(t, 0, 2) {
			s.r.Push(0, p, s.now)
		}
	}
	got := s.media()
	wantRun(t, got, 12) // six of twelve frames
	for i := range got {
		if want := picture(t, got[0]) + uint16(i/2); picture(t, got[i]) != want {
			t.Errorf("packet %d: picture %d, want %d", i, picture(t, got[i]), want)
		}
	}
	if st := s.d.Stats(); st.LeftOut != 12 || st.Temporal != 1 {
		t.Errorf("left out %d on temporal layer %d, want 12 on 1", st.LeftOut, st.Temporal)
	}
	if st := s.r.Stats().Layers[0]; st.TemporalLayers != 3 || st.KeyFrames != 1 || st.Width != 320 || st.Height != 240 {
		t.Errorf("receiver stats %+v", st)
	}
}

func TestPaddingIsClosedUpOrFilled(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, key(0, 10, 1000, 1))
	s.push(0, pkt{ssrc: 100, pt: 96, sn: 11, ts: 1000, padding: 100})
	s.push(0, delta(0, 12, 4000, 2))
	s.push(0, delta(0, 14, 7000, 3))
	s.push(0, pkt{ssrc: 100, pt: 96, sn: 13, ts: 4000, padding: 100}) // late: its number is taken already
	got := s.w.take()
	if len(got) != 4 {
		t.Fatalf("%d packets, want 4", len(got))
	}
	first := got[0].SequenceNumber
	for i, want := range []uint16{0, 1, 3, 2} {
		if got[i].SequenceNumber-first != want {
			t.Errorf("packet %d has number %d after the first, want %d", i, got[i].SequenceNumber-first, want)
		}
	}
	if len(got[3].Payload) != 0 || got[3].PaddingSize == 0 {
		t.Error("the late padding was not forwarded as padding")
	}
}

func TestDuplicatesAndRetransmissions(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	rtx := func(osn uint16, ts uint32, payload []byte) {
		b := binary.BigEndian.AppendUint16(nil, osn)
		s.r.PushRTX(0, pkt{ssrc: 500, pt: 97, sn: 3, ts: ts, marker: true, payload: append(b, payload...), padding: 3}.parse(t), s.now)
	}
	rtx(10, 1000, key(0, 10, 1000, 1).payload)
	if len(s.media()) != 0 {
		t.Fatal("a stream began with a retransmission")
	}
	s.push(0, key(0, 10, 1000, 1))
	s.push(0, delta(0, 12, 7000, 3))
	rtx(11, 4000, delta(0, 11, 4000, 2).payload)
	rtx(11, 4000, delta(0, 11, 4000, 2).payload)
	s.push(0, delta(0, 12, 7000, 3))
	s.push(0, delta(0, 11, 4000, 2)) // the original comes after all
	s.r.PushRTX(0, pkt{ssrc: 500, pt: 97, sn: 4, padding: 100}.parse(t), s.now)
	s.r.PushRTX(7, pkt{ssrc: 500, pt: 97, sn: 4, padding: 100}.parse(t), s.now)
	got := s.media()
	if len(got) != 3 || got[2].SequenceNumber != got[0].SequenceNumber+1 || got[2].SSRC != 7 || got[2].PayloadType != 96 || picture(t, got[2]) != 2 || !got[2].Marker {
		t.Fatalf("got %+v", got)
	}
	if st := s.r.Stats().Layers[0]; st.Restored != 1 || st.Duplicates != 3 || st.Lost != 1 {
		t.Errorf("restored %d, duplicates %d, lost %d; want 1, 3, 1", st.Restored, st.Duplicates, st.Lost)
	}
}

func TestSourceRestarts(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, key(0, 10, 1000, 1))
	s.after(time.Second)
	other := key(0, 4000, 77_000, 9)
	other.ssrc = 555
	late := delta(0, 3999, 77_000, 8)
	late.ssrc = 555
	s.push(0, late) // another SSRC, not a key frame
	s.push(0, other)
	got := s.media()
	wantRun(t, got, 2)
	if d := got[1].Timestamp - got[0].Timestamp; d != 90_000 {
		t.Errorf("timestamp moved by %d over a new source, want 90000", d)
	}
	// The same SSRC jumps: one packet is not believed, a second that follows is.
	jump := func(sn uint16, k bool) {
		p := delta(0, sn, 90_000, 20)
		if k {
			p = key(0, sn, 90_000, 21)
		}
		p.ssrc = 555
		s.push(0, p)
	}
	jump(40_000, false)
	jump(40_001, false)
	if len(s.media()) != 0 {
		t.Fatal("forwarded over a jump without a key frame")
	}
	jump(40_002, true)
	if got := s.media(); len(got) != 1 || got[0].SequenceNumber == 0 {
		t.Fatalf("got %d packets after the jump, want 1", len(got))
	}
	if st := s.r.Stats().Layers[0]; st.Refused != 1 || st.Restarts != 1 {
		t.Errorf("refused %d, restarts %d; want 1, 1", st.Refused, st.Restarts)
	}
}

func TestOpaquePayloadsAreForwarded(t *testing.T) {
	unknown := Codec{Mime: "video/x-new", ClockRate: 90000, PayloadType: 96, Feedback: FeedbackPLI}
	s := newStage(t, ReceiverParams{Codec: unknown, Layers: 1}, unknown, rtp.ExtensionIDs{})
	frame := func(sn uint16, ts uint32, marker bool) {
		s.push(0, pkt{ssrc: 1, pt: 96, sn: sn, ts: ts, marker: marker, payload: []byte{1, 2, 3}})
	}
	frame(1, 1000, false)
	frame(2, 1000, true)
	frame(3, 4000, true)
	wantRun(t, s.media(), 3)
	if st := s.r.Stats().Layers[0]; st.Opaque != 3 {
		t.Errorf("%d opaque packets, want 3", st.Opaque)
	}
}

func TestEncryptedAV1UsesTheDescriptor(t *testing.T) {
	av1 := Codec{Mime: "video/AV1", ClockRate: 90000, PayloadType: 45, Feedback: FeedbackPLI}
	ids := rtp.ExtensionIDs{DependencyDescriptor: 3}
	s := newStage(t, ReceiverParams{Codec: av1, Layers: 1, Extensions: ids}, av1, rtp.ExtensionIDs{DependencyDescriptor: 12})
	// A delta frame before the structure is known cannot be placed: it is opaque.
	// Its payload has a reserved bit set, as cipher text may.
	dd := []byte{0xc0, 0, 5}
	s.push(0, pkt{ssrc: 1, pt: 45, sn: 1, ts: 1, marker: true, payload: []byte{0x08, 0xff, 0xff}, exts: []rtp.Extension{{ID: 3, Data: dd}}})
	got := s.media()
	if len(got) != 1 || !bytes.Equal(got[0].Extension(12), dd) {
		t.Fatalf("got %d packets, descriptor %v", len(got), got)
	}
}

func TestHeaderExtensionsPassWithTheViewersIDs(t *testing.T) {
	in := rtp.ExtensionIDs{AbsCaptureTime: 1, VideoOrientation: 2, PlayoutDelay: 3, DependencyDescriptor: 4, MID: 5, TWCC: 6}
	out := rtp.ExtensionIDs{AbsCaptureTime: 9, VideoOrientation: 8, PlayoutDelay: 7, DependencyDescriptor: 20, AbsSendTime: 10, MID: 5, TWCC: 6}
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1, Extensions: in}, vp8Codec, out)
	k := key(0, 1, 1, 1)
	k.exts = []rtp.Extension{
		{ID: 1, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8}}, {ID: 2, Data: []byte{3}}, {ID: 3, Data: []byte{0, 1, 2}},
		{ID: 4, Data: []byte{0xc0, 1, 2}}, {ID: 5, Data: []byte("0")}, {ID: 6, Data: []byte{0, 1}},
	}
	s.push(0, k)
	got := s.media()
	if len(got) != 1 {
		t.Fatalf("%d packets", len(got))
	}
	abs := rtp.AbsSendTime(s.now)
	for id, want := range map[uint8][]byte{9: {1, 2, 3, 4, 5, 6, 7, 8}, 8: {3}, 7: {0, 1, 2}, 20: {0xc0, 1, 2}, 10: abs[:], 5: nil, 6: nil} {
		if ext := got[0].Extension(id); !bytes.Equal(ext, want) {
			t.Errorf("extension %d is %v, want %v", id, ext, want)
		}
	}
}

// TestDescriptorFrameNumbersGoOn: receivers refuse a key frame whose number is
// behind the structure they have.
func TestDescriptorFrameNumbersGoOn(t *testing.T) {
	ids := rtp.ExtensionIDs{DependencyDescriptor: 4}
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 2, Extensions: ids}, vp8Codec, ids)
	push := func(spatial int, k pkt, frame uint16) {
		k.exts = []rtp.Extension{{ID: 4, Data: []byte{0xc0, byte(frame >> 8), byte(frame)}}}
		s.push(spatial, k)
	}
	push(0, key(0, 1, 1000, 1), 65535)
	push(0, delta(0, 2, 4000, 2), 0)
	push(1, key(1, 1, 1000, 1), 300)
	push(1, delta(1, 2, 4000, 2), 301)
	var got []uint16
	for _, p := range s.media() {
		got = append(got, frameNumber(p.Extension(4)))
	}
	want := []uint16{65535, 0, 1, 2}
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Fatalf("frame numbers %v, want %v", got, want)
		}
	}
}

func TestDTXGapsInAudio(t *testing.T) {
	s := newStage(t, ReceiverParams{Kind: Audio, Codec: opusCodec, Layers: 1}, opusCodec, rtp.ExtensionIDs{})
	for i, ts := range []uint32{0xfffffc40, 0, 960, 960 + 19_200, 960 + 38_400} { // 400 ms of silence, twice
		s.push(0, pkt{ssrc: 1, pt: 111, sn: 65533 + uint16(i), ts: ts, payload: []byte{0xf8, 1, 2}})
	}
	got := s.media()
	wantRun(t, got, 5)
	for i, want := range []uint32{0, 960, 1920, 21_120, 40_320} {
		if d := got[i].Timestamp - got[0].Timestamp; d != want {
			t.Errorf("packet %d: %d ticks after the first, want %d", i, d, want)
		}
	}
}

func TestPauseStopsAtTheEndOfTheFrame(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	half := func(sn uint16, ts uint32, pic uint16, start, marker, k bool) {
		s.push(0, pkt{ssrc: 100, pt: 96, sn: sn, ts: ts, marker: marker, payload: vp8(k, start, pic, 1, 0, false)})
	}
	half(1, 1000, 1, true, true, true)
	half(2, 4000, 2, true, false, false)
	s.d.SetPaused(true)
	half(3, 4000, 2, false, true, false)
	half(4, 7000, 3, true, true, false)
	got := s.media()
	wantRun(t, got, 3)
	if !got[2].Marker {
		t.Error("the viewer was left with half a frame")
	}
	s.d.SetPaused(false)
	half(5, 10_000, 4, true, true, false)
	if len(s.media()) != 0 {
		t.Error("began again without a key frame")
	}
	half(6, 13_000, 5, true, true, true)
	again := s.media()
	if len(again) != 1 || again[0].SequenceNumber != got[2].SequenceNumber+1 || picture(t, again[0]) != picture(t, got[2])+1 {
		t.Fatalf("after the pause %+v", again)
	}
}

func TestMutedVideoEndsWithItsFrame(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, pkt{ssrc: 100, pt: 96, sn: 1, ts: 1000, payload: vp8(true, true, 1, 1, 0, false)})
	s.r.SetMuted(true)
	s.push(0, pkt{ssrc: 100, pt: 96, sn: 2, ts: 1000, marker: true, payload: vp8(true, false, 1, 1, 0, false)})
	s.push(0, key(0, 3, 4000, 2))
	if got := s.media(); len(got) != 2 || !got[1].Marker {
		t.Fatalf("%d packets, want the two of the frame that had begun", len(got))
	}
	s.r.SetMuted(false)
	s.push(0, delta(0, 4, 7000, 3))
	s.push(0, key(0, 5, 10_000, 4))
	wantRun(t, s.media(), 1)
}

func TestMutedAudioEndsInSilence(t *testing.T) {
	for _, viewer := range []Codec{opusCodec, redCodec} {
		s := newStage(t, ReceiverParams{Kind: Audio, Codec: viewer, Layers: 1}, viewer, rtp.ExtensionIDs{})
		s.now = time.Now() // as SetMuted takes it
		payload := []byte{0xf8, 1}
		if viewer.PayloadType == redCodec.PayloadType {
			payload = []byte{111, 0xf8, 1}
		}
		audio := func(sn uint16, ts uint32) {
			s.push(0, pkt{ssrc: 1, pt: viewer.PayloadType, sn: sn, ts: ts, payload: payload})
		}
		audio(1, 960)
		s.r.SetMuted(true)
		s.r.SetMuted(true)
		audio(2, 1920) // a muted publisher is not heard, whatever it sends
		got := s.media()
		wantRun(t, got, 1+silenceFrames)
		if !bytes.HasSuffix(got[1].Payload, []byte(codec.OpusSilence)) || got[1].Timestamp-got[0].Timestamp != 960 {
			t.Errorf("silence %v", got[1])
		}
		s.r.SetMuted(false)
		s.after(time.Second)
		audio(3, 48_960)
		again := s.media()
		if len(again) != 1 || again[0].SequenceNumber != got[len(got)-1].SequenceNumber+1 || again[0].Timestamp-got[0].Timestamp != 48_000 {
			t.Errorf("after the mute %+v", again)
		}
	}
}

func TestPrime(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.d.Prime()
	s.d.Prime()
	primed := s.w.take()
	wantRun(t, primed, primePackets)
	s.push(0, key(0, 1, 5, 1))
	got := s.media()
	if len(got) != 1 || got[0].SequenceNumber != primed[primePackets-1].SequenceNumber+1 || !rtp.NewerTS(got[0].Timestamp, primed[0].Timestamp) {
		t.Fatalf("first packet after priming %+v", got)
	}
	s.d.Prime()
	if len(s.w.take()) != 0 {
		t.Error("primed a stream that has begun")
	}
}

func TestCloseEndsWriting(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, key(0, 1, 5, 1))
	s.d.Close()
	s.d.Close()
	s.w.take()
	s.r.AddDownTrack(s.d) // too late
	s.push(0, key(0, 2, 3000, 2))
	s.d.Prime()
	s.d.HandleRTCP(&rtcp.PictureLossIndication{MediaSSRC: 7}, s.now)
	if len(s.w.take()) != 0 || s.d.SenderReport(s.now) != nil {
		t.Error("a closed down track wrote")
	}
	s.r.Close()
	s.r.Close()
	s.push(0, key(0, 3, 6000, 3))
	if s.r.Tick(s.now) != nil || s.d.Receiver() != nil {
		t.Error("a closed receiver goes on")
	}
	s.r.AddDownTrack(NewDownTrack(DownTrackParams{Codec: vp8Codec, Writer: s.w}))
	if s.r.Stats().DownTracks != 0 {
		t.Error("a closed receiver took a down track")
	}
}

func TestMoveBetweenReceivers(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, key(0, 1, 1000, 1))
	other := NewReceiver(ReceiverParams{Kind: Video, Codec: vp8Codec, Layers: 1})
	other.AddDownTrack(s.d)
	s.push(0, delta(0, 2, 4000, 2)) // no longer ours
	p := delta(0, 900, 70_000, 6)
	p.ssrc = 300
	other.Push(0, p.parse(t), s.now)
	k := key(0, 901, 73_000, 7)
	k.ssrc = 300
	s.after(100 * time.Millisecond)
	other.Push(0, k.parse(t), s.now)
	got := s.media()
	wantRun(t, got, 2)
	if d := got[1].Timestamp - got[0].Timestamp; d != 9000 {
		t.Errorf("timestamp moved by %d over a change of track, want 9000", d)
	}
	if s.r.Stats().DownTracks != 0 || other.Stats().DownTracks != 1 {
		t.Error("the down track is on the wrong list")
	}
}

// TestCarriedOver packs a stream up in the middle and goes on in another process's
// receiver and down track: the viewer sees one stream.
func TestCarriedOver(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 2}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, key(0, 65530, 1000, 1))
	s.push(1, key(1, 7, 900_000, 60))
	for i := range uint16(10) { // over the wrap of the sequence number
		s.push(0, delta(0, 65531+i, 4000+3000*uint32(i), 2+i))
		s.push(1, delta(1, 8+i, 903_000+3000*uint32(i), 61+i))
	}
	before := s.media()
	s.r.SenderReport(1, &rtcp.SenderReport{SSRC: 101, NTPTime: 1 << 40, RTPTime: 900_000}, s.now)
	s.d.Close()
	ds, rs := s.d.State(), s.r.State()

	b := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 2}, vp8Codec, rtp.ExtensionIDs{})
	r := NewReceiver(ReceiverParams{Kind: Video, Codec: vp8Codec, Layers: 2})
	d := NewDownTrack(DownTrackParams{SSRC: 7, RTXSSRC: 8, Codec: vp8Codec, Writer: b.w})
	r.Restore(rs)
	d.Restore(ds)
	r.AddDownTrack(d)
	defer d.Close()
	r.Push(1, delta(1, 18, 933_000, 71).parse(t), s.now)
	r.Push(1, delta(1, 10, 909_000, 63).parse(t), s.now) // has been sent already
	after := b.media()
	wantRun(t, append(before[len(before)-1:], after...), 2)
	if picture(t, after[0]) != picture(t, before[len(before)-1])+1 || after[0].Timestamp-before[len(before)-1].Timestamp != 3000 {
		t.Errorf("%+v does not follow %+v", after[0], before[len(before)-1])
	}
	if sr := d.SenderReport(s.now); sr == nil || sr.PacketCount != uint32(len(before)+1) {
		t.Errorf("sender report %+v", sr)
	}
	if st := d.Stats(); st.Spatial != 1 {
		t.Errorf("on layer %d, want 1", st.Spatial)
	}
}

// TestDownTrackBeginsWhenConnected: while the connection takes nothing, key frames
// are lost and must be asked for again.
func TestDownTrackBeginsWhenConnected(t *testing.T) {
	r := NewReceiver(ReceiverParams{Kind: Video, Codec: vp8Codec, Layers: 1})
	w := &flaky{fail: true}
	d := NewDownTrack(DownTrackParams{SSRC: 7, Codec: vp8Codec, Writer: w})
	r.AddDownTrack(d)
	defer d.Close()
	r.Push(0, key(0, 1, 1000, 1).parse(t), at0)
	r.Push(0, delta(0, 2, 4000, 2).parse(t), at0)
	if len(r.Tick(at0.Add(time.Second))) == 0 {
		t.Error("no key frame was asked for after a failed write")
	}
	w.fail = false
	r.Push(0, delta(0, 3, 7000, 3).parse(t), at0)
	r.Push(0, key(0, 4, 10_000, 4).parse(t), at0)
	if len(w.packets) != 1 || d.Stats().Errors == 0 {
		t.Errorf("%d packets, want the key frame alone", len(w.packets))
	}
}

type flaky struct {
	wire
	fail bool
}

func (f *flaky) WriteRTP(h, p []byte) (int, error) {
	if f.fail {
		return 0, ErrClosed
	}
	return f.wire.WriteRTP(h, p)
}
