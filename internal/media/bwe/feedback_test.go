package bwe

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"pgregory.net/rapid"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

var t0 = time.Unix(1_700_000_000, 0)

// marshal returns feedback packets as bytes.
func marshal(t testing.TB, pkts []rtcp.Packet) (out [][]byte) {
	t.Helper()
	for _, p := range pkts {
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw)
	}
	return out
}

// TestFeedbackProperty: what the recorder of the receiving side reports is read
// back: the same packets at the same times, off the wire and through pion.
func TestFeedbackProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		recorder := rtp.NewTWCCRecorder()
		want := map[uint16]time.Time{}
		seq, at := rapid.Uint16().Draw(rt, "first"), t0
		for range rapid.IntRange(1, 300).Draw(rt, "packets") {
			seq += uint16(rapid.SampledFrom([]int{1, 1, 1, 1, 2, 5, 30}).Draw(rt, "step"))
			at = at.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 5, 20, 80, 3000}).Draw(rt, "gap")) * time.Millisecond)
			recorder.Record(seq, at)
			want[seq] = at
		}
		var r, viaPion feedbackReader
		var first time.Time
		var zero micros
		for _, raw := range marshal(t, recorder.Feedback(1)) {
			if err := r.parse(raw); err != nil {
				rt.Fatal(err)
			}
			var cc rtcp.TransportLayerCC
			if err := cc.Unmarshal(raw); err != nil {
				rt.Fatal(err)
			}
			if err := viaPion.fromPacket(&cc); err != nil {
				rt.Fatal(err)
			}
			if !slices.Equal(r.arrivals, viaPion.arrivals) || r.epoch != viaPion.epoch || r.packets != viaPion.packets {
				rt.Fatalf("%v off the wire, %v through pion", r.arrivals, viaPion.arrivals)
			}
			for _, a := range r.arrivals {
				seq := r.base + a.offset
				at, ok := want[seq]
				if !ok {
					rt.Fatalf("packet %d was not received", seq)
				}
				delete(want, seq)
				if first.IsZero() {
					first, zero = at, r.epoch+a.at
				}
				off := duration(r.epoch+a.at-zero) - at.Sub(first)
				if off.Abs() > time.Millisecond {
					rt.Fatalf("packet %d is off by %v", seq, off)
				}
			}
		}
		if len(want) > 0 {
			rt.Fatalf("not reported: %v", want)
		}
	})
}

// report builds a report by hand.
func report(base, packets uint16, reference uint32, count uint8, chunks []uint16, deltas ...byte) []byte {
	b := make([]byte, feedbackHeader)
	b[0], b[1] = 0x80|rtcp.FormatTCC, byte(rtcp.TypeTransportSpecificFeedback)
	binary.BigEndian.PutUint16(b[12:], base)
	binary.BigEndian.PutUint16(b[14:], packets)
	binary.BigEndian.PutUint32(b[16:], reference<<8|uint32(count))
	for _, c := range chunks {
		b = binary.BigEndian.AppendUint16(b, c)
	}
	b = append(b, deltas...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)/4-1))
	return b
}

func TestFeedbackForms(t *testing.T) {
	large := []byte{0xff, 0xfc} // -1 ms
	for _, tc := range []struct {
		name string
		raw  []byte
		want []arrival
	}{
		{"a run", report(5, 3, 1, 0, []uint16{1<<13 | 3}, 4, 4, 8), []arrival{{0, 1000}, {1, 2000}, {2, 4000}}},
		{"a run longer than the count", report(5, 2, 1, 0, []uint16{1<<13 | 100}, 4, 4), []arrival{{0, 1000}, {1, 2000}}},
		{"nothing received", report(5, 8000, 1, 0, []uint16{8000}), nil},
		{"one-bit vector", report(5, 3, 1, 0, []uint16{0x8000 | 0b101<<11}, 4, 8), []arrival{{0, 1000}, {2, 3000}}},
		{"two-bit vector", report(5, 3, 1, 0, []uint16{0xc000 | 0b010010<<8}, 40, large[0], large[1]), []arrival{{0, 10_000}, {2, 9000}}},
		{"nothing at all", report(5, 0, 1, 0, nil), nil},
	} {
		var r feedbackReader
		if err := r.parse(tc.raw); err != nil || !slices.Equal(r.arrivals, tc.want) {
			t.Errorf("%s: %v, %v, want %v", tc.name, r.arrivals, err, tc.want)
		}
	}
}

func TestFeedbackMalformed(t *testing.T) {
	good := report(5, 3, 1, 0, []uint16{1<<13 | 3}, 4, 4, 4)
	change := func(f func(b []byte)) []byte {
		b := slices.Clone(good)
		f(b)
		return b
	}
	for name, raw := range map[string][]byte{
		"empty":              nil,
		"short":              good[:16],
		"cut":                good[:24],
		"another version":    change(func(b []byte) { b[0] = 0x40 | rtcp.FormatTCC }),
		"another format":     change(func(b []byte) { b[0] = 0x81 }),
		"another type":       change(func(b []byte) { b[1] = 206 }),
		"length of nothing":  change(func(b []byte) { b[3] = 1 }),
		"padding of zero":    change(func(b []byte) { b[0] |= 0x20; b[len(b)-1] = 0 }),
		"padding of all":     change(func(b []byte) { b[0] |= 0x20; b[len(b)-1] = 200 }),
		"a reserved symbol":  report(5, 3, 1, 0, []uint16{3<<13 | 3}, 4, 4, 4, 4, 4, 4),
		"an empty run":       report(5, 3, 1, 0, []uint16{1 << 13}, 4, 4, 4),
		"chunks missing":     report(5, 900, 1, 0, []uint16{1<<13 | 3}),
		"small delta lost":   report(5, 9, 1, 0, []uint16{1<<13 | 9}, 1, 1),
		"large delta lost":   report(5, 3, 1, 0, []uint16{2<<13 | 3}, 1, 1),
		"more than anything": report(5, 60000, 1, 0, []uint16{1<<13 | 8191, 1<<13 | 8191, 8191, 8191, 8191, 8191, 8191, 8191}, make([]byte, 20_000)...),
	} {
		r := feedbackReader{base: 77}
		if err := r.parse(raw); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
		if r.base != 77 {
			t.Errorf("%s: the header was taken", name)
		}
	}
	e := New(Config{})
	if err := e.FeedbackBytes(nil, t0); err == nil || e.Stats().Malformed != 1 {
		t.Errorf("%v, %d counted", err, e.Stats().Malformed)
	}
	bad := &rtcp.TransportLayerCC{PacketStatusCount: 3, PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: 1, RunLength: 3}}}
	if err := e.Feedback(bad, t0); err == nil || e.Stats().Malformed != 2 {
		t.Errorf("%v, %d counted", err, e.Stats().Malformed)
	}
	if err := e.Feedback(&rtcp.TransportLayerCC{PacketStatusCount: 3}, t0); err == nil {
		t.Error("a report without chunks passed")
	}
}

// TestReferenceTimeWraps: 24 bits of 64 ms are twelve days.
func TestReferenceTimeWraps(t *testing.T) {
	var r feedbackReader
	for i, tc := range []struct {
		reference uint32
		want      int64
	}{{0xfffffe, 0xfffffe}, {0xffffff, 0xffffff}, {1, 0x1000001}, {0xfffffd, 0xfffffd}, {5, 0x1000005}} {
		if err := r.parse(report(0, 0, tc.reference, 0, nil)); err != nil || r.epoch != tc.want*feedbackReference {
			t.Errorf("report %d: epoch %d, want %d: %v", i, r.epoch/feedbackReference, tc.want, err)
		}
	}
}

// FuzzFeedback: whatever comes in, reading it ends, in bounded memory, and what
// both we and pion can read is the same.
func FuzzFeedback(f *testing.F) {
	f.Add(report(5, 3, 1, 0, []uint16{1<<13 | 3}, 4, 4, 8))
	f.Add(report(5, 3, 1, 0, []uint16{0xc000 | 0b010010<<8}, 40, 0xff, 0xfc))
	f.Add(report(65530, 14, 9, 1, []uint16{0x8000 | 0x2aaa}, 1, 2, 3, 4, 5, 6, 7))
	f.Add(report(5, 8000, 1, 0, []uint16{8000}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r, viaPion feedbackReader
		err := r.parse(raw)
		if len(r.arrivals) > historySize {
			t.Fatalf("%d arrivals kept", len(r.arrivals))
		}
		var cc rtcp.TransportLayerCC
		if err != nil || cc.Unmarshal(raw) != nil || viaPion.fromPacket(&cc) != nil {
			return
		}
		if !slices.Equal(r.arrivals, viaPion.arrivals) || r.epoch != viaPion.epoch || r.base != viaPion.base {
			t.Fatalf("%v off the wire, %v through pion", r, viaPion)
		}
	})
}

// FuzzEstimator: whatever a viewer reports, the estimate stays within its limits.
func FuzzEstimator(f *testing.F) {
	f.Add([]byte{0, 10, 0, 10, 0, 10, 1, 0, 0, 3, 0x20, 3, 4, 4, 8, 2, 5})
	f.Add([]byte{0, 200, 3, 9, 2, 250, 0, 1, 4, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), 2000)]
		e := New(Config{Min: 50_000, Max: 10_000_000})
		e.SetDemand(Demand{Next: 2_000_000, All: 5_000_000, CanProbe: true})
		now, seq := t0, uint16(65_500)
		for len(b) >= 2 {
			op, n := b[0]%5, int(b[1])
			b = b[2:]
			switch op {
			case 0:
				e.Sent(Packet{Seq: seq, Size: n * 8, At: now, RTX: n%5 == 0, Probe: n%7 == 0})
				seq += 1 + uint16(n/200)*uint16(n)
			case 1:
				take := min(n%40, len(b))
				_ = e.FeedbackBytes(report(seq-uint16(n), uint16(take), uint32(n), uint8(n), chunksOf(b[:take]), b[:take]...), now)
				b = b[take:]
			case 2:
				now = now.Add(time.Duration(n) * 10 * time.Millisecond)
			case 3:
				e.REMB(uint64(n)*100_000, now)
			case 4:
				e.Restore(e.State())
			}
			d := e.Tick(now)
			if !(d.Bitrate >= 50_000 && d.Bitrate <= 10_000_000) || d.Loss < 0 || d.Loss > 1 || d.Queue < 0 || d.RTT < 0 {
				t.Fatalf("%+v", d)
			}
			if e.ProbeDeficit(now) < 0 || d.Why.String() == "" {
				t.Fatal("negative deficit, or no words")
			}
		}
	})
}

// chunksOf makes chunks for as many packets as there are bytes.
func chunksOf(b []byte) (out []uint16) {
	for i := 0; i < len(b); i += 7 {
		out = append(out, 0xc000|uint16(b[i])<<6|uint16(b[i]))
	}
	return out
}
