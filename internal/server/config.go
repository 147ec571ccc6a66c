package server

import (
	"fmt"
	"os"
	"slices"

	"github.com/concertina-rtc/concertina/internal/auth"
	"github.com/concertina-rtc/concertina/internal/config"
)

// EnvPrefix starts the environment variables that override configuration keys.
const EnvPrefix = "CONCERTINA_"

// EnvConfigFile names the configuration file; it is no key itself.
const EnvConfigFile = EnvPrefix + "CONFIG"

// Config is the whole configuration. Keys that livekit.yaml has mean here what
// they mean there. A value of zero means what its comment says, and "no limit"
// or "off" unless it says otherwise.
type Config struct {
	// Port serves HTTP and WebSocket: signalling, server API, pages. 0 picks a
	// free port. Put TLS and load balancing in front of it.
	Port int `yaml:"port" range:"0..65535"`
	// BindAddresses are the IP addresses to listen on; empty is all of them.
	BindAddresses []string `yaml:"bind_addresses"`
	// TrustedProxies are the networks, for example 10.0.0.0/8, of the load
	// balancers and proxies in front of port. Only they are believed when they
	// name a client's address (X-Forwarded-For), to which the limits on joins
	// apply. Without it all clients behind a proxy share the proxy's.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// Keys are the API keys and their secrets, which sign access tokens. A
	// secret should have 32 characters or more.
	Keys map[string]string `yaml:"keys" secret:"true"`
	// KeyFile is a YAML file of API keys and secrets, instead of keys. Others
	// than its owner and group must not be able to read it.
	KeyFile string `yaml:"key_file"`
	// Development allows to start without keys, using devkey and secret.
	Development bool `yaml:"development"`

	// RTC is media transport.
	RTC RTC `yaml:"rtc"`
	// Room holds the defaults of every room. CreateRoom and the room
	// configuration in a token override them.
	Room Room `yaml:"room"`
	// Audio tunes who counts as a speaker.
	Audio Audio `yaml:"audio"`
	// Video tunes layers.
	Video Video `yaml:"video"`
	// TURN is the embedded TURN server. Its credentials belong to one
	// participant and expire.
	TURN TURN `yaml:"turn"`
	// Webhook is the delivery of events to your servers: signed, in order for
	// each room, at least once.
	Webhook Webhook `yaml:"webhook"`
	// Logging is what is written to standard error.
	Logging Logging `yaml:"logging"`
	// Limit protects the server from its clients. Zero and less is no limit.
	Limit Limit `yaml:"limit"`
	// Prometheus is where metrics are served.
	Prometheus Prometheus `yaml:"prometheus"`
}

// Default returns the configuration of an empty file. It has no keys, so it is
// not valid by itself.
func Default() Config {
	return Config{
		Port:    7880,
		RTC:     defaultRTC(),
		Room:    defaultRoom(),
		Audio:   defaultAudio(),
		Video:   defaultVideo(),
		TURN:    defaultTURN(),
		Webhook: defaultWebhook(),
		Logging: Logging{Level: "info"},
		Limit:   defaultLimit(),
	}
}

// DefaultDev returns the configuration of a development server on loopback,
// with the keys that every LiveKit guide uses. Media also listens on the
// machine's other addresses: Firefox ignores loopback candidates.
func DefaultDev() Config {
	c := Default()
	c.Development = true
	c.BindAddresses = []string{"127.0.0.1"}
	c.Keys = map[string]string{auth.DevKey: auth.DevSecret}
	c.RTC.EnableLoopbackCandidate = true
	return c
}

// LoadConfig reads the file (none when it is empty) over the defaults, then
// the CONCERTINA_ variables of env, and validates. The error is usually a
// [config.Errors] with every mistake and its place.
func LoadConfig(file string, env []string) (Config, error) {
	return loadOver(Default(), file, env)
}

// LoadDevConfig reads the CONCERTINA_ variables of env over [DefaultDev].
func LoadDevConfig(env []string) (Config, error) { return loadOver(DefaultDev(), "", env) }

func loadOver(c Config, file string, env []string) (Config, error) {
	var data []byte
	if file != "" {
		var err error
		if data, err = os.ReadFile(file); err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
	}
	err := config.Load(&c, config.Source{
		File: file, Data: data, Env: env, EnvPrefix: EnvPrefix,
		EnvReserved: []string{EnvConfigFile}, Unsupported: unsupportedKeys(),
	})
	if err != nil {
		return Config{}, err
	}
	return c, nil
}

// Validate checks a configuration that was put together in code, and completes
// it as [LoadConfig] does (key files, development keys).
func (c *Config) Validate() error { return config.Validate(c) }

// Warnings returns what is allowed but unwise, one sentence each.
func (c *Config) Warnings() []string {
	var out []string
	if keys, err := auth.NewKeys(c.Keys); err == nil && !c.Development {
		for _, k := range keys.Weak() {
			out = append(out, fmt.Sprintf("the secret of API key %q is shorter than %d characters: it can be guessed", k, auth.MinSecretLength))
		}
	}
	out = append(out, c.ineffective()...)
	if c.Prometheus.Username != "" && c.Prometheus.Port == 0 {
		out = append(out, "prometheus.username protects /metrics on the public port without TLS: set prometheus.port too")
	}
	return out
}

// ineffective warns about changed keys that have no effect yet.
func (c *Config) ineffective() []string {
	def := Default()
	now, err := config.Keys(c, "")
	was, defErr := config.Keys(&def, "")
	if err != nil || defErr != nil {
		return nil // a programming error that every test of Load finds
	}
	var out []string
	for i, k := range now {
		if k.Default != was[i].Default && slices.Contains(noEffectYet(), k.Path) {
			out = append(out, k.Path+" has no effect yet")
		}
	}
	return out
}

// Check implements [config.Checker]: the rules between sections.
func (c *Config) Check(r *config.Report) {
	c.checkKeys(r)
	checkIPs(r, "bind_addresses", c.BindAddresses)
	checkCIDRs(r, "trusted_proxies", c.TrustedProxies)
	c.checkPorts(r)
	c.checkWebhookKey(r)
}

// checkKeys reads the key file and makes sure that there is a key.
func (c *Config) checkKeys(r *config.Report) {
	if c.KeyFile != "" {
		if r.IsSet("keys") {
			r.Errorf("key_file", "keys is set too: keep one of them")
			return
		}
		keys, err := readKeyFile(c.KeyFile)
		if err != nil {
			r.Errorf("key_file", "%v", err)
			return
		}
		c.Keys = keys
	}
	if len(c.Keys) == 0 && c.Development {
		c.Keys = map[string]string{auth.DevKey: auth.DevSecret}
	}
	if len(c.Keys) == 0 {
		r.Errorf("keys", "no API key: set keys, key_file or %sKEYS=\"name: secret\"", EnvPrefix)
		return
	}
	if _, err := auth.NewKeys(c.Keys); err != nil {
		r.Errorf("keys", "%v", err)
	}
}

// readKeyFile reads "key: secret" lines from a file that others cannot read.
func readKeyFile(name string) (map[string]string, error) {
	data, err := readPrivateFile(name)
	if err != nil {
		return nil, err
	}
	keys, err := config.Pairs(name, data)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no keys", name)
	}
	return keys, nil
}

// readPrivateFile reads a file of secrets and refuses one that every user of
// the machine can read, as LiveKit does.
func readPrivateFile(name string) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if perm := st.Mode().Perm(); perm&0o007 != 0 {
		return nil, fmt.Errorf("%s can be accessed by every user (mode %04o): run chmod 600 %s", name, perm, name)
	}
	return os.ReadFile(name)
}

// checkPorts refuses two listeners on one port.
func (c *Config) checkPorts(r *config.Report) {
	type listener struct {
		key  string
		port int
	}
	check := func(protocol string, all ...listener) {
		seen := map[int]string{}
		for _, l := range all {
			if l.port == 0 {
				continue
			}
			if other, ok := seen[l.port]; ok {
				r.Errorf(l.key, "%s port %d is already taken by %s", protocol, l.port, other)
			}
			seen[l.port] = l.key
		}
	}
	turnTLS, turnUDP := 0, 0
	if c.TURN.Enabled {
		turnTLS, turnUDP = c.TURN.TLSPort, c.TURN.UDPPort
	}
	check("TCP", listener{"port", c.Port}, listener{"rtc.tcp_port", c.RTC.TCPPort},
		listener{"turn.tls_port", turnTLS}, listener{"prometheus.port", c.Prometheus.Port})
	check("UDP", listener{"rtc.udp_port", c.RTC.UDPPort}, listener{"turn.udp_port", turnUDP})
}

// checkWebhookKey finds the key that signs webhooks: the one named, or the
// only one there is.
func (c *Config) checkWebhookKey(r *config.Report) {
	if len(c.Webhook.URLs) == 0 || len(c.Keys) == 0 {
		return
	}
	if c.Webhook.APIKey == "" && len(c.Keys) == 1 {
		for k := range c.Keys {
			c.Webhook.APIKey = k
		}
	}
	if _, ok := c.Keys[c.Webhook.APIKey]; ok {
		return
	}
	names := make([]string, 0, len(c.Keys))
	for k := range c.Keys {
		names = append(names, k)
	}
	slices.Sort(names)
	r.Errorf("webhook.api_key", "expected one of the API keys %v, got %q", names, c.Webhook.APIKey)
}
