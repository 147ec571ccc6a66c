// Package signal speaks LiveKit's signalling over WebSocket: /rtc (two media
// connections) and /rtc/v1 (one), and their validate endpoints. It turns HTTP
// into a verified wish to join, and frames into requests; what they mean is
// package room's.
//
// It owns the client's socket: encoding, ordering, back pressure, limits. It
// does not know rooms or media. Start at serve in this file, then conn.go.
package signal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/room"
)

// Config bounds what a client may do before and while it is connected.
type Config struct {
	MaxFrame       int64         // bytes of one frame; larger ones close the connection; 0 = no limit
	MaxQueue       int           // responses queued for a client that does not read
	JoinsPerSecond float64       // from one address; 0 = no limit
	JoinBurst      int           // joins from one address at once
	WriteTimeout   time.Duration // for one frame
	PingInterval   time.Duration // WebSocket pings, to notice a dead connection
	PingTimeout    time.Duration
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	CloseGrace     time.Duration  // how long Close lets clients read their last word
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		MaxFrame: 1 << 20, MaxQueue: 4096, JoinsPerSecond: 50, JoinBurst: 200,
		WriteTimeout: 10 * time.Second, PingInterval: 10 * time.Second, PingTimeout: 15 * time.Second,
		CloseGrace: 2 * time.Second,
	}
}

// Stats counts what the signalling of a node has seen.
type Stats struct {
	Connections  atomic.Int64 // open now
	Accepted     atomic.Int64
	Refused      atomic.Int64 // before the upgrade
	RateLimited  atomic.Int64
	BadFrames    atomic.Int64
	FramesIn     atomic.Int64
	FramesOut    atomic.Int64
	QueueDropped atomic.Int64 // clients given up because they did not read
}

// Server serves the signalling endpoints.
type Server struct {
	cfg   Config
	keys  *auth.Keys
	rooms *room.Manager
	log   *slog.Logger
	joins *joinLimiter
	stats Stats

	ctx    context.Context // ends when the server closes
	cancel context.CancelFunc
	mu     sync.Mutex // orders begin and Close
	closed bool
	wg     sync.WaitGroup // connections
}

// New returns a server for the rooms of one node.
func New(cfg Config, keys *auth.Keys, rooms *room.Manager, log *slog.Logger) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		cfg: cfg, keys: keys, rooms: rooms, log: log,
		joins: newJoinLimiter(cfg.JoinsPerSecond, cfg.JoinBurst),
		ctx:   ctx, cancel: cancel,
	}
}

// Stats returns the live counters.
func (s *Server) Stats() *Stats { return &s.stats }

// Routes registers the endpoints.
func (s *Server) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /rtc", s.v0)
	mux.HandleFunc("GET /rtc/v1", s.v1)
	mux.HandleFunc("/rtc/validate", s.validateV0)
	mux.HandleFunc("/rtc/v1/validate", s.validateV1)
}

// Close ends every connection and waits for them. Those that their room has
// closed are given a moment to deliver why. It is idempotent.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	grace := time.AfterFunc(s.cfg.CloseGrace, s.cancel)
	s.wg.Wait()
	grace.Stop()
	s.cancel()
}

// begin counts a connection; false when the server is closing.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}

func (s *Server) v0(w http.ResponseWriter, r *http.Request) { s.serve(w, r, false) }
func (s *Server) v1(w http.ResponseWriter, r *http.Request) { s.serve(w, r, true) }

func (s *Server) validateV0(w http.ResponseWriter, r *http.Request) { s.validate(w, r, false) }
func (s *Server) validateV1(w http.ResponseWriter, r *http.Request) { s.validate(w, r, true) }

// refusal is an error that is told over HTTP, before any upgrade.
type refusal struct {
	status int
	err    error
}

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Errorf(format, args...)}
}

// validate answers what a join would answer. SDKs ask when their WebSocket
// fails, since browsers do not show them why.
func (s *Server) validate(w http.ResponseWriter, r *http.Request, v1 bool) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if _, err := s.admit(r, v1); err != nil {
		s.writeRefusal(w, r, err)
		return
	}
	_, _ = w.Write([]byte("success"))
}

func (s *Server) writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	var ref *refusal
	if errors.As(err, &ref) {
		status = ref.status
	}
	s.stats.Refused.Add(1)
	s.log.Info("join refused", "status", status, "error", err, "address", s.clientAddress(r))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(err.Error()))
}

// admit authenticates, parses and checks a request to join.
func (s *Server) admit(r *http.Request, v1 bool) (room.Join, error) {
	j, err := s.parse(r, v1)
	if err != nil {
		return j, err
	}
	if j.Reconnect {
		return j, nil // refused over the WebSocket, with what to do instead
	}
	switch err := s.rooms.Admit(r.Context(), j); {
	case errors.Is(err, room.ErrRoomNotFound):
		return j, refuse(http.StatusNotFound, "%w", err)
	case errors.Is(err, room.ErrRoomFull):
		return j, refuse(http.StatusForbidden, "%w", err)
	case errors.Is(err, room.ErrLimit):
		return j, refuse(http.StatusBadRequest, "%w", err)
	case errors.Is(err, room.ErrClosed):
		return j, refuse(http.StatusServiceUnavailable, "%w", err)
	case err != nil:
		return j, err
	}
	return j, nil
}

// serve runs one client's signal connection from upgrade to end.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, v1 bool) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		http.NotFound(w, r)
		return
	}
	address := s.clientAddress(r)
	if !s.joins.allow(address, time.Now()) {
		s.stats.RateLimited.Add(1)
		s.writeRefusal(w, r, refuse(http.StatusTooManyRequests,
			"too many joins from %s (limit.joins_per_second_per_ip)", address))
		return
	}
	if !s.begin() {
		s.writeRefusal(w, r, refuse(http.StatusServiceUnavailable, "the server is stopping"))
		return
	}
	defer s.wg.Done()
	j, err := s.admit(r, v1)
	if err != nil {
		s.writeRefusal(w, r, err)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // any origin may host the page; tokens are the security
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		s.stats.Refused.Add(1)
		s.log.Info("upgrade failed", "error", err, "address", address)
		return
	}
	s.stats.Accepted.Add(1)
	s.stats.Connections.Add(1)
	defer s.stats.Connections.Add(-1)
	if s.cfg.MaxFrame > 0 {
		ws.SetReadLimit(s.cfg.MaxFrame)
	} else {
		ws.SetReadLimit(-1)
	}
	c := newConn(s.ctx, ws, s.cfg, &s.stats)
	defer c.wait()
	j.Sink, j.Address = c, address
	s.run(c, j)
}

// run joins or resumes, then reads until the connection ends.
func (s *Server) run(c *conn, j room.Join) {
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	session, err := s.attach(ctx, j)
	cancel()
	if err != nil {
		s.tellFailure(c, j, err)
		return
	}
	if j.Offer != nil && !j.Reconnect {
		session.JoinOffer(j.Offer)
	}
	for {
		req, err := c.read()
		if err != nil {
			session.Detach() // before goodbyes, which may take a while
			s.endOfRead(c, session, err)
			return
		}
		s.stats.FramesIn.Add(1)
		session.Handle(req)
	}
}

func (s *Server) attach(ctx context.Context, j room.Join) (*room.Session, error) {
	if j.Reconnect {
		return s.rooms.Resume(ctx, j)
	}
	return s.rooms.Join(ctx, j)
}

// tellFailure says why and what to do instead, then closes.
func (s *Server) tellFailure(c *conn, j room.Join, err error) {
	l := &livekit.LeaveRequest{Reason: livekit.DisconnectReason_JOIN_FAILURE, Action: livekit.LeaveRequest_DISCONNECT}
	if j.Reconnect {
		l.Reason, l.Action, l.CanReconnect = livekit.DisconnectReason_STATE_MISMATCH, livekit.LeaveRequest_RECONNECT, true
	}
	s.log.Info("join failed", "room", j.Room, "participant", j.Claims.Identity, "reconnect", j.Reconnect, "error", err)
	_ = c.Send(room.NewMessage(&livekit.SignalResponse{Message: &livekit.SignalResponse_Leave{Leave: l}})) // the client may be gone
	c.Close(err.Error())
}

// endOfRead tells the two ways a connection ends apart: the client went, or it
// sent what no client sends.
func (s *Server) endOfRead(c *conn, session *room.Session, err error) {
	var bad *frameError
	tooBig := websocket.CloseStatus(err) == websocket.StatusMessageTooBig || strings.Contains(err.Error(), "read limited at")
	if errors.As(err, &bad) || tooBig {
		s.stats.BadFrames.Add(1)
		s.log.Warn("bad frame", "participant", session.Participant().Identity(), "error", err)
		status := websocket.StatusInvalidFramePayloadData
		if tooBig {
			status = websocket.StatusMessageTooBig
		}
		c.closeNow(status, err.Error())
		return
	}
	c.closeNow(websocket.StatusNormalClosure, "")
}

// frameError is a frame that is not a SignalRequest.
type frameError struct{ err error }

func (e *frameError) Error() string { return "frame is not a SignalRequest: " + e.err.Error() }
func (e *frameError) Unwrap() error { return e.err }

// decode reads a request: binary frames are protobuf, text frames protojson.
func decode(text bool, data []byte) (*livekit.SignalRequest, error) {
	req := &livekit.SignalRequest{}
	var err error
	if text {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, req)
	} else {
		err = proto.Unmarshal(data, req)
	}
	if err != nil {
		return nil, &frameError{err}
	}
	return req, nil
}

// clientAddress returns the client's IP address: the nearest one that is not a
// trusted proxy's. What an unknown host says about others is not believed.
func (s *Server) clientAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	via := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(via) - 1; i >= 0 && s.trusted(host); i-- {
		next := strings.TrimSpace(via[i])
		if _, err := netip.ParseAddr(next); err != nil {
			break
		}
		host = next
	}
	return host
}

func (s *Server) trusted(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(s.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip.Unmap().WithZone("")) })
}
