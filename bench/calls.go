package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// callPath is the method that is called.
const callPath = "/bench.Echo/Call"

// h2Conns are the connections of the tables with HTTP/2: as few as a client has.
var h2Conns = []int{8}

// http2 measures requests of HTTP/2 to the origin of the http tables.
func (b *bench) http2() error {
	s := setting{http: true, h2: true, origin: b.origin.addr, loops: 1, core: b.opts.proxyCore, maxConns: 4096}
	proxies, notes := b.translators()
	plan := requestPlan{
		title:   fmt.Sprintf("HTTP/2, %d streams per connection, to HTTP/1.1, one loop, thread or worker, pinned", h2Streams),
		unit:    "req",
		setting: s, proxies: proxies, conns: h2Conns, notes: notes, origin: b.origin.pids,
	}
	what := h2Load{path: smallBody.path, answer: smallBody.size}
	plan.load = func(addr string, conns int, d time.Duration) (loadResult, time.Duration, error) {
		return b.h2load(what, addr, conns, d)
	}
	plan.check = func(addr string) error {
		return checkAnswer(s.transport(), "http://"+addr+smallBody.path, smallBody)
	}
	return b.requests(plan)
}

// calls measures unary calls of gRPC to an origin of their own.
func (b *bench) calls() error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	origin, err := b.start("call origin", b.opts.loadCore, b.bin.self, roleCallOrigin, addr)
	if err != nil {
		return err
	}
	defer b.stop(origin)
	dir, err := b.folder("message")
	if err != nil {
		return err
	}
	message := filepath.Join(dir, "message")
	if err := os.WriteFile(message, callMessage(), 0o600); err != nil {
		return err
	}
	s := setting{http: true, grpc: true, origin: addr, loops: 1, core: b.opts.proxyCore, maxConns: 4096}
	if err := b.until(origin, func() error { return checkCall(s, addr) }); err != nil {
		return err
	}
	what := h2Load{
		args:   []string{"-d", message, "-H", "content-type: application/grpc", "-H", "te: trailers"},
		path:   callPath,
		answer: len(callMessage()),
	}
	return b.requests(requestPlan{
		title:   fmt.Sprintf("gRPC, unary calls, %d streams per connection, one loop, thread or worker, pinned", h2Streams),
		unit:    "call",
		setting: s, proxies: b.httpProxies(), conns: h2Conns, origin: []int{origin.pid()},
		load: func(addr string, conns int, d time.Duration) (loadResult, time.Duration, error) {
			return b.h2load(what, addr, conns, d)
		},
		check: func(addr string) error { return checkCall(s, addr) },
	})
}

// translators returns the proxies, and a note on what is missing: the origin does not speak
// what the load does.
func (b *bench) translators() (list []proxy, notes []string) {
	for _, p := range b.httpProxies() {
		if p.label == nameDirect {
			notes = append(notes, "direct is missing: this origin speaks HTTP/1.1 in plain text.")
			continue
		}
		list = append(list, p)
	}
	return list, notes
}

// checkCall makes a few calls over one connection and says whether they were answered as the
// origin answers: with the message, and then the status.
func checkCall(s setting, addr string) error {
	transport := s.transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	for range 3 {
		req, err := http.NewRequest(http.MethodPost, "http://"+addr+callPath, bytes.NewReader(callMessage()))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case err != nil:
			return err
		case res.StatusCode != http.StatusOK:
			return fmt.Errorf("status %d: %.200q", res.StatusCode, got)
		case res.Header.Get("Grpc-Status") != "":
			return fmt.Errorf("failed with grpc-status %q: %q", res.Header.Get("Grpc-Status"), res.Header.Get("Grpc-Message"))
		case !bytes.Equal(got, callMessage()):
			return fmt.Errorf("a wrong message of %d bytes: %.200q", len(got), got)
		case res.Trailer.Get("Grpc-Status") != "0":
			return fmt.Errorf("grpc-status %q behind the message", res.Trailer.Get("Grpc-Status"))
		}
	}
	return nil
}
