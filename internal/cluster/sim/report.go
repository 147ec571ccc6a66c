package sim

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster/autoscale"
)

// Report is what came of a simulation.
type Report struct {
	Name     string        `json:"name"`
	Policy   string        `json:"policy,omitempty"`
	Seed     uint64        `json:"seed"`
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration_ns"`
	Limits   Limits        `json:"limits"`
	Figures  Figures       `json:"figures"`
	Rows     []Row         `json:"rows"`
}

// Limits are the lines of the chart.
type Limits struct {
	Scaling  bool    `json:"scaling"`
	MaxNodes int     `json:"max_nodes"`
	MinNodes int     `json:"min_nodes"`
	MaxLoad  float64 `json:"max_load"`
	MinLoad  float64 `json:"min_load"`
}

// Row is the cluster at one tick of the autoscaler. As in the published tables
// the loads are those before the decision, the counts those after it.
type Row struct {
	At          time.Duration `json:"at_ns"`
	TotalLoad   float64       `json:"total_load"`
	AvgLoad     float64       `json:"avg_load"`
	Running     int           `json:"running"`
	Launching   int           `json:"launching"`
	Waiting     int           `json:"waiting_idle_to_terminate"`
	Canceled    int           `json:"canceled"`
	Terminating int           `json:"terminating"`
	People      int           `json:"people"`
	Log         []string      `json:"log,omitempty"`
}

// finish closes the books.
func (e *engine) finish() Report {
	e.now = e.end
	e.m.advance(e.now)
	f := e.m.Figures
	f.NodeHours = e.m.seconds / 3600
	f.Cost = e.m.coreSec / 60 * e.sc.Price
	return Report{
		Name: e.sc.Name, Seed: e.sc.Seed, Start: e.sc.Start, Duration: e.sc.Duration,
		Limits: limitsOf(e.sc.Scaling, e.sc.Autoscale), Figures: f, Rows: e.m.rows,
	}
}

func limitsOf(scaling bool, p autoscale.Policy) Limits {
	return Limits{scaling, p.MaxNodes, p.MinNodes, p.MaxLoad, p.MinLoad}
}

// ReportsJSON is the reports as one indented JSON array.
func ReportsJSON(reports []Report) ([]byte, error) {
	out, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return append(out, '\n'), nil
}

// thin keeps at most n rows: the first, the last, and of each stretch between
// the one with the highest total load.
func thin(rows []Row, n int) []Row {
	if n < 2 || len(rows) <= n {
		return rows
	}
	out := make([]Row, 0, n)
	out = append(out, rows[0])
	inner := rows[1 : len(rows)-1]
	for i := range n - 2 {
		part := inner[i*len(inner)/(n-2) : (i+1)*len(inner)/(n-2)]
		if len(part) == 0 {
			continue
		}
		best := part[0]
		for _, r := range part[1:] {
			if r.TotalLoad > best.TotalLoad {
				best = r
			}
		}
		out = append(out, best)
	}
	return append(out, rows[len(rows)-1])
}

// Compare runs the scenario under each of the named policies, on the same work.
func Compare(sc Scenario, names []string) ([]Report, error) {
	var out []Report
	for _, name := range names {
		v, err := sc.Policy(name)
		if err != nil {
			return nil, err
		}
		r, err := Run(sc.WithPolicy(v), nil)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", name, err)
		}
		r.Policy = name
		out = append(out, r)
	}
	return out, nil
}
