package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// Key describes one key of a configuration struct. It comes from a field:
//
//	// Port is documentation.
//	Port int `yaml:"port" range:"1..65535" hint:"one is enough"`
//
// The tags are: yaml (the name, required; "-" hides the field), range
// ("min..max", either may be missing; numbers, durations and sizes), oneof
// (words, separated by spaces), unit ("s" or "ms": a time.Duration also takes
// a bare number), secret ("true"), hint (appended to errors about the value).
//
// Fields are bool, integers, floats, string, time.Duration, anything with
// encoding.TextUnmarshaler, structs, slices of these, and map[string]string.
type Key struct {
	// Path is the full name, for example rtc.udp_port. Keys of list elements
	// have brackets: rtc.turn_servers[].host.
	Path string
	// Env is the overriding environment variable; empty inside lists.
	Env string
	// Expected describes the allowed values.
	Expected string
	// Default is the value in the struct, as YAML; empty inside lists and for
	// values without a zero-like form.
	Default string
	// Secret values are never shown.
	Secret bool
	// Section is the struct type that has the field; Field its Go name.
	Section reflect.Type
	Field   string
}

// Describer lets a type with a textual form say what it expects, for example
// "a port such as 7880".
type Describer interface {
	Expected() string
}

// Keys lists the keys of the struct that v points to, in order of declaration.
func Keys(v any, envPrefix string) ([]Key, error) {
	root, err := structOf(v)
	if err != nil {
		return nil, err
	}
	var keys []Key
	collectKeys(root, "", envPrefix, &keys)
	return keys, nil
}

func collectKeys(v reflect.Value, path, envPrefix string, keys *[]Key) {
	for _, f := range fields(v.Type()) {
		fv, p := v.FieldByIndex(f.Index), join(path, f.name)
		if isSection(f.Type) {
			collectKeys(fv, p, envPrefix, keys)
			continue
		}
		k := Key{Path: p, Expected: expected(f.Type, f.Tag), Secret: f.secret(), Section: v.Type(), Field: f.Name}
		if envPrefix != "" {
			k.Env = envName(envPrefix, p)
		}
		if !strings.Contains(path, "[]") {
			k.Default = inline(fv, k.Secret)
		}
		*keys = append(*keys, k)
		if f.Type.Kind() == reflect.Slice && isSection(f.Type.Elem()) {
			collectKeys(reflect.New(f.Type.Elem()).Elem(), p+"[]", "", keys)
		}
	}
}

// field is a struct field that is a key.
type field struct {
	reflect.StructField
	name string
}

func (f field) secret() bool { return f.Tag.Get("secret") == "true" }

func fields(t reflect.Type) []field {
	var out []field
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.IsExported() && name != "" && name != "-" {
			out = append(out, field{f, name})
		}
	}
	return out
}

func envName(prefix, path string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// isSection reports whether t is a struct of keys and not a scalar.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !isText(t)
}

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func isDuration(t reflect.Type) bool { return t == reflect.TypeFor[time.Duration]() }

// checkType reports the first field that Load could not fill.
func checkType(t reflect.Type, path string) error {
	if isText(t) {
		return nil
	}
	switch t.Kind() {
	case reflect.Struct:
		for _, f := range fields(t) {
			if err := checkType(f.Type, path+"."+f.Name); err != nil {
				return err
			}
		}
		return nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Slice && !isText(t.Elem()) {
			return fmt.Errorf("config: %s is a list of lists", path)
		}
		return checkType(t.Elem(), path)
	case reflect.Map:
		if t.Key().Kind() != reflect.String || t.Elem().Kind() != reflect.String {
			return fmt.Errorf("config: %s is a %s, want map[string]string", path, t)
		}
		return nil
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return nil
	default:
		return fmt.Errorf("config: %s has type %s, which no key can have", path, t)
	}
}

// expected says in words what a field takes.
func expected(t reflect.Type, tag reflect.StructTag) string {
	if d, ok := reflect.New(t).Interface().(Describer); ok {
		return d.Expected() + boundsText(tag, ",")
	}
	if isDuration(t) {
		s := "a duration such as 500ms, 20s or 5m"
		switch tag.Get("unit") {
		case "s":
			s += " (a bare number is seconds)"
		case "ms":
			s += " (a bare number is milliseconds)"
		}
		return s + boundsText(tag, ",")
	}
	if words := oneOf(tag); words != nil && t.Kind() == reflect.String {
		return "one of " + strings.Join(words, ", ")
	}
	if isText(t) {
		return "a string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Float32, reflect.Float64:
		return "a number" + boundsText(tag, "")
	case reflect.Slice:
		if isSection(t.Elem()) {
			return "a list of sections"
		}
		return "a list, each " + expected(t.Elem(), tag)
	case reflect.Map:
		return "name: value pairs"
	case reflect.Struct:
		return "a section of keys"
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if tag.Get("range") == "" {
			tag = reflect.StructTag(fmt.Sprintf(`range:"0..%d"`, uint64(math.MaxUint64)>>(64-t.Bits())))
		}
	}
	return "a whole number" + boundsText(tag, "")
}

// oneOf returns the words of the oneof tag; nil without one.
func oneOf(tag reflect.StructTag) []string {
	if words := strings.Fields(tag.Get("oneof")); len(words) > 0 {
		return words
	}
	return nil
}

// bounds returns the two sides of the range tag, either possibly empty.
func bounds(tag reflect.StructTag) (lo, hi string) {
	lo, hi, _ = strings.Cut(tag.Get("range"), "..")
	return lo, hi
}

func boundsText(tag reflect.StructTag, comma string) string {
	switch lo, hi := bounds(tag); {
	case lo != "" && hi != "":
		return comma + " from " + lo + " to " + hi
	case lo != "":
		return ", " + lo + " or more"
	case hi != "":
		return ", " + hi + " or less"
	}
	return ""
}
