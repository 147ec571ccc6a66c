package peer

import (
	"strconv"
	"strings"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
	"github.com/concertina-rtc/concertina/internal/media/sdp"
	"github.com/concertina-rtc/concertina/internal/media/sfu"
)

// section is one m= section for the life of the connection: its place, mid and
// kind never change, what it carries does. Guarded by Peer.mu.
type section struct {
	mid      string
	kind     sdp.Kind
	rejected bool // dead; only a new mid may take its place
	up       *uplink
	down     *downlink
	// answered is set once a description with the section is settled on both
	// sides, sending when it made us send.
	answered, sending bool
	used              bool // has carried a down track
	// receivable is set while the client's last offer lets us send (Single).
	receivable bool
	// extensions are those negotiated with the present down track: a client makes
	// its receiver anew when they change, and needs a key frame then.
	extensions []sdp.Extension
	// offered is what we last offered (Subscriber).
	offered []sdp.Codec
}

// free reports whether a further down track may take the section. One that the
// client still plays is not free before that is settled: browsers would mistake
// the change of track for a jump of the old one.
func (s *section) free(safari bool) bool {
	return s.kind != sdp.Application && !s.rejected && s.down == nil && s.up == nil && s.answered && !s.sending &&
		!(safari && s.used)
}

// downlink is a track the client shall receive. Guarded by Peer.mu.
type downlink struct {
	Downlink
	ssrc, rtx uint32
	codec     sdp.Codec // as negotiated; zero before
	// trackCodec and ids are the same for the down track.
	trackCodec sfu.Codec
	ids        rtp.ExtensionIDs
	track      *sfu.DownTrack
	reports    *reportSchedule // of track; the tick owns what it points to
	mid        *midWriter      // of track; nil when no mid is negotiated
}

func sectionKind(k sfu.Kind) sdp.Kind {
	if k == sfu.Audio {
		return sdp.Audio
	}
	return sdp.Video
}

func trackKind(k sdp.Kind) sfu.Kind {
	if k == sdp.Audio {
		return sfu.Audio
	}
	return sfu.Video
}

func equalMime(a, b string) bool { return strings.EqualFold(a, b) }

// accepts returns the codecs of a client's section that can carry the track,
// best first: in the order of the track's codecs, and for audio with the
// other packing of Opus after the track's own, since RED is packed and unpacked
// here.
func (d *downlink) accepts(codecs []sdp.Codec) []sdp.Codec {
	out := sdp.Only(codecs, d.Codecs)
	sortH264(out)
	if d.Kind == sfu.Audio && len(out) > 0 && equalMime(out[0].Mime, codec.MIMERED) && !hasMime(d.Codecs, codec.MIMEOpus) {
		return append(out, sdp.Only(codecs, []string{codec.MIMEOpus})...)
	}
	if len(out) == 0 && d.Kind == sfu.Audio && hasMime(d.Codecs, codec.MIMERED) {
		return sdp.Only(codecs, []string{codec.MIMEOpus})
	}
	return out
}

// sortH264 moves the constrained baseline profile with packetization mode 1 to
// the front of the H.264 variants, where every decoder meets.
func sortH264(codecs []sdp.Codec) {
	rank := func(c *sdp.Codec) int {
		n := 0
		if sdp.Parameter(c.Fmtp, "packetization-mode") != "1" {
			n += 2
		}
		if !strings.HasPrefix(strings.ToLower(sdp.Parameter(c.Fmtp, "profile-level-id")), "42e0") {
			n++
		}
		return n
	}
	for i := 1; i < len(codecs); i++ { // stable, few elements
		for j := i; j > 0; j-- {
			a, b := &codecs[j-1], &codecs[j]
			if !equalMime(a.Mime, codec.MIMEH264) || !equalMime(b.Mime, codec.MIMEH264) || rank(a) <= rank(b) {
				break
			}
			*a, *b = *b, *a
		}
	}
}

// extensionIDs are the header extension ids of a section.
func extensionIDs(exts []sdp.Extension) rtp.ExtensionIDs {
	var ids rtp.ExtensionIDs
	for _, e := range exts {
		ids.SetByURI(e.URI, e.ID)
	}
	return ids
}

// trackCodec is a negotiated codec as package sfu has it. all are the codecs of
// the section, where RED finds its Opus.
func trackCodec(c *sdp.Codec, all []sdp.Codec) sfu.Codec {
	out := sfu.Codec{
		Mime: c.Mime, ClockRate: c.ClockRate, Channels: c.Channels, Fmtp: c.Fmtp,
		PayloadType: c.PayloadType, RTXPayloadType: c.RTX,
	}
	for fb, bit := range map[string]sfu.Feedback{
		"nack": sfu.FeedbackNACK, "nack pli": sfu.FeedbackPLI, "ccm fir": sfu.FeedbackFIR,
		"transport-cc": sfu.FeedbackTWCC, "goog-remb": sfu.FeedbackREMB,
	} {
		if c.HasFeedback(fb) {
			out.Feedback |= bit
		}
	}
	if equalMime(c.Mime, codec.MIMERED) {
		inner, _, _ := strings.Cut(c.Fmtp, "/")
		if pt, err := strconv.ParseUint(inner, 10, 7); err == nil {
			out.REDPrimaryPayloadType = uint8(pt)
		} else if opus := sdp.Only(all, []string{codec.MIMEOpus}); len(opus) > 0 {
			out.REDPrimaryPayloadType = opus[0].PayloadType
		}
	}
	return out
}
