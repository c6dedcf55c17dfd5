package config

import "testing"

func TestValuesOfTheWrongType(t *testing.T) {
	for _, e := range []example{
		{
			"integer in quotes",
			orders + "[service.retry]\nattempts = \"2\"",
			`config.toml:5: service "orders": retry.attempts: want an integer, got the string "2"; write 2 without quotes`,
		},
		{
			"text for an integer",
			orders + "[service.retry]\nattempts = \"two\"",
			`config.toml:5: service "orders": retry.attempts: want an integer, got the string "two"`,
		},
		{
			"fraction for an integer",
			orders + "[service.retry]\nattempts = 2.0",
			`config.toml:5: service "orders": retry.attempts: want an integer, got the number 2.0`,
		},
		{
			"integer for a duration",
			"[runtime]\ndrain = 30",
			`config.toml:2: runtime.drain: want a duration such as "5s", got the integer 30; write "30s" if seconds are meant`,
		},
		{
			"bool in quotes",
			orders + "[service.discovery]\nwarning = \"true\"",
			`config.toml:5: service "orders": discovery.warning: want true or false, got the string "true"; write true without quotes`,
		},
		{
			"integer for a bool",
			orders + "[service.discovery]\nwarning = 1",
			`config.toml:5: service "orders": discovery.warning: want true or false, got the integer 1`,
		},
		{
			"bool for a string",
			"[log]\nlevel = true",
			`config.toml:2: log.level: want a string, got true`,
		},
		{
			"date for a string",
			"[log]\nlevel = 2020-01-01",
			`config.toml:2: log.level: want a string, got 2020-01-01`,
		},
		{
			"string for a list",
			orders + "[service.discovery]\ntags = \"v2\"",
			`config.toml:5: service "orders": discovery.tags: want a list; write ["v2"]`,
		},
		{
			"integers in a list, on lines of their own",
			orders + "[service.retry]\non = [\n\"connect\",\n502,\n\"reset\",\n504,\n]",
			`config.toml:7: service "orders": retry.on: want strings, got the integer 502; write "502"
config.toml:9: service "orders": retry.on: want strings, got the integer 504; write "504"`,
		},
		{
			"list for a string",
			"[log]\nlevel = [\"info\"]",
			`config.toml:2: log.level: want a string, got a list`,
		},
		{
			"wrong type for a secret",
			"[consul]\ntoken = 12345",
			`config.toml:2: consul.token: want a string in quotes`,
		},
	} {
		e.test(t)
	}
}

func TestNumbersAndDurationsOutOfRange(t *testing.T) {
	for _, e := range []example{
		{
			"negative duration",
			"[runtime]\ndrain = \"-5s\"",
			`config.toml:2: runtime.drain: "-5s" is negative; want 0s or more`,
		},
		{
			"duration without a unit",
			"[runtime]\ndrain = \"5\"",
			`config.toml:2: runtime.drain: "5" has no unit; want a duration such as "500ms", "5s" or "1m30s"`,
		},
		{
			"duration with an unknown unit",
			"[runtime]\ndrain = \"1d\"",
			`config.toml:2: runtime.drain: "1d" is not a duration; want numbers with units (ms, s, m, h) such as "500ms", "5s" or "1m30s"`,
		},
		{
			"duration below the least",
			orders + "[service.timeout]\nconnect = \"0s\"",
			`config.toml:5: service "orders": timeout.connect: "0s" is too short; want 1ms or more`,
		},
		{
			"duration without end",
			"[runtime]\ndrain = \"9000h\"",
			`config.toml:2: runtime.drain: "9000h" is too long; want at most 8760h, which is a year`,
		},
		{
			"ratio above 1",
			orders + "[service.breaker]\nmax_ejected = 1.5",
			`config.toml:5: service "orders": breaker.max_ejected: 1.5 is out of range; want 0 to 1`,
		},
		{
			"ratio below 0",
			orders + "[service.retry]\nbudget = -0.1",
			`config.toml:5: service "orders": retry.budget: -0.1 is out of range; want 0 to 1`,
		},
		{
			"ratio that is no number",
			orders + "[service.retry]\nbudget = nan",
			`config.toml:5: service "orders": retry.budget: NaN is out of range; want 0 to 1`,
		},
		{
			"percent",
			orders + "[service.retry]\nbudget = 20",
			`config.toml:5: service "orders": retry.budget: 20 is out of range; want 0 to 1`,
		},
		{
			"integer out of range",
			orders + "[service.health_check]\nrise = 0",
			`config.toml:5: service "orders": health_check.rise: 0 is out of range; want 1 to 1000`,
		},
	} {
		e.test(t)
	}
}

func TestWordsThatAreNotAllowed(t *testing.T) {
	for _, e := range []example{
		{
			"unknown policy",
			orders + "[service.balancer]\npolicy = \"leastconn\"",
			`config.toml:5: service "orders": balancer.policy: "leastconn" is not known; allowed are p2c, least_conn, round_robin, random and ring_hash; did you mean "least_conn"?`,
		},
		{
			"unknown policy that nothing is near to",
			orders + "[service.balancer]\npolicy = \"magic\"",
			`config.toml:5: service "orders": balancer.policy: "magic" is not known; allowed are p2c, least_conn, round_robin, random and ring_hash`,
		},
		{
			"unknown source",
			orders + "[service.discovery]\nsource = \"zookeeper\"",
			`config.toml:5: service "orders": discovery.source: "zookeeper" is not known; allowed are consul, static, dns, file, etcd, redis, nacos and kubernetes`,
		},
		{
			"unknown one of several sources",
			orders + "[service.discovery]\nsources = [\"consul\", \"ectd\", \"consul\"]",
			`config.toml:5: service "orders": discovery.sources: "ectd" is not known; allowed are consul, static, dns, file, etcd, redis, nacos and kubernetes; did you mean "etcd"?
config.toml:5: service "orders": discovery.sources: "consul" is listed twice`,
		},
		{
			"method in small letters",
			orders + "[service.health_check]\ntype = \"http\"\nmethod = \"head\"",
			`config.toml:6: service "orders": health_check.method: "head" is not known; allowed are GET, HEAD, OPTIONS and POST; did you mean "HEAD"?`,
		},
		{
			"unknown log level",
			"[log]\nlevel = \"warning\"",
			`config.toml:2: log.level: "warning" is not known; allowed are debug, info, warn and error; did you mean "warn"?`,
		},
		{
			"unknown protocol",
			orders + "protocol = \"HTTP\"",
			`config.toml:4: service "orders": protocol: "HTTP" is not known; allowed are http and tcp; did you mean "http"?`,
		},
		{
			"unknown retry condition",
			orders + "[service.retry]\non = [\"conect\", \"404\", \"5xx\"]",
			`config.toml:5: service "orders": retry.on: "conect" is not known; allowed are ` + retryWords + `; did you mean "connect"?
config.toml:5: service "orders": retry.on: "404" is not known; allowed are ` + retryWords + `
config.toml:5: service "orders": retry.on: "5xx" is not known; allowed are ` + retryWords,
		},
		{
			"retry condition twice",
			orders + "[service.retry]\non = [\"connect\", \"connect\"]",
			`config.toml:5: service "orders": retry.on: "connect" is listed twice`,
		},
	} {
		e.test(t)
	}
}
