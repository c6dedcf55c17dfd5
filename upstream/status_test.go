package upstream

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sidecar/discovery"
)

func TestStatusBeforeRun(t *testing.T) {
	s := New(Options{Name: "orders"})
	status := s.Status()
	if status.Cause != "not-discovered" || status.Source.Known || status.Source.AgeSeconds != 0 {
		t.Errorf("status %+v", status)
	}
	if s.Name() != "orders" {
		t.Errorf("name %q", s.Name())
	}
}

func TestStatusAsJSON(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		set := instancesOf("a", "b 2")
		set[1].Zone = "west"
		st.update(discovery.Update{Instances: set, Index: 17})
		time.Sleep(2 * time.Second)
		st.attempt("a", ConnectFailed, 3)
		st.attempt("b", Success, 2)
		held := st.on("b")
		defer held.Release()
		st.fails("consul: connection refused")

		text, err := json.Marshal(st.Status())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`"service":"orders"`, `"total":2`, `"usable":1`, `"ejected":1`, `"max_ejected":1`,
			`"known":true`, `"unknown":false`, `"last_success":"2000-01-01T00:00:00Z"`, `"age_seconds":2`,
			`"last_error":"consul: connection refused"`, `"failing":true`, `"index":17`, `"updates":1`, `"errors":1`,
			`"id":"a"`, `"address":"10.0.0.1:80"`, `"zone":"west"`, `"weight":2`, `"in_flight":1`,
			`"state":"ejected","why":"3 failures in a row, the last: connect failed; out for `,
			`"state":"usable","why":"health check passed"`,
			`"connect_failures":3`, `"successes":2`, `"attempts":3`,
			`"latency_seconds":0.001`, `"measured":true`, `"breaker":"open"`,
			`"what":"discovered","why":"the source reports it"`, `"what":"source failed"`,
			`"budget":{`, `"verdict":"1 of 2 endpoints take their share of the traffic; 1 ejected, 1 may be"`,
			`"verdict":"ejected for another `, `"verdict":"takes its share of the traffic"`, `"used":true`, `"used":false`,
			`"window_attempts":3,"window_failures":3,"share":0.6,"failure_share":0.`, `"ramp":1,"ready_at":"2000-01-01T00:00:0`,
			`"last_latency_seconds":0.001`, `"errors":[{"what":"connect failed","count":3,"first":"2000-01-01T00:00:02Z","last":"2000-01-01T00:00:02Z"}]`,
			`"what":"ejected","why":"3 failures in a row, the last: connect failed; out for `,
			`"attempts":3,"failures":3,"last_error":"connect failed"`, `"connections":0,"pending":0`,
		} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the status lacks %s:\n%s", want, text)
			}
		}
		var back Status
		if err := json.Unmarshal(text, &back); err != nil || back.Endpoints[0].State != StateEjected {
			t.Errorf("read back: %v, %+v", err, back)
		}
	})
}

func TestEveryEndpointHasAReason(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b", "c", "d")
		for round := range 10 {
			for _, e := range st.Status().Endpoints {
				if e.Why == "" || e.State == "" || e.Since.IsZero() || len(e.History) == 0 {
					t.Errorf("round %d: %+v", round, e)
				}
			}
			st.attempt("abcd"[round%2:round%2+1], Success, 0)
			st.falls(map[bool]error{true: errIll}[round%2 == 0], "c")
		}
	})
}

func TestSinceIsWhenTheStateChanged(t *testing.T) {
	play(t, nil, func(st *stage) {
		start := time.Now()
		st.reports("a", "b")
		time.Sleep(time.Minute)
		st.reports("a 2", "b", "c")
		if got := st.status("a").Since; !got.Equal(start) {
			t.Errorf("since %v, want %v", got, start)
		}
		st.attempt("a", Reset, 3)
		if got := st.status("a").Since; !got.Equal(start.Add(time.Minute)) {
			t.Errorf("since %v, want a minute after %v", got, start)
		}
	})
}

func TestHistoriesAreBounded(t *testing.T) {
	play(t, nil, func(st *stage) {
		for i := range 200 {
			st.reports([]string{"a 1", "a 2"}[i%2], []string{"b 1 10.0.0.1:1", "b 1 10.0.0.2:2"}[i%2])
		}
		if n := len(st.status("a").History); n != endpointHistory {
			t.Errorf("%d decisions about an endpoint", n)
		}
		history := st.Status().History
		if len(history) != serviceHistory {
			t.Errorf("%d decisions about the service", len(history))
		}
		for i := range history[1:] {
			if history[i+1].At.Before(history[i].At) {
				t.Error("out of order")
			}
		}
		if d := history[0]; d.What != "retired" || d.Endpoint != "b" || !strings.Contains(d.Why, "address changed") {
			t.Errorf("decision %+v", d)
		}
	})
}

func TestStatusIsTheCallers(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a")
		st.fails("x")
		status := st.Status()
		status.History[0].Why = "changed"
		status.Endpoints[0].History[0].Why = "changed"
		if st.Status().History[0].Why == "changed" || st.status("a").History[0].Why == "changed" {
			t.Error("a status shares its histories")
		}
	})
}
