package sfu

import (
	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// form is how a payload must be repacked for a viewer. Each form is made once per
// packet and shared by all viewers that take it.
type form uint8

const (
	formSame  form = iota // as the publisher sends it
	formPlain             // RED unpacked to Opus (RFC 2198)
	formRED               // Opus packed into RED
	forms
)

// formFor returns the form that takes a publisher's codec to a viewer's.
func formFor(source, viewer codec.Kind) form {
	switch {
	case source == codec.KindRED && viewer == codec.KindOpus:
		return formPlain
	case source == codec.KindOpus && viewer == codec.KindRED:
		return formRED
	}
	return formSame
}

// redForms is a layer's state of repacking; it belongs to upLayer.push.
type redForms struct {
	parsed  codec.RED
	lost    [codec.MaxREDBlocks]codec.REDRecovered
	sent    rtp.ReplayWindow // what viewers of the plain form have got
	lastSeq int64
	lastTS  uint32
	started bool
	epoch   uint32
	plain   inbound

	encoder codec.REDEncoder
	packet  []byte
}

// maxREDPayload bounds a RED payload we make, so that packets stay below the
// usual path MTU.
const maxREDPayload = 1100

// forwardPlain unpacks a RED packet for viewers that take Opus only. Packets lost
// before it that it repeats are recovered and go first.
func (l *upLayer) forwardPlain(in *inbound, tracks []*DownTrack) {
	red := &l.red
	red.follow(in.epoch)
	if len(in.payload) == 0 || in.bare {
		for _, d := range tracks {
			d.forward(in)
		}
		return
	}
	if red.parsed.Parse(in.payload) != nil {
		return // not RED: an Opus decoder could do nothing with it
	}
	if red.started && in.newest && in.seq-red.lastSeq < 1<<15 {
		n := red.parsed.Recover(uint16(in.seq), in.ts, uint16(red.lastSeq), red.lastTS, red.lost[:]) //nolint:gosec // wire form
		for i := range n {
			lost := &red.lost[i]
			seq := in.seq - int64(uint16(in.seq)-lost.Sequence) //nolint:gosec // wrap-around arithmetic
			l.forwardOpus(in, seq, lost.Timestamp, lost.Payload, tracks)
		}
	}
	l.forwardOpus(in, in.seq, in.ts, red.parsed.Primary().Payload, tracks)
	if in.newest {
		red.lastSeq, red.lastTS, red.started = in.seq, in.ts, true
	}
}

// follow forgets the packets of a former source.
func (red *redForms) follow(epoch uint32) {
	if red.epoch == epoch {
		return
	}
	red.epoch, red.started, red.encoder = epoch, false, codec.REDEncoder{}
	red.sent.Reset()
}

// forwardOpus sends one unpacked packet unless it has been recovered before.
func (l *upLayer) forwardOpus(in *inbound, seq int64, ts uint32, payload []byte, tracks []*DownTrack) {
	if !l.red.sent.Accept(seq) {
		return
	}
	out := &l.red.plain
	*out = *in
	out.seq, out.ts, out.payload = seq, ts, payload
	if seq != in.seq {
		out.marker, out.exts = false, extensions{}
	}
	for _, d := range tracks {
		d.forward(out)
	}
}

// forwardRED packs an Opus packet together with the ones before it for viewers
// that take RED.
func (l *upLayer) forwardRED(in *inbound, tracks []*DownTrack) {
	l.red.follow(in.epoch)
	payload := in.payload
	if len(payload) > 0 {
		if l.red.packet == nil {
			l.red.packet = make([]byte, rtp.MaxPacketSize)
		}
		limit := max(maxREDPayload, len(payload)+1)
		if limit > len(l.red.packet) {
			return
		}
		n, err := l.red.encoder.Encode(l.red.packet[:limit], opusInRED(tracks), uint16(in.seq), in.ts, payload) //nolint:gosec // wire form
		if err != nil {
			return
		}
		in.payload = l.red.packet[:n]
	}
	for _, d := range tracks {
		d.forward(in)
	}
	in.payload = payload
}

// opusInRED returns the payload type of the blocks. Clients use one table of
// payload types per codec, so the first viewer's serves all; decoders of RED with
// one codec inside do not look at it.
func opusInRED(tracks []*DownTrack) uint8 { return tracks[0].params.Codec.REDPrimaryPayloadType }
