package consul

import (
	"context"
	"errors"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// calling is a Call that runs.
func (r *registry) calling(method, path string, query url.Values, in, out any) <-chan error {
	done := make(chan error, 1)
	go func() { done <- r.client.Call(r.t.Context(), method, path, query, in, out) }()
	return done
}

func TestCallCarriesAllThatTheAgentNeeds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "secret")
	story(t, Options{TokenFile: path, Namespace: "team", Partition: "east", Datacenter: "dc7"}, func(t *testing.T, r *registry) {
		params := url.Values{"replace-existing-checks": {"true"}}
		var out struct{ Index int }
		done := r.calling("PUT", "/v1/agent/service/register%2Fx", params, map[string]int{"Port": 80}, &out)
		q := r.query(time.Second)
		body, _ := io.ReadAll(q.Body)
		if q.Method != "PUT" || q.URL.EscapedPath() != "/v1/agent/service/register%2Fx" || string(body) != `{"Port":80}` {
			t.Errorf("%s %s %s", q.Method, q.URL, body)
		}
		if got := q.URL.RawQuery; got != "ns=team&partition=east&replace-existing-checks=true" {
			t.Errorf("parameters %s", got)
		}
		if got := q.Header.Get("X-Consul-Token"); got != "secret" {
			t.Errorf("token %q", got)
		}
		if len(params) != 1 {
			t.Errorf("the caller's parameters were changed: %v", params)
		}
		q.reply <- response{status: 200, body: `{"Index":7}`}
		if err := <-done; err != nil || out.Index != 7 {
			t.Errorf("%v, %+v", err, out)
		}

		put(t, path, "another")
		done = r.calling("GET", "/v1/agent/self", url.Values{"ns": {"own"}}, nil, nil)
		q = wantToken(t, r, "another")
		if got := q.URL.RawQuery; got != "ns=own&partition=east" || q.Method != "GET" {
			t.Errorf("%s %s", q.Method, got)
		}
		q.reply <- response{status: 200, body: "not even JSON"}
		if err := <-done; err != nil {
			t.Errorf("an answer that nobody wants to read: %v", err)
		}
	})
}

func TestCallSaysWhatFailedAndKeepsTheStatus(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"refused":      {403, "Permission denied", "refuses the token in consul.token (403: Permission denied); give it service:write"},
		"forgotten":    {404, `Unknown check ID "x".`, `does not know it (404: Unknown check ID "x".); register it again`},
		"old agents":   {500, `CheckID "x" does not have associated TTL`, `cannot answer (500: CheckID "x" does not have associated TTL); see the agent's log`},
		"rejected":     {400, "Request decode failed", "rejects what it was sent (400: Request decode failed); correct what is registered"},
		"a long story": {500, strings.Repeat("x ", 10_000), "…"},
		"no JSON":      {200, "<html>", "that is no answer of Consul"},
		"nothing":      {200, "", "it closed the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{Token: "secret"}, func(t *testing.T, r *registry) {
				var out any
				done := r.calling("PUT", "/v1/agent/check/pass/x", nil, nil, &out)
				q := r.query(time.Second)
				q.fail(c.status, c.body)
				err := <-done
				if err == nil || !strings.HasPrefix(err.Error(), "consul: PUT /v1/agent/check/pass/x: agent at 127.0.0.1:8500") ||
					!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || len(err.Error()) > 500 {
					t.Fatalf("error %v\nwant %s", err, c.want)
				}
				var status interface{ StatusCode() int }
				if found := errors.As(err, &status); found != (c.status != 200) || found && status.StatusCode() != c.status {
					t.Errorf("status %v in %v", status, err)
				}
			})
		})
	}
}

func TestCallEndsAtItsDeadlineOrWithItsContext(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		start := time.Now()
		done := r.calling("GET", "/v1/agent/self", nil, nil, nil)
		r.query(time.Second) // never answered
		err := <-done
		if after := time.Since(start); after != 10*time.Second {
			t.Errorf("given up after %v", after)
		}
		if err == nil || !strings.Contains(err.Error(), "consul: GET /v1/agent/self: agent at 127.0.0.1:8500: no answer within 10s; it hangs, or") {
			t.Errorf("error %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go r.query(time.Second)
		if err := r.client.Call(ctx, "GET", "/v1/agent/self", nil, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if err := r.client.Call(t.Context(), "PUT", "/v1/x", nil, func() {}, nil); err == nil || !strings.Contains(err.Error(), "has no form in JSON") {
			t.Errorf("error %v", err)
		}
	})
	story(t, Options{TokenFile: "/nonexistent/token"}, func(t *testing.T, r *registry) {
		err := r.client.Call(t.Context(), "GET", "/v1/agent/self", nil, nil, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "consul: GET /v1/agent/self: token file: ") || r.dialled.Load() != 0 {
			t.Errorf("error %v", err)
		}
	})
}

// A call that is refused makes the file be read again, as a query does.
func TestRefusedCallUsesTheNewToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "old")
	story(t, Options{TokenFile: path}, func(t *testing.T, r *registry) {
		changed := r.client.TokenChanged(t.Context())
		done := r.calling("PUT", "/v1/x", nil, nil, nil)
		wantToken(t, r, "old").fail(403, "ACL not found")
		if err := <-done; err == nil || !strings.Contains(err.Error(), "does not know the token in "+path) {
			t.Errorf("error %v", err)
		}
		put(t, path, "new")
		<-changed
		done = r.calling("PUT", "/v1/x", nil, nil, nil)
		wantToken(t, r, "new").fail(200, "")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
