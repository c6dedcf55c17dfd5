package admin

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/upstream"
)

// known is a Service callback for services that Status need not build.
func known(names ...string) func(string) (Service, bool) {
	return func(name string) (Service, bool) {
		return Service{Policy: "p2c", Status: upstream.Status{Service: name, Verdict: "as good as can be"}}, slices.Contains(names, name)
	}
}

func TestOneServiceIsExplainedInBothForms(t *testing.T) {
	w := ask(full(), "GET", "/explain/orders")
	var e Explanation
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), typeJSON) {
		t.Fatalf("%d %q: %v", w.Code, w.Body, err)
	}
	if !reflect.DeepEqual(e.Service, sample().Services[0]) || time.Since(e.At) > time.Minute {
		t.Errorf("%+v", e)
	}
	for _, w := range []string{
		ask(full(), "GET", "/explain/orders?format=text").Body.String(),
		ask(full(), "GET", "/explain/orders", "Accept", "text/plain").Body.String(),
	} {
		if !strings.HasPrefix(w, "orders: 1 of 2 endpoints take their share of the traffic; 1 ejected, 1 may be\n") || !strings.Contains(w, "ENDPOINT") {
			t.Errorf("%q", w)
		}
	}
	if w := ask(full(), "GET", "/explain/orders?format=xml"); w.Code != 400 {
		t.Errorf("format=xml: %d, want 400", w.Code)
	}
}

func TestAServiceIsAskedForByItsNameAlone(t *testing.T) {
	o := Options{Service: known("a b/c%2F?"), Status: func() Document {
		t.Error("everything was built for one service")
		return Document{}
	}}
	w := ask(o, "GET", "/explain/a%20b%2Fc%252F%3F?format=text")
	if w.Code != 200 || !strings.HasPrefix(w.Body.String(), "a b/c%2F?: as good as can be\n") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestAnUnknownServiceIsAnsweredWithThoseThereAre(t *testing.T) {
	w := ask(full(), "GET", "/explain/ordres")
	const want = "there is no service \"ordres\"; did you mean \"orders\"? (those there are: gone, mail, orders, search)\n"
	if w.Code != 404 || w.Body.String() != want || !strings.HasPrefix(w.Header().Get("Content-Type"), typeText) {
		t.Errorf("%d %q, want 404 %q", w.Code, w.Body, want)
	}
	many := make([]string, 25)
	for i := range many {
		many[i] = fmt.Sprintf("service-%02d", i)
	}
	for _, tt := range []struct {
		name  string
		names []string
		want  string
	}{
		{"x", nil, `there is no service "x" (there is none at all)`},
		{"bills", []string{"orders"}, `there is no service "bills" (those there are: orders)`},
		{"evil\x1b[2J", []string{"a", "b"}, `there is no service "evil\x1b[2J" (those there are: a, b)`},
		{"elsewhere", many, `there is no service "elsewhere" (those there are: ` + strings.Join(many[:20], ", ") + " and 5 more)"},
	} {
		if got := unknownService(tt.name, tt.names); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestWhatWasProbablyMeant(t *testing.T) {
	names := []string{"orders", "orders-archive", "mail", "db"}
	for word, want := range map[string]string{
		"ordres": "orders", "Orders": "orders", "order": "orders", "odrers": "orders", "mial": "mail", "mall": "mail", "bd": "db", "dbs": "db",
		"archive": "orders-archive", "orders-a": "orders", "orders-archives": "orders-archive", "billing": "", "": "", "x": "",
		strings.Repeat("orders", 30): "",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestAllVerdictsAreListed(t *testing.T) {
	w := ask(full(), "GET", "/explain?format=text")
	const want = `SERVICE  USABLE  VERDICT
orders   1 of 2  1 of 2 endpoints take their share of the traffic; 1 ejected, 1 may be
mail     0 of 0  unavailable: the registry has not answered yet
search   1 of 1  fails open: every health check fails; 1 of 1 endpoints are usable
gone     0 of 0  -
`
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d\n%s\nwant\n%s", w.Code, w.Body, want)
	}
	if w := ask(full(), "GET", "/explain?format=xml"); w.Code != 400 {
		t.Errorf("format=xml: %d, want 400", w.Code)
	}
	none := Options{Status: func() Document { return Document{} }}
	if w := ask(none, "GET", "/explain"); w.Code != 200 || !strings.Contains(w.Body.String(), `"services": []`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(none, "GET", "/explain?format=text"); w.Body.String() != "there is no service\n" {
		t.Errorf("%q", w.Body)
	}
}

func TestTheClientExplains(t *testing.T) {
	o := full()
	o.Service = nil
	s := start(t, o)
	c := &Client{Address: s.Address()}
	e, err := c.Explain(t.Context(), "orders")
	if err != nil || !reflect.DeepEqual(e.Service, sample().Services[0]) {
		t.Errorf("%+v, %v", e, err)
	}
	v, err := c.Verdicts(t.Context())
	if err != nil || len(v.Services) != 4 || v.Services[1] != (Verdict{Service: "mail", Verdict: "unavailable: the registry has not answered yet"}) {
		t.Errorf("%+v, %v", v, err)
	}
	for name, part := range map[string]string{
		"ordres": `admin: there is no service "ordres"; did you mean "orders"? (those there are: gone, mail`,
		"":       "the name of a service is empty",
	} {
		if _, err := c.Explain(t.Context(), name); err == nil || !strings.HasPrefix(err.Error(), "admin: ") || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v\nwant %q", name, err, part)
		}
	}
}

func TestTheClientAsksForAnyName(t *testing.T) {
	const odd = "a b/c%2F?#ü"
	o := full()
	o.Service = known(odd)
	s := start(t, o)
	if e, err := (&Client{Address: s.Address()}).Explain(t.Context(), odd); err != nil || e.Service.Service != odd {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestWhatIsExplainedCannotRewriteTheTerminal(t *testing.T) {
	const evil = "x\x1b[2J\ny"
	e := three()
	e.Service.Service, e.Policy, e.SourceKind, e.Verdict, e.FailOpen, e.Cause = evil, evil, evil, evil, evil, evil
	e.Source.Failing, e.Source.LastError = true, evil
	for i := range e.Endpoints {
		s := &e.Endpoints[i]
		s.ID, s.Address, s.Zone, s.State, s.Verdict, s.Breaker = evil, evil+"!", evil, evil, evil, evil
		s.Errors = []upstream.ErrorNote{{What: evil}}
		s.History = []upstream.Decision{{What: evil, Why: evil}}
	}
	var out strings.Builder
	if err := WriteExplanation(&out, e); err != nil {
		t.Fatal(err)
	}
	if err := WriteVerdicts(&out, &Verdicts{Services: []Verdict{{Service: evil, Verdict: evil}}}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.ContainsAny(got, "\x1b") || strings.Contains(got, "\ny") || strings.Count(got, "x�[2J�y") < 20 {
		t.Errorf("%q", got)
	}
	if WriteExplanation(brokenWriter{}, e) == nil || WriteVerdicts(brokenWriter{}, &Verdicts{}) == nil {
		t.Error("an error of the writer is not reported")
	}
}

// Of thousands of endpoints those are shown that something is wrong with.
func TestALongListShowsWhatIsWrong(t *testing.T) {
	many := func(bad ...int) string {
		e := three()
		e.History = nil
		e.Endpoints = nil
		for i := range 3000 {
			s := upstream.EndpointStatus{ID: fmt.Sprintf("i-%04d", i), State: upstream.StateUsable, Verdict: fine, Weight: 1}
			if slices.Contains(bad, i) {
				s.State, s.Verdict = upstream.StateDown, "down: timed out"
				for n := range maxDecisions + 5 {
					s.History = append(s.History, upstream.Decision{At: ago(time.Hour - time.Duration(n)*time.Second), What: "down", Why: fmt.Sprintf("timed out %d", n)})
				}
			}
			e.Endpoints = append(e.Endpoints, s)
		}
		var out strings.Builder
		if err := WriteExplanation(&out, e); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	text := many(7, 2999)
	for _, part := range []string{
		"i-0000 ", "i-0007 ", "i-0038 ", "i-2999 ", "… and 2960 more, which take their share of the traffic;", "… 50 earlier ones are in",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
	if strings.Contains(text, "SHARE") {
		t.Error("without an attempt there are shares")
	}
	if strings.Contains(text, "i-0039 ") || strings.Contains(text, "timed out 24\n") || !strings.Contains(text, "timed out 25\n") {
		t.Errorf("more is shown than asked for:\n%s", text)
	}
	all := make([]int, 1000)
	for i := range all {
		all[i] = 2 * i
	}
	text = many(all...)
	if strings.Contains(text, "i-0001 ") || !strings.Contains(text, "i-0078 ") || !strings.Contains(text, "… and 2960 more, 960 of which do not take their share;") {
		t.Errorf("%s", text)
	}
}

// inTurn is a policy that goes round.
func inTurn(c upstream.Candidates) upstream.Picker { return &turns{endpoints: c.Endpoints} }

type turns struct {
	endpoints []*upstream.Endpoint
	next      int
}

func (p *turns) Pick(upstream.PickKey, []*upstream.Endpoint) *upstream.Endpoint {
	p.next++
	return p.endpoints[p.next%len(p.endpoints)]
}

// What upstream really says is told as it is meant: the words above are not made up.
func TestARealServiceIsExplained(t *testing.T) {
	now := noon
	s := upstream.New(upstream.Options{
		Name: "orders", Policy: inTurn, MaxEjected: 0.5, Clock: func() time.Time { return now }, Random: func() uint64 { return 0 },
		Breaker: breaker.Settings{ConsecutiveFailures: 5}, Budget: upstream.BudgetOptions{Ratio: 0.2, MinPerSecond: 10},
	})
	s.Feed(discovery.Update{At: now, Instances: []discovery.Instance{
		{ID: "a", Address: "10.0.0.1:80", Weight: 1}, {ID: "b", Address: "10.0.0.2:80", Weight: 1},
	}})
	s.Step()
	for range 12 {
		now = now.Add(10 * time.Millisecond)
		lease, err := s.Acquire(upstream.PickKey{})
		if err != nil {
			t.Fatal(err)
		}
		r := upstream.Result{Latency: time.Millisecond}
		if lease.Endpoint().ID() == "b" {
			r = upstream.Result{Outcome: upstream.ServerError, Status: 500}
		}
		lease.Report(r)
		lease.Release()
		s.Step()
	}
	e := &Explanation{At: now, Service: Service{Policy: "round_robin", SourceKind: "static", Status: s.Status()}}
	if got := e.Endpoints[0].Verdict; got != fine {
		t.Errorf("the verdict about a sound endpoint is %q, and not %q", got, fine)
	}
	var out strings.Builder
	if err := WriteExplanation(&out, e); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"orders: 1 of 2 endpoints take their share of the traffic; 1 ejected, 1 may be\n",
		"1 of 2 usable; 1 ejected, 1 may be at once\n",
		"\n      ejected for another ", ": 5 failures in a row, the last: status 500", "[until 12:00:01.", "\n      5× status 500, last ",
		"discovered", "  ejected", " 5 of 5 ",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in\n%s", part, out.String())
		}
	}
}

func TestErrorsAreShownWhileTheyMatter(t *testing.T) {
	notes := func(last ...time.Duration) (list []upstream.ErrorNote) {
		for i, d := range last {
			list = append(list, upstream.ErrorNote{What: fmt.Sprintf("status %d", 500+i), Count: 2, Last: ago(d)})
		}
		return list
	}
	for _, tt := range []struct {
		verdict string
		errors  []upstream.ErrorNote
		want    []string
	}{
		{fine, notes(time.Second, 59*time.Second, time.Hour), []string{"2× status 500, last 1s ago", "2× status 501, last 59s ago"}},
		{fine, notes(61 * time.Second), nil},
		{"", notes(time.Hour), []string{"2× status 500, last 1h0m ago"}},
		{"down", notes(1, 2, 3, 4), []string{"down", "2× status 500, last 0s ago", "2× status 501, last 0s ago", "2× status 502, last 0s ago"}},
		{fine, []upstream.ErrorNote{{What: strings.Repeat("é ", 100), Count: 1, Last: noon}}, []string{"1× " + strings.Repeat("é ", 79) + "é…" + ", last 0s ago"}},
	} {
		if got := remarks(&upstream.EndpointStatus{State: upstream.StateUsable, Verdict: tt.verdict, Errors: tt.errors}, noon); !slices.Equal(got, tt.want) {
			t.Errorf("%q, %d kinds of error:\ngot  %q\nwant %q", tt.verdict, len(tt.errors), got, tt.want)
		}
	}
}

func TestTheEndIsToldOfWhatEndsByItself(t *testing.T) {
	soon := noon.Add(time.Second)
	for _, tt := range []struct {
		state   upstream.State
		readyAt time.Time
		paused  float64
		want    time.Time
	}{
		{upstream.StateEjected, soon, 0, soon},
		{upstream.StateEjected, soon, 5, soon},
		{upstream.StateEjected, noon, 0, time.Time{}}, // any moment now
		{upstream.StateUsable, time.Time{}, 1, soon},
		{upstream.StateProbing, noon, 1, soon},
		{upstream.StateProbing, noon, 0, time.Time{}},
		{upstream.StateDown, soon, 1, time.Time{}}, // its health check decides
		{upstream.StateUsable, time.Time{}, 0, time.Time{}},
	} {
		if got := until(&upstream.EndpointStatus{State: tt.state, ReadyAt: tt.readyAt, PausedSeconds: tt.paused}, noon); !got.Equal(tt.want) {
			t.Errorf("%s, ready at %v, paused for %v s: until %v, want %v", tt.state, tt.readyAt, tt.paused, got, tt.want)
		}
	}
}

func TestTimesAreThoseOfTheSidecarsZone(t *testing.T) {
	here := noon.In(time.FixedZone("CEST", 2*60*60))
	for at, want := range map[time.Time]string{
		noon: "14:00:00.000", noon.Add(10 * time.Hour): "2026-05-05 00:00:00", noon.Add(-14 * time.Hour): "00:00:00.000", noon.Add(-15 * time.Hour): "2026-05-03 23:00:00",
	} {
		if got := clock(at, here); got != want {
			t.Errorf("clock(%v) = %s, want %s", at, got, want)
		}
	}
}
