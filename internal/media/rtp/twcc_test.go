package rtp

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"pgregory.net/rapid"
)

// decodeTWCC returns the arrivals that feedback reports, by 16-bit number, and the
// numbers reported as missing.
func decodeTWCC(t interface {
	Fatalf(string, ...any)
}, pkts []rtcp.Packet) (arrived map[uint16]time.Duration, missing map[uint16]bool, counts []uint8) {
	arrived, missing = map[uint16]time.Duration{}, map[uint16]bool{}
	for _, p := range pkts {
		raw, err := p.Marshal()
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		if len(raw) > 1200 || len(raw)%4 != 0 {
			t.Fatalf("feedback of %d bytes", len(raw))
		}
		var cc rtcp.TransportLayerCC
		if err := cc.Unmarshal(raw); err != nil {
			t.Fatalf("pion cannot read it: %v", err)
		}
		counts = append(counts, cc.FbPktCount)
		var symbols []uint16
		for _, chunk := range cc.PacketChunks {
			switch c := chunk.(type) {
			case *rtcp.RunLengthChunk:
				for range c.RunLength {
					symbols = append(symbols, c.PacketStatusSymbol)
				}
			case *rtcp.StatusVectorChunk:
				symbols = append(symbols, c.SymbolList...)
			}
		}
		if len(symbols) < int(cc.PacketStatusCount) {
			t.Fatalf("%d symbols for %d packets", len(symbols), cc.PacketStatusCount)
		}
		at, delta := time.Duration(cc.ReferenceTime)*64*time.Millisecond, 0
		for i, s := range symbols[:cc.PacketStatusCount] {
			sn := cc.BaseSequenceNumber + uint16(i)
			if s == rtcp.TypeTCCPacketNotReceived {
				missing[sn] = true
				continue
			}
			at += time.Duration(cc.RecvDeltas[delta].Delta) * time.Microsecond
			delta++
			arrived[sn] = at
		}
		if delta != len(cc.RecvDeltas) {
			t.Fatalf("%d deltas used of %d", delta, len(cc.RecvDeltas))
		}
	}
	return arrived, missing, counts
}

func TestTWCCRecorder(t *testing.T) {
	r := NewTWCCRecorder()
	r.MediaSSRC = 5
	if r.Feedback(1) != nil {
		t.Error("feedback about nothing")
	}
	start := t0.Truncate(64 * time.Millisecond)
	at := func(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
	r.Record(65534, at(0))
	r.Record(65535, at(1))
	r.Record(65535, at(2)) // a duplicate changes nothing
	r.Record(2, at(500))   // 0 and 1 are missing; a large delta
	r.Record(1, at(400))   // late: a negative delta to come
	arrived, missing, _ := decodeTWCC(t, r.Feedback(1))
	want := map[uint16]time.Duration{65534: 0, 65535: time.Millisecond, 1: 400 * time.Millisecond, 2: 500 * time.Millisecond}
	for sn, d := range want {
		if arrived[sn]-arrived[65534] != d {
			t.Errorf("packet %d after %v, want %v", sn, arrived[sn]-arrived[65534], d)
		}
	}
	if len(arrived) != 4 || len(missing) != 1 || !missing[0] {
		t.Errorf("arrived %v, missing %v", arrived, missing)
	}
	if r.Feedback(1) != nil {
		t.Error("the same packets reported twice")
	}
	r.Record(0, at(600)) // reported as missing, came after all
	r.Record(3, at(601))
	arrived, _, counts := decodeTWCC(t, r.Feedback(1))
	if len(arrived) != 4 || arrived[0] == 0 || counts[0] != 1 {
		t.Errorf("arrived %v, feedback count %v", arrived, counts)
	}
}

func TestTWCCLongSilenceAndHoles(t *testing.T) {
	r := NewTWCCRecorder()
	r.Record(10, t0)
	r.Record(11, t0.Add(20*time.Second)) // beyond a delta: two packets
	pkts := r.Feedback(1)
	arrived, _, _ := decodeTWCC(t, pkts)
	if len(pkts) != 2 || arrived[11]-arrived[10] != 20*time.Second {
		t.Errorf("%d packets, %v", len(pkts), arrived)
	}
	r.Record(20_000, t0.Add(21*time.Second))
	arrived, missing, _ := decodeTWCC(t, r.Feedback(1))
	if len(arrived) != 1 || len(missing) > twccMaxPackets {
		t.Errorf("after a hole: %d arrived, %d missing", len(arrived), len(missing))
	}
	r.Record(17_000, t0.Add(22*time.Second)) // older than the window
	if r.Pending() != 0 {
		t.Error("a packet older than the window was kept")
	}
}

// TestTWCCProperty: every packet is reported, at its time to a quarter of a
// millisecond, whatever the losses, the order and the pauses between reports.
func TestTWCCProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := NewTWCCRecorder()
		sn := rapid.Uint16().Draw(t, "start")
		now := t0
		truth, reported := map[uint16]time.Time{}, map[uint16]time.Duration{}
		collect := func() {
			arrived, _, _ := decodeTWCC(t, r.Feedback(1))
			for s, at := range arrived {
				reported[s] = at
			}
		}
		for range rapid.IntRange(1, 300).Draw(t, "packets") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 100, 3000, 40_000, 900_000}).Draw(t, "gap")) * time.Microsecond)
			sn += uint16(rapid.SampledFrom([]int{1, 1, 1, 1, 2, 9, 60}).Draw(t, "step"))
			use := sn
			if rapid.IntRange(0, 9).Draw(t, "late") == 0 {
				use -= uint16(rapid.IntRange(1, 8).Draw(t, "by"))
			}
			if _, dup := truth[use]; !dup {
				truth[use] = now
			}
			r.Record(use, now)
			if rapid.IntRange(0, 20).Draw(t, "report") == 0 {
				collect()
			}
		}
		collect()
		if len(reported) != len(truth) {
			t.Fatalf("%d packets reported of %d", len(reported), len(truth))
		}
		epoch := r.epoch
		for s, at := range truth {
			if d := (at.Sub(epoch) - reported[s]).Abs(); d > 250*time.Microsecond {
				t.Fatalf("packet %d reported at %v, arrived at %v", s, reported[s], at.Sub(epoch))
			}
		}
	})
}

func FuzzTWCCRecorder(f *testing.F) {
	f.Add([]byte{0, 1, 5, 0, 2, 5, 255, 255, 200})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewTWCCRecorder()
		now := t0
		for len(b) >= 3 {
			now = now.Add(time.Duration(int8(b[2])) * 40 * time.Millisecond)
			r.Record(uint16(b[0])<<8|uint16(b[1]), now)
			if b[2]&7 == 0 {
				decodeTWCC(t, r.Feedback(1))
			}
			b = b[3:]
		}
		decodeTWCC(t, r.Feedback(1))
	})
}
