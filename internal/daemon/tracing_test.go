package daemon

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sidecar/tracing"
)

// A collector takes spans, and keeps the names of the services that they are of.
type collector struct {
	mu       sync.Mutex
	services []string // one per span
	ids      map[string]bool
}

func newCollector(t *testing.T) (c *collector, url string) {
	c = &collector{ids: make(map[string]bool)}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return c, server.URL
}

func (c *collector) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	zip, err := gzip.NewReader(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	raw, err := io.ReadAll(zip)
	var data otlp.TracesData
	if err != nil || proto.Unmarshal(raw, &data) != nil {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range data.ResourceSpans {
		resource := map[string]string{}
		for _, a := range r.Resource.Attributes {
			resource[a.Key] = a.Value.GetStringValue()
		}
		c.ids[resource["service.instance.id"]] = true
		for _, s := range r.ScopeSpans {
			for range s.Spans {
				c.services = append(c.services, resource["service.name"])
			}
		}
	}
}

// got is what has come, by service.name, and from how many instances.
func (c *collector) got() (spans map[string]int, instances int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	spans = map[string]int{}
	for _, s := range c.services {
		spans[s]++
	}
	return spans, len(c.ids)
}

func answering(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, req.Header.Get("traceparent"))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// ask sends a request through the first listener, and returns the traceparent that the endpoint has
// got.
func (r *reloading) ask(t *testing.T) string {
	t.Helper()
	conn := r.dial(t, 0)
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	return body
}

func traced(url, service string) string {
	return fmt.Sprintf("[tracing]\nendpoint = %q\nsample = 1\nservice = %q\n", url, service)
}

// TestTracingComesChangesAndGoes has reloads switch it on, send to another collector under another
// name, and switch it off, with all that was recorded delivered, and counted in one series.
func TestTracingComesChangesAndGoes(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		first, firstURL := newCollector(t)
		second, secondURL := newCollector(t)
		service := text("orders", "http", "127.0.0.1:0", answering(t))
		r := runReloading(t, adminOff+service)
		if got := r.ask(t); got != "" {
			t.Errorf("traceparent %q without tracing", got)
		}
		r.reload(t, adminOff+traced(firstURL, "one")+service)
		for range 3 {
			if got := r.ask(t); len(got) != tracing.TraceparentLen || !strings.HasSuffix(got, "-01") {
				t.Errorf("traceparent %q", got)
			}
		}
		r.reload(t, adminOff+traced(secondURL, "two")+service)
		r.ask(t)
		r.reload(t, adminOff+service)
		if got := r.ask(t); got != "" {
			t.Errorf("traceparent %q after tracing", got)
		}
		r.retiring.Wait()
		if spans, ids := first.got(); spans["one"] != 6 || len(spans) != 1 || ids != 1 {
			t.Errorf("the first collector got %v of %d instances", spans, ids)
		}
		if spans, ids := second.got(); spans["two"] != 2 || len(spans) != 1 || ids != 1 {
			t.Errorf("the second collector got %v of %d instances", spans, ids)
		}
		for id := range first.ids {
			if !second.ids[id] {
				t.Error("a reload has made another instance of it")
			}
		}
		families, err := r.metrics.Gatherer().Gather()
		if err != nil {
			t.Fatal(err)
		}
		exported := 0.0
		for _, f := range families {
			if f.GetName() == "sidecar_tracing_spans_total" {
				exported = f.GetMetric()[1].GetCounter().GetValue()
				if label := f.GetMetric()[1].GetLabel()[0].GetValue(); label != "exported" {
					t.Errorf("label %s", label)
				}
			}
		}
		if exported != 8 {
			t.Errorf("%v spans are counted", exported)
		}
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}

func TestAStopSendsTheLastSpans(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		c, url := newCollector(t)
		r := runReloading(t, adminOff+traced(url, "one")+text("orders", "http", "127.0.0.1:0", answering(t)))
		r.ask(t)
		if err := r.end(t); err != nil {
			t.Error(err)
		}
		if spans, _ := c.got(); spans["one"] != 2 {
			t.Errorf("the collector got %v", spans)
		}
	})
}

// A collector that is not there is no reason not to start, and for a stop none to wait. The
// operator is told when it stays so.
func TestACollectorThatIsNotThere(t *testing.T) {
	wantNothingLeft(t, func(t *testing.T) {
		r := runReloading(t, adminOff+traced("http://127.0.0.1:1", "one")+text("orders", "http", "127.0.0.1:0", answering(t)))
		r.ask(t)
		st := r.state.Load()
		for deadline := time.Now().Add(patience); st.tracer.Trouble() == nil; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("there is no trouble")
			}
		}
		since := st.tracer.Trouble().Since
		if lines := st.tracingNotice(since.Add(tracingPatience - 1)); len(lines) != 0 {
			t.Errorf("too early: %q", lines)
		}
		wantLines(t, st.tracingNotice(since.Add(tracingPatience)), "traces have not reached http://127.0.0.1:1 for 1m0s: ")
		if err := r.end(t); err != nil {
			t.Error(err)
		}
	})
}
