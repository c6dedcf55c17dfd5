package etcd

import (
	"maps"
	"strings"
	"testing"

	"sidecar/discovery"
)

func TestValuesOfAllForms(t *testing.T) {
	for value, want := range map[string]discovery.Instance{
		"10.0.0.1:8080":                     {ID: "k", Address: "10.0.0.1:8080", Weight: 1},
		" db1:5432 weight=2 zone=b\n":       {ID: "k", Address: "db1:5432", Weight: 2, Zone: "b"},
		"unix:/run/app.sock":                {ID: "k", Address: "unix:/run/app.sock", Weight: 1},
		`{"address":"10.0.0.1","port":80}`:  {ID: "k", Address: "10.0.0.1:80", Weight: 1},
		`{"address":"fd00::1","port":80}`:   {ID: "k", Address: "[fd00::1]:80", Weight: 1},
		`{"address":"10.0.0.1:80"}`:         {ID: "k", Address: "10.0.0.1:80", Weight: 1},
		`{"Op":0,"Addr":"10.0.0.1:80"}`:     {ID: "k", Address: "10.0.0.1:80", Weight: 1},
		`{"Addr":"a:1","Metadata":"blue"}`:  {ID: "k", Address: "a:1", Weight: 1},
		`{"Addr":"a:1","Metadata":null}`:    {ID: "k", Address: "a:1", Weight: 1},
		`{"address":"a:1","other":[1,2,3]}`: {ID: "k", Address: "a:1", Weight: 1},
		`{"Op":0,"Addr":"a:1","Metadata":{"zone":"c","n":1,"v":"2"}}`: {
			ID: "k", Address: "a:1", Weight: 1, Zone: "c", Meta: map[string]string{"zone": "c", "v": "2"}},
		`{"id":"one","address":"a","port":1,"weight":65535,"zone":"b","meta":{"zone":"x","team":"y"}}`: {
			ID: "one", Address: "a:1", Weight: 65535, Zone: "b", Meta: map[string]string{"zone": "x", "team": "y"}},
	} {
		got, err := parse("k", []byte(value))
		if err != nil {
			t.Errorf("%s: %v", value, err)
		} else if !discovery.Equal([]discovery.Instance{got}, []discovery.Instance{want}) {
			t.Errorf("%s: %+v, want %+v", value, got, want)
		}
	}
}

func TestWrongValuesSayWhatIsWrong(t *testing.T) {
	for value, want := range map[string]string{
		"":                                  "its value is empty; write host:port",
		" \n":                               "its value is empty",
		"10.0.0.1":                          "no port; write 10.0.0.1:PORT",
		"10.0.0.1:0":                        `port "0" is not`,
		"[1, 2]":                            "no port",
		strings.Repeat("x", maxText+1):      "a text of 513 bytes",
		strings.Repeat("x", maxValue+1):     "its value has 65537 bytes",
		`{"address":`:                       "not the JSON of an instance",
		`{"address":7}`:                     "not the JSON of an instance",
		`{}`:                                "it has no address; write",
		`{"port":80}`:                       "it has no address",
		`{"address":"10.0.0.1"}`:            "no port; write 10.0.0.1:PORT",
		`{"address":"10.0.0.1","port":0}`:   "port 0 cannot be dialled",
		`{"address":"a","port":65536}`:      "port 65536 cannot be dialled",
		`{"address":"a:1","port":1}`:        "neither an IP address nor a host name",
		`{"address":"a:1 weight=2"}`:        "has a space in it",
		`{"address":"a:1","weight":0}`:      "weight 0 is not from 1 to 65535",
		`{"address":"a:1","weight":-2}`:     "weight -2 is not",
		`{"address":"a:1","weight":70000}`:  "weight 70000 is not",
		`{"address":"10.0.0.256","port":1}`: "is not an IP address",
	} {
		if got, err := parse("k", []byte(value)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %+v, %v, want an error with %q", value, got, err, want)
		}
	}
	if _, err := parse("", []byte("a:1")); err == nil || !strings.Contains(err.Error(), "the prefix itself") {
		t.Errorf("a key without a name: %v", err)
	}
}

func FuzzValue(f *testing.F) {
	f.Add("a", []byte("10.0.0.1:8080 weight=2 zone=b"))
	f.Add("b", []byte(`{"address":"10.0.0.1","port":80,"meta":{"a":"b"}}`))
	f.Add("c", []byte(`{"Op":1,"Addr":"[::1]:80","Metadata":{"a":{}}}`))
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		got, err := parse(name, value)
		if err != nil {
			return
		}
		if got.ID == "" || got.Weight < 1 || got.Weight > maxWeight {
			t.Fatalf("%q: %+v", value, got)
		}
		if again, err := discovery.ParseInstance(got.Address); err != nil || again.Address != got.Address {
			t.Fatalf("%q: address %q is read as %q, %v", value, got.Address, again.Address, err)
		}
		if next, err := parse(name, value); err != nil || !maps.Equal(next.Meta, got.Meta) {
			t.Fatalf("%q is read as %+v and as %+v", value, got, next)
		}
	})
}
