package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// serviceVariable matches what Kubernetes and Docker links put into every
// container for a service that has the program's name, without the prefix.
var serviceVariable = regexp.MustCompile(`^(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// serviceAddress matches the value of such a variable that is named like a key.
var serviceAddress = regexp.MustCompile(`^(tcp|udp|sctp)://`)

// envKey is a key that a variable can set.
type envKey struct {
	v reflect.Value
	s slot
}

// decodeEnv applies the variables of the source. An empty one counts as unset,
// because compose files and scripts cannot help setting it; [] is an empty list.
func (l *loader) decodeEnv(v reflect.Value) {
	if l.src.EnvPrefix == "" || len(l.src.Env) == 0 {
		return
	}
	keys := map[string]envKey{}
	l.envKeys(v, "", keys)
	for _, kv := range slices.Sorted(slices.Values(l.src.Env)) {
		name, value, ok := strings.Cut(kv, "=")
		short, mine := strings.CutPrefix(name, l.src.EnvPrefix)
		if !ok || !mine || value == "" || slices.Contains(l.src.EnvReserved, name) ||
			serviceVariable.MatchString(short) || serviceAddress.MatchString(value) && strings.HasSuffix(name, "PORT") {
			continue
		}
		k, ok := keys[name]
		if !ok {
			hint := ""
			if near := nearest(strings.ToLower(name), lower(sortedKeys(keys))); near != "" {
				hint = "; did you mean " + strings.ToUpper(near) + "?"
			}
			l.fail(position{env: name}, "", "no such setting"+hint)
			continue
		}
		delete(l.broken, k.s.path)
		l.setEnv(name, value, k)
	}
}

func lower(names []string) []string {
	for i, n := range names {
		names[i] = strings.ToLower(n)
	}
	return names
}

func (l *loader) envKeys(v reflect.Value, path string, keys map[string]envKey) {
	for _, f := range fields(v.Type()) {
		p := join(path, f.name)
		if isSection(f.Type) {
			l.envKeys(v.FieldByIndex(f.Index), p, keys)
			continue
		}
		keys[envName(l.src.EnvPrefix, p)] = envKey{v.FieldByIndex(f.Index), slot{p, f.Type, f.Tag}}
	}
}

// setEnv parses the value of a variable: scalars as they are, lists separated
// by commas, maps as "name: value" pairs separated by commas or newlines, and
// whatever starts with a bracket or brace, or holds sections, as YAML.
func (l *loader) setEnv(name, value string, k envKey) {
	at := position{env: name}
	l.where[k.s.path] = at
	trimmed := strings.TrimSpace(value)
	isList := k.s.t.Kind() == reflect.Slice && !isText(k.s.t)
	switch {
	case isList && (isSection(k.s.t.Elem()) || strings.HasPrefix(trimmed, "[")),
		k.s.t.Kind() == reflect.Map && strings.HasPrefix(trimmed, "{"):
		d := &decoder{loader: l, env: name, anchors: map[string]ast.Node{}}
		if body := d.parse([]byte(value)); body != nil {
			d.value(body, k.v, k.s, 0)
		}
	case isList:
		l.setEnvList(at, trimmed, k)
	case k.s.t.Kind() == reflect.Map:
		l.setEnvMap(at, trimmed, k)
	default:
		if err := setScalar(k.v, k.s, scalar{value, kindEnv}); err != nil {
			l.fail(at, k.s.path, err.Error())
		}
	}
}

func (l *loader) setEnvList(at position, value string, k envKey) {
	parts := strings.Split(value, ",")
	if value == "" {
		parts = nil
	}
	out := reflect.MakeSlice(k.s.t, len(parts), len(parts))
	for i, part := range parts {
		s := k.s.elem(i)
		if err := setScalar(out.Index(i), s, scalar{strings.TrimSpace(part), kindEnv}); err != nil {
			l.fail(at, s.path, err.Error())
		}
	}
	k.v.Set(out)
}

func (l *loader) setEnvMap(at position, value string, k envKey) {
	out := reflect.MakeMap(k.s.t)
	for i, pair := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == '\n' }) {
		name, val, ok := strings.Cut(strings.TrimSpace(pair), ": ")
		val = strings.TrimSpace(val)
		if !ok || name == "" || val == "" {
			l.fail(at, k.s.path, fmt.Sprintf("pair %d is not \"name: value\" (mind the space after the colon)", i+1))
			return
		}
		out.SetMapIndex(reflect.ValueOf(name).Convert(k.s.t.Key()), reflect.ValueOf(val).Convert(k.s.t.Elem()))
	}
	k.v.Set(out)
}
