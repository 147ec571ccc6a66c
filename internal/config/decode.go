package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxDepth bounds how deep a value may nest, aliases included.
const maxDepth = 16

// decodeFile decodes the document of the source, if there is one. It reports
// whether it could make sense of it as a whole.
func (l *loader) decodeFile(v reflect.Value) bool {
	if len(l.src.Data) == 0 {
		return true
	}
	d := &decoder{loader: l, file: l.src.File, anchors: map[string]ast.Node{}}
	if body := d.parse(l.src.Data); body != nil {
		d.value(body, v, slot{t: v.Type()}, 0)
	}
	return !l.broken[""]
}

// decoder walks one parsed document.
type decoder struct {
	*loader
	file    string
	env     string // set when the document is the value of a variable
	anchors map[string]ast.Node
}

// slot is the place that a value goes to: its path, type and tags.
type slot struct {
	path string
	t    reflect.Type
	tag  reflect.StructTag
}

func (s slot) secret() bool { return s.tag.Get("secret") == "true" }

// elem is the slot of the element i of a list.
func (s slot) elem(i int) slot {
	return slot{path: join(s.path, fmt.Sprintf("[%d]", i)), t: s.t.Elem(), tag: s.tag}
}

// parse returns the only document of data; nil when it is empty or wrong.
func (d *decoder) parse(data []byte) ast.Node {
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		// The library's long form quotes the document, which may hold secrets.
		var ye yaml.Error
		if errors.As(err, &ye) && ye.GetToken() != nil && ye.GetToken().Position != nil {
			p := ye.GetToken().Position
			d.fail(d.position(p.Line, p.Column), "", "not YAML: "+strings.ReplaceAll(ye.GetMessage(), "'\t'", "tab (indent with spaces)"))
		} else {
			d.fail(d.position(0, 0), "", "not YAML")
		}
		return nil
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case body != nil:
			d.fail(d.at(doc.Body), "", "a second document: one file is one configuration")
		default:
			body = doc.Body
		}
	}
	return body
}

// value decodes node into v.
func (d *decoder) value(node ast.Node, v reflect.Value, s slot, depth int) {
	if depth > maxDepth {
		d.fail(d.at(node), s.path, "nested too deeply")
		return
	}
	node, ok := d.resolve(node, s)
	if !ok {
		return
	}
	if s.path != "" {
		d.where[s.path] = d.at(node)
	}
	switch {
	case isSection(s.t):
		d.section(node, v, s, depth)
	case s.t.Kind() == reflect.Slice && !isText(s.t):
		d.list(node, v, s, depth)
	case s.t.Kind() == reflect.Map:
		d.mapping(node, v, s)
	default:
		sc, ok := scalarOf(node)
		if !ok {
			d.mismatch(node, s)
			return
		}
		if err := setScalar(v, s, sc); err != nil {
			d.fail(d.at(node), s.path, err.Error())
		}
	}
}

// resolve follows anchors and aliases; false when an alias leads nowhere.
func (d *decoder) resolve(node ast.Node, s slot) (ast.Node, bool) {
	for range maxDepth {
		switch n := node.(type) {
		case *ast.AnchorNode:
			d.anchors[text(n.Name)] = n.Value
			node = n.Value
		case *ast.AliasNode:
			target, ok := d.anchors[text(n.Value)]
			if !ok {
				d.fail(d.at(node), s.path, fmt.Sprintf("unknown alias *%s", text(n.Value)))
				return nil, false
			}
			node = target
		default:
			return node, node != nil
		}
	}
	d.fail(d.at(node), s.path, "alias of itself")
	return nil, false
}

// section decodes a mapping into a struct. Nothing leaves the defaults.
func (d *decoder) section(node ast.Node, v reflect.Value, s slot, depth int) {
	entries, ok := d.entries(node, s)
	if !ok {
		return
	}
	byName := map[string]field{}
	for _, f := range fields(s.t) {
		byName[f.name] = f
	}
	for _, e := range entries {
		path := join(s.path, e.name)
		f, ok := byName[e.name]
		if !ok {
			d.unknown(e, s, path)
			continue
		}
		d.where[path] = e.at
		d.value(e.value, v.FieldByIndex(f.Index), slot{path, f.Type, f.Tag}, depth+1)
	}
}

func (d *decoder) unknown(e entry, s slot, path string) {
	generic := indexes(path)
	if advice, ok := d.src.Unsupported[generic]; ok {
		d.fail(e.at, path, "not supported: "+advice)
		return
	}
	name := strings.TrimPrefix(path, s.path+".")
	d.fail(e.at, path, fmt.Sprintf("unknown key %q%s", name, suggest(name, s.t, d.root)))
}

// indexes drops the numbers of list elements: a[3].b becomes a[].b.
func indexes(path string) string {
	var b strings.Builder
	inside := false
	for _, r := range path {
		inside = inside && r != ']'
		if !inside {
			b.WriteRune(r)
		}
		inside = inside || r == '['
	}
	return b.String()
}

// list decodes a sequence into a slice, which it replaces.
func (d *decoder) list(node ast.Node, v reflect.Value, s slot, depth int) {
	if _, ok := node.(*ast.NullNode); ok {
		return
	}
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		d.mismatch(node, s)
		return
	}
	out := reflect.MakeSlice(s.t, len(seq.Values), len(seq.Values))
	for i, n := range seq.Values {
		setDefaults(out.Index(i))
		d.value(n, out.Index(i), s.elem(i), depth+1)
	}
	v.Set(out)
}

// mapping decodes a mapping of strings into a map, which it replaces.
func (d *decoder) mapping(node ast.Node, v reflect.Value, s slot) {
	entries, ok := d.entries(node, s)
	if !ok || entries == nil {
		return
	}
	out := reflect.MakeMap(s.t)
	for _, e := range entries {
		path := join(s.path, e.name)
		d.where[path] = e.at
		es := slot{path, s.t.Elem(), s.tag}
		value, ok := d.resolve(e.value, es)
		if !ok {
			continue
		}
		sc, ok := scalarOf(value)
		elem := reflect.New(s.t.Elem()).Elem()
		if !ok {
			d.mismatch(value, es)
			continue
		}
		if err := setScalar(elem, es, sc); err != nil {
			d.fail(d.at(value), path, err.Error())
			continue
		}
		out.SetMapIndex(reflect.ValueOf(e.name).Convert(s.t.Key()), elem)
	}
	v.Set(out)
}

// entry is a key of a mapping with its value.
type entry struct {
	name  string
	at    position
	value ast.Node
}

// entries returns the keys of a mapping, without doubles, which it reports.
// It is (nil, true) for an empty value and (nil, false) for anything else.
func (d *decoder) entries(node ast.Node, s slot) ([]entry, bool) {
	var values []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.mismatch(node, s)
		return nil, false
	}
	first := map[string]int{}
	out := make([]entry, 0, len(values))
	for _, mv := range values {
		at := d.at(mv.Key)
		if mv.Key.IsMergeKey() {
			d.fail(at, s.path, "merge keys (<<) are not supported")
			continue
		}
		name := text(mv.Key)
		if line, ok := first[name]; ok {
			path := join(s.path, name)
			delete(d.broken, path)
			d.fail(at, path, fmt.Sprintf("key %q is already set on line %d", name, line))
			continue
		}
		first[name] = at.line
		out = append(out, entry{name, at, mv.Value})
	}
	return out, true
}

func (d *decoder) mismatch(node ast.Node, s slot) {
	d.fail(d.at(node), s.path, wrong(s, describe(node, s.secret())))
}

// wrong says what was expected and what was found.
func wrong(s slot, got string) string {
	msg := fmt.Sprintf("expected %s, got %s", expected(s.t, s.tag), got)
	if hint := s.tag.Get("hint"); hint != "" {
		msg += " (" + hint + ")"
	}
	return msg
}

// describe names a node in an error.
func describe(node ast.Node, secret bool) string {
	switch n := node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a section of keys"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.TagNode:
		return "a YAML tag"
	default:
		if secret {
			return "another value (not shown, it is secret)"
		}
		return quote(text(n))
	}
}

// at returns the position of the first token of node.
func (d *decoder) at(node ast.Node) position {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return d.at(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return d.at(n.Key)
	}
	if node == nil || node.GetToken() == nil || node.GetToken().Position == nil {
		return d.position(0, 0)
	}
	p := node.GetToken().Position
	return d.position(p.Line, p.Column)
}

func (d *decoder) position(line, column int) position {
	if d.env != "" {
		return position{env: d.env}
	}
	return position{file: d.file, line: line, column: column}
}

// text returns the content of a scalar or key node.
func text(node ast.Node) string {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.MappingKeyNode:
		return text(n.Value)
	case nil:
		return ""
	}
	if tk := node.GetToken(); tk != nil {
		return tk.Value
	}
	return ""
}

// setDefaults lets a list element start from its own defaults.
func setDefaults(v reflect.Value) {
	if d, ok := v.Addr().Interface().(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
}

// sortedKeys returns the keys of m in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
