package client

import (
	"bytes"
	"sync"
	"time"

	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"
)

// maxLate is how many packets a video frame may wait for a missing one.
const maxLate = 64

// Received is what came of one source of a participant, over all its subscriptions.
type Received struct {
	Packets int           // RTP packets with a payload
	Frames  int           // whole frames that are those of a recording, byte for byte
	Strange int           // whole frames that are not, Opus silence apart
	Lost    int           // sequence numbers that never came
	Last    time.Time     // when the last whole frame came
	Gap     time.Duration // the longest time between two whole frames
	Layer   Layer         // the recording that the last frame is of
}

type receiver struct {
	library *Library
	mu      sync.Mutex
	stats   Received
}

func (r *receiver) snapshot() Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// resetGap forgets the longest gap, to measure another stretch.
func (r *receiver) resetGap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Gap = 0
}

// read counts a subscription's packets and frames until the track ends.
func (r *receiver) read(track *webrtc.TrackRemote) {
	var sequence gaps
	var builder *samplebuilder.SampleBuilder
	if track.Kind() == webrtc.RTPCodecTypeVideo {
		builder = samplebuilder.New(maxLate, &codecs.VP8Packet{}, track.Codec().ClockRate)
	}
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.stats.Lost += sequence.see(packet.SequenceNumber)
		if len(packet.Payload) > 0 {
			r.stats.Packets++
		}
		r.mu.Unlock()
		if builder == nil {
			if len(packet.Payload) > 0 {
				r.frame(packet.Payload)
			}
			continue
		}
		builder.Push(packet)
		for sample := builder.Pop(); sample != nil; sample = builder.Pop() {
			if len(sample.Data) > 0 {
				r.frame(sample.Data)
			}
		}
	}
}

// silence begins an Opus frame that a server may put in where a track starts or is muted.
var silence = []byte{0xf8, 0xff, 0xfe}

func (r *receiver) frame(data []byte) {
	if bytes.HasPrefix(data, silence) {
		return
	}
	layer, ok := r.library.Recognise(data)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok {
		r.stats.Strange++
		return
	}
	if !r.stats.Last.IsZero() {
		r.stats.Gap = max(r.stats.Gap, now.Sub(r.stats.Last))
	}
	r.stats.Frames++
	r.stats.Last = now
	r.stats.Layer = layer
}

// gaps counts missing sequence numbers; one that comes late is no longer missing.
type gaps struct {
	started bool
	highest uint16
}

func (g *gaps) see(number uint16) int {
	if !g.started {
		g.started, g.highest = true, number
		return 0
	}
	ahead := int16(number - g.highest)
	if ahead <= 0 {
		return -1
	}
	g.highest = number
	return int(ahead) - 1
}
