package sim

import (
	"fmt"
	"strings"
)

// chartHeight is the lines of the load chart.
const chartHeight = 10

// chart draws the average load with its limits, and under it the nodes that
// run or launch.
func (r Report) chart(width int) string {
	rows := columns(r.Rows, width)
	if len(rows) == 0 {
		return ""
	}
	top := 100.0
	for _, row := range rows {
		top = max(top, row.AvgLoad)
	}
	var b strings.Builder
	for line := chartHeight; line >= 1; line-- {
		lo, hi := top*float64(line-1)/chartHeight, top*float64(line)/chartHeight
		mark := "     "
		limit := false
		if r.Limits.Scaling {
			for _, l := range []float64{r.Limits.MaxLoad, r.Limits.MinLoad} {
				if l > lo && l <= hi {
					mark, limit = fmt.Sprintf("%4.0f%%", l), true
				}
			}
		}
		if line == chartHeight && !limit {
			mark = fmt.Sprintf("%4.0f%%", top)
		}
		b.WriteString(mark + " │")
		for _, row := range rows {
			b.WriteString(cell(row.AvgLoad, lo, hi, limit))
		}
		b.WriteByte('\n')
	}
	b.WriteString("      └" + strings.Repeat("─", len(rows)) + " average load\n")
	b.WriteString("nodes  " + spark(rows, r.Limits))
	return b.String()
}

// columns spreads the rows over the width, each column the highest of its part.
func columns(rows []Row, width int) []Row {
	if len(rows) >= width {
		return thin(rows, width)
	}
	if len(rows) == 0 {
		return nil
	}
	each := max(1, width/len(rows))
	var out []Row
	for _, r := range rows {
		for range each {
			out = append(out, r)
		}
	}
	return out
}

func cell(v, lo, hi float64, limit bool) string {
	blocks := []rune(" ▁▂▃▄▅▆▇█")
	switch {
	case v >= hi:
		return "█"
	case v > lo:
		return string(blocks[1+int((v-lo)/(hi-lo)*7)])
	case limit:
		return "┄"
	}
	return " "
}

// spark is one line of the number of active nodes, scaled to its maximum.
func spark(rows []Row, l Limits) string {
	blocks := []rune("▁▂▃▄▅▆▇█")
	top := max(1, l.MaxNodes)
	peak := 0
	for _, r := range rows {
		peak = max(peak, r.Running+r.Launching)
	}
	if !l.Scaling || peak > top {
		top = max(1, peak)
	}
	var b strings.Builder
	for _, r := range rows {
		n := r.Running + r.Launching
		b.WriteRune(blocks[min(n*len(blocks)/(top+1), len(blocks)-1)])
	}
	fmt.Fprintf(&b, " most %d of %d\n", peak, top)
	return b.String()
}
