package admin

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"sidecar/discovery"
	"sidecar/registration"
	"sidecar/upstream"
)

const browsers = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestBrowsersGetThePageAndOthersAList(t *testing.T) {
	w := ask(full(), "GET", "/", "Accept", browsers)
	if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || !strings.Contains(w.Body.String(), "<!doctype html>") {
		t.Errorf("%d %s", w.Code, w.Header())
	}
	for _, accept := range []string{"", "*/*", "text/plain"} {
		if w := ask(full(), "GET", "/", "Accept", accept); !strings.Contains(w.Body.String(), "/readyz") || strings.Contains(w.Body.String(), "<") {
			t.Errorf("Accept %q: %q", accept, w.Body)
		}
	}
	// Without a status there is nothing to show.
	if w := ask(Options{}, "GET", "/", "Accept", browsers); !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("%s", w.Header())
	}
}

// hostile has text that would do something where it is not escaped, in all that others have a say in.
func hostile() Document {
	const evil = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{.}}` + "\x1b\u202e\u2028</style>"
	e := upstream.EndpointStatus{
		ID: evil, Address: evil, Zone: evil, State: upstream.StateDown, Why: evil, Verdict: "down: " + evil, Breaker: "closed", Since: noon,
		Errors:  []upstream.ErrorNote{{What: evil, Count: 1, First: noon, Last: noon}},
		History: []upstream.Decision{{At: noon, What: "down", Why: evil}},
	}
	return Document{
		Started: noon, Readiness: Readiness{Missing: []string{evil}}, Notices: []string{evil},
		Listeners:     []Listener{{Address: evil, Service: evil, Protocol: "http", Error: evil}},
		Registrations: []registration.Status{{Name: evil, ID: evil, Registry: evil, Why: evil}},
		Services: []Service{{
			Policy: "p2c", SourceKind: evil, Sources: []discovery.Status{{Kind: evil, Subject: evil, Watching: true, LastError: evil}},
			TLS: []TLS{{Side: "listener", Problem: evil, Certificates: []Certificate{{File: evil, Names: []string{evil}, Subject: evil, NotAfter: noon}}}},
			Status: upstream.Status{
				Service: evil, Verdict: evil, Total: 1, Source: upstream.SourceStatus{Known: true, Failing: true, LastError: evil, Problems: []string{evil}},
				Endpoints: []upstream.EndpointStatus{e},
			},
		}},
	}
}

func TestWhatRegistriesSayDoesNothing(t *testing.T) {
	o := full()
	o.Status = hostile
	w := ask(o, "GET", "/?all=<script>", "Accept", browsers)
	body := w.Body.String()
	ours := 0
	for _, tag := range []string{"<script", "<style", "<img", "onerror=", "\x1b", "\u202e", "\u2028"} {
		n := strings.Count(body, tag)
		if tag == "<script" || tag == "<style" {
			ours += n
		} else if n > strings.Count(body, "onerror=alert(2)&gt;") {
			t.Errorf("%q is there %d times", tag, n)
		}
	}
	if ours != 2 {
		t.Errorf("%d scripts and styles, want ours", ours)
	}
	if !strings.Contains(body, "&lt;script&gt;alert(1)") {
		t.Error("the text itself is not there")
	}
}

// What may run is named by its digest: a letter more, and nothing does.
func TestThePolicyNamesWhatIsOnThePage(t *testing.T) {
	w := ask(full(), "GET", "/", "Accept", browsers)
	policy, body := w.Header().Get("Content-Security-Policy"), w.Body.String()
	for tag, source := range map[string]string{"script": "script-src", "style": "style-src"} {
		text := regexp.MustCompile(`(?s)<` + tag + `>(.*?)</` + tag + `>`).FindStringSubmatch(body)
		if text == nil {
			t.Fatalf("no %s", tag)
		}
		sum := sha256.Sum256([]byte(text[1]))
		if want := source + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("%s is not in %s", want, policy)
		}
	}
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'self'", "require-trusted-types-for 'script'", "trusted-types 'none'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("no %s in %s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || regexp.MustCompile(`(?i)\son[a-z]+=`).MatchString(body[:strings.Index(body, "<script>")]) {
		t.Error("something may run that is not named")
	}
	if m := regexp.MustCompile(`(?:src|href|action)="?(https?:|//)[^"]*`).FindString(body); m != "" {
		t.Errorf("it asks elsewhere: %s", m)
	}
}

func TestWithoutAScriptThePageShowsTheSame(t *testing.T) {
	o := full()
	o.Status = func() Document {
		d := sample()
		s := &d.Services[0]
		for i := range 300 {
			e := upstream.EndpointStatus{ID: fmt.Sprintf("i-%04d", i), State: upstream.StateUsable, Verdict: fine, Sound: true, Weight: 1}
			if i == 77 {
				e.State, e.Sound, e.Verdict = upstream.StateDown, false, "down: timed out"
			}
			s.Endpoints = append(s.Endpoints, e)
		}
		s.Service, s.Total = "many & more", len(s.Endpoints)
		return d
	}
	body := ask(o, "GET", "/", "Accept", browsers).Body.String()
	for _, part := range []string{`<meta http-equiv="refresh" content="5">`, "i-0077", "down: timed out", "more, which take their share", `href="/?all=many%20%26%20more"`, "Decisions, newest first"} {
		if !strings.Contains(body, part) {
			t.Errorf("no %q", part)
		}
	}
	if strings.Contains(body, "i-0299") {
		t.Error("all are shown at first")
	}
	if body := ask(o, "GET", "/?all=many%20%26%20more", "Accept", browsers).Body.String(); !strings.Contains(body, "i-0299") {
		t.Error("not all are shown")
	}
}

func TestThePageOffersActionsWhereTheyAreAllowed(t *testing.T) {
	o := full()
	for range 2 {
		for _, on := range []bool{false, true} {
			o.Actions = on
			want := fmt.Sprintf(`data-actions="%v"`, on && o.Endpoint != nil)
			if body := ask(o, "GET", "/", "Accept", browsers).Body.String(); !strings.Contains(body, want) {
				t.Errorf("no %s", want)
			}
		}
		o.Endpoint = func(string, string, string) error { return nil }
	}
}

func TestTheSourceOfAServiceInARow(t *testing.T) {
	for want, s := range map[string]discovery.Status{
		"not asked":        {Known: true, Failing: true},
		"fails":            {Watching: true, Known: true, Failing: true},
		"has not answered": {Watching: true},
		"does not know it": {Watching: true, Known: true, Unknown: true},
		"answers":          {Watching: true, Known: true},
	} {
		if row := sourceRow("orders", &s, noon.Add(time.Second)); row[2] != want {
			t.Errorf("%q, want %q", row[2], want)
		}
	}
}

func TestTheViewLeavesOutWhatSaysNothing(t *testing.T) {
	s := soundService("orders", 2)
	s.Sources = []discovery.Status{{Kind: "static", Watching: true, Known: true}, {Kind: "dns", Subject: "orders.internal", Watching: true}}
	d := Document{At: noon, Services: []Service{s}}
	for i := range maxProblems + 5 {
		d.Problems = append(d.Problems, Problem{Severity: Note, What: fmt.Sprint(i)})
	}
	v := newPage().view(&d, "", false)
	if len(v.Problems) != maxProblems || v.More != 5 {
		t.Errorf("%d problems and %d more", len(v.Problems), v.More)
	}
	if l := v.Services[0].Endpoints; strings.Join(l.Columns, " ") != "Endpoint State Share In flight" || len(l.Rows) != 2 || len(l.Rows[0]) != 4 {
		t.Errorf("%+v", l)
	}
	if l := v.Lists[1]; l.Title != "Sources" || len(l.Rows) != 1 || l.Rows[0][1] != "dns orders.internal" {
		t.Errorf("%+v", l)
	}
}
