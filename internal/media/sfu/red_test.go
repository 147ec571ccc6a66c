package sfu

import (
	"bytes"
	"testing"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// redPacket builds the RED packets a browser sends: each repeats the one before.
func redPacket(t *testing.T, e *codec.REDEncoder, sn uint16, ts uint32, payload []byte) []byte {
	t.Helper()
	b := make([]byte, 200)
	n, err := e.Encode(b, 111, sn, ts, payload)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func opus(i int) []byte { return []byte{0xf8, byte(i), byte(i)} }

func TestREDIsCarried(t *testing.T) {
	s := newStage(t, ReceiverParams{Kind: Audio, Codec: redCodec, Layers: 1}, redCodec, rtp.ExtensionIDs{})
	var e codec.REDEncoder
	red := redPacket(t, &e, 1, 960, opus(1))
	s.push(0, pkt{ssrc: 1, pt: 63, sn: 1, ts: 960, payload: red})
	s.push(0, pkt{ssrc: 1, pt: 111, sn: 2, ts: 1920, payload: opus(2)}) // bare, as browsers do
	got := s.media()
	wantRun(t, got, 2)
	if got[0].PayloadType != 63 || !bytes.Equal(got[0].Payload, red) || got[1].PayloadType != 111 || !bytes.Equal(got[1].Payload, opus(2)) {
		t.Errorf("got %+v", got)
	}
}

func TestREDIsStrippedAndRepairsLoss(t *testing.T) {
	viewer := opusCodec
	viewer.Feedback = FeedbackNACK
	s := newStage(t, ReceiverParams{Kind: Audio, Codec: redCodec, Layers: 1}, viewer, rtp.ExtensionIDs{})
	var e codec.REDEncoder
	send := map[int][]byte{}
	for i := 1; i <= 8; i++ {
		send[i] = redPacket(t, &e, uint16(65533+i), uint32(960*i), opus(i))
	}
	push := func(i int) {
		s.push(0, pkt{ssrc: 1, pt: 63, sn: uint16(65533 + i), ts: uint32(960 * i), payload: send[i]})
	}
	for _, i := range []int{1, 2, 5, 4, 6, 8} { // 3 and 7 are lost, 4 is late
		push(i)
	}
	got := s.media()
	wantRun(t, got, 8)
	for i, p := range got {
		if !bytes.Equal(p.Payload, opus(i+1)) || p.PayloadType != 111 || p.Timestamp-got[0].Timestamp != uint32(960*i) {
			t.Errorf("packet %d: type %d, payload %v, %d ticks after the first", i, p.PayloadType, p.Payload, p.Timestamp-got[0].Timestamp)
		}
	}
	push(7) // was recovered: not sent twice
	if again := s.media(); len(again) != 0 {
		t.Errorf("%d packets after a recovered one came late", len(again))
	}
	if st := s.d.Stats(); st.Refused != 0 {
		t.Errorf("%d packets offered twice", st.Refused)
	}
	s.d.HandleRTCP(nack(7, got[5].SequenceNumber), s.now)
	if re := s.media(); len(re) != 1 || !bytes.Equal(re[0].Raw, got[5].Raw) {
		t.Errorf("resent %+v, want the stripped packet", re)
	}
	s.push(0, pkt{ssrc: 1, pt: 63, sn: 6, ts: 8640, payload: []byte{0xff}}) // not RED
	s.push(0, pkt{ssrc: 1, pt: 111, sn: 7, ts: 9600, payload: opus(10)})    // bare
	if got := s.media(); len(got) != 1 || !bytes.Equal(got[0].Payload, opus(10)) {
		t.Errorf("got %+v, want the bare packet", got)
	}
}

func TestREDIsMade(t *testing.T) {
	s := newStage(t, ReceiverParams{Kind: Audio, Codec: opusCodec, Layers: 1}, redCodec, rtp.ExtensionIDs{})
	plain := new(wire)
	other := NewDownTrack(DownTrackParams{SSRC: 17, Codec: opusCodec, Writer: plain})
	s.r.AddDownTrack(other)
	defer other.Close()
	for i := range 4 {
		s.push(0, pkt{ssrc: 1, pt: 111, sn: uint16(i), ts: uint32(960 * i), payload: opus(i)})
	}
	got := s.media()
	wantRun(t, got, 4)
	var red codec.RED
	if err := red.Parse(got[3].Payload); err != nil {
		t.Fatal(err)
	}
	if b := red.Redundant(); len(b) != 2 || !bytes.Equal(b[1].Payload, opus(2)) || b[1].TimestampOffset != 960 || !bytes.Equal(red.Primary().Payload, opus(3)) {
		t.Errorf("blocks %+v", b)
	}
	for i, p := range plain.take() {
		if !bytes.Equal(p.Payload, opus(i)) {
			t.Errorf("the viewer without RED got %v", p.Payload)
		}
	}
	// Another source: nothing of the former one is repeated.
	s.push(0, pkt{ssrc: 2, pt: 111, sn: 4, ts: 960 * 4, payload: opus(9)})
	last := s.media()
	if err := red.Parse(last[0].Payload); err != nil || len(red.Redundant()) != 0 {
		t.Errorf("after a change of source %v repeated, %v", red.Redundant(), err)
	}
}
