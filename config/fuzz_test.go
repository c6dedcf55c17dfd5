package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzParse feeds any text: it is either a configuration that survives being written and read
// again, or every problem has a line that the text has.
func FuzzParse(f *testing.F) {
	example, err := os.ReadFile(examplePath)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add(commentedKey.ReplaceAll(example, []byte("$1")))
	for _, seed := range []string{
		orders + defaultsOfAll, orders + "protocol='tcp'\nbalancer.policy='ring_hash'\nhealth_check.type='grpc'\n" + defaultsOfAll,
		registries + announcements, orders + "discovery.sources=['etcd','redis','dns','nacos','kubernetes']\n" + registries,
		orders + "[service.discovery]\nsource='dns'\ndns={type='a',port=1}\nservice='[::1]'\n[[register]]\nname='a'\nport=1\n[[register]]\nname='b'\nid='a-1'\nport=2",
		everyTransport, tcpService("a", `"a"`) + tcpService("b", ""), orders + "tls={cert_files=['a'],key_files=['a'],client_auth='required'}",
		"[register]\nname=1", "register=[{},1]", "[[register]]\nname='\"\\'\nport=1\nmeta=['a==']\ncheck.type='tcp'\n",
		"[nacos]\naddresses=['https://a:1/?','://','http://[::1']\n[kubernetes]\naddress='http://'\n[redis]\naddress='unix:'\n[dns]\nservers=['::1%']",
		orders + "[service.fallback]\nstatus=503\nbody='''a\n\t\"\\b'''", orders + "[service.health_check]\ntype='http'\nheaders=['a:b']\nbody='('",
		"", "\ufeff", "a", "[", "[[", "[[service]]", "[[service]]\n[service]\n", "[service]\nname=1", "service=[{},1]",
		"service=[{name='a',listen='127.0.0.1:1'}]\n[[service]]", orders + "[service.retry]\nattempts='2'\nAttempts=3",
		"[log]\nlevel = \"\"\"x\n", "[a.b]\nc=1\n[a]\nb=2", "a=[1,\n2\nb=3\n[c]\n", "\"\"=1\n\"a.b\"=[{c=[[]]}]", "[log]\r\nlevel=info\r\n",
		"defaults.retry.on=['connect']\n[defaults]\nname=1", "[consul]\naddress='https://a:b@c'\ntls.enabled=false", "a=1979-05-27T07:32:00Z",
		orders + "[service.health_check]\ninterval='1s'\ntimeout='2s'", "SERVICE=1\nservice=2", "[admin]\nlisten='127.0.0.1:7001'\n" + orders,
		orders + orders, "[log]\nlevel=\xff", "a=\"\\", "a={b=1,\n", "[[service]]\nname='x'\nlisten=['[::1]:1',':1','unix:/x']",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l := complete()
		if cfg, err := l.load(data, nil); err == nil {
			text := cfg.redacted(l.schema)
			if _, err := complete().load([]byte(strings.ReplaceAll(text, hidden, "x")), nil); err != nil {
				t.Fatalf("with every key, as written:\n%v\n%s", err, text)
			}
		}
		cfg, err := Parse("config.toml", data, nil)
		if err == nil {
			if _, err := Parse("redacted", []byte(strings.ReplaceAll(cfg.Redacted(), hidden, "x")), nil); err != nil {
				t.Fatalf("as written by Redacted:\n%v\n%s", err, cfg.Redacted())
			}
			return
		}
		var problems *Errors
		if !errors.As(err, &problems) || len(problems.Problems) == 0 || cfg != nil {
			t.Fatalf("Parse = %v, %v", cfg, err)
		}
		lines := strings.Count(string(data), "\n") + 1
		last := 0
		for _, p := range problems.Problems {
			if p.Line < 1 || p.Line > lines || p.Line < last || p.Message == "" {
				t.Fatalf("%d lines, problem %+v", lines, p)
			}
			if strings.ContainsAny(p.String(), "\n\r") {
				t.Fatalf("not one line: %q", p.String())
			}
			last = p.Line
		}
	})
}

// FuzzEnvironment feeds a variable: nothing panics, and what is wrong names it.
func FuzzEnvironment(f *testing.F) {
	for _, seed := range [][2]string{
		{"SIDECAR_SERVICE_ORDERS_LISTEN", "127.0.0.1:1"}, {"SIDECAR_SERVICE__LISTEN", ""}, {"SIDECAR_SERVICE_A_RETRY_ON", "a,,b"},
		{"SIDECAR_DEFAULTS_RETRY_BUDGET", "NaN"}, {"SIDECAR_", ""}, {"CONSUL_HTTP_ADDR", "https://[::1"}, {"SIDECAR_ADMIN_LISTEN", "[::"},
		{"SIDECAR_SERVICE_ORDERS_DISCOVERY_INSTANCES", "a:1 weight=1 zone="}, {"SIDECAR_SERVICE_ORDERS_NAME", "x"},
		{"SIDECAR_REGISTER_A_PORT", "1"}, {"SIDECAR_REGISTER__PORT", "1"}, {"SIDECAR_SERVICE_ORDERS_DISCOVERY_DNS_NAME", "x"},
		{"SIDECAR_REGISTER_A_CHECK_ADDRESS", "a"}, {"SIDECAR_ETCD_ENDPOINTS", "https://@"}, {"SIDECAR_SERVICE_ORDERS_DISCOVERY_SOURCES", "dns,file"}, {"STATE_DIRECTORY", ":"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		_, err := Parse("config.toml", []byte(orders), []string{name + "=" + value})
		var problems *Errors
		if err == nil {
			return
		}
		if !errors.As(err, &problems) {
			t.Fatal(err)
		}
		for _, p := range problems.Problems {
			if p.Variable == "" && p.Line == 0 {
				t.Fatalf("problem without a place: %+v", p)
			}
		}
	})
}
