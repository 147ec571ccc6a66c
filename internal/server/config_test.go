package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/concertina-rtc/concertina/internal/config"
)

const goodKeys = "keys: {prod: 0123456789abcdef0123456789abcdef}\n"

// load loads a document from a file called concertina.yaml.
func load(t *testing.T, doc string, env ...string) (Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("concertina.yaml", []byte(doc), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadConfig("concertina.yaml", env)
}

func TestDefaultNeedsOnlyKeys(t *testing.T) {
	c := Default()
	if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "keys: no API key") {
		t.Errorf("without keys: %v", err)
	}
	got, err := load(t, goodKeys)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Keys = map[string]string{"prod": "0123456789abcdef0123456789abcdef"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if w := got.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %v", w)
	}
}

func TestDefaultDevIsValid(t *testing.T) {
	c := DefaultDev()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Keys["devkey"] != "secret" || len(c.Warnings()) != 0 {
		t.Errorf("keys %v, warnings %v", c.Keys, c.Warnings())
	}
	over, err := LoadDevConfig([]string{"CONCERTINA_PORT=1234", "CONCERTINA_KEYS=a: b"})
	if err != nil || over.Port != 1234 || over.Keys["a"] != "b" || !over.Development {
		t.Errorf("with variables: %+v, %v", over, err)
	}
	// development: true in a file brings the same keys.
	got, err := load(t, "development: true\n")
	if err != nil || got.Keys["devkey"] != "secret" {
		t.Errorf("%v, %v", got.Keys, err)
	}
}

// The keys of a livekit.yaml that people run, with LiveKit's notations.
func TestReadsLiveKitYAML(t *testing.T) {
	got, err := load(t, `
port: 7880
bind_addresses:
  - "0.0.0.0"
rtc:
  tcp_port: 7881
  udp_port: 7882
  use_external_ip: true
  enable_loopback_candidate: false
  stun_servers:
    - stun.example.com:3478
  turn_servers:
    - host: turn.example.com
      port: 443
      protocol: tls
      secret: shared
      ttl: 7200
    - host: turn2.example.com
      username: u
      credential: c
  pli_throttle:
    low_quality: 500ms
    mid_quality: 1s
    high_quality: 1s
  interfaces:
    excludes: [docker0]
  ips:
    includes: [10.0.0.0/16]
keys:
  key1: secret1
  key2: secret2
logging:
  level: debug
  json: true
room:
  auto_create: false
  empty_timeout: 300
  departure_timeout: 20
  max_participants: 10
  enabled_codecs:
    - mime: audio/opus
    - mime: video/VP8
  enable_remote_unmute: true
  playout_delay:
    enabled: true
    min: 100
    max: 2000
  sync_streams: true
webhook:
  api_key: key2
  urls:
    - https://your-host.example.com/handler
audio:
  active_level: 30
  min_percentile: 40
  update_interval: 500
  smooth_intervals: 4
turn:
  enabled: true
  udp_port: 3479
  tls_port: 5349
  external_tls: true
  domain: turn.example.com
  ttl_seconds: 300
  relay_range_start: 1024
  relay_range_end: 30000
  allow_restricted_peer_cidrs: [10.0.0.0/8]
limit:
  num_tracks: -1
  bytes_per_sec: 1_000_000_000
  subscription_limit_video: 0
  max_metadata_size: 0
prometheus:
  port: 6789
`)
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{
		"ttl":              got.RTC.TURNServers[0].TTL == 2*time.Hour && got.RTC.TURNServers[1].TTL == 4*time.Hour,
		"protocol default": got.RTC.TURNServers[1].Protocol == "udp",
		"empty_timeout":    got.Room.EmptyTimeout == 5*time.Minute,
		"codec case":       got.Room.EnabledCodecs[1].MIME == "video/vp8",
		"playout":          got.Room.PlayoutDelay.Max == 2*time.Second,
		"update_interval":  got.Audio.UpdateInterval == 500*time.Millisecond,
		"turn ttl":         got.TURN.TTL == 5*time.Minute,
		"bytes_per_sec":    got.Limit.BytesPerSec == 1e9,
		"prometheus":       got.Prometheus.Port == 6789,
		"untouched":        got.Limit.MaxRoomNameLength == 256,
	} {
		if !ok {
			t.Errorf("%s is wrong", name)
		}
	}
	w := strings.Join(got.Warnings(), "\n")
	if !strings.Contains(w, `"key1" is shorter than 32`) || !strings.Contains(w, `"key2" is shorter than 32`) {
		t.Errorf("warnings:\n%s", w)
	}
}

func TestConfigErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		doc  string
		env  []string
		want string
	}{
		"no keys": {"port: 1\n", nil,
			`concertina.yaml: keys: no API key: set keys, key_file or CONCERTINA_KEYS="name: secret"`},
		"slip": {goodKeys + "rtc:\n  udp_prot: 7882\n", nil,
			`concertina.yaml:3:3: rtc.udp_prot: unknown key "udp_prot"; did you mean "udp_port"?`},
		"wrong section": {goodKeys + "udp_port: 7882\n", nil,
			`concertina.yaml:2:1: udp_port: unknown key "udp_port"; did you mean "rtc.udp_port"?`},
		"port range of LiveKit": {goodKeys + "rtc:\n  udp_port: 7882-7892\n", nil,
			`concertina.yaml:3:13: rtc.udp_port: expected a whole number from 0 to 65535, got "7882-7892" (one port serves all CPUs, a range is not needed)`},
		"redis": {goodKeys + "redis:\n  address: localhost:6379\n", nil,
			`concertina.yaml:2:1: redis: not supported: Concertina needs no Redis; remove the key`},
		"ICE range": {goodKeys + "rtc:\n  port_range_start: 50000\n", nil,
			`concertina.yaml:3:3: rtc.port_range_start: not supported: use rtc.udp_port: one port carries all media`},
		"fmtp line": {goodKeys + "room:\n  enabled_codecs:\n  - mime: video/vp8\n    fmtp_line: x\n", nil,
			`concertina.yaml:5:5: room.enabled_codecs[0].fmtp_line: not supported: Concertina decides this by itself; remove the key`},
		"codec": {goodKeys + "room:\n  enabled_codecs:\n  - mime: video/vp7\n  - mime: video/vp8\n  - mime: video/VP8\n", nil,
			"concertina.yaml:4:11: room.enabled_codecs[0].mime: expected one of audio/opus, audio/red, video/vp8, video/h264, video/vp9, video/av1, got \"video/vp7\"; did you mean \"video/vp8\"?\n" +
				`concertina.yaml:6:11: room.enabled_codecs[2].mime: "video/vp8" is listed twice`},
		"no codec": {goodKeys + "room:\n  enabled_codecs: []\n", nil,
			`concertina.yaml:3:19: room.enabled_codecs: a room needs at least one codec`},
		"port taken": {goodKeys + "port: 7881\nturn:\n  enabled: true\n  udp_port: 7882\n", nil,
			"concertina.yaml: rtc.tcp_port: TCP port 7881 is already taken by port\n" +
				`concertina.yaml:5:13: turn.udp_port: UDP port 7882 is already taken by rtc.udp_port`},
		"playout": {goodKeys + "room:\n  playout_delay: {min: 300, max: 200}\n", nil,
			`concertina.yaml:3:24: room.playout_delay.min: 300ms is above max 200ms`},
		"node ip": {goodKeys + "rtc:\n  node_ip: example.com\n", nil,
			`concertina.yaml:3:12: rtc.node_ip: expected an IP address, or an IPv4 and an IPv6 address separated by a comma, got "example.com"`},
		"two ways to the address": {goodKeys + "rtc:\n  node_ip: 192.0.2.1\n  use_external_ip: true\n", nil,
			`concertina.yaml:3:12: rtc.node_ip: has no effect while rtc.use_external_ip is true: remove one of them`},
		"addresses": {goodKeys + "bind_addresses: [localhost]\nrtc:\n  ips:\n    excludes: [10.0.0.1]\n  stun_servers: [\"stun:a:1\"]\n", nil,
			"concertina.yaml:2:18: bind_addresses[0]: expected an IP address, got \"localhost\"\n" +
				"concertina.yaml:5:16: rtc.ips.excludes[0]: expected a network such as 10.0.0.0/16, got \"10.0.0.1\"\n" +
				`concertina.yaml:6:18: rtc.stun_servers[0]: expected host:port without a scheme, got "stun:a:1"`},
		"turn servers": {goodKeys + "rtc:\n  turn_servers:\n  - host: a\n  - port: 0\n    secret: s\n    username: u\n  - host: b\n    protocol: sctp\n    secret: s\n    ttl: 1\n", nil,
			"concertina.yaml:4:5: rtc.turn_servers[0]: a TURN server needs a secret, or a username and a credential\n" +
				"concertina.yaml:5:5: rtc.turn_servers[1].host: a TURN server needs a host\n" +
				"concertina.yaml:5:11: rtc.turn_servers[1].port: expected a whole number from 1 to 65535, got 0\n" +
				"concertina.yaml:6:13: rtc.turn_servers[1].secret: username and credential have no effect beside a secret: keep one of the two ways\n" +
				"concertina.yaml:9:15: rtc.turn_servers[2].protocol: expected one of udp, tcp, tls, got \"sctp\"\n" +
				"concertina.yaml:11:10: rtc.turn_servers[2].ttl: expected a duration such as 500ms, 20s or 5m (a bare number is seconds), 1m or more, got 1s"},
		"turn": {goodKeys + "turn:\n  enabled: true\n  tls_port: 5349\n  relay_range_start: 40001\n", nil,
			"concertina.yaml:3:3: turn.domain: turn.tls_port needs the domain of the certificate\n" +
				"concertina.yaml:3:3: turn.cert_file: turn.tls_port needs cert_file and key_file, or external_tls: true\n" +
				`concertina.yaml:5:22: turn.relay_range_start: 40001 is above relay_range_end 40000`},
		"turn certificate": {goodKeys + "turn:\n  enabled: true\n  tls_port: 5349\n  domain: d\n  cert_file: none.pem\n  key_file: none.pem\n", nil,
			`concertina.yaml:6:14: turn.cert_file: open none.pem: no such file or directory`},
		"webhook": {"keys: {a: x, b: y}\nwebhook:\n  urls: [\"ftp://x\", \"https://ok.example/\", \"https://ok.example/\"]\n", nil,
			"concertina.yaml:3:3: webhook.api_key: expected one of the API keys [a b], got \"\"\n" +
				"concertina.yaml:3:10: webhook.urls[0]: expected an http:// or https:// URL\n" +
				`concertina.yaml:3:44: webhook.urls[2]: the URL is listed twice`},
		"webhook event": {goodKeys + "webhook:\n  filter_params:\n    include_events: [room_start]\n", nil,
			`concertina.yaml:4:22: webhook.filter_params.include_events[0]: expected one of room_started, room_finished, participant_joined, participant_left, participant_connection_aborted, track_published, track_unpublished, got "room_start"; did you mean "room_started"?`},
		"prometheus": {goodKeys + "prometheus_port: 1\nprometheus:\n  port: 2\n  username: u\n", nil,
			"concertina.yaml:2:1: prometheus_port: not supported: use prometheus.port\n" +
				`concertina.yaml:5:13: prometheus.username: username and password go together`},
		"force tcp": {goodKeys + "rtc:\n  tcp_port: 0\n  force_tcp: true\n", nil,
			`concertina.yaml:4:14: rtc.force_tcp: needs rtc.tcp_port`},
		"environment": {goodKeys, []string{"CONCERTINA_RTC_UDP_PORT=x", "CONCERTINA_LOGGING_LEVEL=loud", "CONCERTINA_RTC_UDPPORT=1", "CONCERTINA_CONFIG=c.yaml"},
			"CONCERTINA_LOGGING_LEVEL: logging.level: expected one of debug, info, warn, error, got \"loud\"\n" +
				"CONCERTINA_RTC_UDPPORT: no such setting; did you mean CONCERTINA_RTC_UDP_PORT?\n" +
				`CONCERTINA_RTC_UDP_PORT: rtc.udp_port: expected a whole number from 0 to 65535, got "x" (one port serves all CPUs, a range is not needed)`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tc.doc, tc.env...)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(strings.Split(tc.want, "\n"), strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestEnvironmentAlone(t *testing.T) {
	c, err := LoadConfig("", []string{
		"CONCERTINA_KEYS=k: 0123456789abcdef0123456789abcdef", "CONCERTINA_PORT=9000", "CONCERTINA_BIND_ADDRESSES=127.0.0.1, ::1",
		"CONCERTINA_ROOM_EMPTY_TIMEOUT=10", "CONCERTINA_WEBHOOK_URLS=http://h/", "CONCERTINA_ROOM_ENABLED_CODECS=[{mime: audio/opus}]",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 9000 || len(c.BindAddresses) != 2 || c.Room.EmptyTimeout != 10*time.Second || c.Webhook.APIKey != "k" || len(c.Room.EnabledCodecs) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "none.yaml"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := write("good", "a: hush\nb: hush\n", 0o640)
	c, err := load(t, "key_file: "+good+"\n")
	if err != nil || len(c.Keys) != 2 || c.Keys["b"] != "hush" {
		t.Fatalf("%v, %v", c.Keys, err)
	}
	for name, tc := range map[string]struct{ doc, want string }{
		"readable by all": {"key_file: " + write("open", "a: hush\n", 0o644) + "\n", "can be accessed by every user (mode 0644): run chmod 600"},
		"missing":         {"key_file: /nowhere\n", "no such file"},
		"empty":           {"key_file: " + write("empty", "", 0o600) + "\n", "holds no keys"},
		"not pairs":       {"key_file: " + write("bad", "[hush]", 0o600) + "\n", "bad:1:1: expected name: value pairs, got a list"},
		"keys too":        {goodKeys + "key_file: " + good + "\n", "keys is set too"},
	} {
		_, err := load(t, tc.doc)
		var ce *config.Error
		if !errors.As(err, &ce) || ce.Path != "key_file" || ce.Line == 0 || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTURNSecretFile(t *testing.T) {
	p := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(p, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	doc := goodKeys + "rtc:\n  turn_servers:\n  - host: h\n    secret_file: " + p + "\n"
	c, err := load(t, doc)
	if err != nil || c.RTC.TURNServers[0].Secret != "hush" {
		t.Fatalf("%v", err)
	}
	if _, err := load(t, doc+"    secret: x\n"); err == nil || !strings.Contains(err.Error(), "keep one of them") {
		t.Errorf("both: %v", err)
	}
	// A configuration that was loaded stays valid when it is checked again.
	if err := c.Validate(); err != nil {
		t.Errorf("second check: %v", err)
	}
}

// A dump of a configuration shows no secret.
func TestDumpHidesSecrets(t *testing.T) {
	c := Default()
	c.Keys = map[string]string{"k": "hush"}
	c.Prometheus.Password = "hush"
	c.RTC.TURNServers = []TURNServer{{Host: "h", Secret: "hush", Credential: "hush"}}
	c.Webhook.URLs = []string{"https://u:hush@h/?token=hush"}
	var b strings.Builder
	if err := config.Dump(&b, &c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hush") || !strings.Contains(b.String(), "udp_port: 7882") {
		t.Errorf("dump:\n%s", b.String())
	}
}

func FuzzLoadConfig(f *testing.F) {
	f.Add(goodKeys + "rtc: {turn_servers: [{host: h, secret: s}], node_ip: \"1.2.3.4,::1\"}\nwebhook: {urls: [http://h]}\n")
	f.Add("development: true\nroom: {enabled_codecs: [{mime: a}]}\n")
	f.Fuzz(func(t *testing.T, doc string) {
		if strings.Contains(doc, "file") {
			t.Skip("reads files")
		}
		c := Default()
		if config.Load(&c, config.Source{File: "f", Data: []byte(doc), Unsupported: unsupportedKeys()}) != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("accepted, but not valid: %v", err)
		}
	})
}
