package config

import (
	"fmt"
	"reflect"
	"strings"
)

// suggest returns "; did you mean ...?" for a key that section does not have,
// or "" when nothing is near: a slip of the fingers, or the right key in the
// wrong section.
func suggest(name string, section, root reflect.Type) string {
	var names []string
	for _, f := range fields(section) {
		names = append(names, f.name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if path := elsewhere(name, root, ""); path != "" {
		return fmt.Sprintf("; did you mean %q?", path)
	}
	return ""
}

// nearest returns the candidate with the smallest edit distance to name, if
// that is at most a third of its length (at least 1, at most 3).
func nearest(name string, candidates []string) string {
	if len(name) > 64 {
		return ""
	}
	best, limit := "", min(max(len(name)/3, 1), 3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), c); d <= limit {
			best, limit = c, d-1
		}
	}
	return best
}

// elsewhere finds the path of a key with this name in any section.
func elsewhere(name string, t reflect.Type, path string) string {
	for _, f := range fields(t) {
		p := join(path, f.name)
		if f.name == name && path != "" {
			return p
		}
		if isSection(f.Type) {
			if found := elsewhere(name, f.Type, p); found != "" {
				return found
			}
		}
	}
	return ""
}

// distance is the Damerau-Levenshtein distance with adjacent transpositions.
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
