package sim

import (
	"slices"
	"time"
)

// synthetic is made-up days: a curve over the hours, bursts at the full hour of
// classes, quieter weekends.
type synthetic struct {
	sessions int // of a working day
	days     int
	classes  float64 // part of the sessions that start at a full hour of the school day
	weekend  float64 // sessions of a weekend day, as a part of those of a working day
	people   [2]int
	lasts    time.Duration // mean
	ramp     time.Duration
	cpu      float64 // per participant; 0: by the costs
}

// hourly is the diurnal curve: how many sessions start in each hour, per mille.
func hourly() [24]float64 {
	return [24]float64{6, 4, 3, 3, 4, 8, 18, 40, 70, 85, 90, 80, 55, 70, 85, 82, 70, 55, 48, 45, 38, 25, 12, 8}
}

// firstClass and lastClass are the hours at which classes start.
const firstClass, lastClass = 8, 16

// classWindow is how long a class takes to start.
const classWindow = 2 * time.Minute

func (d synthetic) open(sc *Scenario, r *rng) stream {
	return &synthetics{synthetic: d, sc: sc, r: r, minute: -1}
}

// synthetics yields the arrivals of a synthetic workload minute by minute, so
// that millions of sessions need no memory.
type synthetics struct {
	synthetic
	sc      *Scenario
	r       *rng
	minute  int
	started float64 // sessions that should have started by now
	count   int     // sessions that have
	batch   []time.Duration
}

func (s *synthetics) next() (arrival, bool) {
	for len(s.batch) == 0 {
		if !s.fill() {
			return arrival{}, false
		}
	}
	at := s.batch[0]
	s.batch = s.batch[1:]
	s.count++
	u := s.r.float()
	people := s.people[0] + int(u*u*float64(s.people[1]-s.people[0]+1))
	a := arrival{
		at: at, what: aSession, room: "s" + itoa(s.count), people: min(people, s.people[1]), ramp: s.ramp,
		lasts: max(time.Minute, time.Duration(s.r.exp()*float64(s.lasts))),
	}
	a.cpu = s.sc.Model.Costs.OfRoom(a.people, a.people).CPU
	if s.cpu > 0 {
		a.cpu = s.cpu * float64(a.people)
	}
	return a, true
}

// fill draws the starts of the next minute.
func (s *synthetics) fill() bool {
	s.minute++
	if s.minute >= s.days*24*60 {
		return false
	}
	// The half is there because sums of fractions fall just short.
	before := int(s.started + 0.5)
	s.started += s.expected(s.minute)
	n := int(s.started+0.5) - before
	if cap(s.batch) < n {
		s.batch = make([]time.Duration, 0, n)
	}
	s.batch = s.batch[:0]
	from := time.Duration(s.minute) * time.Minute
	for range n {
		s.batch = append(s.batch, from+time.Duration(s.r.float()*float64(time.Minute)))
	}
	slices.Sort(s.batch)
	return true
}

// expected is how many sessions start in a minute.
func (s *synthetics) expected(minute int) float64 {
	total := float64(s.sessions)
	day := s.sc.Start.Add(time.Duration(minute) * time.Minute).Weekday()
	classes := s.classes
	if day == time.Saturday || day == time.Sunday {
		total *= s.weekend
		classes = 0
	}
	hour, in := minute/60%24, minute%60
	curve, sum := hourly(), 0.0
	for _, w := range curve {
		sum += w
	}
	// The curve is drawn from hour to hour, not in steps.
	next := curve[(hour+1)%24]
	w := curve[hour] + (next-curve[hour])*float64(in)/60
	n := total * (1 - classes) * w / sum / 60
	if window := int(classWindow / time.Minute); hour >= firstClass && hour <= lastClass && in < window {
		n += total * classes / float64(lastClass-firstClass+1) / float64(window)
	}
	return n
}
