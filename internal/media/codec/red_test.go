package codec

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestREDParse(t *testing.T) {
	for _, tc := range []struct {
		name string
		hex  string
		want []REDBlock
		err  error
	}{
		{"empty", "", nil, ErrTruncated},
		{"primary only", "6fabcd", []REDBlock{{111, 0, []byte{0xab, 0xcd}}}, nil},
		{"empty primary", "6f", []REDBlock{{111, 0, []byte{}}}, nil},
		{"one redundant", "ef0f0002" + "6f" + "0102" + "ab", []REDBlock{{111, 960, []byte{1, 2}}, {111, 0, []byte{0xab}}}, nil},
		{"largest fields", "effffc00" + "6f" + "ab", []REDBlock{{111, 16383, []byte{}}, {111, 0, []byte{0xab}}}, nil},
		{"two redundant", "ef1e0001" + "ef0f0001" + "6f" + "0102ab",
			[]REDBlock{{111, 1920, []byte{1}}, {111, 960, []byte{2}}, {111, 0, []byte{0xab}}}, nil},
		{"cut header", "ef0f00", nil, ErrTruncated},
		{"no primary header", "ef0f0000", nil, ErrTruncated},
		{"cut block", "ef0f00026f01", nil, ErrTruncated},
		{"too many blocks", "80000000800000008000000080000000800000008000000080000000800000006f", nil, ErrInvalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var r RED
			b := unhex(t, tc.hex)
			err := r.Parse(b)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			primary, pt, perr := REDPrimary(b)
			if err != nil {
				if len(r.Redundant()) != 0 {
					t.Error("blocks after an error")
				}
				if perr == nil && !errors.Is(err, ErrInvalid) {
					t.Error("REDPrimary accepts it")
				}
				return
			}
			got := append(append([]REDBlock(nil), r.Redundant()...), *r.Primary())
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
			if perr != nil || !bytes.Equal(primary, r.Primary().Payload) || pt != r.Primary().PayloadType {
				t.Errorf("REDPrimary %x, %d, %v", primary, pt, perr)
			}
		})
	}
}

// TestREDRecoversRealPackets loses each packet of a browser's stream in turn
// and finds it in the next one.
func TestREDRecoversRealPackets(t *testing.T) {
	var packets []packet
	for _, p := range loadCapture(t, "chrome_red.txt") {
		if len(p.payload) > 0 {
			packets = append(packets, p)
		}
	}
	for i := 1; i+1 < len(packets); i++ {
		before, lost, after := packets[i-1], packets[i], packets[i+1]
		if after.sequence != lost.sequence+1 || lost.sequence != before.sequence+1 {
			continue
		}
		want, _, err := REDPrimary(lost.payload)
		if err != nil {
			t.Fatal(err)
		}
		var r RED
		if err := r.Parse(after.payload); err != nil {
			t.Fatal(err)
		}
		var out [MaxREDBlocks]REDRecovered
		n := r.Recover(after.sequence, after.timestamp, before.sequence, before.timestamp, out[:])
		if n != 1 || out[0].Sequence != lost.sequence || out[0].Timestamp != lost.timestamp || !bytes.Equal(out[0].Payload, want) {
			t.Errorf("packet %d: recovered %+v", i, out[:n])
		}
	}
}

// TestREDRoundTrip encodes a stream, loses any packets, and recovers all that
// had at least one of the next MaxREDDistance packets arrive.
func TestREDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e REDEncoder
		var r RED
		sequence, timestamp := rapid.Uint16().Draw(t, "sequence"), rapid.Uint32().Draw(t, "timestamp")
		type sent struct {
			timestamp uint32
			payload   []byte
		}
		stream := map[uint16]sent{}
		lastSequence, lastTimestamp, started := sequence, timestamp, false
		for range rapid.IntRange(1, 40).Draw(t, "packets") {
			payload := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "payload")
			stream[sequence] = sent{timestamp, payload}
			dst := make([]byte, 1200)
			n, err := e.Encode(dst, 111, sequence, timestamp, payload)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Parse(dst[:n]); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(r.Primary().Payload, payload) || r.Primary().PayloadType != 111 {
				t.Fatalf("primary %+v", r.Primary())
			}
			if rapid.IntRange(0, 2).Draw(t, "lost") > 0 || !started {
				var out [MaxREDBlocks]REDRecovered
				k := r.Recover(sequence, timestamp, lastSequence, lastTimestamp, out[:])
				missing := int(sequence - lastSequence - 1)
				if !started {
					missing = 0
				}
				if k != min(missing, MaxREDDistance) {
					t.Fatalf("recovered %d of %d", k, missing)
				}
				for i, got := range out[:k] {
					want := stream[sequence-uint16(k-i)]
					if got.Sequence != sequence-uint16(k-i) || got.Timestamp != want.timestamp || !bytes.Equal(got.Payload, want.payload) {
						t.Fatalf("recovered %+v, want %+v", got, want)
					}
				}
				lastSequence, lastTimestamp, started = sequence, timestamp, true
			}
			sequence++
			timestamp += 480 * rapid.Uint32Range(1, 12).Draw(t, "duration")
		}
	})
}

func TestREDEncoderLimits(t *testing.T) {
	count := func(b []byte) int {
		t.Helper()
		var r RED
		if err := r.Parse(b); err != nil {
			t.Fatal(err)
		}
		return len(r.Redundant())
	}
	encode := func(e *REDEncoder, room int, sequence uint16, timestamp uint32, size int) int {
		t.Helper()
		dst := make([]byte, room)
		n, err := e.Encode(dst, 111, sequence, timestamp, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		return count(dst[:n])
	}
	var e REDEncoder
	for i, want := range []int{0, 1, 2, 2} {
		if got := encode(&e, 1200, uint16(i), uint32(960*i), 100); got != want {
			t.Errorf("packet %d repeats %d, want %d", i, got, want)
		}
	}
	if got := encode(&e, 1+104+100+103, 4, 960*4, 100); got != 1 {
		t.Errorf("room for one repeats %d", got)
	}
	if got := encode(&e, 101, 5, 960*5, 100); got != 0 {
		t.Errorf("room for none repeats %d", got)
	}
	if _, err := e.Encode(make([]byte, 100), 111, 6, 960*6, make([]byte, 100)); !errors.Is(err, ErrShortBuffer) {
		t.Errorf("no room: %v", err)
	}
	if got := encode(&e, 1200, 8, 960*8, 100); got != 0 {
		t.Errorf("across a gap repeats %d", got)
	}
	if got := encode(&e, 1200, 9, 960*9+1<<14, 100); got != 0 {
		t.Errorf("after a long silence repeats %d", got)
	}
	if got := encode(&e, 1200, 9, 960*9+1<<14, 100); got != 0 {
		t.Errorf("a repeated packet repeats %d", got)
	}
	if got := encode(&REDEncoder{n: 1, history: e.history}, 1200, e.history[0].sequence+1, e.history[0].timestamp, 100); got != 0 {
		t.Errorf("a packet of the same time repeats %d", got)
	}
	if got := encode(&e, 1200, 8, 960*8, 100); got != 0 {
		t.Errorf("a late packet repeats %d", got)
	}
	if got := encode(&e, 1500, 10, 960*10+1<<14, 1024); got != 1 {
		t.Errorf("a long packet repeats %d", got)
	}
	// The long packet does not fit the 10 bit length and is not repeated.
	if got := encode(&e, 4000, 11, 960*11+1<<14, 100); got != 1 {
		t.Errorf("after a long packet repeats %d", got)
	}
}

func TestREDRecoverRefuses(t *testing.T) {
	var r RED
	if err := r.Parse(unhex(t, "ef0f0002"+"6f"+"0102"+"ab")); err != nil {
		t.Fatal(err)
	}
	var out [4]REDRecovered
	for name, n := range map[string]int{
		"nothing missing":  r.Recover(10, 9600, 9, 8640, out[:]),
		"late":             r.Recover(10, 9600, 12, 11520, out[:]),
		"the same":         r.Recover(10, 9600, 10, 9600, out[:]),
		"already received": r.Recover(10, 9600, 8, 8640, out[:]),
		"no room":          r.Recover(10, 9600, 8, 7680, nil),
	} {
		if n != 0 {
			t.Errorf("%s: recovered %d", name, n)
		}
	}
	if n := r.Recover(10, 9600, 8, 7680, out[:]); n != 1 || out[0].Sequence != 9 {
		t.Errorf("recovered %+v", out[:n])
	}
}

func TestREDAllocatesNothing(t *testing.T) {
	var e REDEncoder
	var r RED
	payload, dst := make([]byte, 120), make([]byte, 1200)
	var out [MaxREDBlocks]REDRecovered
	sequence := uint16(0)
	if n := testing.AllocsPerRun(100, func() {
		sequence += 2
		n, err := e.Encode(dst, 111, sequence, uint32(sequence)*960, payload)
		if err != nil || r.Parse(dst[:n]) != nil {
			t.Error("failed")
		}
		r.Recover(sequence, uint32(sequence)*960, sequence-2, uint32(sequence-2)*960, out[:])
		_, _, _ = REDPrimary(dst[:n])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzRED(f *testing.F) {
	for _, p := range loadCapture(f, "chrome_red.txt")[:6] {
		f.Add(p.payload)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var r RED
		primary, pt, perr := REDPrimary(payload)
		if err := r.Parse(payload); err != nil {
			if perr == nil && !errors.Is(err, ErrInvalid) {
				t.Fatalf("%v, but there is a primary", err)
			}
			return
		}
		if perr != nil || pt != r.Primary().PayloadType || !bytes.Equal(primary, r.Primary().Payload) {
			t.Fatalf("primary %x and %x, %v", primary, r.Primary().Payload, perr)
		}
		var out [MaxREDBlocks]REDRecovered
		for _, got := range out[:r.Recover(100, 96000, 90, 0, out[:])] {
			if int16(got.Sequence-90) <= 0 || int16(100-got.Sequence) <= 0 {
				t.Fatalf("recovered %d", got.Sequence)
			}
		}
	})
}
