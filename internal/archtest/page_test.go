package archtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// ARCHITECTURE.md shows the layers and says where to find what. It must agree
// with the table here and with the files that exist.
func TestArchitecturePageIsTrue(t *testing.T) {
	const root = "../.."
	raw, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := theRules()
	rows := pageRows(string(raw))
	if len(rows) != len(r.layers) {
		t.Errorf("the page has %d rows of layers, the table %d", len(rows), len(r.layers))
	}
	listed := map[string]bool{}
	for row, dirs := range rows {
		for _, dir := range dirs {
			listed[dir] = true
			if got, ok := r.layer(dir); !ok || got != row {
				t.Errorf("the page has %s in row %d, the table in row %d (found: %v)", dir, row, got, ok)
			}
		}
	}
	for _, p := range load(t, root, r).packages {
		if !listed[p.dir] {
			t.Errorf("%s is not in the page's layers", p.dir)
		}
	}
	files := 0
	for _, f := range pageFiles(string(raw)) {
		files++
		if matches, err := filepath.Glob(filepath.Join(root, "internal", f)); err != nil || len(matches) == 0 {
			t.Errorf("the page sends readers to internal/%s, which does not exist", f)
		}
	}
	if files < 10 {
		t.Errorf("found only %d files on the page: has its table changed shape?", files)
	}
}

// pageRows returns the directories of each row of the layer table, without the
// planned ones, which are in italics.
func pageRows(page string) map[int][]string {
	row := regexp.MustCompile(`(?m)^\| (\d+) \| (.*) \|$`)
	name := regexp.MustCompile("`([a-z/]+)`")
	out := map[int][]string{}
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		n, _ := strconv.Atoi(m[1])
		out[n] = nil
		for _, d := range name.FindAllStringSubmatch(m[2], -1) {
			dir := d[1]
			if dir != "console" && !strings.HasPrefix(dir, "cmd/") {
				dir = "internal/" + dir
			}
			out[n] = append(out[n], dir)
		}
	}
	return out
}

// pageFiles returns "package/file.go" of the table of questions.
func pageFiles(page string) (out []string) {
	line := regexp.MustCompile(`(?m)^\| [^|]*\? \| ([a-z/]+)[^|]* \| ([^|]*) \|$`)
	file := regexp.MustCompile(`[a-z_*]+\.go`)
	for _, m := range line.FindAllStringSubmatch(page, -1) {
		for _, f := range file.FindAllString(m[2], -1) {
			out = append(out, m[1]+"/"+f)
		}
	}
	return out
}
