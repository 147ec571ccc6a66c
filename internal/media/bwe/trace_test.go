package bwe

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// moment is a moment of a replayed trace.
type moment struct {
	at time.Duration
	d  Decision
}

// replay runs a recorded trace through an estimator and returns the decision after
// each report. The recorded sender did not follow the estimate.
func replay(t *testing.T, file string, e *Estimator) (out []moment) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		var what, rest string
		var us int64
		if _, err := fmt.Sscan(line, &what, &us, &rest); err != nil {
			t.Fatalf("%s:%d: %v", file, n+1, err)
		}
		at := t0.Add(time.Duration(us) * time.Microsecond)
		switch what {
		case "sent":
			p := Packet{At: at}
			if _, err := fmt.Sscan(line, &what, &us, &p.Seq, &p.Size); err != nil {
				t.Fatalf("%s:%d: %v", file, n+1, err)
			}
			e.Sent(p)
		case "report":
			raw, err := hex.DecodeString(rest)
			if err != nil {
				t.Fatalf("%s:%d: %v", file, n+1, err)
			}
			if err := e.FeedbackBytes(raw, at); err != nil {
				t.Fatalf("%s:%d: %v", file, n+1, err)
			}
			out = append(out, moment{at.Sub(t0), e.Tick(at)})
		default:
			t.Fatalf("%s:%d: %s?", file, n+1, what)
		}
	}
	return out
}

// TestChromiumTrace: reports of a browser, with all the noise of a busy machine.
func TestChromiumTrace(t *testing.T) {
	e := New(Config{Start: 2_000_000})
	const fall, slowed, rise = 6 * time.Second, 6500 * time.Millisecond, 12 * time.Second
	var seen time.Duration
	var last Decision
	for _, m := range replay(t, "testdata/traces/chromium-fall.txt", e) {
		last = m.d
		switch {
		case m.at < fall:
			if m.d.Bitrate < 1_600_000 || m.d.State == Congested {
				t.Fatalf("%v: %d %v before the fall: %v", m.at, m.d.Bitrate, m.d.State, m.d.Why)
			}
		case m.at < slowed:
			if seen == 0 && m.d.State == Congested {
				seen = m.at - fall
			}
		case m.at > 9*time.Second && m.at < rise:
			if m.d.Bitrate < 400_000 || m.d.Bitrate > 640_000 || m.d.State == Congested {
				t.Fatalf("%v: %d %v over 600 kbps: %v", m.at, m.d.Bitrate, m.d.State, m.d.Why)
			}
		}
	}
	if seen == 0 || seen > 350*time.Millisecond {
		t.Errorf("the fall is seen after %v", seen)
	}
	if last.Bitrate < 1_300_000 {
		t.Errorf("%d at the end: %v", last.Bitrate, last.Why)
	}
	if s := e.Stats(); s.Unknown+s.Malformed > 0 || s.Acked < s.Sent*98/100 {
		t.Errorf("%+v", s)
	}
}
