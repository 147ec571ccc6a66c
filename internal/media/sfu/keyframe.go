package sfu

import (
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/layer"
)

// urgentInterval is the least time between two requests while a viewer has no
// picture at all, and before a request without an answer is repeated. A burst of
// viewers costs one key frame in that time; who has a picture waits longer, for
// the layer's throttle, because a key frame costs everybody who watches.
const urgentInterval = 500 * time.Millisecond

// keyFrameRequests collects the key frames wanted from a publisher, one entry per
// layer for all viewers, and spaces them.
type keyFrameRequests struct {
	throttle [MaxLayers]time.Duration

	mu     sync.Mutex
	layers [MaxLayers]keyFrameRequest
	fir    uint8
}

// keyFrameRequest is what is wanted and asked of one layer.
type keyFrameRequest struct {
	wanted   bool
	urgent   bool // a viewer without a picture wants it
	asked    time.Time
	answered bool // a key frame has come since
}

func (k *keyFrameRequests) init(throttle [MaxLayers]time.Duration) {
	defaults := [MaxLayers]time.Duration{500 * time.Millisecond, time.Second, time.Second}
	for i := range throttle {
		if throttle[i] <= 0 {
			throttle[i] = defaults[i]
		}
	}
	k.throttle = throttle
}

func (k *keyFrameRequests) want(spatial int8, urgent bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	q := &k.layers[spatial]
	q.wanted, q.urgent = true, q.urgent || urgent
}

// arrived notes a key frame of a layer: who asked has been served.
func (k *keyFrameRequests) arrived(spatial int8) {
	k.mu.Lock()
	defer k.mu.Unlock()
	q := &k.layers[spatial]
	q.wanted, q.urgent, q.answered = false, false, true
}

// take reports whether a request for the layer is to be sent now, and counts it.
func (k *keyFrameRequests) take(spatial int8, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	q, wait := &k.layers[spatial], k.throttle[spatial]
	if q.urgent || !q.answered {
		wait = min(wait, urgentInterval)
	}
	if !q.wanted || now.Sub(q.asked) < wait {
		return false
	}
	*q = keyFrameRequest{asked: now}
	return true
}

func (k *keyFrameRequests) nextFIR() uint8 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fir++
	return k.fir
}

// RequestKeyFrame asks the publisher for a key frame of a layer: at once when the
// layer's throttle allows it, else as soon as it does. Requests of many viewers
// become one.
func (r *Receiver) RequestKeyFrame(spatial int) {
	l := r.layer(spatial)
	if l == nil || r.params.Kind != Video || r.closed.Load() {
		return
	}
	r.requestKeyFrame(l, false)
}

func (r *Receiver) requestKeyFrame(l *upLayer, urgent bool) {
	r.keyFrames.want(l.index, urgent)
	if r.params.SendRTCP == nil || r.muted.Load() {
		return
	}
	if pkts := r.appendKeyFrameRequest(nil, l, time.Now()); len(pkts) > 0 {
		r.params.SendRTCP(pkts)
	}
}

// requestFor asks for the key frame a down track waits for, if any.
func (r *Receiver) requestFor(d *DownTrack) {
	spatial, urgent := d.wants()
	if l := r.layer(spatial); l != nil && r.params.Kind == Video && !r.closed.Load() {
		r.requestKeyFrame(l, urgent)
	}
}

// wantUrgent is added to DownTrack.want when the viewer has no picture at all.
const wantUrgent = 1 << 8

// publishWant lets the receiver see which key frame is needed. The caller holds
// d.mu.
func (d *DownTrack) publishWant() {
	want := int32(layer.None)
	if !d.closed && d.kind.IsVideo() {
		want = int32(d.sel.NeedKeyFrame())
		if want >= 0 && d.sel.Current().Spatial == layer.None {
			want += wantUrgent
		}
	}
	d.want.Store(want)
}

// wants returns the simulcast layer of which the viewer needs a key frame, -1 for
// none, and whether it has no picture at all.
func (d *DownTrack) wants() (spatial int, urgent bool) {
	want := d.want.Load()
	if want < 0 {
		return -1, false
	}
	return int(want % wantUrgent), want >= wantUrgent
}

// appendKeyFrameRequests appends what is due for all layers. Viewers that still
// wait renew their request each time, so it is repeated until a layer locks.
func (r *Receiver) appendKeyFrameRequests(out []rtcp.Packet, now time.Time) []rtcp.Packet {
	if r.muted.Load() {
		return out
	}
	r.each(func(d *DownTrack) {
		spatial, urgent := d.wants()
		if l := r.layer(spatial); l != nil {
			r.keyFrames.want(l.index, urgent)
		}
	})
	for _, l := range r.layers {
		if l != nil {
			out = r.appendKeyFrameRequest(out, l, now)
		}
	}
	return out
}

func (r *Receiver) appendKeyFrameRequest(out []rtcp.Packet, l *upLayer, now time.Time) []rtcp.Packet {
	ssrc, ok := l.mediaSSRC()
	if !ok || !r.keyFrames.take(l.index, now) {
		return out
	}
	l.mu.Lock()
	l.stats.pliSent++
	l.mu.Unlock()
	if fb := r.params.Codec.Feedback; fb.Has(FeedbackFIR) && !fb.Has(FeedbackPLI) {
		return append(out, &rtcp.FullIntraRequest{
			SenderSSRC: r.params.SenderSSRC,
			FIR:        []rtcp.FIREntry{{SSRC: ssrc, SequenceNumber: r.keyFrames.nextFIR()}},
		})
	}
	return append(out, &rtcp.PictureLossIndication{SenderSSRC: r.params.SenderSSRC, MediaSSRC: ssrc})
}
