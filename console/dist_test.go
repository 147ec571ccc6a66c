//go:build !noconsole

package console

import (
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// TestDist checks the committed build: each page names only its own files, and
// those exist and are served.
func TestDist(t *testing.T) {
	h := Handler()
	link := regexp.MustCompile(`(?:src|href)="([^"]+)"`)
	for _, page := range []string{"/meet", "/console"} {
		res := get(t, h, "GET", page)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: status %d", page, res.StatusCode)
		}
		html := text(t, res)
		links := link.FindAllStringSubmatch(html, -1)
		if len(links) < 3 {
			t.Errorf("%s: only %d links; is it built?", page, len(links))
		}
		for _, l := range links {
			if !strings.HasPrefix(l[1], "/console/") {
				t.Errorf("%s: %s is not ours", page, l[1])
				continue
			}
			if res := get(t, h, "GET", l[1]); res.StatusCode != http.StatusOK {
				t.Errorf("%s: %s: status %d", page, l[1], res.StatusCode)
			} else if strings.Contains(l[1], "/assets/") && res.Header.Get("Cache-Control") != cacheForever {
				t.Errorf("%s: %s is not cached for ever", page, l[1])
			}
		}
		// The policy forbids inline code, so the pages must not need it.
		if strings.Contains(html, "style=") || regexp.MustCompile(`<script(?:\s[^>]*)?>[^<]`).MatchString(html) {
			t.Errorf("%s: inline script or style", page)
		}
	}
}

func TestDistHashes(t *testing.T) {
	hashed := regexp.MustCompile(`-[A-Za-z0-9_-]{8}\.[a-z0-9]+$`)
	err := fs.WalkDir(Dist, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !hashed.MatchString(name) {
			t.Errorf("%s has no hash in its name but is cached for ever", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
