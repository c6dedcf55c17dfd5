package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// load parses a configuration that is right.
func load(t *testing.T, toml string, env ...string) *Config {
	t.Helper()
	cfg, err := Parse("config.toml", []byte(toml), env)
	if err != nil {
		t.Fatalf("Parse:\n%v", err)
	}
	return cfg
}

func TestTwoLinesAreEnough(t *testing.T) {
	got := load(t, "[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:7001\"\n")
	want := &Config{
		Admin:   Admin{Listen: Address{"tcp", "127.0.0.1:9901"}},
		Log:     Log{Level: "info", Format: "json"},
		Runtime: Runtime{Drain: 30 * time.Second},
		Consul:  Consul{Address: "127.0.0.1:8500", Consistency: "stale", Connections: 100},
		Etcd:    Etcd{Endpoints: []string{"127.0.0.1:2379"}, Prefix: "/services"},
		Redis:   Redis{Address: "127.0.0.1:6379"},
		Nacos:   Nacos{Addresses: []string{"127.0.0.1:8848"}, Version: NacosAuto},
		DNS:     DNS{MinTTL: time.Second, MaxTTL: time.Minute, Timeout: 2 * time.Second},

		Tracing:   Tracing{Sample: 0.01, Service: "sidecar"},
		AccessLog: AccessLog{Format: AccessLogJSON, Buffer: 1 << 20},
		Services: []Service{{
			Name:     "orders",
			Listen:   []Address{{"tcp", "127.0.0.1:7001"}},
			Protocol: ProtocolHTTP,
			OnDown:   OnDownKeep,

			UpstreamProtocol: UpstreamAuto, SendProxy: SendProxyOff,
			Discovery: Discovery{
				Source: SourceConsul, Sources: []string{SourceConsul}, Combine: CombinePrefer, Service: "orders", Warning: true,
				ConfirmLoss: 0.5, ConfirmAfter: 2 * time.Second, FailoverBelow: 1, DNS: DNSQuery{Type: DNSTypeSRV},
				Redis: RedisQuery{Poll: 2 * time.Second}, Nacos: NacosQuery{Group: "DEFAULT_GROUP"},
			},
			Balancer: Balancer{Policy: PolicyP2C, HashKey: HashClient, HashBalance: 1.25, ZoneAware: true, Panic: 0.5},
			Breaker: Breaker{
				ConsecutiveFailures: 5, SuccessRate: 0.8, MinRequests: 5, Window: 10 * time.Second,
				Open: time.Second, OpenMax: time.Minute, MaxEjected: 0.5,
			},
			Limit: Limit{AdaptiveMin: 5, AdaptiveMax: 1000},
			Retry: Retry{
				Attempts: 2, On: []string{"connect", "reset", "refused-stream", "timeout", "502", "503", "504"}, Stalled: time.Second,
				Backoff: 25 * time.Millisecond, BackoffMax: 250 * time.Millisecond, RetryAfterMax: time.Second, Budget: 0.2, BudgetMin: 10,
			},
			Hedge:   Hedge{Percentile: 0.95, MinDelay: time.Millisecond, Budget: 0.05},
			Timeout: Timeout{Connect: time.Second, Request: 15 * time.Second, Idle: time.Hour, UpstreamIdle: 4 * time.Second},
			HealthCheck: HealthCheck{Probe: Probe{
				Type: CheckNone, Path: "/healthz", Method: "GET", Statuses: "200-399",
				Interval: 5 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3,
			}},
			Fallback: Fallback{ContentType: "text/plain; charset=utf-8"},
			HTTP: HTTP{
				XForwardedFor: ForwardedAppend, XForwardedProto: true, XForwardedHost: true, Via: "sidecar",
				MaxHead: 65536, MaxFields: 256, MaxTarget: 16384, HeadTimeout: 10 * time.Second, ClientIdle: 75 * time.Second, Pool: 1024,
			},
			HTTP2:       HTTP2{MaxStreams: 256, HeaderList: 65536, Window: 256 << 10, ConnectionWindow: 1 << 20, Ping: 15 * time.Second},
			TLS:         TLS{ClientAuth: ClientAuthOff, MinVersion: TLS12},
			UpstreamTLS: UpstreamTLS{MinVersion: TLS12},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestNothingAtAllIsAConfigurationWithoutServices(t *testing.T) {
	cfg, err := Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Admin.Listen.String() != "127.0.0.1:9901" || cfg.Services != nil {
		t.Errorf("got %+v", cfg)
	}
}

func TestValuesOfEveryForm(t *testing.T) {
	cfg := load(t, "\ufeff"+`
[admin]
listen = ""
[runtime]
loops = 0x2
[defaults]
retry = { attempts = 7, budget = 1, on = ["500"] }
health_check.interval = "500ms"
breaker.open_max = "100ms"
[[service]]
name = "a"
listen = [
	"localhost:7001",
	"[::1]:7001",
	"unix:/run/a.sock",
	"0.0.0.0:0",
]
retry.on = []
[service.breaker]
open = "90s"
open_max = "1h30m"
[[service]]
name = 'b'
listen = "127.0.0.1:0"
protocol = "tcp"
on_down = "close"
[service.discovery]
source = "static"
instances = ["10.0.0.1:80 weight=2 zone=b", "db.internal:80", "[::1]:80", "unix:/run/b.sock"]
[service.http]
host = "[::1]:80"
via = ""
`+"\r\n")
	a, b := cfg.Services[0], cfg.Services[1]
	listen := []Address{{"tcp", "127.0.0.1:7001"}, {"tcp", "[::1]:7001"}, {"unix", "/run/a.sock"}, {"tcp", "0.0.0.0:0"}}
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"admin is off", cfg.Admin.Listen.IsZero(), true},
		{"hexadecimal integer", cfg.Runtime.Loops, 2},
		{"listen", a.Listen, listen},
		{"AddrPort of tcp", listen[1].AddrPort().String(), "[::1]:7001"},
		{"AddrPort of unix", listen[2].AddrPort().IsValid(), false},
		{"value of defaults", a.Retry.Attempts, 7},
		{"integer for a number", a.Retry.Budget, 1.0},
		{"empty list over the default", len(a.Retry.On), 0},
		{"list of defaults", b.Retry.On, []string{"500"}},
		{"default timeout is lowered to the interval", a.HealthCheck.Timeout, 500 * time.Millisecond},
		{"service over defaults", a.Breaker.OpenMax, 90 * time.Minute},
		{"default open is lowered to open_max", b.Breaker.Open, 100 * time.Millisecond},
		{"instances", len(b.Discovery.Instances), 4},
		{"empty text over the default", b.HTTP.Via, ""},
		{"host", b.HTTP.Host, "[::1]:80"},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

func TestLongerOpenRaisesTheDefaultOfOpenMax(t *testing.T) {
	b := load(t, orders+"[service.breaker]\nopen = \"5m\"").Services[0].Breaker
	if b.OpenMax != 5*time.Minute {
		t.Errorf("open_max = %v", b.OpenMax)
	}
}

func TestServicesOfOnePortOnDifferentAddresses(t *testing.T) {
	load(t, `
service = [
	{ name = "a", listen = "127.0.0.1:7001" },
	{ name = "b", listen = "127.0.0.2:7001" },
	{ name = "c", listen = ["[::1]:7001", "0.0.0.0:0"] },
	{ name = "d", listen = ["127.0.0.1:0", "unix:/run/d"] },
	{ name = "e", listen = "unix:/run/e" },
]`)
	load(t, "[[service]]\nname = \"a\"\nlisten = \"0.0.0.0:7001\"\n[[service]]\nname = \"b\"\nlisten = \"[::1]:7001\"")
}

func TestConsulAddressAndTLS(t *testing.T) {
	for _, tt := range []struct {
		toml    string
		address string
		tls     bool
	}{
		{`address = "consul.internal:8500"`, "consul.internal:8500", false},
		{`address = "http://10.0.0.1:8500/"`, "10.0.0.1:8500", false},
		{`address = "https://10.0.0.1:8501"`, "10.0.0.1:8501", true},
		{`address = "https://consul.internal"`, "consul.internal:443", true},
		{`address = "http://[::1]"`, "[::1]:80", false},
		{`address = "[::1]:8500"`, "[::1]:8500", false},
		{`address = "unix:///run/consul.sock"`, "unix:///run/consul.sock", false},
		{`address = "unix:/run/consul.sock"`, "unix:///run/consul.sock", false},
		{`tls.enabled = true`, "127.0.0.1:8500", true},
		{`tls.ca_file = "/ca.pem"`, "127.0.0.1:8500", true},
		{`tls = { ca_file = "/ca.pem", enabled = false }`, "127.0.0.1:8500", false},
		{"address = \"http://127.0.0.1:8500\"\ntls.server_name = \"x\"", "127.0.0.1:8500", false},
		{`tls = { cert_file = "/c", key_file = "/k" }`, "127.0.0.1:8500", true},
	} {
		c := load(t, "[consul]\n"+tt.toml).Consul
		if c.Address != tt.address || c.TLS.Enabled != tt.tls {
			t.Errorf("%s: address %q, tls %v; want %q, %v", tt.toml, c.Address, c.TLS.Enabled, tt.address, tt.tls)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	large := filepath.Join(dir, "large")
	for name, data := range map[string][]byte{plain: nil, large: make([]byte, mostBytes+1)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ path, want string }{
		{filepath.Join(dir, "none.toml"), "there is no such file; check the path, or begin with a copy of config.toml.example"},
		{dir, "is a folder; name the file in it, such as " + filepath.Join(dir, "config.toml")},
		{filepath.Join(plain, "config.toml"), "there is no such file: what stands before the last / is not a folder; check the path"},
		{large, "has more than 1 MiB; is it a configuration at all?"},
	} {
		_, err := Load(tt.path, []string{"SIDECAR_LOG_LEVL=info", "SIDECAR_SERVICE_A_PROTOCOL=tcp"})
		want := tt.path + ": " + tt.want + "\nSIDECAR_LOG_LEVL: unknown variable; did you mean \"SIDECAR_LOG_LEVEL\"?"
		if err == nil || err.Error() != want {
			t.Errorf("\n got: %v\nwant: %s", err, want)
		}
	}
}

func TestWhatIsSaidOfFilesThatMayNotBeRead(t *testing.T) {
	denied := &fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}
	if got := fileMessage("x", denied); !strings.HasPrefix(got, "may not be read by uid ") {
		t.Errorf("got %q", got)
	}
	broken := &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}
	if got, want := fileMessage("x", broken), "cannot be read: input/output error; check the path and the disk"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if os.Getuid() == 0 {
		return // root may read everything
	}
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, nil, 0); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, nil)
	var problems *Errors
	if !errors.As(err, &problems) || !strings.Contains(err.Error(), "may not be read") {
		t.Errorf("got %v", err)
	}
}
