package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/autoscale"
	"github.com/concertina-rtc/concertina/internal/cluster/placement"
)

// Record is one line of a decision log: a state to begin with, an event that
// was applied, a placement or a tick of the autoscaler with its inputs. Exactly
// one of State, Event, Place and Scale is set.
type Record struct {
	State *cluster.State  `json:"state,omitempty"`
	Event json.RawMessage `json:"event,omitempty"` // as written by cluster.EncodeEvent
	Place *PlaceRecord    `json:"place,omitempty"`
	Scale *ScaleRecord    `json:"scale,omitempty"`
}

// PlaceRecord is a placement with its inputs.
type PlaceRecord struct {
	Request  placement.Request  `json:"request"`
	Policy   placement.Policy   `json:"policy"`
	Decision placement.Decision `json:"decision"`
	Error    string             `json:"error,omitempty"`
}

// ScaleRecord is a tick of the autoscaler with its inputs.
type ScaleRecord struct {
	Policy autoscale.Policy  `json:"policy"`
	Place  *placement.Policy `json:"place,omitempty"` // with must_fit: says what fits
	Plan   autoscale.Plan    `json:"plan"`
}

// recorder writes a decision log. A nil recorder writes nothing.
type recorder struct {
	write func(line []byte)
}

func (r *recorder) line(rec Record) {
	out, err := json.Marshal(rec)
	if err != nil {
		// Everything recorded is plain data; see the round-trip test.
		out = []byte(fmt.Sprintf(`{"error":%q}`, err))
	}
	r.write(append(out, '\n'))
}

func (r *recorder) begin(s *cluster.State) {
	if r != nil {
		r.line(Record{State: s})
	}
}

func (r *recorder) event(e cluster.Event) {
	if r == nil {
		return
	}
	raw, err := cluster.EncodeEvent(e)
	if err != nil {
		raw = []byte(`{}`)
	}
	r.line(Record{Event: raw})
}

func (r *recorder) place(req placement.Request, p placement.Policy, d placement.Decision, err error) {
	if r == nil {
		return
	}
	rec := PlaceRecord{Request: req, Policy: p, Decision: d}
	if err != nil {
		rec.Error = err.Error()
	}
	r.line(Record{Place: &rec})
}

func (r *recorder) decide(p autoscale.Policy, place placement.Policy, plan autoscale.Plan) {
	if r == nil {
		return
	}
	rec := ScaleRecord{Policy: p, Plan: plan}
	if p.MustFit {
		rec.Place = &place
	}
	r.line(Record{Scale: &rec})
}

// Replayed is what came of a replay.
type Replayed struct {
	Events     int
	Placements int
	Ticks      int
	Difference *Difference // the first one; nil when there is none
}

// Difference is a decision that comes out otherwise than recorded.
type Difference struct {
	Line     int
	What     string // the request, or the time of the tick
	Recorded string // JSON
	Now      string // JSON
	Why      string // the explanation of the new decision
}

// String shows both decisions and why the new one came out.
func (d *Difference) String() string {
	return fmt.Sprintf("line %d: %s\nrecorded: %s\nnow:      %s\n%s", d.Line, d.What, d.Recorded, d.Now, d.Why)
}

// ErrLog is wrapped by the errors of [Replay].
var ErrLog = errors.New("bad decision log")

// Replay runs a decision log again: it applies the recorded events and compares
// every recorded decision with what the functions of today decide on the same
// inputs. It stops at the first difference. An error names the file and line.
func Replay(file, text string) (Replayed, error) {
	p := replay{state: cluster.New(cluster.DefaultPolicy())}
	for n := 1; len(text) > 0; n++ {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		if err := p.line(n, []byte(line)); err != nil {
			return p.r, fmt.Errorf("%w: %s:%d: %w", ErrLog, file, n, err)
		}
		if p.r.Difference != nil {
			break
		}
	}
	return p.r, nil
}

type replay struct {
	state *cluster.State
	r     Replayed
}

func (p *replay) line(n int, data []byte) error {
	var rec Record
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&rec); err != nil {
		return err
	}
	switch {
	case rec.State != nil:
		p.state = rec.State
		return nil
	case rec.Event != nil:
		e, err := cluster.DecodeEvent(rec.Event)
		if err != nil {
			return err
		}
		p.r.Events++
		return p.state.Apply(e)
	case rec.Place != nil:
		return p.place(n, rec.Place)
	case rec.Scale != nil:
		return p.scale(n, rec.Scale)
	}
	return errors.New("neither a state, an event, a placement nor a tick")
}

func (p *replay) place(n int, rec *PlaceRecord) error {
	if err := rec.Policy.Validate(); err != nil {
		return err
	}
	p.r.Placements++
	d, e, err := placement.Place(p.state, rec.Request, rec.Policy)
	now := PlaceRecord{Decision: d}
	if err != nil {
		now.Error = err.Error()
	}
	was := PlaceRecord{Decision: rec.Decision, Error: rec.Error}
	p.compare(n, fmt.Sprintf("%s %s%s at %s", rec.Request.Kind, rec.Request.Room, rec.Request.ID, rec.Request.At.Format("15:04:05.000")),
		[2]any{was.Decision, was.Error}, [2]any{now.Decision, now.Error}, e.String())
	return nil
}

func (p *replay) scale(n int, rec *ScaleRecord) error {
	if err := rec.Policy.Validate(); err != nil {
		return err
	}
	place := placement.DefaultPolicy()
	if rec.Place != nil {
		place = *rec.Place
	}
	if err := place.Validate(); err != nil {
		return err
	}
	p.r.Ticks++
	plan, e := decide(p.state, rec.Policy, place, rec.Plan.At)
	p.compare(n, "autoscaling at "+rec.Plan.At.Format("15:04:05.000"), rec.Plan, plan, e.String())
	return nil
}

func (p *replay) compare(line int, what string, recorded, now any, why string) {
	a, errA := json.Marshal(recorded)
	b, errB := json.Marshal(now)
	if errA == nil && errB == nil && bytes.Equal(a, b) {
		return
	}
	p.r.Difference = &Difference{Line: line, What: what, Recorded: string(a), Now: string(b), Why: why}
}
