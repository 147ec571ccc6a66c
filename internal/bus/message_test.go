package bus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/nats-io/nats.go"
)

func TestEnvelope(t *testing.T) {
	raw, err := encode(note{"a", 1})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := decode[note](raw); err != nil || v != (note{"a", 1}) {
		t.Errorf("got %+v, %v", v, err)
	}
	if v, err := decode[*note](raw); err != nil || *v != (note{"a", 1}) {
		t.Errorf("got %+v, %v", v, err)
	}
	pb, err := encode(durationpb.New(3 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := decode[*durationpb.Duration](pb); err != nil || v.AsDuration() != 3*time.Second {
		t.Errorf("got %v, %v", v, err)
	}
	later := binary.AppendUvarint([]byte{codecJSON}, Version+1)
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":          {nil, ErrMalformed},
		"head only":      {[]byte{codecJSON}, ErrMalformed},
		"version 0":      {[]byte{codecJSON, 0, '1'}, ErrMalformed},
		"open version":   {[]byte{codecJSON, 0xff}, ErrMalformed},
		"later version":  {append(later, "{}"...), ErrVersion},
		"no JSON":        {[]byte{codecJSON, 1, '{'}, ErrMalformed},
		"wrong type":     {[]byte{codecJSON, 1, '7'}, ErrMalformed},
		"protobuf":       {pb, ErrMalformed},
		"unknown codec":  {[]byte{'X', 1, '{', '}'}, ErrMalformed},
		"trailing bytes": {append(raw, '{'), ErrMalformed},
	} {
		if _, err := decode[note](c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decode[*durationpb.Duration](raw); !errors.Is(err, ErrMalformed) {
		t.Errorf("JSON as protobuf: %v", err)
	}
	if _, err := encode(func() {}); err == nil {
		t.Error("a function was encoded")
	}
	// A field that we do not know comes from a newer program of the same version.
	if v, err := decode[note]([]byte("J\x01{\"n\":2,\"new\":{}}")); err != nil || v.N != 2 {
		t.Errorf("got %+v, %v", v, err)
	}
}

func FuzzEnvelope(f *testing.F) {
	raw, err := encode(note{"a", 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte("P\x01\x08\x03"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := decode[note](data); err == nil {
			again, err := encode(v)
			if err != nil {
				t.Fatal(err)
			}
			if w, err := decode[note](again); err != nil || w != v {
				t.Fatalf("%+v became %+v, %v", v, w, err)
			}
		}
		if v, err := decode[*durationpb.Duration](data); err == nil {
			again, err := encode(v)
			if err != nil {
				t.Fatal(err)
			}
			if w, err := decode[*durationpb.Duration](again); err != nil || !proto.Equal(v, w) {
				t.Fatalf("%v became %v, %v", v, w, err)
			}
		}
	})
}

func TestToken(t *testing.T) {
	for in, want := range map[string]string{
		"": "=", "room-1_A": "room-1_A", "a.b": "a=2Eb", "*": "=2A", "=": "=3D", "ü": "=C3=BC", "a b>": "a=20b=3E", "\x00": "=00",
	} {
		if got := Token(in); got != want {
			t.Errorf("Token(%q) = %q, want %q", in, got, want)
		}
	}
	for _, bad := range []string{"", "a.b", "=2", "=2e", "=61", "==", "=GG", "a=", " ", "=+1"} {
		if got, err := ParseToken(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseToken(%q) = %q, %v", bad, got, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.String().Draw(t, "name")
		token := Token(in)
		if strings.ContainsAny(token, ".*> \t\r\n") || token == "" || !recordKey.MatchString(token) {
			t.Fatalf("%q is no token", token)
		}
		if out, err := ParseToken(token); err != nil || out != in {
			t.Fatalf("%q became %q, %v", in, out, err)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add("a=2Eb")
	f.Fuzz(func(t *testing.T, token string) {
		if name, err := ParseToken(token); err == nil && Token(name) != token {
			t.Fatalf("%q and %q are both %q", token, Token(name), name)
		}
	})
}

func TestNodeOf(t *testing.T) {
	for subject, want := range map[string]string{
		NodeLoad("n1"): "n1", NodeStatus("n1"): "n1", NodeRooms("n1"): "n1", EventSubject("n1", "k"): "n1",
		RoomState("a.b", "n1"): "n1", RoomLevels("x", "n1"): "n1", RoomData("x", "n1"): "n1",
		ClusterView: "", NodeRequest("n1", "m"): "", "": "", "node.n1": "",
	} {
		if got := NodeOf(subject); got != want {
			t.Errorf("NodeOf(%q) = %q", subject, got)
		}
	}
}

func TestRequest(t *testing.T) {
	m := single(t)
	a, n := join(t, "n1", m), join(t, "n2", m)
	ctx := testContext(t)
	slow := make(chan struct{})
	var deadline atomic.Int64
	if _, err := Handle(n, NodeRequest("n2", "echo"), "", func(ctx context.Context, _ string, in note) (note, error) {
		d, _ := ctx.Deadline()
		deadline.Store(int64(time.Until(d)))
		switch in.Text {
		case "error":
			return note{}, fmt.Errorf("wrapped: %w", &Error{CodeNotFound, "no such room"})
		case "other":
			return note{}, errors.New("something")
		case "panic":
			panic("oops")
		case "slow":
			<-ctx.Done()
			close(slow)
			return note{}, ctx.Err()
		}
		return note{in.Text, in.N + 1}, nil
	}); err != nil {
		t.Fatal(err)
	}
	ask := func(ctx context.Context, text string) (note, error) {
		return Request[note, note](ctx, a, NodeRequest("n2", "echo"), note{text, 1})
	}
	eventually(t, "it is heard", func() bool { _, err := ask(ctx, ""); return err == nil })
	if v, err := ask(ctx, "x"); err != nil || v != (note{"x", 2}) {
		t.Errorf("got %+v, %v", v, err)
	}
	if d := time.Duration(deadline.Load()); d <= 0 || d > DefaultConfig().Timeout {
		t.Errorf("the handler has %v", d)
	}
	var e *Error
	if _, err := ask(ctx, "error"); !errors.As(err, &e) || e.Code != CodeNotFound || e.Message != "no such room" || !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	for _, text := range []string{"other", "panic"} {
		if _, err := ask(ctx, text); !errors.As(err, &e) || e.Code != CodeInternal {
			t.Errorf("%s: %v", text, err)
		}
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := ask(short, "slow"); !errors.Is(err, ErrOutage) && !errors.Is(err, &Error{}) && !errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
	select {
	case <-slow:
	case <-ctx.Done():
		t.Error("the handler does not learn that nobody waits")
	}
	start := time.Now()
	if _, err := Request[note, note](ctx, a, NodeRequest("n3", "echo"), note{}); !errors.Is(err, ErrNoResponder) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("nobody answered after %v", took)
	}
	if _, err := Request[string, note](ctx, a, NodeRequest("n2", "echo"), "text"); !errors.As(err, &e) || e.Code != CodeInvalid {
		t.Errorf("wrong type: %v", err)
	}
	msg := nats.NewMsg(NodeRequest("n2", "echo"))
	msg.Data = append(binary.AppendUvarint([]byte{codecJSON}, Version+1), "{}"...)
	answer, err := a.conn.nc.RequestMsgWithContext(ctx, msg)
	if err != nil || answer.Header.Get(headerCode) != string(CodeVersion) {
		t.Errorf("newer version: %v, %v", answer, err)
	}
}

// A receiver that is flooded says so instead of making others wait.
func TestRequestFlood(t *testing.T) {
	m := single(t)
	ctx := testContext(t)
	hold := make(chan struct{})
	if _, err := Handle(m, MasterRequest("slow"), QueueMasters, func(ctx context.Context, _ string, _ note) (note, error) {
		<-hold
		return note{}, nil
	}); err != nil {
		t.Fatal(err)
	}
	results := make(chan error)
	const n = handlerLimit + 10
	for range n {
		go func() {
			_, err := Request[note, note](ctx, m, MasterRequest("slow"), note{})
			results <- err
		}()
	}
	var e *Error
	for range n - handlerLimit {
		if err := <-results; !errors.As(err, &e) || e.Code != CodeUnavailable {
			t.Errorf("got %v", err)
		}
	}
	close(hold)
	for range handlerLimit {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// Masters share requests.
func TestQueueGroup(t *testing.T) {
	t.Parallel()
	masters := three(t)
	n := join(t, "n1", masters...)
	ctx := testContext(t)
	for _, m := range masters {
		if _, err := Handle(m, MasterRequest("who"), QueueMasters, func(context.Context, string, note) (string, error) { return m.Node(), nil }); err != nil {
			t.Fatal(err)
		}
	}
	who := map[string]bool{}
	eventually(t, "one answer for each request", func() bool {
		v, err := Request[note, string](ctx, n, MasterRequest("who"), note{})
		if err == nil {
			who[v] = true
		}
		return len(who) > 0
	})
	masters[0].Close()
	masters[1].Close()
	eventually(t, "the last one answers", func() bool {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		v, err := Request[note, string](short, n, MasterRequest("who"), note{})
		return err == nil && v == masters[2].Node()
	})
}

func TestSubscribeSkipsWhatItCannotRead(t *testing.T) {
	cfg := masterConfig(t, "m1")
	l, log := newLogs(t)
	m, err := Open(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	mustReady(t, m)
	got := make(chan note, 10)
	sub, err := Subscribe(m, ClusterNotice, func(v Message[note]) { got <- v.Value })
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := m.conn.nc.Publish(ClusterNotice, []byte("garbage")); err != nil {
			t.Fatal(err)
		}
	}
	if err := Publish(m, ClusterNotice, note{N: 5}); err != nil {
		t.Fatal(err)
	}
	if v := <-got; v.N != 5 {
		t.Errorf("got %+v", v)
	}
	if n := l.count("not understood"); n != 1 {
		t.Errorf("%d lines for 100 messages", n)
	}
	sub.Stop()
	sub.Stop()
	if err := Publish(m, ClusterNotice, note{N: 6}); err != nil {
		t.Fatal(err)
	}
	if err := m.conn.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(got) != 0 {
		t.Error("a stopped subscription gets messages")
	}
}

func TestQuietLogSaysOnce(t *testing.T) {
	l, log := newLogs(t)
	q := newQuiet(log)
	now := time.Now()
	q.now = func() time.Time { return now }
	for range 1000 {
		q.Warnf("slow %s", "x")
		q.Errorf("bad")
	}
	q.Noticef("notice")
	q.Debugf("never")
	if n := l.count("slow x"); n != 1 {
		t.Errorf("%d lines", n)
	}
	now = now.Add(quietFor)
	q.Warnf("slow %s", "y")
	if n := l.count("slow y", "left_out=999"); n != 1 {
		t.Errorf("the number of those left out is missing:\n%s", l)
	}
	for i := range 2 * maxSaid {
		q.Warnf(fmt.Sprint("format ", i))
	}
	if len(q.said) > maxSaid {
		t.Errorf("%d keys remembered", len(q.said))
	}
	if strings.Contains(l.String(), "never") || !strings.Contains(l.String(), "notice") {
		t.Error("levels")
	}
	if bytes.Count([]byte(l.String()), []byte("bad")) != 1 {
		t.Error("errors")
	}
}
