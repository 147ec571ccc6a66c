package sim

import (
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// chartPoints bounds the points of a chart.
const chartPoints = 700

// HTML is one self-contained page: the figures side by side, and for each
// report the published chart: average and total load, their limits, the limits
// of nodes, and the nodes by status. It needs no network and follows the
// reader's light or dark scheme.
func HTML(reports []Report) (string, error) {
	t, err := template.New("report").Parse(pageTemplate)
	if err != nil {
		return "", fmt.Errorf("report page: %w", err)
	}
	p := page{Compare: len(reports) > 1}
	for i, r := range reports {
		v, err := view(r, i)
		if err != nil {
			return "", err
		}
		p.Reports = append(p.Reports, v)
	}
	if len(reports) > 0 {
		r := reports[0]
		p.Title = r.Name
		p.Subtitle = fmt.Sprintf("%s, %s from %s, seed %d", plural(len(reports), "policy", "policies"), words(r.Duration), r.Start.Format("Monday 2 January 2006 15:04"), r.Seed)
		p.Limits = r.Limits
	}
	for _, f := range figureRows() {
		row := figureLine{Name: f.name, Note: f.note}
		any := f.always
		for _, r := range reports {
			v := f.value(r.Figures)
			any = any || v != "0" && v != "0.0"
			row.Values = append(row.Values, v)
		}
		if any {
			p.Figures = append(p.Figures, row)
		}
	}
	var b strings.Builder
	if err := t.Execute(&b, p); err != nil {
		return "", fmt.Errorf("report page: %w", err)
	}
	return b.String(), nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return itoa(n) + " " + many
}

type page struct {
	Title, Subtitle string
	Compare         bool
	Limits          Limits
	Figures         []figureLine
	Reports         []reportView
}

type figureLine struct {
	Name, Note string
	Values     []string
}

// reportView is a report as the page draws it.
type reportView struct {
	Name     string
	ID       string
	Load     panel
	Nodes    panel
	Events   []eventLine
	Data     template.JS
	MaxNodes int
}

type eventLine struct{ At, Text string }

// panel is one chart with its axes. Coordinates are those of its viewBox.
type panel struct {
	Areas  []shape
	Lines  []shape
	Levels []level // horizontal lines with a name
	Ticks  []mark  // of the vertical axis
	Hours  []mark  // of the horizontal axis
}

type shape struct{ Class, Path, Name string }

type level struct {
	Class, Name string
	Y           float64
}

type mark struct {
	Text string
	At   float64
	Last bool
}

// The drawing area inside the viewBox of 960 × 240.
const (
	chartLeft, chartRight = 46.0, 950.0
	chartTop, chartBottom = 12.0, 212.0
	maxEventLines         = 400
	smallTotal            = 300.0 // percent; up to it the total load is drawn with the average
	maxMarks              = 12
)

// axes maps values to the drawing area.
type axes struct {
	span time.Duration
	top  float64
}

func (a axes) x(t time.Duration) float64 {
	return round1(chartLeft + (chartRight-chartLeft)*float64(t)/float64(max(a.span, 1)))
}

func (a axes) y(v float64) float64 {
	return round1(chartBottom - (chartBottom-chartTop)*min(v, a.top)/a.top)
}

func round1(x float64) float64 { return math.Round(x*10) / 10 }

func view(r Report, i int) (reportView, error) {
	rows := thin(r.Rows, chartPoints)
	v := reportView{Name: r.Policy, ID: "r" + itoa(i), Load: loadPanel(r, rows), Nodes: nodesPanel(r, rows)}
	if v.Name == "" {
		v.Name = "default"
	}
	data, err := json.Marshal(pointsOf(r, rows))
	if err != nil {
		return v, fmt.Errorf("report page: %w", err)
	}
	v.Data = template.JS(data) //nolint:gosec // numbers and clock times that json.Marshal wrote
	for _, row := range r.Rows {
		for _, l := range row.Log {
			if len(v.Events) < maxEventLines {
				v.Events = append(v.Events, eventLine{r.clock(row.At), l})
			}
		}
	}
	return v, nil
}

// pointsOf is what the pointer shows: x, clock, average, total, and the counts.
func pointsOf(r Report, rows []Row) [][]any {
	a := axes{span: r.Duration}
	out := make([][]any, len(rows))
	for i, row := range rows {
		out[i] = []any{
			a.x(row.At), r.clock(row.At), number(row.AvgLoad), number(row.TotalLoad),
			row.Running, row.Launching, row.Waiting, row.Canceled, row.Terminating, row.People,
		}
	}
	return out
}

func loadPanel(r Report, rows []Row) panel {
	top, total := 100.0, 0.0
	for _, row := range rows {
		top, total = max(top, row.AvgLoad), max(total, row.TotalLoad)
	}
	if total <= smallTotal {
		top = max(top, total)
	}
	a := axes{r.Duration, nice(top)}
	p := panel{Ticks: ticks(a, "%"), Hours: hours(r, a)}
	line := func(v func(Row) float64) string { return steps(rows, a, v) }
	p.Lines = []shape{{"avg", line(func(x Row) float64 { return x.AvgLoad }), "average load"}}
	p.Areas = []shape{{"avg-area", closed(rows, a, func(x Row) float64 { return x.AvgLoad }, func(Row) float64 { return 0 }), ""}}
	if total <= smallTotal {
		p.Lines = append(p.Lines, shape{"total", line(func(x Row) float64 { return x.TotalLoad }), "total load"})
	}
	if r.Limits.Scaling {
		p.Levels = []level{
			{"limit", "max load " + number(r.Limits.MaxLoad) + " %", a.y(r.Limits.MaxLoad)},
			{"limit", "min load " + number(r.Limits.MinLoad) + " %", a.y(r.Limits.MinLoad)},
		}
	}
	return p
}

// nodesPanel stacks the nodes by status, and draws the total load on the same
// axis: 100 % of load is one node's worth.
func nodesPanel(r Report, rows []Row) panel {
	top := 1.0
	if r.Limits.Scaling {
		top = float64(r.Limits.MaxNodes)
	}
	stack := []struct {
		class string
		count func(Row) int
	}{
		{"running", func(x Row) int { return x.Running }},
		{"waiting", func(x Row) int { return x.Waiting }},
		{"launching", func(x Row) int { return x.Launching }},
		{"canceled", func(x Row) int { return x.Canceled }},
		{"terminating", func(x Row) int { return x.Terminating }},
	}
	upTo := func(x Row, n int) float64 {
		sum := 0
		for _, s := range stack[:n] {
			sum += s.count(x)
		}
		return float64(sum)
	}
	for _, row := range rows {
		top = max(top, upTo(row, len(stack)), row.TotalLoad/100)
	}
	a := axes{r.Duration, nice(top * 1.05)}
	p := panel{Ticks: ticks(a, ""), Hours: hours(r, a)}
	for i, s := range stack {
		p.Areas = append(p.Areas, shape{s.class, closed(rows, a,
			func(x Row) float64 { return upTo(x, i+1) }, func(x Row) float64 { return upTo(x, i) }), s.class})
	}
	p.Lines = []shape{{"total", steps(rows, a, func(x Row) float64 { return x.TotalLoad / 100 }), "total load (100 % = one node)"}}
	if r.Limits.Scaling {
		p.Levels = []level{
			{"nodelimit", "max " + itoa(r.Limits.MaxNodes), a.y(float64(r.Limits.MaxNodes))},
			{"nodelimit", "min " + itoa(r.Limits.MinNodes), a.y(float64(r.Limits.MinNodes))},
		}
	}
	return p
}

// steps is a line that holds each value until the next row.
func steps(rows []Row, a axes, v func(Row) float64) string {
	var b strings.Builder
	for i, r := range rows {
		if i == 0 {
			fmt.Fprintf(&b, "M%v %v", a.x(r.At), a.y(v(r)))
			continue
		}
		fmt.Fprintf(&b, "H%vV%v", a.x(r.At), a.y(v(r)))
	}
	return b.String()
}

// closed is the area between two step lines.
func closed(rows []Row, a axes, upper, lower func(Row) float64) string {
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(steps(rows, a, upper))
	for i := len(rows) - 1; i >= 0; i-- {
		if i == len(rows)-1 {
			fmt.Fprintf(&b, "L%v %v", a.x(rows[i].At), a.y(lower(rows[i])))
			continue
		}
		fmt.Fprintf(&b, "V%vH%v", a.y(lower(rows[i])), a.x(rows[i].At))
	}
	b.WriteByte('Z')
	return b.String()
}

// nice is the next round number.
func nice(v float64) float64 {
	scale := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10} {
		if m*scale >= v-1e-9 {
			return m * scale
		}
	}
	return 10 * scale
}

func ticks(a axes, unit string) []mark {
	step := nice(a.top / 5)
	if unit == "" {
		step = max(1, math.Ceil(step))
	}
	var out []mark
	for v := 0.0; v <= a.top+1e-9; v += step {
		out = append(out, mark{Text: number(v) + unit, At: a.y(v)})
	}
	return out
}

func hours(r Report, a axes) []mark {
	step := 24 * time.Hour
	for _, s := range []time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	} {
		if r.Duration/s <= maxMarks {
			step = s
			break
		}
	}
	for r.Duration/step > maxMarks {
		step *= 2
	}
	var out []mark
	for t := time.Duration(0); t <= r.Duration; t += step {
		out = append(out, mark{Text: r.clock(t), At: a.x(t), Last: t+step > r.Duration})
	}
	return out
}
