// Package archtest keeps the architecture: which package may import which,
// what the pure packages may not touch, how large things may grow, what must
// be documented. It reads source only, so it needs no tool and no network, and
// runs with every go test ./...
//
// It owns the layer table of ARCHITECTURE.md ([theRules]). It checks no style
// that gofmt and go vet check, and nothing about tests beyond their imports.
//
// Start reading at theRules; each rule is a check function with its reason in
// the message. A message tells what to do. When a rule is wrong, change it
// here and in ARCHITECTURE.md together; a single exception goes to allowed,
// with its reason.
package archtest

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the list of planted violations")

// rules is everything that the checks are told.
type rules struct {
	module string
	// layers, lowest first. A package imports lower rows only. A row names
	// directories; a trailing /* is every directory directly below.
	layers [][]string
	// importers restricts who may import a package, whatever the layers say.
	importers map[string][]string
	// pure directories, with everything below them, only compute.
	pure []string
	// skip directories are not checked.
	skip []string
	// allowed are violations that stay, each with its reason. The key is the
	// violation without its line number.
	allowed map[string]string
	budget  budget
	// larger are packages with a budget of their own for lines of code. The
	// list should shrink.
	larger map[string]int
}

// budget is how large things may grow.
type budget struct {
	fileLines, funcLines, packageCode, interfaceMethods, imports int
	documented                                                   float64 // part of exported names
}

func theRules() rules {
	return rules{
		module: "github.com/concertina-rtc/concertina",
		layers: [][]string{
			{"internal/cluster", "internal/cluster/script", "internal/media/rtp", "internal/media/codec", "internal/auth", "internal/event", "internal/config", "internal/room/measure", "internal/room/track", "internal/room/reply", "console"},
			{"internal/cluster/clustertest", "internal/cluster/placement", "internal/cluster/autoscale", "internal/cluster/relayplan", "internal/media/sdp", "internal/media/layer", "internal/media/bwe", "internal/media/allocator", "internal/media/transport", "internal/media/turn", "internal/provider"},
			{"internal/cluster/sim", "internal/media/sfu", "internal/bus", "internal/provider/*"},
			{"internal/media/peer", "internal/media/relay", "internal/job", "internal/room/data", "internal/room/view"},
			{"internal/room", "internal/control", "internal/webhook", "internal/metering", "internal/job/*"},
			{"internal/signal", "internal/node"},
			{"internal/api", "internal/api/*", "internal/load"},
			{"internal/server"},
			{"cmd/concertina"},
		},
		importers: map[string][]string{"console": {"internal/server"}},
		pure:      []string{"internal/cluster", "internal/media/rtp", "internal/media/codec", "internal/media/sdp", "internal/media/sdp", "internal/media/layer", "internal/media/bwe", "internal/media/allocator", "internal/room/measure", "internal/room/track", "internal/room/reply", "internal/room/view"},
		skip:      []string{"internal/deps_tmp", "internal/archtest"},
		allowed: map[string]string{
			"console/embed.go: package variable Dist is exported: others could change it; offer a function":              "the one thing that the package is for, named in its contract",
			"console/embed_none.go: package variable Dist has no value: keep state in a struct":                          "the same without the pages (tag noconsole)",
			"internal/media/transport/sockopt_other.go: package variable reusePort has no value: keep state in a struct": "nil says that this system has no such function; the other build has one",
		},
		budget: budget{fileLines: 800, funcLines: 100, packageCode: 3000, interfaceMethods: 7, imports: 10, documented: 0.95},
		larger: map[string]int{
			"internal/media/transport": 3300, // sockets, ICE, DTLS, SCTP and the export of all of it
			"internal/bus":             3400, // servers, leases, records, queues and their subjects in one place
		},
	}
}

func TestArchitecture(t *testing.T) {
	r := theRules()
	tree := load(t, "../..", r)
	if len(tree.packages) < 5 {
		t.Fatalf("found only %d packages: is the root right?", len(tree.packages))
	}
	used := map[string]bool{}
	for _, v := range check(tree, r) {
		if r.allowed[v.key()] != "" {
			used[v.key()] = true
			continue
		}
		t.Error(v)
	}
	for key := range r.allowed {
		if !used[key] {
			t.Errorf("the exception %q is no longer needed: delete it", key)
		}
	}
	for _, p := range tree.packages {
		if own := r.larger[p.dir]; own > 0 && p.code() <= r.budget.packageCode {
			t.Errorf("%s is within the budget again: delete it from larger", p.dir)
		}
	}
}

func TestRulesAreConsistent(t *testing.T) {
	r := theRules()
	seen := map[string]bool{}
	for _, row := range r.layers {
		for _, dir := range row {
			if seen[dir] {
				t.Errorf("%s is in two layers", dir)
			}
			seen[dir] = true
		}
	}
	for _, dir := range r.pure {
		if !seen[dir] {
			t.Errorf("%s is pure, but in no layer", dir)
		}
	}
	for key, reason := range r.allowed {
		if len(reason) < 10 {
			t.Errorf("the exception %q needs a reason", key)
		}
	}
}

// plantedRules are those of the modules in testdata, with small budgets.
func plantedRules() rules {
	return rules{
		module: "example.com/planted",
		layers: [][]string{
			{"internal/core", "internal/media", "console"},
			{"internal/middle", "internal/kind/*"},
			{"internal/top", "internal/other"},
			{"cmd/planted"},
		},
		importers: map[string][]string{"console": {"internal/top"}},
		pure:      []string{"internal/core"},
		skip:      []string{"internal/skipped"},
		budget:    budget{fileLines: 60, funcLines: 10, packageCode: 40, interfaceMethods: 2, imports: 3, documented: 0.95},
	}
}

// Every violation planted in testdata/planted is reported, and no other.
func TestReportsPlantedViolations(t *testing.T) {
	r := plantedRules()
	var got strings.Builder
	for _, v := range check(load(t, "testdata/planted", r), r) {
		got.WriteString(v.String() + "\n")
	}
	const golden = "testdata/planted.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", &got, want)
	}
	// Each planted line says so, which keeps the golden file honest.
	for _, planted := range plantedLines(t, "testdata/planted") {
		if !strings.Contains(got.String(), planted+": ") {
			t.Errorf("%s is marked as planted, but not reported", planted)
		}
	}
}

func TestCleanTreePasses(t *testing.T) {
	r := plantedRules()
	tree := load(t, "testdata/clean", r)
	if len(tree.packages) < 3 {
		t.Fatalf("found %d packages", len(tree.packages))
	}
	for _, v := range check(tree, r) {
		t.Error(v)
	}
}

// plantedLines returns "file:line" of every line that ends in "// planted".
func plantedLines(t *testing.T, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(raw), "\n") {
			if strings.HasSuffix(line, "// planted") {
				out = append(out, place{filepath.ToSlash(rel), i + 1}.String())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("nothing is planted")
	}
	slices.Sort(out)
	return out
}
