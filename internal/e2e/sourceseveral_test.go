package e2e

import (
	"fmt"
	"testing"
	"time"

	"sidecar/internal/consultest"
)

// Consul cannot be reached from the start, and the instances of the configuration serve until it
// can. From then on Consul's serve, also while it is away again.
func TestFixedInstancesServeUntilConsulAnswers(t *testing.T) {
	t.Parallel()
	agent := consultest.New(t)
	one := serveOrigins(t, "fixed", "first", "second")
	f := follow(t, "", fmt.Sprintf("sources = [\"consul\", \"static\"]\ninstances = [%q]", one[0].address), consulAt(agent))
	f.wantTraffic(one[0])
	f.wantLine("consul orders: has never answered")
	f.wantLine("static: 1 instance")
	if text := f.statusText(); !hasAll(text, []string{"fails:", agent.Address(), "refused", "consul.address"}) {
		t.Errorf("the status does not say why Consul does not answer:\n%s", text)
	}

	agent.Start()
	agent.Register(consultest.Service{ID: "first", Name: "orders", Port: one[1].port()})
	f.wantTraffic(one[1])
	f.wantGone(one[0])
	f.wantLine("consul orders: 1 instance")

	agent.Stop()
	within(t, noticed, "the status says that Consul fails", func() bool { return f.service("orders").Sources[0].Failing })
	f.outlast(time.Second)
	if n := one[0].open(); n != 0 {
		t.Errorf("the fixed instance has %d connections, although Consul's last set stands", n)
	}
	agent.Start()
	back := time.Now()
	agent.Register(consultest.Service{ID: "second", Name: "orders", Port: one[2].port()})
	f.wantResumed(one[2], back)
	f.end(0) // which is told of the source, and not of the service again
	f.wantTimes(among, 2)
}

// Two registries together, of which one goes away.
func TestInstancesOfTwoSourcesServeTogether(t *testing.T) {
	t.Parallel()
	etcd := startEtcd(t)
	redis := startRedis(t)
	one := serveOrigins(t, "etcd-1", "redis-1", "etcd-2", "redis-2")
	etcd.put(one[0])
	redis.do("SET", "services:orders:redis-1", one[1].address)
	redis.do("SET", "services:orders:twice", one[0].address) // which is in etcd too
	f := follow(t, etcd.config()+redis.config(), "sources = [\"etcd\", \"redis\"]\ncombine = \"merge\"")
	f.wantTraffic(one[0])
	f.wantTraffic(one[1])
	f.wantLine("etcd /services/orders/: 1 instance")
	f.wantLine("redis services:orders:: 2 instances")
	if n := f.service("orders").Total; n != 2 {
		t.Errorf("%d endpoints for two addresses", n)
	}

	etcd.Stop()
	within(t, noticed, "the status says that etcd fails", func() bool { return f.service("orders").Sources[0].Failing })
	redis.do("SET", "services:orders:redis-2", one[3].address)
	f.wantTraffic(one[3])
	redis.do("DEL", "services:orders:redis-1")
	f.wantGone(one[1])
	etcd.Start()
	back := time.Now()
	etcd.put(one[2])
	f.wantResumed(one[2], back)
	f.end(0)
	f.wantTimes(among, 1)
}

// wantTimes sees how many lines of the log say something.
func (f *following) wantTimes(what string, n int) {
	f.t.Helper()
	if got := f.logged(what); got != n {
		f.t.Errorf("%d lines of the log say %q, want %d", got, what, n)
	}
}
