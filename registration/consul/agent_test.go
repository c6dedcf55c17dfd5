package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sidecar/registration"
)

// patience is when a condition that is polled counts as never to come. It is generous, for
// machines that are busy with other tests.
const patience = 30 * time.Second

// An apiAgent makes calls of an agent, as discovery/consul's Client does.
type apiAgent struct {
	address string
	client  *http.Client
	token   string
}

func newAgent(t *testing.T, address string) *apiAgent {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &apiAgent{address: address, client: &http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

// An answerError is an answer that is not a success.
type answerError struct {
	code int
	text string
}

func (e answerError) Error() string   { return fmt.Sprintf("%d: %s", e.code, e.text) }
func (e answerError) StatusCode() int { return e.code }

func (a *apiAgent) Call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.address+path, body)
	if err != nil {
		return err
	}
	req.URL.RawQuery = query.Encode()
	req.Header.Set("X-Consul-Token", a.token)
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("consul: %s %s: %w", method, path, answerError{resp.StatusCode, strings.TrimSpace(string(text))})
	case out != nil:
		return json.Unmarshal(text, out)
	}
	return nil
}

func (a *apiAgent) TokenChanged(context.Context) <-chan struct{} { return nil }

// must makes a call that has to succeed.
func (a *apiAgent) must(t *testing.T, method, path string, in, out any) {
	t.Helper()
	path, query, _ := strings.Cut(path, "?")
	values, err := url.ParseQuery(query)
	if err == nil {
		err = a.Call(t.Context(), method, path, values, in, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A seen service is one as others look it up, with the states of its checks.
type seen struct {
	Service struct {
		ID, Address string
		Port        int
		Tags        []string
		Meta        map[string]string
		Weights     weights
	}
	Checks []struct{ CheckID, Name, Status, Output, Notes, Type string }
}

// state of its check with this ID; empty: there is none.
func (s seen) state(checkID string) string {
	for _, c := range s.Checks {
		if c.CheckID == checkID {
			return c.Status
		}
	}
	return ""
}

// lookup is what the catalog has of the ID, if anything.
func (a *apiAgent) lookup(t *testing.T, name, id string) (s seen, ok bool) {
	t.Helper()
	var all []seen
	if err := a.Call(t.Context(), http.MethodGet, "/v1/health/service/"+name, url.Values{"consistent": {""}}, nil, &all); err != nil {
		t.Log(err)
		return seen{}, false
	}
	for _, s := range all {
		if s.Service.ID == id {
			return s, true
		}
	}
	return seen{}, false
}

// becomes waits until others see the announcement's check in this state.
func (a *apiAgent) becomes(t *testing.T, an registration.Announcement, state string) seen {
	t.Helper()
	var last seen
	eventually(t, an.ID+" is "+state, func() bool {
		s, ok := a.lookup(t, an.Name, an.ID)
		last = s
		return ok && s.state("service:"+an.ID) == state
	})
	return last
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is not so that %s", patience, what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// A running Registrar.
type running struct {
	*registration.Registrar
	stop func()
}

// run starts a Registrar of the announcement.
func run(t *testing.T, a Agent, an registration.Announcement, h registration.Health) running {
	t.Helper()
	registry := New(a)
	r := registration.New(registration.Options{Announcement: an, Registry: registry, Kind: "consul"})
	r.SetHealth(h)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer registry.Close()
		r.Run(ctx)
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return running{r, stop}
}
