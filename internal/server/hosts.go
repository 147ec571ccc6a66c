package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// mediaHosts are the media hosts of this process: the one, and a second one of
// the same certificate on free ports once somebody simulates a migration.
type mediaHosts struct {
	main *transport.Host
	cfg  transport.Config
	cert tls.Certificate
	log  *slog.Logger

	mu     sync.Mutex
	spare  *transport.Host
	closed bool
}

// openMediaHosts opens the one.
func openMediaHosts(cfg transport.Config, cert tls.Certificate, log *slog.Logger) (*mediaHosts, error) {
	main, err := transport.NewHost(cfg, cert, log)
	if err != nil {
		return nil, err
	}
	cfg.UDPPort, cfg.TCPPort = 0, min(cfg.TCPPort, 0)
	return &mediaHosts{main: main, cfg: cfg, cert: cert, log: log}, nil
}

// Spare returns the second one and opens it when it is not there yet.
func (m *mediaHosts) Spare() (*transport.Host, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errors.New("media hosts are closed")
	}
	if m.spare == nil {
		h, err := transport.NewHost(m.cfg, m.cert, m.log)
		if err != nil {
			return nil, fmt.Errorf("spare media host: %w", err)
		}
		m.spare = h
	}
	return m.spare, nil
}

// Stats returns the counters of both together.
func (m *mediaHosts) Stats() transport.HostStats {
	sum := m.main.Stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.spare == nil {
		return sum
	}
	s := m.spare.Stats()
	sum.Connections += s.Connections
	sum.TCPPending += s.TCPPending
	sum.PacketsReceived += s.PacketsReceived
	sum.Malformed += s.Malformed
	sum.UnknownAddress += s.UnknownAddress
	sum.UnknownUfrag += s.UnknownUfrag
	sum.BadIntegrity += s.BadIntegrity
	sum.TCPRefused += s.TCPRefused
	sum.TCPOverflow += s.TCPOverflow
	sum.Traffic.PacketsIn += s.Traffic.PacketsIn
	sum.Traffic.BytesIn += s.Traffic.BytesIn
	sum.Traffic.PacketsOut += s.Traffic.PacketsOut
	sum.Traffic.BytesOut += s.Traffic.BytesOut
	return sum
}

// Close closes both and waits for them. There is no second one afterwards.
func (m *mediaHosts) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	err := m.main.Close()
	if m.spare != nil {
		err = errors.Join(err, m.spare.Close())
	}
	return err
}
