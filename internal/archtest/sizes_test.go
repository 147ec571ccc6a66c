package archtest

import (
	"fmt"
	"go/ast"
)

// checkSizes: what does not fit in a head is split by concept.
func checkSizes(t *tree, r rules) (out []violation) {
	b := r.budget
	for _, p := range t.packages {
		ifaces := interfaces(p)
		for _, f := range p.files {
			if n := f.fset.File(f.ast.Pos()).LineCount(); n > b.fileLines {
				out = append(out, violation{place{f.path, 0}, fmt.Sprintf("file has %d lines, budget %d", n, b.fileLines)})
			}
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				if n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1; n > b.funcLines {
					out = append(out, violation{f.at(fn), fmt.Sprintf("%s has %d lines, budget %d", fn.Name.Name, n, b.funcLines)})
				}
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				ts, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if it, ok := ts.Type.(*ast.InterfaceType); ok {
					if n := methods(it, ifaces, 0); n > b.interfaceMethods {
						out = append(out, violation{f.at(ts), fmt.Sprintf("interface %s has %d methods, budget %d: its users need less", ts.Name.Name, n, b.interfaceMethods)})
					}
				}
				return true
			})
		}
		if limit := max(b.packageCode, r.larger[p.dir]); p.code() > limit {
			out = append(out, violation{place{p.dir, 0}, fmt.Sprintf("package has %d lines of code, budget %d", p.code(), limit)})
		}
	}
	return out
}

// interfaces returns the interfaces of a package by name.
func interfaces(p *pkg) map[string]*ast.InterfaceType {
	out := map[string]*ast.InterfaceType{}
	for _, f := range p.files {
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if ts, ok := s.(*ast.TypeSpec); ok {
					if it, ok := ts.Type.(*ast.InterfaceType); ok {
						out[ts.Name.Name] = it
					}
				}
			}
		}
	}
	return out
}

// methods counts those of an interface with what it embeds from its package;
// an embedded interface of another package counts as one.
func methods(it *ast.InterfaceType, known map[string]*ast.InterfaceType, depth int) int {
	n := 0
	for _, m := range it.Methods.List {
		id, ok := m.Type.(*ast.Ident)
		switch {
		case ok && known[id.Name] != nil && depth < 10:
			n += methods(known[id.Name], known, depth+1)
		case len(m.Names) > 0:
			n += len(m.Names)
		default:
			if _, union := m.Type.(*ast.BinaryExpr); !union {
				n++
			}
		}
	}
	return n
}
