package sfu

import (
	"time"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/layer"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// restoredEpoch is the epoch of a layer that goes on from a state.
const restoredEpoch = 1

// DownTrackState is everything another node needs to go on with a viewer's stream
// at the next packet, without a key frame and without the viewer noticing.
type DownTrackState struct {
	SSRC, RTXSSRC uint32
	Numbering     rtp.MungerState
	Pictures      codec.VP8State
	Begun         bool
	Source        uint32
	SourceTS      uint32
	LastTS        uint32
	LastAt        time.Time
	JoinSN        int64
	FrameOffset   uint16
	LastFrame     uint16
	RTXSN         uint16
	Current       layer.Layer
	// Inside are the layers inside the stream (SVC).
	Inside      layer.ScalableState
	Max, Target layer.Layer
	Paused      bool
	Packets     uint64
	Octets      uint64
}

// State returns the down track as a value. Close it first: what is sent after
// State would be sent twice.
func (d *DownTrack) State() DownTrackState {
	d.mu.Lock()
	defer d.mu.Unlock()
	maxLayer, target := d.sel.Limits()
	return DownTrackState{
		SSRC: d.params.SSRC, RTXSSRC: d.params.RTXSSRC,
		Numbering: d.sn.State(), Pictures: d.vp8.State(), Begun: d.begun,
		Source: d.source, SourceTS: d.sourceTS, LastTS: d.lastTS, LastAt: d.lastAt, JoinSN: d.joinSN,
		FrameOffset: d.descriptors.offset, LastFrame: d.descriptors.last, RTXSN: d.rtxSN,
		Current: d.sel.Current(), Inside: d.sel.Scalable(), Max: maxLayer, Target: target, Paused: d.paused,
		Packets: d.stats.packets, Octets: d.stats.octets,
	}
}

// Restore makes a fresh down track go on where the one that gave the state
// stopped. Call it before AddDownTrack; the receiver must have been restored too,
// or the viewer begins again with a key frame. SSRCs are those of the parameters.
func (d *DownTrack) Restore(s DownTrackState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sn.Restore(s.Numbering)
	d.vp8.Restore(s.Pictures)
	d.begun, d.source, d.sourceTS = s.Begun, s.Source, s.SourceTS
	d.epoch = restoredEpoch
	d.lastTS, d.lastAt, d.joinSN = s.LastTS, s.LastAt, s.JoinSN
	d.descriptors.offset, d.descriptors.last, d.rtxSN = s.FrameOffset, s.LastFrame, s.RTXSN
	d.sel.SetMax(s.Max)
	d.sel.SetTarget(s.Target)
	d.sel.SetCurrent(s.Current, s.Inside)
	d.paused = s.Paused
	d.stats.packets, d.stats.octets = s.Packets, s.Octets
	if s.Begun {
		d.used.Restart(s.Numbering.LastSN)
	}
	d.restored = true
}

// ReceiverState is everything another node needs to go on with a published track.
type ReceiverState struct {
	Muted  bool
	Layers []UpLayerState
}

// UpLayerState is one simulcast layer of a ReceiverState.
type UpLayerState struct {
	// Started is false for a layer of which nothing has been received; nothing
	// else is set then.
	Started bool
	SSRC    uint32
	// Highest is the newest extended sequence number.
	Highest int64
	// Clock is the publisher's clock, as its last sender report gave it.
	Clock rtp.ClockMap
	// Descriptors are what is known of the stream's dependency descriptors.
	Descriptors codec.DescriptorState
}

// State returns the receiver as a value.
func (r *Receiver) State() ReceiverState {
	s := ReceiverState{Muted: r.muted.Load()}
	for _, l := range r.layers {
		if l == nil {
			continue
		}
		l.push.Lock()
		descriptors := l.inspector.Descriptors()
		l.push.Unlock()
		l.mu.Lock()
		ls := UpLayerState{Started: l.started, SSRC: l.ssrc, Descriptors: descriptors}
		ls.Highest, _ = l.seq.Highest()
		if c := l.clock.Load(); c != nil {
			ls.Clock = *c
		}
		l.mu.Unlock()
		s.Layers = append(s.Layers, ls)
	}
	return s
}

// Restore makes a fresh receiver go on where the one that gave the state stopped,
// so that the numbering of carried-over down tracks stays right. Call it before
// the first Push.
func (r *Receiver) Restore(s ReceiverState) {
	r.muted.Store(s.Muted)
	for i, ls := range s.Layers {
		l := r.layer(i)
		if l == nil || !ls.Started {
			continue
		}
		l.mu.Lock()
		l.ssrc, l.started, l.epoch = ls.SSRC, true, restoredEpoch
		l.seq.Restart(ls.Highest)
		l.window.Restart(ls.Highest)
		if ls.Clock.Known() {
			l.clock.Store(&ls.Clock)
		}
		l.mu.Unlock()
		l.push.Lock()
		if err := l.inspector.RestoreDescriptors(ls.Descriptors); err != nil { // viewers wait for a key frame
			r.params.Log.Warn("descriptors of a carried-over track", "track", r.params.TrackID, "err", err)
		}
		l.push.Unlock()
		r.setAlive(int8(i)) //nolint:gosec // below MaxLayers
	}
}
