package autoscale

import (
	"fmt"
	"strings"

	"github.com/concertina-rtc/concertina/internal/cluster/script"
)

// ReadPolicy changes a policy by the options of a scenario's command: max, min,
// max-load, min-load, out, in, headroom, people, person-cpu, cpus, calendar
// (periods separated by semicolons), reservations, forecast, queue,
// hold-unknown, must-fit and on-premises.
func ReadPolicy(c *script.Command, p Policy) (Policy, error) {
	r := script.Reader{Command: c}
	r.Int("max", &p.MaxNodes)
	r.Int("min", &p.MinNodes)
	r.Float("max-load", &p.MaxLoad)
	r.Float("min-load", &p.MinLoad)
	r.Float("cpus", &p.NodeCPUs)
	r.Duration("out", &p.Cooldown.Out)
	r.Duration("in", &p.Cooldown.In)
	r.Int("headroom", &p.Headroom.Nodes)
	r.Int("people", &p.Headroom.Participants)
	r.Float("person-cpu", &p.Headroom.ParticipantCPU)
	r.Duration("reservations", &p.Reservations)
	r.Duration("forecast", &p.Forecast.Lead)
	r.Bool("queue", &p.Queue)
	r.Bool("hold-unknown", &p.HoldUnknown)
	r.Bool("must-fit", &p.MustFit)
	r.Bool("on-premises", &p.OnPremises)
	var periods string
	if r.Text("calendar", &periods); periods != "" {
		p.Calendar = nil
		for _, part := range strings.Split(periods, ";") {
			period, err := ParsePeriod(part)
			if err != nil {
				r.Fail(fmt.Errorf("calendar: %w", err))
				break
			}
			p.Calendar = append(p.Calendar, period)
		}
	}
	return p, r.Err()
}
