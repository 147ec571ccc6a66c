package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// testConfig has a field of every kind.
type testConfig struct {
	Port     int               `yaml:"port" range:"1..65535" hint:"one port is enough"`
	Name     string            `yaml:"name"`
	Level    string            `yaml:"level" oneof:"debug info warn error"`
	On       bool              `yaml:"on"`
	Ratio    float64           `yaml:"ratio" range:"0..1"`
	Small    uint8             `yaml:"small"`
	Timeout  time.Duration     `yaml:"timeout" range:"0s.."`
	Empty    time.Duration     `yaml:"empty_timeout" unit:"s"`
	Interval time.Duration     `yaml:"interval" unit:"ms"`
	Size     Size              `yaml:"size" range:"0..1GiB"`
	Names    []string          `yaml:"names"`
	Codecs   []string          `yaml:"codecs" oneof:"vp8 h264"`
	Ports    []int             `yaml:"ports" range:"1..10"`
	Keys     map[string]string `yaml:"keys" secret:"true"`
	Labels   map[string]string `yaml:"labels"`
	Password string            `yaml:"password" secret:"true"`
	URL      string            `yaml:"url"`
	RTC      testRTC           `yaml:"rtc"`
	Servers  []testServer      `yaml:"servers"`
	Hidden   string            `yaml:"-"`
	NoTag    string
}

type testRTC struct {
	Min     int       `yaml:"min"`
	Max     int       `yaml:"max"`
	UDPPort int       `yaml:"udp_port"`
	Deep    testInner `yaml:"deep"`
}

type testInner struct {
	Value string `yaml:"value"`
}

type testServer struct {
	Host string `yaml:"host"`
	Port int    `yaml:"port" range:"1..65535"`
	TTL  int    `yaml:"ttl"`
}

func (s *testServer) SetDefaults() { s.Port, s.TTL = 3478, 60 }

func (s *testServer) Check(r *Report) {
	if s.Host == "" {
		r.Errorf("", "a server needs a host")
	}
}

func (c *testRTC) Check(r *Report) {
	if c.Min > c.Max {
		r.Errorf("min", "min %d is above max %d", c.Min, c.Max)
	}
}

func testDefaults() testConfig {
	return testConfig{
		Port: 7880, Level: "info", Timeout: time.Second, Empty: 5 * time.Minute, Interval: 400 * time.Millisecond,
		Size: 64 << 10, Names: []string{"a"}, Keys: map[string]string{"k": "s"}, RTC: testRTC{Max: 10},
	}
}

func testSource(doc string, env ...string) Source {
	return Source{
		File: "c.yaml", Data: []byte(doc), Env: env, EnvPrefix: "APP_", EnvReserved: []string{"APP_CONFIG"},
		Unsupported: map[string]string{"redis": "use masters instead", "rtc.lite": "remove it", "servers[].tls": "remove it"},
	}
}

func TestLoadEverything(t *testing.T) {
	doc := `
# a comment
port: 8_000
name: "x"
level: debug
on: true
ratio: .5
small: 0xff
timeout: 1m30s
empty_timeout: 20
interval: 1.5
size: 2MiB
names: [b, "c"]   # flow
codecs:
- vp8
- h264
ports: [1, 10]
keys:
  one: &secret aaa
  "two": *secret
labels: {a: "1"}
password: |
  line
rtc:
  min: 1
  deep:
    value: v
servers:
  - host: h1
    ttl: 5
  - {host: h2, port: 5349}
`
	got := testDefaults()
	if err := Load(&got, testSource(doc)); err != nil {
		t.Fatal(err)
	}
	want := testConfig{
		Port: 8000, Name: "x", Level: "debug", On: true, Ratio: .5, Small: 255,
		Timeout: 90 * time.Second, Empty: 20 * time.Second, Interval: 1500 * time.Microsecond, Size: 2 << 20,
		Names: []string{"b", "c"}, Codecs: []string{"vp8", "h264"}, Ports: []int{1, 10},
		Keys: map[string]string{"one": "aaa", "two": "aaa"}, Labels: map[string]string{"a": "1"}, Password: "line\n",
		RTC:     testRTC{Min: 1, Max: 10, Deep: testInner{"v"}},
		Servers: []testServer{{"h1", 3478, 5}, {"h2", 5349, 60}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEmptyLeavesDefaults(t *testing.T) {
	for _, doc := range []string{"", "\n", "# nothing\n", "---\n", "rtc:\nservers:\nkeys:\nnames:\n", "{}"} {
		got := testDefaults()
		if err := Load(&got, testSource(doc)); err != nil {
			t.Errorf("%q: %v", doc, err)
		}
		if diff := cmp.Diff(testDefaults(), got); diff != "" {
			t.Errorf("%q changed something:\n%s", doc, diff)
		}
	}
}

// Every file of testdata is a document, a line "-- errors --", and exactly the
// errors that it must give. Lines of the form "env NAME=value" before the
// document set variables. Run with CONFIG_REWRITE=1 to accept new messages.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata: %v", err)
	}
	const sep = "-- errors --\n"
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			doc, want, ok := strings.Cut(string(raw), sep)
			if !ok {
				t.Fatalf("%s has no %q", name, sep)
			}
			head := doc
			var env []string
			for strings.HasPrefix(doc, "env ") {
				var line string
				line, doc, _ = strings.Cut(doc, "\n")
				env = append(env, strings.TrimPrefix(line, "env "))
			}
			c := testDefaults()
			var es Errors
			got := ""
			if err := Load(&c, testSource(doc, env...)); errors.As(err, &es) {
				got = es.Error() + "\n"
			} else if err != nil {
				t.Fatalf("error is a %T: %v", err, err)
			}
			if os.Getenv("CONFIG_REWRITE") != "" {
				if err := os.WriteFile(name, []byte(head+sep+got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if strings.Contains(got, "hush") {
				t.Error("a message shows a secret")
			}
		})
	}
}

func TestEnv(t *testing.T) {
	got := testDefaults()
	err := Load(&got, testSource("port: 1\nnames: [z]\n",
		"PATH=/bin", "APP_CONFIG=c.yaml", "BROKEN",
		"APP_PORT=9000", "APP_ON=true", "APP_RATIO=0.25", "APP_NAMES=x, y", "APP_CODECS=[]", "APP_LEVEL=", "APP_PORTS=[1, 2]",
		"APP_EMPTY_TIMEOUT=7", "APP_INTERVAL=1s", "APP_SIZE=1kB", "APP_NAME=1234",
		"APP_KEYS=a: b, c: d", "APP_LABELS={\"x\": \"y, z\"}",
		"APP_RTC_DEEP_VALUE=v", "APP_SERVERS=[{host: h, port: 1}]",
		// What Kubernetes adds for a service called "app".
		"APP_SERVICE_HOST=10.0.0.1", "APP_SERVICE_PORT=7880", "APP_SERVICE_PORT_HTTP=7880",
		"APP_PORT_7880_TCP=tcp://10.0.0.1:7880", "APP_PORT_7880_TCP_ADDR=10.0.0.1",
	))
	if err != nil {
		t.Fatal(err)
	}
	want := testDefaults()
	want.Port, want.On, want.Ratio, want.Names, want.Codecs, want.Ports = 9000, true, .25, []string{"x", "y"}, []string{}, []int{1, 2}
	want.Empty, want.Interval, want.Size, want.Name = 7*time.Second, time.Second, 1000, "1234"
	want.Keys, want.Labels = map[string]string{"a": "b", "c": "d"}, map[string]string{"x": "y, z"}
	want.RTC.Deep.Value, want.Servers = "v", []testServer{{"h", 1, 60}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	// APP_PORT=tcp://... is Kubernetes' too, not the key "port".
	got = testDefaults()
	if err := Load(&got, testSource("", "APP_PORT=tcp://10.0.0.1:7880")); err != nil || got.Port != 7880 {
		t.Errorf("service variable named like a key: %v, port %d", err, got.Port)
	}
}

// A good variable replaces a bad value of the file, so only the result counts.
func TestEnvMendsFile(t *testing.T) {
	got := testDefaults()
	if err := Load(&got, testSource("rtc: {min: 50}\n", "APP_RTC_MIN=5")); err != nil || got.RTC.Min != 5 {
		t.Errorf("%v, min %d", err, got.RTC.Min)
	}
}

func TestValidate(t *testing.T) {
	c := testDefaults()
	if err := Validate(&c); err != nil {
		t.Fatal(err)
	}
	c.Port, c.RTC.Min, c.Servers = 0, 11, []testServer{{Port: 70000}}
	err := Validate(&c)
	var es Errors
	if !errors.As(err, &es) || len(es) != 4 {
		t.Fatalf("errors are %v", err)
	}
	var one *Error
	if !errors.As(err, &one) || one.Path != "port" || one.Error() != "port: expected a whole number from 1 to 65535, got 0 (one port is enough)" {
		t.Errorf("first error is %v", one)
	}
}

func TestReportIsSet(t *testing.T) {
	type doc struct {
		A int     `yaml:"a"`
		B int     `yaml:"b"`
		S isSetAB `yaml:"s"`
	}
	d := doc{}
	err := Load(&d, Source{File: "f", Data: []byte("s: {a: 1}\n")})
	if err == nil || err.Error() != "f:1:8: s.a: a is set, b is not" {
		t.Errorf("got %v", err)
	}
}

type isSetAB struct {
	A int `yaml:"a"`
	B int `yaml:"b"`
}

func (s *isSetAB) Check(r *Report) {
	if r.IsSet("a") && !r.IsSet("b") {
		r.Errorf("a", "a is set, b is not")
	}
}

func TestTypesThatNoKeyCanHave(t *testing.T) {
	type bad struct {
		P *int `yaml:"p"`
	}
	type lists struct {
		L [][]int `yaml:"l"`
	}
	type maps struct {
		M map[string]int `yaml:"m"`
	}
	for _, dst := range []any{&bad{}, &lists{}, &maps{}, bad{}, nil, (*bad)(nil), new(int)} {
		var es Errors
		if err := Load(dst, Source{}); err == nil || errors.As(err, &es) {
			t.Errorf("%T: error is %v", dst, err)
		}
	}
}

func TestPairs(t *testing.T) {
	got, err := Pairs("k.yaml", []byte("a: hush\n\"b\": 'x: y'\n"))
	if err != nil || !cmp.Equal(got, map[string]string{"a": "hush", "b": "x: y"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Pairs("k.yaml", nil); err != nil || len(got) != 0 {
		t.Errorf("empty: %v, %v", got, err)
	}
	for doc, want := range map[string]string{
		"hush":            "k.yaml:1:1: expected name: value pairs, got another value (not shown, it is secret)",
		"a: 1\na: hush\n": "k.yaml:2:1: a: key \"a\" is already set on line 1",
	} {
		if _, err := Pairs("k.yaml", []byte(doc)); err == nil || err.Error() != want {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func TestKeys(t *testing.T) {
	c := testDefaults()
	keys, err := Keys(&c, "APP_")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Key{}
	for _, k := range keys {
		if got[k.Path].Path != "" {
			t.Errorf("%s twice", k.Path)
		}
		got[k.Path] = k
	}
	for path, want := range map[string][3]string{
		"port":           {"APP_PORT", "a whole number from 1 to 65535", "7880"},
		"empty_timeout":  {"APP_EMPTY_TIMEOUT", "a duration such as 500ms, 20s or 5m (a bare number is seconds)", "5m"},
		"size":           {"APP_SIZE", "a size such as 64000, 64kB or 2MiB, from 0 to 1GiB", "64KiB"},
		"codecs":         {"APP_CODECS", "a list, each one of vp8, h264", "[]"},
		"keys":           {"APP_KEYS", "name: value pairs", `{k: "(secret)"}`},
		"rtc.deep.value": {"APP_RTC_DEEP_VALUE", "a string", `""`},
		"servers":        {"APP_SERVERS", "a list of sections", "[]"},
		"servers[].host": {"", "a string", ""},
	} {
		k := got[path]
		if diff := cmp.Diff(want, [3]string{k.Env, k.Expected, k.Default}); diff != "" {
			t.Errorf("%s:\n%s", path, diff)
		}
	}
	if !got["password"].Secret || got["name"].Secret || got["Hidden"].Path != "" {
		t.Error("tags are not honoured")
	}
}

func TestDumpReadsBack(t *testing.T) {
	c := testDefaults()
	c.Name, c.URL, c.Password = "yes", "https://u:hush@h/p?token=hush", "hush"
	c.Servers = []testServer{{"h", 1, 2}, {"i", 3, 4}}
	c.Labels = map[string]string{"b": "2", "a": "true"}
	c.Keys = map[string]string{"k": "hush"}
	var b strings.Builder
	if err := Dump(&b, &c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hush") {
		t.Errorf("the dump shows a secret:\n%s", b.String())
	}
	got := testConfig{}
	if err := Load(&got, testSource(b.String())); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	want := c
	want.Keys, want.Password, want.URL = map[string]string{"k": "(secret)"}, "(secret)", "https://u:xxxxx@h/p?..."
	if got.Codecs == nil || got.Ports == nil {
		t.Error("empty lists are lost")
	}
	want.Codecs, want.Ports = got.Codecs, got.Ports
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s\n%s", diff, b.String())
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "1": 1, "64000": 64000, "64kB": 64000, "64KiB": 65536, "2 MiB": 2 << 20, "1_000": 1000, "1GB": 1e9, "-1": -1, "5B": 5,
	} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%q: %d, %v", text, s, err)
		}
		var again Size
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%q: %q reads back as %d, %v", text, s, again, err)
		}
	}
	for _, text := range []string{"", "x", "1.5MB", "9223372036854775807kB", "1TB", "B"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"port", "ports", "udp_port", "tcp_port", "level"}
	for in, want := range map[string]string{
		"prot": "port", "por": "port", "udp_prot": "udp_port", "Port": "port", "lvel": "level", "banana": "", "x": "", strings.Repeat("p", 100): "",
	} {
		if got := nearest(in, words); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		doc, _, _ := strings.Cut(string(raw), "-- errors --\n")
		f.Add(doc, "APP_PORT=1")
	}
	f.Add("a: &a [*a]", "APP_KEYS={a: b}")
	f.Add("x: *y", "APP_SERVERS=[&a {host: *a}]")
	f.Fuzz(func(t *testing.T, doc, env string) {
		c := testDefaults()
		err := Load(&c, testSource(doc, env))
		var es Errors
		if err != nil && !errors.As(err, &es) {
			t.Fatalf("error is a %T: %v", err, err)
		}
		if err != nil {
			return
		}
		// What was accepted is valid and survives a dump.
		if err := Validate(&c); err != nil {
			t.Fatalf("accepted, but not valid: %v", err)
		}
		var b strings.Builder
		if err := Dump(&b, &c); err != nil {
			t.Fatal(err)
		}
		again := testConfig{}
		if err := Load(&again, testSource(b.String())); err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
	})
}
