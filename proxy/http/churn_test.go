package http

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecar/internal/eventloop"
	"sidecar/upstream"
)

// mood is what an origin does with a request.
func mood(random *rand.Rand, c net.Conn, req *http.Request, body []byte) bool {
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s %s", len(req.URL.Path)+1+len(body), req.URL.Path, body)
	switch n := random.IntN(100); {
	case n < 2: // says nothing more
		_, _ = io.Copy(io.Discard, c)
		return false
	case n < 8:
		return false
	case n < 12:
		_ = c.(*net.TCPConn).SetLinger(0)
		return false
	case n < 16:
		answer = lines("HTTP/1.1 503 Busy", "Content-Length: 4") + "busy"
	case n < 18:
		_, _ = io.WriteString(c, answer[:len(answer)/2])
		return false
	case n < 20:
		_, _ = io.WriteString(c, answer)
		return false
	case n < 22:
		answer = lines("HTTP/1.1 103 Early Hints") + answer
	}
	_, err := io.WriteString(c, answer)
	return err == nil
}

// moody has an origin serve by mood.
func (o *origin) moody(seed uint64) {
	var mu sync.Mutex
	seeds := rand.New(rand.NewPCG(seed, 1))
	o.serveEach(func(c net.Conn) {
		mu.Lock()
		random := rand.New(rand.NewPCG(seeds.Uint64(), 2))
		mu.Unlock()
		for in := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			body, err := io.ReadAll(req.Body)
			if err != nil || !mood(random, c, req, body) {
				return
			}
		}
	})
}

// churn makes requests until it has made n, some of which it does not wait for, and checks that
// what comes as a success is the answer to its own.
func churn(t *testing.T, r *rig, id, n int) (answered int) {
	random := rand.New(rand.NewPCG(uint64(id), 3))
	var conn net.Conn
	var in *bufio.Reader
	leave := func() {
		if conn != nil {
			conn.Close()
			conn = nil
		}
	}
	defer leave()
	for i := range n {
		if conn == nil {
			var err error
			if conn, err = net.Dial("tcp", r.listener.Addr().String()); err != nil {
				t.Error(err)
				return answered
			}
			conn.SetDeadline(time.Now().Add(patience))
			in = bufio.NewReader(conn)
		}
		path := fmt.Sprintf("/%d/%d", id, i)
		request, want := lines("GET "+path+" HTTP/1.1", "Host: a"), path+" "
		if random.IntN(3) == 0 {
			body := strings.Repeat(path, 1+random.IntN(3000))
			request = lines("PUT "+path+" HTTP/1.1", "Host: a", fmt.Sprint("Content-Length: ", len(body))) + body
			want += body
		}
		_, err := io.WriteString(conn, request)
		if err != nil || random.IntN(20) == 0 {
			leave()
			continue
		}
		resp, err := http.ReadResponse(in, nil)
		for err == nil && resp.StatusCode < 200 {
			resp, err = http.ReadResponse(in, nil)
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return answered
		}
		got, err := io.ReadAll(resp.Body)
		switch {
		case err != nil: // broken off, and it does not look whole
			leave()
			continue
		case resp.StatusCode == 200 && string(got) != want:
			t.Errorf("%s: %s", path, brief(string(got)))
			return answered
		case resp.StatusCode == 200:
			answered++
		case resp.Header.Get("Sidecar-Error") == "" && string(got) != "busy":
			t.Errorf("%s: %d %s", path, resp.StatusCode, brief(string(got)))
		}
		if resp.Close {
			leave()
		}
	}
	return answered
}

// Everything that two tries of a request can meet, at once; whatever it is, each client gets
// its own answer or none, and nothing is left behind.
func TestChurnOfTries(t *testing.T) {
	origins := []*origin{newOrigin(t), newOrigin(t), newOrigin(t)}
	var addrs []string
	for _, o := range origins {
		addrs = append(addrs, o.addr)
	}
	addrs = append(addrs, closedPort(t))
	r := newRig(t, setup{
		origins: addrs, loops: 2, budget: &upstream.BudgetOptions{Ratio: 1, MinPerSecond: 1000},
		service: func(o *upstream.Options) {
			o.Policy = func(c upstream.Candidates) upstream.Picker { return anyOf(c.Endpoints) }
			o.Endpoint = upstream.Limits{Connections: 12}
		},
		options: func(o *Options) {
			o.Hedge = Hedge{Percentile: 0.5, Budget: 1}
			o.Retry.Status[3] = true
			o.Retry.Backoff, o.Retry.BackoffMax = time.Millisecond, 2*time.Millisecond
			o.Retry.Stalled = 5 * time.Millisecond
			o.Retry.PerTry = 500 * time.Millisecond
			o.RequestTimeout = 3 * time.Second
		},
	})
	for i, o := range origins {
		o.moody(uint64(i))
	}
	if r.group.EachWait(context.Background(), func(l *eventloop.Loop) {
		s := r.proxy.shards[l.Index()]
		for range fewLatencies {
			s.latencies.add(l.Now(), time.Millisecond)
		}
	}) != nil {
		t.Fatal("the loops have ended")
	}
	var clients sync.WaitGroup
	var mu sync.Mutex
	answered := 0
	for id := range 12 {
		clients.Go(func() {
			n := churn(t, r, id, 150)
			mu.Lock()
			defer mu.Unlock()
			answered += n
		})
	}
	clients.Wait()
	if answered < 12*150/2 {
		t.Errorf("only %d were answered", answered)
	}
	if r.metric("sidecar_http_hedges_total") == 0 || r.metric("sidecar_http_hedges_won_total") == 0 {
		t.Error("nothing was hedged")
	}
}

// anyOf picks at random.
type anyOf []*upstream.Endpoint

func (p anyOf) Pick(key upstream.PickKey, avoid []*upstream.Endpoint) *upstream.Endpoint {
	at := rand.IntN(len(p))
	return ordered(append(p[at:len(p):len(p)], p[:at]...)).Pick(key, avoid)
}
