package sfu

import (
	"time"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// Silence sent when audio stops.
const (
	silenceFrames = 5
	silenceTicks  = 960 // 20 ms at 48 kHz
)

// writeSilence sends a few frames of silence behind the newest packet. The caller
// holds d.mu.
func (d *DownTrack) writeSilence(now time.Time) {
	_, ts := d.sn.Last()
	d.payload = d.payload[:0]
	if d.kind == codec.KindRED { // a RED packet with one block
		d.payload = append(d.payload, d.params.Codec.REDPrimaryPayloadType&0x7f)
	}
	d.payload = append(d.payload, codec.OpusSilence...)
	d.payload = append(d.payload, d.params.Trailer...)
	for range silenceFrames {
		ts += silenceTicks
		sn := d.sn.Insert()
		d.sn.SetLastTS(ts)
		if !d.used.Accept(sn) {
			return
		}
		h := rtp.Header{
			PayloadType:    d.params.Codec.PayloadType,
			SequenceNumber: uint16(sn), Timestamp: ts, SSRC: d.params.SSRC, //nolint:gosec // wire form
		}
		abs := d.absSendTime(now)
		d.header = d.appendHeader(d.header[:0], h, &extensions{}, nil, &abs)
		_, err := d.params.Writer.WriteRTP(d.header, d.payload)
		d.stats.count(len(d.header)+len(d.payload), len(d.payload), now, err)
	}
	d.lastTS, d.lastAt = ts, now.Add(silenceFrames*20*time.Millisecond)
}
