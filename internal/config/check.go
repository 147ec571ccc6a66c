package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// Checker is a section with rules that tags cannot say: fields that exclude or
// order each other. [Load] calls it for every section, inner ones first, after
// everything is decoded.
type Checker interface {
	Check(r *Report)
}

// Report collects the errors of one section.
type Report struct {
	loader *loader
	path   string
}

// Errorf records an error of key, which is relative to the section (for
// example "max" or "servers[2].port"; "" is the section itself). The error
// points at the place where the key was set, or else its section. A key that
// already has an error is not reported again.
func (r *Report) Errorf(key, format string, args ...any) {
	path := join(r.path, key)
	r.loader.fail(r.loader.find(path), path, fmt.Sprintf(format, args...))
}

// IsSet reports whether the file or the environment set key.
func (r *Report) IsSet(key string) bool {
	_, ok := r.loader.where[join(r.path, key)]
	return ok
}

// validate checks tags and calls the Checkers below v.
func (l *loader) validate(v reflect.Value) { l.validateSection(v, "") }

func (l *loader) validateSection(v reflect.Value, path string) {
	for _, f := range fields(v.Type()) {
		fv, s := v.FieldByIndex(f.Index), slot{join(path, f.name), f.Type, f.Tag}
		switch {
		case isSection(f.Type):
			l.validateSection(fv, s.path)
		case f.Type.Kind() == reflect.Slice && !isText(f.Type):
			for i := range fv.Len() {
				if es := s.elem(i); isSection(es.t) {
					l.validateSection(fv.Index(i), es.path)
				} else {
					l.validateTags(fv.Index(i), es)
				}
			}
		default:
			l.validateTags(fv, s)
		}
	}
	if c, ok := v.Addr().Interface().(Checker); ok {
		c.Check(&Report{l, path})
	}
}

// validateTags checks the range and oneof tags of one scalar.
func (l *loader) validateTags(v reflect.Value, s slot) {
	if words := oneOf(s.tag); words != nil && v.Kind() == reflect.String && !slices.Contains(words, v.String()) {
		near := nearest(v.String(), words)
		msg := wrong(s, quote(v.String()))
		if near != "" {
			msg += fmt.Sprintf("; did you mean %q?", near)
		}
		l.fail(l.find(s.path), s.path, msg)
	}
	lo, hi := bounds(s.tag)
	if lo != "" && compareBound(v, lo) < 0 || hi != "" && compareBound(v, hi) > 0 {
		l.fail(l.find(s.path), s.path, wrong(s, inline(v, s.secret())))
	}
}

// compareBound compares v with a bound in the notation of its type. A bound
// that does not parse is a slip in a struct tag: it compares as violated.
func compareBound(v reflect.Value, bound string) int {
	violated := func() int {
		panic(fmt.Sprintf("config: bad range bound %q for %s", bound, v.Type()))
	}
	switch {
	case isDuration(v.Type()):
		d, err := time.ParseDuration(bound)
		if err != nil {
			return violated()
		}
		return int(sign(v.Int() - int64(d)))
	case v.Type() == reflect.TypeFor[Size]():
		var s Size
		if s.UnmarshalText([]byte(bound)) != nil {
			return violated()
		}
		return int(sign(v.Int() - int64(s)))
	}
	b, err := strconv.ParseFloat(bound, 64)
	if err != nil {
		return violated()
	}
	switch {
	case v.CanInt():
		return int(sign(float64(v.Int()) - b))
	case v.CanUint():
		return int(sign(float64(v.Uint()) - b))
	case v.CanFloat():
		return int(sign(v.Float() - b))
	}
	return violated()
}

func sign[T int64 | float64](x T) T {
	switch {
	case x < 0:
		return -1
	case x > 0:
		return 1
	}
	return 0
}
