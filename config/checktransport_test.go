package config

import "testing"

func TestChecksOfTransport(t *testing.T) {
	service := complete().schema.service
	const network, name, allowed = "accept_proxy_from", "sni", "tls.client_names"
	const namesForm = `; want a DNS name, such as "orders.internal" or "*.orders.internal", or a URI, such as "spiffe://internal/orders"`
	for _, tt := range []struct{ path, text, want string }{
		{network, "10.0.0.0/8,::1/128,0.0.0.0/0", ""},
		{network, "10.0.0.1", `"10.0.0.1" is an address; write "10.0.0.1/32" for it alone`},
		{network, "::1", `"::1" is an address; write "::1/128" for it alone`},
		{network, "10.0.0.1/8", `"10.0.0.1/8" has bits behind the first 8; write "10.0.0.0/8"`},
		{network, "10.0.0.0/33", `"10.0.0.0/33" is not a network; want ip/bits, such as "10.0.0.0/8" or "192.0.2.1/32"`},
		{network, "fe80::1%eth0", `"fe80::1%eth0" is not a network; want ip/bits, such as "10.0.0.0/8" or "192.0.2.1/32"`},
		{network, "internal", `"internal" is not a network; want ip/bits, such as "10.0.0.0/8" or "192.0.2.1/32"`},
		{network, "::ffff:10.0.0.0/104", `"::ffff:10.0.0.0/104" is IPv4 within IPv6, which clients never have here; write it as IPv4`},
		{name, "a.example,*.a.example,localhost", ""},
		{name, "a.*.example", `"a.*.example" is not a name; want the name of a host, such as "orders.example" or "*.orders.example"`},
		{name, "*", `"*" is not a name; want the name of a host, such as "orders.example" or "*.orders.example"`},
		{name, "a.example.", `"a.example." is not a name; want the name of a host, such as "orders.example" or "*.orders.example"`},
		{name, "192.0.2.1", `"192.0.2.1" is an ip address, which clients do not send as a name; want the name of a host, such as "orders.example" or "*.orders.example"`},
		{allowed, "a.example,*.A.example,localhost,spiffe://corp/ns/prod/sa/Admin,https://a.example/b", ""},
		{allowed, "*", `"*" is a name that no certificate has` + namesForm},
		{allowed, "a.*", `"a.*" is a name that no certificate has` + namesForm},
		{allowed, "a b", `"a b" is a name that no certificate has` + namesForm},
		{allowed, "10.0.0.5", `"10.0.0.5" is an ip address, which is not looked for in certificates of clients` + namesForm},
		{allowed, "spiffe://corp/*", `"spiffe://corp/*" is not a URI as certificates have it, and is compared as it is` + namesForm},
		{allowed, "Spiffe://corp/a", `"Spiffe://corp/a" is not a URI as certificates have it, and is compared as it is` + namesForm},
		{allowed, "://corp", `"://corp" is not a URI as certificates have it, and is compared as it is` + namesForm},
		{"upstream_tls.server_name", "orders.internal:443", `"orders.internal:443" is not the name of a host; want one such as "orders.internal", without a port`},
		{"tls.client_ca_file", " /ca", `" /ca" is empty or has blanks around it`},
	} {
		got := ""
		for _, f := range service.leaves() {
			if f.path != tt.path {
				continue
			}
			_, mistakes := f.parseText(tt.text)
			for _, m := range mistakes {
				got += m.message
			}
		}
		if got != tt.want {
			t.Errorf("%s = %q\n got: %s\nwant: %s", tt.path, tt.text, got, tt.want)
		}
	}
}
