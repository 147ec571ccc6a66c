package bwe_test

import (
	"fmt"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/allocator"
	"github.com/concertina-rtc/concertina/internal/media/bwe"
	"github.com/concertina-rtc/concertina/internal/media/layer"
	"github.com/concertina-rtc/concertina/internal/media/rtp"
)

// The camera that is sent: three simulcast layers with three temporal layers each,
// as browsers encode VP8.
const (
	frameInterval = time.Second / 30
	packetSize    = 1200
	audioSize     = 110 // 44 kbps with headers
	keyFrameDelay = 120 * time.Millisecond
	feedbackEvery = 50 * time.Millisecond
	allocateEvery = 100 * time.Millisecond
)

var (
	layerRates     = [3]float64{150_000, 500_000, 1_700_000}
	temporalShares = [3]float64{0.5, 0.7, 1} // of the bitrate, cumulative
	temporalOf     = [4]int8{0, 2, 1, 2}
)

// frame is one picture on its way to a viewer.
type frame struct {
	left int // packets that have not arrived
	at   time.Duration
	key  bool
}

// viewer is one connection: camera, audio, estimator, allocator and receiver. A
// greedy one sends as much as the estimate allows instead of a camera.
type viewer struct {
	name   string
	world  *world
	link   *link         // towards the viewer
	back   time.Duration // delay of reports
	lossFB float64       // of reports

	estimator *bwe.Estimator
	decision  bwe.Decision
	recorder  *rtp.TWCCRecorder
	seq       uint16
	greedy    bool
	silent    bool
	remb      bool
	pays      float64 // bytes that a greedy sender may send

	selector  layer.Selector
	keyWanted [3]bool
	keyAt     time.Duration
	demand    allocator.Demand
	frames    int
	lastShown time.Duration
	freeze    time.Duration // longest since asked

	arrivedBytes int
	sentBytes    int
	probing      bool
	why          string
	log          func(format string, args ...any)
}

func newViewer(w *world, name string, l *link, greedy bool, start int64) *viewer {
	v := &viewer{
		name: name, world: w, link: l, back: 25 * time.Millisecond, greedy: greedy,
		estimator: bwe.New(bwe.Config{Start: start, Max: 20_000_000}),
		recorder:  rtp.NewTWCCRecorder(), selector: layer.NewSelector(), seq: 65_000,
		log: func(string, ...any) {},
	}
	v.selector.SetAlive(7)
	v.demand = allocator.Demand{TrackID: "cam", Kind: allocator.Video, MayPause: true, Max: allocator.Layer{Spatial: 2, Temporal: 2}}
	for s, rate := range layerRates {
		for t, share := range temporalShares {
			v.demand.Bitrates[s][t] = int64(rate * share)
		}
	}
	w.every(feedbackEvery, v.report)
	w.every(5*time.Millisecond, v.pace)
	w.every(allocateEvery, v.allocate)
	if !greedy {
		w.every(frameInterval, v.picture)
		w.every(20*time.Millisecond, func() { v.audio() })
	}
	return v
}

// send hands one packet to the network; done is called when it has arrived, by
// retransmission if need be.
func (v *viewer) send(size int, rtx, probe bool, done func()) { v.try(size, rtx, probe, done, 0) }

func (v *viewer) try(size int, rtx, probe bool, done func(), tries int) {
	v.seq++
	seq := v.seq
	v.estimator.Sent(bwe.Packet{Seq: seq, Size: size, At: v.world.clock(), RTX: rtx, Probe: probe})
	v.sentBytes += size
	v.link.send(size, func() {
		v.arrivedBytes += size
		v.recorder.Record(seq, v.world.clock().Add(90*time.Minute)) // another clock
		if done != nil {
			done()
		}
	}, func() {
		if done != nil && tries < 5 { // NACK and retransmission
			v.world.after(v.link.wait()+v.link.delay+v.back+20*time.Millisecond, func() { v.try(size, true, false, done, tries+1) })
		}
	})
}

// report is the receiver's feedback.
func (v *viewer) report() {
	for _, p := range v.recorder.Feedback(1) {
		raw, err := p.Marshal()
		if err != nil {
			panic(err)
		}
		if v.lossFB > 0 && v.world.rng.Float64() < v.lossFB {
			continue
		}
		v.world.after(v.back, func() {
			if v.remb {
				return
			}
			if err := v.estimator.FeedbackBytes(raw, v.world.clock()); err != nil {
				panic(err)
			}
			v.tick()
		})
	}
}

func (v *viewer) tick() {
	was := v.decision.State
	v.decision = v.estimator.Tick(v.world.clock())
	if v.decision.State == bwe.Congested && was != bwe.Congested {
		v.allocate() // at once: each 100 ms are as much again in the queue
	}
	if why := v.decision.Why; why.Reason != bwe.RoomLeft {
		if s := why.String(); s != v.why {
			v.why = s
			v.log("%s", s)
		}
	}
}

// pace runs probes and the greedy sender.
func (v *viewer) pace() {
	v.tick()
	if v.decision.Probe.ID > 0 {
		for n := v.estimator.ProbeDeficit(v.world.clock()); n > 0; n -= 255 + 20 {
			v.send(255+20, true, true, nil)
		}
	}
	if !v.greedy || v.silent {
		return
	}
	v.pays += float64(v.decision.Bitrate) / 8 * 0.005
	for v.pays >= packetSize {
		v.pays -= packetSize
		v.send(packetSize, false, false, nil)
	}
}

// allocate turns the estimate into a target.
func (v *viewer) allocate() {
	if v.greedy {
		v.estimator.SetDemand(bwe.Demand{Next: 2 * v.decision.Bitrate, All: 20_000_000, CanProbe: true})
		return
	}
	current := v.selector.Current()
	v.demand.Current = allocator.Layer{Spatial: current.Spatial, Temporal: current.Temporal}
	v.demand.Muted = v.silent
	audio := allocator.Demand{TrackID: "mic", Kind: allocator.Audio, Since: time.Unix(1, 0), Muted: v.silent}
	audio.Bitrates[0][0] = audioSize * 8 * 50
	targets, x := allocator.Allocate(allocator.Input{
		Now: v.world.clock(), Bitrate: v.decision.Media(), Congested: v.decision.State == bwe.Congested,
		Demands: []allocator.Demand{v.demand, audio},
	})
	target := targets[0]
	if target.Changed {
		v.log("%v → %v: %v", v.demand.Target, target.Layer, target.Why)
		v.demand.Target, v.demand.Since = target.Layer, v.world.clock()
	}
	v.selector.SetTarget(layer.Layer{Spatial: target.Limit.Spatial, Temporal: target.Limit.Temporal})
	if target.Drop {
		v.selector.Lose()
	}
	v.estimator.SetDemand(bwe.Demand{Next: x.Next, All: x.All, CanProbe: !v.silent})
	if want := v.selector.NeedKeyFrame(); want >= 0 && !v.keyWanted[want] {
		v.keyWanted[want] = true
		v.keyAt = v.world.now + keyFrameDelay
	}
}

func (v *viewer) audio() {
	if !v.silent {
		v.send(audioSize, false, false, nil)
	}
}

// picture encodes one picture in all layers; the selector picks what goes out.
func (v *viewer) picture() {
	if v.silent {
		return
	}
	v.frames++
	temporal := temporalOf[v.frames%4]
	for s := range layerRates {
		key := v.keyWanted[s] && v.world.now >= v.keyAt
		share := temporalShares[temporal]
		if temporal > 0 {
			share -= temporalShares[temporal-1]
		}
		perSecond := [3]float64{7.5, 7.5, 15}[temporal]
		size := layerRates[s] * share / perSecond / 8 * (0.8 + 0.4*v.world.rng.Float64())
		if key {
			v.keyWanted[s] = false
			size = layerRates[s] / 30 / 8 * 6
			temporal = 0
		}
		f := layer.Frame{Spatial: int8(s), Temporal: temporal, KeyFrame: key, Start: true, Sync: true}
		if v.selector.Select(f) != layer.Drop {
			v.show(int(size), key)
		}
	}
}

// show sends one picture, paced like a browser, two packets each 5 ms.
func (v *viewer) show(size int, key bool) {
	packets := (size + packetSize - 1) / packetSize
	f := &frame{left: packets, key: key}
	for i := range packets {
		n := size/packets + 40
		v.world.after(time.Duration(i/2)*5*time.Millisecond, func() {
			v.send(n, false, false, func() {
				if f.left--; f.left == 0 {
					v.freeze = max(v.freeze, v.world.now-v.lastShown)
					v.lastShown = v.world.now
				}
			})
		})
	}
}

func (v *viewer) String() string {
	return fmt.Sprintf("%s %v %d kbps", v.name, v.demand.Target, v.decision.Bitrate/1000)
}
