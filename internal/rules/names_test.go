package rules

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// maxLines is as much as a reader keeps in mind of one file.
const maxLines = 450

// emptyNames say nothing of what is inside, so everything ends up there.
var emptyNames = []string{"util", "utils", "helper", "helpers", "common", "misc", "shared", "base", "lib", "types", "manager", "managers"}

// otherWords have a word of ours instead: one thing, one word, in code as in docs.
var otherWords = map[string]string{
	"backend": "endpoint", "backends": "endpoints",
	"cluster": "service", "clusters": "services",
	"manager": "what it does", "helper": "what it does", "util": "what it does", "utils": "what it does",
}

func TestFilesStayShort(t *testing.T)              { check(t, lengthProblems(read(t))) }
func TestNamesMeanSomething(t *testing.T)          { check(t, nameProblems(read(t))) }
func TestEveryPackageSaysWhatItIsFor(t *testing.T) { check(t, commentProblems(read(t))) }

func lengthProblems(tree *tree) []string {
	var out []string
	for _, f := range tree.files {
		if f.lines > maxLines && !ast.IsGenerated(f.ast) {
			out = append(out, fmt.Sprintf("%s has %d lines, %d are allowed: split it by the nouns in it", f.path, f.lines, maxLines))
		}
	}
	return out
}

func nameProblems(tree *tree) []string {
	var out []string
	for _, f := range tree.files {
		stem := strings.TrimSuffix(strings.TrimSuffix(path.Base(f.path), ".go"), "_test")
		for _, name := range []string{stem, path.Base(f.folder), strings.TrimSuffix(f.ast.Name.Name, "_test")} {
			if slices.Contains(emptyNames, name) {
				out = append(out, fmt.Sprintf("%s: %q says nothing of what is inside: name the noun", f.path, name))
				break
			}
		}
		for _, d := range f.ast.Decls {
			for _, name := range declared(d) {
				for _, word := range words(name.Name) {
					if ours, ok := otherWords[word]; ok {
						out = append(out, fmt.Sprintf("%s: %s: the word for %q is %s", tree.at(name), name.Name, word, ours))
					}
				}
			}
		}
	}
	return out
}

// commentProblems finds packages without a comment, which is where a reader begins.
func commentProblems(tree *tree) []string {
	var out []string
	for folder, files := range tree.packages() {
		if !slices.ContainsFunc(files, func(f *file) bool {
			text := f.ast.Doc.Text()
			return strings.HasPrefix(text, "Package ") || strings.HasPrefix(text, "Command ") || strings.HasPrefix(text, "The command ")
		}) {
			out = append(out, folder+": no file begins with \"// Package … says what it is for\"")
		}
	}
	return out
}

// declared are the names that a declaration at the top of a file makes.
func declared(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return []*ast.Ident{d.Name}
	case *ast.GenDecl:
		var out []*ast.Ident
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				out = append(out, s.Name)
			case *ast.ValueSpec:
				out = append(out, s.Names...)
			}
		}
		return out
	}
	return nil
}

// words are the words of a name in camel case, in lower case.
func words(name string) []string {
	var out []string
	start := 0
	runes := []rune(name)
	for i := 1; i <= len(runes); i++ {
		if i == len(runes) || runes[i] == '_' || unicode.IsUpper(runes[i]) &&
			(!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			out = append(out, strings.ToLower(strings.Trim(string(runes[start:i]), "_")))
			start = i
		}
	}
	return out
}

func TestBadNamesAndLongFilesAreFound(t *testing.T) {
	wantProblem(t, lengthProblems(snippet(t, "x/x.go", "package x\n"+strings.Repeat("//\n", maxLines))), "451 lines")
	check(t, lengthProblems(snippet(t, "x/x.go", "package x\n"+strings.Repeat("//\n", maxLines-1))))

	wantProblem(t, nameProblems(snippet(t, "x/util/x.go", "package x\n")), `"util"`)
	wantProblem(t, nameProblems(snippet(t, "x/helpers.go", "package x\n")), `"helpers"`)
	wantProblem(t, nameProblems(snippet(t, "x/common_test.go", "package x\n")), `"common"`)
	wantProblem(t, nameProblems(snippet(t, "x/x.go", "package x\ntype BackendPool struct{}\n")), "endpoint")
	wantProblem(t, nameProblems(snippet(t, "x/x.go", "package x\nfunc pickCluster() {}\n")), "service")
	check(t, nameProblems(snippet(t, "x/x.go", "package x\nvar utility, commonly int\n")))

	wantProblem(t, commentProblems(snippet(t, "x/x.go", "// x does things.\npackage x\n")), "x: no file begins")
	check(t, commentProblems(snippet(t, "x/x.go", "// Package x does things.\npackage x\n")))
	check(t, commentProblems(snippet(t, "x/x_test.go", "package x\n")))
}

func TestNamesAreTakenApart(t *testing.T) {
	for name, want := range map[string]string{
		"pickBackend": "pick backend", "HTTPManager": "http manager", "parseURL": "parse url", "maxIdle": "max idle", "x_util": "x util", "n": "n",
	} {
		if got := strings.Join(words(name), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
