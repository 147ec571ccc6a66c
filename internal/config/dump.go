package config

import (
	"encoding"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// redacted replaces secrets in dumps.
const redacted = `"(secret)"`

// Dump writes the struct that v points to as YAML that [Load] reads back,
// except for secrets and for passwords in URLs, which it replaces.
func Dump(w io.Writer, v any) error {
	root, err := structOf(v)
	if err != nil {
		return err
	}
	var b strings.Builder
	dumpSection(&b, root, "")
	_, err = io.WriteString(w, b.String())
	return err
}

func dumpSection(b *strings.Builder, v reflect.Value, indent string) {
	for _, f := range fields(v.Type()) {
		fv := v.FieldByIndex(f.Index)
		switch {
		case isSection(f.Type):
			fmt.Fprintf(b, "%s%s:\n", indent, f.name)
			dumpSection(b, fv, indent+"  ")
		case f.Type.Kind() == reflect.Slice && isSection(f.Type.Elem()) && fv.Len() > 0:
			fmt.Fprintf(b, "%s%s:\n", indent, f.name)
			for i := range fv.Len() {
				var item strings.Builder
				dumpSection(&item, fv.Index(i), indent+"    ")
				b.WriteString(indent + "  - " + strings.TrimPrefix(item.String(), indent+"    "))
			}
		default:
			fmt.Fprintf(b, "%s%s: %s\n", indent, f.name, inline(fv, f.secret()))
		}
	}
}

// inline returns v as YAML on one line.
func inline(v reflect.Value, secret bool) string {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Map:
		return inlineMap(v, secret)
	case t.Kind() == reflect.Slice && !isText(t):
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = inline(v.Index(i), secret)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case isSection(t):
		var parts []string
		for _, f := range fields(t) {
			parts = append(parts, f.name+": "+inline(v.FieldByIndex(f.Index), f.secret()))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case secret && !v.IsZero():
		return redacted
	case isDuration(t):
		return shortDuration(time.Duration(v.Int()))
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if out, err := m.MarshalText(); err == nil {
			return plain(string(out))
		}
	}
	if t.Kind() == reflect.String {
		return plain(redactURL(v.String()))
	}
	return fmt.Sprint(v.Interface())
}

func inlineMap(v reflect.Value, secret bool) string {
	m := map[string]string{}
	for it := v.MapRange(); it.Next(); {
		m[it.Key().String()] = it.Value().String()
	}
	var parts []string
	for _, k := range sortedKeys(m) {
		value := plain(m[k])
		if secret {
			value = redacted
		}
		parts = append(parts, plain(k)+": "+value)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// shortDuration writes 5m instead of 5m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// plain quotes a string unless it is a word that YAML reads as a string.
func plain(s string) string {
	switch s {
	case "", "true", "false", "null", "yes", "no", "on", "off", "~":
		return strconv.Quote(s)
	}
	_, intErr := strconv.ParseInt(digits(s), 0, 64)
	_, floatErr := strconv.ParseFloat(digits(s), 64)
	if intErr == nil || floatErr == nil {
		return strconv.Quote(s)
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '/'
		if !letter && (i == 0 || r != '_' && r != '-' && r != '.') {
			return strconv.Quote(s)
		}
	}
	return s
}

// redactURL hides the password and the query of a URL.
func redactURL(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "(a URL that does not parse)"
	}
	if u.RawQuery != "" {
		u.RawQuery = "..."
	}
	return u.Redacted()
}
