package config

import (
	"strings"
	"testing"
)

func TestChecks(t *testing.T) {
	const (
		instanceForms = `; want ip:port, host:port or unix:/path, such as "10.0.0.1:8080"`
		consulForms   = `; want host:port, http://host:port, https://host:port or unix:///path`
	)
	service := newSchema().service
	root := newSchema().root
	for _, tt := range []struct{ path, text, want string }{
		{"name", "orders-v2.eu_1", ""},
		{"name", "-orders", `"-orders" is not a name; want letters, digits and - . _ with a letter or digit in front (discovery.service takes any name of the registry)`},
		{"name", strings.Repeat("a", 129), `"` + strings.Repeat("a", 129) + `" is too long; want at most 128 bytes`},
		{"discovery.service", "Any Name/at:all", ""},
		{"discovery.service", " orders", `" orders" is empty or has blanks around it`},
		{"discovery.service", "a\nb", `"a\nb" has a control character, perhaps a line break`},
		{"discovery.service", "\xff", `"\xff" is not UTF-8`},
		{"discovery.tags", "v2,", `"" is empty or has blanks around it`},
		{"discovery.instances", "db_1.internal.:80 zone=b weight=65535", ""},
		{"discovery.instances", "a:1 weight", `"a:1 weight": want weight=NUMBER or zone=NAME after the address, got "weight"`},
		{"discovery.instances", "a:1 zone=b zone=c", `"a:1 zone=b zone=c": zone is there twice`},
		{"discovery.instances", "a:1 weight=65536", `"a:1 weight=65536": weight "65536" is not a number from 1 to 65535`},
		{"discovery.instances", "http://a:1", `"http://a:1" is a URL` + instanceForms},
		{"discovery.instances", "[::1:80", `"[::1:80" has no closing bracket` + instanceForms},
		{"discovery.instances", "[127.0.0.1]:80", `"[127.0.0.1]:80": "127.0.0.1" is not an IPv6 address` + instanceForms},
		{"discovery.instances", "[::1]80", `"[::1]80" has no port` + instanceForms},
		{"discovery.instances", "a..b:80", `"a..b:80": "a..b" is neither an ip address nor a host name` + instanceForms},
		{"health_check.path", "/a?b=c%20d", ""},
		{"health_check.path", "/a b", `"/a b" has a blank or a character that must be written as %XX`},
		{"health_check.path", "/ä", `"/ä" has a blank or a character that must be written as %XX`},
		{"health_check.path", "/a#b", `"/a#b" has a fragment; servers never see what follows #`},
		{"health_check.path", "", `"" does not begin with a slash; write "/"`},
		{"http.via", "a/b", `"a/b" is not a pseudonym; want letters, digits and - . _ without blanks`},
		{"http.host", "orders.internal", ""},
		{"http.host", "orders.internal:8080", ""},
		{"http.host", "[::1]", ""},
		{"http.host", "::1", `"::1" is not a host; want a name or an ip address, with or without a port, such as "orders.internal:8080"`},
		{"http.host", "orders:0", `"orders:0": port "0" is not a number from 1 to 65535`},
		{"http.host", "a/b", `"a/b" is not a host; want a name or an ip address, with or without a port, such as "orders.internal:8080"`},
		{"retry.on", "599,500", ""},
		{"retry.on", "600", `"600" is not known; allowed are ` + retryWords},
		{"retry.on", "aborted", `"aborted" is not known; allowed are ` + retryWords},
		{"retry.on", "refused-stream", ""},
		{"retry.on", "5000", `"5000" is not known; allowed are ` + retryWords},
		{"breaker.consecutive_failures", "-1", `-1 is out of range; want 0 to 1000000`},
		{"timeout.idle", "Inf", `"Inf" has no unit; want a duration such as "500ms", "5s" or "1m30s"`},
		{"timeout.idle", "1h30m0.5s", ""},
		{"consul.address", "unix://run/consul.sock", `"unix://run/consul.sock": a socket's path is absolute, such as "unix:/run/sidecar/orders.sock"`},
		{"consul.address", "unix:/a\x00b", `"unix:/a\x00b" has a control character, perhaps a line break`},
		{"consul.address", "http://a b", `"http://a b": "a b" is neither an ip address nor a host name` + consulForms},
		{"consul.address", "https://consul:https", `"https://consul:https": port "https" is not a number from 1 to 65535`},
		{"consul.address", "me:secret@consul:8500", `has a user or a password, which Consul does not take; use token_file`},
		{"consul.address", "https://me@%zz:1", `has a user or a password, which Consul does not take; use token_file`},
		{"consul.address", "https://%zz:1", `"https://%zz:1": "%zz" is neither an ip address nor a host name` + consulForms},
		{"access_log.path", "stderr", ""},
		{"access_log.path", "/var/log/sidecar/access.log", ""},
		{"access_log.path", "/var/log/sidecar/", `"/var/log/sidecar/" is a folder; want a file in it`},
		{"access_log.path", "sdtout", `"sdtout" is neither stdout nor stderr; write a file's whole path, such as "/var/log/sidecar/sdtout"`},
		{"access_log.format", "combined", ""},
		{"access_log.format", `$client_ip [${time}] "$request" $$1 $status`, ""},
		{"access_log.format", "", `"" has no variable; want json, combined or a line such as "$client $method $path $status $flag"`},
		{"access_log.format", "jsno", `"jsno" has no variable; want json, combined or a line such as "$client $method $path $status $flag"`},
		{"access_log.format", "$$status", `"$$status" has no variable; want json, combined or a line such as "$client $method $path $status $flag"`},
		{"access_log.format", "$method $stauts", `variable "$stauts" is not known`},
		{"access_log.format", "$method $", `has "$" without a name; write $$ for a dollar`},
		{"access_log.format", "$method ${status", `has "${" without "}"`},
		{"access_log.format", "$method\n$status", `"$method\n$status" has a control character, perhaps a line break`},
		{"access_log.buffer", "1", "1 is out of range; want 65536 to 67108864"},
		{"consul.datacenter", "eu\t1", `"eu\t1" has a control character, perhaps a line break`},
	} {
		got := ""
		for _, f := range append(service.leaves(), root.leaves()...) {
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

func TestFewWordsAreEnumerated(t *testing.T) {
	for want, words := range map[string][]string{"": nil, "a": {"a"}, "a and b": {"a", "b"}, "a, b and c": {"a", "b", "c"}} {
		if got := enumerate(words); got != want {
			t.Errorf("enumerate(%q) = %q", words, got)
		}
	}
}
