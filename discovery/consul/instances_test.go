package consul

import (
	"maps"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"sidecar/discovery"
)

func TestEntriesBecomeInstances(t *testing.T) {
	maintenance := func(id string) func(*api.ServiceEntry) {
		return func(e *api.ServiceEntry) {
			e.Checks = append(e.Checks, &api.HealthCheck{CheckID: id, Status: api.HealthCritical})
		}
	}
	weights := func(passing, warning int) func(*api.ServiceEntry) {
		return func(e *api.ServiceEntry) { e.Service.Weights = api.AgentWeights{Passing: passing, Warning: warning} }
	}
	for name, c := range map[string]struct {
		entry   *api.ServiceEntry
		warning bool
		want    *discovery.Instance // without ID; nil: none
	}{
		"passing":                {entry: entry("a", weights(5, 2)), want: &discovery.Instance{Address: "10.0.0.1:8080", Weight: 5}},
		"without checks":         {entry: entry("a", func(e *api.ServiceEntry) { e.Checks = nil }), want: &discovery.Instance{Address: "10.0.0.1:8080", Weight: 1}},
		"warning, wanted":        {entry: entry("a", weights(5, 2), inState(api.HealthWarning)), warning: true, want: &discovery.Instance{Address: "10.0.0.1:8080", Weight: 2}},
		"warning, not wanted":    {entry: entry("a", weights(5, 2), inState(api.HealthWarning))},
		"weight 0":               {entry: entry("a", weights(0, 0)), want: &discovery.Instance{Address: "10.0.0.1:8080", Weight: 1}},
		"weight below 0":         {entry: entry("a", weights(1, -3), inState(api.HealthWarning)), warning: true, want: &discovery.Instance{Address: "10.0.0.1:8080", Weight: 1}},
		"critical":               {entry: entry("a", inState(api.HealthWarning), inState(api.HealthCritical)), warning: true},
		"a state yet to come":    {entry: entry("a", inState("on fire")), warning: true},
		"service in maintenance": {entry: entry("a", maintenance("_service_maintenance:a")), warning: true},
		"node in maintenance":    {entry: entry("a", maintenance("_node_maintenance")), warning: true},
		"its own address": {
			entry: entry("a", func(e *api.ServiceEntry) { e.Service.Address = "10.9.9.9" }),
			want:  &discovery.Instance{Address: "10.9.9.9:8080", Weight: 1},
		},
		"IPv6": {
			entry: entry("a", func(e *api.ServiceEntry) { e.Node.Address = "fd00::1" }),
			want:  &discovery.Instance{Address: "[fd00::1]:8080", Weight: 1},
		},
		"a socket": {
			entry: entry("a", func(e *api.ServiceEntry) { e.Service.SocketPath, e.Service.Port = "/run/a.sock", 0 }),
			want:  &discovery.Instance{Address: "unix:/run/a.sock", Weight: 1},
		},
		"zone of the service": {
			entry: entry("a", func(e *api.ServiceEntry) {
				e.Service.Meta = map[string]string{"zone": "s", "version": "2"}
				e.Node.Meta = map[string]string{"zone": "n"}
			}),
			want: &discovery.Instance{Address: "10.0.0.1:8080", Weight: 1, Zone: "s", Meta: map[string]string{"zone": "s", "version": "2"}},
		},
		"zone of the node": {
			entry: entry("a", func(e *api.ServiceEntry) {
				e.Node.Meta = map[string]string{"zone": "n"}
				e.Service.Locality = &api.Locality{Zone: "l"}
			}),
			want: &discovery.Instance{Address: "10.0.0.1:8080", Weight: 1, Zone: "n"},
		},
		"locality of the service": {
			entry: entry("a", func(e *api.ServiceEntry) {
				e.Service.Locality, e.Node.Locality = &api.Locality{Zone: "l"}, &api.Locality{Zone: "m"}
			}),
			want: &discovery.Instance{Address: "10.0.0.1:8080", Weight: 1, Zone: "l"},
		},
		"locality of the node": {
			entry: entry("a", func(e *api.ServiceEntry) { e.Node.Locality = &api.Locality{Zone: "m"} }),
			want:  &discovery.Instance{Address: "10.0.0.1:8080", Weight: 1, Zone: "m"},
		},
	} {
		var want []discovery.Instance
		if c.want != nil {
			c.want.ID = "n1/a"
			want = append(want, *c.want)
		}
		got := convert([]*api.ServiceEntry{c.entry}, &Query{Warning: c.warning}, "")
		if !discovery.Equal(got.instances, want) || len(got.problems) > 0 {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestInstancesAreNamedByNodeAndID(t *testing.T) {
	elsewhere := func(e *api.ServiceEntry) { e.Node = &api.Node{Node: "n0", Address: "10.0.0.2"} }
	entries := []*api.ServiceEntry{entry("b"), entry("a"), entry("a", elsewhere)}
	if got := convert(entries, &Query{}, ""); !sameIDs(got.instances, []string{"n0/a", "n1/a", "n1/b"}) || len(got.problems) > 0 {
		t.Errorf("%+v", got)
	}
	if got := convert(entries, &Query{}, "dc2"); !sameIDs(got.instances, []string{"dc2/n0/a", "dc2/n1/a", "dc2/n1/b"}) {
		t.Errorf("in a datacenter: %+v", got)
	}
}

// What is there twice counts once, and which one that is does not depend on the order of the
// answer, which servers do not promise.
func TestInstancesThatAreThereTwiceAreProblems(t *testing.T) {
	same := func(e *api.ServiceEntry) { e.Service.Port = portOf("a") }
	for _, entries := range [][]*api.ServiceEntry{
		{entry("a"), entry("b", same), entry("c")},
		{entry("c"), entry("b", same), entry("a")},
	} {
		got := convert(entries, &Query{}, "")
		if !sameIDs(got.instances, []string{"n1/a", "n1/c"}) || len(got.problems) != 1 ||
			got.problems[0] != "n1/b: its address 10.0.0.1:8080 is that of n1/a; deregister one of them" {
			t.Errorf("the same address: %+v", got)
		}
	}
	got := convert([]*api.ServiceEntry{entry("a"), entry("a", func(e *api.ServiceEntry) { e.Service.Port = 1 })}, &Query{}, "")
	if len(got.instances) != 1 || got.instances[0].Address != "10.0.0.1:8080" || len(got.problems) != 1 ||
		!strings.HasPrefix(got.problems[0], "n1/a: the answer has it twice, of which the first counts") {
		t.Errorf("the same ID: %+v", got)
	}
	// One of the two takes no traffic: nothing is there twice.
	got = convert([]*api.ServiceEntry{entry("a", inState(api.HealthCritical)), entry("b", same)}, &Query{}, "")
	if !sameIDs(got.instances, []string{"n1/b"}) || len(got.problems) > 0 {
		t.Errorf("one is critical: %+v", got)
	}
}

func TestAllEntriesAreCountedByState(t *testing.T) {
	got := convert([]*api.ServiceEntry{
		entry("a"), entry("b"), entry("c", inState(api.HealthWarning)), entry("d", inState(api.HealthCritical)),
		entry("e", inState("on fire")), entry("f", func(e *api.ServiceEntry) { e.Service.Port = 0 }),
		entry("g", func(e *api.ServiceEntry) {
			e.Checks = append(e.Checks, &api.HealthCheck{CheckID: "_node_maintenance", Status: api.HealthCritical})
		}),
	}, &Query{}, "")
	want := map[string]int{"passing": 3, "warning": 1, "critical": 1, "maintenance": 1, "unknown": 1}
	if !maps.Equal(got.states, want) {
		t.Errorf("states %v, want %v", got.states, want)
	}
}

// Rule 3.3: agents before 1.12 lose filters when they answer from their view. As in Consul,
// capitals make no difference.
func TestTagsAreCheckedHereToo(t *testing.T) {
	tags := func(tags ...string) func(*api.ServiceEntry) {
		return func(e *api.ServiceEntry) { e.Service.Tags = tags }
	}
	got := convert([]*api.ServiceEntry{
		entry("a", tags("V2", "eu", "x")), entry("b", tags("v2")), entry("c"), entry("d", tags("v2", "eu"), inState(api.HealthCritical)),
	}, &Query{Tags: []string{"v2", "EU"}}, "")
	if !sameIDs(got.instances, []string{"n1/a"}) || got.entries != 2 || !maps.Equal(got.states, map[string]int{"passing": 1, "critical": 1}) {
		t.Errorf("%+v", got)
	}
}

func TestNearestKeepsTheFirstThatAreUsable(t *testing.T) {
	far := entry("a")
	got := convert([]*api.ServiceEntry{
		entry("d"), entry("c", inState(api.HealthCritical)), entry("p", func(e *api.ServiceEntry) { e.Service.Port = 0 }), entry("b"), far,
	}, &Query{Near: "_agent", Nearest: 2}, "")
	if !sameIDs(got.instances, []string{"n1/b", "n1/d"}) || len(got.problems) != 1 {
		t.Errorf("%+v", got)
	}
	if got := convert([]*api.ServiceEntry{far}, &Query{Near: "_agent", Nearest: 2}, ""); len(got.instances) != 1 {
		t.Errorf("fewer than wanted: %+v", got)
	}
}

func TestTaggedAddressGoesBeforeTheOthers(t *testing.T) {
	full := func(e *api.ServiceEntry) {
		e.Node.TaggedAddresses = map[string]string{"lan": "10.0.0.2", "wan": "192.0.2.2"}
		e.Service.TaggedAddresses = map[string]api.ServiceAddress{"wan": {Address: "192.0.2.9", Port: 443}, "wan_ipv6": {Address: "2001:db8::9"}}
	}
	own := func(e *api.ServiceEntry) { e.Service.Address = "10.9.9.9" }
	for name, c := range map[string]struct {
		kind, want string
		change     []func(*api.ServiceEntry)
	}{
		"none is wanted":                {"", "10.0.0.1:8080", []func(*api.ServiceEntry){full}},
		"the service's":                 {"wan", "192.0.2.9:443", []func(*api.ServiceEntry){full}},
		"the service's before its own":  {"wan", "192.0.2.9:443", []func(*api.ServiceEntry){full, own}},
		"without a port":                {"wan_ipv6", "[2001:db8::9]:8080", []func(*api.ServiceEntry){full}},
		"the node's":                    {"lan", "10.0.0.2:8080", []func(*api.ServiceEntry){full}},
		"its own before the node's":     {"lan", "10.9.9.9:8080", []func(*api.ServiceEntry){full, own}},
		"nobody has one":                {"lan_ipv4", "10.0.0.1:8080", []func(*api.ServiceEntry){full}},
		"nobody has any, nor a service": {"lan", "10.0.0.1:8080", nil},
	} {
		got, err := addressOf(entry("a", c.change...), c.kind)
		if err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
}

func TestUnusableEntriesSayWhy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*api.ServiceEntry)
		want   string
	}{
		"port":       {func(e *api.ServiceEntry) { e.Service.Port = 0 }, "n1/a: port 0 cannot be dialled"},
		"large port": {func(e *api.ServiceEntry) { e.Service.Port = 70000 }, "n1/a: port 70000"},
		"address":    {func(e *api.ServiceEntry) { e.Node.Address = "" }, "n1/a: neither service nor node has an address"},
		"no host":    {func(e *api.ServiceEntry) { e.Service.Address = "10.0.0.256" }, `n1/a: "10.0.0.256" is not an IP address`},
		"socket":     {func(e *api.ServiceEntry) { e.Service.SocketPath = "a.sock" }, `n1/a: socket path "a.sock" is not absolute`},
		"node":       {func(e *api.ServiceEntry) { e.Node = nil }, "an entry without node"},
	} {
		got := convert([]*api.ServiceEntry{entry("a", c.change)}, &Query{}, "")
		if len(got.instances) > 0 || len(got.problems) != 1 || !strings.Contains(got.problems[0], c.want) {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
	// What takes no traffic anyway is no matter of complaint.
	if got := convert([]*api.ServiceEntry{entry("a", inState(api.HealthCritical), func(e *api.ServiceEntry) { e.Service.Port = 0 })}, &Query{}, ""); len(got.problems) > 0 {
		t.Errorf("critical: %+v", got)
	}
}
