package rtp

import (
	"bytes"
	"errors"
	"testing"

	pion "github.com/pion/rtp"
	"pgregory.net/rapid"
)

func TestUnmarshalErrors(t *testing.T) {
	base := AppendHeader(nil, Header{PayloadType: 96})
	with := func(change func([]byte) []byte) []byte { return change(bytes.Clone(base)) }
	for _, tc := range []struct {
		name string
		in   []byte
		want error
	}{
		{"empty", nil, ErrShort},
		{"eleven bytes", base[:11], ErrShort},
		{"version 1", with(func(b []byte) []byte { b[0] = 0x40; return b }), ErrVersion},
		{"CSRC cut off", with(func(b []byte) []byte { b[0] |= 1; return b }), ErrShort},
		{"extension header cut off", with(func(b []byte) []byte { b[0] |= 0x10; return append(b, 0xbe, 0xde) }), ErrShort},
		{"extensions cut off", with(func(b []byte) []byte { b[0] |= 0x10; return append(b, 0xbe, 0xde, 0, 2, 1, 2, 3, 4) }), ErrShort},
		{"padding without payload", with(func(b []byte) []byte { b[0] |= 0x20; return b }), ErrPadding},
		{"padding of zero", with(func(b []byte) []byte { b[0] |= 0x20; return append(b, 1, 0) }), ErrPadding},
		{"padding longer than payload", with(func(b []byte) []byte { b[0] |= 0x20; return append(b, 1, 3) }), ErrPadding},
		{"fixed header only", base, nil},
		{"padding only", with(func(b []byte) []byte { b[0] |= 0x20; return append(b, 0, 2) }), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var p Packet
			if err := p.Unmarshal(tc.in); !errors.Is(err, tc.want) {
				t.Errorf("Unmarshal = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestExtensionForms(t *testing.T) {
	for _, tc := range []struct {
		name    string
		profile uint16
		block   []byte
		id      uint8
		want    []byte
	}{
		{"one byte", 0xbede, []byte{0x10, 0xaa, 0x21, 1, 2, 0, 0, 0}, 2, []byte{1, 2}},
		{"one byte after padding", 0xbede, []byte{0, 0, 0x10, 0xaa}, 1, []byte{0xaa}},
		{"identifier 15 stops", 0xbede, []byte{0xf0, 0xaa, 0x10, 0xbb}, 1, nil},
		{"one byte cut off", 0xbede, []byte{0x1f, 1, 2, 3}, 1, nil},
		{"two byte", 0x1000, []byte{20, 2, 7, 8, 1, 0, 0, 0}, 20, []byte{7, 8}},
		{"two byte with application bits", 0x1005, []byte{20, 2, 7, 8}, 20, []byte{7, 8}},
		{"two byte of length zero", 0x1000, []byte{1, 0, 20, 0}, 20, []byte{}},
		{"two byte cut off", 0x1000, []byte{20, 9, 7, 8}, 20, nil},
		{"other profile", 0x1234, []byte{0x10, 0xaa, 0, 0}, 1, nil},
		{"identifier 0", 0xbede, []byte{0, 0, 0, 0}, 0, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw := AppendHeader(nil, Header{})
			raw[0] |= 0x10
			raw = append(raw, byte(tc.profile>>8), byte(tc.profile), 0, byte(len(tc.block)/4))
			raw = append(raw, tc.block...)
			var p Packet
			if err := p.Unmarshal(raw); err != nil {
				t.Fatal(err)
			}
			got := p.Extension(tc.id)
			if !bytes.Equal(got, tc.want) || (got == nil) != (tc.want == nil) {
				t.Errorf("Extension(%d) = %v, want %v", tc.id, got, tc.want)
			}
		})
	}
}

// TestHeaderAgreesWithPion builds random headers and lets another implementation
// read them.
func TestHeaderAgreesWithPion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Header{
			Timestamp: rapid.Uint32().Draw(t, "ts"), SSRC: rapid.Uint32().Draw(t, "ssrc"),
			SequenceNumber: rapid.Uint16().Draw(t, "sn"), PayloadType: rapid.Uint8Range(0, 127).Draw(t, "pt"),
			Marker: rapid.Bool().Draw(t, "marker"),
		}
		var exts []Extension
		for id := range uint8(rapid.IntRange(0, 6).Draw(t, "elements")) {
			exts = append(exts, Extension{
				ID:   rapid.SampledFrom([]uint8{0, id + 1, id + 1, id + 1, id + 20}).Draw(t, "id"),
				Data: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "data"),
			})
		}
		payload := rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "payload")
		raw := append(AppendHeader([]byte("before"), h, exts...), payload...)[len("before"):]

		var ours Packet
		if err := ours.Unmarshal(raw); err != nil {
			t.Fatal(err)
		}
		var theirs pion.Packet
		if err := theirs.Unmarshal(raw); err != nil {
			t.Fatalf("pion: %v", err)
		}
		if theirs.SequenceNumber != h.SequenceNumber || theirs.Timestamp != h.Timestamp || theirs.SSRC != h.SSRC ||
			theirs.PayloadType != h.PayloadType || theirs.Marker != h.Marker || !bytes.Equal(theirs.Payload, payload) {
			t.Fatalf("pion reads %+v, want %+v", theirs.Header, h)
		}
		if !bytes.Equal(ours.Payload, payload) || ours.SequenceNumber != h.SequenceNumber || ours.Marker != h.Marker {
			t.Fatalf("we read %+v", ours)
		}
		for _, e := range exts {
			if e.ID == 0 || e.Data == nil {
				continue
			}
			if got := theirs.GetExtension(e.ID); !bytes.Equal(got, e.Data) {
				t.Fatalf("pion reads extension %d as %v, want %v", e.ID, got, e.Data)
			}
			if got := ours.Extension(e.ID); !bytes.Equal(got, e.Data) {
				t.Fatalf("we read extension %d as %v, want %v", e.ID, got, e.Data)
			}
		}
	})
}

func TestAppendHeaderDoesNotAllocate(t *testing.T) {
	dst, data := make([]byte, 0, 64), []byte{1, 2, 3}
	if n := testing.AllocsPerRun(100, func() {
		dst = AppendHeader(dst[:0], Header{SSRC: 1}, Extension{ID: 3, Data: data}, Extension{ID: 0, Data: data}, Extension{ID: 4})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if len(dst) != 20 {
		t.Errorf("header of %d bytes, want 20", len(dst))
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(AppendHeader(nil, Header{PayloadType: 96}, Extension{ID: 1, Data: []byte{1}}))
	f.Add(AppendHeader(nil, Header{PayloadType: 96}, Extension{ID: 200, Data: []byte{1}}))
	f.Add([]byte{0xb0, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0x1f, 1, 1, 1, 0, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Packet
		if p.Unmarshal(b) != nil {
			return
		}
		if len(p.Payload)+int(p.PaddingSize)+FixedHeaderSize > len(b) {
			t.Fatalf("payload %d and padding %d of %d bytes", len(p.Payload), p.PaddingSize, len(b))
		}
		for id := range 256 {
			_ = p.Extension(uint8(id))
		}
	})
}

func TestExtensionIDs(t *testing.T) {
	var ids ExtensionIDs
	for i, uri := range []string{
		URIMID, URIRID, URIRepairedRID, URIAudioLevel, URITWCC, URIAbsSendTime,
		URIAbsCaptureTime, URIDependencyDescriptor, URIVideoOrientation, URIPlayoutDelay,
	} {
		if !ids.SetByURI(uri, uint8(i+1)) || ids.ByURI(uri) != uint8(i+1) {
			t.Errorf("%s was not kept", uri)
		}
	}
	want := ExtensionIDs{MID: 1, RID: 2, RepairedRID: 3, AudioLevel: 4, TWCC: 5, AbsSendTime: 6, AbsCaptureTime: 7, DependencyDescriptor: 8, VideoOrientation: 9, PlayoutDelay: 10}
	if ids != want {
		t.Errorf("got %+v", ids)
	}
	if ids.SetByURI("urn:unknown", 9) || ids.ByURI("urn:unknown") != 0 {
		t.Error("an unknown URI was accepted")
	}
}

func TestParseAudioLevel(t *testing.T) {
	if level, voice, ok := ParseAudioLevel([]byte{0x80 | 42}); level != 42 || !voice || !ok {
		t.Errorf("got %d %v %v", level, voice, ok)
	}
	if level, _, ok := ParseAudioLevel(nil); level != 127 || ok {
		t.Errorf("without data: %d %v", level, ok)
	}
}
