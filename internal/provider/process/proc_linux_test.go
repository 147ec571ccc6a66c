package process

import (
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	const rest = " S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 10 20"
	for in, want := range map[string]stat{
		"42 (node)" + rest:          {start: "98765", group: 42},
		"42 (a) b (c))" + rest:      {start: "98765", group: 42},
		"42 () S 1 2 3 4 5)" + rest: {start: "98765", group: 42},
	} {
		if got, err := parseStat([]byte(in)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "42 (node)", "42 (node) S 1 2", "42 node" + rest, "42 (node) Z" + rest[2:], "42 (x) S 1 y 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 10"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	start, err := startOf(os.Getpid())
	if err != nil || start == "" {
		t.Errorf("of this process: %q, %v", start, err)
	}
	if again, err := startOf(os.Getpid()); err != nil || again != start {
		t.Errorf("%q became %q, %v", start, again, err)
	}
	if _, err := startOf(1 << 30); err == nil {
		t.Error("of nobody")
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 10 20"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := parseStat(data); err == nil && s.start == "" {
			t.Fatal("no start")
		}
	})
}

func TestMarkOf(t *testing.T) {
	for env, want := range map[string]string{
		"A=b\x00CONCERTINA_PROVIDER_DIR=/d\x00CONCERTINA_PROVIDER_NODE=n1\x00":                                                      "n1",
		"CONCERTINA_PROVIDER_NODE=old\x00CONCERTINA_PROVIDER_DIR=/old\x00CONCERTINA_PROVIDER_DIR=/d\x00CONCERTINA_PROVIDER_NODE=n1": "n1",
		"CONCERTINA_PROVIDER_DIR=/other\x00CONCERTINA_PROVIDER_NODE=n1\x00":                                                         "",
		"CONCERTINA_PROVIDER_DIR=/d\x00CONCERTINA_PROVIDER_NODE=../x\x00":                                                           "",
		"CONCERTINA_PROVIDER_DIR=/d\x00":                                                                                            "",
		"":                                                                                                                          "",
	} {
		node, ok := markOf([]byte(env), "/d")
		if ok != (want != "") || ok && node != want {
			t.Errorf("%q: %q, %v", env, node, ok)
		}
	}
}
