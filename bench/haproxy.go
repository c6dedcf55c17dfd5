package main

import (
	"fmt"
	"strings"
)

// haproxyLauncher returns the way to start HAProxy with one sort of splicing.
func haproxyLauncher(how splice) func(*bench, setting) (*running, error) {
	return func(b *bench, s setting) (*running, error) {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		_, path, err := b.writeConfig("haproxy", "haproxy.cfg", haproxyConfig(addr, s, how))
		if err != nil {
			return nil, err
		}
		p, err := b.start("haproxy", anyCore, b.bin.haproxy, "-db", "-q", "-f", path) // pins its threads itself
		if err != nil {
			return nil, err
		}
		return &running{addr: addr, proc: p, pids: []int{p.pid()}}, b.until(p, func() error { return dialable(addr) })
	}
}

// haproxyBind is what a bind line says behind the address.
func haproxyBind(s setting) string {
	switch {
	case s.h2 || s.grpc:
		return " proto h2"
	case s.cert != nil:
		return " ssl crt " + s.cert.bothFile + " ciphersuites " + tlsSuite
	}
	return ""
}

func haproxyConfig(addr string, s setting, how splice) string {
	var c strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&c, format+"\n", args...) }

	line("global")
	line("	nbthread %d", s.loops)
	if s.core != anyCore {
		line("	cpu-map 1/1 %d", s.core)
	}
	line("	maxconn %d", s.maxConns)
	line("	no strict-limits") // else it refuses to start where it may not raise them
	if how == spliceForced {
		line("	tune.pipesize 1048576")
		line("	tune.bufsize 65536")
	}
	line("defaults")
	line("	timeout connect 5s")
	line("	timeout client 10m")
	line("	timeout server 10m")
	if s.http {
		line("	mode http")
		line("	timeout http-keep-alive 10m")
		line("	option http-keep-alive")
		line("	option forwardfor")
		line("	http-reuse always")
	} else {
		line("	mode tcp")
	}
	switch how {
	case spliceAuto:
		line("	option splice-auto")
	case spliceForced:
		line("	option splice-request")
		line("	option splice-response")
	}
	line("frontend in")
	line("	bind %s", addr+haproxyBind(s))
	line("	maxconn %d", s.maxConns)
	line("	default_backend out")
	line("backend out")
	if s.http {
		proto := ""
		if s.grpc {
			proto = " proto h2"
		}
		line("	server origin %s pool-purge-delay 1m", s.origin+proto)
	} else {
		line("	server origin %s", s.origin)
	}
	return c.String()
}
