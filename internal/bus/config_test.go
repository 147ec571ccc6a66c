package bus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

func TestConfigValidate(t *testing.T) {
	media := func() Config { return nodeConfig("n1", "m1:4222") }
	master := func() Config { return masterConfig(t, "m1") }
	three := func() Config { return threeConfigs(t)[0] }
	for name, c := range map[string]struct {
		base   func() Config
		change func(*Config)
		want   []string // empty: valid
	}{
		"media":           {media, func(*Config) {}, nil},
		"master":          {master, func(*Config) {}, nil},
		"both":            {master, func(c *Config) { c.Role = cluster.RoleBoth }, nil},
		"three":           {three, func(*Config) {}, nil},
		"not listening":   {master, func(c *Config) { c.Server.Listen = "" }, nil},
		"id":              {media, func(c *Config) { c.Node = "a.b" }, []string{"node:"}},
		"long id":         {media, func(c *Config) { c.Node = strings.Repeat("a", 65) }, []string{"node:"}},
		"role":            {media, func(c *Config) { c.Role = "x" }, []string{"role:"}},
		"short secret":    {media, func(c *Config) { c.JoinSecret = "short" }, []string{"join secret:"}},
		"no masters":      {media, func(c *Config) { c.Masters = nil }, []string{"masters:"}},
		"master address":  {media, func(c *Config) { c.Masters = []string{"m1"} }, []string{"masters:"}},
		"plain, far":      {media, func(c *Config) { c.TLS.Plain = true }, []string{"not loopback"}},
		"plain, near":     {media, func(c *Config) { c.TLS.Plain = true; c.Masters = []string{"[::1]:4222", "localhost:1"} }, nil},
		"timeout, outbox": {media, func(c *Config) { c.Timeout, c.Outbox = 0, 0 }, []string{"timeout:", "outbox:"}},
		"two masters":     {master, func(c *Config) { c.Server.Masters = 2 }, []string{"masters: 2"}},
		"data directory":  {master, func(c *Config) { c.Server.DataDir = "relative" }, []string{"data directory:"}},
		"event limits":    {master, func(c *Config) { c.Server.EventAge = 0 }, []string{"events:"}},
		"half of TLS":     {master, func(c *Config) { c.TLS.Cert = "c" }, []string{"tls:"}},
		"routes":          {three, func(c *Config) { c.Server.Routes = c.Server.Routes[:2] }, []string{"routes:"}},
		"route address":   {three, func(c *Config) { c.Server.RouteListen = "" }, []string{"route listen:"}},
		"route secret":    {three, func(c *Config) { c.Server.RouteSecret = "" }, []string{"route secret:"}},
		"one secret":      {three, func(c *Config) { c.Server.RouteSecret = c.JoinSecret }, []string{"must differ"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.base()
			c.change(&cfg)
			err := cfg.Validate()
			if len(c.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, ErrConfig) {
				t.Fatalf("got %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if _, log := newLogs(t); err != nil {
				if b, err := Open(cfg, log); err == nil {
					b.Close()
					t.Error("Open takes it")
				}
			}
		})
	}
}

// An address that is in use is an error at once, not a node that hangs.
func TestAddressInUse(t *testing.T) {
	m := single(t)
	cfg := masterConfig(t, "m2")
	cfg.Server.Listen = m.Address()
	_, log := newLogs(t)
	start := time.Now()
	b, err := Open(cfg, log)
	if err == nil {
		b.Close()
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), "in use") || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}
