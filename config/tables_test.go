package config

import "testing"

func TestKeysThatAreNotKnown(t *testing.T) {
	for _, e := range []example{
		{
			"unknown key in a table of a service",
			orders + "[service.retry]\natempts = 3",
			`config.toml:5: service "orders": retry.atempts: unknown key; did you mean "attempts"?`,
		},
		{
			"unknown key of a service",
			orders + "protocoll = \"tcp\"",
			`config.toml:4: service "orders": protocoll: unknown key; did you mean "protocol"?`,
		},
		{
			"unknown table of a service",
			orders + "[service.retries]\nattempts = 3",
			`config.toml:4: service "orders": retries: unknown key`,
		},
		{
			"unknown key that nothing is near to",
			orders + "colour = \"red\"",
			`config.toml:4: service "orders": colour: unknown key`,
		},
		{
			"key that belongs to another table",
			orders + "attempts = 3",
			`config.toml:4: service "orders": attempts: unknown key; did you mean "retry.attempts"?`,
		},
		{
			"key that belongs to another table, from a table",
			orders + "[service.retry]\nconnect = \"1s\"",
			`config.toml:5: service "orders": retry.connect: unknown key; did you mean "timeout.connect"?`,
		},
		{
			"unknown table",
			"[consol]\naddress = \"127.0.0.1:8500\"",
			`config.toml:1: consol: unknown key; did you mean "consul"?`,
		},
		{
			"unknown key at the top",
			"listen = \"127.0.0.1:1\"",
			`config.toml:1: listen: unknown key; did you mean "admin.listen"?`,
		},
		{
			"dotted key",
			"consul.adress = \"127.0.0.1:8500\"",
			`config.toml:1: consul.adress: unknown key; did you mean "address"?`,
		},
		{
			"inline table",
			orders + "retry = { attempts = 1, badget = 0.5 }",
			`config.toml:4: service "orders": retry.badget: unknown key; did you mean "budget"?`,
		},
		{
			"key in capitals",
			"[log]\nLevel = \"info\"",
			`config.toml:2: log.Level: unknown key; did you mean "level"?`,
		},
		{
			"key in capitals beside the right one",
			"[log]\nlevel = \"info\"\nLevel = \"debug\"",
			`config.toml:3: log.Level: unknown key; did you mean "level"?`,
		},
		{
			"table in capitals",
			"[Log]\nlevel = \"info\"",
			`config.toml:1: Log: unknown key; did you mean "log"?`,
		},
		{
			"quoted key with a dot",
			"\"consul.address\" = \"127.0.0.1:8500\"",
			`config.toml:1: "consul.address": unknown key; did you mean "consul"?`,
		},
		{
			"word cut short",
			"[consul]\naddr = \"127.0.0.1:8500\"",
			`config.toml:2: consul.addr: unknown key; did you mean "address"?`,
		},
		{
			"service without a name",
			"[[service]]\nlisten = \"127.0.0.1:7001\"\nprotocl = \"tcp\"",
			`config.toml:1: service[0].name: is missing; every service needs a name
config.toml:3: service[0].protocl: unknown key; did you mean "protocol"?`,
		},
		{
			"name and listen in defaults",
			"[defaults]\nname = \"x\"\nlisten = \"127.0.0.1:7001\"",
			`config.toml:2: defaults.name: stands in each [[service]] only
config.toml:3: defaults.listen: stands in each [[service]] only`,
		},
		{
			"unknown key in defaults",
			"[defaults.retry]\natempts = 3",
			`config.toml:2: defaults.retry.atempts: unknown key; did you mean "attempts"?`,
		},
	} {
		e.test(t)
	}
}

func TestTablesWhereValuesBelong(t *testing.T) {
	for _, e := range []example{
		{
			"one bracket too few",
			"[service]\nname = \"orders\"",
			`config.toml:1: service: is a table; want double brackets, [[service]], once for each service
config.toml:1: service "orders": listen: is missing; write for example listen = "127.0.0.1:7001"`,
		},
		{
			"one bracket too many",
			"[[consul]]\naddress = \"127.0.0.1:8500\"",
			`config.toml:1: consul: is a list of tables; want a table, [consul]`,
		},
		{
			"value for a table",
			orders + "retry = 3",
			`config.toml:4: service "orders": retry: is an integer; want a table, [service.retry]`,
		},
		{
			"value for the services",
			"service = \"orders\"",
			`config.toml:1: service: is a string; want tables, [[service]], one for each service`,
		},
		{
			"value for defaults",
			"defaults = 1",
			`config.toml:1: defaults: is an integer; want a table, [defaults]`,
		},
		{
			"table for a value",
			orders + "[service.protocol]\nx = 1",
			`config.toml:4: service "orders": protocol: is a table; want a value, protocol = …`,
		},
	} {
		e.test(t)
	}
}
