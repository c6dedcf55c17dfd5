package consul

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"sidecar/discovery"
)

func TestQuerySaysAllThatIsWanted(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		query   Query
		want    url.Values
	}{
		"nothing more": {Options{}, Query{}, url.Values{"stale": {""}}},
		"everything": {
			Options{Datacenter: "dc1", Namespace: "n1", Partition: "p1", Consistency: "default"},
			Query{
				Filter: `Service.Meta.v == "2"`, Datacenter: "dc2", Namespace: "n2", Partition: "p2",
				Near: "_agent", Nearest: 3, Tags: []string{"a", "b"},
			},
			url.Values{
				"filter": {`Service.Meta.v == "2"`}, "dc": {"dc2"}, "ns": {"n2"}, "partition": {"p2"},
				"near": {"_agent"}, "tag": {"a", "b"},
			},
		},
		"the options' own": {
			Options{Datacenter: "dc1", Namespace: "n1", Partition: "p1", Consistency: "consistent"}, Query{},
			url.Values{"dc": {"dc1"}, "ns": {"n1"}, "partition": {"p1"}, "consistent": {""}},
		},
	} {
		c.query.Service = "orders"
		story(t, c.options, func(t *testing.T, r *registry) {
			r.watch(c.query)
			if got := r.wantQuery(orders, 0).URL.Query(); got.Encode() != c.want.Encode() {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		})
	}
}

func TestInstancesOfAnotherDatacenterAreNamedSo(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders", Datacenter: "dc2"})
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("dc2/n1/a")
		r.wantQuery(orders, 5).fail(500, "No path to datacenter")
		if err := w.wantErr().Err; !strings.Contains(err.Error(), `does not know the datacenter (500: No path to datacenter); correct the service's datacenter "dc2"`) {
			t.Errorf("error %v", err)
		}
	})
}

const execute = "/v1/query/orders-near/execute"

// executed answers the execution of a prepared query.
func (q *query) executed(datacenter string, failovers int, entries ...api.ServiceEntry) {
	q.json(headers(0), api.PreparedQueryExecuteResponse{Service: "orders", Datacenter: datacenter, Failovers: failovers, Nodes: entries})
}

// Rule 3.4: a prepared query has no blocking; it is polled with jitter.
func TestPreparedQueryIsPolled(t *testing.T) {
	for poll, want := range map[time.Duration]time.Duration{0: DefaultPoll, time.Minute: time.Minute, time.Millisecond: leastPoll} {
		story(t, Options{}, func(t *testing.T, r *registry) {
			w := r.watch(Query{Prepared: "orders-near", Service: "unused", Near: "n1", Poll: poll})
			pauses := map[time.Duration]bool{}
			for range 8 {
				q := r.wantQuery(execute, 0)
				if got := q.URL.Query(); got.Has("wait") || got.Get("near") != "n1" {
					t.Fatalf("asked %s", q.URL)
				}
				q.executed("dc1", 0, *entry("a"))
				u := w.wantIDs("n1/a")
				if u.Unknown || u.States["passing"] != 1 {
					t.Errorf("update %+v", u)
				}
				answered := time.Now()
				q = r.query(2 * want)
				pause := time.Since(answered)
				if q == nil || pause < want*9/10 || pause > want*11/10 {
					t.Fatalf("polled after %v, want some %v", pause, want)
				}
				pauses[pause] = true
				q.executed("dc1", 0, *entry("a"))
				w.wantIDs("n1/a")
				pass(want * 8 / 10)
			}
			if len(pauses) < 4 {
				t.Errorf("the pauses are always the same: %v", pauses)
			}
		})
	}
}

func TestPreparedQueryTellsWhereItHasFailedOverTo(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Prepared: "orders-near"})
		next := func() *query {
			t.Helper()
			pass(DefaultPoll * 8 / 10)
			return r.wantQuery(execute, 0)
		}
		next().executed("dc1", 0, *entry("a"), *entry("p", func(e *api.ServiceEntry) { e.Service.Port = 0 }))
		if u := w.wantIDs("n1/a"); len(u.Problems) != 1 {
			t.Errorf("problems %q", u.Problems)
		}
		next().executed("dc2", 1, *entry("a"))
		w.wantIDs("dc2/n1/a")
		next().executed("dc2", 1, *entry("a")) // as it is remembered
		w.wantIDs("dc2/n1/a")
		next().executed("dc1", 0)
		if u := w.wantIDs(); u.Unknown {
			t.Errorf("update %+v", u)
		}
		next().fail(404, "Query not found")
		if err := w.wantErr().Err; !strings.Contains(err.Error(), `consul: watch prepared query "orders-near": agent at 127.0.0.1:8500 does not know the prepared query (404: Query not found); create it or correct its name`) {
			t.Errorf("error %v", err)
		}
	})
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Prepared: "orders-near", Datacenter: "dc3"})
		r.wantQuery(execute, 0).executed("dc3", 0, *entry("a"))
		w.wantIDs("dc3/n1/a")
		pass(DefaultPoll * 8 / 10)
		r.wantQuery(execute, 0).executed("dc4", 1, *entry("a"))
		w.wantIDs("dc4/n1/a")
	})
}

// A registration that is wrong on every host would make a line of the log as long as the answer.
func TestProblemsAreFew(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		entries := []*api.ServiceEntry{entry("a")}
		for i := range discovery.MaxProblems + 7 {
			entries = append(entries, entry(fmt.Sprintf("p%03d", i), func(e *api.ServiceEntry) { e.Service.Port = 0 }))
		}
		r.wantQuery(orders, 0).with(7, entries...)
		if p := w.wantIDs("n1/a").Problems; len(p) != discovery.MaxProblems+1 || p[discovery.MaxProblems] != "and 7 more" {
			t.Errorf("%d problems", len(p))
		}
	})
}
