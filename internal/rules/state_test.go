package rules

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"testing"
)

// stateAllowed are the variables that may change although they belong to a package, and why.
// The key is the package's folder, a dot and the name.
var stateAllowed = map[string]string{
	"internal/consultest.built": "the agent is built once for all tests of a process, and test functions have nothing else in common",
	"proxy/http/h1.kindTable":   "a slot is read through its address, and never written to",
	"bench.init":                "the main goroutine has to be on the main thread before main begins",
}

func TestNoPackageHoldsStateThatChanges(t *testing.T) {
	tree := read(t)
	for _, files := range tree.packages() {
		check(t, stateProblems(tree, files))
	}
}

// stateProblems finds variables of a package that change: those that are written to or have
// their address taken, and those of a type that is there to be changed. They are shared by
// everything in the process, tests included, and have no owner. Sentinel errors, tables and
// compiled expressions that are only read are no state.
func stateProblems(tree *tree, files []*file) []string {
	var out []string
	variables, uses := packageVariables(tree, files)
	complain := func(n ast.Node, folder, name, what string) {
		if _, ok := stateAllowed[folder+"."+name]; !ok {
			out = append(out, fmt.Sprintf("%s: %s %s: a package holds no state that changes; give it to a value that has an owner", tree.at(n), name, what))
		}
	}
	written := func(f *file, e ast.Expr, what string) {
		root := rootOf(e)
		if root != nil && variables[uses[root]] {
			complain(root, f.folder, root.Name, what)
		}
	}
	for _, f := range files {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && d.Tok == token.VAR && isChangeable(v) {
						complain(v, f.folder, v.Names[0].Name, "is of a type that is there to be changed")
					}
				}
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					complain(d, f.folder, "init", "runs before main")
				}
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					written(f, left, "is written to")
				}
			case *ast.IncDecStmt:
				written(f, n.X, "is written to")
			case *ast.RangeStmt:
				written(f, n.Key, "is written to")
				written(f, n.Value, "is written to")
			case *ast.UnaryExpr:
				if _, ok := n.X.(*ast.CompositeLit); n.Op == token.AND && !ok {
					written(f, n.X, "has its address taken")
				}
			case *ast.CallExpr:
				if name, ok := n.Fun.(*ast.Ident); ok && (name.Name == "delete" || name.Name == "clear") && len(n.Args) > 0 {
					written(f, n.Args[0], "is written to")
				}
			}
			return true
		})
	}
	return out
}

// packageVariables are the variables of a package, and what its identifiers mean. Imports
// are not followed, which makes errors that do not matter: a package knows its own names.
func packageVariables(tree *tree, files []*file) (variables map[types.Object]bool, uses map[*ast.Ident]types.Object) {
	parsed := make([]*ast.File, 0, len(files))
	for _, f := range files {
		parsed = append(parsed, f.ast)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: nothing{}, Error: func(error) {}}
	pkg, _ := config.Check(files[0].folder, tree.set, parsed, info)
	variables = map[types.Object]bool{}
	for _, name := range pkg.Scope().Names() {
		if v, ok := pkg.Scope().Lookup(name).(*types.Var); ok {
			variables[v] = true
		}
	}
	return variables, info.Uses
}

// nothing imports nothing.
type nothing struct{}

func (nothing) Import(string) (*types.Package, error) { return nil, errors.New("not followed") }

// rootOf is the variable at the root of what is written to: x of x.field[3].
func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch v := e.(type) {
		case *ast.Ident:
			return v
		case *ast.SelectorExpr:
			e = v.X
		case *ast.IndexExpr:
			e = v.X
		case *ast.SliceExpr:
			e = v.X
		case *ast.StarExpr:
			e = v.X
		case *ast.ParenExpr:
			e = v.X
		default:
			return nil
		}
	}
}

// isChangeable tells whether a variable is declared with a lock, a pool, an atomic or a channel.
func isChangeable(v *ast.ValueSpec) bool {
	if slices.ContainsFunc(v.Values, changeable) {
		return true
	}
	return v.Type != nil && changeable(v.Type)
}

func changeable(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		p, ok := e.X.(*ast.Ident)
		return ok && (p.Name == "sync" || p.Name == "atomic")
	case *ast.CompositeLit:
		return e.Type != nil && changeable(e.Type)
	case *ast.UnaryExpr:
		return changeable(e.X)
	case *ast.IndexExpr: // atomic.Pointer[T]
		return changeable(e.X)
	case *ast.ChanType:
		return true
	case *ast.CallExpr:
		name, ok := e.Fun.(*ast.Ident)
		if ok && (name.Name == "make" || name.Name == "new") && len(e.Args) > 0 {
			return changeable(e.Args[0])
		}
		return changeable(e.Fun)
	}
	return false
}

func TestStateThatChangesIsFound(t *testing.T) {
	find := func(source string) []string {
		tree := snippet(t, "x/x.go", "package x\n"+source)
		return stateProblems(tree, tree.files)
	}
	for source, part := range map[string]string{
		"var n int\nfunc f() { n = 1 }":                                  "n is written to",
		"var n int\nfunc f() { n++ }":                                    "n is written to",
		"var n int\nfunc f() *int { return &n }":                         "n has its address taken",
		"var m = map[string]int{}\nfunc f() { m[`a`] = 1 }":              "m is written to",
		"var m = map[string]int{}\nfunc f() { delete(m, `a`) }":          "m is written to",
		"var s struct{ a [2]int }\nfunc f() { s.a[1] += 2 }":             "s is written to",
		"import `sync`\nvar mu sync.Mutex":                               "mu is of a type",
		"import `sync`\nvar p = sync.Pool{}":                             "p is of a type",
		"import `sync/atomic`\nvar p atomic.Pointer[int]":                "p is of a type",
		"import `sync/atomic`\nvar p = new(atomic.Int64)":                "p is of a type",
		"var c = make(chan int)":                                         "c is of a type",
		"func init() {}":                                                 "init",
		"import `net`\nvar d net.Dialer\nfunc f() { d.Timeout = net.X }": "d is written to",
	} {
		wantProblem(t, find(source), part)
	}
	for _, source := range []string{
		"import `errors`\nvar ErrGone = errors.New(`gone`)",
		"var table = [...]string{`a`}\nfunc f() string { return table[0] }",
		"var n int\nfunc f() { n := 1; n++; _ = n }",
		"var n int\nfunc f(n int) { n++ }",
		"import `regexp`\nvar r = regexp.MustCompile(`a`)\nfunc f(s string) bool { return r.MatchString(s) }",
		"type i interface{}\ntype v struct{}\nvar _ i = (*v)(nil)",
		"type v struct{ n int }\nfunc (x *v) init() { x.n++ }",
	} {
		if p := find(source); len(p) > 0 {
			t.Errorf("%s: %q", source, p)
		}
	}
}
