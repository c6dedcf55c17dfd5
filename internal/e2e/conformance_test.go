package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	causes "sidecar/metrics" // metrics is a function of this package
)

// A verdict is what the conformance runner says about one case.
type verdict struct {
	ID, Area, Level, Source string
	Pass                    bool
	Why, Seen               []string
}

func (v verdict) name() string { return v.Area + "/" + v.ID }

// The runner is a raw client and a raw origin, which share no code with us. All its musts have
// to pass, and of the shoulds those that docs/http.md does not answer with a reason; what is
// listed there has to fail, so that the list says what is so.
func TestTheConformanceCasesPass(t *testing.T) {
	// Not in parallel: its cases have deadlines of their own.
	suite := conformanceSuite(t)
	runner := filepath.Join(folder(t), "runner")
	build := exec.Command("go", "build", "-o", runner, "./runner")
	build.Dir, build.Env = suite, environment("GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the runner: %v\n%s", err, out)
	}
	listen := reserve(t)
	s := start(t, static("conformance", "", listen))

	results := filepath.Join(t.TempDir(), "results.json")
	cmd := exec.Command(runner, "-proxy", s.address("conformance"), "-listen", listen,
		"-cases", filepath.Join(suite, "cases.json"), "-out", results)
	p := launch(t, cmd)
	select {
	case <-p.done: // with which status is seen from the results
	case <-time.After(10 * patience):
		t.Fatalf("the runner has not ended; it wrote:\n%s%s", &p.out, &p.err)
	}
	text, err := os.ReadFile(results)
	if err != nil {
		t.Fatalf("%v; the runner wrote:\n%s%s", err, &p.out, &p.err)
	}
	var all []verdict
	if err := json.Unmarshal(text, &all); err != nil || len(all) == 0 {
		t.Fatalf("%d results, %v", len(all), err)
	}
	t.Logf("%s", table(p.out.String()))
	judge(t, all, unmet(t))
}

// judge compares what was found with what docs/http.md says.
func judge(t *testing.T, all []verdict, unmet map[string]string) {
	t.Helper()
	seen := map[string]bool{}
	for _, v := range all {
		seen[v.name()] = true
		_, listed := unmet[v.name()]
		switch {
		case v.Pass && listed:
			t.Errorf("%s passes: take it off the list in docs/http.md", v.name())
		case v.Pass, v.Level == "should" && listed:
		default:
			t.Errorf("%s %s [%s]: %s\n\tseen: %s", v.Level, v.name(), v.Source, strings.Join(v.Why, "; "), strings.Join(v.Seen, "\n\t      "))
		}
	}
	for name := range unmet {
		if !seen[name] {
			t.Errorf("docs/http.md lists %s, and there is no such case", name)
		}
	}
}

// table is the runner's own, which ends its output.
func table(out string) string {
	return out[max(0, strings.LastIndex("\n"+out, "\n"+regexp.MustCompile(`(?m)^\d+ passed`).FindString(out))):]
}

// root is the folder of this module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above this package")
		}
		dir = filepath.Dir(dir)
	}
}

// conformanceSuite is the folder of the cases, which is beside the repository and no part of
// it: where it is missing the test is skipped.
func conformanceSuite(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(root(t), "..", "shared", "conformance")
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		t.Skip("the conformance cases are not part of a checkout, and there is no ../shared/conformance")
	}
	return dir
}

// unmet reads from docs/http.md which cases are not met: a block of lines with the name of a
// case and the reason.
func unmet(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "\n```conformance\n")
	block, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatal("docs/http.md has no block ```conformance")
	}
	list := map[string]string{}
	for line := range strings.Lines(block) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, reason, _ := strings.Cut(line, " ")
		if list[name] = strings.TrimSpace(reason); list[name] == "" {
			t.Errorf("docs/http.md lists %s without a reason", name)
		}
	}
	return list
}

// Whoever finds a cause in Sidecar-Error looks it up there.
func TestEachCauseIsExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	for cause := causes.Cause(0); cause == 0 || cause.String() != causes.CauseOther.String(); cause++ {
		if !strings.Contains(string(text), "`"+cause.String()+"`") {
			t.Errorf("docs/http.md does not say what %s is", cause)
		}
	}
}

// reserve returns an address on which nobody but one who asks for it by name can listen: the
// port is taken, by a socket that does not listen.
func reserve(t *testing.T) string {
	t.Helper()
	return bound(t, func(fd int) error { return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
}
