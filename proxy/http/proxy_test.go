package http

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"sidecar/balancer"
	"sidecar/discovery"
	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/upstream"
)

// A rig is a proxy in front of some instances.
type rig struct {
	t       testing.TB
	group   *eventloop.Group
	service *upstream.Service
	proxy   *Proxy
	address string
	metrics *metrics.Registry
}

type fixed []discovery.Instance

func (f fixed) Watch(ctx context.Context, report func(discovery.Update)) {
	report(discovery.Update{Instances: f, At: time.Now()})
	<-ctx.Done()
}

func newRig(t testing.TB, change func(*Options), addresses ...string) *rig {
	t.Helper()
	var instances fixed
	for _, a := range addresses {
		instances = append(instances, discovery.Instance{ID: a, Address: a, Weight: 1})
	}
	log := zap.NewNop()
	if tt, ok := t.(*testing.T); ok {
		log = zaptest.NewLogger(tt)
	}
	r := &rig{t: t, metrics: metrics.New(metrics.Options{Loops: 1})}
	var err error
	r.group, err = eventloop.NewGroup(eventloop.Options{Loops: 1, OnPanic: func(v any, stack []byte) { t.Errorf("panic: %v\n%s", v, stack) }})
	if err != nil {
		t.Fatal(err)
	}
	r.service = upstream.New(upstream.Options{
		Name: "orders", Source: instances, Policy: balancer.P2C(), Log: log,
		Budget: upstream.BudgetOptions{Ratio: 0.2, MinPerSecond: 10},
	})
	o := Options{
		Service: r.service, Name: "orders", Log: log,
		Requests: r.metrics.HTTP("orders"), Listener: r.metrics.Listener("orders", "http"),
		Forward: Forwarding{Proto: true, Host: true, Via: "sidecar"},
		Retry:   Retry{Attempts: 2, Connect: true, Reset: true, Timeout: true},

		HeadTimeout: 10 * time.Second, ClientIdle: time.Minute, ConnectTimeout: time.Second,
		RequestTimeout: 15 * time.Second, UpstreamIdle: 4 * time.Second, StreamIdle: time.Hour, PoolPerEndpoint: 128,
	}
	if change != nil {
		change(&o)
	}
	r.proxy = New(r.group, o)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { r.service.Run(ctx); close(ran) }()
	<-r.service.Known()
	ln, err := r.group.Listen("tcp", "127.0.0.1:0", r.proxy, eventloop.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.address = ln.Addr().String()
	t.Cleanup(func() {
		ln.Close()
		done, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		if err := r.proxy.Drain(done); err != nil {
			t.Errorf("drain: %v", err)
		}
		cancel()
		<-ran
		r.group.Close()
		for _, l := range r.group.Loops() {
			if s := l.Stats(); s.Conns != 0 || s.Tasks != 0 || s.Panics != 0 {
				t.Errorf("left on the loop: %+v", s)
			}
		}
		for _, e := range r.service.Snapshot().Endpoints {
			if e.InFlight() != 0 {
				t.Errorf("%s has %d in flight", e.Address(), e.InFlight())
			}
		}
	})
	return r
}

func origin(t testing.TB, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestForwardsRequestsAndResponses(t *testing.T) {
	echo := origin(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", fmt.Sprintf("%s %s %s %s %s", r.Method, r.URL, r.Host, r.Header.Get("X-Forwarded-For"), r.Header.Get("Via")))
		switch r.URL.Path {
		case "/chunked":
			for i := range 10 {
				fmt.Fprintf(w, "part %d ", i)
				w.(http.Flusher).Flush()
			}
		case "/close":
			w.Header().Set("Connection", "close")
		}
		w.Write(body)
	})
	r := newRig(t, nil, echo)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, c := range []struct {
		name, method, path string
		body               io.Reader
		want               string
	}{
		{"get", "GET", "/a?b=c", nil, ""},
		{"post", "POST", "/", strings.NewReader("hallo"), "hallo"},
		{"a large body", "PUT", "/", bytes.NewReader(big), string(big)},
		{"a large body in chunks", "PUT", "/", io.MultiReader(bytes.NewReader(big)), string(big)},
		{"chunks in return", "GET", "/chunked", nil, "part 0 part 1 part 2 part 3 part 4 part 5 part 6 part 7 part 8 part 9 "},
		{"a closing endpoint", "GET", "/close", nil, ""},
		{"and again", "GET", "/", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, _ := http.NewRequest(c.method, "http://"+r.address+c.path, c.body)
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || string(got) != c.want || resp.StatusCode != 200 {
				t.Errorf("status %d, %d bytes of %d, %v", resp.StatusCode, len(got), len(c.want), err)
			}
			seen := fmt.Sprintf("%s %s %s 127.0.0.1 1.1 sidecar", c.method, c.path, r.address)
			if resp.Header.Get("X-Seen") != seen {
				t.Errorf("the endpoint saw %q, not %q", resp.Header.Get("X-Seen"), seen)
			}
		})
	}
}

func TestDeadEndpointIsPassedOver(t *testing.T) {
	dead, _ := net.Listen("tcp", "127.0.0.1:0")
	dead.Close()
	live := origin(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	r := newRig(t, nil, dead.Addr().String(), live)
	for range 50 {
		resp, err := http.Post("http://"+r.address, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
		resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestOwnErrors(t *testing.T) {
	dead, _ := net.Listen("tcp", "127.0.0.1:0")
	dead.Close()
	for _, c := range []struct {
		name, want string
		status     int
		addresses  []string
	}{
		{"no instances", "no-instances", 503, nil},
		{"refused", "connect-failed", 502, []string{dead.Addr().String()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil, c.addresses...)
			resp, err := http.Get("http://" + r.address)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.status || resp.Header.Get("Sidecar-Error") != c.want {
				t.Errorf("%d %q %q", resp.StatusCode, resp.Header.Get("Sidecar-Error"), body)
			}
			t.Logf("%s", body)
			http.DefaultClient.CloseIdleConnections()
		})
	}
}
