// Package config reads a configuration into a struct that the caller defines.
//
// It owns strictness. A YAML document and the environment either fill the
// struct completely and correctly, or every mistake is reported at once, each
// with file, line, column, the offending value and what was expected. Unknown
// and doubled keys are mistakes; so are unknown environment variables with the
// program's prefix. Secrets never show in messages or dumps.
//
// It knows no key: keys, types, ranges, secrets and documentation are the
// fields of the caller's struct with their tags (see [Keys]), and rules that
// span fields are methods of it (see [Checker]).
//
// Start reading at [Load].
package config

import (
	"errors"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Source is where values come from. Later ones win: the struct's own values
// (the defaults), then Data, then Env.
type Source struct {
	// File names Data in messages.
	File string
	// Data is a YAML document; empty means that there is no file.
	Data []byte
	// Env is the environment as os.Environ returns it; nil means none.
	Env []string
	// EnvPrefix starts the names of the variables that belong to the
	// configuration, for example "CONCERTINA_". The key rtc.udp_port is then
	// overridden by CONCERTINA_RTC_UDP_PORT. Empty ignores Env.
	EnvPrefix string
	// EnvReserved are variables with the prefix that mean something else.
	EnvReserved []string
	// Unsupported maps keys that other servers know to an advice. Meeting one
	// is an error that says so instead of "unknown key".
	Unsupported map[string]string
}

// Load fills dst, a pointer to a struct that holds the defaults, from src and
// validates the result. The error is an [Errors] with everything that is
// wrong, ordered by position; dst is then in an unspecified state. A dst whose
// type cannot be a configuration is a programming error of its own.
func Load(dst any, src Source) error {
	v, err := structOf(dst)
	if err != nil {
		return err
	}
	l := &loader{src: src, where: map[string]position{}, broken: map[string]bool{}, root: v.Type()}
	readable := l.decodeFile(v)
	l.decodeEnv(v)
	if readable { // otherwise what seems to be missing is noise
		l.validate(v)
	}
	return l.errs.sorted()
}

// Validate checks a struct that was filled by other means than [Load], with
// the same rules. The error is an [Errors] without positions.
func Validate(dst any) error {
	return Load(dst, Source{})
}

// Pairs reads a document that is nothing but "name: value" pairs, all secret,
// such as a key file. The errors are those of [Load].
func Pairs(file string, data []byte) (map[string]string, error) {
	l := &loader{src: Source{File: file}, where: map[string]position{}, broken: map[string]bool{}}
	d := &decoder{loader: l, file: file, anchors: map[string]ast.Node{}}
	out := map[string]string{}
	if body := d.parse(data); body != nil {
		d.mapping(body, reflect.ValueOf(&out).Elem(), slot{t: reflect.TypeOf(out), tag: `secret:"true"`})
	}
	return out, l.errs.sorted()
}

// loader is one run of Load.
type loader struct {
	src    Source
	root   reflect.Type
	where  map[string]position // by path: where the value was set
	broken map[string]bool     // paths that already have an error
	errs   Errors
}

// fail records an error of the value at path. A value is reported once: what
// follows from the first mistake is noise.
func (l *loader) fail(at position, path, message string) {
	if path != "" && l.broken[path] {
		return
	}
	l.broken[path] = true // "" stands for the document as a whole
	l.errs = append(l.errs, &Error{
		File: at.file, Line: at.line, Column: at.column, Env: at.env, Path: path, Message: message,
	})
}

// find returns where path was set, or where the nearest section around it was.
func (l *loader) find(path string) position {
	for {
		if at, ok := l.where[path]; ok {
			return at
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return position{file: l.src.File}
		}
		path = path[:cut]
	}
}

// position is a place in the file, or an environment variable.
type position struct {
	file         string
	line, column int
	env          string
}

func structOf(dst any) (reflect.Value, error) {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return reflect.Value{}, errors.New("config: destination is not a pointer to a struct")
	}
	if err := checkType(v.Elem().Type(), v.Elem().Type().String()); err != nil {
		return reflect.Value{}, err
	}
	return v.Elem(), nil
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	if key == "" || strings.HasPrefix(key, "[") {
		return path + key
	}
	return path + "." + key
}
