package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// module is how our own packages begin.
const module = "sidecar"

// A file is one Go file of the module.
type file struct {
	path   string // within the repository
	folder string // of the package, within the repository
	test   bool
	ast    *ast.File
	lines  int
}

// imports are the paths that a file imports.
func (f *file) imports() []string {
	var out []string
	for _, i := range f.ast.Imports {
		out = append(out, strings.Trim(i.Path.Value, `"`))
	}
	return out
}

// A tree is all Go files of the module; those of nested modules are not its own.
type tree struct {
	set   *token.FileSet
	files []*file
}

// read parses the whole module once for a test.
func read(t *testing.T) *tree {
	t.Helper()
	const root = "../.."
	out := &tree{set: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || isModule(name)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		within, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return out.add(filepath.ToSlash(within), string(source))
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out.files) == 0 {
		t.Fatal("no Go file was found: the rules held nothing")
	}
	return out
}

// snippet is a tree of one file, for the tests of the rules.
func snippet(t *testing.T, name, source string) *tree {
	t.Helper()
	out := &tree{set: token.NewFileSet()}
	if err := out.add(name, source); err != nil {
		t.Fatal(err)
	}
	return out
}

func (t *tree) add(name, source string) error {
	parsed, err := parser.ParseFile(t.set, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.files = append(t.files, &file{
		path:   name,
		folder: path.Dir(name),
		test:   strings.HasSuffix(name, "_test.go"),
		ast:    parsed,
		lines:  strings.Count(source, "\n"),
	})
	return nil
}

// packages are the files that are no tests, by folder.
func (t *tree) packages() map[string][]*file {
	out := map[string][]*file{}
	for _, f := range t.files {
		if !f.test {
			out[f.folder] = append(out[f.folder], f)
		}
	}
	return out
}

// at says where a node is.
func (t *tree) at(n ast.Node) string { return t.set.Position(n.Pos()).String() }

func isModule(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, "go.mod"))
	return err == nil
}

// check fails the test with every problem.
func check(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

// wantProblem fails the test unless exactly one problem was found, and names what it should.
func wantProblem(t *testing.T, problems []string, part string) {
	t.Helper()
	if len(problems) != 1 || !strings.Contains(problems[0], part) {
		t.Errorf("problems %q, want one with %q", problems, part)
	}
}
