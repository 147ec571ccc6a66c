package allocator

import (
	"cmp"
	"slices"
)

// smallShare bounds what goes before a large step: steps of less important
// tracks that together cost no more than this part of it.
const smallShare = 0.25

// step raises a track by one level. The chain of all steps is the order in which
// bandwidth is given out: with a certain bitrate everybody has what the longest
// beginning of the chain gives that fits. The chain does not depend on the
// bitrate, so more of it never takes anything from anybody.
type step struct {
	track int
	level int // that is reached
	cost  int64
}

// ladder are the levels of one track: 0 is nothing, the others are layers, each
// better and more costly than the one before.
type ladder struct {
	n      int
	layers [MaxSpatial * MaxTemporal]Layer
	costs  [MaxSpatial * MaxTemporal]int64
}

// levels returns how many levels there are above nothing.
func (l *ladder) levels() int { return l.n }

// add puts a level on top, in place of those that cost as much.
func (l *ladder) add(layer Layer, cost int64) {
	for l.n > 0 && l.costs[l.n-1] >= cost {
		l.n--
	}
	l.layers[l.n], l.costs[l.n] = layer, cost
	l.n++
}

// cost returns what a level costs.
func (l *ladder) cost(level int) int64 {
	if level <= 0 {
		return 0
	}
	return l.costs[level-1]
}

// layer returns the layer of a level.
func (l *ladder) layer(level int) Layer {
	if level <= 0 {
		return Layer{Spatial: Paused}
	}
	return l.layers[level-1]
}

// level returns the highest level that is not above a layer, at least the lowest
// one unless the layer is Paused.
func (l *ladder) level(at Layer) int {
	if at.Spatial < 0 || l.n == 0 {
		return 0
	}
	level := 1
	for i, x := range l.layers[:l.n] {
		if !better(x, at) {
			level = i + 1
		}
	}
	return level
}

// better reports whether a is the better picture.
func better(a, b Layer) bool {
	return a.Spatial > b.Spatial || a.Spatial == b.Spatial && a.Temporal > b.Temporal
}

// climb returns the levels of a track. A camera is not given a higher resolution
// at less than half of its frames: a sharp picture that stutters is worse than a
// soft one that moves. On a shared screen it is the other way round.
func climb(d *Demand) (l ladder) {
	top := min(int(d.Max.Spatial), MaxSpatial-1)
	frames := min(max(int(d.Max.Temporal), 0), MaxTemporal-1)
	lowest := lowestAlive(d)
	if lowest > top && d.Max.Spatial >= 0 {
		top = lowest // too good a picture is better than none
	}
	for s := 0; s <= top; s++ {
		b := &d.Bitrates[s]
		measured, distinct := 0, 0 // what costs no more than the one below is not there
		for t := 0; t < MaxTemporal && b[t] > 0; t++ {
			measured++
			if t == 0 || b[t] > b[distinct-1] {
				distinct = t + 1
			}
		}
		from := 0
		if s > lowest && !d.ScreenShare {
			from = max(min(distinct-2, frames), 0)
		}
		for t := from; t <= min(measured-1, frames); t++ {
			l.add(Layer{int8(s), int8(t)}, b[t]) //nolint:gosec // bounded
		}
	}
	return l
}

// lowestAlive returns the lowest spatial layer that is being received.
func lowestAlive(d *Demand) int {
	for s := range MaxSpatial {
		if d.Bitrates[s][0] > 0 {
			return s
		}
	}
	return 0
}

// chain returns the steps of all tracks in the order in which they are taken:
// everybody's first, beginning with those that may not be paused, then by
// importance, and equals in turn.
func (p *plan) chain() []step {
	n := 0
	for i := range p.tracks {
		n += p.tracks[i].ladder.levels()
	}
	forced, first, rest := make([]step, 0, n), make([]step, 0, len(p.order)), make([]step, 0, n)
	for _, i := range p.order {
		l := &p.tracks[i].ladder
		for level := 1; level <= l.levels(); level++ {
			s := step{track: i, level: level, cost: l.cost(level) - l.cost(level-1)}
			switch {
			case level > 1:
				rest = append(rest, s)
			case p.tracks[i].demand.MayPause:
				first = append(first, s)
			default:
				forced = append(forced, s)
			}
		}
	}
	slices.SortStableFunc(rest, func(a, b step) int {
		ta, tb := &p.tracks[a.track], &p.tracks[b.track]
		la, lb := ta.ladder.layer(a.level), tb.ladder.layer(b.level)
		return cmp.Or(
			cmp.Compare(ta.class, tb.class),
			cmp.Compare(la.Spatial, lb.Spatial), cmp.Compare(la.Temporal, lb.Temporal),
			cmp.Compare(ta.rank, tb.rank),
		)
	})
	return append(append(forced, first...), p.smallFirst(rest)...)
}

// smallFirst lets small steps of less important tracks go before large ones of
// more important tracks. The large one waits for little more bandwidth, and what
// would lie idle until then is used.
func (p *plan) smallFirst(steps []step) []step {
	var out []step
	for len(steps) > 0 {
		big := steps[0]
		if p.tracks[steps[len(steps)-1].track].class == p.tracks[big.track].class {
			if out == nil {
				return steps
			}
			return append(out, steps...)
		}
		room := int64(smallShare * float64(big.cost))
		var blocked uint64 // tracks of which a step was left behind
		rest := steps[:1]
		for _, s := range steps[1:] {
			bit := uint64(1) << (s.track & 63)
			if p.tracks[s.track].class == p.tracks[big.track].class || s.cost > room || blocked&bit != 0 {
				blocked |= bit
				rest = append(rest, s)
				continue
			}
			room -= s.cost
			out = append(out, s)
		}
		out = append(out, rest[0])
		steps = rest[1:]
	}
	return out
}
