package metrics

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

const (
	dashboardPath       = "../docs/grafana/sidecar.json"
	rulesPath           = "../docs/alerts/sidecar.rules.yml"
	troubleshootingPath = "../docs/troubleshooting.md"
)

// A selector is what tools/prometheus says that an expression asks for.
type selector struct {
	Where, Metric string
	Labels        []string
}

// selectors has Prometheus' own parsers read the files. They are in a module of their own, so that
// the sidecar does not depend on what Prometheus depends on.
func selectors(t *testing.T, files ...string) []selector {
	t.Helper()
	tool := filepath.Join(t.TempDir(), "prometheus")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", tool, ".")
	build.Dir, build.Env = "../tools/prometheus", append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build tools/prometheus: %v\n%s", err, out)
	}
	read := exec.CommandContext(t.Context(), tool, files...)
	var wrong bytes.Buffer
	read.Stderr = &wrong
	out, err := read.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &wrong)
	}
	var all []selector
	for line := range bytes.Lines(out) {
		var s selector
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, s)
	}
	return all
}

// The rules and the dashboard load, and ask for nothing that there is not.
func TestTheAlertsAndTheDashboardAskForWhatThereIs(t *testing.T) {
	asked := selectors(t, rulesPath, dashboardPath)
	if len(asked) < 100 {
		t.Fatalf("%d selectors only", len(asked))
	}
	all := families(t)
	for _, s := range asked {
		if s.Metric == "up" { // Prometheus' own
			continue
		}
		labels, ok := labelsOf(all, s.Metric)
		if !ok {
			t.Errorf("%s: there is no series %s", s.Where, s.Metric)
			continue
		}
		for _, l := range s.Labels {
			if !slices.Contains(labels, l) {
				t.Errorf("%s: %s has no label %s", s.Where, s.Metric, l)
			}
		}
	}
}

// labelsOf is what a series can be asked about: its own labels, and those that Prometheus adds.
func labelsOf(all map[string]*dto.MetricFamily, series string) ([]string, bool) {
	labels := []string{"job", "instance"}
	f, ok := all[series]
	if ok && f.GetType() == dto.MetricType_HISTOGRAM {
		return nil, false // its series have suffixes
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if name, cut := strings.CutSuffix(series, suffix); cut && all[name].GetType() == dto.MetricType_HISTOGRAM {
			f, ok = all[name], true
			if suffix == "_bucket" {
				labels = append(labels, "le")
			}
		}
	}
	if !ok {
		return nil, false
	}
	for _, l := range f.GetMetric()[0].GetLabel() {
		labels = append(labels, l.GetName())
	}
	return labels, true
}

// Who is woken by an alert is told what it means, and where to read on.
func TestEveryAlertSaysWhatToDo(t *testing.T) {
	alerts := strings.Split(read(t, rulesPath), "- alert: ")[1:]
	if len(alerts) < 20 {
		t.Fatalf("%d alerts only", len(alerts))
	}
	anchors := headings(read(t, troubleshootingPath))
	link := regexp.MustCompile(`runbook_url: docs/troubleshooting\.md#([a-z0-9-]+)\n`)
	for _, a := range alerts {
		name, rest, _ := strings.Cut(a, "\n")
		for _, key := range []string{"severity: ", "summary: ", "description: "} {
			if !strings.Contains(rest, key) {
				t.Errorf("%s has no %s", name, strings.Trim(key, ": "))
			}
		}
		switch anchor := link.FindStringSubmatch(rest); {
		case anchor == nil:
			t.Errorf("%s has no link into docs/troubleshooting.md", name)
		case !slices.Contains(anchors, anchor[1]):
			t.Errorf("%s: docs/troubleshooting.md has no heading %q", name, anchor[1])
		}
		if !strings.Contains(read(t, troubleshootingPath), "`"+name+"`") {
			t.Errorf("docs/troubleshooting.md does not name %s", name)
		}
	}
}

// headings are the anchors of a document, as they are made of its headings.
func headings(text string) (anchors []string) {
	for line := range strings.Lines(text) {
		if title := strings.TrimLeft(line, "#"); title != line {
			anchor := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(title)), " ", "-")
			anchors = append(anchors, regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(anchor, ""))
		}
	}
	return anchors
}

// Every cause has its row: it is what somebody at three in the morning looks for.
func TestEveryCauseIsExplained(t *testing.T) {
	text := read(t, troubleshootingPath)
	for c := range causeCount {
		if !strings.Contains(text, "\n| `"+c.String()+"` |") {
			t.Errorf("docs/troubleshooting.md has no row for the cause %s", c)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(causesOf(t, text), -1) {
		if CauseOf(row[1]) == CauseOther && row[1] != "other" {
			t.Errorf("docs/troubleshooting.md explains the cause %s, which does not exist", row[1])
		}
	}
	for r := range retryCount {
		if !strings.Contains(text, "`"+r.String()+"`") {
			t.Errorf("docs/troubleshooting.md does not say what the retry reason %s is", r)
		}
	}
	for r := range UnroutedReasons {
		if !strings.Contains(text, "`"+r.String()+"`") {
			t.Errorf("docs/troubleshooting.md does not say what %s means for a connection to a shared socket", r)
		}
	}
}

// causesOf is the part of the document that explains causes.
func causesOf(t *testing.T, text string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n## Causes\n")
	if !ok {
		t.Fatal("docs/troubleshooting.md has no part Causes")
	}
	part, _, _ := strings.Cut(rest, "\n## ")
	return part
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// noted is a decision in upstream's source: as a Decision, or as what is told of a service.
var noted = regexp.MustCompile(`What: "([a-z ]+)"|\.note\([^"]*"[^"]*", "([a-z ]+)"|\.note\([^"]*e\.id, "([a-z ]+)"|tellVerdict\([^"]*"([a-z]+)"`)

// What explain says in a word stands in the document, too.
func TestEveryDecisionIsExplained(t *testing.T) {
	sources, err := filepath.Glob("../upstream/*.go")
	if err != nil {
		t.Fatal(err)
	}
	text, words := read(t, troubleshootingPath), map[string]bool{}
	for _, path := range sources {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, m := range noted.FindAllStringSubmatch(read(t, path), -1) {
			words[m[1]+m[2]+m[3]+m[4]] = true
		}
	}
	if len(words) < 25 {
		t.Fatalf("%d decisions only: %v", len(words), words)
	}
	for w := range words {
		if !strings.Contains(text, "`"+w+"`") {
			t.Errorf("docs/troubleshooting.md does not say what %q means", w)
		}
	}
}

// series is how a name looks in a document.
var series = regexp.MustCompile(`\bsidecar_[a-z0-9_]+`)

// What a document says to look at has to be there.
func TestTheDocumentsNameSeriesThatThereAre(t *testing.T) {
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	all, count := families(t), 0
	for _, path := range documents {
		for _, name := range series.FindAllString(read(t, path), -1) {
			if strings.HasSuffix(name, "_") {
				continue // a group of them
			}
			count++
			if _, ok := labelsOf(all, name); !ok && all[name] == nil {
				t.Errorf("%s: there is no series %s", path, name)
			}
		}
	}
	if count < 100 {
		t.Errorf("%d names only", count)
	}
}
