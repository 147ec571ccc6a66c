package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one mistake.
type Error struct {
	// File, Line and Column (both from 1) point at the value or key in the
	// document. Line is 0 when the value comes from elsewhere.
	File         string
	Line, Column int
	// Env is the environment variable that holds the value, if one does.
	Env string
	// Path is the key, for example rtc.turn_servers[0].port; empty for the
	// document as a whole.
	Path string
	// Message says what is wrong and what was expected.
	Message string
}

// Error returns "file:line:column: key: message", without what is unknown.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Env != "":
		b.WriteString(e.Env + ": ")
	case e.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Column)
	case e.File != "":
		b.WriteString(e.File + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	return b.String() + e.Message
}

// Errors is every mistake of a configuration, one per line.
type Errors []*Error

// Error returns the messages, one per line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the single errors.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// sorted returns es in the order of the document, the environment after it, or
// nil when there is none.
func (es Errors) sorted() error {
	if len(es) == 0 {
		return nil
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Env, b.Env), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return es
}
