package config

import (
	"strings"
	"testing"
)

func TestAddressesThatCannotBe(t *testing.T) {
	for _, e := range []example{
		{
			"listen without a port",
			"[[service]]\nname = \"a\"\nlisten = \"127.0.0.1\"",
			`config.toml:3: service "a": listen: "127.0.0.1" has no port; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"listen with a port only",
			"[[service]]\nname = \"a\"\nlisten = \"7001\"",
			`config.toml:3: service "a": listen: "7001" has no port; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"listen with a colon and a port",
			"[[service]]\nname = \"a\"\nlisten = \":7001\"",
			`config.toml:3: service "a": listen: ":7001" has no ip address; write "127.0.0.1:7001" for this host only or "0.0.0.0:7001" for every interface`,
		},
		{
			"listen as an integer",
			"[[service]]\nname = \"a\"\nlisten = 7001",
			`config.toml:3: service "a": listen: want an address such as "127.0.0.1:7001", got the integer 7001; write "127.0.0.1:7001"`,
		},
		{
			"listen on a host name",
			"[[service]]\nname = \"a\"\nlisten = \"example.com:80\"",
			`config.toml:3: service "a": listen: "example.com:80": "example.com" is not an ip address; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"listen on a port out of range",
			"[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:70000\"",
			`config.toml:3: service "a": listen: "127.0.0.1:70000": port "70000" is not a number from 0 to 65535`,
		},
		{
			"listen on a named port",
			"[[service]]\nname = \"a\"\nlisten = \"127.0.0.1:http\"",
			`config.toml:3: service "a": listen: "127.0.0.1:http": port "http" is not a number from 0 to 65535`,
		},
		{
			"listen on an ip address out of range",
			"[[service]]\nname = \"a\"\nlisten = \"127.0.0.256:80\"",
			`config.toml:3: service "a": listen: "127.0.0.256:80": "127.0.0.256" is not an ip address; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"listen on IPv6 without brackets",
			"[[service]]\nname = \"a\"\nlisten = \"::1:7001\"",
			`config.toml:3: service "a": listen: "::1:7001": an IPv6 address stands in brackets, such as "[::1]:7001"; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"listen on IPv6 without a port",
			"[[service]]\nname = \"a\"\nlisten = \"[::1]\"",
			`config.toml:3: service "a": listen: "[::1]" has no port; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"listen on a URL",
			"[[service]]\nname = \"a\"\nlisten = \"http://127.0.0.1:7001\"",
			`config.toml:3: service "a": listen: "http://127.0.0.1:7001" is a URL; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"listen on a path",
			"[[service]]\nname = \"a\"\nlisten = \"/run/a.sock\"",
			`config.toml:3: service "a": listen: "/run/a.sock" looks like a socket's path; write "unix:/run/a.sock"`,
		},
		{
			"listen on a relative socket",
			"[[service]]\nname = \"a\"\nlisten = \"unix:a.sock\"",
			`config.toml:3: service "a": listen: "unix:a.sock": a socket's path is absolute, such as "unix:/run/sidecar/orders.sock"`,
		},
		{
			"listen on a folder",
			"[[service]]\nname = \"a\"\nlisten = \"unix:/run/\"",
			`config.toml:3: service "a": listen: "unix:/run/" names a folder; a socket is a file, such as "unix:/run/sidecar/orders.sock"`,
		},
		{
			"listen on a socket with a long path",
			"[[service]]\nname = \"a\"\nlisten = \"unix:/" + strings.Repeat("x", 107) + "\"",
			`config.toml:3: service "a": listen: "unix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx": a socket's path has at most 107 bytes, this one has 108`,
		},
		{
			"listen on a socket of systemd",
			"[[service]]\nname = \"a\"\nlisten = \"systemd:a b\"",
			`config.toml:3: service "a": listen: "systemd:a b": the name of an inherited socket has neither blanks nor colons nor letters beyond ASCII`,
		},
		{
			"listen on nothing",
			"[[service]]\nname = \"a\"\nlisten = \"\"",
			`config.toml:3: service "a": listen: is empty; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"listen on an empty list",
			"[[service]]\nname = \"a\"\nlisten = []",
			`config.toml:3: service "a": listen: is an empty list; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"listen twice on one address",
			"[[service]]\nname = \"a\"\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
			`config.toml:3: service "a": listen: "127.0.0.1:1" is listed twice`,
		},
		{
			"admin on a bad address",
			"[admin]\nlisten = \"9901\"",
			`config.toml:2: admin.listen: "9901" has no port; want ip:port, unix:/path or systemd:name, such as "127.0.0.1:7001"`,
		},
		{
			"consul without a port",
			"[consul]\naddress = \"127.0.0.1\"",
			`config.toml:2: consul.address: "127.0.0.1" is not an address; want host:port, http://host:port, https://host:port or unix:///path`,
		},
		{
			"consul by ftp",
			"[consul]\naddress = \"ftp://127.0.0.1:8500\"",
			`config.toml:2: consul.address: "ftp://127.0.0.1:8500": scheme "ftp" is not known; want host:port, http://host:port, https://host:port or unix:///path`,
		},
		{
			"consul with a password",
			"[consul]\naddress = \"http://me:secret@127.0.0.1:8500\"",
			`config.toml:2: consul.address: has a user or a password, which Consul does not take; use token_file`,
		},
		{
			"consul with a path",
			"[consul]\naddress = \"http://127.0.0.1:8500/v1\"",
			`config.toml:2: consul.address: "http://127.0.0.1:8500/v1" has a path, which is not supported; want host:port, http://host:port, https://host:port or unix:///path`,
		},
		{
			"consul on port 0",
			"[consul]\naddress = \"127.0.0.1:0\"",
			`config.toml:2: consul.address: "127.0.0.1:0": port "0" is not a number from 1 to 65535`,
		},
	} {
		e.test(t)
	}
}

func TestAddressesHaveNoControlCharacters(t *testing.T) {
	for _, s := range []string{"unix:/a\nb", "[fe80::1%\n]:80", "127.0.0.1:80\x00"} {
		if a, m := parseListen(s); m == nil || !strings.HasSuffix(m.message, "has a control character, perhaps a line break") {
			t.Errorf("%q: %v, %v", s, a, m)
		}
	}
}
