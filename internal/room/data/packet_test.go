package data

import (
	"bytes"
	"errors"
	"testing"

	"github.com/livekit/protocol/datatrack"
	"github.com/livekit/protocol/livekit"
)

const sid = "PA_abcdefghijkl"

// packet makes one as LiveKit's own library does.
func packet(t testing.TB, payload string, extensions ...datatrack.Extension) []byte {
	t.Helper()
	p := datatrack.Packet{
		Header:  datatrack.Header{IsStartOfFrame: true, Handle: 7, SequenceNumber: 9, FrameNumber: 3, Timestamp: 1e6},
		Payload: []byte(payload),
	}
	for _, e := range extensions {
		p.AddExtension(e)
	}
	raw, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func parse(t testing.TB, raw []byte) *datatrack.Packet {
	t.Helper()
	p := new(datatrack.Packet)
	if err := p.Unmarshal(raw); err != nil {
		t.Fatalf("a client cannot read what was forwarded: %v", err)
	}
	return p
}

func TestForward(t *testing.T) {
	e2ee := datatrack.NewExtension(uint8(livekit.DataTrackExtensionID_DTEI_PARTICIPANT_SID)+1, []byte("12345"))
	forged := datatrack.NewExtension(sidExtension, []byte("PA_somebody_else"))
	for _, tc := range []struct {
		name string
		raw  []byte
		kept int
	}{
		{"plain", packet(t, "hello"), 0},
		{"no payload", packet(t, ""), 0},
		{"another extension", packet(t, "hello", e2ee), 1},
		{"a forged publisher", packet(t, "hello", forged, e2ee), 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			prefix := []byte("before")
			out, err := Forward(bytes.Clone(prefix), tc.raw, sid)
			if err != nil {
				t.Fatal(err)
			}
			out, _ = bytes.CutPrefix(out, prefix)
			SetHandle(out, 300)
			got, was := parse(t, out), parse(t, tc.raw)
			if got.Handle != 300 || got.SequenceNumber != 9 || got.FrameNumber != 3 || got.Timestamp != 1e6 || !got.IsStartOfFrame || got.IsFinalOfFrame {
				t.Errorf("header %+v", got.Header)
			}
			if !bytes.Equal(got.Payload, was.Payload) {
				t.Errorf("payload %q", got.Payload)
			}
			if len(got.Extensions) != tc.kept+1 {
				t.Fatalf("extensions %v", got.Extensions)
			}
			if e, err := got.GetExtension(sidExtension); err != nil || string(e.Data()) != sid {
				t.Errorf("publisher %q, %v", e.Data(), err)
			}
			if tc.kept > 0 {
				if e, err := got.GetExtension(e2ee.ID()); err != nil || string(e.Data()) != "12345" {
					t.Errorf("other extension %q, %v", e.Data(), err)
				}
			}
		})
	}
}

func TestForwardRefuses(t *testing.T) {
	cut := packet(t, "", datatrack.NewExtension(9, []byte("12345")))
	for name, raw := range map[string][]byte{
		"empty": nil, "short": make([]byte, 11), "extensions cut off": cut[:len(cut)-1],
		"no count":                {hasExtensions, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0},
		"an element over the end": {hasExtensions, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 9},
	} {
		if out, err := Forward([]byte("x"), raw, sid); !errors.Is(err, ErrPacket) || string(out) != "x" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	if _, err := Handle(make([]byte, 11)); !errors.Is(err, ErrPacket) {
		t.Errorf("handle of a short packet: %v", err)
	}
}

func TestForwardDoesNotAllocate(t *testing.T) {
	raw := packet(t, "hello", datatrack.NewExtension(9, []byte("12345")))
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { _, _ = Forward(buf, raw, sid) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is forwarded is what LiveKit's library makes of the packet, or refused.
func FuzzForward(f *testing.F) {
	f.Add(packet(f, "hello"))
	f.Add(packet(f, "hello", datatrack.NewExtension(9, []byte("12345"))))
	f.Add(packet(f, "", datatrack.NewExtension(sidExtension, []byte("x"))))
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := Forward(nil, raw, sid)
		var was datatrack.Packet
		if lib := was.Unmarshal(raw); err != nil {
			if lib == nil && len(raw) < 60<<10 {
				t.Fatalf("refused what the library reads: %v", err)
			}
			return
		}
		got := parse(t, out)
		if e, err := got.GetExtension(sidExtension); err != nil || string(e.Data()) != sid {
			t.Fatalf("publisher %q, %v", e.Data(), err)
		}
		if h, err := Handle(out); err != nil || h != got.Handle {
			t.Fatalf("handle %d, %v", h, err)
		}
		if len(was.Header.Extensions) > 0 && !bytes.Equal(got.Payload, was.Payload) {
			t.Fatalf("payload %x, want %x", got.Payload, was.Payload)
		}
	})
}
