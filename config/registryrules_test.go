package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// registries have every key that can be set beside the others.
const registries = `
[consul]
namespace = "team"
partition = "eu"
connections = 10000
cached = true
[etcd]
endpoints = ["https://etcd-1:2379", "10.0.0.2:2379", "https://[fd00::1]:2379/"]
prefix = "live/"
username = "sidecar"
password = "geheim-1"
[redis]
address = "unix:///run/redis.sock"
username = "sidecar"
password = "geheim-2"
database = 3
[nacos]
addresses = ["http://nacos:8848/api", "10.0.0.2:8848/nacos/"]
version = "v1"
namespace = "n"
username = "sidecar"
password = "geheim-3"
[kubernetes]
address = "https://kube.internal"
token_file = "/token"
ca_file = "/ca.pem"
namespace = "shop"
[dns]
servers = ["10.0.0.2", "fd00::2", "[fd00::2]:5353", "127.0.0.53:53"]
min_ttl = "2m"
timeout = "500ms"
`

func TestRegistries(t *testing.T) {
	cfg := load(t, registries)
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"consul", cfg.Consul, Consul{
			Address: "127.0.0.1:8500", Namespace: "team", Partition: "eu", Consistency: "stale", Cached: true, Connections: 10000,
		}},
		{"etcd", cfg.Etcd, Etcd{
			Endpoints: []string{"etcd-1:2379", "10.0.0.2:2379", "[fd00::1]:2379"}, Prefix: "live/",
			Username: "sidecar", Password: "geheim-1", TLS: ClientTLS{Enabled: true},
		}},
		{"redis", cfg.Redis, Redis{Address: "unix:/run/redis.sock", Username: "sidecar", Password: "geheim-2", Database: 3}},
		{"nacos", cfg.Nacos, Nacos{
			Addresses: []string{"nacos:8848/api", "10.0.0.2:8848/nacos"}, Version: NacosV1, Namespace: "n", Username: "sidecar", Password: "geheim-3",
		}},
		{"kubernetes", cfg.Kubernetes, Kubernetes{Address: "https://kube.internal:443", TokenFile: "/token", CAFile: "/ca.pem", Namespace: "shop"}},
		{"dns", cfg.DNS, DNS{
			Servers: []string{"10.0.0.2", "fd00::2", "[fd00::2]:5353", "127.0.0.53:53"},
			MinTTL:  2 * time.Minute, MaxTTL: 2 * time.Minute, Timeout: 500 * time.Millisecond,
		}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, tt.got, tt.want)
		}
	}

	asJSON, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{cfg.Redacted(), fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg), string(asJSON)} {
		if strings.Contains(shown, "geheim") {
			t.Errorf("a secret is shown in %s", shown)
		}
	}
	again := load(t, cfg.Redacted())
	again.Etcd.Password, again.Redis.Password, again.Nacos.Password = "geheim-1", "geheim-2", "geheim-3"
	if !reflect.DeepEqual(again, cfg) {
		t.Errorf("as written by Redacted:\n got %+v\nwant %+v", again, cfg)
	}
}

func TestTLSOfOtherRegistries(t *testing.T) {
	for toml, want := range map[string]bool{
		"[redis.tls]\nenabled = true":                                                true,
		"[redis.tls]\nca_file = \"/ca\"":                                             true,
		"[redis.tls]\nca_file = \"/ca\"\nenabled = false":                            false,
		"[redis]\ndatabase = 1":                                                      false,
		"[redis.tls]\ncert_file = \"/c\"\nkey_file = \"/k\"":                         true,
		"[etcd]\nendpoints = [\"https://a:1\"]":                                      true,
		"[etcd]\nendpoints = [\"http://a:1\", \"b:1\"]\ntls.ca_file = \"/ca\"":       false,
		"[etcd]\ntls.server_name = \"etcd\"":                                         true,
		"[nacos]\naddresses = [\"a:1\", \"https://b:1\"]":                            true,
		"[nacos]\naddresses = [\"a:1\"]\ntls = { ca_file = \"/c\", enabled = false}": false,
	} {
		cfg := load(t, toml)
		if got := cfg.Redis.TLS.Enabled || cfg.Etcd.TLS.Enabled || cfg.Nacos.TLS.Enabled; got != want {
			t.Errorf("%s: TLS %v, want %v", toml, got, want)
		}
	}
}

func TestRegistriesThatContradictThemselves(t *testing.T) {
	for _, e := range []example{
		{
			"consistent from a cache",
			"[consul]\ncached = true\nconsistency = \"consistent\"",
			`config.toml:2: consul.cached: is true, and consistency is "consistent" (line 3), which no cache is; change one of them`,
		},
		{
			"endpoints with and without TLS",
			"[etcd]\nendpoints = [\n\"http://a:1\",\n\"https://b:1\"]",
			`config.toml:2: etcd.endpoints: has http:// as well as https://; use one of them for all`,
		},
		{
			"no endpoints",
			"[etcd]\nendpoints = []\n[nacos]\naddresses = []",
			`config.toml:2: etcd.endpoints: is an empty list; want at least one address, such as "127.0.0.1:2379"
config.toml:4: nacos.addresses: is an empty list; want at least one address, such as "127.0.0.1:8848"`,
		},
		{
			"schemes against TLS",
			"[etcd]\nendpoints = [\"https://a:1\"]\ntls.enabled = false\n[nacos]\naddresses = [\"http://a:1\"]\ntls.enabled = true",
			`config.toml:3: etcd.tls.enabled: is false, but etcd.endpoints begin with https://; change one of them
config.toml:6: nacos.tls.enabled: is true, but nacos.addresses begin with http://; change one of them`,
		},
		{
			"certificates without keys",
			"[etcd]\ntls.cert_file = \"/c\"\n[redis]\ntls.key_file = \"/k\"\n[nacos]\ntls.cert_file = \"/c\"",
			`config.toml:2: etcd.tls.cert_file: is set without key_file; set both or none
config.toml:4: redis.tls.key_file: is set without cert_file; set both or none
config.toml:6: nacos.tls.cert_file: is set without key_file; set both or none`,
		},
		{
			"passwords twice",
			"[etcd]\nusername = \"u\"\npassword = \"p\"\npassword_file = \"/p\"\n[redis]\npassword_file = \"/p\"\npassword = \"p\"\n[nacos]\nusername = \"u\"\npassword = \"p\"\npassword_file = \"/p\"",
			`config.toml:4: etcd.password_file: is set, and so is password (line 3); keep one
config.toml:6: redis.password_file: is set, and so is password (line 7); keep one
config.toml:11: nacos.password_file: is set, and so is password (line 10); keep one`,
		},
		{
			"names and passwords alone",
			"[etcd]\nusername = \"u\"\n[nacos]\npassword = \"p\"",
			`config.toml:2: etcd.username: is set without password or password_file; set one of these, or none
config.toml:4: nacos.password: is set without username; set both or none`,
		},
		{
			"bad name hides what follows from it",
			"[etcd]\nusername = \" \"\npassword = \"p\"",
			`config.toml:2: etcd.username: " " is empty or has blanks around it`,
		},
		{
			"password file without a name",
			"[etcd]\npassword_file = \"/p\"",
			`config.toml:2: etcd.password_file: is set without username; set both or none`,
		},
		{
			"authorities without TLS",
			"[kubernetes]\naddress = \"http://127.0.0.1:8001\"\nca_file = \"/ca\"",
			`config.toml:3: kubernetes.ca_file: is for TLS, but kubernetes.address begins with http://; change one of them`,
		},
		{
			"least TTL above the most",
			"[dns]\nmin_ttl = \"10s\"\nmax_ttl = \"5s\"",
			`config.toml:2: dns.min_ttl: is 10s, more than dns.max_ttl with 5s (line 3)`,
		},
		{
			"password without quotes is not shown",
			"[redis]\npassword = geheim-geheim",
			`config.toml:2:12: password: a string stands in quotes`,
		},
		{
			"addresses on lines of their own",
			"[etcd]\nendpoints = [\n\"a:1\",\n\"b\",\n\"u:geheim@c:1\"]",
			`config.toml:4: etcd.endpoints: "b" is not an address; want host:port, http://host:port or https://host:port
config.toml:5: etcd.endpoints: has a user or a password, which do not belong here; set username, and password or password_file`,
		},
	} {
		e.test(t)
	}
}

func TestChecksOfRegistries(t *testing.T) {
	const (
		server     = `; want host:port, http://host:port or https://host:port`
		reachable  = `; want an ip address or a host name, such as "10.0.0.1"`
		redis      = `; want host:port or unix:///path`
		dns        = `; want ip or ip:port, such as "10.0.0.2" or "[fd00::2]:53"`
		kubernetes = `; want https://host:port`
	)
	s := newSchema()
	for _, tt := range []struct{ path, text, want string }{
		{"consul.address", "consul:8500/ui", `"consul:8500/ui" has a path, which is not supported; want host:port, http://host:port, https://host:port or unix:///path`},
		{"etcd.endpoints", "etcd://a:1", `"etcd://a:1": scheme "etcd" is not known` + server},
		{"etcd.endpoints", "https://a", `"https://a" has no port` + server},
		{"etcd.endpoints", "a:0", `"a:0": port "0" is not a number from 1 to 65535`},
		{"etcd.endpoints", "a:1/v3", `"a:1/v3" has a path, which is not supported` + server},
		{"etcd.endpoints", "a:1,a:1", `"a:1" is listed twice`},
		{"etcd.prefix", "", `"" is empty or has blanks around it`},
		{"nacos.addresses", "a:1/b c", `"a:1/b c": "/b c" is not a path`},
		{"nacos.addresses", "a:1?b", `"a:1?b": "?b" is not a path`},
		{"nacos.version", "v4", `"v4" is not known; allowed are auto, v1, v2 and v3`},
		{"redis.address", "redis", `"redis" is not an address` + redis},
		{"redis.address", "[::1]:6379", ""},
		{"redis.address", "a b:1", `"a b:1": "a b" is neither an ip address nor a host name` + redis},
		{"redis.address", "rediss://a:1/0", `"rediss://a:1/0": "rediss://" is not taken here` + redis + ` (TLS is [redis.tls], the number is database)`},
		{"redis.address", "redis://:geheim@a:1", `has a user or a password, which do not belong here; set username, and password or password_file`},
		{"redis.address", "unix://run/redis.sock", `"unix://run/redis.sock": a socket's path is absolute, such as "unix:/run/sidecar/orders.sock"`},
		{"redis.database", "-1", `-1 is out of range; want 0 to 1000000`},
		{"kubernetes.address", "", ""},
		{"kubernetes.address", "https://[fd00::1]:6443", ""},
		{"kubernetes.address", "10.0.0.1:6443", ""},
		{"kubernetes.address", "kube", `"kube" is not an address` + kubernetes},
		{"kubernetes.address", "https://a:1/k8s", `"https://a:1/k8s" has a path, which is not supported` + kubernetes},
		{"kubernetes.namespace", "Shop", `"Shop" is not a name of Kubernetes; want at most 63 small letters, digits and - with a letter or digit at both ends`},
		{"kubernetes.namespace", "shop-", `"shop-" is not a name of Kubernetes; want at most 63 small letters, digits and - with a letter or digit at both ends`},
		{"dns.servers", "fe80::1%eth0", ""},
		{"dns.servers", "dns.internal:53", `"dns.internal:53": "dns.internal" is not an ip address` + dns},
		{"dns.servers", "10.0.0.300", `"10.0.0.300" is not an address` + dns},
		{"dns.servers", "10.0.0.2:0", `"10.0.0.2:0": port "0" is not a number from 1 to 65535`},
		{"dns.min_ttl", "999ms", `"999ms" is too short; want 1s or more`},
		{"discovery.dns.name", "_http._tcp.orders.internal.", ""},
		{"discovery.dns.name", "orders:80", `"orders:80" is not the name of a host; want one such as "orders.internal", without a port`},
		{"discovery.file.path", "orders.json", `"orders.json" is relative, and to what depends on who starts this; want an absolute path, such as "/etc/sidecar/orders.json"`},
		{"discovery.file.path", "/orders.yaml", `"/orders.yaml" ends in neither .json nor .toml, which says how it is to be read`},
		{"discovery.kubernetes.port", "http-2", ""},
		{"discovery.kubernetes.port", "8080", ""},
		{"discovery.kubernetes.port", "0", `"0": port "0" is not a number from 1 to 65535`},
		{"discovery.kubernetes.port", "web_1", `"web_1" is neither the name of a port nor its number; want for example "http" or "8080"`},
		{"discovery.redis.poll", "99ms", `"99ms" is too short; want 100ms or more`},
		{"discovery.nacos.group", " g", `" g" is empty or has blanks around it`},
		{"discovery.confirm_loss", "2", `2.0 is out of range; want 0 to 1`},
		{"discovery.failover", "us,", `"" is empty or has blanks around it`},
		{"address", "orders.internal", ""},
		{"address", "::1", ""},
		{"address", "[::1]", `"[::1]": brackets belong around an address with a port; write "::1"`},
		{"address", "10.0.0.1:80", `"10.0.0.1:80" has a port, which belongs into port; write "10.0.0.1"`},
		{"address", "::", `"::" is every address of this host, and none that others can connect to; name one, or leave it empty for that of the Consul agent`},
		{"address", "fe80::1%eth0", `"fe80::1%eth0" has a zone, which means nothing on other hosts` + reachable},
		{"address", "a b", `"a b" is neither an ip address nor a host name` + reachable},
		{"check.address", "127.0.0.1", `"127.0.0.1" has no port; want ip:port, host:port or unix:/path, such as "10.0.0.1:8080"`},
		{"meta", "a=" + strings.Repeat("x", 513), `"a=` + strings.Repeat("x", 158) + `…": the value has 513 bytes; want at most 512`},
		{"meta", "a=b=c", ""},
	} {
		got := ""
		for _, list := range []*field{s.root, s.service, s.register} {
			for _, f := range list.leaves() {
				if f.path != tt.path {
					continue
				}
				_, mistakes := f.parseText(tt.text)
				for _, m := range mistakes {
					got += m.message
				}
			}
		}
		if got != tt.want {
			t.Errorf("%s = %q\n got: %s\nwant: %s", tt.path, tt.text, got, tt.want)
		}
	}
}
