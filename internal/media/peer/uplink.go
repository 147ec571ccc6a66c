package peer

import (
	"slices"
	"sync/atomic"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
	"github.com/concertina-rtc/concertina/internal/media/sdp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
)

// uplink is a track the client sends. It does not change once it is in the
// routes, except for sources, which the socket goroutine owns.
type uplink struct {
	mid, trackID, streamID string
	kind                   sfu.Kind
	rids                   []string // lowest layer first; nil for a single layer
	layers                 int
	ids                    rtp.ExtensionIDs
	codecs                 []sdp.Codec // the client may send these; the first is expected
	declared               []sdp.SSRC  // lowest layer first
	codec                  sfu.Codec
	// receiver is nil while it is not known which of its codecs the client
	// sends.
	receiver *sfu.Receiver
	ended    atomic.Bool
	// deciding is set when the first packet has been seen by an uplink without
	// receiver.
	deciding atomic.Bool

	sources [sfu.MaxLayers]struct{ media, rtx uint32 } // latched SSRCs
}

// newUplink makes the uplink of a section that the client sends on. codecs are
// those of our answer.
func (p *Peer) newUplink(o *sdp.Section, codecs []sdp.Codec, exts []sdp.Extension, decided bool) *uplink {
	u := &uplink{
		mid: o.Mid, trackID: o.TrackID, streamID: o.StreamID, kind: trackKind(o.Kind),
		ids: extensionIDs(exts), codecs: codecs, declared: o.SSRCs,
	}
	u.rids = orderRids(o.SendRids())
	switch {
	case len(u.rids) > 0:
		u.layers = len(u.rids)
	case o.Kind == sdp.Video:
		u.layers = min(max(len(u.declared), 1), sfu.MaxLayers)
	default:
		u.layers = 1
	}
	if decided {
		u.decide(p, &codecs[0])
	}
	return u
}

// decide makes the receiver for the codec the client sends.
func (u *uplink) decide(p *Peer, c *sdp.Codec) {
	u.codec = trackCodec(c, u.codecs)
	u.receiver = sfu.NewReceiver(sfu.ReceiverParams{
		TrackID: u.trackID, Kind: u.kind, Codec: u.codec, Extensions: u.ids, Layers: u.layers,
		SendRTCP:   func(pkts []rtcp.Packet) { p.sendRTCP(pkts) },
		SenderSSRC: p.senderSSRC, PLIThrottle: p.params.PLIThrottle, Log: p.log,
	})
}

// stillIn returns the uplink's codecs as a later offer lists them, nil when one
// is gone.
func (u *uplink) stillIn(offered []sdp.Codec) []sdp.Codec {
	var out []sdp.Codec
	for i := range u.codecs {
		k := slices.IndexFunc(offered, func(c sdp.Codec) bool {
			return c.PayloadType == u.codecs[i].PayloadType && c.RTX == u.codecs[i].RTX && c.Equal(&u.codecs[i])
		})
		if k < 0 {
			return nil
		}
		out = append(out, offered[k])
	}
	return out
}

// end stops the uplink for good.
func (u *uplink) end() {
	u.ended.Store(true)
	if u.receiver != nil {
		u.receiver.Close()
	}
}

func (u *uplink) public() Uplink {
	return Uplink{
		Mid: u.mid, TrackID: u.trackID, StreamID: u.streamID, Kind: u.kind,
		Mime: u.codec.Mime, Rids: u.rids, Receiver: u.receiver,
	}
}

// orderRids returns the layers lowest first. LiveKit's clients call them q, h
// and f (quarter, half, full) in whatever order; other names are in SDP order. A
// single rid is a single layer with a name.
func orderRids(rids []string) []string {
	const known = "qhf"
	rank := func(rid string) int {
		if len(rid) != 1 {
			return -1
		}
		for i := range len(known) {
			if known[i] == rid[0] {
				return i
			}
		}
		return -1
	}
	out := slices.Clone(rids)
	if !slices.ContainsFunc(out, func(r string) bool { return rank(r) < 0 }) {
		slices.SortFunc(out, func(a, b string) int { return rank(a) - rank(b) })
	}
	if len(out) > sfu.MaxLayers {
		out = out[:sfu.MaxLayers]
	}
	return out
}

// layerOf returns the layer of a rid in a header extension, -1 for none.
func (u *uplink) layerOf(rid []byte) int {
	for i, r := range u.rids {
		if string(rid) == r {
			return i
		}
	}
	return -1
}

// codecOf returns the codec whose media or RTX payload type this is.
func (u *uplink) codecOf(pt uint8) (c *sdp.Codec, rtx bool) {
	for i := range u.codecs {
		switch c := &u.codecs[i]; {
		case c.PayloadType == pt:
			return c, false
		case c.RTX == pt && pt != 0:
			return c, true
		}
	}
	return nil, false
}

// uplinkCodecs chooses what a client may send on a section: one codec, with its
// redundant packing for audio, so that what comes is known before it comes.
// decided is false when only the first packet will tell.
func (p *Peer) uplinkCodecs(o *sdp.Section, preferred string) (codecs []sdp.Codec, decided bool) {
	all := p.policy.Select(o)
	if len(all) == 0 {
		return nil, true
	}
	if o.Kind == sdp.Audio {
		opus := sdp.Only(all, []string{codec.MIMEOpus})
		red := sdp.Only(all, []string{codec.MIMERED})
		if len(opus) == 0 {
			return nil, true
		}
		if len(red) == 0 || equalMime(preferred, codec.MIMEOpus) {
			return opus[:1], true
		}
		return []sdp.Codec{red[0], opus[0]}, true
	}
	mime := all[0].Mime
	if slices.ContainsFunc(all, func(c sdp.Codec) bool { return equalMime(c.Mime, preferred) }) {
		mime = preferred
	} else if p.params.Quirks.Go {
		return all, len(all) == 1
	}
	chosen := sdp.Only(all, []string{mime})
	sortH264(chosen)
	return chosen[:1], true
}
