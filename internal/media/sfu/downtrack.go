package sfu

import (
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/layer"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// DownTrackParams describe one viewer's copy of a track.
type DownTrackParams struct {
	// TrackID and Subscriber name the track and the viewer, for logs and stats.
	TrackID, Subscriber string
	// SSRC is the stream's, RTXSSRC that of its retransmissions (0 = none). Both
	// must be unique among everything sent with the connection's keys.
	SSRC, RTXSSRC uint32
	// Codec holds the viewer's payload types and feedback.
	Codec Codec
	// Extensions are the viewer's header extension ids.
	Extensions rtp.ExtensionIDs
	// Writer is the viewer's connection.
	Writer Writer
	// CNAME goes into SDES beside sender reports.
	CNAME string
	// Trailer is appended to frames the server makes up, so that a viewer of an
	// end-to-end encrypted track knows that they are not encrypted. nil when the
	// track is not encrypted.
	Trailer []byte
	// Log is used off the packet path only.
	Log *slog.Logger
}

// DownTrack is one viewer's copy of a track: a single outgoing stream with
// continuous numbering, whatever happens to its source. All methods may be called
// by any goroutine.
type DownTrack struct {
	params   DownTrackParams
	kind     codec.Kind
	receiver atomic.Pointer[Receiver]
	// want is the simulcast layer whose key frame the viewer waits for, layer.None
	// when it waits for none, plus wantUrgent; read by the receiver's Tick.
	want atomic.Int32

	// mu makes the down track the one writer of its SSRCs. It is taken once per
	// packet and not contended in the normal course.
	mu     sync.Mutex
	closed bool
	sel    layer.Selector
	paused bool // by the viewer or the room
	muted  bool // by the publisher

	// Numbering.
	sn          *rtp.Munger
	vp8         codec.VP8Munger
	used        rtp.ReplayWindow // no number is used twice
	begun       bool             // something has been sent
	restored    bool             // carried over: the next attach goes on
	source      uint32           // SSRC of the publisher's layer joined to
	epoch       uint32
	sourceTS    uint32 // of the newest packet forwarded
	lastTS      uint32 // of the newest packet sent
	lastAt      time.Time
	joined      uint64 // times a layer was joined
	joinSN      int64  // first number of the present layer
	descriptors viewerDescriptors
	left        leftOut
	rtxSN       uint16

	sent  *sentPackets // nil when the viewer sends no NACKs
	stats downTrackCounters

	// Scratch, reused for every packet.
	header, payload, resend []byte
	descriptor              [codec.MaxVP8Header]byte
	padding                 [4]byte
}

// NewDownTrack returns a down track that waits for AddDownTrack. It wants the
// highest layer there is.
func NewDownTrack(p DownTrackParams) *DownTrack {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	d := &DownTrack{
		params: p,
		kind:   codec.ParseMIME(p.Codec.Mime),
		sel:    layer.NewSelector(),
		sn:     rtp.NewMunger(uint16(1 + rand.IntN(1<<14))), //nolint:gosec // not a secret
		rtxSN:  uint16(1 + rand.IntN(1<<14)),                //nolint:gosec // not a secret
		header: make([]byte, 0, 64),
	}
	d.padding[len(d.padding)-1] = byte(len(d.padding))
	if p.Codec.Feedback.Has(FeedbackNACK) {
		d.sent = newSentPackets(d.kind.IsVideo())
	}
	d.want.Store(int32(layer.None))
	return d
}

// TrackID returns the track's public id.
func (d *DownTrack) TrackID() string { return d.params.TrackID }

// Codec returns what was negotiated with the viewer.
func (d *DownTrack) Codec() Codec { return d.params.Codec }

// SSRC returns the SSRC of the stream.
func (d *DownTrack) SSRC() uint32 { return d.params.SSRC }

// RTXSSRC returns the SSRC of retransmissions, 0 when there are none.
func (d *DownTrack) RTXSSRC() uint32 { return d.params.RTXSSRC }

// Receiver returns the receiver the down track is attached to, nil when it is not.
func (d *DownTrack) Receiver() *Receiver { return d.receiver.Load() }

// SetMaxLayer limits what the viewer's application wants to see: layers from 0,
// negative spatial means nothing. Spatial layers are simulcast layers or, in a
// stream that has several inside (SVC), those.
func (d *DownTrack) SetMaxLayer(spatial, temporal int) {
	d.change(func() { d.sel.SetMax(toLayer(spatial, temporal)) })
}

// SetTarget limits what the viewer's network carries; the lower of it and the
// maximum holds.
func (d *DownTrack) SetTarget(spatial, temporal int) {
	d.change(func() { d.sel.SetTarget(toLayer(spatial, temporal)) })
}

// SetPaused stops forwarding to this viewer at the end of the frame, or begins it
// again (video with a key frame).
func (d *DownTrack) SetPaused(paused bool) {
	d.change(func() {
		d.paused = paused
		d.applyPause(time.Now())
	})
}

// CurrentLayer returns the layers the viewer is on; spatial is -1 when it gets
// nothing yet.
func (d *DownTrack) CurrentLayer() (spatial, temporal int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, _ := d.sel.Layers()
	return int(l.Spatial), int(l.Temporal)
}

// Prime sends a few packets without media, for clients that announce a track only
// when its first packet comes, also while it is muted. It does nothing once
// something has been sent.
func (d *DownTrack) Prime() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.begun {
		return
	}
	now := time.Now()
	d.begun, d.lastTS, d.lastAt = true, rand.Uint32(), now //nolint:gosec // not a secret
	d.sn.SetLastTS(d.lastTS)
	for range primePackets {
		d.writePadding(d.sn.Insert(), d.lastTS, now)
	}
}

// primePackets is how many packets Prime sends: some may be lost.
const primePackets = 5

// Close ends the down track; nothing is written after it returns. It is
// idempotent.
func (d *DownTrack) Close() {
	if r := d.receiver.Load(); r != nil {
		r.RemoveDownTrack(d)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.want.Store(int32(layer.None))
}

// change applies a change of what the viewer wants and asks for a key frame when
// that needs one.
func (d *DownTrack) change(f func()) {
	d.mu.Lock()
	f()
	d.publishWant()
	d.mu.Unlock()
	if r := d.receiver.Load(); r != nil {
		r.requestFor(d)
	}
}

// attach joins the down track to a receiver and returns the form of payload it
// takes. The receiver's list is locked.
func (d *DownTrack) attach(r *Receiver) form {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.receiver.Swap(r) != r && !d.restored {
		d.sel.Lose()
	}
	d.restored = false
	return formFor(r.kind, d.kind)
}

// detach is the opposite of attach; it does nothing when the down track has moved
// on to another receiver.
func (d *DownTrack) detach(r *Receiver) {
	if !d.receiver.CompareAndSwap(r, nil) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sel.SetAlive(0)
	d.want.Store(int32(layer.None))
}

// follow takes over what the receiver knows: which layers are being received and
// whether the publisher is muted. It reads under the lock, so that of two calls
// the later one cannot leave something older.
func (d *DownTrack) follow(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.receiver.Load()
	if r == nil {
		return
	}
	d.sel.SetAlive(uint8(r.alive.Load())) //nolint:gosec // MaxLayers bits
	d.muted = r.muted.Load()
	d.applyPause(now)
	d.publishWant()
}

// applyPause pauses the selection while the viewer or the publisher wants it. When
// audio stops, silence tells the decoder so: without it concealment stretches the
// last sound.
func (d *DownTrack) applyPause(now time.Time) {
	paused := d.paused || d.muted
	was := d.sel.Paused()
	d.sel.SetPaused(paused)
	if !was && d.sel.Paused() && d.begun && !d.closed && d.kind.IsAudio() {
		d.sel.Lose()
		d.writeSilence(now)
	}
}

func toLayer(spatial, temporal int) layer.Layer {
	return layer.Layer{
		Spatial:  int8(min(max(spatial, int(layer.None)), int(layer.MaxSpatial))), //nolint:gosec // bounded
		Temporal: int8(min(max(temporal, 0), int(layer.MaxTemporal))),             //nolint:gosec // bounded
	}
}
