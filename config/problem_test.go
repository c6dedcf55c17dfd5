package config

import (
	"errors"
	"testing"
)

// problemsOf returns the problems of a configuration that must have some.
func problemsOf(t *testing.T, toml string, env ...string) *Errors {
	t.Helper()
	cfg, err := Parse("config.toml", []byte(toml), env)
	var problems *Errors
	if !errors.As(err, &problems) || cfg != nil {
		t.Fatalf("Parse = %+v, %v; want nil and an *Errors", cfg, err)
	}
	return problems
}

// orders is a service on the lines 1 to 3.
const orders = `[[service]]
name = "orders"
listen = "127.0.0.1:7001"
`

// An example is a file with mistakes, and what is said of them.
type example struct {
	name string
	toml string
	want string
}

func (e example) test(t *testing.T) {
	t.Helper()
	t.Run(e.name, func(t *testing.T) {
		if got := problemsOf(t, e.toml).Error(); got != e.want {
			t.Errorf("\n got: %s\nwant: %s", got, e.want)
		}
	})
}

func TestAFileMayHaveManyMistakes(t *testing.T) {
	for _, e := range []example{
		{
			"many mistakes",
			"[log]\nlevel = info\n[consul]\nadress = \"x\"\n[[service]]\nname = \"a\"\nlisten = \"7001\"\n[service.retry]\nattempts = -1\n[service.timeout]\nconnect = 5\n[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\n",
			`config.toml:2:12: a string stands in quotes; write level = "info"
config.toml:4: consul.adress: unknown key; did you mean "address"?
config.toml:7: service "a": listen: "7001" has no port; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"
config.toml:9: service "a": retry.attempts: -1 is out of range; want 0 to 20
config.toml:11: service "a": timeout.connect: want a duration such as "5s", got the integer 5; write "5s" if seconds are meant
config.toml:13: service "a": name: "a" is the name of another service already (line 6); names differ`,
		},
	} {
		e.test(t)
	}
}
