package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/concertina-rtc/concertina/internal/cluster/sim"
	"github.com/urfave/cli/v3"
)

func simulateCommand() *cli.Command {
	return &cli.Command{
		Name:      "simulate",
		Usage:     "run placement and autoscaling in virtual time",
		ArgsUsage: "SCENARIO",
		Description: `SCENARIO is a file, or one that comes with the program:
` + builtinList() + `
A week of a school under four policies, as one page to look at:
  concertina simulate --compare default,forecast,calendar,fixed --html week.html school-week
A burst that put 58 of 92 people on one server elsewhere, with the plain rule beside:
  concertina simulate --compare default,plain incident-joins
Write a scenario of your own from one of these, and try another seed:
  concertina simulate --print live-event > mine.txt && concertina simulate --seed 7 mine.txt

Policies to compare are those that the scenario names, and default, plain,
cooldown, headroom, forecast and fixed. A decision log, of a simulation
(--record) or of a cluster, runs again with --replay: the first decision that
comes out otherwise is printed, with the reason, and the exit code is 1.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "compare", Usage: "run these policies, separated by commas, on the same work"},
			&cli.StringFlag{Name: "html", Usage: "write a self-contained page to `FILE`"},
			&cli.StringFlag{Name: "json", Usage: "write the reports as JSON to `FILE`, or - for standard output"},
			&cli.StringFlag{Name: "record", Usage: "write the decision log to `FILE`"},
			&cli.StringFlag{Name: "replay", Usage: "run the decision log in `FILE` again and compare"},
			&cli.Uint64Flag{Name: "seed", Usage: "use this seed instead of the scenario's"},
			&cli.IntFlag{Name: "rows", Usage: "rows of the table", Value: 24},
			&cli.BoolFlag{Name: "log", Usage: "print what the autoscaler says"},
			&cli.BoolFlag{Name: "print", Usage: "print the scenario instead of running it"},
		},
		Action: simulate,
	}
}

func builtinList() string {
	var b strings.Builder
	for _, s := range sim.Builtins() {
		fmt.Fprintf(&b, "  %-18s%s\n", s.Name, s.Title)
	}
	return b.String()
}

func simulate(_ context.Context, cmd *cli.Command) error {
	if file := cmd.String("replay"); file != "" {
		if cmd.Args().Present() {
			return usage(cmd, "--replay takes no SCENARIO, got %q", cmd.Args().First())
		}
		return replayLog(cmd, file)
	}
	if cmd.Args().Len() != 1 {
		return usage(cmd, "expected one SCENARIO, got %d", cmd.Args().Len())
	}
	if cmd.Int("rows") < 2 {
		return usage(cmd, "--rows must be at least 2")
	}
	name := cmd.Args().First()
	text, err := scenarioText(name)
	if err != nil {
		return err
	}
	if cmd.Bool("print") {
		_, err := fmt.Fprint(cmd.Root().Writer, text)
		return err
	}
	sc, err := sim.Parse(name, text, func(trace string) (string, error) { return readText(filepath.Join(filepath.Dir(name), trace)) })
	if err != nil {
		return err
	}
	if cmd.IsSet("seed") {
		sc.Seed = cmd.Uint64("seed")
	}
	reports, err := runScenario(cmd, sc)
	if err != nil {
		return err
	}
	return writeReports(cmd, sc, reports)
}

// scenarioText reads a file; a name that is no file may be a built-in one.
func scenarioText(name string) (string, error) {
	text, err := readText(name)
	if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(name, `./\`) {
		if built, builtErr := sim.BuiltinText(name); builtErr == nil {
			return built, nil
		}
		return "", fmt.Errorf("%q is neither a file nor a scenario that comes with the program; see concertina simulate --help", name)
	}
	return text, err
}

func readText(name string) (string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read scenario: %w", err)
	}
	return string(data), nil
}

func runScenario(cmd *cli.Command, sc sim.Scenario) ([]sim.Report, error) {
	names := strings.FieldsFunc(cmd.String("compare"), func(r rune) bool { return r == ',' || r == ' ' })
	record := cmd.String("record")
	switch {
	case len(names) > 0 && record != "":
		return nil, usage(cmd, "--record records one policy: leave out --compare")
	case len(names) > 0:
		return sim.Compare(sc, slices.Compact(names))
	case record == "":
		r, err := sim.Run(sc, nil)
		return []sim.Report{r}, err
	}
	f, err := os.Create(record)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	w := bufio.NewWriter(f)
	r, err := sim.Run(sc, func(line []byte) { _, _ = w.Write(line) }) // Flush reports the error
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return []sim.Report{r}, nil
}

func writeReports(cmd *cli.Command, sc sim.Scenario, reports []sim.Report) error {
	out := cmd.Root().Writer
	if file := cmd.String("html"); file != "" {
		page, err := sim.HTML(reports)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	}
	if file := cmd.String("json"); file != "" {
		data, err := sim.ReportsJSON(reports)
		if err != nil {
			return err
		}
		if file == "-" {
			_, err := out.Write(data)
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return fmt.Errorf("write JSON: %w", err)
		}
	}
	if len(reports) == 1 {
		_, err := fmt.Fprint(out, reports[0].Text(sim.TextOptions{Rows: int(cmd.Int("rows")), Log: cmd.Bool("log") || sc.Log}))
		return err
	}
	_, err := fmt.Fprintf(out, "%s · seed %d\n\n%s", sc.Name, sc.Seed, sim.FiguresText(reports))
	return err
}

func replayLog(cmd *cli.Command, file string) error {
	text, err := readText(file)
	if err != nil {
		return err
	}
	r, err := sim.Replay(file, text)
	if err != nil {
		return err
	}
	out := cmd.Root().Writer
	fmt.Fprintf(out, "%d events, %d placements, %d ticks\n", r.Events, r.Placements, r.Ticks)
	if r.Difference != nil {
		return fmt.Errorf("the first decision that comes out otherwise:\n%s", r.Difference)
	}
	_, err = fmt.Fprintln(out, "every decision came out as recorded")
	return err
}
