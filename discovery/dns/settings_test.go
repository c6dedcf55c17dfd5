package dns

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestResolvConf(t *testing.T) {
	for name, c := range map[string]struct {
		text, hostname string
		given          []string
		want           func(s *settings) // on top of the defaults
	}{
		"missing or empty": {want: func(s *settings) { s.servers = []string{"127.0.0.1:53"} }},
		"servers": {
			text: "nameserver 10.0.0.1 # first\nnameserver fd00::1\n nameserver\tfe80::1%eth0\nnameserver 10.0.0.4\n",
			want: func(s *settings) { s.servers = []string{"10.0.0.1:53", "[fd00::1]:53", "[fe80::1%eth0]:53"} },
		},
		"servers that are none": {
			text: "nameserver\nnameserver localhost\nnameserver 10.0.0.256\n#nameserver 10.0.0.1\n; nameserver 10.0.0.2\n",
			want: func(s *settings) { s.servers = []string{"127.0.0.1:53"} },
		},
		"given ones go before": {
			text: "nameserver 10.0.0.1\nsearch a", given: []string{"10.9.9.9:5353"},
			want: func(s *settings) {
				s.servers, s.from, s.search = []string{"10.9.9.9:5353"}, "dns.servers", []string{"a."}
			},
		},
		"search": {text: "domain x\nsearch A.example. b.example .\n", want: func(s *settings) { s.search = []string{"a.example.", "b.example."} }},
		"domain": {text: "search x y\ndomain a.example b.example\n", want: func(s *settings) { s.search = []string{"a.example."} }},
		"a search list that is none": {
			text: "search a..b " + strings.Repeat("x", 64) + " c\n",
			want: func(s *settings) { s.search = []string{"c."} },
		},
		"the host's own domain":   {hostname: "h1.corp.example", want: func(s *settings) { s.search = []string{"corp.example."} }},
		"a host without a domain": {hostname: "h1", want: func(s *settings) {}},
		"not with a search list":  {text: "search a", hostname: "h1.corp.example", want: func(s *settings) { s.search = []string{"a."} }},
		"options": {text: "options ndots:5 timeout:1 attempts:3 rotate use-vc no-aaaa edns0\noptions x:1", want: func(s *settings) {
			s.ndots, s.timeout, s.attempts, s.rotate, s.tcp, s.noAAAA = 5, time.Second, 3, true, true, true
		}},
		"options beyond libc's":    {text: "options ndots:99 attempts:99", want: func(s *settings) { s.ndots, s.attempts = 15, 5 }},
		"options below":            {text: "options ndots:-1 timeout:0 attempts:0", want: func(s *settings) { s.ndots, s.timeout, s.attempts = 0, time.Second, 1 }},
		"options without a number": {text: "options ndots: attempts timeout:x", want: func(s *settings) {}},
		"a timeout over our own":   {text: "options timeout:30", want: func(s *settings) {}},
	} {
		t.Run(name, func(t *testing.T) {
			want := &settings{servers: []string{"127.0.0.1:53"}, from: "/r", ndots: 1, attempts: 2, timeout: 2 * time.Second}
			c.want(want)
			if got := newSettings(c.text, c.hostname, c.given, 2*time.Second, "/r"); !reflect.DeepEqual(got, want) {
				t.Fatalf("settings %+v,\nwant     %+v", got, want)
			}
		})
	}
}

func TestCandidates(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 49)+".", 4) // 200 characters
	for _, c := range []struct {
		ndots  int
		search []string
		name   string
		want   []string
	}{
		{1, nil, "orders", []string{"orders."}},
		{1, []string{"a.", "b."}, "Orders", []string{"orders.a.", "orders.b.", "orders."}},
		{1, []string{"a."}, "orders.x", []string{"orders.x.", "orders.x.a."}},
		{2, []string{"a."}, "orders.x", []string{"orders.x.a.", "orders.x."}},
		{0, []string{"a."}, "orders", []string{"orders.", "orders.a."}},
		{5, []string{"a."}, "orders.", []string{"orders."}},
		{1, []string{"a.", "a."}, "orders", []string{"orders.a.", "orders."}},
		{1, []string{long, "a."}, strings.Repeat("x", 60), []string{strings.Repeat("x", 60) + ".a.", strings.Repeat("x", 60) + "."}},
	} {
		s := &settings{ndots: c.ndots, search: c.search}
		if got := s.candidates(c.name); !slices.Equal(got, c.want) {
			t.Errorf("ndots %d, search %v: %q becomes %q, want %q", c.ndots, c.search, c.name, got, c.want)
		}
	}
}

func TestFilesAreReadAgainWhenTheyChange(t *testing.T) {
	story(t, Options{}, oneServer, func(t *testing.T, w *world) {
		w.say("orders.example. 2 A 10.0.0.7", "orders.other. 2 A 10.0.0.9")
		watch := w.watch(a("orders"))
		watch.wantIDs("10.0.0.7:80")
		before, _ := w.resolver.current()
		if again, _ := w.resolver.current(); again != before {
			t.Fatal("what has not changed was read again")
		}
		w.count()
		w.write(w.resolvConf, "nameserver 10.0.0.2\nsearch other\noptions no-aaaa\n")
		watch.wantIDs("10.0.0.9:80")
		w.wantAsked("udp 10.0.0.2:53 A orders.other.")
	})
}

func TestFilesThatGoAndCome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	w := &world{t: t}
	f := file{path: path}
	want := func(text string, changed bool) {
		t.Helper()
		if got, is := f.changed(); got != text || is != changed {
			t.Fatalf("read %q, %t, want %q, %t", got, is, text, changed)
		}
	}
	want("", true) // to begin with, nothing is known
	want("", false)
	w.write(path, "one")
	want("one", true)
	want("", false)
	w.write(path, "two") // of the same length, and perhaps of the same time
	want("two", true)
	f.path = filepath.Dir(path) // a folder is no file: it stays as it was
	want("", false)
	f.path = path + ".gone"
	want("", true)
	f.path = path
	want("two", true)
}

func TestOptionsThatAreWrong(t *testing.T) {
	for want, o := range map[string]Options{
		`dns: server "localhost": it is no IP address with or without a port; write one such as 10.0.0.2 or [fd00::2]:53`: {Servers: []string{"10.0.0.1", "localhost"}},
		`dns: server "10.0.0.1:0": it is no IP address`:                                                                   {Servers: []string{"10.0.0.1:0"}},
		`dns: server "": it is no IP address`:                                                                             {Servers: []string{""}},
		`dns: min_ttl 2s and max_ttl 1s are no range`:                                                                     {MinTTL: 2 * time.Second, MaxTTL: time.Second},
		`dns: min_ttl -1s and max_ttl 1m0s are`:                                                                           {MinTTL: -time.Second},
		`dns: timeout -1s is less than nothing`:                                                                           {Timeout: -time.Second},
	} {
		if _, err := New(o); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestServersAsTheyAreWritten(t *testing.T) {
	r, err := New(Options{Servers: []string{"10.0.0.1", "10.0.0.1:5353", "fd00::1", "[fd00::1]", "[fd00::1]:5353", "fe80::1%eth0"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "[10.0.0.1:53 10.0.0.1:5353 [fd00::1]:53 [fd00::1]:53 [fd00::1]:5353 [fe80::1%eth0]:53]"
	if got := fmt.Sprint(r.given); got != want {
		t.Fatalf("servers %s, want %s", got, want)
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("nameserver 10.0.0.1\nsearch a b\noptions ndots:2 timeout:3 rotate\n", "orders.x")
	f.Add("domain x;y\n", "a.")
	f.Fuzz(func(t *testing.T, text, name string) {
		s := newSettings(text, "h.example", nil, 2*time.Second, "/r")
		if len(s.servers) < 1 || len(s.servers) > maxServers || s.attempts < 1 || s.attempts > maxAttempts ||
			s.timeout < time.Second || s.timeout > 2*time.Second || s.ndots < 0 || s.ndots > maxNdots {
			t.Fatalf("settings %+v", s)
		}
		if a(name).check() != nil {
			return
		}
		for _, full := range s.candidates(name) {
			if !strings.HasSuffix(full, ".") || len(full) > 1024 {
				t.Fatalf("candidate %q of %q", full, name)
			}
		}
		parseHosts(text).lookup(name)
	})
}
