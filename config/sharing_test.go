package config

import "testing"

// tcpService is a service of seven lines on port 7001.
func tcpService(name, sni string, more ...string) string {
	text := "[[service]]\nname = \"" + name + "\"\nlisten = \"127.0.0.1:7001\"\nprotocol = \"tcp\"\nsni = [" + sni + "]\n"
	for len(more) < 2 {
		more = append(more, "")
	}
	return text + more[0] + "\n" + more[1] + "\n"
}

func TestServicesThatShareAnAddress(t *testing.T) {
	a, b := tcpService("a", `"a.example"`), tcpService("b", `"b.example", "*.b.example"`)
	none := tcpService("rest", "")
	const from = "accept_proxy_from = [\"10.0.0.0/8\", \"192.0.2.0/24\"]"
	for _, e := range []example{
		{"by names", a + b, ""},
		{"one has none", a + none + b, ""},
		{"the one without names is first", none + a + b, ""},
		{"PROXY header for both", tcpService("a", `"a"`, from) + tcpService("b", `"b"`, "accept_proxy_from = [\"192.0.2.0/24\", \"10.0.0.0/8\"]"), ""},
		{
			"two have none", none + a + tcpService("others", ""),
			`config.toml:17: service "others": listen: 127.0.0.1:7001 is taken by service "rest" (line 3)`,
		},
		{
			"one name twice", a + none + tcpService("c", `"c.example", "A.example"`),
			`config.toml:17: service "c": listen: 127.0.0.1:7001 is shared with service "a" (line 3), which has "a.example" as well; names differ`,
		},
		{
			"PROXY header for one", a + tcpService("b", `"b.example"`, from),
			`config.toml:10: service "b": listen: 127.0.0.1:7001 is shared with service "a" (line 3), whose accept_proxy_from differs; the header comes before the name, so both need the same`,
		},
		{
			"http", a + "[[service]]\nname = \"b\"\nlisten = \"127.0.0.1:7001\"",
			`config.toml:10: service "b": listen: 127.0.0.1:7001 is taken by service "a" (line 3)`,
		},
		{
			"TLS that ends here", a + tcpService("b", "", "tls.cert_files = [\"/a.crt\"]", "tls.key_files = [\"/a.key\"]"),
			`config.toml:10: service "b": listen: 127.0.0.1:7001 is taken by service "a" (line 3)`,
		},
		{
			"admin", a + "[admin]\nlisten = \"127.0.0.1:7001\"",
			`config.toml:9: admin.listen: 127.0.0.1:7001 is taken by service "a" (line 3)`,
		},
		{
			"overlapping addresses", a + "[[service]]\nname = \"b\"\nprotocol = \"tcp\"\nsni = [\"b.example\"]\nlisten = \"0.0.0.0:7001\"",
			`config.toml:12: service "b": listen: 0.0.0.0:7001 overlaps 127.0.0.1:7001 of service "a" (line 3)`,
		},
		{
			"itself", "[[service]]\nname = \"b\"\nprotocol = \"tcp\"\nsni = [\"b.example\"]\nlisten = [\"127.0.0.1:7001\", \"localhost:7001\"]",
			`config.toml:5: service "b": listen: 127.0.0.1:7001 is taken by service "b" (line 5)`,
		},
		{
			"bad names hide what follows from them", none + tcpService("b", `"b.example:443"`),
			`config.toml:12: service "b": sni: "b.example:443" is not a name; want the name of a host, such as "orders.example" or "*.orders.example"`,
		},
		{
			"names by default", "[defaults]\nsni = [\"a.example\"]\n" + orders + "protocol = \"tcp\"\n[[service]]\nname = \"b\"\nprotocol = \"tcp\"\nlisten = \"127.0.0.1:7001\"",
			`config.toml:10: service "b": listen: 127.0.0.1:7001 is shared with service "orders" (line 5), which has "a.example" as well; names differ`,
		},
	} {
		e.testComplete(t)
	}
}
