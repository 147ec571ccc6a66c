package peer

import (
	"bytes"
	"testing"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

type capture struct{ header, payload []byte }

func (c *capture) WriteRTP(h, p []byte) (int, error) {
	c.header, c.payload = append(c.header[:0], h...), append(c.payload[:0], p...)
	return len(h) + len(p), nil
}
func (c *capture) WriteRTCP([]byte) error { return nil }

func TestMidWriter(t *testing.T) {
	wide := bytes.Repeat([]byte{7}, 40)
	cases := map[string][]rtp.Extension{
		"no extension":  nil,
		"one-byte form": {ext(3, "\x01\x02"), ext(5, "abc")},
		"two-byte form": {{ID: 3, Data: wide}},
	}
	for name, exts := range cases {
		t.Run(name, func(t *testing.T) {
			var out capture
			w := &midWriter{Writer: &out, id: 4, mid: "12"}
			h := rtp.AppendHeader(nil, rtp.Header{PayloadType: 96, SSRC: 9, SequenceNumber: 7, Timestamp: 5, Marker: true}, exts...)
			before := bytes.Clone(h)
			if _, err := w.WriteRTP(h, []byte{1, 2, 3}); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(h, before) {
				t.Error("the caller's header was changed")
			}
			var p rtp.Packet
			if err := p.Unmarshal(append(bytes.Clone(out.header), out.payload...)); err != nil {
				t.Fatal(err)
			}
			if string(p.Extension(4)) != "12" || p.SSRC != 9 || p.SequenceNumber != 7 || !p.Marker || !bytes.Equal(p.Payload, []byte{1, 2, 3}) {
				t.Errorf("packet %+v with mid %q", p, p.Extension(4))
			}
			for _, e := range exts {
				if !bytes.Equal(p.Extension(e.ID), e.Data) {
					t.Errorf("extension %d is %q, was %q", e.ID, p.Extension(e.ID), e.Data)
				}
			}
			if n := testing.AllocsPerRun(100, func() { _, _ = w.WriteRTP(h, out.payload) }); n != 0 {
				t.Errorf("%v allocations per packet", n)
			}
			w.confirmed.Store(true)
			_, _ = w.WriteRTP(h, nil)
			if !bytes.Equal(out.header, h) {
				t.Error("a mid after the client has reported on the stream")
			}
			w.rtx = 9
			_, _ = w.WriteRTP(h, nil)
			if p.Unmarshal(out.header) != nil || string(p.Extension(4)) != "12" {
				t.Error("a retransmission without a mid")
			}
		})
	}
	// What cannot take a mid is sent as it is.
	for _, h := range [][]byte{{0x80, 96}, append(rtp.AppendHeader(nil, rtp.Header{}), 1, 2)} {
		var out capture
		w := &midWriter{Writer: &out, id: 4, mid: "1"}
		_, _ = w.WriteRTP(h, nil)
		if !bytes.Equal(out.header, h) {
			t.Errorf("%v became %v", h, out.header)
		}
	}
}
