package server

import (
	"log/slog"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/media/transport"
)

// TestMediaHosts: the second host comes with its first use, shares fingerprint
// and counters with the first, and ends with it.
func TestMediaHosts(t *testing.T) {
	cert, err := transport.NewCertificate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cfg := transport.Default()
	cfg.UDPPort, cfg.TCPPort, cfg.BindAddresses, cfg.EnableLoopback = 0, -1, []string{"127.0.0.1"}, true
	m, err := openMediaHosts(cfg, cert, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.spare != nil {
		t.Error("the second host is open before anybody needs it")
	}
	spare, err := m.Spare()
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.Spare()
	if err != nil || again != spare {
		t.Errorf("the second use opens another host: %v", err)
	}
	if spare.Fingerprint() != m.main.Fingerprint() || spare.Candidates()[0].Address == m.main.Candidates()[0].Address {
		t.Error("the second host is not the same on another port")
	}
	for _, c := range spare.Candidates() {
		if c.Protocol == "tcp" {
			t.Error("the second host listens on TCP and the first does not")
		}
	}
	c, err := spare.NewConn(transport.Params{Handler: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	if n := m.Stats().Connections; n != 1 {
		t.Errorf("%d connections of both hosts together", n)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if c.State() != transport.StateClosed {
		t.Errorf("a connection of the second host is %v after Close", c.State())
	}
	if _, err := m.Spare(); err == nil {
		t.Error("a second host after Close")
	}
}

// nowhere drops what a client sends.
type nowhere struct{}

func (nowhere) OnRTP([]byte, time.Time)                        {}
func (nowhere) OnRTCP([]byte, time.Time)                       {}
func (nowhere) OnState(transport.State)                        {}
func (nowhere) OnDataChannel(*transport.DataChannel)           {}
func (nowhere) OnMessage(*transport.DataChannel, []byte, bool) {}
