package kubernetes

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sidecar/discovery"
)

// in sets the conditions that are given, as JSON.
func in(conditions string) func(*endpoint) {
	return func(e *endpoint) {
		e.Conditions.Ready = nil
		if err := json.Unmarshal([]byte(conditions), &e.Conditions); err != nil {
			panic(err)
		}
	}
}

func bare(e *endpoint) { e.TargetRef = nil }

func sliceOf(kind, name string, endpoints ...endpoint) slice {
	s := slice1(name, "1", endpoints...)
	s.AddressType = kind
	return s
}

func convertAll(wanted string, all ...slice) discovery.Update {
	byName := map[string]slice{}
	for _, s := range all {
		byName[s.Metadata.Name] = s
	}
	return convert(byName, wanted)
}

// The conditions are read as the documentation of EndpointConditions says.
func TestConditionsDecide(t *testing.T) {
	for name, c := range map[string]struct {
		conditions []string
		want       string
		states     map[string]int
	}{
		"nothing is known":               {[]string{`{}`}, "p0", map[string]int{"ready": 1}},
		"null":                           {[]string{`{"ready":null,"serving":null,"terminating":null}`}, "p0", map[string]int{"ready": 1}},
		"ready":                          {[]string{`{"ready":true,"serving":true,"terminating":false}`}, "p0", map[string]int{"ready": 1}},
		"not ready":                      {[]string{`{"ready":false}`}, "", map[string]int{"not ready": 1}},
		"ends and serves":                {[]string{`{"ready":false,"serving":true,"terminating":true}`}, "p0", map[string]int{"serving": 1}},
		"ends and does not serve":        {[]string{`{"ready":false,"serving":false,"terminating":true}`}, "", map[string]int{"terminating": 1}},
		"ends and nothing else is known": {[]string{`{"ready":false,"terminating":true}`}, "", map[string]int{"terminating": 1}},
		"serves without an end":          {[]string{`{"ready":false,"serving":true}`}, "", map[string]int{"not ready": 1}},
		"published although not ready":   {[]string{`{"ready":true,"serving":false,"terminating":true}`}, "p0", map[string]int{"ready": 1}},
		"one that ends is not needed":    {[]string{`{"ready":false,"serving":true,"terminating":true}`, `{"ready":true}`, `{"ready":false}`}, "p1", map[string]int{"ready": 1, "serving": 1, "not ready": 1}},
		"those that end are all there is": {[]string{`{"ready":false,"serving":true,"terminating":true}`, `{"ready":false}`, `{"ready":false,"serving":true,"terminating":true}`}, "p0 p2",
			map[string]int{"serving": 2, "not ready": 1}},
	} {
		var endpoints []endpoint
		for i, conditions := range c.conditions {
			endpoints = append(endpoints, pod(fmt.Sprint("p", i), fmt.Sprint("10.0.0.", i), in(conditions)))
		}
		u := convertAll("", slice1("s", "1", endpoints...))
		if ids(u) != c.want || !maps.Equal(u.States, c.states) || len(u.Problems) > 0 {
			t.Errorf("%s: [%s] %v %v", name, ids(u), u.States, u.Problems)
		}
	}
}

func TestInstanceSaysAllThatIsKnown(t *testing.T) {
	placed := func(e *endpoint) { e.Zone, e.NodeName = "eu-1a", "worker-7" }
	u := convertAll("",
		sliceOf("IPv4", "a", pod("b", "10.0.0.2", placed), pod("", "10.0.0.1", bare)),
		sliceOf("IPv6", "b", pod("", "fd00::1", bare)),
		sliceOf("FQDN", "c", pod("", "db.example.com", bare)))
	want := []discovery.Instance{
		{ID: "10.0.0.1:8080", Address: "10.0.0.1:8080", Weight: 1},
		{ID: "[fd00::1]:8080", Address: "[fd00::1]:8080", Weight: 1},
		{ID: "db.example.com:8080", Address: "db.example.com:8080", Weight: 1},
		{ID: "pod/shop/b", Address: "10.0.0.2:8080", Weight: 1, Zone: "eu-1a", Meta: map[string]string{"nodeName": "worker-7"}},
	}
	if !discovery.Equal(u.Instances, want) || len(u.Problems) > 0 {
		t.Errorf("%+v %v", u.Instances, u.Problems)
	}
}

// Slices may overlap for a while, and do for ever with two families of addresses.
func TestEndpointsInSeveralSlicesAreOne(t *testing.T) {
	notYet := in(`{"ready":false}`)
	for name, c := range map[string]struct {
		slices []slice
		want   string
	}{
		"the same twice":             {[]slice{slice1("x", "1", pod("a", "10.0.0.1")), slice1("y", "1", pod("a", "10.0.0.1"))}, "10.0.0.1:8080"},
		"ready in the second":        {[]slice{slice1("x", "1", pod("a", "10.0.0.1", notYet)), slice1("y", "1", pod("a", "10.0.0.1"))}, "10.0.0.1:8080"},
		"ready in the first":         {[]slice{slice1("x", "1", pod("a", "10.0.0.1")), slice1("y", "1", pod("a", "10.0.0.1", notYet))}, "10.0.0.1:8080"},
		"both families":              {[]slice{sliceOf("IPv6", "x", pod("a", "fd00::1")), sliceOf("IPv4", "y", pod("a", "10.0.0.1"))}, "10.0.0.1:8080"},
		"an address is used again":   {[]slice{slice1("x", "1", pod("old", "10.0.0.1", in(`{"ready":false,"serving":true,"terminating":true}`)), pod("new", "10.0.0.1"))}, "10.0.0.1:8080"},
		"without a pod, and a pod's": {[]slice{slice1("x", "1", pod("a", "10.0.0.1")), slice1("y", "1", pod("", "10.0.0.2", bare), pod("", "10.0.0.2", bare))}, "10.0.0.2:8080 10.0.0.1:8080"},
	} {
		u := convertAll("", c.slices...)
		var got []string
		for _, i := range u.Instances {
			got = append(got, i.Address)
		}
		if strings.Join(got, " ") != c.want || len(u.Problems) > 0 {
			t.Errorf("%s: %v %v", name, got, u.Problems)
		}
	}
}

func TestUnusableEntriesAreProblemsAndTheRestStands(t *testing.T) {
	for name, c := range map[string]struct {
		bad  slice
		want string
	}{
		"no address": {slice1("bad", "1", pod("x", "", func(e *endpoint) { e.Addresses = nil })), "slice bad: pod/shop/x: it has no address; correct the slice"},
		"no IP":      {slice1("bad", "1", pod("x", "example.com")), `slice bad: pod/shop/x: "example.com" is no IPv4 address; correct the slice`},
		"no name":    {sliceOf("FQDN", "bad", pod("", "a b", bare)), `slice bad: a b: "a b" is neither an IP address nor a host name; correct the slice`},
		"port 0": {func() slice { s := slice1("bad", "1", pod("x", "10.0.0.9")); s.Ports[0].Port = pointer(0); return s }(),
			"slice bad: pod/shop/x: port 0 cannot be dialled; register it with its port; correct the slice"},
		"unknown addresses": {sliceOf("MAC", "bad", pod("x", "10.0.0.9")), `slice bad: addresses of type "MAC" are not known to the sidecar; use IPv4, IPv6 or FQDN`},
		"two ports": {func() slice {
			s := slice1("bad", "1", pod("x", "10.0.0.9"))
			s.Ports = append(s.Ports, port{Name: "metrics", Port: pointer(9090)})
			return s
		}(), "slice bad: it has the ports http (8080), metrics (9090); set port to one of them"},
		"same address": {slice1("bad", "1", pod("x", "10.0.0.1")), "pod/shop/x: its address 10.0.0.1:8080 is that of pod/shop/a too; correct the slices"},
		"same pod":     {slice1("bad", "1", pod("a", "10.0.0.9")), "pod/shop/a: it has the addresses 10.0.0.1:8080 and 10.0.0.9:8080, of which the second is left out; correct the slices"},
	} {
		u := convertAll("", slice1("a-good", "1", pod("a", "10.0.0.1")), c.bad)
		if ids(u) != "a" || !slices.Equal(u.Problems, []string{c.want}) {
			t.Errorf("%s: [%s] %q", name, ids(u), u.Problems)
		}
	}
	// What takes no traffic anyway is no matter of complaint.
	if u := convertAll("", slice1("s", "1", pod("x", "example.com", in(`{"ready":false}`)))); len(u.Problems) > 0 {
		t.Errorf("%q", u.Problems)
	}
	// Nor does a mistake keep those from serving that end.
	if u := convertAll("", slice1("s", "1", pod("x", "example.com"), pod("y", "10.0.0.1", in(`{"ready":false,"serving":true,"terminating":true}`)))); ids(u) != "y" || len(u.Problems) != 1 {
		t.Errorf("[%s] %q", ids(u), u.Problems)
	}
}

func TestProblemsAreTheSameEachTimeAndNotTooMany(t *testing.T) {
	var all []slice
	for i := range 500 {
		all = append(all, slice1(fmt.Sprintf("s%03d", i), "1", pod(fmt.Sprint("x", i), "example.com")))
	}
	first := convertAll("", all...)
	if n := len(first.Problems); n != mostProblems+1 || first.Problems[mostProblems] != "… and 450 more" || !strings.HasPrefix(first.Problems[0], "slice s000: ") {
		t.Fatalf("%d: %q", n, first.Problems)
	}
	for range 5 {
		if again := convertAll("", all...); !slices.Equal(again.Problems, first.Problems) {
			t.Fatalf("%q", again.Problems)
		}
	}
}

func TestPortIsChosen(t *testing.T) {
	tcp := func(name string, number int) port { return port{Name: name, Protocol: "TCP", Port: &number} }
	udp := func(name string, number int) port { return port{Name: name, Protocol: "UDP", Port: &number} }
	for _, c := range []struct {
		ports  []port
		wanted string
		want   int
		err    string
	}{
		{[]port{tcp("http", 80)}, "", 80, ""},
		{[]port{tcp("", 80)}, "", 80, ""},
		{[]port{{Port: pointer(80)}}, "", 80, ""}, // TCP unless it says otherwise
		{[]port{udp("dns", 53), tcp("http", 80)}, "", 80, ""},
		{[]port{tcp("http", 80), tcp("metrics", 90)}, "metrics", 90, ""},
		{[]port{tcp("http", 80), tcp("metrics", 90)}, "90", 90, ""},
		{[]port{udp("dns", 53), tcp("dns", 54)}, "dns", 54, ""},
		{nil, "8080", 8080, ""},                   // headless, without ports
		{[]port{{Name: "any"}}, "8080", 8080, ""}, // all ports
		{[]port{{Name: "any"}}, "", 0, "the ports any (any); set port to one of them"},
		{[]port{tcp("http", 80), tcp("", 90)}, "", 0, "it has the ports http (80), 90; set port to one of them"},
		{[]port{tcp("http", 80)}, "https", 0, `it has no TCP port "https" but http (80); correct port`},
		{[]port{tcp("http", 80)}, "81", 0, `it has no TCP port "81" but http (80); correct port`},
		{nil, "", 0, "it names no TCP port; set port to a number"},
		{[]port{udp("dns", 53)}, "dns", 0, `it has no TCP port "dns", nor any other; set port to a number`},
	} {
		got, err := choosePort(c.ports, c.wanted)
		if text := fmt.Sprint(err); got != c.want || (err == nil) != (c.err == "") || !strings.Contains(text, c.err) && err != nil {
			t.Errorf("%q of %v: %d, %v", c.wanted, c.ports, got, err)
		}
	}
}
