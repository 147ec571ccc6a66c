package script

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var rewrite = flag.Bool("rewrite", false, "write the outputs of the files anew")

// TestSyntax prints every command of testdata/syntax.txt as it is read. Lines
// that are no commands are read alone, so that their errors can be seen.
func TestSyntax(t *testing.T) {
	const file = "testdata/syntax.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "    → ") || line == "" {
			if !strings.HasPrefix(line, "    → ") {
				fmt.Fprintln(&b, line)
			}
			continue
		}
		fmt.Fprintf(&b, "%s\n    → %s\n", line, read(line))
	}
	if *rewrite {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := b.String(); got != string(text) {
		t.Errorf("%s is read as\n%s", file, got)
	}
}

// read is a line as the parser reads it, in a form that shows every word.
func read(line string) string {
	cs, err := Parse("line", line)
	if err != nil {
		return "error: " + err.Error()
	}
	if len(cs) != 1 {
		return fmt.Sprintf("%d commands", len(cs))
	}
	s := fmt.Sprintf("%q", cs[0].Name)
	for _, a := range cs[0].Args {
		s += fmt.Sprintf(" %q", a)
	}
	for _, o := range cs[0].Options {
		s += fmt.Sprintf(" %s=%q", o.Key, o.Value)
	}
	return s
}

// drawWord is any text that needs no more than quotes to be one word.
func drawWord(t *rapid.T, name string) string {
	return rapid.StringOf(rapid.RuneFrom([]rune(`abcXYZ019 .,:;-_=#'/\äß房`))).Draw(t, name)
}

// What is written with quotes is read back as it was: any words, any options.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		var want []Command
		for i := range rapid.IntRange(0, 6).Draw(t, "commands") {
			c := Command{Name: fmt.Sprintf("cmd%d", i)}
			line := c.Name
			for range rapid.IntRange(0, 4).Draw(t, "args") {
				a := drawWord(t, "arg")
				c.Args = append(c.Args, a)
				line += fmt.Sprintf("  \"%s\"", a)
			}
			for j := range rapid.IntRange(0, 4).Draw(t, "options") {
				o := Option{fmt.Sprintf("key%d", j), drawWord(t, "value")}
				c.Options = append(c.Options, o)
				line += fmt.Sprintf("\t%s=\"%s\"", o.Key, o.Value)
			}
			if rapid.Bool().Draw(t, "comment") {
				line += " # " + drawWord(t, "comment")
			}
			c.Line = strings.Count(text.String(), "\n") + 1
			text.WriteString(line + rapid.SampledFrom([]string{"\n", "\r\n", "\n\n", "\n# between\n", "  \n"}).Draw(t, "end"))
			want = append(want, c)
		}
		got, err := Parse("f", text.String())
		if err != nil {
			t.Fatalf("%v\n%s", err, text.String())
		}
		if len(got) != len(want) {
			t.Fatalf("%d commands, want %d\n%s", len(got), len(want), text.String())
		}
		for i := range want {
			if a, b := fmt.Sprintf("%d %q %q %q", got[i].Line, got[i].Name, got[i].Args, got[i].Options), fmt.Sprintf("%d %q %q %q", want[i].Line, want[i].Name, want[i].Args, want[i].Options); a != b {
				t.Fatalf("%s\nread as %s\nwant    %s", text.String(), a, b)
			}
		}
	})
}

// Every kind of value, and what is none of it.
func TestValues(t *testing.T) {
	read := func(kind, value string) (string, error) {
		cs, err := Parse("f", `go v="`+value+`"`)
		if err != nil {
			t.Fatal(err)
		}
		c := &cs[0]
		switch kind {
		case "float":
			v, err := c.Float("v", -1)
			return fmt.Sprint(v), err
		case "int":
			v, err := c.Int("v", -1)
			return fmt.Sprint(v), err
		case "duration":
			v, err := c.Duration("v", -1)
			return v.String(), err
		}
		v, err := c.Bool("v", false)
		return fmt.Sprint(v), err
	}
	for _, c := range []struct{ kind, value, want string }{
		{"float", "1", "1"}, {"float", "-1.5", "-1.5"}, {"float", "2e3", "2000"}, {"float", ".5", "0.5"}, {"float", "1e15", "1e+15"},
		{"float", "", ""}, {"float", "1e16", ""}, {"float", "-1e16", ""}, {"float", "NaN", ""}, {"float", "Inf", ""}, {"float", "-inf", ""}, {"float", "1,5", ""}, {"float", " 1", ""},
		{"int", "0", "0"}, {"int", "-7", "-7"}, {"int", "+7", "7"}, {"int", "1.0", ""}, {"int", "1e3", ""}, {"int", "", ""}, {"int", "0x10", ""}, {"int", "99999999999999999999", ""},
		{"duration", "0s", "0s"}, {"duration", "90s", "1m30s"}, {"duration", "1h30m", "1h30m0s"}, {"duration", "-5m", "-5m0s"}, {"duration", "1500ms", "1.5s"}, {"duration", "0", "0s"},
		{"duration", "5", ""}, {"duration", "", ""}, {"duration", "1d", ""}, {"duration", "m", ""}, {"duration", "5 m", ""},
		{"bool", "on", "true"}, {"bool", "yes", "true"}, {"bool", "true", "true"}, {"bool", "off", "false"}, {"bool", "no", "false"}, {"bool", "false", "false"},
		{"bool", "ON", ""}, {"bool", "1", ""}, {"bool", "", ""}, {"bool", "maybe", ""},
	} {
		got, err := read(c.kind, c.value)
		switch {
		case c.want == "" && (err == nil || !strings.HasPrefix(err.Error(), "f:1: go: v="+c.value+" is not ")):
			t.Errorf("%s %q gives %s, %v", c.kind, c.value, got, err)
		case c.want == "" && !errors.Is(err, ErrSyntax):
			t.Errorf("%s %q: %v is not a syntax error", c.kind, c.value, err)
		case c.want != "" && (err != nil || got != c.want):
			t.Errorf("%s %q gives %s, %v; want %s", c.kind, c.value, got, err, c.want)
		}
	}
}

// A value that cannot be read leaves the default in place.
func TestDefaultsStay(t *testing.T) {
	cs, err := Parse("f", "go bad=x")
	if err != nil {
		t.Fatal(err)
	}
	f, i, d, b, s := 1.5, 2, 3*time.Second, true, "four"
	for _, key := range []string{"bad", "missing"} {
		r := Reader{Command: &cs[0]}
		r.Float(key, &f)
		r.Int(key, &i)
		r.Duration(key, &d)
		r.Bool(key, &b)
		if f != 1.5 || i != 2 || d != 3*time.Second || !b {
			t.Errorf("%s: %v %v %v %v", key, f, i, d, b)
		}
		if (r.Err() != nil) != (key == "bad") {
			t.Errorf("%s: %v", key, r.Err())
		}
	}
	r := Reader{Command: &cs[0]}
	if r.Text("missing", &s); s != "four" {
		t.Errorf("text %q", s)
	}
	if r.Text("bad", &s); s != "x" || r.Err() != nil {
		t.Errorf("text %q, %v", s, r.Err())
	}
	r.Fail(nil)
	if r.Err() != nil {
		t.Errorf("no failure is one: %v", r.Err())
	}
	r.Fail(errors.New("first"))
	r.Fail(errors.New("second"))
	if r.Err() == nil || r.Err().Error() != "f:1: go: first" {
		t.Errorf("kept %v", r.Err())
	}
}

// Rewriting keeps everything but the outputs: commands, comments, blank lines.
func TestRewriteKeepsTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var bare, full strings.Builder
		for i := range rapid.IntRange(0, 8).Draw(t, "parts") {
			switch rapid.IntRange(0, 2).Draw(t, "part") {
			case 0:
				line := fmt.Sprintf("# comment %d\n", i)
				bare.WriteString(line)
				full.WriteString(line)
			case 1:
				line := fmt.Sprintf("quiet k=%d\n", i)
				bare.WriteString(line)
				full.WriteString(line)
			case 2:
				line := fmt.Sprintf("say %d\n", i)
				bare.WriteString(line + "\n")
				full.WriteString(line + "----\n" + rapid.SampledFrom([]string{"", "old\n", "old\nlines\n"}).Draw(t, "old") + "\n")
			}
		}
		run := func(c *Command) string {
			if c.Name == "quiet" {
				return ""
			}
			return "said " + c.Args[0]
		}
		got, err := Rewrite("f", full.String(), run)
		if err != nil {
			t.Fatal(err)
		}
		var rest strings.Builder
		lines := strings.SplitAfter(got, "\n")
		for i := 0; i < len(lines); i++ {
			if lines[i] != "----\n" {
				rest.WriteString(lines[i])
				continue
			}
			for i++; lines[i] != "\n"; i++ {
				if !strings.HasPrefix(lines[i], "said ") {
					t.Fatalf("output %q\n%s", lines[i], got)
				}
			}
			rest.WriteString("\n")
		}
		if rest.String() != bare.String() {
			t.Fatalf("%q\nbecame, without outputs,\n%q", bare.String(), rest.String())
		}
	})
}

// A command that expects output and gives none loses the dashes; one that gives
// some and expects none gets them.
func TestRewriteAddsAndRemoves(t *testing.T) {
	say := map[string]string{"a": "one\ntwo\n\n", "b": "", "c": "three"}
	for _, c := range []struct{ text, want string }{
		{"a\n", "a\n----\none\ntwo\n\n"},
		{"a", "a\n----\none\ntwo\n\n"},
		{"b\n----\nold\n\nc\n", "b\n\nc\n----\nthree\n\n"},
		{"b\n", "b\n"},
		{"c\n----\n", "c\n----\nthree\n\n"},
		{"c\n----\nthree\n\n\n\nb\n", "c\n----\nthree\n\n\n\nb\n"},
		{"# only a comment", "# only a comment"},
		{"", ""},
	} {
		got, err := Rewrite("f", c.text, func(c *Command) string { return say[c.Name] })
		if err != nil || strings.TrimRight(got, "\n") != strings.TrimRight(c.want, "\n") {
			t.Errorf("%q becomes %q, %v; want %q", c.text, got, err, c.want)
		}
		if again, err := Rewrite("f", got, func(c *Command) string { return say[c.Name] }); err != nil || again != got {
			t.Errorf("%q again becomes %q, %v", got, again, err)
		}
	}
	if _, err := Rewrite("f", "----\n", nil); err == nil || err.Error() != "f:1: expected output without a command" {
		t.Errorf("dashes without a command: %v", err)
	}
}
