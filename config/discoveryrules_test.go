package config

import (
	"reflect"
	"testing"
	"time"
)

func TestKeysOfOtherSources(t *testing.T) {
	const discovery = orders + "[service.discovery]\n"
	for _, e := range []example{
		{
			"keys of consul with another source",
			discovery + `source = "static"
instances = ["10.0.0.1:80"]
tags = ["v2"]
warning = false
filter = "a == b"
datacenter = "eu"
near = "_agent"
nearest = 3
tagged_address = "lan"
query = "q"
failover = ["us"]
failover_below = 2
namespace = "n"
partition = "p"
`,
			`config.toml:7: service "orders": discovery.tags: are for source = "consul" only, and source is "static"; change it or remove them
config.toml:8: service "orders": discovery.warning: is for source = "consul" only, and source is "static"; change it or remove this
config.toml:9: service "orders": discovery.filter: is for source = "consul" only, and source is "static"; change it or remove this
config.toml:10: service "orders": discovery.datacenter: is for source = "consul" only, and source is "static"; change it or remove this
config.toml:11: service "orders": discovery.near: is for source = "consul" only, and source is "static"; change it or remove this
config.toml:12: service "orders": discovery.nearest: is for source = "consul" only, and source is "static"; change it or remove this
config.toml:13: service "orders": discovery.tagged_address: is for source = "consul" only, and source is "static"; change it or remove this
config.toml:14: service "orders": discovery.query: is for source = "consul" only, and source is "static"; change it or remove this
config.toml:15: service "orders": discovery.failover: are for source = "consul" only, and source is "static"; change it or remove them
config.toml:16: service "orders": discovery.failover_below: is for source = "consul" only, and source is "static"; change it or remove this
config.toml:17: service "orders": discovery.namespace: is for source = "consul" only, and source is "static"; change it or remove this
config.toml:18: service "orders": discovery.partition: is for source = "consul" only, and source is "static"; change it or remove this`,
		},
		{
			"tables of others",
			discovery + `dns = { name = "a", type = "a", port = 80 }
file.path = "/a.json"
etcd.prefix = "/a/"
redis = { key = "a", poll = "1s" }
nacos = { group = "g", clusters = ["c"], namespace = "n", poll = "1s" }
kubernetes = { namespace = "n", port = "http" }
`,
			`config.toml:5: service "orders": discovery.dns.name: is for source = "dns" only, and source is "consul"; change it or remove this
config.toml:5: service "orders": discovery.dns.type: is for source = "dns" only, and source is "consul"; change it or remove this
config.toml:5: service "orders": discovery.dns.port: is for source = "dns" only, and source is "consul"; change it or remove this
config.toml:6: service "orders": discovery.file.path: is for source = "file" only, and source is "consul"; change it or remove this
config.toml:7: service "orders": discovery.etcd.prefix: is for source = "etcd" only, and source is "consul"; change it or remove this
config.toml:8: service "orders": discovery.redis.key: is for source = "redis" only, and source is "consul"; change it or remove this
config.toml:8: service "orders": discovery.redis.poll: is for source = "redis" only, and source is "consul"; change it or remove this
config.toml:9: service "orders": discovery.nacos.group: is for source = "nacos" only, and source is "consul"; change it or remove this
config.toml:9: service "orders": discovery.nacos.clusters: are for source = "nacos" only, and source is "consul"; change it or remove them
config.toml:9: service "orders": discovery.nacos.namespace: is for source = "nacos" only, and source is "consul"; change it or remove this
config.toml:9: service "orders": discovery.nacos.poll: is for source = "nacos" only, and source is "consul"; change it or remove this
config.toml:10: service "orders": discovery.kubernetes.namespace: is for source = "kubernetes" only, and source is "consul"; change it or remove this
config.toml:10: service "orders": discovery.kubernetes.port: is for source = "kubernetes" only, and source is "consul"; change it or remove this`,
		},
		{
			"key of none of several sources",
			discovery + "sources = [\"redis\", \"dns\", \"etcd\"]\ntags = [\"v2\"]\nfile.path = \"/a.json\"",
			`config.toml:6: service "orders": discovery.tags: are for source "consul" only, and sources are "redis", "dns" and "etcd"; change them or remove them
config.toml:7: service "orders": discovery.file.path: is for source "file" only, and sources are "redis", "dns" and "etcd"; change them or remove this`,
		},
		{
			"bad source hides what follows from it",
			discovery + "source = \"konsul\"\ninstances = [\"10.0.0.1:80\"]",
			`config.toml:5: service "orders": discovery.source: "konsul" is not known; allowed are consul, static, dns, file, etcd, redis, nacos and kubernetes; did you mean "consul"?`,
		},
	} {
		e.test(t)
	}
}

func TestSeveralSources(t *testing.T) {
	const discovery = orders + "[service.discovery]\n"
	for _, e := range []example{
		{
			"source and other sources",
			discovery + "source = \"dns\"\nsources = [\"consul\", \"dns\"]",
			`config.toml:6: service "orders": discovery.sources: are set, and so is source (line 5), which is not the first of them; keep one`,
		},
		{
			"one of them lacks something",
			discovery + "sources = [\"consul\", \"static\", \"file\"]",
			`config.toml:5: service "orders": discovery.instances: sources have "static", which needs instances, such as ["10.0.0.1:8080"]
config.toml:5: service "orders": discovery.file.path: sources have "file", which needs a path, such as "/etc/sidecar/instances.json"`,
		},
		{
			"sources of defaults lack something",
			"[defaults.discovery]\nsources = [\"consul\", \"static\"]\n" + orders,
			`config.toml:3: service "orders": discovery.instances: sources have "static", which needs instances, such as ["10.0.0.1:8080"]`,
		},
		{
			"combination of one",
			discovery + "sources = [\"dns\"]\ncombine = \"merge\"",
			`config.toml:6: service "orders": discovery.combine: belongs to several sources, and there is one; list them in sources, or remove this`,
		},
	} {
		e.test(t)
	}

	for _, tt := range []struct {
		name, toml string
		env        []string
		sources    []string
		combine    string
	}{
		{"none is said", orders, nil, []string{"consul"}, "prefer"},
		{"source", discovery + "source = \"dns\"", nil, []string{"dns"}, "prefer"},
		{"sources", discovery + "sources = [\"etcd\", \"dns\"]\ncombine = \"merge\"", nil, []string{"etcd", "dns"}, "merge"},
		{"both, and they agree", discovery + "source = \"etcd\"\nsources = [\"etcd\", \"dns\"]", nil, []string{"etcd", "dns"}, "prefer"},
		{"no sources", discovery + "source = \"etcd\"\nsources = []", nil, []string{"etcd"}, "prefer"},
		{
			"source of the service over sources of defaults",
			"[defaults.discovery]\nsources = [\"consul\", \"dns\"]\ncombine = \"merge\"\n" + discovery + "source = \"dns\"",
			nil,
			[]string{"dns"},
			"prefer",
		},
		{
			"sources of the service over source of defaults",
			"[defaults.discovery]\nsource = \"etcd\"\n" + discovery + "sources = [\"consul\", \"dns\"]",
			nil,
			[]string{"consul", "dns"},
			"prefer",
		},
		{
			"source of the environment over sources of the file",
			discovery + "sources = [\"consul\", \"dns\"]",
			[]string{"SIDECAR_SERVICE_ORDERS_DISCOVERY_SOURCE=redis"},
			[]string{"redis"},
			"prefer",
		},
	} {
		d := load(t, tt.toml, tt.env...).Services[0].Discovery
		if !reflect.DeepEqual(d.Sources, tt.sources) || d.Source != tt.sources[0] || d.Combine != tt.combine {
			t.Errorf("%s: source %q, sources %q, combine %q; want %q, %q", tt.name, d.Source, d.Sources, d.Combine, tt.sources, tt.combine)
		}
	}
}

func TestKeysOfDiscoveryThatContradictEachOther(t *testing.T) {
	const discovery = orders + "[service.discovery]\n"
	for _, e := range []example{
		{
			"nearest from nowhere",
			discovery + "nearest = 3",
			`config.toml:5: service "orders": discovery.nearest: counts from where near says, and near is not set; set near = "_agent", or remove this`,
		},
		{
			"near without a number",
			discovery + "near = \"_agent\"",
			`config.toml:5: service "orders": discovery.near: is set without nearest, which says how many of the nearest instances are used; set both or none`,
		},
		{
			"number of no failover",
			discovery + "failover_below = 3",
			`config.toml:5: service "orders": discovery.failover_below: belongs to failover, which is not set; set it, or remove this`,
		},
		{
			"what a prepared query has itself",
			discovery + "query = \"q\"\ntags = [\"v2\"]\nfilter = \"a == b\"\nfailover = [\"us\"]\nfailover_below = 2",
			`config.toml:6: service "orders": discovery.tags: are up to the prepared query of discovery.query (line 5); remove them
config.toml:7: service "orders": discovery.filter: is up to the prepared query of discovery.query (line 5); remove this
config.toml:8: service "orders": discovery.failover: are up to the prepared query of discovery.query (line 5); remove them
config.toml:9: service "orders": discovery.failover_below: is up to the prepared query of discovery.query (line 5); remove this`,
		},
		{
			"failover to where it came from",
			"[consul]\ndatacenter = \"eu\"\n" + discovery + "failover = [\"us\", \"eu\"]",
			`config.toml:7: service "orders": discovery.failover: "eu" is the datacenter that is looked in first; remove it`,
		},
		{
			"file without a path",
			discovery + "source = \"file\"",
			`config.toml:5: service "orders": discovery.file.path: source is "file", which needs a path, such as "/etc/sidecar/instances.json"`,
		},
		{
			"addresses without a port",
			discovery + "source = \"dns\"\ndns.type = \"a\"",
			`config.toml:6: service "orders": discovery.dns.type: is "a", which has no ports; set port, that of every instance`,
		},
		{
			"port of what has ports",
			discovery + "source = \"dns\"\ndns.port = 80",
			`config.toml:6: service "orders": discovery.dns.port: is for type = "a" only, and type is "srv"; change it or remove this`,
		},
		{
			"name that is none in DNS",
			discovery + "source = \"dns\"\nservice = \"my orders\"",
			`config.toml:6: service "orders": discovery.dns.name: "my orders" is not the name of a host; set discovery.dns.name`,
		},
		{
			"name of the service that is none in DNS",
			"[[service]]\nname = \"1\"\nlisten = \"127.0.0.1:7001\"\ndiscovery.source = \"dns\"",
			`config.toml:2: service "1": discovery.dns.name: "1" is not the name of a host; set discovery.dns.name`,
		},
		{
			"nacos asked too often",
			discovery + "source = \"nacos\"\nnacos.poll = \"99ms\"",
			`config.toml:6: service "orders": discovery.nacos.poll: "99ms" is too short; want 0s, or 100ms or more`,
		},
	} {
		e.test(t)
	}
}

func TestWhatTheNameOfTheServiceDecides(t *testing.T) {
	cfg := load(t, `
[etcd]
prefix = "/live/services/"
[defaults.discovery]
sources = ["etcd", "redis", "dns", "static"]
instances = ["10.0.0.1:80"]
tags = ["v2"]
warning = false
[defaults.discovery.file]
path = "/defaults.json"
[[service]]
name = "orders"
listen = "127.0.0.1:7001"
discovery.service = "orders.v1"
[[service]]
name = "own"
listen = "127.0.0.1:7002"
[service.discovery]
etcd.prefix = "own/"
redis = { key = "own", poll = "100ms" }
dns = { name = "_own._tcp.internal.", type = "a", port = 80 }
`)
	a, b := cfg.Services[0].Discovery, cfg.Services[1].Discovery
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"prefix", a.Etcd.Prefix, "/live/services/orders.v1/"},
		{"key", a.Redis, RedisQuery{Key: "services:orders.v1:", Poll: 2 * time.Second}},
		{"name", a.DNS, DNSQuery{Name: "orders.v1", Type: DNSTypeSRV}},
		{"tags of defaults", len(a.Tags), 0},
		{"warning of defaults", a.Warning, true},
		{"path of defaults", a.File.Path, ""},
		{"own prefix", b.Etcd.Prefix, "own/"},
		{"own key", b.Redis, RedisQuery{Key: "own", Poll: 100 * time.Millisecond}},
		{"own name", b.DNS, DNSQuery{Name: "_own._tcp.internal.", Type: DNSTypeA, Port: 80}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}
