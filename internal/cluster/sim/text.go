package sim

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// TextOptions shape the terminal output.
type TextOptions struct {
	Rows  int // of the table; 0: 24
	Width int // of the chart; 0: 72
	Log   bool
}

// Text is the report for a terminal: the figures, a chart, and a table.
func (r Report) Text(o TextOptions) string {
	if o.Rows == 0 {
		o.Rows = 24
	}
	if o.Width == 0 {
		o.Width = 72
	}
	var b strings.Builder
	title := r.Name
	if r.Policy != "" {
		title += " · policy " + r.Policy
	}
	fmt.Fprintf(&b, "%s · seed %d · %s\n\n", title, r.Seed, words(r.Duration))
	b.WriteString(r.chart(o.Width))
	b.WriteByte('\n')
	b.WriteString(r.table(o))
	b.WriteByte('\n')
	b.WriteString(FiguresText([]Report{r}))
	return b.String()
}

func (r Report) table(o TextOptions) string {
	t := textTable{right: true}
	t.add("time", "total %", "avg %", "run", "launch", "wait", "cancel", "term", "people")
	var logs []string
	for _, row := range thin(r.Rows, o.Rows) {
		t.add(r.clock(row.At), number(row.TotalLoad), number(row.AvgLoad), itoa(row.Running), itoa(row.Launching),
			itoa(row.Waiting), itoa(row.Canceled), itoa(row.Terminating), itoa(row.People))
	}
	out := t.String()
	if !o.Log {
		return out
	}
	for _, row := range r.Rows {
		for _, l := range row.Log {
			logs = append(logs, r.clock(row.At)+"  "+l+"\n")
		}
	}
	return out + "\n" + strings.Join(logs, "")
}

// clock writes a moment: minutes and seconds for a run of an hour or so, else
// with hours, and the day where there are several.
func (r Report) clock(d time.Duration) string {
	if r.Duration <= 2*time.Hour {
		return fmt.Sprintf("%02d:%02d", int(d.Minutes()), int(d.Seconds())%60)
	}
	s := fmt.Sprintf("%02d:%02d", int(d.Hours())%24, int(d.Minutes())%60)
	if r.Duration > 24*time.Hour {
		s = fmt.Sprintf("d%d %s", int(d.Hours())/24+1, s)
	}
	return s
}

// FiguresText is a table of the figures, one column for each report.
func FiguresText(reports []Report) string {
	t := textTable{}
	head := []string{""}
	for _, r := range reports {
		name := r.Policy
		if name == "" {
			name = "figures"
		}
		head = append(head, name)
	}
	if len(reports) > 1 {
		t.add(head...)
	}
	for _, f := range figureRows() {
		cells := []string{f.name}
		any := f.always
		for _, r := range reports {
			v := f.value(r.Figures)
			any = any || v != "0" && v != "0.0"
			cells = append(cells, v)
		}
		if any {
			t.add(cells...)
		}
	}
	return t.String()
}

// figureRow is a line of the comparison. lower says that less is better.
type figureRow struct {
	name   string
	value  func(Figures) string
	always bool
	note   string
}

func figureRows() []figureRow {
	count := func(f func(Figures) int) func(Figures) string {
		return func(x Figures) string { return itoa(f(x)) }
	}
	one := func(f func(Figures) float64) func(Figures) string {
		return func(x Figures) string {
			if v := f(x); v < 1000 {
				return fmt.Sprintf("%.1f", v)
			}
			return fmt.Sprintf("%.0f", f(x))
		}
	}
	return []figureRow{
		{"sessions", count(func(f Figures) int { return f.Sessions }), false, "rooms placed at once"},
		{"joins", count(func(f Figures) int { return f.Joins }), false, "participants placed one by one"},
		{"agent jobs", count(func(f Figures) int { return f.Agents }), false, ""},
		{"rejected", count(func(f Figures) int { return f.Rejected }), true, "found no place"},
		{"node-hours", one(func(f Figures) float64 { return f.NodeHours }), true, "from launch to termination"},
		{"cost $", func(f Figures) string { return fmt.Sprintf("%.2f", f.Cost) }, true, "core-minutes × price"},
		{"minutes above the limit", one(func(f Figures) float64 { return f.MinutesAboveLimit }), true, "real average above max_load"},
		{"overloaded node-minutes", one(func(f Figures) float64 { return f.HotNodeMinutes }), true, ""},
		{"person-minutes on overloaded nodes", one(func(f Figures) float64 { return f.HotPersonMinutes }), true, ""},
		{"most people on overloaded nodes", count(func(f Figures) int { return f.PeakHotPeople }), true, ""},
		{"hottest node / mean at the peak", func(f Figures) string { return fmt.Sprintf("%.2f", f.Spread) }, true, ""},
		{"launches", count(func(f Figures) int { return f.Launches }), true, ""},
		{"launches failed", count(func(f Figures) int { return f.LaunchFailures }), false, ""},
		{"launches canceled", count(func(f Figures) int { return f.Cancels }), false, ""},
		{"drains", count(func(f Figures) int { return f.Drains }), true, "nodes given up"},
		{"most nodes", count(func(f Figures) int { return f.PeakNodes }), true, ""},
		{"most people", count(func(f Figures) int { return f.PeakPeople }), true, ""},
		{"rooms spilled", count(func(f Figures) int { return f.Spills }), false, "to a further node"},
		{"reservations", count(func(f Figures) int { return f.Reservations }), false, "admitted"},
		{"reservations refused", count(func(f Figures) int { return f.ReservationsRefused }), false, ""},
		{"crashes", count(func(f Figures) int { return f.Crashes }), false, ""},
		{"people interrupted", count(func(f Figures) int { return f.Interrupted }), false, "by crashes"},
	}
}

// textTable lines up columns. The first column is to the left, the others to
// the right.
type textTable struct {
	rows  [][]string
	right bool // the first column too
}

func (t *textTable) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *textTable) String() string {
	var width []int
	for _, row := range t.rows {
		for i, c := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		var line strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i > 0 {
				line.WriteString("  ")
			}
			if i == 0 && !t.right {
				line.WriteString(c + pad)
			} else {
				line.WriteString(pad + c)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}
