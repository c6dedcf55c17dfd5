package http

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// client is one that speaks HTTP/2 with prior knowledge, or HTTP/1.1 only.
func newClient(t *testing.T, two bool) *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(two)
	p.SetHTTP1(!two)
	tr := &http.Transport{Protocols: p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// serveBoth is an origin that speaks HTTP/2 with prior knowledge, and HTTP/1.1.
func serveBoth(t *testing.T, handler http.HandlerFunc) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	p.SetHTTP1(true)
	s := &http.Server{Handler: handler, Protocols: p}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func TestAllCombinationsOfProtocolsAreForwarded(t *testing.T) {
	for _, from := range []string{"HTTP/1.1", "HTTP/2.0"} {
		for to, upstream := range map[string]Upstream{"HTTP/1.1": UpstreamHTTP1, "HTTP/2.0": UpstreamH2C} {
			t.Run(from+" to "+to, func(t *testing.T) {
				origin := serveBoth(t, func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil || r.Proto != to {
						t.Errorf("%s, %v", r.Proto, err)
					}
					w.Header().Set("Trailer", "X-End")
					w.Header().Set("X-Got", r.Header.Get("X-Sent")+" "+r.URL.String()+" "+r.Host)
					_, _ = w.Write([]byte(strings.ToUpper(string(body))))
					w.Header().Set("X-End", "all")
				})
				r := newRig(t, setup{origins: []string{origin}, options: func(o *Options) { o.Upstream = upstream }})
				client := newClient(t, from == "HTTP/2.0")
				for _, body := range []string{"", "hello", strings.Repeat("x", 300<<10)} {
					req, _ := http.NewRequest("POST", "http://"+r.listener.Addr().String()+"/a?b=c", strings.NewReader(body))
					req.Header.Set("X-Sent", "me")
					req.Host = "orders.internal"
					resp, err := client.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(got) != strings.ToUpper(body) || resp.Proto != from || resp.Header.Get("X-Got") != "me /a?b=c orders.internal" || resp.Trailer.Get("X-End") != "all" {
						t.Errorf("%d bytes: %d back, %v, %s %v trailers %v", len(body), len(got), err, resp.Proto, resp.Header, resp.Trailer)
					}
				}
			})
		}
	}
}

// counting counts the connections that a listener accepts.
type counting struct {
	net.Listener
	accepted atomic.Int64
}

func (c *counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.accepted.Add(1)
	}
	return conn, err
}

func TestRequestsThatComeTogetherShareAConnection(t *testing.T) {
	const n = 64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{Listener: l}
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	var together sync.WaitGroup
	together.Add(n)
	s := &http.Server{Protocols: p, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		together.Done()
		together.Wait() // all are there at once
		_, _ = w.Write([]byte("ok"))
	})}
	go func() { _ = s.Serve(c) }()
	t.Cleanup(func() { s.Close() })

	r := newRig(t, setup{origins: []string{l.Addr().String()}, options: func(o *Options) { o.Upstream = UpstreamH2C }})
	client := newClient(t, true)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			resp, err := client.Get("http://" + r.listener.Addr().String() + "/")
			if err != nil {
				t.Error(err)
				return
			}
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ok" || resp.StatusCode != 200 {
				t.Errorf("%d %q %v", resp.StatusCode, body, err)
			}
			resp.Body.Close()
		})
	}
	all.Wait()
	if got, loops := c.accepted.Load(), int64(len(r.group.Loops())); got > loops {
		t.Errorf("%d connections for %d loops", got, loops)
	}
	if e := r.service.Snapshot().Endpoints[0]; e.Connections() != c.accepted.Load() {
		t.Errorf("%d connections are counted, %d were accepted", e.Connections(), c.accepted.Load())
	}
	s.Close()
	r.until("the connections are taken off the account", func() bool { return r.service.Snapshot().Endpoints[0].Connections() == 0 })
}

// Whoever waits for another one's connection hears that it could not be made.
func TestAllHearThatAConnectionCannotBeMade(t *testing.T) {
	r := newRig(t, setup{origins: []string{closedPort(t)}, options: func(o *Options) { o.Upstream = UpstreamH2C }})
	client := newClient(t, true)
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			resp, err := client.Get("http://" + r.listener.Addr().String() + "/")
			if err != nil {
				t.Error(err)
				return
			}
			if got := resp.Header.Get("Sidecar-Error"); got != "connect-failed" && got != "all-ejected" && got != "no-other-endpoint" {
				t.Errorf("%d %s", resp.StatusCode, got)
			}
			resp.Body.Close()
		})
	}
	all.Wait()
}

func TestADrainEndsConnectionsOfHTTP2(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	origin := serveBoth(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-goOn
		_, _ = w.Write([]byte("late"))
	})
	r := newRig(t, setup{origins: []string{origin}})
	client := newClient(t, true)
	got := make(chan string, 1)
	go func() {
		resp, err := client.Get("http://" + r.listener.Addr().String() + "/")
		if err != nil {
			got <- err.Error()
			return
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		got <- fmt.Sprint(string(body), err)
	}()
	<-arrived
	drained := make(chan error, 1)
	go func() { drained <- r.proxy.Drain(context.Background()) }()
	close(goOn)
	if s := <-got; s != "late<nil>" {
		t.Errorf("the request that was under way: %s", s)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// An endpoint that allows no streams is asked once, not for ever.
func TestAnEndpointThatAllowsNoStreamsIsLeftAlone(t *testing.T) {
	address, accepted := refusing(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
	r := newRig(t, setup{origins: []string{address}, options: func(o *Options) { o.Upstream, o.Retry.Attempts = UpstreamH2C, 0 }})
	resp, err := newClient(t, true).Get("http://" + r.listener.Addr().String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if n := accepted.Load(); resp.StatusCode != 502 || n != 1 {
		t.Errorf("%d after %d connections", resp.StatusCode, n)
	}
}

// refusing is an endpoint that takes no stream, and counts its connections.
func refusing(t *testing.T, settings ...http2.Setting) (string, *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted := new(atomic.Int64)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
					return
				}
				f := http2.NewFramer(c, c)
				_ = f.WriteSettings(settings...)
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					if frame.Header().Type == http2.FrameHeaders {
						_ = f.WriteRSTStream(frame.Header().StreamID, http2.ErrCodeRefusedStream)
					}
				}
			}()
		}
	}()
	return l.Addr().String(), accepted
}

// What an endpoint has not processed may be sent again, whatever it is, and is not held against it.
func TestARefusedStreamIsSentElsewhere(t *testing.T) {
	good := serveBoth(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	for _, on := range []bool{true, false} {
		bad, _ := refusing(t)
		r := newRig(t, setup{origins: []string{bad, good}, options: func(o *Options) {
			o.Upstream, o.Retry.Refused = UpstreamH2C, on
			o.Retry.Backoff, o.Retry.BackoffMax = time.Millisecond, time.Millisecond
		}})
		resp, err := newClient(t, true).Post("http://"+r.listener.Addr().String()+"/", "text/plain", strings.NewReader("once"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if ok := resp.StatusCode == 200 && string(body) == "once"; ok != on {
			t.Errorf("retried %v: %d %q", on, resp.StatusCode, body)
		}
		if n := r.metric("sidecar_http_retries_total", "refused-stream"); (n == 1) != on {
			t.Errorf("%v retries", n)
		}
		if c := r.outcomesOf(0); c.Failures() != 0 {
			t.Errorf("the endpoint is blamed: %+v", c)
		}
	}
}
