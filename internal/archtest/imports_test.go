package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// checkLayers: imports point down the table, so that a reader of a package
// needs to know only what is below it.
func checkLayers(t *tree, r rules) (out []violation) {
	for _, p := range t.packages {
		from, ok := r.layer(p.dir)
		if !ok {
			out = append(out, violation{place{p.dir, 0}, "package is in no layer: add it to the table of internal/archtest"})
			continue
		}
		all := map[string]bool{}
		for _, f := range p.files {
			for dep, spec := range f.imports(r.module) {
				all[dep] = true
				to, ok := r.layer(dep)
				switch who := r.importers[dep]; {
				case who != nil && !slices.Contains(who, p.dir):
					out = append(out, violation{f.at(spec), fmt.Sprintf("imports %s, which only %s may", dep, strings.Join(who, ", "))})
				case !ok:
					out = append(out, violation{f.at(spec), fmt.Sprintf("imports %s, which is in no layer", dep)})
				case to >= from:
					out = append(out, violation{f.at(spec), fmt.Sprintf("imports %s of row %d from row %d: imports point down the layers", dep, to, from)})
				}
			}
		}
		if len(all) > r.budget.imports && path.Base(p.dir) != "server" {
			out = append(out, violation{place{p.dir, 0}, fmt.Sprintf("imports %d packages of this module, budget %d", len(all), r.budget.imports)})
		}
	}
	return out
}

// checkTesting: production code does not carry test code.
func checkTesting(t *tree, _ rules) (out []violation) {
	for _, p := range t.packages {
		if strings.HasSuffix(p.dir, "test") {
			continue
		}
		for _, f := range p.files {
			for _, im := range f.ast.Imports {
				if i := importPath(im); i == "testing" || strings.HasPrefix(i, "testing/") || strings.HasSuffix(i, "test") {
					out = append(out, violation{f.at(im), fmt.Sprintf("imports %s outside of tests", i)})
				}
			}
		}
	}
	return out
}

// layer returns the row of a directory.
func (r rules) layer(dir string) (int, bool) {
	for i, row := range r.layers {
		for _, pattern := range row {
			if ok, _ := path.Match(pattern, dir); ok {
				return i, true
			}
		}
	}
	return 0, false
}

// impure are packages, with those below them, that do more than compute.
func impure() map[string]string {
	const (
		io    = "the core does no I/O; take and return values"
		locks = "the core is called by one goroutine at a time; the caller owns the lock"
		logs  = "the core does not log; return an explanation"
		luck  = "the core is deterministic; take a seed (math/rand/v2 with rand.New)"
	)
	return map[string]string{
		"context": "the core does not wait", "net": io, "os": io, "io": io, "bufio": io, "syscall": io,
		"log": logs, "sync": locks, "math/rand": luck, "crypto/rand": luck,
	}
}

// stillPure are exceptions below the names of impure.
func stillPure() []string { return []string{"net/netip", "net/url", "math/rand/v2"} }

// checkPurity: what decides can be replayed, simulated and tested with tables,
// because it depends on its arguments alone.
func checkPurity(t *tree, r rules) (out []violation) {
	for _, p := range t.packages {
		if !under(p.dir, r.pure) {
			continue
		}
		for _, f := range p.files {
			for _, im := range f.ast.Imports {
				if why := whyImpure(importPath(im)); why != "" {
					out = append(out, violation{f.at(im), fmt.Sprintf("pure package imports %s: %s", importPath(im), why)})
				}
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					out = append(out, violation{f.at(n), "pure package starts a goroutine: leave that to the caller"})
				case *ast.SelectorExpr:
					if why := impureCall(f, n); why != "" {
						out = append(out, violation{f.at(n), why})
					}
				}
				return true
			})
		}
	}
	return out
}

func whyImpure(imported string) string {
	if slices.Contains(stillPure(), imported) {
		return ""
	}
	for bad, why := range impure() {
		if imported == bad || strings.HasPrefix(imported, bad+"/") {
			return why
		}
	}
	return ""
}

// impureCall recognises functions of allowed packages that read the clock or a
// global source of chance.
func impureCall(f *file, sel *ast.SelectorExpr) string {
	x, ok := sel.X.(*ast.Ident)
	if !ok || x.Obj != nil {
		return ""
	}
	name := x.Name + "." + sel.Sel.Name
	switch f.importOf(x.Name) {
	case "time":
		if slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker", "AfterFunc"}, sel.Sel.Name) {
			return fmt.Sprintf("pure package calls %s: take now as a parameter", name)
		}
	case "math/rand/v2":
		if !strings.HasPrefix(sel.Sel.Name, "New") && ast.IsExported(sel.Sel.Name) && !slices.Contains([]string{"Rand", "Source", "PCG", "ChaCha8", "Zipf"}, sel.Sel.Name) {
			return fmt.Sprintf("pure package calls %s: take a seed and use rand.New", name)
		}
	}
	return ""
}

// importOf returns the path that a package name stands for in f.
func (f *file) importOf(name string) string {
	for _, im := range f.ast.Imports {
		p := importPath(im)
		base := path.Base(p)
		if base == "v2" {
			base = path.Base(path.Dir(p))
		}
		if im.Name != nil {
			base = im.Name.Name
		}
		if base == name {
			return p
		}
	}
	return ""
}

func under(dir string, roots []string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return dir == r || strings.HasPrefix(dir, r+"/") })
}
