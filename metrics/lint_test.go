package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
)

//go:generate go test -run TestTheDocumentIsCurrent -update

var update = flag.Bool("update", false, "write docs/metrics.md anew")

const documentPath = "../docs/metrics.md"

func TestAllNamesFollowTheConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(everything().Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// families is what a scrape shows when there is something of everything.
func families(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	gathered, err := everything().Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range gathered {
		out[f.GetName()] = f
	}
	return out
}

// described is an exported name in what a Desc says of itself; it has no method for it.
var described = regexp.MustCompile(`fqName: "([a-z0-9_]+)"`)

// What has no sample in a scrape is seen neither by the linter nor in the document.
func TestEveryDescribedFamilyIsCollected(t *testing.T) {
	seen := families(t)
	ch := make(chan *prometheus.Desc)
	go func() {
		everything().prom.Describe(ch)
		close(ch)
	}()
	count := 0
	for d := range ch {
		name := described.FindStringSubmatch(d.String())
		if name == nil {
			t.Fatalf("no name in %s", d)
		}
		if !strings.HasPrefix(name[1], namespace+"_") {
			continue // the runtime's, by its version and the system
		}
		count++
		if seen[name[1]] == nil {
			t.Errorf("%s has no sample: everything() lacks it", name[1])
		}
	}
	if count < 80 {
		t.Errorf("%d families only", count)
	}
	for _, name := range []string{"process_open_fds", "go_goroutines"} {
		if seen[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestTheDocumentIsCurrent(t *testing.T) {
	want := renderDocument(families(t))
	if *update {
		if err := os.WriteFile(documentPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(documentPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/metrics.md does not say what is collected; run go generate ./metrics")
	}
}

const documentHead = `# Metrics

What ` + "`GET /metrics`" + ` of the admin interface shows, in the text format of Prometheus. This file is
written by ` + "`go generate ./metrics`" + ` from what a scrape answers; a test keeps it current.

- Counts are since the start of the process, and go on over a reload. Those of an endpoint are
  since it came into being; with the endpoint its series go. An endpoint that nothing was ever asked
  of has the series ` + "`sidecar_endpoint_usable`" + ` only.
- Labels have bounded values: names out of the configuration and the registry, and the words below.
  Nothing that a client sends becomes a label. Per service of HTTP there are some 130 series, per endpoint
  that is used 15.
- A scrape of a hundred services is 0.9 MB (without compression), takes some 15 ms, and is made off the event loops.
- Histograms have buckets at powers of two (requests, connects) or four (sessions, loops).
- What becomes of them: [the dashboard](grafana/sidecar.json), [the alerts](alerts/sidecar.rules.yml),
  and what to do then: [troubleshooting.md](troubleshooting.md).
`

// sections are the parts of a name behind the namespace, in the order of the document.
var sections = []struct{ subsystem, title string }{
	{"build", "Build"}, {"config", "Configuration"}, {"listener", "Listeners"}, {"http", "HTTP"}, {"grpc", "gRPC"},
	{"http2", "HTTP/2"}, {"tcp", "TCP"}, {"service", "Services"}, {"endpoint", "Endpoints"}, {"source", "Sources"},
	{"registration", "Announcements"}, {"tls", "TLS"}, {"loop", "Event loops"}, {"log", "Log"}, {"access_log", "Access log"}, {"tracing", "Tracing"},
}

// section finds the part of the document that a family stands in: the longest that fits, and
// "other" for what is the process's.
func section(name string) string {
	best := "other"
	for _, s := range sections {
		if strings.HasPrefix(name, namespace+"_"+s.subsystem+"_") && (best == "other" || len(s.subsystem) > len(best)) {
			best = s.subsystem
		}
	}
	return best
}

func renderDocument(all map[string]*dto.MetricFamily) []byte {
	by := map[string][]*dto.MetricFamily{}
	for name, f := range all {
		by[section(name)] = append(by[section(name)], f)
	}
	var b bytes.Buffer
	b.WriteString(documentHead)
	for _, s := range sections {
		renderSection(&b, s.title, by[s.subsystem])
	}
	for _, f := range by["other"] {
		if strings.HasPrefix(f.GetName(), namespace+"_") {
			renderSection(&b, f.GetName(), []*dto.MetricFamily{f}) // a new subsystem, not in sections yet
		}
	}
	b.WriteString("\n## Process and runtime\n\nThe series `process_*` and `go_*` are those that all programs with Prometheus' client for Go have:\n" +
		"`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`, `process_max_fds`,\n`process_start_time_seconds`, `go_goroutines`, `go_memstats_*`, `go_gc_*` and so on.\n")
	b.WriteString("\n## Words that are values of labels\n\n| label | of | values |\n|---|---|---|\n")
	for _, w := range labelWords() {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` |\n", w.label, w.of, strings.Join(w.values, "` `"))
	}
	b.WriteString("\nThe causes are those of the header `Sidecar-Error`: [troubleshooting.md](troubleshooting.md) says what each of them means.\n")
	return b.Bytes()
}

func renderSection(b *bytes.Buffer, title string, families []*dto.MetricFamily) {
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	fmt.Fprintf(b, "\n## %s\n\n| series | type | labels | what it is |\n|---|---|---|---|\n", title)
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, " "), f.GetHelp())
	}
}

type labelWord struct {
	label, of string
	values    []string
}

func labelWords() []labelWord {
	var causes, retries, unrouted, floods []string
	for c := range causeCount {
		causes = append(causes, c.String())
	}
	for r := range retryCount {
		retries = append(retries, r.String())
	}
	for r := range UnroutedReasons {
		unrouted = append(unrouted, r.String())
	}
	for k := range FloodKinds {
		floods = append(floods, k.String())
	}
	return []labelWord{
		{"cause", "`sidecar_http_errors_total`, `sidecar_tcp_sessions_failed_total`", causes},
		{"reason", "`sidecar_http_retries_total`", retries},
		{"reason", "`sidecar_listener_unrouted_total`", unrouted},
		{"kind", "`sidecar_http2_abuse_total`", floods},
		{"code", "`sidecar_http_requests_total`", classes[:]},
	}
}
