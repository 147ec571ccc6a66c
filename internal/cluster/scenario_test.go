package cluster_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/concertina-rtc/concertina/internal/cluster/clustertest"
	"github.com/concertina-rtc/concertina/internal/cluster/script"
	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write the outputs of the scenario files anew")

// TestScenarios runs testdata/*.txt: each command is an event, and "state"
// prints what came of it.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w := clustertest.New()
			got, err := script.Rewrite(file, string(text), func(c *script.Command) string {
				out, known := w.Run(c)
				if !known {
					t.Fatalf("%v", c.Errorf("unknown command"))
				}
				return out
			})
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
