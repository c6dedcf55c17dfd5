package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// port is that of the listener for a service.
func port(t *testing.T, s *sidecar, service string) string {
	t.Helper()
	return strconv.Itoa(portOf(s.address(service)))
}

// h2Client speaks HTTP/2 with prior knowledge, all of it on one connection.
func h2Client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols), MaxConnsPerHost: 1}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// plainClient speaks HTTP/1.1.
func plainClient(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// ask2 makes a request, and returns the answer with its body.
func ask2(t *testing.T, c *http.Client, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, url, err)
		return &http.Response{}, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s %s: %v", method, url, err)
	}
	return resp, string(text)
}

// echoHTTP starts a server of HTTP/1.1 and HTTP/2 with prior knowledge that gives bodies back,
// with a trailer.
func echoHTTP(t *testing.T) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Read")
		w.Header().Set("Proto", r.Proto)
		body, err := io.ReadAll(r.Body) // net/http's server of HTTP/1.1 reads no more when it answers
		_, _ = w.Write(body)            // a client that has gone sees to itself
		w.Header().Set("Read", fmt.Sprint(len(body), " ", err))
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// Streams of one connection are balanced each for itself, over origins that know HTTP/1.1 only.
func TestClientsOfHTTP2ReachOriginsOfHTTP1(t *testing.T) {
	t.Parallel()
	const requests, clients = 600, 12
	origins := serveOrigins(t, "orders-1", "orders-2", "orders-3")
	s := serving(t, static("orders", `balancer.policy = "round_robin"`, addresses(origins)...))
	c, url := h2Client(t), "http://"+s.address("orders")
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range requests / clients {
				resp, body := ask2(t, c, http.MethodGet, url+"/", nil)
				if want := resp.Header.Get(originHeader) + " answers\n"; resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK || body != want {
					t.Errorf("%s %s: %q, want %q", resp.Proto, resp.Status, body, want)
				}
			}
		})
	}
	all.Wait()
	for _, o := range origins {
		if n := o.served.Load(); n < 0.95*requests/3 || n > 1.05*requests/3 {
			t.Errorf("%s has had %d of %d requests", o.name, n, requests)
		}
	}
	if n := s.document().Listeners[0].Accepted; n != 1 {
		t.Errorf("%d connections were accepted, want one", n)
	}
}

// Bodies and trailers pass whatever the two sides speak.
func TestBodiesBetweenHTTP1AndHTTP2(t *testing.T) {
	t.Parallel()
	at := echoHTTP(t)
	s := serving(t, static("one", `upstream_protocol = "http1"`, at)+static("two", `upstream_protocol = "h2c"`, at))
	body := strings.Repeat("0123456789abcdef", 1<<16)
	for client, c := range map[string]*http.Client{"HTTP/1.1": plainClient(t), "HTTP/2.0": h2Client(t)} {
		for service, proto := range map[string]string{"one": "HTTP/1.1", "two": "HTTP/2.0"} {
			url := "http://" + s.address(service) + "/"
			for name, r := range map[string]io.Reader{"of known length": strings.NewReader(body), "of unknown length": io.MultiReader(strings.NewReader(body))} {
				resp, got := ask2(t, c, http.MethodPost, url, r)
				if resp.Proto != client || resp.Header.Get("Proto") != proto {
					t.Errorf("%s to %s: it was %s to %s", client, proto, resp.Proto, resp.Header.Get("Proto"))
				}
				if got != body || resp.Trailer.Get("Read") != fmt.Sprint(len(body), " ", nil) {
					t.Errorf("%s to %s, a body %s: %d of %d bytes, trailers %v", client, proto, name, len(got), len(body), resp.Trailer)
				}
			}
		}
	}
}

// A call of gRPC goes to its server in HTTP/2, however it has come.
func TestACallOfGRPCInHTTP1(t *testing.T) {
	t.Parallel()
	_, s, _ := grpcCalls(t, "")
	message, err := proto.Marshal(wrapperspb.Bytes([]byte("hello")))
	if err != nil {
		t.Fatal(err)
	}
	frame := append([]byte{0, 0, 0, 0, byte(len(message))}, message...) // it is not compressed, and has so many bytes
	w := connect(t, s.address("calls"))
	for range 3 {
		if _, err := fmt.Fprintf(w, "POST %s HTTP/1.1\r\nHost: e2e\r\nTE: trailers\r\nContent-Type: application/grpc\r\nContent-Length: %d\r\n\r\n%s",
			methodEcho, len(frame), frame); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(w.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != string(frame) || resp.Trailer.Get("Grpc-Status") != "0" || resp.Header.Get(originHeader) != "calls-1" {
			t.Errorf("%s %v, %q, %v, trailers %v", resp.Status, resp.Header, body, err, resp.Trailer)
		}
	}
}

// installed runs a program to its end, which make test-deps has installed.
func installed(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("there is no %s: make test-deps installs it", name)
	}
	p := launch(t, exec.Command(path, args...))
	if end := p.wait(); end.ExitCode() != 0 {
		t.Errorf("%s: %v\n%s%s", name, end, &p.out, &p.err)
	}
	return p.out.String()
}

func TestCurlSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "orders-1")
	s := serving(t, static("orders", "", o.address))
	out := installed(t, "curl", "--silent", "--show-error", "--http2-prior-knowledge", "--write-out", "%{http_version} %{http_code}",
		"http://"+s.address("orders")+"/")
	if want := "orders-1 answers\n2 200"; out != want {
		t.Errorf("curl says %q, want %q", out, want)
	}
	body := installed(t, "curl", "--silent", "--show-error", "--http2-prior-knowledge", "--data-binary", strings.Repeat("x", 100_000),
		"http://"+s.address("orders")+"/head")
	if !strings.Contains(body, "Content-Length: 100000\r\n") {
		t.Errorf("the origin has seen %q", body)
	}
}

func TestH2loadFindsNoFailure(t *testing.T) {
	t.Parallel()
	const requests = 8000
	origins := serveOrigins(t, "orders-1", "orders-2")
	s := serving(t, static("orders", "", addresses(origins)...))
	out := installed(t, "h2load", "-n", strconv.Itoa(requests), "-c", "8", "-m", "32", "http://"+s.address("orders")+"/")
	want := fmt.Sprintf("requests: %[1]d total, %[1]d started, %[1]d done, %[1]d succeeded, 0 failed, 0 errored, 0 timeout", requests)
	if !strings.Contains(out, want) || !regexp.MustCompile(fmt.Sprintf("status codes: %d 2xx", requests)).MatchString(out) {
		t.Errorf("h2load says:\n%s", out)
	}
}
