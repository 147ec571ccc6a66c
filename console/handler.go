// Package console holds the two web pages of the product, built and embedded:
// /meet, the meeting page, and /console, the Inspector. It owns the files and
// how they are served (routes, caching, compression, security headers). It does
// not own the endpoints that the pages call; API.md is their contract. The
// sources are in src/, built by `npm run build` into dist/, which is committed
// so that `go build` needs no Node. Start at Handler.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
)

// The Content-Security-Policy of the answers. Everything is our own; blob: is
// for recorded and processed media. A meeting may be on another server, so
// sockets are open to any, and the meeting page may also fetch from any: that
// is how livekit-client learns why a server refused it.
const (
	securityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; " +
		"img-src 'self' data: blob:; media-src 'self' blob: mediastream:; worker-src 'self' blob:; manifest-src 'self'; " +
		"base-uri 'none'; form-action 'self'; frame-ancestors 'self'; connect-src 'self' ws: wss:"
	meetPolicy = securityPolicy + " http: https:"
)

const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheNever   = "no-cache"
)

// Handler serves /meet, /meet/*, /console and /console/* from Dist. A path
// that names no file gets its page, so that /meet/standup and
// /console/rooms/standup can be opened and reloaded; a missing asset is 404.
// Files with a hash in their name are cached for ever, the pages are
// revalidated by ETag. Without pages in the binary every path is 404.
func Handler() http.Handler {
	return newHandler(Dist)
}

// handler answers from memory; it is immutable after newHandler, except for
// the compressed copies, which are made on first use.
type handler struct {
	files map[string]*file // by URL path
}

type file struct {
	body        []byte
	contentType string
	cache       string
	etag        string
	policy      string
	gzip        func() []byte // nil when compressing is no use
}

func newHandler(dist fs.FS) http.Handler {
	if dist == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "this binary was built without the pages (tag noconsole)", http.StatusNotFound)
		})
	}
	files, err := load(dist)
	if err != nil {
		// The file system is part of the binary: this is a broken build, not a state of the world.
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the embedded pages cannot be read: "+err.Error(), http.StatusInternalServerError)
		})
	}
	return &handler{files: files}
}

func load(dist fs.FS) (map[string]*file, error) {
	files := make(map[string]*file)
	err := fs.WalkDir(dist, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(dist, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		files["/console/"+name] = newFile(name, body)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load pages: %w", err)
	}
	for _, page := range []string{"meet", "console"} {
		if files["/console/"+page+".html"] == nil {
			return nil, fmt.Errorf("load pages: %s.html is missing", page)
		}
	}
	return files, nil
}

func newFile(name string, body []byte) *file {
	sum := sha256.Sum256(body)
	f := &file{
		body:        body,
		contentType: contentType(name),
		cache:       cacheNever,
		policy:      securityPolicy,
		etag:        `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`,
	}
	if strings.HasPrefix(name, "assets/") {
		f.cache = cacheForever
	}
	if name == "meet.html" {
		f.policy = meetPolicy
	}
	if len(body) > 1024 {
		f.gzip = sync.OnceValue(func() []byte { return compress(body) })
	}
	return f
}

// contentType does not ask the system's MIME tables: they differ between
// machines, and a script served as text/plain is refused by browsers.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".map":
		return "application/json"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".png":
		return "image/png"
	case ".woff2":
		return "font/woff2"
	case ".wasm":
		return "application/wasm"
	default:
		return "application/octet-stream"
	}
}

func compress(body []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	// Writes to a buffer do not fail.
	_, _ = w.Write(body)
	_ = w.Close()
	return buf.Bytes()
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", securityPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	// The address of a meeting may carry a token.
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), speaker-selection=(self)")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	f := h.lookup(r.URL.Path)
	if f == nil {
		header.Set("Cache-Control", cacheNever)
		http.NotFound(w, r)
		return
	}
	f.serve(w, r)
}

// lookup finds the file of a path, the page of a path inside a page, or nil.
func (h *handler) lookup(p string) *file {
	if f := h.files[p]; f != nil {
		return f
	}
	if strings.HasPrefix(p, "/console/assets/") {
		return nil
	}
	switch {
	case p == "/meet" || strings.HasPrefix(p, "/meet/"):
		return h.files["/console/meet.html"]
	case p == "/console" || strings.HasPrefix(p, "/console/"):
		return h.files["/console/console.html"]
	default:
		return nil
	}
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Security-Policy", f.policy)
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", f.cache)
	body, etag := f.body, f.etag
	if f.gzip != nil {
		header.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Values("Accept-Encoding")) {
			header.Set("Content-Encoding", "gzip")
			// Another representation needs another strong tag (RFC 9110, section 8.8.3.3).
			body, etag = f.gzip(), strings.TrimSuffix(f.etag, `"`)+`-gzip"`
		}
	}
	header.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		header.Del("Content-Type")
		header.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		// A client that went away is not our error.
		_, _ = w.Write(body)
	}
}

// acceptsGzip reads Accept-Encoding (RFC 9110, section 12.5.3): gzip or *,
// unless its weight is zero.
func acceptsGzip(values []string) bool {
	any := false
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			coding, params, _ := strings.Cut(item, ";")
			coding = strings.ToLower(strings.TrimSpace(coding))
			if coding != "gzip" && coding != "*" {
				continue
			}
			accepted := !zeroWeight(params)
			if coding == "gzip" {
				return accepted
			}
			any = accepted
		}
	}
	return any
}

func zeroWeight(params string) bool {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err == nil && q == 0
		}
	}
	return false
}

// matches tells whether an If-None-Match header names the tag, by the weak
// comparison that RFC 9110, section 13.1.2 asks for.
func matches(header, etag string) bool {
	for item := range strings.SplitSeq(header, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.TrimPrefix(item, "W/") == etag {
			return true
		}
	}
	return false
}
