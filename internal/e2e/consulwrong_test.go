package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sidecar/internal/consultest"
)

// wrongInput is what operators and registries get wrong. `sidecar status` tells it, the log tells
// it once, and what worked goes on.
func wrongInput(t *testing.T, dc *consultest.Datacenter) {
	for _, mistake := range []struct {
		name string
		run  func(*testing.T, *consultest.Datacenter)
	}{
		{"a registry that cannot be reached", unreachable},
		{"a wrong token", wrongToken},
		{"a service that nobody knows", nobodyKnows},
		{"an instance with port 0", portZero},
		{"an instance that is there twice", thereTwice},
		{"an address that does not resolve", doesNotResolve},
	} {
		t.Run(mistake.name, func(t *testing.T) {
			t.Parallel()
			mistake.run(t, dc)
		})
	}
}

// statusText is what `sidecar status` prints.
func (s *sidecar) statusText() string {
	s.t.Helper()
	r := command(s.t, "", nil, "status", "--admin", s.Address)
	if r.code != 0 {
		s.t.Fatalf("sidecar status: exit status %d: %s", r.code, r.stderr)
	}
	return r.out
}

// wantTold waits until `sidecar status` and one line of the log say all of words.
func (s *sidecar) wantTold(words ...string) {
	s.t.Helper()
	within(s.t, patience, fmt.Sprintf("the status says %q", words), func() bool { return hasAll(s.statusText(), words) })
	within(s.t, patience, fmt.Sprintf("the log says %q", words), func() bool { return s.logged(words...) > 0 })
}

// wantLoggedOnce sees that what wantTold has found is not told again and again.
func (s *sidecar) wantLoggedOnce(words ...string) {
	s.t.Helper()
	if n := s.logged(words...); n != 1 {
		s.t.Errorf("%d lines of the log say %q", n, words)
	}
}

// logged is how many lines of the log say all of words.
func (s *sidecar) logged(words ...string) int {
	n := 0
	for line := range strings.Lines(s.err.String()) {
		if hasAll(strings.ReplaceAll(line, `\"`, `"`), words) {
			n++
		}
	}
	return n
}

func hasAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// wantAskedAgain waits until the source of a service has failed n times more.
func (s *sidecar) wantAskedAgain(service string, n uint64) {
	s.t.Helper()
	before := s.service(service).Source.Errors
	within(s.t, patience, "the registry is asked again", func() bool { return s.service(service).Source.Errors >= before+n })
}

// wantServed asks a service some times: every request is answered.
func (s *sidecar) wantServed(t *testing.T, service string) {
	t.Helper()
	if all := ask(t, s.address(service), 4, 100); len(all.good()) != 100 {
		t.Errorf("%v", all)
	}
}

// beside is a service that is well, and one named name in the registry.
func beside(t *testing.T, name string) string {
	return static("steady", "", serveOrigin(t, "steady-1").address) +
		fmt.Sprintf("[[service]]\nname = %q\nlisten = \"127.0.0.1:0\"\n", name)
}

func unreachable(t *testing.T, _ *consultest.Datacenter) {
	address := deadAddress(t)
	s := start(t, beside(t, "orders"), "SIDECAR_CONSUL_ADDRESS="+address)
	s.wantTold("orders", address, "connection refused", "consul.address")
	s.wantAskedAgain("orders", 3)
	s.wantLoggedOnce("orders", address, "connection refused")
	s.wantServed(t, "steady")
}

func wrongToken(t *testing.T, dc *consultest.Datacenter) {
	const secret = "4b1e6c1e-9a43-4d9e-8f0f-0c4c1f3f2d11"
	s := start(t, beside(t, "orders"), consulAt(dc.Client), "SIDECAR_CONSUL_TOKEN="+secret)
	s.wantTold("orders", "token", "consul.token")
	s.wantAskedAgain("orders", 3)
	s.wantLoggedOnce("orders", "consul.token")
	s.wantServed(t, "steady")
	if a := get(t, s.address("orders"), "/"); a.status != http.StatusServiceUnavailable || strings.Contains(a.body, secret) {
		t.Errorf("%+v", a)
	}
	if strings.Contains(s.err.String(), secret) || strings.Contains(s.statusText(), secret) {
		t.Error("the token is shown")
	}
}

func nobodyKnows(t *testing.T, dc *consultest.Datacenter) {
	s := start(t, beside(t, "ordres"), consulAt(dc.Client), "SIDECAR_CONSUL_TOKEN="+dc.Token)
	s.waitReady() // what the registry has said is known
	s.wantTold("ordres", "does not know the service")
	s.wantServed(t, "steady")
	s.wantLoggedOnce("ordres", "does not know the service")

	mended := serveOrigin(t, "ordres-1")
	dc.Client.RegisterMany(consultest.Service{Name: "ordres", Port: mended.port()})
	within(t, soon, "it is served as soon as it is known", func() bool { return get(t, s.address("ordres"), "/").origin() == mended.name })
}

// flawed registers a service with one instance that is well and others that are not, asks it, and
// has the registry tell all of it again.
func flawed(t *testing.T, dc *consultest.Datacenter, name string, others func(well *origin) []consultest.Service, words ...string) *sidecar {
	t.Helper()
	well := serveOrigin(t, name+"-well")
	entry := consultest.Service{ID: well.name, Name: name, Port: well.port()}
	dc.Client.RegisterMany(append(others(well), entry)...)
	s := serving(t, beside(t, name), consulAt(dc.Client), "SIDECAR_CONSUL_TOKEN="+dc.Token)
	within(t, patience, "the instance that is well is usable", func() bool { return s.endpoint(name, well.address).Used })
	s.wantServed(t, name)
	s.wantTold(words...)
	for i := range 3 {
		index := s.service(name).Source.Index
		entry.Meta = map[string]string{"round": fmt.Sprint(i)}
		dc.Client.RegisterMany(entry)
		within(t, patience, "the registry has told it again", func() bool { return s.service(name).Source.Index > index })
	}
	s.wantServed(t, name)
	s.wantServed(t, "steady")
	return s
}

func portZero(t *testing.T, dc *consultest.Datacenter) {
	s := flawed(t, dc, "portless", func(*origin) []consultest.Service {
		return []consultest.Service{{ID: "portless-0", Name: "portless"}}
	}, "portless-0", "port 0")
	s.wantLoggedOnce("portless-0", "port 0")
}

// thereTwice has an instance under two IDs, of which the first stands, and which would get twice
// its share.
func thereTwice(t *testing.T, dc *consultest.Datacenter) {
	var address string
	s := flawed(t, dc, "twins", func(well *origin) []consultest.Service {
		address = well.address
		return []consultest.Service{{ID: "twins-z", Name: "twins", Port: well.port()}}
	}, "twins-z", "address")
	s.wantLoggedOnce("twins-z", address)
	if n := s.service("twins").Total; n != 1 {
		t.Errorf("%d endpoints for one instance", n)
	}
}

// doesNotResolve is found out by who uses it: the registry cannot know what our host resolves.
func doesNotResolve(t *testing.T, dc *consultest.Datacenter) {
	const nowhere = "no-such-host.invalid"
	well := serveOrigin(t, "nowhere-well")
	dc.Client.RegisterMany(consultest.Service{ID: "nowhere-1", Name: "nowhere", Address: nowhere, Port: 80},
		consultest.Service{ID: well.name, Name: "nowhere", Port: well.port()})
	s := serving(t, beside(t, "nowhere"), consulAt(dc.Client), "SIDECAR_CONSUL_TOKEN="+dc.Token)
	s.waitTotal("nowhere", 2)
	l := startPaced(t, s.address("nowhere"), askers, askEvery)
	s.wantTold(nowhere)
	s.wantExplained("nowhere", nowhere+":80", "no such host|resolve|lookup")
	l.end(t)
	s.wantServed(t, "steady")
}
