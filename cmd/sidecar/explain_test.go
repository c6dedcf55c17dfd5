package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"sidecar/admin"
	"sidecar/upstream"
)

// running answers as a sidecar with these services does, and returns its address.
func running(t *testing.T, services ...string) string {
	t.Helper()
	var doc admin.Document
	for _, name := range services {
		s := admin.Service{Policy: "p2c", SourceKind: "static"}
		s.Status = upstream.Status{Service: name, Total: 3, Usable: 3, Verdict: "3 of 3 endpoints take their share of the traffic"}
		doc.Services = append(doc.Services, s)
	}
	server := admin.New(admin.Options{Listen: anyPort, Status: func() admin.Document { return doc }})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return server.Address()
}

func TestExplainShowsOneService(t *testing.T) {
	address := running(t, "orders", "mail")
	status, out, said := sidecar("explain", "mail", "--admin", address)
	if status != 0 || said != "" || !strings.HasPrefix(out, "mail: 3 of 3 endpoints take their share of the traffic\n") {
		t.Errorf("%d %q %q", status, out, said)
	}
	status, out, said = sidecar("explain", "mail", "--json", "--admin", address)
	var e admin.Explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil || status != 0 || said != "" || e.Service.Service != "mail" || e.Total != 3 {
		t.Errorf("%d %q %q: %v", status, out, said, err)
	}
}

func TestExplainOfAnUnknownServiceNamesTheOthers(t *testing.T) {
	status, out, said := sidecar("explain", "order", "--admin", running(t, "orders", "mail"))
	if status != 1 || out != "" || !strings.Contains(said, `there is no service "order"; did you mean "orders"? (those there are: mail, orders)`) {
		t.Errorf("%d %q %q", status, out, said)
	}
}

func TestExplainWithoutANameTakesTheOnlyService(t *testing.T) {
	status, out, said := sidecar("explain", "--admin", running(t, "orders"))
	if status != 0 || said != "" || !strings.HasPrefix(out, "orders: 3 of 3") {
		t.Errorf("%d %q %q", status, out, said)
	}
	status, out, said = sidecar("explain", "--admin", running(t, "orders", "mail"))
	const want = `sidecar: which service is to be explained?

SERVICE  USABLE  VERDICT
orders   3 of 3  3 of 3 endpoints take their share of the traffic
mail     3 of 3  3 of 3 endpoints take their share of the traffic
`
	if status != 2 || out != "" || said != want {
		t.Errorf("%d %q\n%s\nwant\n%s", status, out, said, want)
	}
	status, out, said = sidecar("explain", "--admin", running(t))
	if status != 1 || out != "" || said != "sidecar: the sidecar has no services\n" {
		t.Errorf("%d %q %q", status, out, said)
	}
}
