package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster/autoscale"
	"github.com/concertina-rtc/concertina/internal/cluster/placement"
	"github.com/concertina-rtc/concertina/internal/cluster/script"
)

// Parse reads a scenario file. An error names the file, the line and the
// reason. The open function returns the text of a trace that the scenario
// names; nil means that there are none.
func Parse(file, text string, open func(name string) (string, error)) (Scenario, error) {
	sc := NewScenario()
	commands, err := script.Parse(file, text)
	if err != nil {
		return sc, err
	}
	p := parser{sc: &sc, openTrace: open}
	for i := range commands {
		c := &commands[i]
		if err := p.command(c); err != nil {
			return sc, atLine(c, err)
		}
		if err := c.Unused(); err != nil {
			return sc, err
		}
	}
	if err := p.variants(); err != nil {
		return sc, err
	}
	if err := sc.validate(); err != nil {
		return sc, &script.Error{File: file, Line: max(p.last, 1), Reason: err.Error()}
	}
	return sc, nil
}

// atLine puts the command's place on an error that has none.
func atLine(c *script.Command, err error) error {
	if errors.Is(err, script.ErrSyntax) {
		return err
	}
	return c.Errorf("%v", err)
}

type parser struct {
	sc        *Scenario
	openTrace func(string) (string, error)
	policies  []*script.Command
	last      int
}

func (p *parser) command(c *script.Command) error {
	p.last = c.Line
	sc := p.sc
	switch c.Name {
	case "name":
		return p.arg(c, &sc.Name)
	case "seed":
		return p.seed(c)
	case "start":
		return p.start(c)
	case "duration":
		return p.duration(c, &sc.Duration)
	case "tick":
		return p.duration(c, &sc.Tick)
	case "sample":
		return p.duration(c, &sc.Sample)
	case "log":
		sc.Log = true
		return c.WantArgs()
	case "uncapped":
		sc.Uncapped = true
		return c.WantArgs()
	case "workers":
		sc.Workers = true
		return c.WantArgs()
	case "nodes", "launch", "report", "model", "cost":
		return p.setting(c)
	case "autoscale":
		sc.Scaling = true
		var err error
		sc.Autoscale, err = autoscale.ReadPolicy(c, sc.Autoscale)
		return firstOf(err, c.WantArgs())
	case "place":
		var err error
		sc.Place, err = placement.ReadPolicy(c, sc.Place)
		return firstOf(err, c.WantArgs())
	case "policy":
		p.policies = append(p.policies, c)
		return p.policy(c)
	case "session", "sessions", "joins", "agents":
		return p.burst(c)
	case "day":
		return p.day(c)
	case "trace":
		return p.trace(c)
	case "crash", "silence":
		return p.fault(c)
	case "reserve":
		return p.reserve(c)
	}
	return c.Errorf("unknown command")
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) arg(c *script.Command, v *string) error {
	if err := c.WantArgs("text"); err != nil {
		return err
	}
	*v = c.Args[0]
	return nil
}

func (p *parser) seed(c *script.Command) error {
	var s string
	if err := p.arg(c, &s); err != nil {
		return err
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return c.Errorf("%q is not a whole number", s)
	}
	p.sc.Seed = n
	return nil
}

func (p *parser) start(c *script.Command) error {
	var s string
	if err := p.arg(c, &s); err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Year() < 1971 || t.Year() > 2200 {
		return c.Errorf("%q is not a time like 2026-03-02T00:00:00Z", s)
	}
	p.sc.Start = t.UTC()
	return nil
}

func (p *parser) duration(c *script.Command, v *time.Duration) error {
	var s string
	if err := p.arg(c, &s); err != nil {
		return err
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 || d > maxDuration {
		return c.Errorf("%q is not a duration like 90s or 24h", s)
	}
	*v = d
	return nil
}

// setting reads the commands that consist of options.
func (p *parser) setting(c *script.Command) error {
	sc, r := p.sc, script.Reader{Command: c}
	switch c.Name {
	case "nodes":
		var names string
		if err := p.count(c, &sc.Fleet.Nodes); err != nil {
			return err
		}
		r.Float("cpus", &sc.Fleet.CPUs)
		r.Text("names", &names)
		if names != "" {
			sc.Fleet.Names = strings.Split(names, ",")
			for i, n := range sc.Fleet.Names {
				if n == "" || slices.Contains(sc.Fleet.Names[:i], n) {
					return c.Errorf("names=%s has an empty name, or one twice", names)
				}
			}
		}
		if !(sc.Fleet.CPUs > 0 && sc.Fleet.CPUs <= 1e4) {
			return c.Errorf("cpus=%v is not above 0", sc.Fleet.CPUs)
		}
		return r.Err()
	case "launch":
		r.Float("fail", &sc.Fleet.FailRate)
		r.Duration("detect", &sc.Fleet.Detect)
		return firstOf(r.Err(), ratio(c, "fail", sc.Fleet.FailRate),
			p.span(c, "takes", &sc.Fleet.Launch), p.span(c, "terminate", &sc.Fleet.Terminate), c.WantArgs())
	case "report":
		r.Float("lost", &sc.Reports.Lost)
		return firstOf(r.Err(), ratio(c, "lost", sc.Reports.Lost),
			p.span(c, "every", &sc.Reports.Every), p.span(c, "delay", &sc.Reports.Delay), c.WantArgs())
	case "model":
		m := &sc.Model
		r.Duration("stale", &m.StaleAfter)
		r.Duration("ramp", &m.RampUp)
		r.Duration("counts", &m.CountsAfter)
		r.Duration("lead", &m.ReservationLead)
		r.Duration("bucket", &m.HistoryBucket)
		r.Duration("season", &m.HistorySeason)
	case "cost":
		k := &sc.Model.Costs
		r.Float("price", &sc.Price)
		r.Float("hot", &sc.HotLoad)
		r.Float("room", &k.Room)
		r.Float("stream", &k.Stream)
		r.Float("client", &k.PerClient)
	}
	return firstOf(r.Err(), c.WantArgs())
}

func ratio(c *script.Command, key string, v float64) error {
	if !(v >= 0 && v <= 1) {
		return c.Errorf("%s=%v is not from 0 to 1", key, v)
	}
	return nil
}

const maxCount = 10_000_000

func (p *parser) count(c *script.Command, v *int) error {
	var s string
	if err := p.arg(c, &s); err != nil {
		return err
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > maxCount {
		return c.Errorf("%q is not a number from 0 to %d", s, maxCount)
	}
	*v = n
	return nil
}

// span reads "5s" or "5s..10s".
func (p *parser) span(c *script.Command, key string, v *span) error {
	s := c.String(key, "")
	if s == "" {
		return nil
	}
	lo, hi, ok := strings.Cut(s, "..")
	if !ok {
		hi = lo
	}
	a, err1 := time.ParseDuration(lo)
	b, err2 := time.ParseDuration(hi)
	if err1 != nil || err2 != nil || a < 0 || b < a || b > maxDuration {
		return c.Errorf("%s=%s is not a duration like 5s, or a range like 5s..10s", key, s)
	}
	*v = span{a, b}
	return nil
}

// people reads "10" or "5..30".
func people(c *script.Command, def [2]int) ([2]int, error) {
	s := c.String("participants", "")
	if s == "" {
		return def, nil
	}
	lo, hi, ok := strings.Cut(s, "..")
	if !ok {
		hi = lo
	}
	a, err1 := strconv.Atoi(lo)
	b, err2 := strconv.Atoi(hi)
	if err1 != nil || err2 != nil || a < 1 || b < a || b > 100_000 {
		return def, c.Errorf("participants=%s is not a number like 10, or a range like 5..30", s)
	}
	return [2]int{a, b}, nil
}

// policy checks a named policy; its values are read when all defaults are.
func (p *parser) policy(c *script.Command) error {
	if err := c.WantArgs("name"); err != nil {
		return err
	}
	_, err := variant(c, p.sc)
	return err
}

func variant(c *script.Command, sc *Scenario) (Variant, error) {
	v := Variant{Name: c.Args[0]}
	var err error
	if v.Autoscale, err = autoscale.ReadPolicy(c, sc.Autoscale); err != nil {
		return v, err
	}
	v.Place, err = placement.ReadPolicy(c, sc.Place)
	return v, err
}

func (p *parser) variants() error {
	for _, c := range p.policies {
		v, err := variant(c, p.sc)
		if err == nil {
			err = firstOf(v.Autoscale.Validate(), v.Place.Validate())
		}
		if err != nil {
			return atLine(c, err)
		}
		p.sc.Variants = append(p.sc.Variants, v)
	}
	return nil
}

// burst reads session, sessions, joins and agents.
func (p *parser) burst(c *script.Command) error {
	b := burst{count: 1, lasts: span{time.Hour, time.Hour}, people: [2]int{4, 4}, what: aSession, log: p.sc.Log}
	switch c.Name {
	case "session", "joins":
		if err := p.arg(c, &b.name); err != nil {
			return err
		}
	default:
		if err := p.count(c, &b.count); err != nil {
			return err
		}
		b.name = c.String("name", c.Name)
	}
	r := script.Reader{Command: c}
	switch c.Name {
	case "joins":
		b.what, b.people, b.cpu = aJoin, [2]int{1, 1}, 0.02
		r.Int("count", &b.count)
	case "agents":
		b.what, b.people, b.cpu = aAgent, [2]int{0, 0}, p.sc.Place.Agent.CPU
	}
	r.Duration("at", &b.at)
	r.Duration("over", &b.over)
	r.Duration("ramp", &b.ramp)
	r.Float("cpu", &b.cpu)
	r.Float("load", &b.points)
	r.Text("node", &b.node)
	r.Bool("even", &b.even)
	if err := firstOf(r.Err(), p.span(c, "for", &b.lasts)); err != nil {
		return err
	}
	var err error
	if b.people, err = people(c, b.people); err != nil {
		return err
	}
	if b.at < 0 || b.over < 0 || b.ramp < 0 || b.cpu < 0 || b.points < 0 || b.count < 0 || b.count > maxCount {
		return c.Errorf("a value is out of range")
	}
	p.sc.work = append(p.sc.work, b)
	return nil
}

func (p *parser) day(c *script.Command) error {
	d := synthetic{sessions: 1000, days: 1, classes: 0.3, weekend: 0.3, people: [2]int{2, 12}, lasts: 40 * time.Minute, ramp: time.Minute}
	r := script.Reader{Command: c}
	r.Int("sessions", &d.sessions)
	r.Int("days", &d.days)
	r.Float("classes", &d.classes)
	r.Float("weekend", &d.weekend)
	r.Duration("for", &d.lasts)
	r.Duration("ramp", &d.ramp)
	r.Float("cpu", &d.cpu)
	if err := firstOf(r.Err(), c.WantArgs(), ratio(c, "classes", d.classes), ratio(c, "weekend", d.weekend)); err != nil {
		return err
	}
	var err error
	if d.people, err = people(c, d.people); err != nil {
		return err
	}
	if d.sessions < 0 || d.sessions > 100*maxCount || d.days < 1 || d.days > 366 || d.lasts <= 0 || d.ramp < 0 || d.cpu < 0 {
		return c.Errorf("a value is out of range")
	}
	p.sc.work = append(p.sc.work, d)
	return nil
}

func (p *parser) trace(c *script.Command) error {
	var name string
	if err := p.arg(c, &name); err != nil {
		return err
	}
	if p.openTrace == nil {
		return c.Errorf("traces cannot be opened here")
	}
	text, err := p.openTrace(name)
	if err != nil {
		return c.Errorf("%v", err)
	}
	costs := p.sc.Model.Costs
	sessions, err := ParseTrace(name, text, func(n, pub int) float64 { return costs.OfRoom(n, pub).CPU })
	if err != nil {
		return err
	}
	p.sc.work = append(p.sc.work, traced{sessions})
	return nil
}

func (p *parser) fault(c *script.Command) error {
	f := fault{count: 1}
	r := script.Reader{Command: c}
	r.Duration("at", &f.at)
	r.Text("node", &f.node)
	r.Int("count", &f.count)
	if c.Name == "silence" {
		f.silent = time.Minute
		r.Duration("for", &f.silent)
	}
	if f.at < 0 || f.count < 1 || f.count > 10_000 || c.Name == "silence" && f.silent <= 0 {
		return c.Errorf("a value is out of range")
	}
	p.sc.faults = append(p.sc.faults, f)
	return firstOf(r.Err(), c.WantArgs())
}

// reserve reads a reservation for a room of joins.
func (p *parser) reserve(c *script.Command) error {
	b := booking{lasts: time.Hour, participants: 10}
	if err := p.arg(c, &b.room); err != nil {
		return err
	}
	b.room = joinsPrefix + b.room
	r := script.Reader{Command: c}
	r.Duration("at", &b.at)
	r.Duration("from", &b.from)
	r.Duration("for", &b.lasts)
	r.Int("participants", &b.participants)
	b.publishers = b.participants
	r.Int("publishers", &b.publishers)
	if b.at < 0 || b.from < b.at || b.lasts <= 0 || b.participants < 1 || b.participants > maxCount || b.publishers < 0 || b.publishers > b.participants {
		return c.Errorf("a value is out of range")
	}
	p.sc.booked = append(p.sc.booked, b)
	return r.Err()
}

// WithPolicy returns the scenario under another pair of policies.
func (sc Scenario) WithPolicy(v Variant) Scenario {
	sc.Autoscale, sc.Place = v.Autoscale, v.Place
	return sc
}

// Policy returns a named policy: one that the scenario defines, or one of the
// built-in ones, which change one thing of the scenario's own.
func (sc *Scenario) Policy(name string) (Variant, error) {
	for _, v := range sc.Variants {
		if v.Name == name {
			return v, nil
		}
	}
	v := Variant{Name: name, Autoscale: sc.Autoscale, Place: sc.Place}
	launch := sc.Fleet.Launch.hi
	switch name {
	case "default":
	case "plain":
		v.Place.IgnorePlaced = true
	case "cooldown":
		v.Autoscale.Cooldown = autoscale.Cooldown{Out: launch, In: 10 * time.Minute}
	case "headroom":
		v.Autoscale.Headroom.Nodes = max(1, sc.Autoscale.MaxNodes/10)
	case "forecast":
		v.Autoscale.Forecast.Lead = launch + 2*sc.Model.HistoryBucket
	case "fixed":
		v.Autoscale.MinNodes = v.Autoscale.MaxNodes
	default:
		return v, fmt.Errorf("unknown policy %q: it is neither in the scenario nor one of default, plain, cooldown, headroom, forecast, fixed", name)
	}
	return v, nil
}
