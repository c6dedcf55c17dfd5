package rules

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// all stands for every package of ours that is not test support or a command.
const all = "*"

// table says which of our packages each package may import, apart from its tests. Arrows
// point down only: control and data planes meet in upstream, and internal/daemon alone knows
// everybody. A new package comes into the table with a sentence in docs/architecture.md.
var table = map[string][]string{
	"cmd/sidecar":               {"config", "internal/daemon", "internal/inherit", "internal/spool", "admin", "tap"},
	"config":                    {},
	"discovery":                 {},
	"discovery/consul":          {"discovery"},
	"discovery/dns":             {"discovery"},
	"discovery/file":            {"discovery"},
	"discovery/etcd":            {"discovery"},
	"discovery/redis":           {"discovery"},
	"discovery/nacos":           {"discovery"},
	"discovery/kubernetes":      {"discovery"},
	"discovery/lastgood":        {"discovery"},
	"registration":              {},
	"registration/consul":       {"registration"},
	"registration/etcd":         {"registration"},
	"internal/servertest":       {}, // starts etcd, Redis and DNS servers, for tests
	"healthcheck":               {},
	"breaker":                   {"internal/window"},
	"limiter":                   {},
	"balancer":                  {"upstream"},
	"upstream":                  {"discovery", "healthcheck", "breaker", "limiter", "internal/window"},
	"proxy/tcp":                 {"upstream", "internal/eventloop", "internal/secure", "proxy/preamble", "metrics"},
	"proxy/http":                {"upstream", "internal/eventloop", "metrics", "proxy/http/h1", "proxy/http/h2", "internal/secure", "proxy/preamble", "accesslog", "tracing", "tap"},
	"proxy/http/h1":             {},
	"proxy/http/h2":             {"internal/eventloop", "proxy/http/h1"},
	"proxy/preamble":            {"internal/eventloop"},
	"internal/secure":           {"internal/eventloop"},
	"metrics":                   {},
	"accesslog":                 {},
	"admin":                     {"upstream", "metrics", "discovery", "registration", "tap"},
	"internal/eventloop":        {},
	"internal/window":           {},
	"internal/inherit":          {},
	"internal/notify":           {},
	"internal/spool":            {},
	"tracing":                   {},
	"tap":                       {"accesslog"},
	"internal/daemon":           {all},
	"internal/consultest/build": {"internal/consultest"}, // builds that agent, before the tests
	"internal/consultest":       {},                      // starts a real agent, for tests
	"internal/e2e":              {},                      // tests of the real binary
	"internal/leaktest":         {},                      // for TestMain
	"internal/rules":            {},
	"packaging/generate":        {}, // makes man pages and completions for a package
	"bench":                     {all},
	"bench/sim":                 {all}, // in virtual time
}

// outside are packages that nothing but a test may import.
var outside = []string{"internal/consultest", "internal/e2e", "internal/leaktest", "internal/rules", "internal/servertest", "bench", "bench/sim", "cmd/sidecar"}

// A restriction says who alone may import a library, tests apart, and why.
type restriction struct {
	library string // and what is below it
	users   []string
	reason  string
}

var restrictions = []restriction{
	{"github.com/spf13/viper", []string{"config"}, "the rest of the program takes a validated value and does not know where it came from"},
	{"github.com/sony/gobreaker", []string{"breaker"}, "its callbacks run under its lock; breaker knows what may be done there"},
	{"github.com/hashicorp/consul/api", []string{"discovery/consul"}, "no other package may depend on which registry there is"},
	{"go.etcd.io/etcd", []string{"discovery/etcd", "registration/etcd"}, "no other package may depend on which registry there is"},
	{"github.com/redis/go-redis", []string{"discovery/redis"}, "no other package may depend on which registry there is"},
	{"github.com/miekg/dns", []string{"discovery/dns"}, "no other package may depend on which registry there is"},
	{"github.com/fsnotify/fsnotify", []string{"discovery/file"}, "watching files is that source's business"},
	{"google.golang.org/grpc", []string{"healthcheck", "discovery/etcd"}, "it is a client for health checks, and what the client of etcd is made of; what is proxied does not pass through it"},
	{"github.com/cespare/xxhash", []string{"balancer"}, "the hash of the ring is the same in every sidecar, and in one place"},
	{"github.com/spf13/cobra", []string{"cmd/sidecar"}, "flags belong to the command line"},
	{"github.com/spf13/pflag", []string{"cmd/sidecar"}, "flags belong to the command line"},
	{"github.com/prometheus", []string{"metrics"}, "what is counted, and under which name, stands in one place"},
	{"log", nil, "zap is the log; the standard one has neither levels nor fields"},
	{"log/slog", nil, "zap is the log; two logs have two formats"},
	{"math/rand", nil, "math/rand/v2 needs no seed, and its global functions take no lock"},
	{"io/ioutil", nil, "package io and os have its functions"},
	{"unsafe", []string{"internal/eventloop", "proxy/http", "proxy/http/h1"}, "only where a profile has shown that it pays"},
}

// dataPath are the packages that every byte passes.
var dataPath = []string{"proxy/http", "proxy/http/h1", "proxy/tcp", "internal/eventloop", "upstream", "balancer", "breaker", "limiter", "internal/window", "metrics", "accesslog", "tracing", "tap"}

// tooDear are libraries that the data path goes without. The names of statuses and methods
// in net/http, and its form of a date, cost nothing and may be used.
var tooDear = map[string]string{
	"net/http":               "it costs three times as much per request as what this project exists for; requests are handled by proxy/http/h1",
	"golang.org/x/net/http2": "its server and transport cost three times as much per call as HAProxy",
	"encoding/json":          "nothing is encoded per request",
	"reflect":                "nothing is found out about types per request",
	"text/template":          "nothing is formatted per request",
	"github.com/spf13/cast":  "values are converted when the configuration is loaded",
}

// dearAllowed are exceptions: metrics answers scrapes and tracing sends spans, which is HTTP and off
// the data path.
var dearAllowed = map[string][]string{"metrics": {"net/http"}, "tracing": {"net/http"}}

func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) { check(t, importProblems(read(t))) }

func TestTheTableNamesOnlyItself(t *testing.T) {
	for folder, allowed := range table {
		for _, a := range allowed {
			if _, ok := table[a]; !ok && a != all {
				t.Errorf("%s may import %s, which is not in the table", folder, a)
			}
		}
	}
	for _, folder := range slices.Concat(outside, dataPath) {
		if _, ok := table[folder]; !ok {
			t.Errorf("%s is not in the table", folder)
		}
	}
}

func importProblems(tree *tree) []string {
	var out []string
	for _, f := range tree.files {
		if _, ok := table[f.folder]; !ok {
			out = append(out, fmt.Sprintf("%s: package %s is not in the table of internal/rules/imports_test.go: say there what it may import", f.path, f.folder))
			continue
		}
		if f.test {
			continue
		}
		for _, i := range f.imports() {
			if i == "net/http" && namesOnly(f) || i == "golang.org/x/net/http2/hpack" {
				continue
			}
			if p := importProblem(f.folder, i); p != "" {
				out = append(out, f.path+": "+p)
			}
		}
	}
	return out
}

// importProblem says why a package may not import another, or nothing.
func importProblem(folder, imported string) string {
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		allowed := table[folder]
		switch {
		case slices.Contains(allowed, own):
			return ""
		case slices.Contains(outside, own):
			return fmt.Sprintf("%s is for tests and commands; no package imports it", own)
		case slices.Contains(allowed, all):
			return ""
		}
		return fmt.Sprintf("%s may not import %s, only %q: arrows point down, and what is needed here is declared here or handed in by internal/daemon", folder, own, allowed)
	}
	for _, r := range restrictions {
		if within(imported, r.library) && !slices.Contains(r.users, folder) {
			return fmt.Sprintf("%s may be imported by %q only: %s", imported, r.users, r.reason)
		}
	}
	if slices.Contains(dataPath, folder) {
		if reason, dear := tooDear[imported]; dear && !slices.Contains(dearAllowed[folder], imported) {
			return fmt.Sprintf("%s is too dear for the data path: %s", imported, reason)
		}
	}
	return ""
}

// namesOnly tells whether a file takes nothing from net/http but constants, and StatusText.
func namesOnly(f *file) bool {
	free := func(name string) bool {
		return strings.HasPrefix(name, "Status") || strings.HasPrefix(name, "Method") || name == "TimeFormat"
	}
	only := true
	for _, i := range f.ast.Imports {
		// Under another name it would not be recognized below.
		only = only && (i.Name == nil || i.Path.Value != `"net/http"`)
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			p, ok := s.X.(*ast.Ident)
			only = only && (!ok || p.Name != "http" || free(s.Sel.Name))
		}
		return true
	})
	return only
}

// within tells whether a package is a library, or one of those below it. "log" is not above
// "log/slog": what the standard library nests is not related.
func within(imported, library string) bool {
	return imported == library || strings.Contains(library, ".") && strings.HasPrefix(imported, library+"/")
}

func TestABrokenImportIsFound(t *testing.T) {
	for source, part := range map[string]string{
		"upstream: sidecar/proxy/tcp":                      "upstream may not import proxy/tcp",
		"balancer: sidecar/discovery":                      "balancer may not import discovery",
		"proxy/http/h1: sidecar/internal/eventloop":        "h1 may not import internal/eventloop",
		"internal/daemon: sidecar/internal/consultest":     "for tests and commands",
		"upstream: github.com/sony/gobreaker/v2":           `by ["breaker"] only`,
		"internal/daemon: github.com/spf13/viper":          `by ["config"] only`,
		"healthcheck: github.com/hashicorp/consul/api":     "which registry",
		"admin: github.com/prometheus/client_golang/promx": `by ["metrics"] only`,
		"admin: log":           "zap is the log",
		"admin: log/slog":      "two logs",
		"proxy/http: net/http": "too dear",
		"novelty: fmt":         "not in the table",
	} {
		folder, imported, _ := strings.Cut(source, ": ")
		wantProblem(t, importProblems(snippet(t, folder+"/x.go", fmt.Sprintf("package x\nimport _ %q\n", imported))), part)
	}
	for _, source := range []string{"admin: net/http", "metrics: net/http", "internal/daemon: sidecar/proxy/http", "breaker: github.com/sony/gobreaker/v2", "admin: sidecar/upstream"} {
		folder, imported, _ := strings.Cut(source, ": ")
		check(t, importProblems(snippet(t, folder+"/x.go", fmt.Sprintf("package x\nimport _ %q\n", imported))))
	}
	const names = `package x; import "net/http"; var a, b = http.StatusText(http.StatusOK), http.`
	check(t, importProblems(snippet(t, "proxy/http/x.go", names+"MethodGet")))
	wantProblem(t, importProblems(snippet(t, "proxy/http/x.go", names+"DefaultClient")), "too dear")
	check(t, importProblems(snippet(t, "upstream/x_test.go", `package x; import _ "sidecar/proxy/tcp"`)))
}
