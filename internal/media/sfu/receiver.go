package sfu

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// Liveness of simulcast layers.
const (
	// layerSilence is how long a layer may be silent, while another one is not,
	// before it counts as dead.
	layerSilence = 1500 * time.Millisecond
	// layerActive is how recent the other layer's packets must be.
	layerActive = 500 * time.Millisecond
	// reportInterval is the time between receiver reports.
	reportInterval = time.Second
)

// ReceiverParams describe a published track.
type ReceiverParams struct {
	// TrackID is the track's public id, for logs and stats.
	TrackID string
	Kind    Kind
	// Codec is what the publisher sends and the feedback it accepts.
	Codec Codec
	// Extensions are the publisher's header extension ids.
	Extensions rtp.ExtensionIDs
	// Layers is the number of simulcast layers, 1 to MaxLayers.
	Layers int
	// SendRTCP sends key-frame requests that cannot wait for the next Tick. It
	// must not block or call back. nil: everything waits for Tick.
	SendRTCP func([]rtcp.Packet)
	// SenderSSRC is what our RTCP names as its sender.
	SenderSSRC uint32
	// PLIThrottle is the least time between a key-frame request that was answered
	// and the next one, per layer; zero fields take 500 ms for the lowest layer and
	// 1 s for the others. Where a viewer has no picture yet, or no answer comes, it
	// is 500 ms at most.
	PLIThrottle [MaxLayers]time.Duration
	// Log is used off the packet path only.
	Log *slog.Logger
}

// Receiver is one published track in one codec, with all its simulcast layers.
// All methods may be called by any goroutine.
type Receiver struct {
	params ReceiverParams
	kind   codec.Kind
	layers [MaxLayers]*upLayer

	listMu sync.Mutex // serialises changes of list
	list   atomic.Pointer[downTrackList]

	alive  atomic.Uint32 // bit i: layer i is being received
	muted  atomic.Bool
	closed atomic.Bool
	rtt    atomic.Int64 // to the publisher, time.Duration
	level  audioLevel

	onLayers atomic.Pointer[func([]bool)]

	keyFrames keyFrameRequests

	tickMu     sync.Mutex // guards the fields below
	nextReport time.Time
	nackBuf    []uint16
}

// downTrackList is the copy-on-write list of a receiver's down tracks, split by
// the form of payload they take.
type downTrackList struct {
	byForm [forms][]*DownTrack
}

// NewReceiver returns a receiver without down tracks.
func NewReceiver(p ReceiverParams) *Receiver {
	p.Layers = min(max(p.Layers, 1), MaxLayers)
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	r := &Receiver{params: p, kind: codec.ParseMIME(p.Codec.Mime)}
	for i := range p.Layers {
		r.layers[i] = newUpLayer(int8(i), r.kind, &r.params)
	}
	r.keyFrames.init(p.PLIThrottle)
	r.list.Store(&downTrackList{})
	return r
}

// TrackID returns the track's public id.
func (r *Receiver) TrackID() string { return r.params.TrackID }

// Kind returns the kind of media.
func (r *Receiver) Kind() Kind { return r.params.Kind }

// Codec returns the publisher's codec.
func (r *Receiver) Codec() Codec { return r.params.Codec }

// AddDownTrack lets a down track receive this track from its next packet on. A
// down track that was another receiver's leaves that one first. It does nothing
// when the receiver is closed.
func (r *Receiver) AddDownTrack(d *DownTrack) {
	if old := d.receiver.Load(); old != nil && old != r {
		old.RemoveDownTrack(d)
	}
	r.listMu.Lock()
	list := r.list.Load().without(d)
	if r.closed.Load() {
		r.listMu.Unlock()
		return
	}
	form := d.attach(r)
	list.byForm[form] = append(list.byForm[form], d)
	r.list.Store(list)
	r.listMu.Unlock()
	d.follow(time.Now()) // after the list: a change in between is then seen
	r.requestFor(d)
}

// RemoveDownTrack ends what AddDownTrack began. A Push under way may still reach
// the down track once; Close it to be sure that nothing more is written.
func (r *Receiver) RemoveDownTrack(d *DownTrack) {
	r.listMu.Lock()
	defer r.listMu.Unlock()
	r.list.Store(r.list.Load().without(d))
	d.detach(r)
}

// without returns a copy of the list without d, which can be appended to.
func (l *downTrackList) without(d *DownTrack) *downTrackList {
	out := new(downTrackList)
	for form, tracks := range l.byForm {
		out.byForm[form] = slices.DeleteFunc(slices.Clone(tracks), func(t *DownTrack) bool { return t == d })
	}
	return out
}

// each calls f for every down track.
func (r *Receiver) each(f func(*DownTrack)) {
	for _, tracks := range r.list.Load().byForm {
		for _, d := range tracks {
			f(d)
		}
	}
}

// SetMuted tells that the publisher has muted the track or was muted: nothing is
// forwarded (but the rest of a video frame under way) and nothing is asked of it
// until it is unmuted; then video begins again with a key frame.
func (r *Receiver) SetMuted(muted bool) {
	if r.muted.Swap(muted) == muted {
		return
	}
	now := time.Now()
	r.each(func(d *DownTrack) { d.follow(now) })
	if !muted {
		r.each(r.requestFor)
	}
}

// Muted reports what SetMuted set last.
func (r *Receiver) Muted() bool { return r.muted.Load() }

// SetRTT sets the round-trip time to the publisher, which times the repetition
// of its retransmissions.
func (r *Receiver) SetRTT(rtt time.Duration) { r.rtt.Store(int64(rtt)) }

// OnLayersChanged sets the function that is told which simulcast layers are being
// received whenever that changes. It is called on a socket goroutine or by Tick,
// must not block and must not call back into the receiver.
func (r *Receiver) OnLayersChanged(f func(available []bool)) { r.onLayers.Store(&f) }

// OnAudioLevel sets the function that gets the level of every packet that states
// one (RFC 6464: 0 is the loudest, 127 silence). It is called on a socket
// goroutine and must not block.
func (r *Receiver) OnAudioLevel(f func(level uint8, voice bool, at time.Time)) {
	r.level.observer.Store(&f)
}

// AudioLevel returns the level of the last packet that stated one, when it
// arrived and whether it was marked as voice. The zero time means never.
func (r *Receiver) AudioLevel() (dBov uint8, at time.Time, voice bool) { return r.level.last() }

// SenderReport takes a report of the publisher for one of the layers.
func (r *Receiver) SenderReport(spatial int, sr *rtcp.SenderReport, at time.Time) {
	if l := r.layer(spatial); l != nil {
		l.senderReport(sr, at)
	}
}

// Tick returns the RTCP that is due for the publisher: requests for missing
// packets, key-frame requests (new, throttled and repeated ones) and, once a
// second, receiver reports. Call it every 10 to 50 ms.
func (r *Receiver) Tick(now time.Time) []rtcp.Packet {
	r.tickMu.Lock()
	defer r.tickMu.Unlock()
	if r.closed.Load() {
		return nil
	}
	r.checkAlive(now)
	var out []rtcp.Packet
	if !r.muted.Load() && r.params.Codec.Feedback.Has(FeedbackNACK) {
		out = r.appendNACKs(out, now)
	}
	if !now.Before(r.nextReport) {
		out = r.appendReport(out, now)
		r.nextReport = now.Add(reportInterval)
	}
	if r.params.Kind == Video {
		out = r.appendKeyFrameRequests(out, now)
	}
	return out
}

// Close ends the track: later packets are ignored and the down tracks are let
// go, not closed. It is idempotent.
func (r *Receiver) Close() {
	r.listMu.Lock()
	defer r.listMu.Unlock()
	if r.closed.Swap(true) {
		return
	}
	r.each(func(d *DownTrack) { d.detach(r) })
	r.list.Store(&downTrackList{})
}

// layer returns a layer, nil for one that does not exist.
func (r *Receiver) layer(spatial int) *upLayer {
	if spatial < 0 || spatial >= MaxLayers {
		return nil
	}
	return r.layers[spatial]
}

// checkAlive finds layers that have died: silent while another one is active.
// When all are silent the track as a whole has stopped, which says nothing about
// its layers.
func (r *Receiver) checkAlive(now time.Time) {
	mask := r.alive.Load()
	if mask&(mask-1) == 0 {
		return // at most one lives
	}
	active, silent := false, uint32(0)
	for i, l := range r.layers {
		if l == nil || mask&(1<<i) == 0 {
			continue
		}
		quiet := now.Sub(l.lastPacket())
		active = active || quiet < layerActive
		if quiet > layerSilence {
			silent |= 1 << i
		}
	}
	if active && silent != 0 {
		for {
			mask = r.alive.Load()
			if r.alive.CompareAndSwap(mask, mask&^silent) {
				break
			}
		}
		r.layersChanged()
	}
}

// setAlive notes a packet of a layer and reports whether the layer was dead.
func (r *Receiver) setAlive(spatial int8) bool {
	bit := uint32(1) << spatial
	if r.alive.Load()&bit != 0 {
		return false
	}
	return r.alive.Or(bit)&bit == 0
}

func (r *Receiver) layersChanged() {
	now := time.Now()
	r.each(func(d *DownTrack) { d.follow(now) })
	f := r.onLayers.Load()
	if f == nil || *f == nil {
		return
	}
	mask, available := r.alive.Load(), make([]bool, r.params.Layers)
	for i := range available {
		available[i] = mask&(1<<i) != 0
	}
	(*f)(available)
}
