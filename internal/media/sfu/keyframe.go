package sfu

import (
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/layer"
)

// keyFrameRequests collects the key frames wanted from a publisher, one entry per
// layer for all viewers, and spaces them.
type keyFrameRequests struct {
	throttle [MaxLayers]time.Duration

	mu      sync.Mutex
	pending [MaxLayers]bool
	sent    [MaxLayers]time.Time
	fir     uint8
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

func (k *keyFrameRequests) want(spatial int8) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pending[spatial] = true
}

// arrived notes a key frame of a layer: who asked has been served.
func (k *keyFrameRequests) arrived(spatial int8) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pending[spatial] = false
}

// take reports whether a request for the layer is to be sent now, and counts it.
func (k *keyFrameRequests) take(spatial int8, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.pending[spatial] || now.Sub(k.sent[spatial]) < k.throttle[spatial] {
		return false
	}
	k.pending[spatial], k.sent[spatial] = false, now
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
	r.keyFrames.want(l.index)
	if r.params.SendRTCP == nil || r.muted.Load() {
		return
	}
	if pkts := r.appendKeyFrameRequest(nil, l, time.Now()); len(pkts) > 0 {
		r.params.SendRTCP(pkts)
	}
}

// requestFor asks for the key frame a down track waits for, if any.
func (r *Receiver) requestFor(d *DownTrack) {
	if want := int8(d.want.Load()); want != layer.None { //nolint:gosec // a layer
		r.RequestKeyFrame(int(want))
	}
}

// appendKeyFrameRequests appends what is due for all layers. Viewers that still
// wait renew their request each time, so it is repeated until a layer locks.
func (r *Receiver) appendKeyFrameRequests(out []rtcp.Packet, now time.Time) []rtcp.Packet {
	if r.muted.Load() {
		return out
	}
	r.each(func(d *DownTrack) {
		if want := int8(d.want.Load()); want >= 0 && want < MaxLayers { //nolint:gosec // a layer
			r.keyFrames.want(want)
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
