package archtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree is the source of a module, without tests and generated files.
type tree struct {
	packages []*pkg
}

type pkg struct {
	dir   string // slash-separated, relative to the root
	files []*file
}

// code is the number of lines that are neither blank nor comment.
func (p *pkg) code() int {
	n := 0
	for _, f := range p.files {
		n += f.code
	}
	return n
}

type file struct {
	path string
	fset *token.FileSet
	ast  *ast.File
	code int // lines that are neither blank nor comment
}

// place is a line of a file; line 0 is the file as a whole.
type place struct {
	path string
	line int
}

func (p place) String() string {
	if p.line == 0 {
		return p.path
	}
	return fmt.Sprintf("%s:%d", p.path, p.line)
}

// violation is one broken rule.
type violation struct {
	at      place
	message string
}

func (v violation) String() string { return v.at.String() + ": " + v.message }

// key identifies a violation when lines move.
func (v violation) key() string { return v.at.path + ": " + v.message }

func (f *file) at(n ast.Node) place { return place{f.path, f.fset.Position(n.Pos()).Line} }

// load parses the module at root. Nested modules are not part of it.
func load(t *testing.T, root string, r rules) *tree {
	t.Helper()
	out := &tree{}
	byDir := map[string]*pkg{}
	err := fs.WalkDir(os.DirFS(root), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, modErr := os.Stat(filepath.Join(root, p, "go.mod"))
			nested := p != "." && modErr == nil
			if nested || d.Name() == "testdata" || d.Name() == "node_modules" || p != "." && strings.HasPrefix(d.Name(), ".") || slices.Contains(r.skip, p) {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parse(root, p)
		if err != nil || ast.IsGenerated(f.ast) {
			return err
		}
		dir := path.Dir(p)
		if byDir[dir] == nil {
			byDir[dir] = &pkg{dir: dir}
			out.packages = append(out.packages, byDir[dir])
		}
		byDir[dir].files = append(byDir[dir].files, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func parse(root, p string) (*file, error) {
	src, err := os.ReadFile(filepath.Join(root, p))
	if err != nil {
		return nil, err
	}
	f := &file{path: p, fset: token.NewFileSet()}
	// With object resolution: the check of variables needs to know a local
	// name from one of the package.
	if f.ast, err = parser.ParseFile(f.fset, p, src, parser.ParseComments); err != nil {
		return nil, err
	}
	f.code = codeLines(f, string(src))
	return f, nil
}

// codeLines counts lines that are neither blank nor only comment.
func codeLines(f *file, src string) int {
	lines := strings.Split(src, "\n")
	comment := make([]bool, len(lines)+1)
	for _, g := range f.ast.Comments {
		from, to := f.fset.Position(g.Pos()), f.fset.Position(g.End())
		for l := from.Line; l <= to.Line; l++ {
			// A comment after code does not make the line a comment.
			comment[l] = l > from.Line || strings.TrimSpace(lines[l-1][:from.Column-1]) == ""
		}
	}
	n := 0
	for i, line := range lines {
		if strings.TrimSpace(line) != "" && !comment[i+1] {
			n++
		}
	}
	return n
}

// imports returns the module's packages that f imports, relative to the root.
func (f *file) imports(module string) map[string]*ast.ImportSpec {
	out := map[string]*ast.ImportSpec{}
	for _, im := range f.ast.Imports {
		if dep, ok := strings.CutPrefix(importPath(im), module+"/"); ok {
			out[dep] = im
		}
	}
	return out
}

func importPath(im *ast.ImportSpec) string { return strings.Trim(im.Path.Value, `"`) }

// check runs every rule and returns the violations in order.
func check(t *tree, r rules) []violation {
	var out []violation
	for _, rule := range []func(*tree, rules) []violation{
		checkLayers, checkTesting, checkPurity, checkComments, checkDocs, checkSizes, checkInits, checkVars, checkNames,
	} {
		out = append(out, rule(t, r)...)
	}
	slices.SortStableFunc(out, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.at.path, b.at.path), cmp.Compare(a.at.line, b.at.line))
	})
	return out
}
