package sim

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
	"github.com/concertina-rtc/concertina/internal/cluster/script"
	"github.com/google/go-cmp/cmp"
)

// TestScenarios runs testdata/small/*.txt. The commands of a file are a
// scenario, except for those that show what comes of it:
//
//	rows N                the table, of at most N rows
//	figures POLICY…       the figures, under each of the policies
//	events KIND…          the events and decisions of these kinds, as they came
//	say                   what the autoscaler said, with the times
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/small/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := shown{t: t, file: file, text: string(text)}
			got, err := script.Rewrite(file, string(text), w.show)
			if err != nil {
				t.Fatal(err)
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// shown is a scenario file whose commands so far are known.
type shown struct {
	t          *testing.T
	file, text string
	lines      []int // of the scenario's own commands
}

func (w *shown) show(c *script.Command) string {
	switch c.Name {
	case "rows":
		r, _ := w.run()
		t := textTable{right: true}
		n := 12
		if len(c.Args) > 0 {
			_, _ = fmt.Sscan(c.Args[0], &n)
		}
		t.add("time", "total %", "avg %", "run", "launch", "wait", "cancel", "term", "people")
		for _, row := range thin(r.Rows, n) {
			t.add(r.clock(row.At), number(row.TotalLoad), number(row.AvgLoad), itoa(row.Running), itoa(row.Launching),
				itoa(row.Waiting), itoa(row.Canceled), itoa(row.Terminating), itoa(row.People))
		}
		return t.String()
	case "figures":
		sc := w.scenario()
		if len(c.Args) == 0 {
			return FiguresText([]Report{run(w.t, sc)})
		}
		reports, err := Compare(sc, c.Args)
		if err != nil {
			return "error: " + err.Error()
		}
		return FiguresText(reports)
	case "events":
		_, log := w.run()
		return w.events(log, c.Args)
	case "say":
		r, _ := w.run()
		var b strings.Builder
		for _, row := range r.Rows {
			for _, l := range row.Log {
				fmt.Fprintf(&b, "%s %s\n", r.clock(row.At), l)
			}
		}
		return b.String()
	}
	w.lines = append(w.lines, c.Line)
	return ""
}

// scenario parses the commands so far, each in its own line.
func (w *shown) scenario() Scenario {
	w.t.Helper()
	all := strings.Split(w.text, "\n")
	own := make([]string, len(all))
	for _, l := range w.lines {
		own[l-1] = all[l-1]
	}
	sc, err := Parse(w.file, strings.Join(own, "\n"), func(name string) (string, error) {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(w.file), name))
		return string(data), err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return sc
}

// run simulates, and checks that what was recorded replays.
func (w *shown) run() (Report, string) {
	w.t.Helper()
	var log strings.Builder
	r, err := Run(w.scenario(), func(line []byte) { log.Write(line) })
	if err != nil {
		w.t.Fatal(err)
	}
	again, err := Replay(w.file, log.String())
	if err != nil || again.Difference != nil {
		w.t.Errorf("the log does not replay: %v\n%v", err, again.Difference)
	}
	return r, log.String()
}

// events is the lines of a decision log that are of these kinds, in short.
func (w *shown) events(log string, kinds []string) string {
	var b strings.Builder
	start := time.Time{}
	for _, line := range strings.Split(strings.TrimSpace(log), "\n") {
		var rec Record
		if err := json.Unmarshal([]byte(line), &rec); err != nil {
			w.t.Fatal(err)
		}
		var at time.Time
		var kind, text string
		switch {
		case rec.Event != nil:
			e, err := cluster.DecodeEvent(rec.Event)
			if err != nil {
				w.t.Fatal(err)
			}
			at, kind, text = e.When(), e.Kind(), describe(e)
		case rec.Place != nil:
			at, kind, text = rec.Place.Request.At, "place", rec.Place.Request.Room+rec.Place.Request.ID+" → "+rec.Place.Decision.Node
			if rec.Place.Error != "" {
				text = rec.Place.Request.Room + rec.Place.Request.ID + ": " + rec.Place.Error
			}
			if rec.Place.Decision.Spilled {
				text += " (spilled)"
			}
		case rec.Scale != nil:
			p := rec.Scale.Plan
			at, kind, text = p.At, "scale", fmt.Sprintf("to %d: +%d −%d", p.Target, p.Launch.Total(), p.Terminate.Total())
			if p.Empty() {
				continue
			}
		}
		if start.IsZero() && !at.IsZero() {
			start = at
		}
		for _, k := range kinds {
			if k == kind {
				fmt.Fprintf(&b, "%s %s %s\n", stamp(at.Sub(start)), kind, text)
			}
		}
	}
	return b.String()
}

func stamp(d time.Duration) string {
	return fmt.Sprintf("%02d:%02d.%03d", int(d.Minutes()), int(d.Seconds())%60, d.Milliseconds()%1000)
}

func describe(e cluster.Event) string {
	switch e := e.(type) {
	case cluster.NodeAdded:
		return e.Node.ID
	case cluster.NodeStatusChanged:
		return e.Node + " " + string(e.Status)
	case cluster.NodeRemoved:
		return e.Node
	case cluster.LoadReported:
		return fmt.Sprintf("%s %.4g%% v%d, %d rooms, %d people", e.Node, e.Load.CPU, e.Load.Version, e.Load.Rooms, e.Load.Clients)
	case cluster.RoomPlaced:
		return e.Room + " on " + e.Node
	case cluster.ParticipantPlaced:
		return e.Room + " on " + e.Node
	case cluster.ParticipantLeft:
		return e.Room + " on " + e.Node
	case cluster.RoomLeft:
		return e.Room + " on " + e.Node
	case cluster.RoomClosed:
		return e.Room
	case cluster.JobPlaced:
		return e.Job.ID + " on " + e.Job.Worker
	case cluster.JobEnded:
		return e.Job
	case cluster.WorkerReported:
		return fmt.Sprintf("%s %.3g", e.Worker, e.Load)
	case cluster.ReservationAdmitted:
		s := fmt.Sprintf("%s, %.3g CPUs unplaced", e.Reservation.Room, e.Reservation.Unplaced.CPU)
		for _, sh := range e.Reservation.Shares {
			s += fmt.Sprintf(", %.3g on %s", sh.Demand.CPU, sh.Node)
		}
		return s
	case cluster.ReservationBound:
		return fmt.Sprintf("%s, %.3g CPUs on %s", e.Reservation, e.CPU, e.Node)
	}
	return ""
}
