package server

import (
	"crypto/subtle"
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/concertina-rtc/concertina/internal/api"
	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// monitor turns counters into rates for the console. It measures when asked,
// over the time since it was last asked, so that it costs nothing otherwise.
type monitor struct {
	media   *mediaHosts
	started time.Time

	mu   sync.Mutex
	at   time.Time
	cpu  time.Duration
	last transport.Traffic
	view api.NodeView
}

// monitorInterval: several consoles asking at once share one measurement.
const monitorInterval = 500 * time.Millisecond

func newMonitor(media *mediaHosts) *monitor {
	now := time.Now()
	return &monitor{media: media, started: now, at: now, cpu: cpuTime()}
}

// cpuTime is what this process has used, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (m *monitor) sample(now time.Time) api.NodeView {
	m.mu.Lock()
	defer m.mu.Unlock()
	span := now.Sub(m.at)
	if span < monitorInterval {
		return m.view
	}
	cpu, st := cpuTime(), m.media.Stats().Traffic
	perSecond := func(new, old uint64) float64 { return float64(new-old) / span.Seconds() }
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m.view = api.NodeView{
		StartedAt:      m.started,
		BytesInPerS:    perSecond(st.BytesIn, m.last.BytesIn),
		BytesOutPerS:   perSecond(st.BytesOut, m.last.BytesOut),
		PacketsInPerS:  perSecond(st.PacketsIn, m.last.PacketsIn),
		PacketsOutPerS: perSecond(st.PacketsOut, m.last.PacketsOut),
		CPU:            (cpu - m.cpu).Seconds() / span.Seconds() / float64(runtime.NumCPU()),
		MemoryBytes:    mem.Sys - mem.HeapReleased,
		Goroutines:     runtime.NumGoroutine(),
	}
	m.at, m.cpu, m.last = now, cpu, st
	return m.view
}

// nodeView is the process as the console shows it.
func (s *Server) nodeView() api.NodeView {
	v := s.monitor.sample(time.Now())
	v.ID, v.Version, v.StartedAt = s.nodeID, s.opts.Version, s.monitor.started
	return v
}

// protectMetrics asks for the configured user and password, if any.
func protectMetrics(cfg Prometheus, next http.Handler) http.Handler {
	if cfg.Username == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		ok := subtle.ConstantTimeCompare([]byte(user), []byte(cfg.Username)) & subtle.ConstantTimeCompare([]byte(password), []byte(cfg.Password))
		if ok != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="metrics"`)
			http.Error(w, "prometheus.username and prometheus.password are required", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
