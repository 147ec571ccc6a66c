// Package server puts a node together: it reads the configuration, constructs
// every part by name from the bottom up, serves, and takes everything down in
// the reverse order. It knows every other package and holds no behaviour.
//
// Later parts have their place here: the bus and the cluster between transport
// and rooms, relays beside rooms, jobs beside the API. Start at Run.
package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/concertina-rtc/concertina/console"
	"github.com/concertina-rtc/concertina/internal/api"
	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/media/peer"
	"github.com/concertina-rtc/concertina/internal/media/transport"
	"github.com/concertina-rtc/concertina/internal/media/turn"
	"github.com/concertina-rtc/concertina/internal/room"
	"github.com/concertina-rtc/concertina/internal/signal"
	"github.com/concertina-rtc/concertina/internal/webhook"
)

// Options are what the command line adds to the configuration.
type Options struct {
	Out     io.Writer // where the banner of a development server goes
	Version string
	Dev     bool // development shortcuts: token and key endpoints, banner
}

// shutdownTime bounds a graceful stop.
const shutdownTime = 10 * time.Second

// Server is a running node.
type Server struct {
	cfg    Config
	opts   Options
	log    *slog.Logger
	nodeID string

	keys    *auth.Keys
	media   *mediaHosts
	loop    *peer.Loop
	turn    *turn.Server
	webhook *webhook.Notifier
	reg     *prometheus.Registry
	rooms   *room.Manager
	signal  *signal.Server
	http    *httpServer
	metrics *httpServer // nil when metrics share the main port
	health  health
	monitor *monitor
	done    chan struct{} // closed when the server begins to stop
	closing sync.Once
	closed  error // what Close returned
}

// Run starts a node, serves until ctx ends, and stops it. It returns nil after
// a clean stop.
func Run(ctx context.Context, cfg Config, opts Options) error {
	s, err := New(cfg, opts)
	if err != nil {
		return err
	}
	if opts.Dev {
		if err := banner(opts.Out, s.keys, devHost(cfg), s.http.port(), opts.Version); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	select {
	case <-ctx.Done():
	case err = <-s.http.errs:
	}
	return errors.Join(err, s.Close())
}

// New starts a node. Close stops it.
func New(cfg Config, opts Options) (_ *Server, err error) {
	s := &Server{cfg: cfg, opts: opts, log: newLogger(cfg.Logging, os.Stderr), nodeID: newNodeID(), done: make(chan struct{}), reg: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for _, w := range cfg.Warnings() {
		s.log.Warn(w)
	}
	if s.keys, err = auth.NewKeys(cfg.Keys); err != nil {
		return nil, err
	}
	if err = s.startMedia(); err != nil {
		return nil, err
	}
	if err = s.startRooms(); err != nil {
		return nil, err
	}
	if err = s.startHTTP(); err != nil {
		return nil, err
	}
	s.health.ready.Store(true)
	s.log.Info("ready", "version", opts.Version, "port", s.http.port(), "udp_port", cfg.RTC.UDPPort, "tcp_port", cfg.RTC.TCPPort)
	return s, nil
}

// startMedia opens the media sockets and TURN.
func (s *Server) startMedia() (err error) {
	cert, err := transport.NewCertificate(time.Now())
	if err != nil {
		return fmt.Errorf("media certificate: %w", err)
	}
	if s.media, err = openMediaHosts(transportConfig(s.cfg), cert, s.log); err != nil {
		return fmt.Errorf("media sockets: %w", err)
	}
	for _, w := range s.media.main.Warnings() {
		s.log.Warn(w)
	}
	s.loop = peer.NewLoop()
	if s.cfg.TURN.Enabled {
		if s.turn, err = startTURN(s.cfg, s.media.main, s.log); err != nil {
			return fmt.Errorf("turn: %w", err)
		}
	}
	return nil
}

// startRooms makes the rooms and what listens to them.
func (s *Server) startRooms() (err error) {
	if s.webhook, err = startWebhook(s.cfg, s.keys, s.log, s.reg); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	s.rooms = room.NewManager(roomConfig(s.cfg), room.Deps{
		Host: s.media.main, SpareHost: s.media.Spare, Loop: s.loop, Events: s.webhook,
		ICEServers:   iceServers(s.cfg, s.turn),
		RefreshToken: s.refreshToken,
		NodeID:       s.nodeID, Version: s.opts.Version, Log: s.log,
	})
	sc, err := signalConfig(s.cfg)
	if err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	s.signal = signal.New(sc, s.keys, s.rooms, s.log)
	s.monitor = newMonitor(s.media)
	return nil
}

// startHTTP serves signalling, API, pages, health and metrics.
func (s *Server) startHTTP() (err error) {
	mux := http.NewServeMux()
	s.health.routes(mux)
	s.signal.Routes(mux)
	api.Routes(mux, s.keys, s.rooms, int64(s.cfg.Limit.MaxAPIRequestBodySize))
	(&api.Console{Keys: s.keys, Rooms: s.rooms, Node: s.nodeView, Log: s.log, Done: s.done}).Routes(mux)
	pages := console.Handler()
	mux.Handle("/meet", pages)
	mux.Handle("/meet/", pages)
	mux.Handle("/console", pages)
	mux.Handle("/console/", pages)
	mux.Handle("/assets/", pages)
	registerMetrics(s.reg, &metrics{media: s.media, rooms: s.rooms, signal: s.signal})
	exporter := protectMetrics(s.cfg.Prometheus, metricsHandler(s.reg))
	if port := s.cfg.Prometheus.Port; port != 0 {
		m := http.NewServeMux()
		m.Handle("GET /metrics", exporter)
		if s.metrics, err = listenHTTP(s.cfg.BindAddresses, port, m, s.log); err != nil {
			return err
		}
		s.metrics.start()
	} else {
		mux.Handle("GET /metrics", exporter)
	}
	if s.http, err = listenHTTP(s.cfg.BindAddresses, s.cfg.Port, collapseSlashes(mux), s.log); err != nil {
		return err
	}
	if s.opts.Dev {
		devRoutes(mux, s.keys, fmt.Sprintf("ws://%s:%d", devHost(s.cfg), s.http.port()))
	}
	s.http.start()
	return nil
}

// Close stops everything that was started, last first. It waits, at most for
// shutdownTime. It is idempotent.
func (s *Server) Close() error {
	s.closing.Do(func() { s.closed = s.stop() })
	return s.closed
}

func (s *Server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	var errs []error
	s.health.ready.Store(false)
	close(s.done)
	if s.rooms != nil {
		errs = append(errs, s.rooms.Close(ctx)) // clients are told to leave
	}
	if s.signal != nil {
		s.signal.Close()
	}
	for _, h := range []*httpServer{s.http, s.metrics} {
		if h != nil {
			h.close(ctx)
		}
	}
	if s.webhook != nil {
		errs = append(errs, s.webhook.Close(ctx))
	}
	if s.turn != nil {
		errs = append(errs, s.turn.Close())
	}
	if s.loop != nil {
		s.loop.Close()
	}
	if s.media != nil {
		errs = append(errs, s.media.Close())
	}
	s.log.Info("stopped")
	return errors.Join(errs...)
}

// refreshToken signs a token with present grants.
func (s *Server) refreshToken(r room.TokenRequest) (string, error) {
	return s.keys.Refresh(r.Claims, time.Now())
}

func newLogger(cfg Logging, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.JSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// newNodeID names this process in join responses and the console.
func newNodeID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return fmt.Sprintf("ND_%x", b)
}

// devHost is the address that the banner and the pages name.
func devHost(cfg Config) string {
	if len(cfg.BindAddresses) > 0 {
		return cfg.BindAddresses[0]
	}
	return "127.0.0.1"
}
