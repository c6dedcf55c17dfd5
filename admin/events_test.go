package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"sidecar/upstream"
)

// A teller makes events that are numbered.
type teller struct {
	made atomic.Int64
	cost time.Duration
}

func (tl *teller) event() ([]byte, error) {
	time.Sleep(tl.cost)
	return fmt.Appendf(nil, "%d", tl.made.Add(1)), nil
}

// heard takes what a listener has been told by now.
func heard(events chan []byte) (all []string) {
	for {
		select {
		case e, on := <-events:
			if !on {
				return append(all, "end")
			}
			all = append(all, string(e))
		default:
			return all
		}
	}
}

func wantHeard(t *testing.T, events chan []byte, want string) {
	t.Helper()
	if got := strings.Join(heard(events), " "); got != want {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func join(t *testing.T, b *broadcast) chan []byte {
	t.Helper()
	events, err := b.join()
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// over ends a broadcast.
func over(t *testing.T, b *broadcast) {
	t.Helper()
	b.end()
	if err := b.wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAllListenersAreToldTheSameOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tl teller
		b := newBroadcast(tl.event, zap.NewNop())
		time.Sleep(time.Minute)
		if n := tl.made.Load(); n != 0 {
			t.Errorf("%d events, and nobody listens", n)
		}
		one := join(t, b)
		synctest.Wait()
		wantHeard(t, one, "1") // at once
		time.Sleep(500 * time.Millisecond)
		two := join(t, b)
		wantHeard(t, two, "1") // the last one, for the next is not yet due
		time.Sleep(2 * time.Second)
		wantHeard(t, one, "2 3")
		wantHeard(t, two, "2 3")
		b.leave(one)
		b.leave(two)
		time.Sleep(time.Minute)
		if n := tl.made.Load(); n != 3 {
			t.Errorf("%d events, and nobody listens any more", n)
		}
		three := join(t, b) // what was said a minute ago is not said again
		synctest.Wait()
		wantHeard(t, three, "4")
		over(t, b)
		wantHeard(t, three, "end")
	})
}

func TestEventsThatAreDearAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := teller{cost: 300 * time.Millisecond}
		b := newBroadcast(tl.event, zap.NewNop())
		defer over(t, b)
		events := join(t, b)
		for range 30 {
			time.Sleep(time.Second)
			heard(events)
		}
		synctest.Wait()
		if n := tl.made.Load(); n != 10 { // a tenth of the time
			t.Errorf("%d events in 30 s that take 0.3 s each", n)
		}
	})
}

func TestListenersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tl teller
		b := newBroadcast(tl.event, zap.NewNop())
		var all []chan []byte
		for range maxListeners {
			all = append(all, join(t, b))
		}
		if _, err := b.join(); !errors.Is(err, errCrowded) {
			t.Errorf("one too many: %v", err)
		}
		b.leave(all[0])
		all[0] = join(t, b)
		// The others are dropped, because they do not take what they are told.
		for range 10 {
			time.Sleep(time.Second)
			heard(all[0])
		}
		if n := len(b.listeners); n != 1 {
			t.Errorf("%d listeners are left", n)
		}
		wantHeard(t, all[1], "1 2 3 end")
		b.leave(all[1]) // as they do, when they notice
		b.end()
		b.end()
		if _, err := b.join(); !errors.Is(err, errEnding) {
			t.Errorf("after the end: %v", err)
		}
		over(t, b)
	})
}

func TestAnEventThatHangsIsNotWaitedForForEver(t *testing.T) {
	release := make(chan struct{})
	b := newBroadcast(func() ([]byte, error) { <-release; return nil, errors.New("too late") }, zap.NewNop())
	join(t, b)
	b.end()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(release)
	if err := b.wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// A hall is a listener in memory, so that servers live in virtual time.
type hall struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (h *hall) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *hall) Close() error   { close(h.closed); return nil }
func (h *hall) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv6loopback, Port: 9901} }

// listen asks for /events over a connection of its own.
func (h *hall) listen(t *testing.T) (net.Conn, *http.Response) {
	t.Helper()
	client, server := net.Pipe()
	h.conns <- server
	if _, err := io.WriteString(client, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	return client, r
}

func TestThePageHearsUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hall{make(chan net.Conn), make(chan struct{})}
		s := New(full())
		s.socket = &socket{Listener: h}
		go s.serve()
		client, r := h.listen(t)
		defer client.Close()
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %s", r.StatusCode, r.Header)
		}
		lazy, _ := h.listen(t) // who does not read
		defer lazy.Close()
		gone, _ := h.listen(t)
		gone.Close()

		// Who goes makes room at once.
		for range 2 * maxListeners {
			gone, r := h.listen(t)
			if r.StatusCode != 200 {
				t.Fatalf("status %d: who has gone still counts", r.StatusCode)
			}
			gone.Close()
			synctest.Wait()
		}

		// Longer than any deadline that requests and answers have.
		events := bufio.NewReader(r.Body)
		var last live
		for i := range 200 {
			for _, want := range []string{"event: status\n", "data: ", "\n"} {
				line, err := events.ReadString('\n')
				if err != nil || !strings.HasPrefix(line, want) {
					t.Fatalf("event %d: %q, %v", i, line, err)
				}
				if want == "data: " {
					if err := json.Unmarshal([]byte(strings.TrimPrefix(line, want)), &last); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if len(last.Services) == 0 || last.Headline.Text == "" || last.Build.Version != "1.2.3" || len(last.Problems) == 0 {
			t.Errorf("%+v", last)
		}
		if n := len(s.broadcast.listeners); n != 1 {
			t.Errorf("%d listeners, of which one reads", n)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := io.ReadAll(events) // a pipe has no room of its own
			ended <- err
		}()
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the end took %v", took)
		}
		if err := <-ended; err != nil {
			t.Errorf("the stream is cut instead of ended: %v", err)
		}
	})
}

// With thousands of endpoints an event would be megabytes of what nobody looks at.
func TestThePageIsToldLessOfManyThatAreWell(t *testing.T) {
	for _, n := range []int{maxFull, maxFull + 1} {
		s := soundService("orders", n)
		for i := range s.Endpoints {
			s.Endpoints[i].History = []upstream.Decision{{At: noon, What: "slow"}, {At: noon, What: "even"}}
			s.Endpoints[i].Errors = []upstream.ErrorNote{{What: "reset"}, {What: "status 500"}}
		}
		s.Endpoints[0].Sound = false
		event, err := New(Options{Status: func() Document { return Document{Services: []Service{s}} }}).event()
		if err != nil {
			t.Fatal(err)
		}
		var heard live
		if err := json.Unmarshal(event[bytes.IndexByte(event, '{'):], &heard); err != nil {
			t.Fatal(err)
		}
		ill, well, left := heard.Services[0].Endpoints[0], heard.Services[0].Endpoints[1], 2
		if n > maxFull {
			left = 1
		}
		if len(ill.History) != 2 || len(ill.Errors) != 2 || len(well.History) != left || len(well.Errors) != left || well.History[left-1].What != "even" || well.Errors[0].What != "reset" {
			t.Errorf("of %d: %+v, %+v", n, ill, well)
		}
		if len(heard.Decisions) != 2 || heard.Decisions[0].Times != n {
			t.Errorf("decisions %+v", heard.Decisions)
		}
	}
}

func TestListeningIsRefusedWhereTooManyDo(t *testing.T) {
	s := New(full())
	for range maxListeners {
		join(t, s.broadcast)
	}
	defer over(t, s.broadcast)
	listen := func(method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, "/events", nil)
		r.Host = "localhost"
		s.http.Handler.ServeHTTP(w, r)
		return w
	}
	w := listen("GET")
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "close a page") {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := listen("HEAD"); w.Code != 200 {
		t.Errorf("HEAD: %d", w.Code)
	}
}
