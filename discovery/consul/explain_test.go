package consul

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestFailuresNameTheNextStep(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"unknown token":     {403, "ACL not found", "agent at 127.0.0.1:8500 does not know the token in consul.token (403: ACL not found); it was deleted"},
		"weak token":        {403, "Permission denied", "refuses the token in consul.token (403: Permission denied); give it service:read and node:read"},
		"limited":           {429, "Your IP is issuing too many concurrent connections", "limits.http_max_conns_per_client or limits.request_limits of the agent (1 services are watched)"},
		"no leader":         {500, "No cluster leader", "has no leader to ask (500: No cluster leader); restore a quorum"},
		"no servers":        {500, "No known Consul servers", "consul members"},
		"no datacenter":     {500, "No path to datacenter", "correct consul.datacenter"},
		"bad filter":        {500, "Failed to create boolean expression evaluator: 1:4 (3): no match found", "correct the service's filter"},
		"namespace":         {400, "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature", "leave namespace and partition out"},
		"anything":          {500, "rpc error:\n  broken", "cannot answer (500: rpc error: broken); see the agent's log"},
		"no text":           {503, "", "cannot answer (503: Service Unavailable)"},
		"a long page":       {502, strings.Repeat("x ", 1000), "…"},
		"not Consul":        {404, "404 page not found", "has no Consul API at this address"},
		"redirect":          {302, "", "has no Consul API at this address"},
		"plain to TLS":      {400, "Client sent an HTTP request to an HTTPS server.", "write consul.address as https://"},
		"bad query":         {400, "Invalid tag", "rejects the query (400: Invalid tag)"},
		"garbage":           {200, "<html>", "that is no answer of Consul"},
		"another JSON":      {200, `{"a":1}`, "that is no answer of Consul"},
		"half an answer":    {200, `[{"Node":`, "it closed the connection"},
		"entries of nobody": {200, `[null,{}]`, "no healthy instance is usable: an entry without node or service"},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{Token: "secret"}, func(t *testing.T, r *registry) {
				w := r.watch(Query{Service: "orders"})
				r.wantQuery(orders, 0).reply <- response{status: c.status, body: c.body}
				err := w.wantErr().Err
				if text := err.Error(); !strings.HasPrefix(text, `consul: watch "orders": `) || !strings.Contains(text, c.want) || strings.Contains(text, "secret") || len(text) > 500 {
					t.Errorf("error %v\nwant %s", err, c.want)
				}
				if code := statusOf(err); c.status != 200 && code != c.status {
					t.Errorf("the cause is lost: status %d, want %d", code, c.status)
				}
				r.wantQuery(orders, 0) // and it goes on
			})
		})
	}
}

func TestWhoeverRedirectsDoesNotSeeTheToken(t *testing.T) {
	story(t, Options{Token: "secret"}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		for range 3 {
			r.wantQuery(orders, 0).send(response{status: 307, header: map[string]string{"Location": "http://elsewhere:8500/v1/kv/elsewhere"}})
			w.wantErr()
		}
	})
}

func TestAnswerThatNeverEndsIsNotRead(t *testing.T) {
	body := boundedBody{ReadCloser: io.NopCloser(strings.NewReader("0123456789")), left: 4}
	got, err := io.ReadAll(&body)
	if string(got) != "0123" || !errors.Is(err, errTooLarge) {
		t.Fatalf("read %q, %v", got, err)
	}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for some := make([]byte, 1<<20); ; {
			if _, err := w.Write(some); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	client := newClient(t, Options{Address: server.URL})
	err = client.Call(t.Context(), http.MethodGet, "/v1/agent/self", nil, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "the answer is larger than 64 MiB; that is no answer of Consul: check what listens there") {
		t.Errorf("error %v", err)
	}
}
