package rules

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"testing"
)

func TestNoTestSleeps(t *testing.T) { check(t, sleepProblems(read(t))) }

// sleepProblems finds tests that wait for something by sleeping: on a slow machine that is
// too short, on a fast one too long. In a bubble of testing/synctest sleeping is how time
// passes, and takes none. (In all other code .golangci.yml forbids it.)
func sleepProblems(tree *tree) []string {
	var out []string
	bubbles := map[string]bool{} // folders whose tests run in bubbles, if only some
	for _, f := range tree.files {
		bubbles[f.folder] = bubbles[f.folder] || f.test && slices.Contains(f.imports(), "testing/synctest")
	}
	for _, f := range tree.files {
		// TestMain, which stands in main_test.go, never runs in one.
		if !f.test || bubbles[f.folder] && path.Base(f.path) != "main_test.go" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
				if p, ok := s.X.(*ast.Ident); ok && p.Name == "time" {
					out = append(out, fmt.Sprintf("%s: time.Sleep: wait for the event itself, or use testing/synctest", tree.at(s)))
				}
			}
			return true
		})
	}
	return out
}

func TestASleepIsFound(t *testing.T) {
	const sleep = "\nimport \"time\"\nfunc f() { time.Sleep(1) }\n"
	wantProblem(t, sleepProblems(snippet(t, "x/x_test.go", "package x"+sleep)), "x_test.go:3")
	check(t, sleepProblems(snippet(t, "x/x_test.go", "package x\nimport \"testing/synctest\""+sleep+"var _ = synctest.Wait\n")))
	wantProblem(t, sleepProblems(snippet(t, "x/main_test.go", "package x\nimport \"testing/synctest\""+sleep+"var _ = synctest.Wait\n")), "main_test.go")
	check(t, sleepProblems(snippet(t, "x/x.go", "package x"+sleep)))
}
