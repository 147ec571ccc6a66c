package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// httpServer serves one handler on several addresses.
type httpServer struct {
	srv       *http.Server
	listeners []net.Listener
	wg        sync.WaitGroup
	log       *slog.Logger
	errs      chan error
}

// listenHTTP opens every address before anything is served.
func listenHTTP(addresses []string, port int, h http.Handler, log *slog.Logger) (*httpServer, error) {
	s := &httpServer{log: log, errs: make(chan error, 1), srv: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    2 << 20, // /rtc/v1 carries an SDP offer in its URL
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	for _, a := range addresses {
		l, err := net.Listen("tcp", net.JoinHostPort(a, fmt.Sprint(port)))
		if err != nil {
			for _, open := range s.listeners {
				_ = open.Close() // nothing was served on it
			}
			return nil, fmt.Errorf("listen for HTTP on %s port %d: %w (is another server running? choose another port)", a, port, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

func (s *httpServer) start() {
	for _, l := range s.listeners {
		s.wg.Go(func() {
			if err := s.srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				select {
				case s.errs <- err:
				default:
				}
			}
		})
	}
}

// close stops accepting, ends what is open and waits.
func (s *httpServer) close(ctx context.Context) {
	if err := s.srv.Shutdown(ctx); err != nil {
		s.log.Debug("http shutdown", "error", err)
		_ = s.srv.Close() // what is still open is cut
	}
	s.wg.Wait()
}

// port returns the port that was bound, which matters when 0 was asked for.
func (s *httpServer) port() int { return s.listeners[0].Addr().(*net.TCPAddr).Port }

// health answers load balancers and orchestrators.
type health struct{ ready atomic.Bool }

func (h *health) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", h.live) // LiveKit's health endpoint
	mux.HandleFunc("GET /healthz", h.live)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !h.ready.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("OK"))
	})
}

func (h *health) live(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK")) }

func metricsHandler(reg *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}

// collapseSlashes accepts paths such as //rtc, which clients make from a server
// URL with a trailing slash.
func collapseSlashes(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "//") {
			r.URL.Path = "/" + strings.TrimLeft(r.URL.Path, "/")
			r.URL.RawPath = ""
		}
		next.ServeHTTP(w, r)
	})
}
