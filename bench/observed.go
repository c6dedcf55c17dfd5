package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// The sidecar twice: as it is by default, and with all that can be turned on to look at it.
const (
	nameDefaults = "defaults"
	nameObserved = "observed"
)

// scrapeEvery is how often the metrics of the observed sidecar are asked for, more often than usual.
const scrapeEvery = time.Second

// observed is the table of what it costs to look: an access log in a file, one request in a hundred
// traced, metrics scraped.
func (b *bench) observed(pinned setting) error {
	collector, err := startCollector()
	if err != nil {
		return err
	}
	defer collector.Close()
	binary := b.bin.sidecar
	more := fmt.Sprintf("\n[access_log]\npath = %q\n\n[tracing]\nendpoint = \"http://%s\"\nsample = 0.01\n",
		filepath.Join(b.dir, "access.log"), collector.Addr)
	return b.requests(b.byWrk(requestPlan{
		title:   "HTTP, one loop, pinned: with access log, metrics scraped each second, and traces of 1 %",
		unit:    "req",
		setting: pinned, conns: b.opts.connections,
		proxies: []proxy{
			{label: nameObserved, launch: sidecarWith(binary, more, scrapeEvery)},
			{label: nameDefaults, launch: sidecarLauncher(binary)},
		},
	}, smallBody))
}

// startCollector starts what spans are sent to. It takes them all and looks at none.
func startCollector() (*http.Server, error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &http.Server{Addr: ln.Addr().String(), ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	})}
	go func() { _ = s.Serve(ln) }() // until it is closed
	return s, nil
}

// scrape asks for the metrics of a sidecar until it has ended.
func scrape(ctx context.Context, admin string, every time.Duration) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: every}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", http.NoBody)
		if err != nil {
			return
		}
		if res, err := client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	}
}
