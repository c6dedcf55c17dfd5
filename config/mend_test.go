package config

import (
	"strings"
	"testing"
)

func TestWhatIsNotTOMLDoesNotHideTheRest(t *testing.T) {
	for _, e := range []example{
		{
			"address without quotes",
			"[[service]]\nname = \"a\"\nlisten = 127.0.0.1:7001\nprotocl = \"tcp\"",
			`config.toml:3:15: a string stands in quotes; write listen = "127.0.0.1:7001"
config.toml:4: service "a": protocl: unknown key; did you mean "protocol"?`,
		},
		{
			"word without quotes",
			"[log]\nlevel = info\nformat = \"jsn\"",
			`config.toml:2:12: a string stands in quotes; write level = "info"
config.toml:3: log.format: "jsn" is not known; allowed are json and console; did you mean "json"?`,
		},
		{
			"bool in capitals",
			orders + "discovery.warning = True",
			`config.toml:4:21: yes and no are written as true and false; write discovery.warning = true`,
		},
		{
			"token without quotes",
			"[consul]\ntoken = geheim-geheim",
			`config.toml:2:9: token: a string stands in quotes`,
		},
		{
			"quote not closed",
			"[log]\nlevel = \"info\nformat = \"jsn\"",
			`config.toml:2:14: basic strings cannot have new lines
config.toml:3: log.format: "jsn" is not known; allowed are json and console; did you mean "json"?`,
		},
		{
			"list not closed",
			orders + "[service.retry]\non = [\"connect\",\n\"reset\"\nattempts = 3\n[service.timeout]\nconect = \"1s\"",
			`config.toml:5:1: is not closed, or lacks a comma: expected ',' or ']' after array value
config.toml:9: service "orders": timeout.conect: unknown key; did you mean "connect"?`,
		},
		{
			"header not closed",
			"[log\nlevel = \"info\"\n[runtime]\nlops = 1",
			`config.toml:1:5: expected ']' to close table name
config.toml:4: runtime.lops: unknown key; did you mean "loops"?`,
		},
		{
			"header of a service not closed",
			orders + "[[service]\nname = \"b\"\n[service.retry]\nx = 1\n[[service]]\nname = \"c\"\nlisten = \"127.0.0.1:7001\"",
			`config.toml:4:10: expected ']]' to close array table name
config.toml:10: service "c": listen: 127.0.0.1:7001 is taken by service "orders" (line 3)`,
		},
		{
			"key without a value",
			"[log]\nlevel\nformat =",
			`config.toml:2:6: expected '=' after key
config.toml:3:8: expected value, not end of input`,
		},
		{
			"key twice",
			"[log]\nlevel = \"info\"\nlevel = \"warn\"\nformt = \"json\"",
			`config.toml:3:1: key level is already defined
config.toml:4: log.formt: unknown key; did you mean "format"?`,
		},
		{
			"table twice",
			"[log]\nlevel = \"info\"\n[runtime]\nloops = 1\n[log]\nlevel = \"warn\"",
			`config.toml:5:2: table log already exists`,
		},
		{
			"text of several lines not closed",
			"[log]\nlevel = \"\"\"info\nformat = \"json\"",
			`config.toml:2:1: is not closed, or lacks a comma: multiline basic string not terminated by """`,
		},
		{
			"no UTF-8",
			"[log]\nlevel = \"\xff\"",
			`config.toml:2:10: invalid UTF-8 character in basic string`,
		},
		{
			"integer without end",
			"[runtime]\nloops = 99999999999999999999",
			`config.toml:2:9: decimal number is too large to fit in a 64-bit signed integer`,
		},
		{
			"impossible date",
			"[log]\nlevel = 2020-13-45\nformat = \"xml\"",
			`config.toml:2:14: impossible date
config.toml:3: log.format: "xml" is not known; allowed are json and console`,
		},
	} {
		e.test(t)
	}
}

func TestTooManyMistakesEndTheSearch(t *testing.T) {
	problems := problemsOf(t, strings.Repeat("level = = \n", 10*mostMistakes)).Problems
	if len(problems) != mostMistakes+1 {
		t.Fatalf("%d problems", len(problems))
	}
	last := problems[mostMistakes]
	if last.Line != mostMistakes+1 || !strings.HasSuffix(last.Message, "; there are too many mistakes to read on") {
		t.Errorf("last: %+v", last)
	}
}
