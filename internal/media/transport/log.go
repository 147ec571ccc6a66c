package transport

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLog gives pion's messages to slog. What pion calls an error or a warning
// is about one client's packets, so nothing is above debug; its trace level,
// one message per packet, is dropped.
type pionLog struct {
	log   *slog.Logger
	scope string
}

// NewLogger implements logging.LoggerFactory.
func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{log: p.log, scope: scope}
}

func (p pionLog) emit(format string, args ...any) {
	if p.log.Enabled(context.Background(), slog.LevelDebug) {
		p.log.Debug(fmt.Sprintf(format, args...), "library", p.scope)
	}
}

// Trace drops the message.
func (p pionLog) Trace(string) {}

// Tracef drops the message.
func (p pionLog) Tracef(string, ...any) {}

// Debug drops the message: pion's debug level has several per packet.
func (p pionLog) Debug(string) {}

// Debugf drops the message.
func (p pionLog) Debugf(string, ...any) {}

// Info logs at debug level.
func (p pionLog) Info(msg string) { p.emit("%s", msg) }

// Infof logs at debug level.
func (p pionLog) Infof(format string, args ...any) { p.emit(format, args...) }

// Warn logs at debug level.
func (p pionLog) Warn(msg string) { p.emit("%s", msg) }

// Warnf logs at debug level.
func (p pionLog) Warnf(format string, args ...any) { p.emit(format, args...) }

// Error logs at debug level.
func (p pionLog) Error(msg string) { p.emit("%s", msg) }

// Errorf logs at debug level.
func (p pionLog) Errorf(format string, args ...any) { p.emit(format, args...) }
