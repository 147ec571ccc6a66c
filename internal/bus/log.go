package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// quiet is a log that says the same thing once a minute. What is left out is
// counted and said with the next. It also is the embedded server's logger.
type quiet struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	said  map[string]*saying // by format, which is a constant of the program
	fatal string             // what the server could not live with
}

type saying struct {
	at      time.Time
	leftOut int
}

const (
	quietFor = time.Minute
	maxSaid  = 1000 // keys remembered
)

func newQuiet(log *slog.Logger) *quiet {
	return &quiet{log: log, now: time.Now, said: map[string]*saying{}}
}

// say logs a line unless the same key was logged within the minute.
func (q *quiet) say(level slog.Level, key, msg string, args ...any) {
	now := q.now()
	q.mu.Lock()
	s := q.said[key]
	if s != nil && now.Sub(s.at) < quietFor {
		s.leftOut++
		q.mu.Unlock()
		return
	}
	leftOut := 0
	if s != nil {
		leftOut = s.leftOut
	}
	if len(q.said) >= maxSaid {
		clear(q.said)
	}
	q.said[key] = &saying{at: now}
	q.mu.Unlock()
	if leftOut > 0 {
		args = append(args, "left_out", leftOut)
	}
	q.log.Log(context.Background(), level, msg, args...)
}

func (q *quiet) server(level slog.Level, format string, v []any) {
	// We check keys instead of chains: see pinnedTLS.
	falseAlarm := strings.HasPrefix(format, "TLS certificate chain and hostname of solicited routes will not be verified")
	if falseAlarm || !q.log.Enabled(context.Background(), level) {
		return
	}
	q.say(level, format, "bus server: "+fmt.Sprintf(format, v...))
}

// Noticef implements the server's Logger. Its notices are of interest only to
// those who look for a fault.
func (q *quiet) Noticef(format string, v ...any) { q.server(slog.LevelDebug, format, v) }

// Warnf implements the server's Logger.
func (q *quiet) Warnf(format string, v ...any) { q.server(slog.LevelWarn, format, v) }

// Fatalf implements the server's Logger. The server then shuts down; the
// process does not.
func (q *quiet) Fatalf(format string, v ...any) {
	q.mu.Lock()
	q.fatal = fmt.Sprintf(format, v...)
	q.mu.Unlock()
	q.server(slog.LevelError, format, v)
}

// died returns the text of a Fatalf, or nothing.
func (q *quiet) died() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.fatal
}

// Errorf implements the server's Logger.
func (q *quiet) Errorf(format string, v ...any) { q.server(slog.LevelError, format, v) }

// Debugf implements the server's Logger.
func (q *quiet) Debugf(string, ...any) {}

// Tracef implements the server's Logger. Traces would show what is sent.
func (q *quiet) Tracef(string, ...any) {}
