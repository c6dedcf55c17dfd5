package config

import "testing"

func TestKeysThatContradictEachOther(t *testing.T) {
	for _, e := range []example{
		{
			"service without listen",
			"[[service]]\nname = \"orders\"",
			`config.toml:1: service "orders": listen: is missing; write for example listen = "127.0.0.1:7001"`,
		},
		{
			"empty service",
			"\n[[service]]",
			`config.toml:2: service[0].name: is missing; every service needs a name
config.toml:2: service[0].listen: is missing; write for example listen = "127.0.0.1:7001"`,
		},
		{
			"empty name",
			"[[service]]\nname = \"\"\nlisten = \"127.0.0.1:7001\"",
			`config.toml:2: service[0].name: is empty; every service needs a name`,
		},
		{
			"name with a blank",
			"[[service]]\nname = \"my orders\"\nlisten = \"127.0.0.1:7001\"",
			`config.toml:2: service "my orders": name: "my orders" is not a name; want letters, digits and - . _ with a letter or digit in front (discovery.service takes any name of the registry)`,
		},
		{
			"one name twice",
			orders + "[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:7002\"",
			`config.toml:5: service "orders": name: "orders" is the name of another service already (line 2); names differ`,
		},
		{
			"one address twice",
			orders + "[[service]]\nname = \"b\"\nlisten = \"127.0.0.1:7001\"",
			`config.toml:6: service "b": listen: 127.0.0.1:7001 is taken by service "orders" (line 3)`,
		},
		{
			"one address by two names",
			orders + "[[service]]\nname = \"b\"\nlisten = \"localhost:7001\"",
			`config.toml:6: service "b": listen: 127.0.0.1:7001 is taken by service "orders" (line 3)`,
		},
		{
			"all interfaces after one",
			orders + "[[service]]\nname = \"b\"\nlisten = \"0.0.0.0:7001\"",
			`config.toml:6: service "b": listen: 0.0.0.0:7001 overlaps 127.0.0.1:7001 of service "orders" (line 3)`,
		},
		{
			"all interfaces of IPv6",
			orders + "[[service]]\nname = \"b\"\nlisten = [\"127.0.0.1:7002\", \"[::]:7001\"]",
			`config.toml:6: service "b": listen: [::]:7001 overlaps 127.0.0.1:7001 of service "orders" (line 3)`,
		},
		{
			"one socket twice",
			"[admin]\nlisten = \"unix:/run/x\"\n[[service]]\nname = \"b\"\nlisten = \"unix:/run/../run/x\"",
			`config.toml:5: service "b": listen: unix:/run/x is taken by admin.listen (line 2)`,
		},
		{
			"the default of admin",
			"[[service]]\nname = \"b\"\nlisten = \"0.0.0.0:9901\"",
			`config.toml:3: service "b": listen: 0.0.0.0:9901 overlaps 127.0.0.1:9901 of admin.listen (its default)`,
		},
		{
			"admin after a service",
			orders + "[admin]\nlisten = \"127.0.0.1:7001\"",
			`config.toml:5: admin.listen: 127.0.0.1:7001 is taken by service "orders" (line 3)`,
		},
		{
			"static without instances",
			orders + "[service.discovery]\nsource = \"static\"",
			`config.toml:5: service "orders": discovery.instances: source is "static", which needs instances, such as ["10.0.0.1:8080"]`,
		},
		{
			"static by default without instances",
			"[defaults.discovery]\nsource = \"static\"\n" + orders,
			`config.toml:3: service "orders": discovery.instances: source is "static", which needs instances, such as ["10.0.0.1:8080"]`,
		},
		{
			"static with an empty list",
			orders + "[service.discovery]\nsource = \"static\"\ninstances = []",
			`config.toml:6: service "orders": discovery.instances: source is "static", which needs instances, such as ["10.0.0.1:8080"]`,
		},
		{
			"instances without static",
			orders + "[service.discovery]\ninstances = [\"10.0.0.1:80\"]",
			`config.toml:5: service "orders": discovery.instances: are for source = "static" only, and source is "consul"; change it or remove them`,
		},
		{
			"bad instances",
			orders + "[service.discovery]\nsource = \"static\"\ninstances = [\n\"10.0.0.1\",\n\"10.0.0.1:0\",\n\"10.0.0.1:80 wieght=2\",\n\"10.0.0.1:80 weight=0\",\n\"10.0.0.2:80\",\n\"10.0.0.2:80 zone=b\",\n\"10.0.0.300:80\",\n\"\"]",
			`config.toml:7: service "orders": discovery.instances: "10.0.0.1" has no port; want ip:port, host:port or unix:/path, such as "10.0.0.1:8080"
config.toml:8: service "orders": discovery.instances: "10.0.0.1:0": port "0" is not a number from 1 to 65535
config.toml:9: service "orders": discovery.instances: "10.0.0.1:80 wieght=2": "wieght" is not known; want weight=NUMBER or zone=NAME after the address; did you mean "weight"?
config.toml:10: service "orders": discovery.instances: "10.0.0.1:80 weight=0": weight "0" is not a number from 1 to 65535
config.toml:12: service "orders": discovery.instances: "10.0.0.2:80" is listed twice
config.toml:13: service "orders": discovery.instances: "10.0.0.300:80": "10.0.0.300" is neither an ip address nor a host name; want ip:port, host:port or unix:/path, such as "10.0.0.1:8080"
config.toml:14: service "orders": discovery.instances: is empty; want an address, such as "10.0.0.1:8080 weight=2 zone=b"`,
		},
		{
			"health check on a path without a slash",
			orders + "[service.health_check]\npath = \"healthz\"",
			`config.toml:5: service "orders": health_check.path: "healthz" does not begin with a slash; write "/healthz"`,
		},
		{
			"health check that takes longer than its interval",
			orders + "[service.health_check]\ninterval = \"1s\"\ntimeout = \"5s\"",
			`config.toml:6: service "orders": health_check.timeout: is 5s, more than health_check.interval with 1s (line 5)`,
		},
		{
			"interval below the timeout of defaults",
			"[defaults.health_check]\ntimeout = \"2s\"\n" + orders + "[service.health_check]\ninterval = \"1s\"",
			`config.toml:7: service "orders": health_check.interval: is 1s, less than health_check.timeout with 2s (line 2)`,
		},
		{
			"ejection longer than the longest",
			orders + "[service.breaker]\nopen = \"5s\"\nopen_max = \"1s\"",
			`config.toml:5: service "orders": breaker.open: is 5s, more than breaker.open_max with 1s (line 6)`,
		},
		{
			"token and token file",
			"[consul]\ntoken = \"t\"\ntoken_file = \"/t\"",
			`config.toml:3: consul.token_file: is set, and so is token (line 2); keep one`,
		},
		{
			"certificate without key",
			"[consul.tls]\ncert_file = \"/c\"",
			`config.toml:2: consul.tls.cert_file: is set without key_file; set both or none`,
		},
		{
			"key without certificate",
			"[consul.tls]\nkey_file = \"/c\"",
			`config.toml:2: consul.tls.key_file: is set without cert_file; set both or none`,
		},
		{
			"https without TLS",
			"[consul]\naddress = \"https://consul\"\ntls.enabled = false",
			`config.toml:3: consul.tls.enabled: is false, but consul.address begins with https://; change one of them`,
		},
		{
			"http with TLS",
			"[consul]\naddress = \"http://consul\"\ntls.enabled = true",
			`config.toml:3: consul.tls.enabled: is true, but consul.address begins with http://; change one of them`,
		},
		{
			"bad via and host",
			orders + "[service.http]\nvia = \"my proxy\"\nhost = \"a b\"",
			`config.toml:5: service "orders": http.via: "my proxy" is not a pseudonym; want letters, digits and - . _ without blanks
config.toml:6: service "orders": http.host: "a b" is not a host; want a name or an ip address, with or without a port, such as "orders.internal:8080"`,
		},
		{
			"secret with a line break",
			"[consul]\ntoken = \"geheim\\n\"",
			`config.toml:2: consul.token: the secret has a control character, perhaps a line break`,
		},
	} {
		e.test(t)
	}
}
