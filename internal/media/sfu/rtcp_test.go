package sfu

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

func nack(ssrc uint32, sns ...uint16) *rtcp.TransportLayerNack {
	return &rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(sns)}
}

func TestNACKIsAnsweredByRTX(t *testing.T) {
	viewer := vp8Codec
	viewer.PayloadType, viewer.RTXPayloadType = 120, 121
	ids := rtp.ExtensionIDs{VideoOrientation: 3, AbsSendTime: 4}
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1, Extensions: rtp.ExtensionIDs{VideoOrientation: 9}}, viewer, ids)
	cam := &camera{}
	cam.layers[0].sn = 65530
	s.d.SetMaxLayer(0, 1) // leaves frames out, so that descriptors are rewritten
	for range 8 {
		cam.layers[0].ts += 3000
		for _, p := range cam.frame(t, 0, 2) {
			s.r.Push(0, p, s.now)
		}
	}
	last := pkt{ssrc: 100, pt: 96, sn: cam.layers[0].sn, ts: cam.layers[0].ts + 3000, payload: vp8(true, true, 9, 9, 0, false), exts: []rtp.Extension{{ID: 9, Data: []byte{5}}}}
	s.push(0, last)
	sent := s.media()
	wantRun(t, sent, 9)
	s.after(50 * time.Millisecond)
	s.d.HandleRTCP(nack(7, sent[6].SequenceNumber, sent[7].SequenceNumber, sent[8].SequenceNumber, sent[8].SequenceNumber+1), s.now)
	got := s.media()
	if len(got) != 3 {
		t.Fatalf("%d retransmissions, want 3", len(got))
	}
	for i, p := range got {
		was := sent[6+i]
		if p.SSRC != 8 || p.PayloadType != 121 || p.Timestamp != was.Timestamp || p.Marker != was.Marker {
			t.Errorf("retransmission %d: %+v", i, p)
		}
		if osn := binary.BigEndian.Uint16(p.Payload); osn != was.SequenceNumber || !bytes.Equal(p.Payload[2:], was.Payload) {
			t.Errorf("retransmission %d carries %d, % x; want %d, % x", i, osn, p.Payload[2:], was.SequenceNumber, was.Payload)
		}
		if !bytes.Equal(p.Extension(3), was.Extension(3)) {
			t.Errorf("retransmission %d: orientation %v, want %v", i, p.Extension(3), was.Extension(3))
		}
		abs := rtp.AbsSendTime(s.now)
		if !bytes.Equal(p.Extension(4), abs[:]) {
			t.Errorf("retransmission %d: abs-send-time %v is not that of now", i, p.Extension(4))
		}
		if i > 0 && p.SequenceNumber != got[i-1].SequenceNumber+1 {
			t.Errorf("retransmission numbers %d, %d", got[i-1].SequenceNumber, p.SequenceNumber)
		}
	}
	if st := s.d.Stats(); st.Resent != 3 || st.NACKs != 1 || st.Packets != 9 {
		t.Errorf("stats %+v", st)
	}
}

// TestPlainResendIsTheSameBytes: without RTX the same SRTP index is used again, and
// must then protect exactly the same packet.
func TestPlainResendIsTheSameBytes(t *testing.T) {
	viewer := vp8Codec
	viewer.RTXPayloadType = 0
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, viewer, rtp.ExtensionIDs{AbsSendTime: 4})
	s.push(0, key(0, 10, 1000, 1))
	sent := s.media()
	s.after(70 * time.Millisecond)
	s.d.HandleRTCP(nack(7, sent[0].SequenceNumber), s.now)
	got := s.media()
	if len(got) != 1 || !bytes.Equal(got[0].Raw, sent[0].Raw) {
		t.Fatalf("resent % x\nwant   % x", got[0].Raw, sent[0].Raw)
	}
}

func TestNACKLimits(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 2}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, key(0, 10, 1000, 1))
	s.push(0, delta(0, 11, 4000, 2))
	sent := s.media()
	ask := func(sns ...uint16) int {
		s.d.HandleRTCP(nack(7, sns...), s.now)
		return len(s.media())
	}
	sn := sent[1].SequenceNumber
	if n := ask(sn); n != 1 {
		t.Fatalf("first request: %d packets", n)
	}
	s.after(50 * time.Millisecond)
	if n := ask(sn); n != 0 {
		t.Errorf("a repeat within 100 ms was answered")
	}
	total := 1
	for range 10 {
		s.after(110 * time.Millisecond)
		total += ask(sn)
	}
	if total != resendTries {
		t.Errorf("sent %d times again, want %d", total, resendTries)
	}
	if n := ask(sn+1, sn+500, sn-400); n != 0 {
		t.Errorf("%d answers about packets never sent", n)
	}
	s.d.HandleRTCP(nack(1234, sn), s.now)
	if len(s.media()) != 0 {
		t.Error("answered a NACK about another stream")
	}
	s.push(1, key(1, 1, 1000, 1))
	s.w.take()
	s.after(time.Second)
	if n := ask(sent[0].SequenceNumber); n != 0 {
		t.Error("sent a packet again from before the key frame")
	}
}

func TestNACKFloodIsBounded(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.push(0, key(0, 1, 1000, 1))
	for i := range uint16(400) {
		s.push(0, delta(0, 2+i, 4000+3000*uint32(i), 2+i))
	}
	sent := s.media()
	var all []uint16
	for sn := range 65536 {
		all = append(all, uint16(sn))
	}
	flood := nack(7, all...)
	for range 20 {
		s.d.HandleRTCP(flood, s.now)
		s.after(100 * time.Millisecond)
	}
	if n := len(s.media()); n > resendTries*len(sent) {
		t.Errorf("%d retransmissions of %d packets", n, len(sent))
	}
}

func TestKeyFrameRequests(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 3}, vp8Codec, rtp.ExtensionIDs{})
	s.now = time.Now() // requests that do not wait for Tick take the clock themselves
	plis := func(pkts []rtcp.Packet) (ssrcs []uint32) {
		for _, p := range pkts {
			if pli, ok := p.(*rtcp.PictureLossIndication); ok && pli.SenderSSRC == 99 {
				ssrcs = append(ssrcs, pli.MediaSSRC)
			}
		}
		return ssrcs
	}
	s.push(2, delta(2, 1, 1000, 1))
	if got := plis(s.r.Tick(s.now)); len(got) != 1 || got[0] != 102 {
		t.Fatalf("asked for %v, want a key frame of 102", got)
	}
	count := 0
	for range 40 { // 2 s: repeated until it comes, twice a second
		s.after(50 * time.Millisecond)
		s.push(2, delta(2, 2+uint16(count), 1000, 1))
		count += len(plis(s.r.Tick(s.now)))
	}
	if count != 4 {
		t.Errorf("%d repetitions in 2 s, want 4", count)
	}
	s.push(2, key(2, 50, 9000, 9))
	s.after(5 * time.Second)
	s.push(2, delta(2, 51, 12_000, 10))
	if got := plis(s.r.Tick(s.now)); len(got) != 0 {
		t.Errorf("asked for %v with the viewer on its layer", got)
	}
	for range 50 { // a flood of requests from viewers becomes one
		s.d.HandleRTCP(&rtcp.PictureLossIndication{MediaSSRC: 7}, s.now)
		s.d.HandleRTCP(&rtcp.FullIntraRequest{FIR: []rtcp.FIREntry{{SSRC: 7}}}, s.now)
		s.d.HandleRTCP(&rtcp.PictureLossIndication{MediaSSRC: 70}, s.now)
	}
	if got := len(plis(s.sent)) + len(plis(s.r.Tick(s.now))); got != 1 {
		t.Errorf("%d requests for 100 of the viewer's, want 1", got)
	}
	if st := s.d.Stats(); st.PLIs != 100 {
		t.Errorf("%d requests counted, want 100", st.PLIs)
	}
	s.r.SetMuted(true)
	s.after(5 * time.Second)
	s.sent = nil
	s.r.RequestKeyFrame(2)
	s.r.RequestKeyFrame(-1)
	if got := len(s.sent) + len(plis(s.r.Tick(s.now))); got != 0 {
		t.Error("asked a muted publisher for a key frame")
	}
}

func TestKeyFrameByFIR(t *testing.T) {
	c := vp8Codec
	c.Feedback = FeedbackFIR
	s := newStage(t, ReceiverParams{Codec: c, Layers: 1}, c, rtp.ExtensionIDs{})
	s.push(0, delta(0, 1, 1000, 1))
	pkts := s.r.Tick(s.now)
	found := false
	for _, p := range pkts {
		if fir, ok := p.(*rtcp.FullIntraRequest); ok && fir.FIR[0].SSRC == 100 && fir.FIR[0].SequenceNumber == 1 {
			found = true
		}
	}
	if !found {
		t.Errorf("got %v, want a FIR", pkts)
	}
}

func TestPublisherIsAskedForMissingPackets(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.r.SetRTT(10 * time.Millisecond)
	s.push(0, key(0, 65535, 1000, 1))
	s.push(0, delta(0, 2, 4000, 2)) // 0 and 1 are missing
	s.after(25 * time.Millisecond)
	var asked []uint16
	for _, p := range s.r.Tick(s.now) {
		if n, ok := p.(*rtcp.TransportLayerNack); ok && n.MediaSSRC == 100 {
			for _, pair := range n.Nacks {
				asked = append(asked, pair.PacketList()...)
			}
		}
	}
	if len(asked) != 2 || asked[0] != 0 || asked[1] != 1 {
		t.Errorf("asked for %v, want 0 and 1", asked)
	}
	if st := s.r.Stats().Layers[0]; st.NACKs != 2 {
		t.Errorf("%d requests counted", st.NACKs)
	}
}

func TestReceiverReports(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 2}, vp8Codec, rtp.ExtensionIDs{})
	for i := range uint16(10) {
		if i != 5 {
			s.push(0, delta(0, i, 3000*uint32(i), i))
		}
		s.push(1, delta(1, 100+i, 3000*uint32(i), i))
		s.after(33 * time.Millisecond)
	}
	s.r.SenderReport(1, &rtcp.SenderReport{SSRC: 101, NTPTime: 0x1122334455667788}, s.now)
	s.r.SenderReport(1, &rtcp.SenderReport{SSRC: 999, NTPTime: 1}, s.now) // not this layer's
	s.r.SenderReport(9, &rtcp.SenderReport{SSRC: 999, NTPTime: 1}, s.now)
	s.after(500 * time.Millisecond)
	reports := func() *rtcp.ReceiverReport {
		for _, p := range s.r.Tick(s.now) {
			if rr, ok := p.(*rtcp.ReceiverReport); ok {
				return rr
			}
		}
		return nil
	}
	rr := reports()
	if rr == nil || rr.SSRC != 99 || len(rr.Reports) != 2 {
		t.Fatalf("report %+v", rr)
	}
	if b := rr.Reports[0]; b.SSRC != 100 || b.TotalLost != 1 || b.FractionLost != 25 || b.LastSequenceNumber != 9 {
		t.Errorf("layer 0: %+v", b)
	}
	if b := rr.Reports[1]; b.SSRC != 101 || b.TotalLost != 0 || b.LastSenderReport != 0x33445566 || b.Delay != 32768 {
		t.Errorf("layer 1: %+v", b)
	}
	s.after(900 * time.Millisecond)
	if reports() != nil {
		t.Error("a report after less than a second")
	}
	s.after(100 * time.Millisecond)
	if reports() == nil {
		t.Error("no report after a second")
	}
}

func TestSenderReportIsTranslated(t *testing.T) {
	s := newStage(t, ReceiverParams{Codec: vp8Codec, Layers: 1}, vp8Codec, rtp.ExtensionIDs{})
	s.d.Prime() // the viewer's timestamps begin elsewhere
	s.w.take()
	s.push(0, key(0, 1, 50_000, 1))
	if s.d.SenderReport(s.now) != nil {
		t.Fatal("a report before the publisher's first")
	}
	ntp := rtp.ToNTP(time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)) // the publisher's clock is off
	s.r.SenderReport(0, &rtcp.SenderReport{SSRC: 100, NTPTime: ntp, RTPTime: 47_000}, s.now)
	s.after(400 * time.Millisecond)
	sr := s.d.SenderReport(s.now)
	out := s.media()[0]
	if sr == nil || sr.SSRC != 7 || sr.PacketCount != primePackets+1 || sr.OctetCount != uint32(len(out.Payload)) {
		t.Fatalf("report %+v", sr)
	}
	// 47,000 + 36,000 of the source is 33,000 after the packet of 50,000.
	if d := sr.RTPTime - out.Timestamp; d != 33_000 {
		t.Errorf("RTP time is %d after the packet, want 33000", d)
	}
	if d := rtp.NTPDuration(sr.NTPTime, ntp); (d - 400*time.Millisecond).Abs() > time.Microsecond {
		t.Errorf("NTP time is %v after the publisher's, want 400 ms", d)
	}
	s.after(130 * time.Millisecond)
	s.d.HandleRTCP(&rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{
		{SSRC: 12345, FractionLost: 255},
		{SSRC: 7, FractionLost: 64, TotalLost: 5, Jitter: 900, LastSenderReport: rtp.NTPMiddle(sr.NTPTime), Delay: 65536 / 10},
	}}, s.now)
	s.d.HandleRTCP(&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1_500_000}, s.now)
	st := s.d.Stats()
	if st.FractionLost != 0.25 || st.Lost != 5 || st.Jitter != 10*time.Millisecond || st.REMB != 1_500_000 {
		t.Errorf("stats %+v", st)
	}
	if (st.RTT - 30*time.Millisecond).Abs() > time.Millisecond {
		t.Errorf("round trip %v, want 30 ms", st.RTT)
	}
	if s.d.CNAME() != "cname" {
		t.Error("CNAME lost")
	}
}
