package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// setting is what the proxies of one table have in common.
type setting struct {
	http     bool         // else TCP
	large    bool         // HTTP with large bodies
	h2       bool         // HTTP with clients that speak HTTP/2 and know that it is there
	grpc     bool         // the same, and so does the origin
	cert     *certificate // clients speak TLS; or nil
	origin   string       // where they forward to
	loops    int          // loops, threads or workers
	core     int          // where these are pinned, or anyCore
	maxConns int
}

func (s setting) scheme() string {
	if s.cert != nil {
		return "https"
	}
	return "http"
}

// transport is a client that speaks with the proxies as the load does.
func (s setting) transport() *http.Transport {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(!s.h2 && !s.grpc)
	t.Protocols.SetUnencryptedHTTP2(s.h2 || s.grpc)
	if s.cert != nil {
		t.TLSClientConfig = s.cert.client()
	}
	return t
}

// A proxy is one way to run a program between the load and the origin.
type proxy struct {
	label  string
	launch func(b *bench, s setting) (*running, error)
}

// A running proxy is ready for load.
type running struct {
	label string
	addr  string
	proc  *process // nil for direct
	pids  []int    // the processes that do the work
}

// launchAll starts the proxies. They stay up through all rounds; the ones whose turn it is
// not have nothing to do.
func (b *bench) launchAll(list []proxy, s setting) ([]*running, error) {
	var all []*running
	for _, p := range list {
		r, err := p.launch(b, s)
		if err != nil {
			b.stopAll(all)
			return nil, fmt.Errorf("%s: %w", p.label, err)
		}
		r.label = p.label
		all = append(all, r)
	}
	return all, nil
}

func (b *bench) stopAll(all []*running) {
	for _, r := range all {
		b.stopProxy(r)
	}
}

func (b *bench) stopProxy(r *running) {
	if r.proc != nil {
		b.stop(r.proc)
	}
}

// check says whether the proxy still runs, and the bench shall.
func (b *bench) check(r *running) error {
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	if r.proc == nil {
		return nil
	}
	return r.proc.died()
}

// splice says how HAProxy shall move bulk.
type splice int

const (
	spliceOff splice = iota
	spliceAuto
	spliceForced // always, with large pipes
)

// httpProxies returns the proxies for HTTP.
func (b *bench) httpProxies() []proxy {
	var list []proxy
	for _, name := range b.opts.proxies {
		list = append(list, b.plain(name))
	}
	return list
}

// largeProxies returns the proxies for large bodies: HAProxy comes twice.
func (b *bench) largeProxies() []proxy {
	return withTunedHAProxy(b.httpProxies())
}

// tcpProxies returns the proxies for small messages over TCP, and a note on what is missing.
func (b *bench) tcpProxies() (list []proxy, notes []string) {
	for _, name := range b.opts.proxies {
		if name == nameNginx && !b.bin.hasStream {
			notes = append(notes, noStreamModule)
			continue
		}
		list = append(list, b.plain(name))
	}
	return list, notes
}

// bulkProxies returns the proxies for bulk: HAProxy comes twice.
func (b *bench) bulkProxies() (list []proxy, notes []string) {
	list, notes = b.tcpProxies()
	return withTunedHAProxy(list), notes
}

// withTunedHAProxy makes two of HAProxy, which moves much data in different ways.
func withTunedHAProxy(list []proxy) []proxy {
	for i, p := range list {
		if p.label == nameHAProxy {
			list[i].launch = haproxyLauncher(spliceAuto)
			return slices.Insert(list, i+1, proxy{label: nameTunedHAProxy, launch: haproxyLauncher(spliceForced)})
		}
	}
	return list
}

const noStreamModule = "nginx is missing: its stream module is not installed (Debian: libnginx-mod-stream)."

func (b *bench) plain(name string) proxy {
	p := proxy{label: name}
	switch name {
	case nameSidecar:
		p.launch = sidecarLauncher(b.bin.sidecar)
	case nameBaseline:
		p.launch = sidecarLauncher(b.bin.baseline)
	case nameHAProxy:
		p.launch = haproxyLauncher(spliceOff)
	case nameNginx:
		p.launch = launchNginx
	case nameDirect:
		p.launch = func(_ *bench, s setting) (*running, error) { return &running{addr: s.origin}, nil }
	}
	return p
}
