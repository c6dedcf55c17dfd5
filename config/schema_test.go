package config

import (
	"slices"
	"strings"
	"testing"
)

func TestEveryKeyIsCompletelyDescribed(t *testing.T) {
	s := newSchema()
	var all func(f *field)
	all = func(f *field) {
		for _, c := range f.fields {
			if c.key == "" || c.key != strings.ToLower(c.key) || !only(c.key, isNameByte) {
				t.Errorf("%q: not a bare key in small letters", c.path)
			}
			if c.doc == "" || strings.ContainsAny(c.doc, "\n") {
				t.Errorf("%s: doc is not one line", c.path)
			}
			if (c.kind == kindTable || c.kind == kindTables) != (c.fields != nil) {
				t.Errorf("%s: a table without keys, or keys without a table", c.path)
			}
			all(c)
		}
	}
	all(s.root)
	for _, f := range slices.Concat(s.root.leaves(), s.service.leaves(), s.register.leaves()) {
		if f.required {
			continue
		}
		if _, mistakes := f.parseText(f.standard); len(mistakes) > 0 {
			t.Errorf("%s: default: %s", f.path, mistakes[0].message)
		}
		if f.awaited && len(f.later) > 0 {
			t.Errorf("%s: the key as well as words of it are yet to come", f.path)
		}
		for _, word := range f.later {
			if slices.Contains(f.allowed, word) {
				t.Errorf("%s: %q is allowed and yet to come", f.path, word)
			}
		}
	}
}

func TestVariablesOfDifferentKeysDiffer(t *testing.T) {
	s := newSchema()
	seen := make(map[string]bool)
	for _, f := range s.root.leaves() {
		name := variable(f.path)
		if seen[name] || strings.HasPrefix(name, "SERVICE_") || strings.HasPrefix(name, "REGISTER_") || strings.HasPrefix(name, "DEFAULTS_") {
			t.Errorf("%s: its variable is that of another key", f.path)
		}
		seen[name] = true
	}
	for _, list := range []*field{s.service, s.register} {
		n := newNamed(&collection{fields: list})
		for _, f := range list.leaves() {
			if part, found, other := n.split("ORDER_API_" + variable(f.path)); part != "ORDER_API" || found != f || other != nil {
				t.Errorf("%s %s: behind a name it is read as %s of %s", list.key, f.path, found.path, part)
			}
		}
	}
}

func TestWordsHaveConstants(t *testing.T) {
	s := newSchema()
	sources := []string{SourceConsul, SourceStatic, SourceDNS, SourceFile, SourceEtcd, SourceRedis, SourceNacos, SourceKubernetes}
	leaves := slices.Concat(s.root.leaves(), s.service.leaves(), s.register.leaves())
	for path, words := range map[string][]string{
		"protocol":                 {ProtocolHTTP, ProtocolTCP},
		"upstream_protocol":        {UpstreamAuto, UpstreamHTTP1, UpstreamH2C},
		"send_proxy":               {SendProxyOff, SendProxyV1, SendProxyV2},
		"tls.client_auth":          {ClientAuthOff, ClientAuthOptional, ClientAuthRequired},
		"tls.min_version":          {TLS12, TLS13},
		"on_down":                  {OnDownKeep, OnDownClose},
		"discovery.source":         sources,
		"discovery.sources":        sources,
		"discovery.combine":        {CombinePrefer, CombineMerge},
		"discovery.dns.type":       {DNSTypeA, DNSTypeSRV},
		"nacos.version":            {NacosAuto, NacosV1, NacosV2, NacosV3},
		"registry":                 {RegistryConsul, RegistryEtcd},
		"balancer.policy":          {PolicyP2C, PolicyLeastConn, PolicyRoundRobin, PolicyRandom, PolicyRingHash},
		"health_check.type":        {CheckNone, CheckTCP, CheckHTTP, CheckGRPC},
		"check.type":               {CheckNone, CheckTCP, CheckHTTP, CheckGRPC},
		"upstream_tls.min_version": {TLS12, TLS13},
		"http.x_forwarded_for":     {ForwardedAppend, ForwardedSet, ForwardedOff},
	} {
		i := slices.IndexFunc(leaves, func(f *field) bool { return f.path == path })
		if i < 0 || !slices.Equal(leaves[i].allowed, words) {
			t.Errorf("%s: constants are %q", path, words)
		}
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"address", "attempts", "on", "open", "open_max", "warn"}
	for word, want := range map[string]string{
		"atempts":                       "attempts",
		"attmepts":                      "attempts",
		"Attempts":                      "attempts",
		"addr":                          "address",
		"warning":                       "warn",
		"open_maximum":                  "open_max",
		"of":                            "on",
		"off":                           "",
		"colour":                        "",
		"":                              "",
		strings.Repeat("x", 9):          "",
		strings.Repeat("attempts", 100): "attempts",
	} {
		if got := nearest(word, keys); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1},
		{"abc", "xbc", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
		if got := distance(tt.b, tt.a); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.b, tt.a, got, tt.want)
		}
	}
}
