package e2e

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"sidecar/internal/consultest"
)

// A pair are two sidecars: one announces an instance of app, and the other sends to all of them.
type pair struct {
	t         *testing.T
	announcer *sidecar
	other     *sidecar
	first     *origin // which is announced
	second    *origin // which is there anyway
	load      *load   // on the other
}

func (p *pair) wantBoth() {
	p.t.Helper()
	first, second := p.load.from(p.first.name), p.load.from(p.second.name)
	within(p.t, patience, "both instances get traffic", func() bool {
		return p.load.from(p.first.name) > first && p.load.from(p.second.name) > second
	})
}

// wantBack waits until the announcing sidecar has found its instance well, and both get traffic.
func (p *pair) wantBack() {
	p.t.Helper()
	p.announcer.wantAnnounced("registered", "passing")
	p.wantBoth()
}

// wantAlone waits until the other sidecar does not know the announced instance any more, and sees
// that it gets nothing from then on.
func (p *pair) wantAlone() {
	p.t.Helper()
	within(p.t, patience, "the other sidecar does not know the instance any more", func() bool {
		return p.other.endpoint("app", p.first.address).Address == ""
	})
	within(p.t, soon, "and has no connection to it", func() bool { return p.first.open() == p.held() })
	served := p.load.from(p.first.name)
	p.load.more(p.t, 200)
	if n := p.load.from(p.first.name); n != served {
		p.t.Errorf("the instance that goes got %d more requests", n-served)
	}
}

// held is how many connections the announcing sidecar has to its instance.
func (p *pair) held() int {
	if p.announcer.ended() {
		return 0
	}
	return int(p.announcer.endpoint("orders", p.first.address).Connections)
}

// terminate ends the announcing sidecar while a request goes through it, and the instance as soon
// as the sidecar has ended. there tells whether the registry still knows it while it drains.
func (p *pair) terminate(going func() bool, gone func() bool) {
	p.t.Helper()
	running := begin(p.t, p.announcer, p.first)
	p.announcer.signal(syscall.SIGTERM)
	within(p.t, patience, "the registry knows that it goes", going)
	p.wantAlone()
	waitDraining(p.t, p.announcer)
	if gone() || p.announcer.ended() {
		p.t.Error("it was taken back before what is running has ended")
	}
	close(p.first.hold)
	if a, err := running.receive(); err != nil || a.body != half+half {
		p.t.Errorf("the request that was running: %+v, %v", a, err)
	}
	p.announcer.wait()
	if !gone() {
		p.t.Error("the sidecar has ended, and the registry still knows the instance")
	}
	p.first.leave()
	p.load.more(p.t, 200)
	p.wantOrder()
}

// wantOrder sees that a stop went as docs/discovery.md says.
func (p *pair) wantOrder() {
	p.t.Helper()
	log := p.announcer.err.String()
	at := 0
	for _, step := range []string{
		"announced that the local services go; waiting for others to hear",
		"draining: nothing more is accepted", "drained: nothing was cut", "registration: taken back", "sidecar has ended",
	} {
		i := strings.Index(log[at:], step)
		if i < 0 {
			p.t.Fatalf("the log does not say %q, or not in its turn", step)
		}
		at += i
	}
}

func TestAStopIsAnnouncedBeforeItHappens(t *testing.T) {
	t.Parallel()
	agent := consultest.Start(t)
	p := &pair{t: t, first: serveOrigin(t, "app-1"), second: serveOrigin(t, "app-2")}
	agent.Register(consultest.Service{ID: "app-2", Name: "app", Port: p.second.port()})
	config := announcing(p.first, "leave_wait = \"1s\"\n"+checked)
	p.announcer = start(t, config, consulAt(agent))
	p.other = serving(t, "[[service]]\nname = \"app\"\nlisten = \"127.0.0.1:0\"\n", consulAt(agent))
	p.other.waitTotal("app", 2)
	p.load = startPaced(t, p.other.address("app"), askers, askEvery)
	p.wantBoth()
	state := func() entry { return find(agent, "app", "app-1") }

	// Killed while it goes: the maintenance stays with the agent, until the next life of the sidecar
	// ends it. Until its TTL is over or there is a maintenance the instance gets traffic, and is well.
	begin(t, p.announcer, p.first) // so that it is not over too soon
	p.announcer.signal(syscall.SIGTERM)
	within(t, patience, "the agent has it in maintenance", func() bool {
		return strings.Contains(state().maintenance(), "the sidecar is being stopped")
	})
	p.wantAlone()
	p.announcer.checked = true
	p.announcer.kill()
	p.announcer = start(t, config, consulAt(agent))
	p.wantBack()
	wantState(t, agent, "app", "app-1", "passing")

	// Killed without a word: its check runs out.
	p.announcer.checked = true
	p.announcer.kill()
	wantState(t, agent, "app", "app-1", "critical")
	p.wantAlone()
	p.announcer = start(t, config, consulAt(agent))
	p.wantBack()

	p.terminate(func() bool { return state().maintenance() != "" }, func() bool { return state().Service.ID == "" })
	p.load.end(t)
}

func TestAStopIsAnnouncedInEtcdToo(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	p := &pair{t: t, first: serveOrigin(t, "app-1"), second: serveOrigin(t, "app-2")}
	etcd.call("/v3/kv/put", map[string][]byte{"key": []byte("/services/app/app-2"), "value": []byte(p.second.address)}, nil)
	config := etcd.config() + announcing(p.first, "registry = \"etcd\"\nleave_wait = \"1s\"\n"+checked)
	p.announcer = start(t, config)
	p.other = serving(t, etcd.config()+"[[service]]\nname = \"app\"\nlisten = \"127.0.0.1:0\"\ndiscovery.source = \"etcd\"\n")
	p.other.waitTotal("app", 2)
	p.load = startPaced(t, p.other.address("app"), askers, askEvery)
	p.wantBoth()
	gone := func() bool { return etcd.get("/services/app/app-1") == "" }

	p.first.health.Store(http.StatusServiceUnavailable)
	within(t, patience, "what is not well has no key", gone)
	p.wantAlone()
	p.first.health.Store(http.StatusOK)
	p.wantBoth()

	p.announcer.checked = true
	p.announcer.kill()
	within(t, patience, "the lease has ended, and the key with it", gone)
	p.wantAlone()
	p.announcer = start(t, config)
	p.wantBack()

	p.terminate(gone, func() bool { return p.announcer.logged("registration: taken back") > 0 })
	p.load.end(t)
}
