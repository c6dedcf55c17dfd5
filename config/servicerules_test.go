package config

import (
	"reflect"
	"testing"
	"time"
)

func TestKeysWithoutMeaningInTheirService(t *testing.T) {
	const tcp = orders + "protocol = \"tcp\"\n"
	for _, e := range []example{
		{
			"hash key of another policy",
			orders + "[service.balancer]\nhash_key = \"path\"\nhash_balance = 2",
			`config.toml:5: service "orders": balancer.hash_key: is for policy = "ring_hash" only, and policy is "p2c"; change it or remove this
config.toml:6: service "orders": balancer.hash_balance: is for policy = "ring_hash" only, and policy is "p2c"; change it or remove this`,
		},
		{
			"hash key that tcp does not have",
			tcp + "[service.balancer]\npolicy = \"ring_hash\"\nhash_key = \"header:X-Tenant\"",
			`config.toml:7: service "orders": balancer.hash_key: "header:X-Tenant" is for protocol = "http" only; with "tcp" it is "client"`,
		},
		{
			"hash key of defaults that tcp does not have",
			"[defaults.balancer]\npolicy = \"ring_hash\"\nhash_key = \"path\"\n" + tcp,
			`config.toml:3: service "orders": balancer.hash_key: "path" is for protocol = "http" only; with "tcp" it is "client"`,
		},
		{
			"bad policy hides what follows from it",
			orders + "[service.balancer]\npolicy = \"ring\"\nhash_key = \"path\"",
			`config.toml:5: service "orders": balancer.policy: "ring" is not known; allowed are p2c, least_conn, round_robin, random and ring_hash; did you mean "ring_hash"?`,
		},
		{
			"health check of http without a type",
			orders + "[service.health_check]\npath = \"/up\"\nmethod = \"HEAD\"\nheaders = [\"A: b\"]\nstatuses = \"200\"\nbody = \"ok\"",
			`config.toml:5: service "orders": health_check.path: is for type = "http" only, and type is "none"; change it or remove this
config.toml:6: service "orders": health_check.method: is for type = "http" only, and type is "none"; change it or remove this
config.toml:7: service "orders": health_check.headers: are for type = "http" only, and type is "none"; change it or remove them
config.toml:8: service "orders": health_check.statuses: is for type = "http" only, and type is "none"; change it or remove this
config.toml:9: service "orders": health_check.body: is for type = "http" only, and type is "none"; change it or remove this`,
		},
		{
			"keys of other types with tcp",
			orders + "[service.health_check]\ntype = \"tcp\"\nhost = \"orders\"\nservice = \"orders\"",
			`config.toml:6: service "orders": health_check.host: is for type = "http" or "grpc" only, and type is "tcp"; change it or remove this
config.toml:7: service "orders": health_check.service: is for type = "grpc" only, and type is "tcp"; change it or remove this`,
		},
		{
			"keep_dropped without a check",
			orders + "[service.health_check]\nkeep_dropped = true",
			`config.toml:5: service "orders": health_check.keep_dropped: is for type = "tcp", "http" or "grpc" only, and type is "none"; change it or remove this`,
		},
		{
			"body of a response to HEAD",
			orders + "[service.health_check]\ntype = \"http\"\nmethod = \"HEAD\"\nbody = \"ok\"",
			`config.toml:7: service "orders": health_check.body: looks at a body, which HEAD never brings; change health_check.method (line 6)`,
		},
		{
			"hedging and a client's deadline with tcp",
			tcp + "hedge.enabled = true\ntimeout.header = \"X-Timeout\"",
			`config.toml:5: service "orders": hedge.enabled: is for protocol = "http" only, and protocol is "tcp"; change it or remove this
config.toml:6: service "orders": timeout.header: is for protocol = "http" only, and protocol is "tcp"; change it or remove this`,
		},
		{
			"retries of requests with tcp",
			tcp + "[service.retry]\nattempts = 3\non = [\"connect\"]\nper_try = \"1s\"\nstalled = \"0s\"\nbackoff = \"1ms\"\nbackoff_max = \"1s\"\nretry_after_max = \"0s\"\nbudget = 0.5\nbudget_min = 1",
			`config.toml:8: service "orders": retry.per_try: is for protocol = "http" only, and protocol is "tcp"; change it or remove this
config.toml:9: service "orders": retry.stalled: is for protocol = "http" only, and protocol is "tcp"; change it or remove this
config.toml:10: service "orders": retry.backoff: is for protocol = "http" only, and protocol is "tcp"; change it or remove this
config.toml:11: service "orders": retry.backoff_max: is for protocol = "http" only, and protocol is "tcp"; change it or remove this
config.toml:12: service "orders": retry.retry_after_max: is for protocol = "http" only, and protocol is "tcp"; change it or remove this`,
		},
		{
			"slow start on a ring",
			orders + "[service.balancer]\npolicy = \"ring_hash\"\nslow_start = \"10s\"",
			`config.toml:6: service "orders": balancer.slow_start: is for policy = "p2c", "least_conn", "round_robin" or "random" only, and policy is "ring_hash"; change it or remove this`,
		},
		{
			"fixed response with tcp",
			tcp + "[service.fallback]\nstatus = 503\nbody = \"sorry\"",
			`config.toml:6: service "orders": fallback.status: is for protocol = "http" only, and protocol is "tcp"; change it or remove this
config.toml:7: service "orders": fallback.body: is for protocol = "http" only, and protocol is "tcp"; change it or remove this`,
		},
		{
			"fixed response without a status",
			orders + "[service.fallback]\nbody = \"{}\"\ncontent_type = \"application/json\"",
			`config.toml:5: service "orders": fallback.body: belongs to a fixed response, and without status there is none; set status, for example to 503, or remove this
config.toml:6: service "orders": fallback.content_type: belongs to a fixed response, and without status there is none; set status, for example to 503, or remove this`,
		},
		{
			"fixed response with a bad status",
			orders + "[service.fallback]\nstatus = 100\nbody = \"sorry\"",
			`config.toml:5: service "orders": fallback.status: 100 is not a status that ends a response; want 0, or 200 to 599`,
		},
		{
			"fixed response that cannot have a body",
			orders + "[service.fallback]\nstatus = 204\nbody = \"sorry\"",
			`config.toml:6: service "orders": fallback.body: is for a response that has a body, and status is 204 (line 5), which has none`,
		},
	} {
		e.test(t)
	}
}

func TestDurationsAndNumbersOutOfOrder(t *testing.T) {
	for _, e := range []example{
		{
			"backoff longer than the longest",
			orders + "[service.retry]\nbackoff = \"1s\"\nbackoff_max = \"500ms\"",
			`config.toml:5: service "orders": retry.backoff: is 1s, more than retry.backoff_max with 500ms (line 6)`,
		},
		{
			"least limit above the most",
			orders + "[service.limit]\nadaptive_min = 20\nadaptive_max = 10",
			`config.toml:5: service "orders": limit.adaptive_min: is 20, more than limit.adaptive_max with 10 (line 6)`,
		},
		{
			"most below the least of defaults",
			"[defaults.limit]\nadaptive_min = 20\n" + orders + "[service.limit]\nadaptive_max = 10",
			`config.toml:7: service "orders": limit.adaptive_max: is 10, less than limit.adaptive_min with 20 (line 2)`,
		},
		{
			"probes of a down endpoint that would not end",
			orders + "[service.health_check]\ndown_interval = \"9ms\"",
			`config.toml:5: service "orders": health_check.down_interval: "9ms" is too short; want 0s, or 10ms or more`,
		},
	} {
		e.test(t)
	}
	s := load(t, orders+"[service.retry]\nbackoff_max = \"0s\"\n[service.limit]\nadaptive_min = 2000").Services[0]
	if s.Retry.Backoff != 0 || s.Limit.AdaptiveMax != 2000 {
		t.Errorf("defaults do not give way: backoff %v, adaptive_max %d", s.Retry.Backoff, s.Limit.AdaptiveMax)
	}
}

func TestOwnVariablesWithoutMeaningAreNamed(t *testing.T) {
	const want = `SIDECAR_SERVICE_ORDERS_BALANCER_HASH_KEY: service "orders": balancer.hash_key: is for policy = "ring_hash" only, and policy is "p2c"; change it or remove this`
	if got := problemsOf(t, orders, "SIDECAR_SERVICE_ORDERS_BALANCER_HASH_KEY=path").Error(); got != want {
		t.Errorf("\n got: %s\nwant: %s", got, want)
	}
}

// defaultsOfAll are right for some service each.
const defaultsOfAll = `
[runtime]
zone = "b"
[defaults.discovery]
instances = ["10.0.0.1:80"]
tags = ["v2"]
near = "_agent"
nearest = 3
combine = "merge"
failover = ["eu"]
dns = { type = "a", port = 80 }
file = { path = "/orders.json" }
nacos.clusters = ["a"]
[defaults.retry]
backoff_max = "10ms"
per_try = "5s"
[defaults.balancer]
slow_start = "10s"
hash_key = "cookie:session"
hash_balance = 2
[defaults.hedge]
enabled = true
percentile = 0.99
[defaults.timeout]
header = "X-Timeout"
[defaults.health_check]
path = "/up"
method = "OPTIONS"
host = "orders:80"
headers = ["Accept: text/plain"]
statuses = "200-299,301"
body = '^ok\s'
service = "orders.v1.Orders"
keep_dropped = true
[defaults.fallback]
instances = ["10.0.0.9:80 zone=b"]
body = """
Sorry.
	"Later"\r
"""
content_type = "text/html"
`

func TestWhatDefaultsSayForOtherServicesIsDropped(t *testing.T) {
	const services = `
[[service]]
name = "plain"
listen = "127.0.0.1:7001"
[[service]]
name = "db"
listen = "127.0.0.1:7002"
protocol = "tcp"
health_check.type = "tcp"
[[service]]
name = "web"
listen = "127.0.0.1:7003"
discovery.source = "static"
balancer.policy = "ring_hash"
health_check.type = "http"
fallback.status = 503
[[service]]
name = "rpc"
listen = "127.0.0.1:7004"
health_check.type = "grpc"
`
	cfg := load(t, defaultsOfAll+services)
	plain, db, web, rpc := cfg.Services[0], cfg.Services[1], cfg.Services[2], cfg.Services[3]
	check := HealthCheck{Probe: Probe{
		Path: "/healthz", Method: "GET", Statuses: "200-399",
		Interval: 5 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3,
	}}
	none, tcp, grpc, http := check, check, check, check
	none.Type = CheckNone
	tcp.Type, tcp.KeepDropped = CheckTCP, true
	grpc.Type, grpc.KeepDropped, grpc.Host, grpc.Service = CheckGRPC, true, "orders:80", "orders.v1.Orders"
	http.Type, http.KeepDropped, http.Host, http.Path, http.Method = CheckHTTP, true, "orders:80", "/up", "OPTIONS"
	http.Headers, http.Statuses, http.Body = []string{"Accept: text/plain"}, "200-299,301", `^ok\s`
	last := []string{"10.0.0.9:80 zone=b"}
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"zone", cfg.Runtime.Zone, "b"},
		{"check of none", plain.HealthCheck, none},
		{"check of tcp", db.HealthCheck, tcp},
		{"check of http", web.HealthCheck, http},
		{"check of grpc", rpc.HealthCheck, grpc},
		{"hash key of p2c", plain.Balancer.HashKey, "client"},
		{"hash balance of p2c", plain.Balancer.HashBalance, 1.25},
		{"hash key of ring_hash", web.Balancer.HashKey, "cookie:session"},
		{"hash balance of ring_hash", web.Balancer.HashBalance, 2.0},
		{"instances of consul", len(plain.Discovery.Instances), 0},
		{"instances of static", len(web.Discovery.Instances), 1},
		{"slow start of p2c", plain.Balancer.SlowStart, 10 * time.Second},
		{"slow start of ring_hash", web.Balancer.SlowStart, time.Duration(0)},
		{"retries of http", []time.Duration{plain.Retry.PerTry, plain.Retry.Backoff, plain.Retry.BackoffMax}, []time.Duration{5 * time.Second, 10 * time.Millisecond, 10 * time.Millisecond}},
		{"retries of tcp", []time.Duration{db.Retry.PerTry, db.Retry.Backoff, db.Retry.BackoffMax}, []time.Duration{0, 25 * time.Millisecond, 250 * time.Millisecond}},
		{"tags of consul", plain.Discovery.Tags, []string{"v2"}},
		{"tags of static", len(web.Discovery.Tags), 0},
		{"near of static", web.Discovery.Near, ""},
		{"combination of one", plain.Discovery.Combine, CombinePrefer},
		{"port of no dns", web.Discovery.DNS, DNSQuery{Type: DNSTypeSRV}},
		{"path of no file", web.Discovery.File, FileQuery{}},
		{"hedge of http", plain.Hedge, Hedge{Enabled: true, Percentile: 0.99, MinDelay: time.Millisecond, Budget: 0.05}},
		{"hedge of tcp", db.Hedge, Hedge{Percentile: 0.95, MinDelay: time.Millisecond, Budget: 0.05}},
		{"header of http", plain.Timeout.Header, "X-Timeout"},
		{"header of tcp", db.Timeout.Header, ""},
		{"fallback without a status", plain.Fallback, Fallback{Instances: last, ContentType: "text/plain; charset=utf-8"}},
		{"fallback of tcp", db.Fallback, Fallback{Instances: last, ContentType: "text/plain; charset=utf-8"}},
		{"fallback with a status", web.Fallback, Fallback{Instances: last, Status: 503, ContentType: "text/html", Body: "Sorry.\n\t\"Later\"\r\n"}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, tt.got, tt.want)
		}
	}
	again, err := Parse("redacted", []byte(cfg.Redacted()), nil)
	if err != nil {
		t.Fatalf("as written by Redacted:\n%v\n%s", err, cfg.Redacted())
	}
	if !reflect.DeepEqual(again, cfg) {
		t.Errorf("as written by Redacted:\n got %+v\nwant %+v", again, cfg)
	}
}

func TestResilienceFromTheEnvironment(t *testing.T) {
	cfg := load(t, orders,
		"SIDECAR_RUNTIME_ZONE=eu-1b",
		"SIDECAR_DEFAULTS_BALANCER_POLICY=ring_hash",
		"SIDECAR_SERVICE_ORDERS_BALANCER_HASH_KEY=header:X-Tenant",
		"SIDECAR_SERVICE_ORDERS_HEALTH_CHECK_TYPE=http",
		"SIDECAR_SERVICE_ORDERS_HEALTH_CHECK_STATUSES=200-299,301",
		"SIDECAR_SERVICE_ORDERS_HEALTH_CHECK_HEADERS=A: b, C: d",
		"SIDECAR_SERVICE_ORDERS_FALLBACK_STATUS=503",
		"SIDECAR_SERVICE_ORDERS_FALLBACK_BODY=one\ntwo",
	)
	s := cfg.Services[0]
	for _, tt := range []struct{ got, want any }{
		{cfg.Runtime.Zone, "eu-1b"},
		{s.Balancer.Policy, PolicyRingHash},
		{s.Balancer.HashKey, HashHeader + "X-Tenant"},
		{s.HealthCheck.Statuses, "200-299,301"},
		{s.HealthCheck.Headers, []string{"A: b", "C: d"}},
		{s.Fallback.Body, "one\ntwo"},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	const want = `SIDECAR_RUNTIME_ZONE: runtime.zone: "zone b" has a blank; a zone is one word, as it stands behind zone= of an instance`
	if got := problemsOf(t, orders, "SIDECAR_RUNTIME_ZONE=zone b").Error(); got != want {
		t.Errorf("\n got: %s\nwant: %s", got, want)
	}
}
