package config

import (
	"slices"
	"testing"
	"time"
)

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	cfg := load(t, `
[log]
level = "warn"
[consul]
address = "10.0.0.1:8500"
[defaults.retry]
attempts = 3
[[service]]
name = "orders"
listen = "127.0.0.1:7001"
[[service]]
name = "order-api.v2"
listen = "127.0.0.1:7002"
[service.retry]
attempts = 4
`,
		"PATH=/bin",
		"SIDECAR_LOG_LEVEL=debug",
		"SIDECAR_ADMIN_LISTEN=",
		"SIDECAR_CONSUL_TLS_CA_FILE=/ca.pem",
		"SIDECAR_CONSUL_TOKEN=geheim",
		"SIDECAR_DEFAULTS_RETRY_ATTEMPTS=5",
		"SIDECAR_DEFAULTS_HTTP_X_FORWARDED_PROTO=false",
		"SIDECAR_SERVICE_ORDERS_LISTEN=127.0.0.1:7003, unix:/run/orders.sock",
		"SIDECAR_SERVICE_ORDERS_RETRY_ON=",
		"SIDECAR_SERVICE_ORDERS_RETRY_BUDGET=0.5",
		"SIDECAR_SERVICE_ORDER_API_V2_TIMEOUT_REQUEST=1m",
		"SIDECAR_SERVICE_ORDER_API_V2_DISCOVERY_TAGS=a,b",
	)
	if len(cfg.Services) != 2 {
		t.Fatalf("services: %+v", cfg.Services)
	}
	a, b := cfg.Services[0], cfg.Services[1]
	for _, ok := range []struct {
		name string
		ok   bool
	}{
		{"over the file", cfg.Log.Level == "debug"},
		{"file alone", cfg.Consul.Address == "10.0.0.1:8500"},
		{"empty is a value", cfg.Admin.Listen.IsZero()},
		{"key with underscores", cfg.Consul.TLS.CAFile == "/ca.pem" && cfg.Consul.TLS.Enabled},
		{"secret", cfg.Consul.Token == "geheim"},
		{"defaults", a.Retry.Attempts == 5},
		{"the service's own value wins over defaults from the environment", b.Retry.Attempts == 4},
		{"bool", !a.HTTP.XForwardedProto && !b.HTTP.XForwardedProto},
		{"list of addresses", slices.Equal(a.Listen, []Address{{"tcp", "127.0.0.1:7003"}, {"unix", "/run/orders.sock"}})},
		{"empty list", a.Retry.On == nil},
		{"number", a.Retry.Budget == 0.5},
		{"name with - and .", b.Timeout.Request == time.Minute},
		{"list", slices.Equal(b.Discovery.Tags, []string{"a", "b"})},
	} {
		if !ok.ok {
			t.Errorf("%s: wrong; services %+v", ok.name, cfg.Services)
		}
	}
}

func TestServicesOfTheEnvironmentAlone(t *testing.T) {
	cfg, err := Load("", []string{
		"SIDECAR_SERVICE_ORDER_API_LISTEN=127.0.0.1:7002",
		"SIDECAR_SERVICE_ORDER_API_DISCOVERY_SOURCE=static",
		"SIDECAR_SERVICE_ORDER_API_DISCOVERY_INSTANCES=10.0.0.1:80 weight=2, 10.0.0.2:80",
		"SIDECAR_SERVICE_B_NAME=Billing.v2",
		"SIDECAR_SERVICE_B_LISTEN=127.0.0.1:7001",
		"SIDECAR_SERVICE_B_PROTOCOL=tcp",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Services) != 2 {
		t.Fatalf("services: %+v", cfg.Services)
	}
	b, o := cfg.Services[0], cfg.Services[1]
	if b.Name != "Billing.v2" || b.Discovery.Service != "Billing.v2" || b.Protocol != "tcp" {
		t.Errorf("got %+v", b)
	}
	if o.Name != "order-api" || !slices.Equal(o.Discovery.Instances, []string{"10.0.0.1:80 weight=2", "10.0.0.2:80"}) {
		t.Errorf("got %+v", o)
	}
}

func TestVariablesOfOthersAreTheWeakest(t *testing.T) {
	env := []string{"CONSUL_HTTP_ADDR=https://consul:8501", "CONSUL_HTTP_TOKEN=t", "STATE_DIRECTORY=/var/lib/sidecar:/var/lib/x"}
	cfg := load(t, "", env...)
	if c := cfg.Consul; c.Address != "consul:8501" || !c.TLS.Enabled || c.Token != "t" {
		t.Errorf("alone: %+v", c)
	}
	if cfg.Runtime.StateDir != "/var/lib/sidecar" {
		t.Errorf("state_dir: %q", cfg.Runtime.StateDir)
	}
	cfg = load(t, "[consul]\naddress = \"10.0.0.1:8500\"\ntoken_file = \"/t\"\n[runtime]\nstate_dir = \"\"", env...)
	if c := cfg.Consul; c.Address != "10.0.0.1:8500" || c.TLS.Enabled || c.Token != "" || c.TokenFile != "/t" {
		t.Errorf("with a file: %+v", c)
	}
	if cfg.Runtime.StateDir != "" {
		t.Errorf("state_dir: %q", cfg.Runtime.StateDir)
	}
	cfg = load(t, "", "CONSUL_HTTP_TOKEN=t", "CONSUL_HTTP_TOKEN_FILE=/t", "CONSUL_HTTP_ADDR=", "SIDECAR_CONSUL_ADDRESS=10.0.0.2:8500")
	if c := cfg.Consul; c.Address != "10.0.0.2:8500" || c.Token != "" || c.TokenFile != "/t" {
		t.Errorf("token and file: %+v", c)
	}
}

func TestMistakesOfTheEnvironmentNameTheVariable(t *testing.T) {
	for _, tt := range []struct {
		name string
		toml string
		env  []string
		want string
	}{
		{
			"unknown", "",
			[]string{"SIDECAR_CONSUL_ADRESS=x"},
			`SIDECAR_CONSUL_ADRESS: unknown variable; did you mean "SIDECAR_CONSUL_ADDRESS"?`,
		},
		{
			"unknown and far from all", "",
			[]string{"SIDECAR_COLOUR=red"},
			`SIDECAR_COLOUR: unknown variable`,
		},
		{
			"unknown key of defaults", "",
			[]string{"SIDECAR_DEFAULTS_RETRY_ATEMPTS=1"},
			`SIDECAR_DEFAULTS_RETRY_ATEMPTS: unknown variable; did you mean "SIDECAR_DEFAULTS_RETRY_ATTEMPTS"?`,
		},
		{
			"listen in defaults", "",
			[]string{"SIDECAR_DEFAULTS_LISTEN=127.0.0.1:1"},
			`SIDECAR_DEFAULTS_LISTEN: unknown variable`,
		},
		{
			"unknown key of a service", orders,
			[]string{"SIDECAR_SERVICE_ORDERS_RETRY_ATEMPTS=1"},
			`SIDECAR_SERVICE_ORDERS_RETRY_ATEMPTS: unknown variable; did you mean "SIDECAR_SERVICE_ORDERS_RETRY_ATTEMPTS"?`,
		},
		{
			"unknown key of a service that is not in the file", "",
			[]string{"SIDECAR_SERVICE_ORDERS_LISTN=127.0.0.1:1"},
			`SIDECAR_SERVICE_ORDERS_LISTN: unknown variable; did you mean "SIDECAR_SERVICE_ORDERS_LISTEN"?`,
		},
		{
			"misspelt service", orders,
			[]string{"SIDECAR_SERVICE_ORDRES_RETRY_ATTEMPTS=1"},
			`SIDECAR_SERVICE_ORDRES_RETRY_ATTEMPTS: there is no service "ordres" in the file, and without SIDECAR_SERVICE_ORDRES_LISTEN none is made; did you mean "SIDECAR_SERVICE_ORDERS_RETRY_ATTEMPTS"?`,
		},
		{
			"service without listen", "",
			[]string{"SIDECAR_SERVICE_ORDERS_RETRY_ATTEMPTS=1", "SIDECAR_SERVICE_ORDERS_PROTOCOL=tcp"},
			`SIDECAR_SERVICE_ORDERS_PROTOCOL: there is no service "orders" in the file, and without SIDECAR_SERVICE_ORDERS_LISTEN none is made
SIDECAR_SERVICE_ORDERS_RETRY_ATTEMPTS: there is no service "orders" in the file, and without SIDECAR_SERVICE_ORDERS_LISTEN none is made`,
		},
		{
			"no integer", "",
			[]string{"SIDECAR_RUNTIME_LOOPS=two"},
			`SIDECAR_RUNTIME_LOOPS: runtime.loops: want an integer, got "two"`,
		},
		{
			"integer without end", "",
			[]string{"SIDECAR_RUNTIME_LOOPS=99999999999999999999"},
			`SIDECAR_RUNTIME_LOOPS: runtime.loops: 99999999999999999999 is out of range; want 0 to 1024`,
		},
		{
			"empty integer", "",
			[]string{"SIDECAR_RUNTIME_LOOPS="},
			`SIDECAR_RUNTIME_LOOPS: runtime.loops: want an integer, got ""`,
		},
		{
			"no number", orders,
			[]string{"SIDECAR_SERVICE_ORDERS_RETRY_BUDGET=20%"},
			`SIDECAR_SERVICE_ORDERS_RETRY_BUDGET: service "orders": retry.budget: want a number, got "20%"`,
		},
		{
			"no bool", "",
			[]string{"SIDECAR_CONSUL_TLS_ENABLED=yes"},
			`SIDECAR_CONSUL_TLS_ENABLED: consul.tls.enabled: want true or false, got "yes"`,
		},
		{
			"negative duration", "",
			[]string{"SIDECAR_RUNTIME_DRAIN=-1s"},
			`SIDECAR_RUNTIME_DRAIN: runtime.drain: "-1s" is negative; want 0s or more`,
		},
		{
			"bad word", orders,
			[]string{"SIDECAR_SERVICE_ORDERS_BALANCER_POLICY=p3c"},
			`SIDECAR_SERVICE_ORDERS_BALANCER_POLICY: service "orders": balancer.policy: "p3c" is not known; allowed are p2c, least_conn, round_robin, random and ring_hash; did you mean "p2c"?`,
		},
		{
			"bad item", orders,
			[]string{"SIDECAR_SERVICE_ORDERS_RETRY_ON=connect,,rest"},
			`SIDECAR_SERVICE_ORDERS_RETRY_ON: service "orders": retry.on: "" is not known; allowed are ` + retryWords + `
SIDECAR_SERVICE_ORDERS_RETRY_ON: service "orders": retry.on: "rest" is not known; allowed are ` + retryWords + `; did you mean "reset"?`,
		},
		{
			"empty listen", orders,
			[]string{"SIDECAR_SERVICE_ORDERS_LISTEN="},
			`SIDECAR_SERVICE_ORDERS_LISTEN: service "orders": listen: is empty; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"bad fallback", "",
			[]string{"CONSUL_HTTP_ADDR=consul"},
			`CONSUL_HTTP_ADDR: consul.address: "consul" is not an address; want host:port, http://host:port, https://host:port or unix:///path`,
		},
		{
			"address of another service", orders,
			[]string{"SIDECAR_SERVICE_B_LISTEN=127.0.0.1:7001"},
			`SIDECAR_SERVICE_B_LISTEN: service "b": listen: 127.0.0.1:7001 is taken by service "orders" (line 3)`,
		},
		{
			"static by default", "",
			[]string{"SIDECAR_DEFAULTS_DISCOVERY_SOURCE=static", "SIDECAR_SERVICE_B_LISTEN=127.0.0.1:1"},
			`SIDECAR_DEFAULTS_DISCOVERY_SOURCE: service "b": discovery.instances: source is "static", which needs instances, such as ["10.0.0.1:8080"]`,
		},
		{
			"static in the file's defaults", "[defaults.discovery]\nsource = \"static\"",
			[]string{"SIDECAR_SERVICE_B_LISTEN=127.0.0.1:1"},
			`SIDECAR_SERVICE_B_LISTEN: service "b": discovery.instances: source is "static", which needs instances, such as ["10.0.0.1:8080"]`,
		},
		{
			"two services of one spelling", "[[service]]\nname = \"a-b\"\nlisten = \"127.0.0.1:1\"\n[[service]]\nname = \"a.b\"\nlisten = \"127.0.0.1:2\"",
			[]string{"SIDECAR_SERVICE_A_B_PROTOCOL=tcp"},
			`SIDECAR_SERVICE_A_B_PROTOCOL: means service "a-b" as well as "a.b"; set it in the file, or rename one`,
		},
		{
			"bad name", "",
			[]string{"SIDECAR_SERVICE___LISTEN=127.0.0.1:1"},
			`SIDECAR_SERVICE___LISTEN: service "-": name: "-" is not a name; want letters, digits and - . _ with a letter or digit in front (discovery.service takes any name of the registry)`,
		},
		{
			"secret is not shown", "",
			[]string{"SIDECAR_CONSUL_TOKEN=geheim\n"},
			`SIDECAR_CONSUL_TOKEN: consul.token: the secret has a control character, perhaps a line break`,
		},
		{
			"file and environment", "[log]\nlevl = 1",
			[]string{"SIDECAR_LOG_LEVEL=x", "SIDECAR_ADMIN_LISTEN=x"},
			`config.toml:2: log.levl: unknown key; did you mean "level"?
SIDECAR_ADMIN_LISTEN: admin.listen: "x" has no port; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"
SIDECAR_LOG_LEVEL: log.level: "x" is not known; allowed are debug, info, warn and error`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := problemsOf(t, tt.toml, tt.env...).Error(); got != tt.want {
				t.Errorf("\n got: %s\nwant: %s", got, tt.want)
			}
		})
	}
}
