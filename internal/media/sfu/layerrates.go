package sfu

import (
	"time"

	"github.com/concertina-rtc/concertina/internal/media/codec"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// MaxTemporal is the number of temporal layers that bitrates are measured of; the
// last one counts all above it too.
const MaxTemporal = 4

// SpatialStats describe one spatial layer inside a stream.
type SpatialStats struct {
	// Bitrate is in bits per second over the last second, headers included, of this
	// layer's own frames: what a viewer takes who gets lower layers too is told by
	// [Receiver.Bitrates]. FPS are frames per second.
	Bitrate, FPS float64
	// Width and Height are in pixels, 0 when the stream does not tell.
	Width, Height uint16
}

// Bitrates are what it takes to receive a layer up to a temporal layer, everything
// it needs of lower ones included, in bits per second; 0 when it is not being
// received.
type Bitrates [MaxLayers][MaxTemporal]int64

// Bitrates returns what each layer takes now, as measured over the last second.
// The first index is the simulcast layer or, in a stream with several spatial
// layers inside, the spatial layer: what SetMaxLayer and SetTarget mean by it.
func (r *Receiver) Bitrates(now time.Time) (b Bitrates) {
	alive := r.alive.Load()
	for i, l := range r.layers {
		if l == nil || l.rates == nil || alive&(1<<i) == 0 {
			continue
		}
		l.mu.Lock()
		if l.rates.spatials > 1 {
			l.rates.nested(&b, now)
		} else {
			b[i] = l.rates.upTo(0, now)
		}
		l.mu.Unlock()
	}
	return b
}

// layerRates measures the layers inside one stream. upLayer.mu guards it.
type layerRates struct {
	own       [MaxLayers][MaxTemporal]rtp.RateMeter // each layer's own frames
	frames    [MaxLayers]rtp.RateMeter
	sizes     [MaxLayers]codec.Resolution
	structure *codec.Structure
	spatials  int
}

// count takes a packet with a payload.
func (m *layerRates) count(in *inbound, f *codec.Frame) {
	spatial, temporal := min(int(f.Spatial), MaxLayers-1), min(int(f.Temporal), MaxTemporal-1)
	m.own[spatial][temporal].Add(in.size, in.at)
	if f.StartOfFrame && in.newest {
		m.frames[spatial].Add(1, in.at)
	}
	m.spatials = max(m.spatials, spatial+1)
	if f.HasDescriptor && f.Descriptor.Structure != m.structure {
		m.structure = f.Descriptor.Structure
		top, _ := m.structure.MaxLayers()
		m.spatials = min(int(top)+1, MaxLayers)
	} else if f.VP9.HasStructure {
		m.spatials = min(int(f.VP9.SpatialLayers), MaxLayers)
	}
}

// noteSizes takes the picture sizes a packet states and returns that of the
// highest spatial layer, 0 when it states none.
func (m *layerRates) noteSizes(f *codec.Frame) (width, height uint16) {
	switch {
	case f.HasDescriptor && f.Descriptor.Attached && f.Descriptor.Structure.HasResolutions:
		copy(m.sizes[:], f.Descriptor.Structure.Resolutions[:])
	case f.VP9.HasSizes:
		for i := range m.sizes {
			m.sizes[i] = codec.Resolution{Width: f.VP9.Widths[i], Height: f.VP9.Heights[i]}
		}
	case f.Width > 0:
		m.sizes[min(int(f.Spatial), MaxLayers-1)] = codec.Resolution{Width: f.Width, Height: f.Height}
	default:
		return 0, 0
	}
	top := m.sizes[max(m.spatials, 1)-1]
	return top.Width, top.Height
}

// upTo returns the bitrates of a spatial layer's own frames up to each temporal
// layer.
func (m *layerRates) upTo(spatial int, now time.Time) (b [MaxTemporal]int64) {
	var sum float64
	for t := range b {
		sum += m.own[spatial][t].PerSecond(now)
		b[t] = int64(8 * sum)
	}
	return b
}

// nested adds up what the spatial layers take with those they refer to.
func (m *layerRates) nested(b *Bitrates, now time.Time) {
	for s := range m.spatials {
		b[s] = m.upTo(s, now)
		if b[s][MaxTemporal-1] == 0 {
			continue
		}
		for lower := range s {
			if !m.includes(s, lower) {
				continue
			}
			for t, rate := range m.upTo(lower, now) {
				b[s][t] += rate
			}
		}
	}
}

// includes reports whether who receives a spatial layer gets all of a lower one
// too. Where it is only needed at key frames it does not count.
func (m *layerRates) includes(spatial, lower int) bool {
	if m.structure == nil {
		return true // as it is forwarded
	}
	s := m.structure
	a, b := -1, -1
	for i := range s.Targets[:s.NumTargets] {
		t := &s.Targets[i]
		if t.Temporal != 0 {
			continue
		}
		switch int(t.Spatial) {
		case spatial:
			a = i
		case lower:
			b = i
		}
	}
	return a >= 0 && b >= 0 && s.Within[a]&(1<<b) != 0
}

func (m *layerRates) snapshot(now time.Time) []SpatialStats {
	if m == nil || m.spatials == 0 {
		return nil
	}
	out := make([]SpatialStats, m.spatials)
	for s := range out {
		b := m.upTo(s, now)
		out[s] = SpatialStats{
			Bitrate: float64(b[MaxTemporal-1]), FPS: m.frames[s].PerSecond(now),
			Width: m.sizes[s].Width, Height: m.sizes[s].Height,
		}
	}
	return out
}
