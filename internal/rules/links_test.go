package rules

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fenced   = regexp.MustCompile("(?ms)^```.*?^```$")
	unanchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// A link that leads nowhere is found by somebody who has no time to look for the page.
func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range append(files, "../../README.md") {
		for _, m := range link.FindAllStringSubmatch(document(t, path), -1) {
			found++
			if p := linkProblem(t, path, m[1]); p != "" {
				t.Errorf("%s: %s: %s", path, m[1], p)
			}
		}
	}
	if found < 100 {
		t.Errorf("%d links only", found)
	}
}

// linkProblem says why a link of a document leads nowhere, or nothing. The web is not asked.
func linkProblem(t *testing.T, from, to string) string {
	t.Helper()
	if strings.Contains(to, "://") {
		return ""
	}
	name, anchor, _ := strings.Cut(to, "#")
	path := from
	if name != "" {
		path = filepath.Join(filepath.Dir(from), name)
	}
	if _, err := os.Stat(path); err != nil {
		return "there is no such file"
	}
	if anchor != "" && strings.HasSuffix(path, ".md") && !slices.Contains(anchors(document(t, path)), anchor) {
		return "there is no such heading"
	}
	return ""
}

// anchors are what the headings of a document are linked by.
func anchors(text string) (all []string) {
	for line := range strings.Lines(text) {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			title = unanchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all = append(all, strings.ReplaceAll(title, " ", "-"))
		}
	}
	return all
}

// document is the text of a document, without its blocks of code.
func document(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fenced.ReplaceAllString(string(text), "")
}

func TestLinksThatLeadNowhereAreFound(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "page.md")
	if err := os.WriteFile(page, []byte("# One page\n\n## What is `it`, then?\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{
		"page.md":                   "",
		"#what-is-it-then":          "",
		"page.md#one-page":          "",
		"https://example.org/#none": "",
		"none.md":                   "there is no such file",
		"#what-is-it":               "there is no such heading",
	} {
		if got := linkProblem(t, page, to); got != want {
			t.Errorf("%s: %q, want %q", to, got, want)
		}
	}
}
