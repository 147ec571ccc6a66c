package bwe_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/concertina-rtc/concertina/internal/cluster/script"
)

var rewrite = flag.Bool("rewrite", false, "write the outputs of the scenario files anew")

// TestScenarios runs testdata/*.txt. Only commit changes of their outputs that you
// understand.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &scenario{}
			got, err := script.Rewrite(file, string(text), func(c *script.Command) string {
				out, err := s.command(c)
				if err != nil {
					t.Error(err)
				}
				return out
			})
			if err != nil {
				t.Fatal(err)
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
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

// scenario interprets a file:
//
//	network rate=5000 delay=25ms queue=1s jitter= stall= loss= reorder= seed=
//	                          sets or changes the link, rates in kbps
//	cross rate=500            other traffic on it
//	viewer a greedy=on        a viewer of it
//	mute a on|off             its publisher falls silent
//	reports a loss=0.2        part of its reports is lost
//	run 10s                   lets time pass and prints what happened
//	quiet 10s                 lets time pass and prints a summary
//	expect a at-least=… at-most=… freeze=… queue=… layer=… within=… share=…
//	                          what the last run must have been; printed as ok
type scenario struct {
	world   *world
	link    *link
	cross   cross
	viewers []*viewer
	out     strings.Builder
	verbose bool

	began   time.Duration
	sum     map[string]float64 // of estimates, each 100 ms
	samples int
	since   map[string]time.Duration // when the viewer got its present layer
	last    map[string]string
}

func (s *scenario) command(c *script.Command) (string, error) {
	s.out.Reset()
	r := script.Reader{Command: c}
	switch c.Name {
	case "network":
		s.network(&r)
	case "cross":
		var rate float64
		r.Float("rate", &rate)
		s.cross.start(s.world, s.link, rate*1000)
	case "viewer":
		s.viewer(&r)
	case "mute":
		s.find(c.Args[0]).silent = c.Args[1] == "on"
	case "reports":
		r.Float("loss", &s.find(c.Args[0]).lossFB)
	case "run", "quiet":
		d, err := time.ParseDuration(c.Args[0])
		if err != nil {
			return "", c.Errorf("%v", err)
		}
		s.verbose = c.Name == "run"
		s.run(d)
	case "expect":
		return s.expect(c, &r)
	default:
		return "", c.Errorf("unknown command")
	}
	return s.out.String(), errors.Join(r.Err(), c.Unused())
}

func (s *scenario) network(r *script.Reader) {
	if s.world == nil {
		seed := 1
		r.Int("seed", &seed)
		s.world = newWorld(uint64(seed))
		s.link = &link{world: s.world, queue: 2 * time.Second, delay: 25 * time.Millisecond}
		s.since, s.last = map[string]time.Duration{}, map[string]string{}
		s.world.every(100*time.Millisecond, s.sample)
	}
	l, rate, kb := s.link, s.link.rate/1000, l1000(s.link.bytes)
	r.Float("rate", &rate)
	r.Int("buffer", &kb)
	r.Duration("queue", &l.queue)
	r.Duration("delay", &l.delay)
	r.Duration("jitter", &l.jitter)
	r.Duration("stall", &l.stall)
	r.Float("loss", &l.loss)
	r.Float("reorder", &l.reorder)
	waiting := l.wait().Seconds() * l.rate
	l.rate, l.bytes = rate*1000, kb*1000
	if l.rate > 0 {
		l.freeAt = s.world.now + time.Duration(waiting/l.rate*float64(time.Second))
	}
}

func l1000(n int) int { return n / 1000 }

func (s *scenario) viewer(r *script.Reader) {
	greedy, start := false, 1000
	r.Bool("greedy", &greedy)
	r.Int("start", &start)
	v := newViewer(s.world, r.Command.Args[0], s.link, greedy, int64(start)*1000)
	v.log = func(format string, args ...any) {
		if s.verbose {
			fmt.Fprintf(&s.out, "%7.2f %s: %s\n", s.world.now.Seconds(), v.name, fmt.Sprintf(format, args...))
		}
	}
	s.viewers = append(s.viewers, v)
}

func (s *scenario) find(name string) *viewer {
	for _, v := range s.viewers {
		if v.name == name {
			return v
		}
	}
	panic("no viewer " + name)
}

func (s *scenario) sample() {
	s.samples++
	for _, v := range s.viewers {
		s.sum[v.name] += float64(v.decision.Bitrate)
		if l := v.layer(); l != s.last[v.name] {
			s.last[v.name], s.since[v.name] = l, s.world.now
		}
	}
}

// layer is what goes out to the viewer at present.
func (v *viewer) layer() string {
	l := v.selector.Current()
	if l.Spatial < 0 {
		return "none"
	}
	return fmt.Sprintf("s%dt%d", l.Spatial, l.Temporal)
}

func (s *scenario) run(d time.Duration) {
	s.began, s.samples, s.sum = s.world.now, 0, map[string]float64{}
	s.link.longest, s.link.dropped = 0, 0
	for _, v := range s.viewers {
		v.arrivedBytes, v.sentBytes, v.freeze = 0, 0, 0
		v.lastShown = max(v.lastShown, s.world.now-time.Second)
	}
	s.world.run(s.world.now + d)
	for _, v := range s.viewers {
		fmt.Fprintf(&s.out, "%7.2f %s: estimate %d kbps (mean %.0f), arrived %.0f kbps", s.world.now.Seconds(), v.name,
			v.decision.Bitrate/1000, s.mean(v)/1000, float64(v.arrivedBytes)*8/d.Seconds()/1000)
		if !v.greedy {
			fmt.Fprintf(&s.out, ", %s, longest gap %d ms", v.layer(), v.freeze.Milliseconds())
		}
		s.out.WriteByte('\n')
	}
	fmt.Fprintf(&s.out, "%7.2f network: longest wait %d ms, %d dropped\n", s.world.now.Seconds(), s.link.longest.Milliseconds(), s.link.dropped)
}

func (s *scenario) mean(v *viewer) float64 { return s.sum[v.name] / float64(max(s.samples, 1)) }

// expect checks the last run.
func (s *scenario) expect(c *script.Command, r *script.Reader) (string, error) {
	v := s.find(c.Args[0])
	var atLeast, atMost, share float64
	var freeze, queue, within time.Duration
	var layers string
	r.Float("at-least", &atLeast)
	r.Float("at-most", &atMost)
	r.Float("share", &share)
	r.Duration("freeze", &freeze)
	r.Duration("queue", &queue)
	r.Duration("within", &within)
	r.Text("layer", &layers)
	if err := errors.Join(r.Err(), c.Unused()); err != nil {
		return "", err
	}
	mean := s.mean(v) / 1000
	var total int
	for _, v := range s.viewers {
		total += v.arrivedBytes
	}
	got := float64(v.arrivedBytes) / float64(max(total, 1))
	since := max(s.since[v.name]-s.began, 0)
	switch {
	case atLeast > 0 && mean < atLeast:
		return "", c.Errorf("mean estimate %.0f kbps, want at least %.0f", mean, atLeast)
	case atMost > 0 && mean > atMost:
		return "", c.Errorf("mean estimate %.0f kbps, want at most %.0f", mean, atMost)
	case share > 0 && got < share:
		return "", c.Errorf("share of %.2f, want %.2f", got, share)
	case freeze > 0 && v.freeze > freeze:
		return "", c.Errorf("no picture for %v, want at most %v", v.freeze, freeze)
	case queue > 0 && s.link.longest > queue:
		return "", c.Errorf("packets waited %v, want at most %v", s.link.longest, queue)
	case layers != "" && !strings.Contains(layers, v.layer()):
		return "", c.Errorf("is on %s, want %s", v.layer(), layers)
	case within > 0 && since > within:
		return "", c.Errorf("is on %s only after %v, want %v", v.layer(), since, within)
	}
	return "ok", nil
}
