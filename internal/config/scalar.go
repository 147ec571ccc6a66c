package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// scalar is a value as written, with the type that its notation has.
type scalar struct {
	text string
	kind scalarKind
}

type scalarKind int

const (
	kindText   scalarKind = iota // a YAML string
	kindNumber                   // a YAML integer or float
	kindBool                     // true or false
	kindEnv                      // an environment variable: untyped
)

// scalarOf returns the scalar that node is; false for nothing, lists, ...
func scalarOf(node ast.Node) (scalar, bool) {
	switch node.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return scalar{text(node), kindText}, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{text(node), kindNumber}, true
	case *ast.BoolNode:
		return scalar{text(node), kindBool}, true
	}
	return scalar{}, false
}

// setScalar parses sc into v. Ranges are checked later, for every source.
func setScalar(v reflect.Value, s slot, sc scalar) error {
	mismatch := func() error {
		got := quote(sc.text)
		if s.secret() {
			got = "another value (not shown, it is secret)"
		}
		if s.t.Kind() == reflect.String && sc.kind != kindText {
			got += ", which YAML reads as another type: put it in quotes"
		}
		return errors.New(wrong(s, got))
	}
	is := func(kinds ...scalarKind) bool {
		for _, k := range kinds {
			if sc.kind == k {
				return true
			}
		}
		return sc.kind == kindEnv
	}
	if isDuration(s.t) {
		d, ok := parseDuration(sc, s.tag.Get("unit"))
		if !ok {
			return mismatch()
		}
		v.SetInt(int64(d))
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if is(kindText, kindNumber) && u.UnmarshalText([]byte(sc.text)) == nil {
			return nil
		}
		return mismatch()
	}
	switch k := s.t.Kind(); k {
	case reflect.String:
		if !is(kindText) {
			return mismatch()
		}
		v.SetString(sc.text)
	case reflect.Bool:
		b, err := strconv.ParseBool(strings.ToLower(sc.text))
		if !is(kindBool) || err != nil {
			return mismatch()
		}
		v.SetBool(b)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(digits(sc.text), 64)
		if !is(kindNumber) || err != nil || math.IsNaN(f) || math.IsInf(f, 0) || v.OverflowFloat(f) {
			return mismatch()
		}
		v.SetFloat(f)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(digits(sc.text), 0, 64)
		if !is(kindNumber) || err != nil || v.OverflowUint(n) {
			return mismatch()
		}
		v.SetUint(n)
	default:
		n, err := strconv.ParseInt(digits(sc.text), 0, 64)
		if !is(kindNumber) || err != nil || v.OverflowInt(n) {
			return mismatch()
		}
		v.SetInt(n)
	}
	return nil
}

func digits(s string) string { return strings.ReplaceAll(strings.TrimPrefix(s, "+"), "_", "") }

// parseDuration accepts Go's notation and, when the key has a unit, a number.
func parseDuration(sc scalar, unit string) (time.Duration, bool) {
	if sc.kind == kindBool {
		return 0, false
	}
	if d, err := time.ParseDuration(sc.text); err == nil {
		// "0" parses; a YAML number is only good with a unit or when zero.
		return d, true
	}
	scale := map[string]time.Duration{"s": time.Second, "ms": time.Millisecond}[unit]
	n, err := strconv.ParseFloat(digits(sc.text), 64)
	if scale == 0 || err != nil || sc.kind == kindText {
		return 0, false
	}
	f := n * float64(scale)
	if math.IsNaN(f) || f > math.MaxInt64/2 || f < math.MinInt64/2 {
		return 0, false
	}
	return time.Duration(f), true
}

// quote shows a value in an error, shortened.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return fmt.Sprintf("%q... (%d bytes)", strings.ToValidUTF8(s[:most], ""), len(s))
	}
	return strconv.Quote(s)
}
