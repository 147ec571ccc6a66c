package api

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/room"
	"github.com/concertina-rtc/concertina/internal/room/view"
)

// Snapshot is what a node sees at one instant (console/API.md).
type Snapshot struct {
	Node  NodeView    `json:"node"`
	Rooms []view.Room `json:"rooms"`
}

// NodeView is the process that answers. CPU is a share of all CPUs, 0 to 1.
type NodeView struct {
	ID             string    `json:"id"`
	Version        string    `json:"version"`
	StartedAt      time.Time `json:"started_at"`
	Rooms          int       `json:"rooms"`
	Participants   int       `json:"participants"`
	TracksIn       int       `json:"tracks_in"`
	TracksOut      int       `json:"tracks_out"`
	BytesInPerS    float64   `json:"bytes_in_per_s"`
	BytesOutPerS   float64   `json:"bytes_out_per_s"`
	PacketsInPerS  float64   `json:"packets_in_per_s"`
	PacketsOutPerS float64   `json:"packets_out_per_s"`
	CPU            float64   `json:"cpu"`
	MemoryBytes    uint64    `json:"memory_bytes"`
	Goroutines     int       `json:"goroutines"`
}

// Console serves what the console page asks for.
type Console struct {
	Keys  *auth.Keys
	Rooms *room.Manager
	Node  func() NodeView // rates and machine figures; rooms and tracks are filled in here
	Log   *slog.Logger
	// Done ends the streams when the server stops.
	Done <-chan struct{}
}

// Routes registers the endpoints.
func (c *Console) Routes(mux *http.ServeMux) {
	mux.Handle("GET /api/v1/rooms", c.basic(c.rooms))
	mux.Handle("GET /api/v1/rooms/{name}", c.basic(c.room))
	mux.Handle("GET /api/v1/stream", c.basic(c.stream))
}

// basic admits the holder of an API key and its secret.
func (c *Console) basic(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		key, secret, _ := r.BasicAuth()
		want := c.Keys.GetSecret(key)
		if want == "" || subtle.ConstantTimeCompare([]byte(want), []byte(secret)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="concertina"`)
			writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "sign in with an API key and its secret"})
			return
		}
		next(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone otherwise
}

func (c *Console) rooms(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, c.snapshot(r.Context(), ""))
}

func (c *Console) room(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	rm := c.Rooms.Room(name)
	if rm == nil {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": fmt.Sprintf("there is no room %q", name)})
		return
	}
	v, err := rm.View(r.Context(), true)
	switch {
	case errors.Is(err, room.ErrClosed):
		writeJSON(w, http.StatusNotFound, map[string]string{"error": fmt.Sprintf("room %q has ended", name)})
	case err != nil:
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
	default:
		writeJSON(w, http.StatusOK, v)
	}
}

// snapshot gathers all rooms; the one named with everybody in it.
func (c *Console) snapshot(ctx context.Context, detailed string) Snapshot {
	s := Snapshot{Node: c.Node(), Rooms: []view.Room{}}
	for _, r := range c.Rooms.Rooms() {
		v, err := r.View(ctx, r.Name() == detailed)
		if err != nil {
			continue // it ended meanwhile
		}
		s.Node.Rooms++
		s.Node.Participants += v.NumParticipants
		s.Node.TracksIn += v.TracksIn
		s.Node.TracksOut += v.TracksOut
		s.Rooms = append(s.Rooms, v)
	}
	return s
}

// stream sends a snapshot each second as server-sent events.
func (c *Console) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	rc := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		data, err := json.Marshal(c.snapshot(r.Context(), r.URL.Query().Get("room")))
		if err != nil {
			c.Log.Error("marshal snapshot", "error", err)
			return
		}
		if _, err := fmt.Fprintf(w, "event: snapshot\ndata: %s\n\n", data); err != nil || rc.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-c.Done:
			return
		}
	}
}
