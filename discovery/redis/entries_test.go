package redis

import (
	"strings"
	"testing"
	"time"

	"sidecar/discovery"
)

func TestValuesAreReadInBothForms(t *testing.T) {
	for text, want := range map[string]discovery.Instance{
		"10.0.0.1:8080":                        {ID: "10.0.0.1:8080", Address: "10.0.0.1:8080", Weight: 1},
		"10.0.0.1:8080 weight=2 zone=b":        {ID: "10.0.0.1:8080", Address: "10.0.0.1:8080", Weight: 2, Zone: "b"},
		`{"address":"10.0.0.1:8080"}`:          {ID: "10.0.0.1:8080", Address: "10.0.0.1:8080", Weight: 1},
		` {"address":"fd00::1","port":80}`:     {ID: "[fd00::1]:80", Address: "[fd00::1]:80", Weight: 1},
		`{"address":"unix:/run/a.sock"}`:       {ID: "unix:/run/a.sock", Address: "unix:/run/a.sock", Weight: 1},
		`{"address":"db:1","surplus":[{}, 1]}`: {ID: "db:1", Address: "db:1", Weight: 1},
		`{"address":"db","port":1,"id":"x","weight":65535,"zone":"z","meta":{"k":"v"}}`: {
			ID: "x", Address: "db:1", Weight: 65535, Zone: "z", Meta: map[string]string{"k": "v"},
		},
	} {
		r := read([]entry{{value: text}}, time.Now())
		if len(r.problems) > 0 || !discovery.Equal(r.instances, []discovery.Instance{want}) {
			t.Errorf("%s: %+v, problems %q", text, r.instances, r.problems)
		}
		named := read([]entry{{id: "field", value: text}}, time.Now())
		if len(named.instances) != 1 || named.instances[0].ID != "field" {
			t.Errorf("%s as a field: %+v", text, named.instances)
		}
	}
}

func TestValuesThatCannotBeUsedAreProblems(t *testing.T) {
	for text, want := range map[string]string{
		"":                                         `"a": no address; write one such as "10.0.0.1:8080 weight=2 zone=b" (value "")`,
		"10.0.0.1":                                 `"a": no port; write 10.0.0.1:PORT (value "10.0.0.1")`,
		"10.0.0.1:0":                               `"a": port "0" is not a number from 1 to 65535 (value "10.0.0.1:0")`,
		"10.0.0.1:80 weight=x":                     `"a": weight "x" is not`,
		`{"address":"10.0.0.1:80"`:                 `write JSON such as {"address": "10.0.0.1:8080"}`,
		`{"address":["10.0.0.1:80"]}`:              `"a": its address cannot be array`,
		`{"port":80}`:                              `"a": it has no address`,
		`{}`:                                       `"a": it has no address; write {"address": "10.0.0.1:8080"}`,
		`{"address":"10.0.0.1","port":0}`:          `"a": port 0 cannot be dialled; register it with its port`,
		`{"address":"10.0.0.1","port":65536}`:      `"a": port 65536 cannot be dialled`,
		`{"address":"10.0.0.1:80","port":80}`:      `neither an IP address nor a host name`,
		`{"address":"10.0.0.1:80 weight=3"}`:       `"a": address "10.0.0.1:80 weight=3" has a space`,
		`{"address":"10.0.0.1:80","weight":0}`:     `"a": weight 0 is not a number from 1 to 65535`,
		`{"address":"10.0.0.1:80","weight":1e9}`:   `"a": its weight cannot be number 1e9; correct it (value `,
		`{"address":"10.0.0.1:80","weight":1.5}`:   `its weight cannot be number 1.5`,
		`{"address":"10.0.0.1:80","expires":-1}`:   `"a": expires -1 is no time in Unix seconds`,
		`{"address":"10.0.0.1:80","expires":9e12}`: `"a": expires 9e+12 is no time in Unix seconds`,
		strings.Repeat("x", 1000):                  strings.Repeat("x", 80) + `…")`,
	} {
		r := read([]entry{{id: "a", value: text}, {id: "b", value: "10.0.0.9:1"}}, time.Now())
		if len(r.instances) != 1 || r.instances[0].ID != "b" {
			t.Errorf("%s: the rest of the set is %+v", text, r.instances)
		}
		if len(r.problems) != 1 || !strings.Contains(r.problems[0], want) {
			t.Errorf("%s: problems %q, want one with %q", text, r.problems, want)
		}
	}
}

func TestOfDuplicatesTheFirstStandsInAnyOrder(t *testing.T) {
	entries := []entry{
		{value: `{"address":"10.0.0.1:1","id":"x"}`},
		{value: `{"address":"10.0.0.2:1","id":"x"}`},
		{value: "10.0.0.3:1"},
		{value: "10.0.0.3:1 weight=2"},
		{value: `{"address":"10.0.0.3:1","id":"y"}`},
	}
	want := []string{`"10.0.0.3:1": it is there twice; delete one of them`, `"x": it is there twice; delete one of them`,
		`"y": 10.0.0.3:1 has its address 10.0.0.3:1; delete one of them`}
	for range len(entries) {
		entries = append(entries[1:], entries[0])
		r := read(entries, time.Now())
		if len(r.instances) != 2 || r.instances[0].Weight != 1 || r.instances[1].Address != "10.0.0.1:1" {
			t.Errorf("instances %+v", r.instances)
		}
		if strings.Join(r.problems, "\n") != strings.Join(want, "\n") {
			t.Errorf("problems %q", r.problems)
		}
	}
}

func TestExpiredEntriesTakeNoTraffic(t *testing.T) {
	now := time.Unix(1000, 0)
	r := read([]entry{
		{id: "a", value: `{"address":"10.0.0.1:1","expires":1000}`},
		{id: "b", value: `{"address":"10.0.0.2:1","expires":1002.5}`},
		{id: "c", value: `{"address":"10.0.0.3:1","expires":1001}`},
		{id: "d", value: `{"address":"10.0.0.1:1"}`}, // that of the expired one: no duplicate
	}, now)
	if len(r.problems) > 0 || len(r.instances) != 3 || !r.expiry.Equal(time.Unix(1001, 0)) {
		t.Errorf("%+v", r)
	}
	if r.states["live"] != 3 || r.states["expired"] != 1 {
		t.Errorf("states %v", r.states)
	}
	if r := read([]entry{{id: "d", value: "10.0.0.1:1"}}, now); r.states != nil || !r.expiry.IsZero() {
		t.Errorf("where nothing expires: %+v", r)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("10.0.0.1:8080 weight=2")
	f.Add(`{"address":"a","port":1,"expires":5}`)
	f.Fuzz(func(t *testing.T, text string) {
		inst, _, err := parse(entry{value: text})
		if err != nil {
			return
		}
		if again, err := discovery.ParseInstance(inst.Address); err != nil || again.Address != inst.Address || inst.Weight < 1 || inst.ID == "" {
			t.Fatalf("%q has become %+v, %v", text, inst, err)
		}
	})
}
