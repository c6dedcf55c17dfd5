package main

import (
	"strings"
	"testing"
)

func TestHAProxyPinsAndSplicesAsAsked(t *testing.T) {
	pinned := haproxyConfig("127.0.0.1:1", setting{origin: "127.0.0.1:2", loops: 1, core: 3, maxConns: 9}, spliceForced)
	for _, want := range []string{"nbthread 1\n", "cpu-map 1/1 3\n", "option splice-response\n", "tune.pipesize 1048576\n", "mode tcp\n"} {
		if !strings.Contains(pinned, want) {
			t.Errorf("no %q in\n%s", want, pinned)
		}
	}
	free := haproxyConfig("127.0.0.1:1", setting{http: true, origin: "127.0.0.1:2", loops: 2, core: anyCore}, spliceOff)
	for _, not := range []string{"cpu-map", "splice", "pipesize"} {
		if strings.Contains(free, not) {
			t.Errorf("%q in\n%s", not, free)
		}
	}
}

func TestNginxPinsByMask(t *testing.T) {
	for core, want := range map[int]string{0: "worker_cpu_affinity 1;", 1: "worker_cpu_affinity 10;", 3: "worker_cpu_affinity 1000;"} {
		if text := nginxMain(nginxProcess{workers: 1, core: core}); !strings.Contains(text, want) {
			t.Errorf("core %d: no %q in\n%s", core, want, text)
		}
	}
	if text := nginxMain(nginxProcess{workers: 2, core: anyCore}); strings.Contains(text, "affinity") {
		t.Errorf("pinned:\n%s", text)
	}
}

func TestNginxKeepsLargeBodiesInMemory(t *testing.T) {
	for _, large := range []bool{true, false} {
		text := nginxHTTP("127.0.0.1:1", setting{http: true, large: large, origin: "127.0.0.1:2"})
		if strings.Contains(text, "proxy_max_temp_file_size 0;") != large {
			t.Errorf("large bodies %v:\n%s", large, text)
		}
	}
}

func TestHAProxyComesTwiceForLargeBodies(t *testing.T) {
	b := &bench{opts: options{proxies: []string{nameSidecar, nameHAProxy, nameNginx}}}
	var labels []string
	for _, p := range b.largeProxies() {
		labels = append(labels, p.label)
	}
	if got, want := strings.Join(labels, ", "), "sidecar, haproxy, haproxy tuned, nginx"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestProxiesSpeakHTTP2WhereTheTableDoes(t *testing.T) {
	for name, c := range map[string]struct {
		setting            setting
		haproxy, nginx     []string
		notHAProxy, notNgx string
	}{
		"HTTP/2 to HTTP/1.1": {
			setting{http: true, h2: true, origin: "127.0.0.1:2"},
			[]string{"bind 127.0.0.1:1 proto h2\n", "server origin 127.0.0.1:2 pool"}, []string{"listen 127.0.0.1:1 http2 ", "proxy_pass "}, "ssl", "grpc_pass",
		},
		"gRPC": {
			setting{http: true, grpc: true, origin: "127.0.0.1:2"},
			[]string{"bind 127.0.0.1:1 proto h2\n", "server origin 127.0.0.1:2 proto h2 pool"}, []string{"listen 127.0.0.1:1 http2 ", "grpc_pass "}, "ssl", "proxy_pass ",
		},
		"TLS": {
			setting{http: true, cert: &certificate{certFile: "/c", keyFile: "/k", bothFile: "/b"}, origin: "127.0.0.1:2"},
			[]string{"bind 127.0.0.1:1 ssl crt /b ciphersuites " + tlsSuite}, []string{"listen 127.0.0.1:1 ssl ", "ssl_certificate /c; ssl_certificate_key /k;", "Ciphersuites " + tlsSuite}, "proto h2", "http2",
		},
	} {
		haproxy, nginx := haproxyConfig("127.0.0.1:1", c.setting, spliceOff), nginxHTTP("127.0.0.1:1", c.setting)
		for _, want := range c.haproxy {
			if !strings.Contains(haproxy, want) {
				t.Errorf("%s: no %q in\n%s", name, want, haproxy)
			}
		}
		for _, want := range c.nginx {
			if !strings.Contains(nginx, want) {
				t.Errorf("%s: no %q in\n%s", name, want, nginx)
			}
		}
		if strings.Contains(haproxy, c.notHAProxy) || strings.Contains(nginx, c.notNgx) {
			t.Errorf("%s: %q or %q in\n%s%s", name, c.notHAProxy, c.notNgx, haproxy, nginx)
		}
	}
}

func TestSidecarGetsTheCertificate(t *testing.T) {
	text := sidecarConfig("127.0.0.1:1", "127.0.0.1:3", setting{http: true, cert: &certificate{certFile: "/c", keyFile: "/k"}})
	for _, want := range []string{"[service.tls]", `cert_files = ["/c"]`, `key_files  = ["/k"]`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if plain := sidecarConfig("127.0.0.1:1", "127.0.0.1:3", setting{http: true}); strings.Contains(plain, "tls") {
		t.Errorf("TLS without a certificate:\n%s", plain)
	}
}
