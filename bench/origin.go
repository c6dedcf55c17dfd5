package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Sizes of the origin's answers.
const (
	smallSize = 128
	largeSize = 1 << 20
)

// A body is what an answer of the origin consists of, and where it is asked for.
type body struct {
	path string
	size int
}

var (
	smallBody = body{"/", smallSize}
	largeBody = body{"/large", largeSize}
)

// largeConns are the connections of the table of large bodies.
var largeConns = []int{8, 64}

// An origin is the nginx that answers all requests: one worker, on the load's core. Its large
// answer is a file, which the kernel has in memory and sends itself.
type origin struct {
	addr string
	pids []int
}

func startOrigin(b *bench) (*origin, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	files, err := b.folder("files")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(files, largeBody.path), []byte(largeBody.text()), 0o600); err != nil {
		return nil, err
	}
	text := nginxMain(nginxProcess{workers: 1, core: b.opts.loadCore, maxConns: 4096}) + fmt.Sprintf(`
http {
	access_log         off;
	keepalive_timeout  600s;
	keepalive_requests 1000000000;
	default_type       text/plain;
	sendfile           on;
	open_file_cache    max=1;
	%s
	server {
		listen %s backlog=4096;
		location = / { return 200 "%s"; }
		location /   { root %s; }
	}
}
`, nginxTempPaths, addr, smallBody.text(), files)
	p, err := startNginx(b, "origin", text)
	if err != nil {
		return nil, err
	}
	for _, want := range []body{smallBody, largeBody} {
		if err := b.until(p, func() error { return checkAnswer(&http.Transport{}, "http://"+addr+want.path, want) }); err != nil {
			return nil, err
		}
	}
	workers, err := children(p.pid())
	return &origin{addr: addr, pids: append(workers, p.pid())}, err
}

func (b body) text() string {
	return strings.Repeat("0123456789abcdef", b.size/16)
}

// checkAnswer makes a few requests over one connection and says whether they were answered as
// the origin answers.
func checkAnswer(transport *http.Transport, url string, want body) error {
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	for range 3 {
		res, err := client.Get(url)
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
		case string(got) != want.text():
			return fmt.Errorf("a wrong body of %d bytes: %.200q", len(got), got)
		case res.Header.Get("Content-Length") != strconv.Itoa(want.size):
			return fmt.Errorf("Content-Length %q", res.Header.Get("Content-Length"))
		case res.Close:
			return fmt.Errorf("the connection is not kept alive")
		}
	}
	return nil
}
