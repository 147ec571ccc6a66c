package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"regexp"
	"time"

	"github.com/concertina-rtc/concertina/internal/cluster"
)

// Secret is a text that is never printed, logged or encoded.
type Secret string

const redacted = "[redacted]"

// String returns a placeholder.
func (Secret) String() string { return redacted }

// GoString returns a placeholder, for %#v.
func (Secret) GoString() string { return redacted }

// LogValue returns a placeholder.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns a placeholder, for JSON and YAML.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Config is how one node takes part in the bus. [DefaultConfig] has the
// values that a deployment rarely changes.
type Config struct {
	// Node is this node's id, unique in the cluster: letters, digits, - and _.
	Node string
	// Role decides whether this process embeds a server.
	Role cluster.Role
	// JoinSecret admits media nodes. The same on every node.
	JoinSecret Secret
	// TLS protects the connections.
	TLS TLS
	// Masters are the addresses (host:port) at which media nodes find the
	// masters. A master does not need them.
	Masters []string
	// Timeout bounds each call whose context has no earlier deadline.
	Timeout time.Duration
	// Outbox is how many events may wait for an outage to end. Beyond it the
	// oldest go, which is counted and logged.
	Outbox int

	// Server is for masters.
	Server Server
}

// Server is what only masters configure.
type Server struct {
	// Listen is the address (host:port) for media nodes. Empty: none, as for a
	// cluster of one process. Port 0 takes a free port, for tests.
	Listen string
	// DataDir is for records and events. One master each.
	DataDir string
	// Masters is how many there are: 1, 3 or 5. Each record is on all of them.
	Masters int
	// RouteListen is the address for the other masters, with more than one.
	RouteListen string
	// Routes are the RouteListen addresses of all masters, this one's
	// included, so that every master has the same list.
	Routes []string
	// RouteSecret admits masters to each other. It is not the JoinSecret: a
	// media node must not pass for a master.
	RouteSecret Secret
	// EventAge and EventBytes bound the event stream; the oldest go.
	EventAge   time.Duration
	EventBytes int64
}

// TLS selects how connections are encrypted. The zero value derives keys from
// the secrets: encrypted and mutually authenticated without certificates.
type TLS struct {
	// Cert, Key and CA are PEM files. A master needs all three and, with more
	// than one master, a certificate for client and server authentication. A
	// media node needs CA, unless the system trusts the certificate.
	Cert, Key, CA string
	// Plain turns encryption off. Only with loopback addresses.
	Plain bool
}

func (t TLS) files() bool { return t.Cert != "" || t.Key != "" || t.CA != "" }

// The ports of a master.
const (
	ClientPort = 4222 // media nodes
	RoutePort  = 6222 // other masters
)

// DefaultConfig returns a Config that lacks the node's identity, the secrets
// and the addresses.
func DefaultConfig() Config {
	return Config{
		Timeout: 5 * time.Second,
		Outbox:  16_384,
		Server: Server{
			Masters:    1,
			EventAge:   30 * 24 * time.Hour,
			EventBytes: 1 << 30,
		},
	}
}

// ErrConfig is wrapped by every error of [Config.Validate].
var ErrConfig = errors.New("bus configuration")

// minSecret is how many characters a secret needs. A signature by a key that is derived
// from a short one could be tried offline.
const minSecret = 16

// Validate reports everything that is wrong, not only the first.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !validNode(c.Node) {
		bad("node: %q must have 1 to 64 letters, digits, - or _", c.Node)
	}
	if len(c.JoinSecret) < minSecret {
		bad("join secret: must have at least %d characters", minSecret)
	}
	if c.Timeout <= 0 {
		bad("timeout: %v is not above zero", c.Timeout)
	}
	if c.Outbox <= 0 {
		bad("outbox: %d is not above zero", c.Outbox)
	}
	switch c.Role {
	case cluster.RoleMedia:
		if len(c.Masters) == 0 {
			bad("masters: a media node needs at least one address")
		}
		for _, a := range c.Masters {
			c.checkAddress(bad, "masters", a)
		}
	case cluster.RoleMaster, cluster.RoleBoth:
		c.validateServer(bad)
	default:
		bad("role: %q is none of media, master, both", c.Role)
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(errs...))
}

func (c Config) validateServer(bad func(string, ...any)) {
	s := c.Server
	if s.DataDir == "" || !filepath.IsAbs(s.DataDir) {
		bad("data directory: %q is not an absolute path", s.DataDir)
	}
	if s.EventAge <= 0 || s.EventBytes <= 0 {
		bad("events: age %v and bytes %d must be above zero", s.EventAge, s.EventBytes)
	}
	if s.Listen != "" {
		c.checkAddress(bad, "listen", s.Listen)
	}
	if t := c.TLS; t.files() && (t.Cert == "" || t.Key == "" || t.CA == "") {
		bad("tls: a master needs certificate, key and CA")
	}
	switch s.Masters {
	case 1:
	case 3, 5:
		if len(s.RouteSecret) < minSecret {
			bad("route secret: must have at least %d characters", minSecret)
		}
		if s.RouteSecret == c.JoinSecret {
			bad("route secret: must differ from the join secret, which media nodes know")
		}
		if len(s.Routes) != s.Masters {
			bad("routes: %d addresses for %d masters; list all, this one's included", len(s.Routes), s.Masters)
		}
		c.checkAddress(bad, "route listen", s.RouteListen)
		for _, a := range s.Routes {
			c.checkAddress(bad, "routes", a)
		}
	default:
		bad("masters: %d is none of 1, 3, 5; an even number tolerates no more failures than one less", s.Masters)
	}
}

func (c Config) checkAddress(bad func(string, ...any), what, address string) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		bad("%s: %w", what, err)
		return
	}
	if ip := net.ParseIP(host); c.TLS.Plain && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		bad("%s: %s is not loopback, so connections must be encrypted", what, address)
	}
}

var nodeName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func validNode(id string) bool { return nodeName.MatchString(id) }

func (c Config) master() bool { return c.Role != cluster.RoleMedia }
