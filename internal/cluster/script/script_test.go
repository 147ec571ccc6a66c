package script

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	got, err := Parse("f", "\n# comment\n  go a \"b c\" k=v q=\"x y\" # rest\nstop\n----\nline 1\n  line 2\n\nlast \"a=b\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 {
		t.Fatalf("%d commands: %+v", len(got), got)
	}
	c := got[0]
	if c.Name != "go" || c.Line != 3 || len(c.Args) != 2 || c.Args[1] != "b c" || c.String("k", "") != "v" || c.String("q", "") != "x y" {
		t.Errorf("first %+v", c)
	}
	if c := got[1]; c.Name != "stop" || c.Expect != "line 1\n  line 2\n" {
		t.Errorf("second %+v", c)
	}
	if c := got[2]; c.Line != 9 || len(c.Args) != 1 || c.Args[0] != "a=b" {
		t.Errorf("third %+v: an equals sign in quotes makes no option", c)
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a \"b", "f:1: quote is not closed"},
		{"----\nx", "f:1: expected output without a command"},
		{"\n\na=b", `f:3: "a=b" is not a command`},
		{"a k=v b", `f:1: argument "b" after an option`},
		{"a =v", `f:1: option "=v" has no name`},
		{"a k=1 k=2", "f:1: option k is given twice"},
		{`""`, `f:1: "" is not a command`},
	} {
		_, err := Parse("f", c.text)
		var e *Error
		if err == nil || err.Error() != c.want || !errors.Is(err, ErrSyntax) || !errors.As(err, &e) {
			t.Errorf("%q: error %v, want %q", c.text, err, c.want)
		}
	}
}

func TestOptions(t *testing.T) {
	cs, err := Parse("f", "go f=1.5 i=-3 d=90s on=on off=false s=text bad=x big=1e300")
	if err != nil {
		t.Fatal(err)
	}
	c := &cs[0]
	f, i, d, on, off, s := 0.0, 0, time.Duration(0), false, true, ""
	unset, kept := 7, 2.5
	r := Reader{Command: c}
	r.Float("f", &f)
	r.Int("i", &i)
	r.Duration("d", &d)
	r.Bool("on", &on)
	r.Bool("off", &off)
	r.Text("s", &s)
	r.Int("unset", &unset)
	r.Float("missing", &kept)
	if r.Err() != nil || f != 1.5 || i != -3 || d != 90*time.Second || !on || off || s != "text" || unset != 7 || kept != 2.5 {
		t.Errorf("%v %v %v %v %v %v %v %v %v", r.Err(), f, i, d, on, off, s, unset, kept)
	}
	if err := c.Unused(); err == nil || err.Error() != "f:1: go: unknown option bad" {
		t.Errorf("unused: %v", err)
	}
	if !c.Has("bad") || c.Has("none") {
		t.Error("Has")
	}
	for want, read := range map[string]func() error{
		"bad=x is not a number":                  func() error { _, err := c.Float("bad", 0); return err },
		"big=1e300 is not a number":              func() error { _, err := c.Float("big", 0); return err },
		"bad=x is not a whole number":            func() error { _, err := c.Int("bad", 0); return err },
		"bad=x is not a duration like 90s or 5m": func() error { _, err := c.Duration("bad", 0); return err },
		"bad=x is not on or off":                 func() error { _, err := c.Bool("bad", false); return err },
	} {
		if err := read(); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err := c.Unused(); err != nil {
		t.Errorf("all are read: %v", err)
	}
	// The first error stays, and later ones do not replace it.
	r.Int("bad", &i)
	r.Fail(errors.New("second"))
	if r.Err() == nil || !strings.Contains(r.Err().Error(), "whole number") || i != -3 {
		t.Errorf("kept error %v, value %d", r.Err(), i)
	}
	if err := c.WantArgs("x", "y"); err == nil || err.Error() != "f:1: go: want 2 arguments (x y), have 0" {
		t.Errorf("args: %v", err)
	}
	if err := c.WantArgs(); err != nil {
		t.Error(err)
	}
}

func TestClock(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"00:00": 0, "09:30": 9*time.Hour + 30*time.Minute, "23:59:59": 24*time.Hour - time.Second, "24:00": 24 * time.Hour,
	} {
		if got, err := Clock(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "9:30", "09:60", "24:01", "25:00", "09", "09:30:00:00", "ab:cd", "-1:00"} {
		if d, err := Clock(s); err == nil {
			t.Errorf("%q is %v", s, d)
		}
	}
}

// Rewriting puts the outputs in place, keeps comments, and is stable: a second
// run changes nothing.
func TestRewrite(t *testing.T) {
	run := func(c *Command) string {
		if c.Name == "quiet" {
			return ""
		}
		return c.Name + "!\n"
	}
	text := "# head\nquiet\nsay\n----\nold\noutput\n\n# between\nquiet\n----\ngone\n\nlast"
	want := "# head\nquiet\nsay\n----\nsay!\n\n# between\nquiet\n\nlast----\nlast!\n"
	got, err := Rewrite("f", text+"\n", run)
	want = strings.Replace(want, "last----", "last\n----", 1)
	if err != nil || got != want {
		t.Fatalf("%v\n%q\nwant\n%q", err, got, want)
	}
	again, err := Rewrite("f", got, run)
	if err != nil || again != got {
		t.Errorf("a second run gives\n%q\nafter\n%q", again, got)
	}
	if _, err := Rewrite("f", "\"", run); err == nil {
		t.Error("a bad file is rewritten")
	}
}

// FuzzParse: no text makes the parser panic; what it reads can be rewritten,
// twice with the same result.
func FuzzParse(f *testing.F) {
	f.Add("go a \"b c\" k=v # x\n----\nout\n\n")
	f.Add("a\n----\n\nb\n----")
	f.Fuzz(func(t *testing.T, text string) {
		cs, err := Parse("f", text)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatal(err)
			}
			return
		}
		for i := range cs {
			if cs[i].Name == "" || cs[i].Line < 1 {
				t.Fatalf("%q gives %+v", text, cs[i])
			}
		}
		run := func(c *Command) string { return "out of " + strings.Repeat("x", len(c.Args)) }
		once, err := Rewrite("f", text, run)
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := Rewrite("f", once, run); err != nil || twice != once {
			t.Fatalf("%q\nonce  %q\ntwice %q, %v", text, once, twice, err)
		}
	})
}
