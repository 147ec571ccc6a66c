package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/concertina-rtc/concertina/internal/auth"
)

// devServer starts a development server on free ports.
func devServer(t *testing.T, change func(*Config)) *Server {
	t.Helper()
	cfg := DefaultDev()
	cfg.Port, cfg.RTC.UDPPort, cfg.RTC.TCPPort = 0, 0, 0
	cfg.Logging.Level = "error"
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, Options{Out: io.Discard, Version: "test", Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *Server) get(t *testing.T, path string, header http.Header) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", s.http.port(), path), nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestEndpoints(t *testing.T) {
	s := devServer(t, nil)
	for _, tc := range []struct {
		path, contains string
		status         int
	}{
		{"/", "OK", 200},
		{"/healthz", "OK", 200},
		{"/readyz", "OK", 200},
		{"/metrics", "concertina_room_participants 0", 200},
		{"/meet", "<html", 200},
		{"/console", "<html", 200},
		{"//rtc/validate", "token", 401},
		{"/rtc/validate", "token", 401},
		{"/rtc/validate?access_token=nonsense", "token", 401},
		{"/rtc/v1/validate", "token", 401},
		{"/api/dev/token", "room and identity", 400},
		{"/nothing", "", 404},
	} {
		if status, body := s.get(t, tc.path, nil); status != tc.status || !strings.Contains(strings.ToLower(body), strings.ToLower(tc.contains)) {
			t.Errorf("%s: %d %.200s, want %d with %q", tc.path, status, body, tc.status, tc.contains)
		}
	}
}

func TestDevToken(t *testing.T) {
	s := devServer(t, nil)
	status, body := s.get(t, "/api/dev/token?room=r&identity=ann&name=Ann", nil)
	var got struct{ Token, URL string }
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %s %v", status, body, err)
	}
	if want := fmt.Sprintf("ws://127.0.0.1:%d", s.http.port()); got.URL != want {
		t.Errorf("url %s, want %s", got.URL, want)
	}
	c, err := s.keys.Verify(got.Token, time.Now())
	if err != nil || c.Identity != "ann" || c.Name != "Ann" || !c.CanJoin("r") || c.CanJoin("s") {
		t.Errorf("claims %+v, %v", c, err)
	}
	if status, body := s.get(t, "/rtc/validate?access_token="+got.Token, nil); status != 200 || body != "success" {
		t.Errorf("validate: %d %s", status, body)
	}
	if status, _ := s.get(t, "/api/dev/keys", http.Header{"Sec-Fetch-Site": {"cross-site"}}); status != 404 {
		t.Errorf("a page of another site gets the keys: %d", status)
	}
}

func TestValidateTellsWhatIsWrong(t *testing.T) {
	s := devServer(t, func(c *Config) { c.Room.AutoCreate = false })
	sign := func(c auth.Claims, ttl time.Duration) string {
		token, err := auth.Sign(auth.DevKey, auth.DevSecret, c, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	join := &auth.VideoGrant{RoomJoin: true, Room: "r"}
	foreign, err := auth.Sign("other", "some-other-secret-that-is-long-enough", auth.Claims{Identity: "a", Video: join}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, query, contains string
		status                int
	}{
		{"room that is not there", "access_token=" + sign(auth.Claims{Identity: "a", Video: join}, time.Minute), "requested room does not exist", 404},
		{"no grant", "access_token=" + sign(auth.Claims{Identity: "a", Video: &auth.VideoGrant{}}, time.Minute), "roomJoin", 401},
		{"another room", "room=s&access_token=" + sign(auth.Claims{Identity: "a", Video: join}, time.Minute), "another room", 401},
		{"no identity", "access_token=" + sign(auth.Claims{Video: join}, time.Minute), "identity", 400},
		{"unknown key", "access_token=" + foreign, "key", 401},
	} {
		if status, body := s.get(t, "/rtc/validate?"+tc.query, nil); status != tc.status || !strings.Contains(body, tc.contains) {
			t.Errorf("%s: %d %s, want %d with %q", tc.name, status, body, tc.status, tc.contains)
		}
	}
}

func TestMetricsCanBeProtected(t *testing.T) {
	s := devServer(t, func(c *Config) { c.Prometheus.Username, c.Prometheus.Password = "prom", "s3cret" })
	if status, _ := s.get(t, "/metrics", nil); status != 401 {
		t.Errorf("without a password: %d", status)
	}
	req := &http.Request{Header: http.Header{}}
	req.SetBasicAuth("prom", "s3cret")
	if status, _ := s.get(t, "/metrics", req.Header); status != 200 {
		t.Errorf("with the password: %d", status)
	}
}

// A second server on the port fails before anything is served, says which port
// it is, and leaves nothing behind.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test is over
	cfg := DefaultDev()
	cfg.Port, cfg.RTC.UDPPort, cfg.RTC.TCPPort = l.Addr().(*net.TCPAddr).Port, 0, 0
	cfg.Logging.Level = "error"
	ignore := goleak.IgnoreCurrent()
	_, err = New(cfg, Options{Version: "test"})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprint(cfg.Port)) {
		t.Errorf("error %v does not name port %d", err, cfg.Port)
	}
	goleak.VerifyNone(t, ignore)
}

func TestRunStopsCleanly(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	cfg := DefaultDev()
	cfg.Port, cfg.RTC.UDPPort, cfg.RTC.TCPPort = 0, 0, 0
	cfg.Logging.Level = "error"
	ctx, cancel := context.WithCancel(t.Context())
	out := &bannerWriter{seen: make(chan struct{})}
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, Options{Out: out, Version: "test", Dev: true}) }()
	select {
	case <-out.seen:
	case <-time.After(10 * time.Second):
		t.Fatal("no banner")
	}
	for _, want := range []string{"/meet?room=hello", "/console", "ws://127.0.0.1:", "devkey", "secret", "eyJ"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("banner lacks %q:\n%s", want, out.String())
		}
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("run: %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("run does not end")
	}
	goleak.VerifyNone(t, ignore)
}

// bannerWriter is written once, by Run, before it is read.
type bannerWriter struct {
	bytes.Buffer
	seen chan struct{}
}

func (w *bannerWriter) Write(p []byte) (int, error) {
	defer close(w.seen)
	return w.Buffer.Write(p)
}
