package discovery

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestRecordKeepsAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		s := newScripted()
		r := NewRecord("dns", "orders.internal", s, zap.New(core), true)
		if st := r.Status(); st.Watching || st.Known || st.AgeSeconds != 0 || st.Kind != "dns" || st.Subject != "orders.internal" {
			t.Fatalf("before all: %+v", st)
		}
		_, stop := watch(r)
		u := set("a b")
		u.Index, u.States, u.Problems = 7, map[string]int{"passing": 2, "critical": 1}, []string{"c: port 0"}
		s.say(u)
		s.say(u)
		s.say(set("a"))
		s.say(Update{Err: errDown})
		s.say(Update{Err: errDown})
		time.Sleep(3 * time.Second)
		st := r.Status()
		if !st.Watching || !st.Known || !st.Failing || st.Answers != 3 || st.Updates != 2 || st.Errors != 2 ||
			st.LastError != "registry is down" || st.AgeSeconds != 3 || st.Instances != 1 || st.Index != 0 || st.States != nil || st.Problems != nil {
			t.Errorf("%+v", st)
		}
		s.say(u)
		if st := r.Status(); st.Failing || st.AgeSeconds != 0 || st.Index != 7 || st.States["critical"] != 1 || len(st.Problems) != 1 {
			t.Errorf("%+v", st)
		}
		stop()
		if r.Status().Watching {
			t.Error("it is watched no more")
		}
		var said []string
		for _, e := range logs.All() {
			said = append(said, e.Message)
		}
		want := []string{"one of the service's sources fails, its last set stands", "one of the service's sources answers again"}
		if len(said) != len(want) {
			t.Fatalf("logged %q", said)
		}
		for i := range want {
			if said[i] != want[i] {
				t.Errorf("logged %q, want %q", said[i], want[i])
			}
		}
	})
}

func TestASourceThatIsNotAskedAnyMoreFailsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newScripted(), newScripted()
		r := NewRecord("consul/dc2", "", two, nil, true)
		_, stop := watch(Prefer(1, one, r))
		defer stop()
		one.say(set(""))
		two.say(Update{Err: errDown})
		one.say(set("a"))
		if st := r.Status(); !st.Failing || !st.Watching {
			t.Errorf("while it is watched: %+v", st)
		}
		time.Sleep(2 * linger)
		synctest.Wait()
		if st := r.Status(); st.Failing || st.Watching || st.LastError == "" {
			t.Errorf("when it is not: %+v", st)
		}
	})
}

func TestBackoffDoublesUpToItsMost(t *testing.T) {
	b := Backoff{First: 100 * time.Millisecond, Most: time.Second}
	for i, most := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		most *= time.Millisecond
		if got := b.Next(); got < most/2 || got > most {
			t.Errorf("pause %d is %v, want %v to %v", i, got, most/2, most)
		}
	}
	for range 100 {
		b.Next() // without end
	}
	b.Reset()
	if got := b.Next(); got > 100*time.Millisecond || b.Failures() != 1 {
		t.Errorf("after a success %v, %d failures", got, b.Failures())
	}
}

func TestHostPort(t *testing.T) {
	for _, test := range []struct {
		host string
		port int
		want string
		err  string
	}{
		{"10.0.0.1", 80, "10.0.0.1:80", ""},
		{"fd00::1", 80, "[fd00::1]:80", ""},
		{"db.internal", 5432, "db.internal:5432", ""},
		{"", 80, "", "it has no address"},
		{"10.0.0.1", 0, "", "port 0 cannot be dialled; register it with its port"},
		{"10.0.0.1", 65536, "", "port 65536 cannot be dialled; register it with its port"},
		{"10.0.0.256", 80, "10.0.0.256:80", `"10.0.0.256" is not an IP address`},
		{"a b", 80, "a b:80", `"a b" is neither an IP address nor a host name`},
	} {
		got, err := HostPort(test.host, test.port)
		message := ""
		if err != nil {
			message = err.Error()
		}
		if got != test.want || message != test.err {
			t.Errorf("HostPort(%q, %d) = %q, %q", test.host, test.port, got, message)
		}
	}
}
