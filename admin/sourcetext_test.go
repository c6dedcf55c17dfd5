package admin

import (
	"strings"
	"testing"
	"time"

	"sidecar/discovery"
	"sidecar/registration"
	"sidecar/upstream"
)

func TestStatusTellsOfEachSourceAndRegistration(t *testing.T) {
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	d := Document{
		Build: Build{Version: "1.2.3", Revision: "abc", Go: "go1.26"}, At: noon, Started: ago(time.Hour), PID: 7,
		Readiness: Readiness{Ready: true},
		Notices:   []string{"300 services share 100 connections to Consul"},
		Registrations: []registration.Status{
			{Name: "app", ID: "app-80", Registry: "consul", Registered: true, Since: ago(time.Minute), Passing: true, Renewals: 12},
			{Name: "job", ID: "job-81", Registry: "etcd", Since: ago(time.Second), Why: "connection refused", Failing: true, LastError: "etcd: no\x1b answer"},
			{Name: "web", ID: "web-82", Registry: "consul", Registered: true, Since: ago(time.Minute), Passing: true, Leaving: true},
		},
		Services: []Service{{
			Policy: "p2c", SourceKind: "consul, consul/dc2, static, dns",
			Status: upstream.Status{Service: "orders", Source: upstream.SourceStatus{Known: true, LastSuccess: ago(time.Second), Problems: []string{"node1/x: port 0\n"}}},
			Sources: []discovery.Status{
				{Kind: "consul", Subject: "orders", Watching: true, Known: true, Failing: true, LastSuccess: ago(time.Minute), LastErrorAt: ago(time.Second), LastError: "refused",
					Index: 12, Instances: 3, Answers: 20, Updates: 4, Errors: 1, States: map[string]int{"passing": 3, "warning": 1, "critical": 1}},
				{Kind: "consul/dc2", Subject: "orders in dc2"},
				{Kind: "static", Watching: true, Known: true, LastSuccess: ago(time.Hour), Instances: 1, Answers: 1, Updates: 1},
				{Kind: "dns", Subject: "orders.internal", Watching: true, Failing: true, Errors: 2, LastErrorAt: ago(time.Second), LastError: "SERVFAIL"},
				{Kind: "etcd", Subject: "/services/orders/", Watching: true, Known: true, Unknown: true, LastSuccess: ago(time.Second), Answers: 1, Updates: 1},
				{Kind: "file", Watching: true},
			},
		}, {
			Policy: "p2c", SourceKind: "static",
			Status:  upstream.Status{Service: "mail", Source: upstream.SourceStatus{Known: true, Stored: true, LastSuccess: ago(time.Hour)}},
			Sources: []discovery.Status{{Kind: "static", Watching: true, Known: true}},
		}},
	}
	var out strings.Builder
	if err := WriteText(&out, &d); err != nil {
		t.Fatal(err)
	}
	const want = `sidecar 1.2.3 (abc), go1.26: ready, up 1h0m, pid 7
  note: 300 services share 100 connections to Consul

ANNOUNCED  ID      REGISTRY  STATE           FOR   HEALTH    RENEWED
app        app-80  consul    registered      1m0s  passing   12
job        job-81  etcd      not registered  1s    critical  0
web        web-82  consul    leaving         1m0s  passing   0
  job-81 is critical: connection refused
  job-81 fails: etcd: no� answer

orders (p2c): 0 of 0 endpoints usable; consul, consul/dc2, static, dns answered 1s ago
  source consul orders: 3 instances, 1m0s old, index 12; 3 passing, 1 critical, 1 warning; 20 answers, 4 updates, 1 error, the last 1s ago
    fails: refused
  source consul/dc2 orders in dc2: not asked, for those before it suffice
  source static: 1 instance, 1h0m old; 1 answer, 1 update
  source dns orders.internal: has never answered, 2 errors, the last 1s ago
    fails: SERVFAIL
  source etcd /services/orders/: does not know the service, 1s old; 1 answer, 1 update
  source file: has not answered yet
  left out: node1/x: port 0�

mail (p2c): 0 of 0 endpoints usable; static has not answered yet, the set on disk is as of 1h0m ago
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
