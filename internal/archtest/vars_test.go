package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// checkVars: a package has no state of its own; two servers in one process
// share nothing. A variable at package level is fine when nobody can change
// it: an error value, a compile-time assertion, an embedded file, a compiled
// expression, or a table, which is unexported, complete where it is declared,
// and never written to.
func checkVars(t *tree, _ rules) (out []violation) {
	for _, p := range t.packages {
		written := writes(p)
		for _, f := range p.files {
			for _, d := range f.ast.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok || g.Tok != token.VAR {
					continue
				}
				for _, s := range g.Specs {
					vs := s.(*ast.ValueSpec)
					if isEmbed(g.Doc) || isEmbed(vs.Doc) {
						continue
					}
					for i, name := range vs.Names {
						if why := whyMutable(f, vs, i, written); why != "" {
							out = append(out, violation{f.at(name), fmt.Sprintf("package variable %s %s", name.Name, why)})
						}
					}
				}
			}
		}
	}
	return out
}

func isEmbed(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// whyMutable returns what is wrong with the i-th variable of a spec, or "".
func whyMutable(f *file, vs *ast.ValueSpec, i int, written map[string]place) string {
	name := vs.Names[i].Name
	if name == "_" {
		return ""
	}
	if at, ok := written[name]; ok {
		return fmt.Sprintf("is written at %s: keep state in a struct", at)
	}
	if i >= len(vs.Values) {
		return "has no value: keep state in a struct"
	}
	value := ast.Unparen(vs.Values[i])
	call := called(f, value)
	switch {
	case isError(name) && (call == "errors.New" || call == "fmt.Errorf" || isErrorOf(value)):
		return ""
	case ast.IsExported(name):
		return "is exported: others could change it; offer a function"
	case slices.Contains(constructors(), call) || isLiteral(value):
		return ""
	default:
		return "is neither a literal nor one of the known constants: keep state in a struct"
	}
}

func isError(name string) bool { return strings.HasPrefix(strings.ToLower(name), "err") }

// isErrorOf reports whether e is the error value of another package.
func isErrorOf(e ast.Expr) bool {
	sel, ok := e.(*ast.SelectorExpr)
	return ok && isError(sel.Sel.Name)
}

// constructors return values that nothing can change.
func constructors() []string {
	return []string{
		"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer", "hash/crc32.MakeTable",
		"net/netip.MustParseAddr", "net/netip.MustParsePrefix", "html/template.Must", "text/template.Must",
		"reflect.TypeFor", "encoding/base64.RawURLEncoding.Strict", "encoding/base32.HexEncoding.WithPadding",
	}
}

// called returns the full name of the function that an expression calls.
func called(f *file, e ast.Expr) string {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return ""
	}
	fun := call.Fun
	if ix, ok := fun.(*ast.IndexExpr); ok { // a type argument
		fun = ix.X
	}
	parts := []string{}
	for {
		sel, ok := fun.(*ast.SelectorExpr)
		if !ok {
			break
		}
		parts = append([]string{sel.Sel.Name}, parts...)
		fun = sel.X
	}
	if id, ok := fun.(*ast.Ident); ok && len(parts) > 0 {
		return f.importOf(id.Name) + "." + strings.Join(parts, ".")
	}
	return ""
}

// isLiteral reports whether e is a constant or a composite literal, whose
// elements may be anything but functions' results.
func isLiteral(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.CompositeLit:
		return true
	case *ast.BasicLit:
		return true
	case *ast.CallExpr: // a conversion such as []byte("x")
		_, isType := e.Fun.(*ast.ArrayType)
		return isType && len(e.Args) == 1 && isLiteral(e.Args[0])
	}
	return false
}

// writes returns the package-level names that the package assigns to, takes
// the address of, or deletes from.
func writes(p *pkg) map[string]place {
	out := map[string]place{}
	for _, f := range p.files {
		level := packageLevel(f)
		note := func(e ast.Expr) {
			if id := rootIdent(e); id != nil && (id.Obj == nil || level[id.Obj.Decl]) {
				if _, seen := out[id.Name]; !seen {
					out[id.Name] = f.at(id)
				}
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, l := range n.Lhs {
						note(l)
					}
				}
			case *ast.IncDecStmt:
				note(n.X)
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					note(n.Key)
				}
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					note(n.X)
				}
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && id.Obj == nil && len(n.Args) > 0 {
					note(n.Args[0])
				}
			}
			return true
		})
	}
	return out
}

// packageLevel returns the declarations at the top of a file.
func packageLevel(f *file) map[any]bool {
	out := map[any]bool{}
	for _, d := range f.ast.Decls {
		if g, ok := d.(*ast.GenDecl); ok {
			for _, s := range g.Specs {
				out[s] = true
			}
		}
	}
	return out
}

// rootIdent returns x of x, x.f, x[i] and *x.
func rootIdent(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}
