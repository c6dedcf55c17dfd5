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
