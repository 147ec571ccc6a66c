package sfu

import (
	"time"

	"github.com/pion/rtcp"

	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// LayerStats describe one simulcast layer of a published track.
type LayerStats struct {
	// SSRC is the layer's, 0 before its first packet.
	SSRC uint32
	// Alive is set while packets come.
	Alive bool
	// Bitrate is in bits per second, headers included; FPS in frames per second;
	// both over the last second.
	Bitrate, FPS float64
	// Packets and Octets (payload) count what was received, restored ones
	// included.
	Packets, Octets uint64
	// Lost counts packets the network lost, before retransmission; FractionLost
	// is over the last report interval, 0 to 1.
	Lost         uint32
	FractionLost float64
	Jitter       time.Duration
	// Restored counts packets that came by retransmission, Abandoned those given
	// up, Duplicates, Padding (without media) and Refused (implausible sequence
	// numbers) speak for themselves.
	Restored, Abandoned, Duplicates, Padding, Refused uint64
	// NACKs counts packets asked for, PLIs key frames asked for, KeyFrames those
	// that came, Restarts breaks of continuity, Opaque unreadable packets.
	NACKs, PLIs, KeyFrames, Restarts, Opaque uint64
	// Width and Height are in pixels, 0 when the payload does not tell.
	Width, Height uint16
	// TemporalLayers is the number seen so far.
	TemporalLayers int
	// Spatial are the spatial layers inside the stream, from the lowest: one unless
	// it is an SVC stream, none before the first picture.
	Spatial []SpatialStats
}

// ReceiverStats describe a published track.
type ReceiverStats struct {
	TrackID    string
	Muted      bool
	DownTracks int
	// Layers are ordered from the lowest.
	Layers []LayerStats
}

// Stats returns a snapshot.
func (r *Receiver) Stats() ReceiverStats {
	now := time.Now()
	s := ReceiverStats{TrackID: r.params.TrackID, Muted: r.muted.Load()}
	r.each(func(*DownTrack) { s.DownTracks++ })
	alive := r.alive.Load()
	for i, l := range r.layers {
		if l != nil {
			ls := l.snapshot(now)
			ls.Alive = alive&(1<<i) != 0
			s.Layers = append(s.Layers, ls)
		}
	}
	return s
}

func (l *upLayer) snapshot(now time.Time) LayerStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.stats
	return LayerStats{
		Spatial: l.rates.snapshot(now),
		SSRC:    l.ssrc,
		Bitrate: 8 * c.bytes.PerSecond(now), FPS: c.frames.PerSecond(now),
		Packets: c.packets, Octets: c.octets,
		Lost: l.reception.Lost(), FractionLost: float64(l.reception.FractionLost()) / 256,
		Jitter:   l.reception.Jitter(),
		Restored: c.restored, Abandoned: l.nack.Abandoned(), Duplicates: c.duplicates, Padding: c.padding, Refused: c.bad,
		NACKs: c.nacks, PLIs: c.pliSent, KeyFrames: c.keyFrames, Restarts: c.jumps, Opaque: c.opaque,
		Width: c.width, Height: c.height, TemporalLayers: int(c.temporal) + 1,
	}
}

// DownTrackStats describe one viewer's copy of a track.
type DownTrackStats struct {
	TrackID, Subscriber string
	SSRC                uint32
	// Spatial and Temporal are the layers the viewer is on, Wanted the spatial
	// layer it should be on; -1 is none.
	Spatial, Temporal, Wanted int
	Paused                    bool
	// Bitrate is in bits per second over the last second, headers and
	// retransmissions included.
	Bitrate float64
	// Packets and Octets (payload) count media sent; Resent what was sent again.
	Packets, Octets, Resent uint64
	// Errors counts packets the connection did not take, LeftOut packets not
	// meant for this viewer, Misses retransmissions that were no longer stored,
	// Refused packets whose number had been used.
	Errors, LeftOut, Misses, Refused uint64
	// NACKs, PLIs count requests of the viewer; Switches layers joined.
	NACKs, PLIs, Switches uint64
	// Lost, FractionLost (0 to 1), Jitter and RTT are what the viewer reports.
	Lost         uint32
	FractionLost float64
	Jitter, RTT  time.Duration
	// REMB is the viewer's own bandwidth estimate in bits per second, 0 when it
	// sends none.
	REMB uint64
}

// Stats returns a snapshot.
func (d *DownTrack) Stats() DownTrackStats {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.stats
	l, wanted := d.sel.Layers()
	return DownTrackStats{
		TrackID: d.params.TrackID, Subscriber: d.params.Subscriber, SSRC: d.params.SSRC,
		Spatial: int(l.Spatial), Temporal: int(l.Temporal), Wanted: int(wanted.Spatial), Paused: d.sel.Paused(),
		Bitrate: 8 * c.bytes.PerSecond(now), Packets: c.packets, Octets: c.octets, Resent: c.resent,
		Errors: c.errors, LeftOut: c.left, Misses: c.misses, Refused: c.refused,
		NACKs: c.nacks, PLIs: c.plis, Switches: d.joined,
		Lost: c.lost, FractionLost: float64(c.fraction) / 256, Jitter: c.jitter, RTT: c.rtt, REMB: c.remb,
	}
}

// downTrackCounters are guarded by DownTrack.mu.
type downTrackCounters struct {
	bytes                         rtp.RateMeter
	packets, octets, resent       uint64
	errors, left, misses, refused uint64
	nacks, plis                   uint64
	remb                          uint64
	lost                          uint32
	fraction                      uint8
	jitter, rtt                   time.Duration
	reports                       [8]sentReport
	nextReport                    int
}

// sentReport remembers when a sender report went out: its NTP time is the
// publisher's, so the round trip cannot be computed from that alone.
type sentReport struct {
	lsr uint32
	at  time.Time
}

func (c *downTrackCounters) count(size, octets int, at time.Time, err error) {
	if err != nil {
		c.errors++
		return
	}
	c.packets++
	c.octets += uint64(octets) //nolint:gosec // a length
	c.bytes.Add(size, at)
}

func (c *downTrackCounters) countResent(size int, at time.Time, err error) {
	if err != nil {
		c.errors++
		return
	}
	c.resent++
	c.bytes.Add(size, at)
}

func (c *downTrackCounters) sentReport(ntp uint64, at time.Time) {
	c.reports[c.nextReport] = sentReport{lsr: rtp.NTPMiddle(ntp), at: at}
	c.nextReport = (c.nextReport + 1) % len(c.reports)
}

// report takes a viewer's reception report (RFC 3550 section 6.4.1).
func (c *downTrackCounters) report(b *rtcp.ReceptionReport, at time.Time, clockRate uint32) {
	c.lost, c.fraction = b.TotalLost, b.FractionLost
	if clockRate > 0 {
		c.jitter = time.Duration(b.Jitter) * time.Second / time.Duration(clockRate)
	}
	if b.LastSenderReport == 0 {
		return
	}
	for i := range c.reports {
		if r := &c.reports[i]; r.lsr == b.LastSenderReport && !r.at.IsZero() {
			delay := time.Duration(b.Delay) * time.Second / 65536
			if rtt := at.Sub(r.at) - delay; rtt >= 0 {
				c.rtt = rtt
			}
			return
		}
	}
}
