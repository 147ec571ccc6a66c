package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// checkComments: one package comment in one file, so that go doc and a reader
// find what the package is for.
func checkComments(t *tree, _ rules) (out []violation) {
	for _, p := range t.packages {
		var with []string
		for _, f := range p.files {
			if f.ast.Doc == nil {
				continue
			}
			with = append(with, f.path)
			want := "Package " + f.ast.Name.Name + " "
			if f.ast.Name.Name == "main" {
				want = "Command " + path.Base(p.dir) + " "
			}
			if !strings.HasPrefix(f.ast.Doc.Text(), want) {
				out = append(out, violation{f.at(f.ast), fmt.Sprintf("package comment does not start with %q", want)})
			}
		}
		switch {
		case len(with) == 0:
			out = append(out, violation{place{p.dir, 0}, "no package comment: what it is, owns, does not do, where to start reading"})
		case len(with) > 1:
			out = append(out, violation{place{p.dir, 0}, "package comment in more than one file: " + strings.Join(with, ", ")})
		}
	}
	return out
}

// checkDocs: what a package offers is documented where it is declared.
func checkDocs(t *tree, r rules) (out []violation) {
	for _, p := range t.packages {
		total, missing := 0, []string{}
		for _, f := range p.files {
			for _, d := range f.ast.Decls {
				names, documented := exported(d)
				total += len(names)
				for _, n := range names {
					if !documented[n] {
						missing = append(missing, n)
					}
				}
			}
		}
		if total > 0 && float64(total-len(missing)) < r.budget.documented*float64(total) {
			slices.Sort(missing)
			out = append(out, violation{place{p.dir, 0}, fmt.Sprintf("%d of %d exported names have no comment: %s", len(missing), total, strings.Join(missing, ", "))})
		}
	}
	return out
}

// exported returns the exported names that a declaration brings, and which of
// them have a comment, their own or that of their group.
func exported(d ast.Decl) (names []string, documented map[string]bool) {
	documented = map[string]bool{}
	add := func(name string, doc bool) {
		names = append(names, name)
		documented[name] = doc
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		recv := receiver(d)
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(recv)) {
			if recv != "" {
				recv += "."
			}
			add(recv+d.Name.Name, d.Doc != nil)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					add(s.Name.Name, s.Doc != nil || d.Doc != nil && len(d.Specs) == 1)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() {
						add(n.Name, s.Doc != nil || s.Comment != nil || d.Doc != nil)
					}
				}
			}
		}
	}
	return names, documented
}

// receiver returns the type name of a method's receiver.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// checkNames: a package is named for what it provides. A hub for everybody's
// types couples everybody.
func checkNames(t *tree, _ rules) (out []violation) {
	hubs := []string{"types", "type", "utils", "util", "common", "helpers", "helper", "misc", "defs", "structs", "shared", "base", "pkg"}
	for _, p := range t.packages {
		for _, part := range strings.Split(p.dir, "/") {
			if slices.Contains(hubs, part) {
				out = append(out, violation{place{p.dir, 0}, fmt.Sprintf("%q says nothing: name the package for what it provides", part)})
			}
		}
	}
	return out
}

// checkInits: nothing happens because a package is linked in.
func checkInits(t *tree, _ rules) (out []violation) {
	for _, p := range t.packages {
		for _, f := range p.files {
			for _, d := range f.ast.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
					out = append(out, violation{f.at(fn), "init(): construct by name in internal/server"})
				}
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
					for _, s := range g.Specs {
						im := s.(*ast.ImportSpec)
						if im.Name != nil && im.Name.Name == "_" && !harmlessBlank(importPath(im)) {
							out = append(out, violation{f.at(im), "blank import runs somebody's init(): construct by name"})
						}
					}
				}
			}
		}
	}
	return out
}

// harmlessBlank are imports for their effect on the standard library or the
// compiler: hashes for crypto.Hash, image formats, go:embed.
func harmlessBlank(imported string) bool {
	return imported == "embed" || strings.HasPrefix(imported, "crypto/") || strings.HasPrefix(imported, "image/")
}
