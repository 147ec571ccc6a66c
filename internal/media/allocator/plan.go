package allocator

import (
	"cmp"
	"slices"
)

// plan is an allocation under way.
type plan struct {
	in     Input
	policy Policy
	tracks []track
	order  []int  // video tracks that cost something, the most important first
	steps  []step // see chain
	audio  int64
	used   int64 // by video, with the levels held
	budget int64 // for video
}

// track is one demand of the plan.
type track struct {
	demand *Demand
	ladder ladder
	class  int // screen shares, then priorities; equals share
	rank   int // place in order
	held   int // level
	was    int // level before
	why    Reason
	fixed  bool // not to be decided about: audio, muted, nothing measured
}

func newPlan(in Input) *plan {
	p := &plan{in: in, policy: in.Policy.withDefaults(), tracks: make([]track, len(in.Demands)), order: make([]int, 0, len(in.Demands))}
	for i := range in.Demands {
		d := &in.Demands[i]
		t := &p.tracks[i]
		t.demand = d
		switch {
		case d.Kind == Audio:
			t.fixed = true
			if !d.Muted {
				p.audio += d.Bitrates[0][0]
			}
		case d.Muted:
			t.fixed = true
		default:
			t.ladder = climb(d)
			t.fixed = t.ladder.levels() == 0
		}
		if !t.fixed {
			p.order = append(p.order, i)
		}
	}
	p.budget = max(in.Bitrate-p.audio, 0)
	p.rank()
	p.steps = p.chain()
	return p
}

// rank orders the video tracks and numbers their classes.
func (p *plan) rank() {
	weight := func(i int) int {
		w := int(p.tracks[i].demand.Priority)
		if p.tracks[i].demand.ScreenShare {
			w += 1 << 8
		}
		return w
	}
	slices.SortStableFunc(p.order, func(a, b int) int {
		return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(p.tracks[a].demand.TrackID, p.tracks[b].demand.TrackID))
	})
	for rank, i := range p.order {
		p.tracks[i].rank, p.tracks[i].class = rank, -weight(i)
	}
}

// keep starts with what every track has, as far as that is still there and still
// wanted.
func (p *plan) keep() {
	for _, i := range p.order {
		t := &p.tracks[i]
		if t.demand.Since.IsZero() {
			t.held, t.was = 0, 0
		} else {
			t.was = t.ladder.level(t.demand.Target)
			t.held = t.was
		}
		t.why = Kept
		if t.held == 0 && !t.demand.MayPause {
			t.held, t.why = 1, Lowest
		}
		p.used += t.ladder.cost(t.held)
	}
}

// lowest is the level below which a track is not lowered.
func (t *track) lowest() int {
	if t.demand.MayPause {
		return 0
	}
	return 1
}

// lower takes the latest steps of the chain back until the rest fits.
func (p *plan) lower() {
	for i := len(p.steps) - 1; i >= 0 && p.used > p.budget; i-- {
		p.takeBack(p.steps[i], DoesNotFit)
	}
}

// takeBack undoes a step if its track has it.
func (p *plan) takeBack(s step, why Reason) {
	t := &p.tracks[s.track]
	if t.held < s.level || t.held <= t.lowest() {
		return
	}
	p.used -= t.ladder.cost(t.held) - t.ladder.cost(s.level-1)
	t.held, t.why = s.level-1, why
	if t.held < t.lowest() {
		p.used += t.ladder.cost(t.lowest())
		t.held = t.lowest()
	}
}

// raise goes along the chain as far as it fits with a margin. A track that has
// less than that gets it, if need be from one that has more than the chain gives
// it, unless it must wait: then its share is kept for it.
func (p *plan) raise() {
	var total int64 // of the chain up to here
	for n, s := range p.steps {
		t := &p.tracks[s.track]
		total += s.cost
		limit := int64(float64(p.budget) * (1 - p.margin(t, s)))
		if total > limit {
			p.note(n)
			return
		}
		if t.held >= s.level {
			continue
		}
		if why := p.mustWait(t, s); why != Kept {
			if t.why == Kept {
				t.why = why
			}
			continue
		}
		for i := len(p.steps) - 1; i > n && p.used+s.cost > limit; i-- {
			p.takeBack(p.steps[i], GivenAway)
		}
		p.used += t.ladder.cost(s.level) - t.ladder.cost(t.held)
		t.held, t.why = s.level, Fits
		if t.was == 0 && s.level == 1 && !t.demand.Since.IsZero() {
			t.why = Resumed
		}
	}
}

// note marks the tracks that would be raised with more bandwidth.
func (p *plan) note(from int) {
	for _, s := range p.steps[from:] {
		if t := &p.tracks[s.track]; t.held < s.level && t.why == Kept {
			t.why = NoRoom
		}
	}
}

// margin is the part of the bandwidth that must stay free after a step. A new
// track's first picture needs none.
func (p *plan) margin(t *track, s step) float64 {
	switch {
	case t.held >= s.level:
		return 0
	case t.demand.Since.IsZero() && s.level == 1:
		return 0
	case t.was == 0 && s.level == 1:
		return p.policy.ResumeMargin
	}
	return p.policy.RaiseMargin
}

// mustWait tells why a track may not be raised yet, Kept when it may.
func (p *plan) mustWait(t *track, s step) Reason {
	if t.demand.Since.IsZero() {
		if p.in.Congested && s.level > 1 {
			return NetworkCongested
		}
		return Kept
	}
	wait := p.policy.RaiseAfter
	if t.was == 0 {
		wait = p.policy.ResumeAfter
	}
	switch {
	case t.held < t.was:
		return DoesNotFit
	case p.in.Congested:
		return NetworkCongested
	case p.in.Now.Sub(t.demand.Since) < wait:
		return TooSoon
	}
	return Kept
}

// result turns levels into targets.
func (p *plan) result() ([]Target, Explanation) {
	out := make([]Target, len(p.tracks))
	for i := range p.tracks {
		t := &p.tracks[i]
		out[i] = p.target(t)
	}
	return out, p.explain(out)
}

func (p *plan) target(t *track) Target {
	d := t.demand
	out := Target{TrackID: d.TrackID, Why: t.why}
	switch {
	case d.Kind == Audio:
		out.Layer, out.Why = Layer{}, AudioFirst
	case t.fixed:
		out.Layer, out.Why = d.Target, NothingSent
		if d.Since.IsZero() || d.Target.Spatial < 0 && !d.MayPause {
			out.Layer = Layer{0, max(d.Max.Temporal, 0)}
		}
		if d.Max.Spatial < 0 {
			out.Layer = Layer{Spatial: Paused}
		}
	default:
		out.Layer = t.ladder.layer(t.held)
	}
	if t.held == t.was && better(d.Target, out.Layer) && better(d.Target, d.Max) {
		out.Why = NotWanted
	}
	out.Changed = d.Since.IsZero() || out.Layer != d.Target
	out.Limit = out.Layer
	if d.Kind == Video && d.Current.Spatial > out.Layer.Spatial && out.Layer.Spatial >= 0 {
		out.Limit.Temporal = 0
		old := d.Bitrates[min(d.Current.Spatial, MaxSpatial-1)][0]
		out.Drop = !t.fixed && p.used-t.ladder.cost(t.held)+old > p.budget
	}
	return out
}
