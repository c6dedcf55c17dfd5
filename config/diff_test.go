package config

import (
	"reflect"
	"strings"
	"testing"
)

// lines is what Diff says of two files.
func lines(t *testing.T, old, now string) string {
	t.Helper()
	var all []string
	for _, c := range Diff(load(t, old), load(t, now)) {
		all = append(all, c.String())
	}
	return strings.Join(all, "\n")
}

const (
	ordersOnly = "[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:7001\"\n"
	stockOnly  = "[[service]]\nname = \"stock\"\nlisten = \"127.0.0.1:7002\"\nprotocol = \"tcp\"\n"
	webOnly    = "[[register]]\nname = \"web\"\nport = 8080\n"
)

func TestDiffSaysWhatDiffers(t *testing.T) {
	for _, tt := range []struct{ name, old, now, want string }{
		{"nothing", ordersOnly + webOnly, webOnly + ordersOnly, ""},
		{
			"a value of the process", ordersOnly, "[runtime]\ndrain = \"1m\"\n" + ordersOnly,
			"runtime.drain: 30s → 60s",
		},
		{
			"a default that is written down", ordersOnly, "[runtime]\ndrain = \"30s\"\n" + ordersOnly, "",
		},
		{
			"values of a service", ordersOnly, ordersOnly + "balancer = { policy = \"random\" }\ntimeout = { request = \"5s\" }\n",
			"service orders: balancer.policy: p2c → random\nservice orders: timeout.request: 15s → 5s",
		},
		{
			"by way of the defaults", ordersOnly + stockOnly, "[defaults.timeout]\nconnect = \"9s\"\n" + ordersOnly + stockOnly,
			"service orders: timeout.connect: 1s → 9s\nservice stock: timeout.connect: 1s → 9s",
		},
		{
			"a list", ordersOnly, ordersOnly + "[service.discovery]\nsource = \"static\"\ninstances = [\"10.0.0.1:80\"]\n",
			`service orders: discovery.source: consul → static
service orders: discovery.sources: ["consul"] → ["static"]
service orders: discovery.instances: [] → ["10.0.0.1:80"]`,
		},
		{
			"an empty text", ordersOnly, "[runtime]\nzone = \"a\"\n" + ordersOnly,
			`runtime.zone: "" → a`,
		},
		{
			"services come and go", ordersOnly, stockOnly,
			"service stock: added, tcp on 127.0.0.1:7002\nservice orders: removed, was http on 127.0.0.1:7001",
		},
		{
			"the order of the new file", ordersOnly + stockOnly,
			strings.Replace(stockOnly, "7002", "7004", 1) + strings.Replace(ordersOnly, "7001", "7003", 1) + webOnly,
			`service stock: listen: 127.0.0.1:7002 → 127.0.0.1:7004
service orders: listen: 127.0.0.1:7001 → 127.0.0.1:7003
register web: added, port 8080 in consul as web-8080`,
		},
		{
			"an announcement with the same id", webOnly + "id = \"w\"\n", strings.Replace(webOnly, "web", "www", 1) + "id = \"w\"\n",
			"register www: name: web → www",
		},
		{
			"an announcement with the same name", webOnly, strings.Replace(webOnly, "8080", "8081", 1),
			"register web: id: web-8080 → web-8081\nregister web: port: 8080 → 8081",
		},
		{
			"an id that another one takes over",
			webOnly + "id = \"1\"\n" + strings.Replace(webOnly, "web", "api", 1) + "id = \"2\"\n",
			webOnly + "id = \"2\"\n" + strings.Replace(webOnly, "web", "api", 1) + "id = \"1\"\n",
			"register web: name: api → web\nregister api: name: web → api",
		},
		{
			"an announcement that leaves", webOnly, "",
			"register web: removed, was port 8080 in consul as web-8080",
		},
		{
			"a long text is cut", ordersOnly, ordersOnly + "fallback = { status = 503, body = \"" + strings.Repeat("ä", 200) + "\" }\n",
			"service orders: fallback.status: 0 → 503\nservice orders: fallback.body: \"\" → " + strings.Repeat("ä", mostShown) + "…",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lines(t, tt.old, tt.now); got != tt.want {
				t.Errorf("\n got: %s\nwant: %s", got, tt.want)
			}
		})
	}
}

func TestDiffHidesSecrets(t *testing.T) {
	old, now := load(t, "[consul]\ntoken = \"geheim\"\n"), load(t, "[consul]\ntoken = \"anders\"\n")
	got := Diff(old, now)
	want := []Change{{Path: "consul.token", Key: "consul.token", From: `"<hidden>"`, To: `"<hidden>"`}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v", got)
	}
	if s := got[0].String(); s != "consul.token: changed (hidden)" {
		t.Errorf("got %q", s)
	}
	if s := Diff(load(t, ""), old)[0].String(); s != `consul.token: "" → <hidden>` {
		t.Errorf("set for the first time: %q", s)
	}
	if again := Diff(old, load(t, "[consul]\ntoken = \"geheim\"\n")); len(again) > 0 {
		t.Errorf("the same secret: %v", again)
	}
}

func TestChangeNamesItsPlace(t *testing.T) {
	got := Diff(load(t, ordersOnly), load(t, ordersOnly+"protocol = \"tcp\"\n"))
	want := []Change{{Path: "service orders: protocol", Service: "orders", Key: "protocol", From: `"http"`, To: `"tcp"`}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	got = Diff(load(t, ""), load(t, webOnly))
	want = []Change{{Path: "register web", Register: "web", Added: true, To: "port 8080 in consul as web-8080"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// Every key that may be set has to be seen: a reload that does not see a change does not make it.
func TestDiffSeesEveryKey(t *testing.T) {
	s := newSchema()
	base := load(t, ordersOnly+webOnly)
	check := func(table *field, prefix string, into func(*Config) any) {
		for _, f := range table.settable() {
			changed := load(t, ordersOnly+webOnly)
			alter(t, leaf(table, f.path, reflect.ValueOf(into(changed)).Elem()))
			var found bool
			for _, c := range Diff(base, changed) {
				found = found || c.Path == prefix+f.path
			}
			// What was renamed is another service.
			if !found && prefix+f.path != "service orders: name" && prefix+f.path != "register web: name" {
				t.Errorf("%s%s: a change is not seen", prefix, f.path)
			}
		}
	}
	check(s.root, "", func(c *Config) any { return c })
	check(s.service, "service orders: ", func(c *Config) any { return &c.Services[0] })
	check(s.register, "register web: ", func(c *Config) any { return &c.Registers[0] })
}

// alter gives a value another one.
func alter(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), v.Len()+1, v.Len()+1))
	case reflect.Struct: // an Address
		v.Set(reflect.ValueOf(Address{"unix", "/altered"}))
	default:
		t.Fatalf("a kind that this test does not know: %s", v.Kind())
	}
}
