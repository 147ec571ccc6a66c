package allocator

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
			v := &viewing{in: Input{Now: t0}}
			got, err := script.Rewrite(file, string(text), func(c *script.Command) string {
				out, err := v.command(c)
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

// viewing interprets a file about one viewer:
//
//	audio mic kbps=40
//	camera ann                a camera with the layers 150, 500 and 1700 kbps
//	screen desk               a shared screen with the layers 300 and 2500 kbps
//	track ann max=s1t2 priority=2 muted=on pause=off layers=2 current=s2t2
//	                          changes a track; also options of the above
//	gone ann
//	wait 2s
//	allocate 1500 congested=on  divides that many kbps and prints what changes
//	targets                   prints what everybody has
type viewing struct {
	in Input
}

func (v *viewing) command(c *script.Command) (string, error) {
	switch c.Name {
	case "audio", "camera", "screen":
		v.in.Demands = append(v.in.Demands, newDemand(c.Name, c.Args[0]))
		return "", v.change(c)
	case "track":
		return "", v.change(c)
	case "gone":
		v.in.Demands = slices.DeleteFunc(v.in.Demands, func(d Demand) bool { return d.TrackID == c.Args[0] })
	case "wait":
		d, err := time.ParseDuration(c.Args[0])
		if err != nil {
			return "", c.Errorf("%v", err)
		}
		v.in.Now = v.in.Now.Add(d)
	case "allocate":
		return v.allocate(c)
	case "targets":
		return v.targets(), nil
	default:
		return "", c.Errorf("unknown command")
	}
	return "", nil
}

// newDemand returns a track as its kind usually is.
func newDemand(kind, id string) Demand {
	d := Demand{TrackID: id, Kind: Video, MayPause: true, Max: Layer{2, 2}, Current: Layer{Spatial: Paused}}
	switch kind {
	case "audio":
		d.Kind = Audio
		d.Bitrates[0][0] = 40_000
	case "camera":
		d.Bitrates = Bitrates{{60_000, 90_000, 150_000}, {200_000, 300_000, 500_000}, {680_000, 1_020_000, 1_700_000}}
	case "screen":
		d.ScreenShare = true
		d.Bitrates = Bitrates{{120_000, 300_000}, {1_000_000, 2_500_000}}
	}
	return d
}

func (v *viewing) change(c *script.Command) error {
	i := slices.IndexFunc(v.in.Demands, func(d Demand) bool { return d.TrackID == c.Args[0] })
	if i < 0 {
		return c.Errorf("no track %s", c.Args[0])
	}
	d := &v.in.Demands[i]
	r := script.Reader{Command: c}
	priority, kbps, layers := int(d.Priority), int(d.Bitrates[0][0]/1000), MaxSpatial
	r.Int("priority", &priority)
	r.Int("kbps", &kbps)
	r.Int("layers", &layers)
	r.Bool("muted", &d.Muted)
	r.Bool("pause", &d.MayPause)
	r.Fail(readLayer(c, "max", &d.Max))
	r.Fail(readLayer(c, "current", &d.Current))
	d.Priority = uint8(priority)
	d.Bitrates[0][0] = int64(kbps) * 1000
	for s := layers; s < MaxSpatial; s++ {
		d.Bitrates[s] = [MaxTemporal]int64{}
	}
	if err := r.Err(); err != nil {
		return err
	}
	return c.Unused()
}

func readLayer(c *script.Command, key string, l *Layer) error {
	text := c.String(key, l.String())
	if text == "paused" {
		*l = Layer{Spatial: Paused}
		return nil
	}
	_, err := fmt.Sscanf(text, "s%dt%d", &l.Spatial, &l.Temporal)
	return err
}

func (v *viewing) allocate(c *script.Command) (string, error) {
	r := script.Reader{Command: c}
	r.Bool("congested", &v.in.Congested)
	var kbps int64
	if _, err := fmt.Sscan(c.Args[0], &kbps); err != nil {
		return "", c.Errorf("%v", err)
	}
	v.in.Bitrate = kbps * 1000
	targets, x := Allocate(v.in)
	v.in.Congested = false
	apply(&v.in, targets)
	out := x.String() + "\n"
	for i, t := range targets {
		if t.Limit != t.Layer {
			out += fmt.Sprintf("%s: until its key frame comes %v of %v, drop %v\n", t.TrackID, t.Limit, v.in.Demands[i].Current, t.Drop)
		}
	}
	return out, r.Err()
}

func (v *viewing) targets() string {
	targets, _ := Allocate(v.in)
	var b strings.Builder
	for i, t := range targets {
		fmt.Fprintf(&b, "%s %v: %v\n", t.TrackID, v.in.Demands[i].Target, t.Why)
	}
	return b.String()
}
