package discovery

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

func TestParseInstanceReadsAddressWeightAndZone(t *testing.T) {
	for text, want := range map[string]Instance{
		"10.0.0.1:8080":                              {ID: "10.0.0.1:8080", Address: "10.0.0.1:8080", Weight: 1},
		"10.0.0.1:8080 weight=2 zone=b":              {ID: "10.0.0.1:8080", Address: "10.0.0.1:8080", Weight: 2, Zone: "b"},
		"  db_1.internal:5432\tzone=b weight=65535 ": {ID: "db_1.internal:5432", Address: "db_1.internal:5432", Weight: 65535, Zone: "b"},
		"[fd00::1]:80 weight=1":                      {ID: "[fd00::1]:80", Address: "[fd00::1]:80", Weight: 1},
		"[fe80::1%eth0]:80":                          {ID: "[fe80::1%eth0]:80", Address: "[fe80::1%eth0]:80", Weight: 1},
		"unix:/run/app.sock zone=a":                  {ID: "unix:/run/app.sock", Address: "unix:/run/app.sock", Weight: 1, Zone: "a"},
	} {
		got, err := ParseInstance(text)
		if err != nil {
			t.Errorf("ParseInstance(%q): %v", text, err)
		} else if !Equal([]Instance{got}, []Instance{want}) {
			t.Errorf("ParseInstance(%q) = %+v, want %+v", text, got, want)
		}
	}
}

func TestParseInstanceSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "no address",
		"   ":                                "no address",
		"10.0.0.1":                           "no port; write 10.0.0.1:PORT",
		"fd00::1":                            "no port; write [fd00::1]:PORT",
		"fd00::1:x:80":                       "IPv6 address stands in brackets",
		"[fd00::1]":                          "host:port",
		":8080":                              "no host; write 127.0.0.1:8080",
		"10.0.0.1:0":                         `port "0" is not`,
		"10.0.0.1:65536":                     `port "65536" is not`,
		"10.0.0.1:http":                      `port "http" is not`,
		"10.0.0.256:80":                      "is not an IP address",
		"http://10.0.0.1:80":                 "has a scheme",
		"a,b:80":                             "neither an IP address nor a host name",
		"unix:app.sock":                      "must be absolute",
		"unix:":                              "must be absolute",
		"10.0.0.1:80 weight=0":               `weight "0" is not a number from 1 to 65535`,
		"10.0.0.1:80 weight=-1":              `weight "-1"`,
		"10.0.0.1:80 weight=65536":           `weight "65536"`,
		"10.0.0.1:80 weight":                 `weight "" is not`,
		"10.0.0.1:80 zone=":                  "zone is empty",
		"10.0.0.1:80 weihgt=2":               `unknown setting "weihgt=2"; known are weight=N and zone=NAME`,
		"10.0.0.1:80 10.0.0.2:80":            `unknown setting "10.0.0.2:80"`,
		"10.0.0.1:80 weight=1 weight=2":      "weight is given twice",
		"10.0.0.1:80 zone=a weight=1 zone=b": "zone is given twice",
	} {
		got, err := ParseInstance(text)
		if err == nil {
			t.Errorf("ParseInstance(%q) = %+v, want an error with %q", text, got, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("ParseInstance(%q): %v, want an error with %q", text, err, want)
		}
	}
}

func FuzzParseInstance(f *testing.F) {
	f.Add("10.0.0.1:8080 weight=2 zone=b")
	f.Add("[::1]:1")
	f.Add("unix:/x zone=y")
	f.Fuzz(func(t *testing.T, text string) {
		inst, err := ParseInstance(text)
		if err != nil {
			return
		}
		if inst.ID != inst.Address || inst.Weight < 1 || inst.Weight > maxWeight {
			t.Fatalf("ParseInstance(%q) = %+v", text, inst)
		}
		if again, err := ParseInstance(inst.Address); err != nil || again.Address != inst.Address {
			t.Fatalf("the address %q is not read again: %+v, %v", inst.Address, again, err)
		}
	})
}

func TestStaticReportsOnceAndBlocksUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		given := []Instance{{ID: "b", Address: "b:1"}, {ID: "a", Address: "a:1", Weight: 3}, {ID: "b", Address: "b:2"}}
		source := Static(given)
		given[0].ID = "changed afterwards"

		var updates []Update
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			source.Watch(ctx, func(u Update) { updates = append(updates, u) })
		}()
		synctest.Wait()
		select {
		case <-ended:
			t.Fatal("Watch has returned although its context goes on")
		default:
		}
		cancel()
		<-ended

		want := []Instance{{ID: "a", Address: "a:1", Weight: 3}, {ID: "b", Address: "b:1", Weight: 1}}
		if len(updates) != 1 || !Equal(updates[0].Instances, want) {
			t.Fatalf("reported %+v, want one update with %+v", updates, want)
		}
		if u := updates[0]; u.Unknown || u.Err != nil || u.At.IsZero() {
			t.Fatalf("reported %+v", u)
		}
	})
}

func TestStaticWithoutInstancesIsKnownAndEmpty(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reports := 0
	Static(nil).Watch(ctx, func(u Update) {
		reports++
		if u.Unknown || len(u.Instances) != 0 || u.Err != nil {
			t.Errorf("reported %+v", u)
		}
		cancel()
	})
	if reports != 1 {
		t.Fatalf("reported %d times, want once", reports)
	}
}
