package bus

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// clusterName is the same everywhere: masters of two clusters are kept apart by
// their secrets.
const clusterName = "concertina"

// startTimeout bounds how long the embedded server may take to listen.
const startTimeout = 20 * time.Second

// storeDir is where the server keeps its files. A directory of a single
// server is of no use to a member of three, and the other way round, so each
// has its own name.
func (s Server) storeDir() string {
	if s.Masters == 1 {
		return filepath.Join(s.DataDir, "single")
	}
	return filepath.Join(s.DataDir, "member")
}

// startServer starts the embedded server and waits until it listens. local is
// the key by which this process's own connections are known.
func startServer(cfg Config, local ed25519.PublicKey, log *quiet) (*server.Server, error) {
	opts, err := serverOptions(cfg)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(opts.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	auth := &authenticator{join: cfg.JoinSecret, local: local, node: cfg.Node}
	opts.CustomClientAuthentication = auth
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	auth.system = srv.SystemAccount
	srv.SetLogger(log, false, false)
	srv.Start()
	if err := waitForServer(srv, log); err != nil {
		stopServer(srv)
		return nil, fmt.Errorf("server: %w", err)
	}
	return srv, nil
}

// waitForServer returns nil when the server listens, or why it does not. The
// server tells only its logger.
func waitForServer(srv *server.Server, log *quiet) error {
	for deadline := time.Now().Add(startTimeout); ; {
		ready := srv.ReadyForConnections(50 * time.Millisecond)
		switch why := log.died(); {
		case why != "":
			return errors.New(why)
		case ready && srv.JetStreamEnabled():
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("does not start within %v", startTimeout)
		}
	}
}

// stopServer hands leadership over and waits. Without it every restart would
// cost the others the 4 to 9 s of a crash.
func stopServer(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}

func serverOptions(cfg Config) (*server.Options, error) {
	s := cfg.Server
	opts := &server.Options{
		ServerName:             cfg.Node,
		DontListen:             s.Listen == "",
		NoSigs:                 true, // signals are the process's; see stopServer
		DisableJetStreamBanner: true,
		JetStream:              true,
		StoreDir:               s.storeDir(),
		SyncAlways:             true, // an acknowledged record survives a power failure
		JetStreamMaxMemory:     256 << 20,
		JetStreamMaxStore:      cfg.storeBytes(),
		MaxPayload:             1 << 20,
		PingInterval:           5 * time.Second,
		MaxPingsOut:            2,
		AuthTimeout:            5,
		AlwaysEnableNonce:      true,
	}
	if s.Listen != "" {
		var err error
		if opts.Host, opts.Port, err = splitAddress(s.Listen); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		if opts.TLSConfig, err = cfg.serverTLS(); err != nil {
			return nil, err
		}
		opts.TLS = opts.TLSConfig != nil
		opts.TLSTimeout = 5
	}
	if s.Masters == 1 {
		return opts, nil
	}
	return opts, addRoutes(opts, cfg)
}

// addRoutes makes the server a member of several.
func addRoutes(opts *server.Options, cfg Config) error {
	s := cfg.Server
	host, port, err := splitAddress(s.RouteListen)
	if err != nil {
		return fmt.Errorf("route listen: %w", err)
	}
	tlsConfig, err := cfg.routeTLS()
	if err != nil {
		return err
	}
	opts.Cluster = server.ClusterOpts{
		Name: clusterName, Host: host, Port: port,
		Username: "master", Password: routePassword(s.RouteSecret), AuthTimeout: 5,
		TLSConfig: tlsConfig, TLSTimeout: 5,
		// Media nodes use the addresses of their configuration: what a server
		// thinks its addresses are is often wrong in containers.
		NoAdvertise:  true,
		PingInterval: 2 * time.Second, MaxPingsOut: 2,
	}
	for _, r := range s.Routes {
		opts.Routes = append(opts.Routes, &url.URL{
			Scheme: "nats-route", Host: r, User: url.UserPassword(opts.Cluster.Username, opts.Cluster.Password),
		})
	}
	return nil
}

// storeBytes is what all buckets and streams on disk may take together.
func (c Config) storeBytes() int64 {
	sum := int64(64 << 20)
	for _, b := range c.buckets() {
		sum += b.MaxBytes
	}
	for _, s := range c.streams() {
		sum += s.MaxBytes
	}
	return sum
}

// splitAddress returns host and port; port 0 becomes the server's "any free".
func splitAddress(address string) (string, int, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("port %q of %q", p, address)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}
