package consul

import (
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
		got := convert([]*api.ServiceEntry{c.entry}, c.warning)
		if !discovery.Equal(got.instances, want) || len(got.unusable) > 0 {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestInstancesAreNamedByNodeAndID(t *testing.T) {
	elsewhere := func(e *api.ServiceEntry) { e.Node = &api.Node{Node: "n0", Address: "10.0.0.2"} }
	got := convert([]*api.ServiceEntry{entry("b"), entry("a"), entry("a", elsewhere), entry("a")}, true)
	if !sameIDs(got.instances, []string{"n0/a", "n1/a", "n1/b"}) {
		t.Fatalf("%+v", got.instances)
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
		"node":       {func(e *api.ServiceEntry) { e.Node = nil }, "an entry without node"},
	} {
		got := convert([]*api.ServiceEntry{entry("a", c.change)}, true)
		if len(got.instances) > 0 || len(got.unusable) != 1 || !strings.Contains(got.unusable[0], c.want) {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
	// What takes no traffic anyway is no matter of complaint.
	if got := convert([]*api.ServiceEntry{entry("a", inState(api.HealthCritical), func(e *api.ServiceEntry) { e.Service.Port = 0 })}, true); len(got.unusable) > 0 {
		t.Errorf("critical: %+v", got)
	}
}
