package config

import (
	"reflect"
	"testing"
	"time"
)

func TestTwoLinesAnnounceAService(t *testing.T) {
	got := load(t, "[[register]]\nname = \"orders\"\nport = 8080\n").Registers
	want := []Register{{
		Name: "orders", ID: "orders-8080", Registry: RegistryConsul, Port: 8080, Weight: 1, WarningWeight: 1,
		TTL: 15 * time.Second, LeaveWait: 3 * time.Second,
		Check: RegisterCheck{Probe: Probe{
			Type: CheckNone, Path: "/healthz", Method: "GET", Statuses: "200-399",
			Interval: 5 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3,
		}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

// announcements have every key somewhere.
const announcements = `
[defaults]
retry.attempts = 3
[[register]]
name = "Orders: all of them"
id = "o1"
address = "10.0.0.1"
port = 8080
tags = ["v2", "eu"]
meta = ["version=2=1", "empty="]
weight = 10
warning_weight = 2
ttl = "3s"
deregister_after = "1m"
leave_wait = "0s"
[register.check]
type = "http"
path = "/up"
headers = ["A: b"]
interval = "500ms"
down_interval = "100ms"
[[register]]
name = "db"
registry = "etcd"
address = "fd00::1"
port = 5432
check.type = "tcp"
[[register]]
name = "rpc"
port = 9000
check = { type = "grpc", service = "rpc.v1", address = "unix:/run/rpc.sock", rise = 1, fall = 1 }
[[register]]
name = "plain"
port = 9001
check = { type = "http", method = "HEAD" }
`

func TestAnnouncementsOfEveryForm(t *testing.T) {
	cfg := load(t, announcements)
	a, db, rpc, plain := cfg.Registers[0], cfg.Registers[1], cfg.Registers[2], cfg.Registers[3]
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"name of any form", a.Name, "Orders: all of them"},
		{"own id", a.ID, "o1"},
		{"id of name and port", db.ID, "db-fd00::1-5432"},
		{"meta", a.Meta, []string{"version=2=1", "empty="}},
		{"weights", []int{a.Weight, a.WarningWeight}, []int{10, 2}},
		{"times", []time.Duration{a.TTL, a.DeregisterAfter, a.LeaveWait}, []time.Duration{3 * time.Second, time.Minute, 0}},
		{"check", a.Check.Probe, Probe{
			Type: CheckHTTP, Path: "/up", Method: "GET", Headers: []string{"A: b"}, Statuses: "200-399",
			Interval: 500 * time.Millisecond, DownInterval: 100 * time.Millisecond, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3,
		}},
		{"what is probed has the address", a.Check.Address, "10.0.0.1:8080"},
		{"brackets", db.Check.Address, "[fd00::1]:5432"},
		{"own address of the check", rpc.Check.Address, "unix:/run/rpc.sock"},
		{"this host without an address", plain.Check.Address, "127.0.0.1:9001"},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
	if again := load(t, cfg.Redacted()); !reflect.DeepEqual(again, cfg) {
		t.Errorf("as written by Redacted:\n got %+v\nwant %+v", again, cfg)
	}
}

func TestMistakesInAnnouncements(t *testing.T) {
	const register = "[[register]]\nname = \"orders\"\nport = 8080\n"
	for _, e := range []example{
		{
			"nothing in it",
			"\n[[register]]",
			`config.toml:2: register[0].name: is missing; every announcement needs the name that others look it up by
config.toml:2: register[0].port: is missing; write the port that others reach the service by, such as port = 8080`,
		},
		{
			"unknown keys",
			register + "prot = 1\ntimeout = \"1s\"\n[register.check]\nintervall = \"1s\"\nkeep_dropped = true\n[register.chekc]\ntype = \"tcp\"",
			`config.toml:4: register "orders": prot: unknown key; did you mean "port"?
config.toml:5: register "orders": timeout: unknown key; did you mean "check.timeout"?
config.toml:7: register "orders": check.intervall: unknown key; did you mean "interval"?
config.toml:8: register "orders": check.keep_dropped: unknown key
config.toml:9: register "orders": chekc: unknown key; did you mean "check"?`,
		},
		{
			"one bracket too few",
			"[register]\nname = \"orders\"\nport = 0",
			`config.toml:1: register: is a table; want double brackets, [[register]], once for each register
config.toml:3: register "orders": port: 0 is out of range; want 1 to 65535`,
		},
		{
			"no tables at all",
			"register = \"orders\"\nservice = 1",
			`config.toml:1: register: is a string; want tables, [[register]], one for each register
config.toml:2: service: is an integer; want tables, [[service]], one for each service`,
		},
		{
			"value for the check",
			register + "check = \"tcp\"",
			`config.toml:4: register "orders": check: is a string; want a table, [register.check]`,
		},
		{
			"not in defaults",
			"[defaults.register]\nttl = \"1m\"",
			`config.toml:1: defaults.register: unknown key`,
		},
		{
			"one name twice, and once as a service",
			orders + register + register,
			`config.toml:8: register "orders": name: "orders" is the name of another register already (line 5); names differ`,
		},
		{
			"one id twice",
			register + "[[register]]\nname = \"b\"\nid = \"orders-8080\"\nport = 1",
			`config.toml:6: register "b": id: "orders-8080" is that of register "orders" already (line 1); set another`,
		},
		{
			"one id twice, of which the later is derived",
			"[[register]]\nname = \"b\"\nid = \"orders-8080\"\nport = 1\n" + register,
			`config.toml:5: register "orders": id: "orders-8080" is that of register "b" already (line 1); set another`,
		},
		{
			"values out of range",
			register + "weight = 0\nttl = \"2s\"\nderegister_after = \"59s\"\nregistry = \"redis\"\nmeta = [\"a\", \"b=1\", \"b=2\", \"a b=c\"]",
			`config.toml:4: register "orders": weight: 0 is out of range; want 1 to 65535
config.toml:5: register "orders": ttl: "2s" is too short; want 3s or more
config.toml:6: register "orders": deregister_after: "59s" is too short; want 0s, or 60s or more
config.toml:7: register "orders": registry: "redis" is not known; allowed are consul and etcd
config.toml:8: register "orders": meta: "a": want key=value
config.toml:8: register "orders": meta: "b" is listed twice
config.toml:8: register "orders": meta: "a b=c": "a b" is not a key; want at most 128 letters, digits and - _`,
		},
		{
			"etcd has no agent",
			register + "registry = \"etcd\"\nderegister_after = \"2m\"\nwarning_weight = 2",
			`config.toml:4: register "orders": address: registry is "etcd", which has no agent on this host to add its address; set the one that others reach this host by
config.toml:5: register "orders": deregister_after: is for registry = "consul" only, and registry is "etcd"; change it or remove this
config.toml:6: register "orders": warning_weight: is for registry = "consul" only, and registry is "etcd"; change it or remove this`,
		},
		{
			"check without a type",
			register + "[register.check]\npath = \"/up\"\naddress = \"127.0.0.1:1\"",
			`config.toml:5: register "orders": check.path: is for type = "http" only, and type is "none"; change it or remove this
config.toml:6: register "orders": check.address: is for type = "tcp", "http" or "grpc" only, and type is "none"; change it or remove this`,
		},
		{
			"check that contradicts itself",
			register + "[register.check]\ntype = \"http\"\nmethod = \"HEAD\"\nbody = \"ok\"\nheaders = [\"Host: a\"]\ninterval = \"1s\"\ntimeout = \"2s\"\ndown_interval = \"1ms\"",
			`config.toml:7: register "orders": check.body: looks at a body, which HEAD never brings; change check.method (line 6)
config.toml:8: register "orders": check.headers: "Host: a": write check.host instead
config.toml:10: register "orders": check.timeout: is 2s, more than check.interval with 1s (line 9)
config.toml:11: register "orders": check.down_interval: "1ms" is too short; want 0s, or 10ms or more`,
		},
	} {
		e.test(t)
	}
}

func TestAnnouncementsInTheEnvironment(t *testing.T) {
	cfg := load(t, "[[register]]\nname = \"Orders API\"\nport = 8080",
		"SIDECAR_REGISTER_ORDERS_API_PORT=8081",
		"SIDECAR_REGISTER_ORDERS_API_CHECK_TYPE=tcp",
		"SIDECAR_REGISTER_ORDERS_API_META=a=1, b=2",
		"SIDECAR_REGISTER_DB_PORT=5432",
		"SIDECAR_REGISTER_DB_WARNING_WEIGHT=3",
		"SIDECAR_REGISTER_DB_CHECK_ADDRESS=127.0.0.1:1",
		"SIDECAR_REGISTER_DB_CHECK_TYPE=tcp",
	)
	if len(cfg.Registers) != 2 {
		t.Fatalf("registers: %+v", cfg.Registers)
	}
	a, db := cfg.Registers[0], cfg.Registers[1]
	if a.Name != "Orders API" || a.ID != "Orders API-8081" || a.Check.Address != "127.0.0.1:8081" || !reflect.DeepEqual(a.Meta, []string{"a=1", "b=2"}) {
		t.Errorf("of the file: %+v", a)
	}
	if db.Name != "db" || db.ID != "db-5432" || db.WarningWeight != 3 || db.Weight != 1 || db.Check.Address != "127.0.0.1:1" {
		t.Errorf("of the environment alone: %+v", db)
	}

	const both = "[[register]]\nname = \"orders\"\nport = 1\n[[register]]\nname = \"orders-check\"\nport = 2\n"
	for _, tt := range []struct {
		name, toml, variable, want string
	}{
		{
			"unknown key", both, "SIDECAR_REGISTER_ORDERS_PROT=1",
			`SIDECAR_REGISTER_ORDERS_PROT: unknown variable; did you mean "SIDECAR_REGISTER_ORDERS_PORT"?`,
		},
		{
			"unknown key of one that is not in the file", "", "SIDECAR_REGISTER_ORDERS_PROT=1",
			`SIDECAR_REGISTER_ORDERS_PROT: unknown variable; did you mean "SIDECAR_REGISTER_ORDERS_PORT"?`,
		},
		{
			"without a port", both, "SIDECAR_REGISTER_ORDRES_TTL=5s",
			`SIDECAR_REGISTER_ORDRES_TTL: there is no register "ordres" in the file, and without SIDECAR_REGISTER_ORDRES_PORT none is made; did you mean "SIDECAR_REGISTER_ORDERS_TTL"?`,
		},
		{
			"bad value", both, "SIDECAR_REGISTER_ORDERS_PORT=http",
			`SIDECAR_REGISTER_ORDERS_PORT: register "orders": port: want an integer, got "http"`,
		},
		{
			"two meanings", both, "SIDECAR_REGISTER_ORDERS_CHECK_ADDRESS=10.0.0.1",
			`SIDECAR_REGISTER_ORDERS_CHECK_ADDRESS: means register "orders" as well as "orders-check"; set it in the file, or rename one`,
		},
		{
			"the meaning that is in the file", "[[register]]\nname = \"orders-check\"\nport = 2\n", "SIDECAR_REGISTER_ORDERS_CHECK_ADDRESS=0.0.0.0",
			`SIDECAR_REGISTER_ORDERS_CHECK_ADDRESS: register "orders-check": address: "0.0.0.0" is every address of this host, and none that others can connect to; name one, or leave it empty for that of the Consul agent`,
		},
		{
			"lacks something", "", "SIDECAR_REGISTER_ORDERS_PORT=70000",
			`SIDECAR_REGISTER_ORDERS_PORT: register "orders": port: 70000 is out of range; want 1 to 65535`,
		},
	} {
		if got := problemsOf(t, tt.toml, tt.variable).Error(); got != tt.want {
			t.Errorf("%s:\n got: %s\nwant: %s", tt.name, got, tt.want)
		}
	}
}
