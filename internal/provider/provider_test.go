package provider

import (
	"errors"
	"strings"
	"testing"
)

func TestValidNode(t *testing.T) {
	for id, want := range map[string]bool{
		"media_A1b2C3d4": true, "i-0abc": true, "a": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "_a": false, ".": false, "..": false, "a.b": false, "a/b": false, "a b": false, "a\n": false,
		strings.Repeat("a", 64): false, "ü": false,
	} {
		if ValidNode(id) != want {
			t.Errorf("%q: want %v", id, want)
		}
	}
}

func TestRequestValidate(t *testing.T) {
	if err := (Request{Node: "n1"}).Validate(); err != nil {
		t.Error(err)
	}
	for _, r := range []Request{{}, {Node: "a/b"}, {Node: "n1", DiskGB: -1}} {
		if err := r.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestStateEnded(t *testing.T) {
	for s, want := range map[State]bool{Pending: false, Running: false, Stopping: false, Terminated: true, Failed: true} {
		if s.Ended() != want {
			t.Errorf("%s", s)
		}
	}
}
