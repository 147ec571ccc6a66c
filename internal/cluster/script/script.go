// Package script reads the line-based text files in which cluster scenarios are
// written, by hand, for tests and for the simulator.
//
// A line is a command: a word, then arguments, then key=value options. Quotes
// hold spaces together, # starts a comment. In test files a command may be
// followed by a line of four dashes and the output it is expected to give, up
// to an empty line; [Rewrite] runs such a file.
//
// It owns the syntax and its error messages (file, line and reason), not the
// meaning of any command. Start reading at [Parse] and [Command].
package script

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrSyntax is wrapped by every error of this package.
var ErrSyntax = errors.New("syntax error")

// Error is what is wrong in a file, and where.
type Error struct {
	File   string
	Line   int
	Reason string
}

// Error reads "file:line: reason".
func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason) }

// Unwrap makes errors.Is(err, ErrSyntax) true.
func (e *Error) Unwrap() error { return ErrSyntax }

// Option is one key=value of a command.
type Option struct {
	Key, Value string
}

// Command is one line of a script.
type Command struct {
	File    string
	Line    int
	Name    string
	Args    []string
	Options []Option
	Expect  string // what follows the dashes, with its newlines

	expects bool
	used    map[string]bool
}

// Errorf is an error at the command's line.
func (c *Command) Errorf(format string, args ...any) error {
	return &Error{File: c.File, Line: c.Line, Reason: c.Name + ": " + fmt.Sprintf(format, args...)}
}

// Parse reads a whole file. The name is used in errors only.
func Parse(file, text string) ([]Command, error) {
	var out []Command
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimRight(lines[i], "\r")
		if strings.TrimSpace(line) == expectMark {
			if len(out) == 0 {
				return nil, &Error{file, i + 1, "expected output without a command"}
			}
			last := &out[len(out)-1]
			last.expects = true
			var expect strings.Builder
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != ""; i++ {
				expect.WriteString(lines[i] + "\n")
			}
			last.Expect = expect.String()
			continue
		}
		words, err := split(line)
		if err != nil {
			return nil, &Error{file, i + 1, err.Error()}
		}
		if len(words) == 0 {
			continue
		}
		c, err := command(words)
		if err != nil {
			return nil, &Error{file, i + 1, err.Error()}
		}
		c.File, c.Line = file, i+1
		out = append(out, c)
	}
	return out, nil
}

const expectMark = "----"

// word is a word of a line, and whether it began inside quotes, where an equals
// sign does not make an option.
type word struct {
	text   string
	quoted bool
}

func split(line string) ([]word, error) {
	var out []word
	var cur strings.Builder
	in, quoted, any := false, false, false
	flush := func() {
		if any {
			out = append(out, word{cur.String(), quoted})
		}
		cur.Reset()
		quoted, any = false, false
	}
	for _, r := range line {
		switch {
		case in && r == '"':
			in = false
		case r == '"':
			if !any {
				quoted = true
			}
			in, any = true, true
		case in:
			cur.WriteRune(r)
		case r == '#' && !any:
			flush()
			return out, nil
		case r == ' ' || r == '\t':
			flush()
		default:
			cur.WriteRune(r)
			any = true
		}
	}
	if in {
		return nil, errors.New("quote is not closed")
	}
	flush()
	return out, nil
}

func command(words []word) (Command, error) {
	c := Command{Name: words[0].text}
	if c.Name == "" || strings.Contains(c.Name, "=") {
		return c, fmt.Errorf("%q is not a command", c.Name)
	}
	for _, w := range words[1:] {
		key, value, ok := strings.Cut(w.text, "=")
		if !ok || w.quoted {
			if len(c.Options) > 0 {
				return c, fmt.Errorf("argument %q after an option", w.text)
			}
			c.Args = append(c.Args, w.text)
			continue
		}
		if key == "" {
			return c, fmt.Errorf("option %q has no name", w.text)
		}
		if _, dup := c.lookup(key); dup {
			return c, fmt.Errorf("option %s is given twice", key)
		}
		c.Options = append(c.Options, Option{key, value})
	}
	return c, nil
}

func (c *Command) lookup(key string) (string, bool) {
	for _, o := range c.Options {
		if o.Key == key {
			return o.Value, true
		}
	}
	return "", false
}

// Has reports whether the option is given, and counts as reading it.
func (c *Command) Has(key string) bool {
	c.mark(key)
	_, ok := c.lookup(key)
	return ok
}

func (c *Command) mark(key string) {
	if c.used == nil {
		c.used = map[string]bool{}
	}
	c.used[key] = true
}

// String is the option's text, or def when it is not given.
func (c *Command) String(key, def string) string {
	c.mark(key)
	if v, ok := c.lookup(key); ok {
		return v
	}
	return def
}

// Float is the option's number, or def.
func (c *Command) Float(key string, def float64) (float64, error) {
	return option(c, key, def, "a number", func(s string) (float64, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err == nil && (f != f || f > 1e15 || f < -1e15) {
			err = strconv.ErrRange
		}
		return f, err
	})
}

// Int is the option's whole number, or def.
func (c *Command) Int(key string, def int) (int, error) {
	return option(c, key, def, "a whole number", strconv.Atoi)
}

// Duration is the option's duration, like 90s or 5m, or def.
func (c *Command) Duration(key string, def time.Duration) (time.Duration, error) {
	return option(c, key, def, "a duration like 90s or 5m", time.ParseDuration)
}

// Bool is the option's on or off (or true, false), or def.
func (c *Command) Bool(key string, def bool) (bool, error) {
	return option(c, key, def, "on or off", func(s string) (bool, error) {
		switch s {
		case "on", "true", "yes":
			return true, nil
		case "off", "false", "no":
			return false, nil
		}
		return false, strconv.ErrSyntax
	})
}

func option[T any](c *Command, key string, def T, want string, parse func(string) (T, error)) (T, error) {
	c.mark(key)
	s, ok := c.lookup(key)
	if !ok {
		return def, nil
	}
	v, err := parse(s)
	if err != nil {
		return def, c.Errorf("%s=%s is not %s", key, s, want)
	}
	return v, nil
}

// Unused reports the first option that nothing has read, which is a spelling
// mistake.
func (c *Command) Unused() error {
	for _, o := range c.Options {
		if !c.used[o.Key] {
			return c.Errorf("unknown option %s", o.Key)
		}
	}
	return nil
}

// WantArgs reports an error unless the command has exactly these arguments.
func (c *Command) WantArgs(names ...string) error {
	if len(c.Args) == len(names) {
		return nil
	}
	return c.Errorf("want %d arguments (%s), have %d", len(names), strings.Join(names, " "), len(c.Args))
}

// Clock reads a time of day, "HH:MM" or "HH:MM:SS", as the time since midnight.
// 24:00 is the end of the day.
func Clock(s string) (time.Duration, error) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, fmt.Errorf("%q is not a time of day like 09:30", s)
	}
	var v [3]int
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil || n < 0 || len(p) != 2 || (i > 0 && n > 59) || n > 24 && i == 0 {
			return 0, fmt.Errorf("%q is not a time of day like 09:30", s)
		}
		v[i] = n
	}
	d := time.Duration(v[0])*time.Hour + time.Duration(v[1])*time.Minute + time.Duration(v[2])*time.Second
	if d > 24*time.Hour {
		return 0, fmt.Errorf("%q is after the end of the day", s)
	}
	return d, nil
}

// Rewrite runs a test file: it calls run for each command and returns the text
// with the outputs put in place of the expected ones. A command that gives no
// output and expects none stays as it is. The file passes when the returned
// text is the given one.
func Rewrite(file, text string, run func(c *Command) string) (string, error) {
	commands, err := Parse(file, text)
	if err != nil {
		return "", err
	}
	lines := strings.Split(text, "\n")
	var out strings.Builder
	next := 0
	copyTo := func(line int) {
		for ; next < line && next < len(lines); next++ {
			out.WriteString(lines[next])
			if next < len(lines)-1 {
				out.WriteByte('\n')
			}
		}
	}
	for i := range commands {
		c := &commands[i]
		copyTo(c.Line)
		if text := out.String(); text[len(text)-1] != '\n' {
			out.WriteByte('\n') // the file ends without one
		}
		got := strings.TrimRight(run(c), "\n")
		if c.expects {
			for strings.TrimSpace(lines[next]) != expectMark {
				next++
			}
			next++
			for next < len(lines) && strings.TrimSpace(lines[next]) != "" {
				next++
			}
		}
		if got != "" {
			out.WriteString(expectMark + "\n" + got + "\n")
			if next >= len(lines) || strings.TrimSpace(lines[next]) != "" {
				out.WriteByte('\n')
			}
		}
	}
	copyTo(len(lines))
	return out.String(), nil
}
