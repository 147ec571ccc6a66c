package sim

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster/script"
)

// maxTraceRows bounds a trace.
const maxTraceRows = 20_000_000

// ParseTrace reads a CSV trace of sessions: a header, then one row for each,
// with the columns start (seconds since the beginning, or RFC 3339), duration
// (seconds), and optionally room, participants, publishers, cpu (CPUs) and ramp
// (seconds), in any order. Absolute times count from the first row's day.
func ParseTrace(file, text string, costs func(participants, publishers int) float64) ([]Session, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.ReuseRecord = -1, true, true
	fail := func(line int, format string, args ...any) error {
		return &script.Error{File: file, Line: line, Reason: fmt.Sprintf(format, args...)}
	}
	head, err := r.Read()
	if err != nil {
		return nil, fail(1, "no header: %v", err)
	}
	t := trace{costs: costs}
	if err := t.header(head); err != nil {
		return nil, fail(1, "%v", err)
	}
	var out []Session
	for line := 2; ; line++ {
		rec, err := r.Read()
		if len(rec) == 0 && err != nil {
			if isEOF(err) {
				return out, nil
			}
			return nil, fail(line, "%v", err)
		}
		if err != nil {
			return nil, fail(line, "%v", err)
		}
		line, _ = r.FieldPos(0)
		if len(out) == maxTraceRows {
			return nil, fail(line, "more than %d rows", maxTraceRows)
		}
		s, err := t.row(rec, len(out))
		if err != nil {
			return nil, fail(line, "%v", err)
		}
		out = append(out, s)
	}
}

// isEOF tells the end of the text from an error in it. The io package is not
// imported here, so the end is known by what it is not.
func isEOF(err error) bool {
	var parse *csv.ParseError
	return !errors.As(err, &parse)
}

// Session is one row of a trace.
type Session struct {
	Start, Lasts, Ramp time.Duration
	Room               string
	Participants       int
	CPU                float64
}

type trace struct {
	costs  func(participants, publishers int) float64
	column map[string]int
	day    time.Time
}

func (t *trace) header(head []string) error {
	t.column = map[string]int{}
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(name))
		switch name {
		case "start", "duration", "room", "participants", "publishers", "cpu", "ramp":
		default:
			return fmt.Errorf("unknown column %q", name)
		}
		if _, dup := t.column[name]; dup {
			return fmt.Errorf("column %q is there twice", name)
		}
		t.column[name] = i
	}
	for _, must := range []string{"start", "duration"} {
		if _, ok := t.column[must]; !ok {
			return fmt.Errorf("column %q is missing", must)
		}
	}
	return nil
}

func (t *trace) row(rec []string, n int) (Session, error) {
	if len(rec) != len(t.column) {
		return Session{}, fmt.Errorf("%d fields, the header has %d", len(rec), len(t.column))
	}
	s := Session{Participants: 1}
	var err error
	if s.Start, err = t.start(rec[t.column["start"]], n == 0); err != nil {
		return s, err
	}
	if s.Lasts, err = t.seconds(rec, "duration", 0); err != nil {
		return s, err
	}
	if s.Ramp, err = t.seconds(rec, "ramp", 0); err != nil {
		return s, err
	}
	people, err := t.number(rec, "participants", 1)
	if err != nil {
		return s, err
	}
	publishers, err := t.number(rec, "publishers", people)
	if err != nil {
		return s, err
	}
	s.Participants = int(people)
	if s.CPU, err = t.number(rec, "cpu", t.costs(int(people), int(publishers))); err != nil {
		return s, err
	}
	s.Room = "t" + itoa(n+1)
	if i, ok := t.column["room"]; ok && rec[i] != "" {
		s.Room = rec[i] + "#" + itoa(n+1)
	}
	return s, nil
}

func (t *trace) start(s string, first bool) (time.Duration, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		if !(f >= 0 && f <= maxDuration.Seconds()) {
			return 0, fmt.Errorf("start %q is out of range", s)
		}
		return time.Duration(f * float64(time.Second)), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, fmt.Errorf("start %q is neither seconds nor a time like 2026-03-02T09:00:00Z", s)
	}
	if first || t.day.IsZero() {
		t.day = at.UTC().Truncate(24 * time.Hour)
	}
	d := at.Sub(t.day)
	if d < 0 || d > maxDuration {
		return 0, fmt.Errorf("start %q is before the day of the first row, or more than a year after", s)
	}
	return d, nil
}

func (t *trace) seconds(rec []string, column string, def float64) (time.Duration, error) {
	f, err := t.number(rec, column, def)
	return time.Duration(f * float64(time.Second)), err
}

// number reads a column that may be missing or empty.
func (t *trace) number(rec []string, column string, def float64) (float64, error) {
	i, ok := t.column[column]
	if !ok || rec[i] == "" {
		return def, nil
	}
	f, err := strconv.ParseFloat(rec[i], 64)
	if err != nil || !(f >= 0 && f <= 1e8) {
		return 0, fmt.Errorf("%s %q is not a number from 0 to 100000000", column, rec[i])
	}
	return f, nil
}

// traced is a trace as a workload.
type traced struct{ sessions []Session }

func (t traced) open(*Scenario, *rng) stream {
	all := make([]arrival, len(t.sessions))
	for i, s := range t.sessions {
		all[i] = arrival{at: s.Start, lasts: s.Lasts, ramp: s.Ramp, what: aSession, room: s.Room, people: s.Participants, cpu: s.CPU}
	}
	return newListed(all)
}
