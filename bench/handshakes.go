package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// The bench starts itself in this role to make handshakes: no load generator at hand makes
// resumed ones of TLS 1.3.
const roleHandshakes = "handshakes"

// handshakeConns is how many clients make handshakes at once, one after the other each.
const handshakeConns = 8

// secureConns are the connections of the tables of TLS.
var secureConns = []int{64}

// secured measures HTTP/1.1 over TLS: small answers and large bodies.
func (b *bench) secured() error {
	cert, err := b.certificate()
	if err != nil {
		return err
	}
	s := setting{http: true, cert: cert, origin: b.origin.addr, loops: 1, core: b.opts.proxyCore, maxConns: 4096}
	proxies, notes := b.translators()
	if err := b.requests(b.byWrk(requestPlan{
		title: "HTTP over TLS, one loop, thread or worker, pinned", unit: "req",
		setting: s, proxies: proxies, conns: secureConns, notes: notes,
	}, smallBody)); err != nil {
		return err
	}
	s.large = true
	return b.requests(b.byWrk(requestPlan{
		title: fmt.Sprintf("HTTP over TLS, bodies of %d KiB, one loop, thread or worker, pinned", largeSize>>10), unit: "MB",
		setting: s, proxies: proxies, conns: largeConns[:1], notes: notes,
	}, largeBody))
}

// handshakes measures new connections of TLS, each with one request on it.
func (b *bench) handshakes() error {
	cert, err := b.certificate()
	if err != nil {
		return err
	}
	s := setting{http: true, cert: cert, origin: b.origin.addr, loops: 1, core: b.opts.proxyCore, maxConns: 4096}
	proxies, notes := b.translators()
	for _, kind := range []struct {
		title   string
		resumed bool
	}{{"full", false}, {"resumed", true}} {
		err := b.requests(requestPlan{
			title: fmt.Sprintf("TLS handshakes, %s, each with one request, one loop, thread or worker, pinned", kind.title), unit: "conn",
			setting: s, proxies: proxies, conns: []int{handshakeConns}, notes: notes, origin: b.origin.pids,
			load: func(addr string, conns int, d time.Duration) (loadResult, time.Duration, error) {
				return b.handshakeRun(cert, addr, kind.resumed, conns, d)
			},
			check: func(addr string) error {
				return checkAnswer(s.transport(), "https://"+addr+smallBody.path, smallBody)
			},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// handshakeResult is what the client of handshakes prints.
type handshakeResult struct {
	Done, Failed int64 // failed: also what was not resumed, or was, against what was asked for
	Seconds      float64
	Busy         time.Duration // of all clients together
	Cause        string        // of a failure
}

func (b *bench) handshakeRun(cert *certificate, addr string, resumed bool, conns int, d time.Duration) (loadResult, time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.ctx, d+15*time.Second)
	defer cancel()
	var out bytes.Buffer
	p, err := startProcess("handshakes", b.opts.loadCore, &out, b.bin.self, roleHandshakes,
		addr, cert.certFile, strconv.FormatBool(resumed), strconv.Itoa(conns), d.String())
	if err != nil {
		return loadResult{}, 0, err
	}
	if err := p.finish(ctx); err != nil {
		return loadResult{}, 0, err
	}
	var r handshakeResult
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return loadResult{}, 0, fmt.Errorf("the client of handshakes said %q: %w", out.String(), err)
	}
	if r.Done == 0 {
		return loadResult{}, 0, fmt.Errorf("no handshake was made: %s", r.Cause)
	}
	return loadResult{
		requests: r.Done, rate: float64(r.Done) / r.Seconds, errors: r.Failed, mean: r.Busy / time.Duration(r.Done),
	}, p.cpuUsed(), nil
}

// handshakesMain makes connections for a while and prints a handshakeResult.
func handshakesMain(args []string) error {
	if len(args) != 5 {
		return errors.New("handshakes: five arguments: address, certificate, resumed, clients, duration")
	}
	cert := &certificate{certFile: args[1]}
	conns, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[4])
	if err = errors.Join(err, cert.load()); err != nil {
		return err
	}
	ended := make(chan handshakeResult, conns)
	start := time.Now()
	for range conns {
		h := handshaker{addr: args[0], config: cert.client(), resumed: args[2] == "true", until: start.Add(d)}
		go func() { ended <- h.run() }()
	}
	var sum handshakeResult
	for range conns {
		r := <-ended
		sum.Done, sum.Failed, sum.Busy = sum.Done+r.Done, sum.Failed+r.Failed, sum.Busy+r.Busy
		if r.Cause != "" {
			sum.Cause = r.Cause
		}
	}
	sum.Seconds = time.Since(start).Seconds()
	return json.NewEncoder(os.Stdout).Encode(sum)
}

// A handshaker is one client: it connects, asks, and connects again.
type handshaker struct {
	addr    string
	config  *tls.Config
	resumed bool
	until   time.Time
}

func (h *handshaker) run() (r handshakeResult) {
	if h.resumed {
		h.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		if _, err := h.once(); err != nil { // a full one first
			return handshakeResult{Failed: 1, Cause: err.Error()}
		}
	}
	begun := time.Now()
	for time.Now().Before(h.until) {
		h.count(&r)
	}
	r.Busy = time.Since(begun)
	return r
}

// count makes a connection and counts it.
func (h *handshaker) count(r *handshakeResult) {
	resumed, err := h.once()
	if err == nil && resumed != h.resumed {
		err = fmt.Errorf("resumed: %v", resumed)
	}
	if err != nil {
		r.Failed++
		r.Cause = err.Error()
		return
	}
	r.Done++
}

// handshakeRequest ends the connection with its answer.
const handshakeRequest = "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"

// once makes a connection with one request and tells whether the session was resumed.
func (h *handshaker) once() (resumed bool, err error) {
	c, err := net.DialTimeout("tcp", h.addr, 5*time.Second)
	if err != nil {
		return false, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return false, err
	}
	t := tls.Client(c, h.config)
	if _, err := t.Write([]byte(handshakeRequest)); err != nil {
		return false, err
	}
	answer, err := io.ReadAll(t) // tickets come before it
	if err == nil && !bytes.HasSuffix(answer, []byte(smallBody.text())) {
		err = fmt.Errorf("a wrong answer: %.200q", answer)
	}
	return t.ConnectionState().DidResume, err
}
