package sfu

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// at0 is where test clocks begin.
var at0 = time.Unix(1_700_000_000, 0)

// wire is a Writer that keeps what is written, parsed.
type wire struct {
	packets []rtp.Packet
	rtcp    int
}

func (w *wire) WriteRTP(header, payload []byte) (int, error) {
	raw := append(append([]byte(nil), header...), payload...)
	var p rtp.Packet
	if err := p.Unmarshal(raw); err != nil {
		panic("sfu wrote a packet that does not parse: " + err.Error())
	}
	w.packets = append(w.packets, p)
	return len(raw), nil
}

func (w *wire) WriteRTCP([]byte) error { w.rtcp++; return nil }

// take returns what was written since the last take.
func (w *wire) take() []rtp.Packet {
	p := w.packets
	w.packets = nil
	return p
}

// pkt describes a packet for tests.
type pkt struct {
	ssrc    uint32
	pt      uint8
	sn      uint16
	ts      uint32
	marker  bool
	payload []byte
	exts    []rtp.Extension
	padding int
}

func (k pkt) parse(tb testing.TB) *rtp.Packet {
	tb.Helper()
	raw := rtp.AppendHeader(nil, rtp.Header{
		PayloadType: k.pt, Marker: k.marker, Padding: k.padding > 0,
		SequenceNumber: k.sn, Timestamp: k.ts, SSRC: k.ssrc,
	}, k.exts...)
	raw = append(raw, k.payload...)
	if k.padding > 0 {
		raw = append(raw, make([]byte, k.padding)...)
		raw[len(raw)-1] = byte(k.padding)
	}
	p := new(rtp.Packet)
	if err := p.Unmarshal(raw); err != nil {
		tb.Fatal(err)
	}
	return p
}

// vp8 builds a VP8 payload: descriptor and the first bytes of a frame.
func vp8(key, start bool, pictureID uint16, tl0 uint8, tid uint8, sync bool) []byte {
	b := make([]byte, 6, 20)
	b[0], b[1] = 0x80, 0xe0
	if start {
		b[0] |= 0x10
	}
	binary.BigEndian.PutUint16(b[2:], pictureID|0x8000)
	b[4] = tl0
	b[5] = tid << 6
	if sync {
		b[5] |= 0x20
	}
	if !start {
		return append(b, 9, 9, 9, 9)
	}
	if key {
		return append(b, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0)
	}
	return append(b, 0x11, 0, 0, 1, 2, 3)
}

var (
	vp8Codec  = Codec{Mime: "video/VP8", ClockRate: 90000, PayloadType: 96, RTXPayloadType: 97, Feedback: FeedbackNACK | FeedbackPLI | FeedbackFIR}
	opusCodec = Codec{Mime: "audio/opus", ClockRate: 48000, Channels: 2, PayloadType: 111}
	redCodec  = Codec{Mime: "audio/red", ClockRate: 48000, Channels: 2, PayloadType: 63, REDPrimaryPayloadType: 111}
)

func TestForwardSingleLayerVideo(t *testing.T) {
	r := NewReceiver(ReceiverParams{TrackID: "TR_v", Kind: Video, Codec: vp8Codec, Layers: 1})
	w := new(wire)
	viewer := vp8Codec
	viewer.PayloadType, viewer.RTXPayloadType = 120, 121
	d := NewDownTrack(DownTrackParams{SSRC: 7, RTXSSRC: 8, Codec: viewer, Writer: w})
	r.AddDownTrack(d)
	defer d.Close()

	r.Push(0, pkt{ssrc: 1, pt: 96, sn: 99, ts: 1000, marker: true, payload: vp8(false, true, 4, 1, 0, false)}.parse(t), at0)
	if got := w.take(); len(got) != 0 {
		t.Fatalf("%d packets before the first key frame, want none", len(got))
	}
	for i := range uint16(4) {
		at := at0.Add(time.Duration(i) * 33 * time.Millisecond)
		r.Push(0, pkt{ssrc: 1, pt: 96, sn: 100 + i, ts: 4000 + 3000*uint32(i), marker: true, payload: vp8(i == 0, true, 5+i, 2, 0, false)}.parse(t), at)
	}
	got := w.take()
	if len(got) != 4 {
		t.Fatalf("%d packets, want 4", len(got))
	}
	for i, p := range got {
		if p.SSRC != 7 || p.PayloadType != 120 || !p.Marker {
			t.Errorf("packet %d: ssrc %d, type %d, marker %v", i, p.SSRC, p.PayloadType, p.Marker)
		}
		if i > 0 && p.SequenceNumber != got[i-1].SequenceNumber+1 {
			t.Errorf("packet %d: number %d after %d", i, p.SequenceNumber, got[i-1].SequenceNumber)
		}
		if i > 0 && p.Timestamp-got[i-1].Timestamp != 3000 {
			t.Errorf("packet %d: timestamp advances by %d, want 3000", i, p.Timestamp-got[i-1].Timestamp)
		}
	}
}

func TestForwardAudioAndLevel(t *testing.T) {
	r := NewReceiver(ReceiverParams{Kind: Audio, Codec: opusCodec, Extensions: rtp.ExtensionIDs{AudioLevel: 1}, Layers: 1})
	var levels []uint8
	r.OnAudioLevel(func(level uint8, _ bool, _ time.Time) { levels = append(levels, level) })
	w := new(wire)
	d := NewDownTrack(DownTrackParams{SSRC: 7, Codec: opusCodec, Writer: w})
	r.AddDownTrack(d)
	defer d.Close()
	r.Push(0, pkt{ssrc: 1, pt: 111, sn: 65535, ts: 1, payload: []byte(codec.OpusSilence), exts: []rtp.Extension{{ID: 1, Data: []byte{0x80 | 30}}}}.parse(t), at0)
	r.Push(0, pkt{ssrc: 1, pt: 111, sn: 0, ts: 961, payload: []byte(codec.OpusSilence)}.parse(t), at0)
	if got := w.take(); len(got) != 2 || got[1].SequenceNumber != got[0].SequenceNumber+1 {
		t.Fatalf("got %+v", got)
	}
	if len(levels) != 1 || levels[0] != 30 {
		t.Errorf("levels %v, want [30]", levels)
	}
}
