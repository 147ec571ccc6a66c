package console

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func script() []byte { return []byte("export const x = '" + strings.Repeat("concertina ", 500) + "'") }

func site() fs.FS {
	return fstest.MapFS{
		"meet.html":            {Data: []byte("<title>meet</title>")},
		"console.html":         {Data: []byte("<title>console</title>")},
		"favicon.svg":          {Data: []byte("<svg/>")},
		"assets/meet-abc12.js": {Data: script()},
		"assets/base-9f.css":   {Data: []byte("a{}")},
	}
}

func get(t *testing.T, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRoutes(t *testing.T) {
	h := newHandler(site())
	const meet, inspector = "<title>meet</title>", "<title>console</title>"
	for _, tt := range []struct {
		path        string
		status      int
		contentType string
		cache       string
		body        string // "" is not checked
	}{
		{"/meet", 200, "text/html; charset=utf-8", "no-cache", meet},
		{"/meet/", 200, "text/html; charset=utf-8", "no-cache", meet},
		{"/meet/standup", 200, "text/html; charset=utf-8", "no-cache", meet},
		{"/meet/a.b?room=x&token=y", 200, "text/html; charset=utf-8", "no-cache", meet},
		{"/console", 200, "text/html; charset=utf-8", "no-cache", inspector},
		{"/console/", 200, "text/html; charset=utf-8", "no-cache", inspector},
		{"/console/rooms/stand%2Fup", 200, "text/html; charset=utf-8", "no-cache", inspector},
		{"/console/favicon.svg", 200, "image/svg+xml", "no-cache", "<svg/>"},
		{"/console/assets/meet-abc12.js", 200, "text/javascript; charset=utf-8", cacheForever, string(script())},
		{"/console/assets/base-9f.css", 200, "text/css; charset=utf-8", cacheForever, "a{}"},
		{"/console/assets/gone-1.js", 404, "text/plain; charset=utf-8", "no-cache", ""},
		{"/console/assets/", 404, "text/plain; charset=utf-8", "no-cache", ""},
		{"/console/../meet.html", 200, "text/html; charset=utf-8", "no-cache", inspector},
		{"/meeting", 404, "text/plain; charset=utf-8", "no-cache", ""},
		{"/consoles", 404, "text/plain; charset=utf-8", "no-cache", ""},
		{"/", 404, "text/plain; charset=utf-8", "no-cache", ""},
	} {
		t.Run(tt.path, func(t *testing.T) {
			res := get(t, h, "GET", tt.path)
			got := []any{res.StatusCode, res.Header.Get("Content-Type"), res.Header.Get("Cache-Control")}
			if diff := cmp.Diff([]any{tt.status, tt.contentType, tt.cache}, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if body := text(t, res); tt.body != "" && body != tt.body {
				t.Errorf("body %q, want %q", body, tt.body)
			}
		})
	}
}

func TestSecurityHeaders(t *testing.T) {
	h := newHandler(site())
	for path, connect := range map[string]string{
		"/meet":                   "connect-src 'self' ws: wss: http: https:",
		"/console":                "connect-src 'self' ws: wss:",
		"/console/assets/gone.js": "connect-src 'self' ws: wss:",
	} {
		res := get(t, h, "GET", path)
		policy := res.Header.Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'none'", "script-src 'self';", "style-src 'self';",
			"media-src 'self' blob: mediastream:;",
		} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: policy %q lacks %q", path, policy, want)
			}
		}
		if rest, ok := strings.CutSuffix(policy, connect); !ok || strings.Contains(rest, "unsafe") || strings.Contains(rest, "http") {
			t.Errorf("%s: policy %q, want only own origin and %q", path, policy, connect)
		}
		if got := res.Header.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("%s: X-Content-Type-Options %q", path, got)
		}
		if got := res.Header.Get("Referrer-Policy"); got != "no-referrer" {
			t.Errorf("%s: Referrer-Policy %q", path, got)
		}
	}
}

func TestMethods(t *testing.T) {
	h := newHandler(site())
	res := get(t, h, "POST", "/meet")
	if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: status %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	res = get(t, h, "HEAD", "/meet")
	if body := text(t, res); res.StatusCode != 200 || body != "" || res.Header.Get("Content-Length") != "19" {
		t.Errorf("HEAD: status %d, body %q, length %s", res.StatusCode, body, res.Header.Get("Content-Length"))
	}
}

func TestGzip(t *testing.T) {
	h := newHandler(site())
	const path = "/console/assets/meet-abc12.js"
	for range 2 { // the second time from the kept copy
		res := get(t, h, "GET", path, "Accept-Encoding", "br, gzip;q=0.5")
		if res.Header.Get("Content-Encoding") != "gzip" || res.Header.Get("Vary") != "Accept-Encoding" {
			t.Fatalf("headers %v", res.Header)
		}
		z, err := gzip.NewReader(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(plain, script()) {
			t.Error("unpacked body differs")
		}
	}
	if res := get(t, h, "GET", "/meet", "Accept-Encoding", "gzip"); res.Header.Get("Content-Encoding") != "" {
		t.Error("a tiny page was compressed")
	}
}

func TestAcceptsGzip(t *testing.T) {
	for value, want := range map[string]bool{
		"":                      false,
		"gzip":                  true,
		"GZIP":                  true,
		"deflate, br":           false,
		"br;q=1, gzip;q=0.001":  true,
		"gzip;q=0":              false,
		"gzip; q=0.000, *":      false,
		"*":                     true,
		"*;q=0":                 false,
		"identity, *;q=0.1":     true,
		"gzip;level=9;q=0":      false,
		"*;q=0, gzip":           true,
		"gzipped":               false,
		"gzip;q=not-a-number":   true,
		";;;,,,=,q=0,gzip;;;;q": true,
	} {
		if got := acceptsGzip([]string{value}); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestNotModified(t *testing.T) {
	h := newHandler(site())
	const path = "/console/assets/meet-abc12.js"
	plain := get(t, h, "GET", path).Header.Get("ETag")
	packed := get(t, h, "GET", path, "Accept-Encoding", "gzip").Header.Get("ETag")
	if plain == "" || plain == packed {
		t.Fatalf("tags %s and %s must be set and differ", plain, packed)
	}
	for _, tt := range []struct {
		match, accept string
		status        int
	}{
		{plain, "", 304},
		{`"x", W/` + plain, "", 304},
		{"*", "", 304},
		{packed, "", 200},
		{packed, "gzip", 304},
		{`"x"`, "", 200},
		{"", "", 200},
	} {
		res := get(t, h, "GET", path, "If-None-Match", tt.match, "Accept-Encoding", tt.accept)
		if res.StatusCode != tt.status {
			t.Errorf("If-None-Match %s: %d, want %d", tt.match, res.StatusCode, tt.status)
		}
		if body := text(t, res); tt.status == 304 && body != "" {
			t.Errorf("If-None-Match %s: 304 with a body", tt.match)
		}
	}
}

func TestWithoutPages(t *testing.T) {
	res := get(t, newHandler(nil), "GET", "/meet")
	if body := text(t, res); res.StatusCode != 404 || !strings.Contains(body, "noconsole") {
		t.Errorf("status %d, body %q", res.StatusCode, body)
	}
}

type brokenFS struct{ fs.FS }

func (b brokenFS) Open(name string) (fs.File, error) {
	if name == "meet.html" {
		return nil, errors.New("broken")
	}
	return b.FS.Open(name)
}

func TestBrokenPages(t *testing.T) {
	for name, dist := range map[string]fs.FS{
		"unreadable": brokenFS{site()},
		"incomplete": fstest.MapFS{"meet.html": {Data: []byte("x")}},
	} {
		if res := get(t, newHandler(dist), "GET", "/meet"); res.StatusCode != http.StatusInternalServerError {
			t.Errorf("%s: status %d, want 500", name, res.StatusCode)
		}
	}
}

// FuzzHeaders sends what a client may say about encodings and tags: the answer
// is whole and is never compressed for one that does not name gzip.
func FuzzHeaders(f *testing.F) {
	h := newHandler(site())
	const path = "/console/assets/meet-abc12.js"
	f.Add("gzip, br;q=0.3", `W/"x", "y"`)
	f.Add("*;q=0, identity", "*")
	f.Add("gzip;q=1e999;q==,;;", `","`)
	f.Fuzz(func(t *testing.T, accept, match string) {
		r := httptest.NewRequest("GET", path, nil)
		r.Header["Accept-Encoding"] = []string{accept}
		r.Header["If-None-Match"] = []string{match}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		packed := w.Header().Get("Content-Encoding") == "gzip"
		if packed && !strings.Contains(strings.ToLower(accept), "gzip") && !strings.Contains(accept, "*") {
			t.Errorf("compressed for %q", accept)
		}
		switch w.Code {
		case http.StatusNotModified:
			if w.Body.Len() != 0 || match == "" {
				t.Errorf("304 for %q with %d bytes", match, w.Body.Len())
			}
		case http.StatusOK:
			if !packed && !bytes.Equal(w.Body.Bytes(), script()) {
				t.Error("plain body differs")
			}
		default:
			t.Errorf("status %d", w.Code)
		}
	})
}
