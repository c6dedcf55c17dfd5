package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// origins loads a file, and returns the values by path, each as "text from origin".
func origins(t *testing.T, toml string, env ...string) map[string]string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, values, err := LoadWithOrigins(path, env)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := Load(path, env); err != nil || !reflect.DeepEqual(plain, cfg) {
		t.Errorf("Load returns %+v (%v), and with origins it is %+v", plain, err, cfg)
	}
	all := make(map[string]string)
	for _, v := range values {
		if _, twice := all[v.Path]; twice {
			t.Errorf("%s is listed twice", v.Path)
		}
		all[v.Path] = v.Text + " from " + strings.Replace(v.Origin, path, "config.toml", 1)
	}
	return all
}

func TestEachValueHasAnOrigin(t *testing.T) {
	got := origins(t, `[log]
level = "debug"
[defaults.timeout]
connect = "9s"
request = "8s"
[defaults.retry]
attempts = 5
[defaults.discovery]
instances = ["10.0.0.9:1"]
[[service]]
name = "orders"
listen = "127.0.0.1:7001"
timeout.request = "5s"
[[service]]
name = "stock"
listen = ["127.0.0.1:7002", "127.0.0.1:7003"]
protocol = "tcp"
sni = ["Stock.Example"]
[[register]]
name = "web"
port = 8080
check.type = "tcp"
`, "SIDECAR_RUNTIME_DRAIN=1m", "SIDECAR_DEFAULTS_RETRY_ATTEMPTS=2", "SIDECAR_SERVICE_STOCK_TIMEOUT_CONNECT=2s",
		"SIDECAR_SERVICE_USERS_LISTEN=127.0.0.1:7004", "CONSUL_HTTP_TOKEN=geheim", "SIDECAR_REGISTER_WEB_TTL=30s")
	for path, want := range map[string]string{
		"log.level":                           `"debug" from config.toml:2`,
		"log.format":                          `"json" from default`,
		"runtime.drain":                       `"60s" from env SIDECAR_RUNTIME_DRAIN`,
		"consul.token":                        `"<hidden>" from env CONSUL_HTTP_TOKEN`,
		"service orders: name":                `"orders" from config.toml:11`,
		"service orders: timeout.connect":     `"9s" from config.toml:4 [defaults]`,
		"service orders: timeout.request":     `"5s" from config.toml:13`,
		"service orders: retry.attempts":      `2 from env SIDECAR_DEFAULTS_RETRY_ATTEMPTS`,
		"service orders: discovery.source":    `"consul" from default`,
		"service orders: discovery.sources":   `["consul"] from derived`,
		"service orders: discovery.service":   `"orders" from derived`,
		"service orders: balancer.policy":     `"p2c" from default`,
		"service stock: timeout.connect":      `"2s" from env SIDECAR_SERVICE_STOCK_TIMEOUT_CONNECT`,
		"service stock: listen":               `["127.0.0.1:7002", "127.0.0.1:7003"] from config.toml:16`,
		"service stock: sni":                  `["stock.example"] from config.toml:18`,
		"service users: name":                 `"users" from env SIDECAR_SERVICE_USERS_LISTEN`,
		"register web: port":                  `8080 from config.toml:21`,
		"register web: ttl":                   `"30s" from env SIDECAR_REGISTER_WEB_TTL`,
		"register web: id":                    `"web-8080" from derived`,
		"register web: check.address":         `"127.0.0.1:8080" from derived`,
		"service orders: discovery.instances": `[] from default`, // what [defaults] says is not for source consul
	} {
		if got[path] != want {
			t.Errorf("%s: %s; want %s", path, got[path], want)
		}
	}
}

func TestOriginsAreOfAllValues(t *testing.T) {
	got := origins(t, ordersOnly+webOnly)
	s := newSchema()
	if want := len(s.root.settable()) + len(s.service.settable()) + len(s.register.settable()); len(got) != want {
		t.Errorf("%d values, want %d", len(got), want)
	}
}

func TestOriginsOfWhatCannotBeLoaded(t *testing.T) {
	cfg, values, err := LoadWithOrigins("/nowhere/config.toml", nil)
	_, plain := Load("/nowhere/config.toml", nil)
	if cfg != nil || values != nil || err == nil || plain == nil || err.Error() != plain.Error() {
		t.Errorf("got %v, %v, %v; Load says %v", cfg, values, err, plain)
	}
}
