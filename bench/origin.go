package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// bodySize is the size of the origin's answer.
const bodySize = 128

// An origin is the nginx that answers all requests: one worker, on the load's core.
type origin struct {
	addr string
	pids []int
}

func startOrigin(b *bench) (*origin, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	text := nginxMain(nginxProcess{workers: 1, core: b.opts.loadCore, maxConns: 4096}) + fmt.Sprintf(`
http {
	access_log         off;
	keepalive_timeout  600s;
	keepalive_requests 1000000000;
	default_type       text/plain;
	%s
	server {
		listen %s backlog=4096;
		location / { return 200 "%s"; }
	}
}
`, nginxTempPaths, addr, originBody())
	p, err := startNginx(b, "origin", text)
	if err != nil {
		return nil, err
	}
	if err := b.until(p, func() error { return checkAnswer(addr) }); err != nil {
		return nil, err
	}
	workers, err := children(p.pid())
	return &origin{addr: addr, pids: append(workers, p.pid())}, err
}

// originBody is the body of each answer.
func originBody() string {
	return strings.Repeat("0123456789abcdef", bodySize/16)
}

// checkAnswer makes a few requests over one connection and says whether they were answered as
// the origin answers.
func checkAnswer(addr string) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	for range 3 {
		res, err := client.Get("http://" + addr + "/")
		if err != nil {
			return err
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case err != nil:
			return err
		case res.StatusCode != http.StatusOK:
			return fmt.Errorf("status %d: %.200q", res.StatusCode, body)
		case string(body) != originBody():
			return fmt.Errorf("a wrong body of %d bytes: %.200q", len(body), body)
		case res.Header.Get("Content-Length") != strconv.Itoa(bodySize):
			return fmt.Errorf("Content-Length %q", res.Header.Get("Content-Length"))
		case res.Close:
			return fmt.Errorf("the connection is not kept alive")
		}
	}
	return nil
}
