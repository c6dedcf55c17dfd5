package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sidecar/upstream"
)

func certified() Service {
	return Service{
		Policy: "p2c", SourceKind: "static",
		Status: upstream.Status{Service: "orders", Source: upstream.SourceStatus{Known: true}},
		TLS: []TLS{
			{Side: "listener", Reloads: 3, Failures: 1, Problem: "key\x1b does not fit", Certificates: []Certificate{
				{File: "/etc/a.pem", Names: []string{"a.example", "b.example", "c.example"}, NotAfter: noon.Add(200 * 24 * time.Hour)},
				{File: "/etc/evil\n.pem", Names: []string{"evil\x1b[2J"}, NotAfter: noon.Add(5 * 24 * time.Hour), Due: true},
			}},
			{Side: "upstream", Certificates: []Certificate{
				{File: "/etc/mine.pem", Subject: "O=ours", NotAfter: noon.Add(-36 * time.Hour), Due: true},
			}},
		},
	}
}

func TestStatusTellsOfCertificatesThatAreDue(t *testing.T) {
	d := Document{At: noon, Started: noon, Readiness: Readiness{Ready: true}, Services: []Service{certified()}}
	var out strings.Builder
	if err := WriteText(&out, &d); err != nil {
		t.Fatal(err)
	}
	const want = `
  certificate (listener) of evil�[2J expires in 5d, on 2026-05-09; /etc/evil�.pem
  certificate (upstream) of O=ours expired 36h0m ago, on 2026-05-03; /etc/mine.pem
`
	if got := out.String(); !strings.HasSuffix(got, want) || strings.Contains(got, "a.example") {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
}

func TestExplainTellsOfAllCertificates(t *testing.T) {
	e := Explanation{At: noon, Service: certified()}
	var out strings.Builder
	if err := WriteExplanation(&out, &e); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"  certificate (listener)      of a.example and 2 other names expires in 200d, on 2026-11-20; /etc/a.pem\n",
		"  certificate (listener)      of evil�[2J expires in 5d, on 2026-05-09; /etc/evil�.pem\n",
		"  new certificates (listener) cannot be used: key� does not fit\n",
		"  certificate (upstream)      of O=ours expired 36h0m ago, on 2026-05-03; /etc/mine.pem\n",
	} {
		if !strings.Contains(squeezed(out.String()), squeezed(want)) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	const want = `"tls":[{"side":"listener","certificates":[{"file":"/etc/a.pem","names":["a.example","b.example","c.example"],` +
		`"not_before":"0001-01-01T00:00:00Z","not_after":"2026-11-20T12:00:00Z"},`
	if !strings.Contains(string(text), want) || !strings.Contains(string(text), `"reloads":3,"failures":1,"problem":"key`) {
		t.Errorf("%s", text)
	}
}

// squeezed is a text whose columns are one blank apart.
func squeezed(s string) string { return strings.Join(strings.Fields(s), " ") }
