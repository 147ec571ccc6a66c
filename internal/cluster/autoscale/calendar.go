package autoscale

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster/script"
)

// Period is a time of the week at which more nodes than min_nodes are kept.
type Period struct {
	Days     [7]bool       `json:"days"` // by time.Weekday; none means every day
	From     time.Duration `json:"from"` // since midnight of the time's own zone
	To       time.Duration `json:"to"`   // at or before From: on the next day
	MinNodes int           `json:"min_nodes"`
}

const day = 24 * time.Hour

func (c Period) validate() error {
	switch {
	case c.From < 0 || c.From >= day || c.To < 0 || c.To > day:
		return fmt.Errorf("%v to %v is not within a day", c.From, c.To)
	case c.MinNodes < 1:
		return fmt.Errorf("min_nodes is %d, it must be at least 1", c.MinNodes)
	}
	return nil
}

// Holds reports whether t is in the period. The zone is that of t.
func (c Period) Holds(t time.Time) bool {
	off := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	if c.From < c.To {
		return c.on(t.Weekday()) && off >= c.From && off < c.To
	}
	yesterday := (t.Weekday() + 6) % 7
	return c.on(t.Weekday()) && off >= c.From || c.on(yesterday) && off < c.To
}

func (c Period) on(d time.Weekday) bool { return c.Days == [7]bool{} || c.Days[d] }

// calendarFloor is the lower limit at this hour.
func calendarFloor(in input) (int, string) {
	lo, note := in.p.MinNodes, ""
	for _, c := range in.p.Calendar {
		if c.MinNodes > lo && c.Holds(in.now) {
			lo, note = c.MinNodes, fmt.Sprintf("the calendar keeps %d nodes at %s", c.MinNodes, in.now.Format("Mon 15:04"))
		}
	}
	return min(lo, in.p.MaxNodes), note
}

// ParsePeriod reads a period: days, times and the number of nodes, as in
// "mon-fri 08:30-17:00 12" or "sat,sun 10:00-12:00 4" or "22:00-02:00 3".
func ParsePeriod(s string) (Period, error) {
	fields := strings.Fields(s)
	var c Period
	if len(fields) == 3 {
		if err := c.parseDays(fields[0]); err != nil {
			return c, err
		}
		fields = fields[1:]
	}
	if len(fields) != 2 {
		return c, errors.New(`want "mon-fri 08:30-17:00 12"`)
	}
	from, to, ok := strings.Cut(fields[0], "-")
	if !ok {
		return c, fmt.Errorf("%q is not a range of times", fields[0])
	}
	var err error
	if c.From, err = script.Clock(from); err != nil {
		return c, err
	}
	if c.To, err = script.Clock(to); err != nil {
		return c, err
	}
	if c.MinNodes, err = strconv.Atoi(fields[1]); err != nil {
		return c, fmt.Errorf("%q is not a number of nodes", fields[1])
	}
	return c, c.validate()
}

func (c *Period) parseDays(s string) error {
	for _, part := range strings.Split(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := weekday(first)
		if err != nil {
			return err
		}
		to := from
		if isRange {
			if to, err = weekday(last); err != nil {
				return err
			}
		}
		for d := from; ; d = (d + 1) % 7 {
			c.Days[d] = true
			if d == to {
				break
			}
		}
	}
	return nil
}

func weekday(s string) (time.Weekday, error) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(s, d.String()[:3]) {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q is not a day like mon", s)
}
