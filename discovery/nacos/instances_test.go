package nacos

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sidecar/discovery"
)

// read is the list of hosts.
func read(t *testing.T, hosts ...string) list {
	t.Helper()
	l, err := versions[1].read([]byte(listOf(hosts...)))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestWeightsKeepTheirProportions(t *testing.T) {
	for name, c := range map[string]struct {
		given []string
		want  []int
	}{
		"whole":        {[]string{"1", "2.0", "10000"}, []int{1, 2, 10000}},
		"fractions":    {[]string{"1", "0.5", "2.25"}, []int{100, 50, 225}},
		"rounded":      {[]string{"0.334", "0.001", "1"}, []int{33, 1, 100}},
		"out of range": {[]string{"0.5", "10000", "1e300"}, []int{50, 65535, 65535}},
		"whole, large": {[]string{"1", "100000", "2"}, []int{1, 65535, 2}},
	} {
		var hosts []string
		for i, w := range c.given {
			hosts = append(hosts, hostAt("10.0.0."+string(rune('1'+i)), `"weight":`+w))
		}
		// What takes no traffic has no say in the scale.
		hosts = append(hosts, hostAt("10.0.0.8", `"weight":0.3,"enabled":false`), hostAt("10.0.0.9", `"weight":0`))
		set, _, problems := read(t, hosts...).instances()
		if len(set) != len(c.want) || len(problems) != 0 {
			t.Fatalf("%s: %+v, %q", name, set, problems)
		}
		for i, want := range c.want {
			if set[i].Weight != want {
				t.Errorf("%s: %s has become %d, want %d", name, c.given[i], set[i].Weight, want)
			}
		}
	}
	if set, _, _ := read(t, `{"ip":"10.0.0.1","port":80}`).instances(); len(set) != 1 || set[0].Weight != 1 || set[0].ID != "10.0.0.1:80" {
		t.Errorf("of what is not said: %+v", set)
	}
}

func TestOnlyWhatTakesTrafficIsAnInstance(t *testing.T) {
	hosts := []string{
		hostAt("10.0.0.1"), hostAt("10.0.0.2", `"healthy":false`), hostAt("10.0.0.3", `"enabled":false`),
		hostAt("10.0.0.4", `"weight":0`), hostAt("10.0.0.5", `"healthy":false,"enabled":false`), hostAt("10.0.0.6", `"weight":-1,"healthy":false`),
	}
	set, states, problems := read(t, hosts...).instances()
	if len(set) != 1 || set[0].Address != "10.0.0.1:80" || len(problems) != 0 {
		t.Errorf("%+v, %q", set, problems)
	}
	if states["healthy"] != 1 || states["unhealthy"] != 1 || states["disabled"] != 2 || states["weight 0"] != 2 || len(states) != 4 {
		t.Errorf("%v", states)
	}
	protected := read(t, hosts...)
	protected.Protected = true
	if set, states, _ := protected.instances(); len(set) != 2 || states["unhealthy"] != 1 {
		t.Errorf("below the protection threshold: %+v, %v", set, states)
	}
	l, err := versions[0].read([]byte(`{"code":0,"data":{"hosts":[],"reachProtectionThreshold":true,"cacheMillis":2000}}`))
	if err != nil || !l.Protected || l.poll() != 2*time.Second {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestUnusableHostsAreProblems(t *testing.T) {
	for bad, want := range map[string]string{
		`{"ip":"10.0.0.2","port":0}`:                 `"10.0.0.2:0": port 0 cannot be dialled; register it with its port`,
		`{"ip":"","port":80,"instanceId":"x"}`:       `"x": it has no address`,
		`{"ip":"10.0.0.256","port":80}`:              `"10.0.0.256:80": "10.0.0.256" is not an IP address`,
		`{"ip":"10.0.0.2","port":"http"}`:            `entry 2: json: cannot unmarshal`,
		`"10.0.0.2:80"`:                              `entry 2: json: cannot unmarshal`,
		`{"ip":"10.0.0.1","port":80}`:                `"10.0.0.1:80" has its address 10.0.0.1:80; deregister one of them`,
		hostAt("10.0.0.2", `"instanceId":"first"`):   `"first": it is there twice; deregister one of them`,
		hostAt("10.0.0.2", `"metadata":{"zone":{}}`): `entry 2: json: cannot unmarshal object`,
	} {
		l := read(t, hostAt("10.0.0.1", `"instanceId":"first"`), bad)
		for range 2 {
			set, _, problems := l.instances()
			if len(set) != 1 || set[0].Address != "10.0.0.1:80" || len(problems) != 1 {
				t.Fatalf("%s: %+v, %q", bad, set, problems)
			}
			if strings.HasPrefix(want, "entry") || strings.Contains(want, "its address") {
				break // it depends on the order what its name is
			}
			if !strings.Contains(problems[0], want) {
				t.Errorf("%s: %q, want %q", bad, problems[0], want)
			}
			(*l.Hosts)[0], (*l.Hosts)[1] = (*l.Hosts)[1], (*l.Hosts)[0]
		}
	}
}

func TestAllEntriesUnusableIsAFailedLookup(t *testing.T) {
	story(t, Options{}, func(t *testing.T, f *fake) {
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1"), hostAt("10.0.0.2", `"port":0`))))
		w := f.watch(Query{Service: "orders"})
		if u := w.wantSet("10.0.0.1:80*1"); len(u.Problems) != 1 {
			t.Errorf("%q", u.Problems)
		}
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.2", `"port":0`))))
		w.wantErr(`nacos: watch "orders": no instance is usable: "10.0.0.2#80#DEFAULT#DEFAULT_GROUP@@orders": port 0 cannot be dialled`)
	})
}

func TestListsAndProblemsAreBounded(t *testing.T) {
	story(t, Options{Addresses: []string{"n1:8848", "n2:8848"}}, func(t *testing.T, f *fake) {
		entry := hostAt("10.0.0.2", `"port":0`) + ","
		f.answer(listV2, 200, enveloped(listOf(strings.Repeat(entry, discovery.MaxProblems+7)+hostAt("10.0.0.1"))))
		w := f.watch(Query{Service: "orders"})
		if p := w.wantSet("10.0.0.1:80*1").Problems; len(p) != discovery.MaxProblems+1 || p[discovery.MaxProblems] != "and 7 more" {
			t.Errorf("%d problems, the last is %q", len(p), p[len(p)-1])
		}
		f.answer(listV2, 200, enveloped(listOf(strings.Repeat(entry, discovery.MaxProblems+6)+hostAt("10.0.0.2", `"port":0`))))
		u := w.next()
		if p := u.Problems; len(p) != discovery.MaxProblems+1 || p[discovery.MaxProblems] != "and 7 more" || u.Err == nil || !strings.Contains(u.Err.Error(), "; and 104 more") {
			t.Errorf("%d problems, error %v", len(p), u.Err)
		}

		// Too many are no problems of an empty set, nor of a set of those that were read before.
		before := f.count("n2:8848 " + listV2)
		for _, body := range []string{
			enveloped(listOf(hostAt("10.0.0.1") + strings.Repeat(",1", maxHosts))),
			enveloped("[" + hostAt("10.0.0.1") + strings.Repeat(",1", maxHosts) + "]"),
		} {
			f.answer(listV2, 200, body)
			w.wantErr(`nacos: watch "orders": server at n1:8848 cannot be asked: the list has more than 50000 instances; divide the service into several`)
		}
		if n := f.count("n2:8848 " + listV2); n != before {
			t.Errorf("another server is asked for the same, %d times", n-before)
		}
		f.answer(listV2, 200, enveloped(listOf(hostAt("10.0.0.1")+strings.Repeat(",1", maxHosts-1))))
		if p := w.wantSet("10.0.0.1:80*1").Problems; p[discovery.MaxProblems] != "and 49899 more" {
			t.Errorf("the last problem is %q", p[len(p)-1])
		}
	})
}

func TestAnswersThatProveNothingAreFailedLookups(t *testing.T) {
	for _, body := range []string{
		"", "<html>", "null", "{}", "[]", `{"code":0}`, `{"code":0,"data":null}`, `{"code":0,"data":{}}`, `{"code":0,"data":{"hosts":null}}`,
		`{"code":0,"data":{"hosts":{}}}`, `{"data":{"hosts":[]}}`, `{"code":0,"data":"ok"}`, listOf(), `{"code":0,"data":{"hosts":[}`,
		`{"code":30000,"message":"server error","data":{"hosts":[]}}`,
	} {
		if l, err := versions[0].read([]byte(body)); err == nil {
			t.Errorf("%s is taken for %+v", body, l)
		}
	}
	for _, body := range []string{"", "ok", "null", "{}", `{"hosts":null}`, enveloped(listOf())} {
		if l, err := versions[1].read([]byte(body)); err == nil {
			t.Errorf("v1: %s is taken for %+v", body, l)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(enveloped(listOf(hostAt("10.0.0.1", `"weight":0.5`))))
	f.Add(enveloped("[" + hostAt("10.0.0.1") + "]"))
	f.Fuzz(func(t *testing.T, body string) {
		l, err := versions[0].read([]byte(body))
		if err != nil {
			return
		}
		set, states, problems := l.instances()
		if len(set)+len(problems) > len(*l.Hosts) || states == nil || l.poll() < pollLeast || l.poll() > pollMost {
			t.Fatalf("%q: %+v, %v, %q, %v", body, set, states, problems, l.poll())
		}
		for _, inst := range set {
			if inst.Weight < 1 || inst.Weight > maxWeight {
				t.Fatalf("%q: %+v", body, inst)
			}
		}
		if !json.Valid([]byte(body)) {
			t.Fatalf("%q is no JSON", body)
		}
	})
}
