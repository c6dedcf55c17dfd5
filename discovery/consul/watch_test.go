package consul

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"sidecar/discovery"
)

// story runs a test in virtual time, with a registry that answers as it says. When it is over,
// the bubble fails if a goroutine is left.
func story(t *testing.T, o Options, f func(t *testing.T, r *registry)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newRegistry(t, o)) })
}

func TestFirstQueryReturnsAtOnceAndTheNextWaitsForAChange(t *testing.T) {
	story(t, Options{Token: "secret", Datacenter: "dc7"}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders", Tags: []string{"v2", "eu"}})
		q := r.wantQuery(orders, 0)
		params := q.URL.Query()
		if params.Has("wait") || !params.Has("stale") || params.Has("passing") || params.Get("dc") != "dc7" {
			t.Errorf("first query: %s", q.URL.RawQuery)
		}
		if tags := params["tag"]; len(tags) != 2 || tags[0] != "v2" || tags[1] != "eu" {
			t.Errorf("tags %q", tags)
		}
		if got := q.Header.Get("X-Consul-Token"); got != "secret" {
			t.Errorf("token %q", got)
		}
		tagged := func(e *api.ServiceEntry) { e.Service.Tags = []string{"eu", "v2"} }
		q.with(42, entry("a", tagged), entry("b", tagged))
		if u := w.wantIDs("n1/a", "n1/b"); u.Index != 42 || u.Unknown || u.At.IsZero() {
			t.Errorf("update %+v", u)
		}
		q = r.wantQuery(orders, 42)
		if wait := q.URL.Query().Get("wait"); wait != "3000ms" { // it is the scout
			t.Errorf("wait %q", wait)
		}
		q.with(43, entry("b", tagged))
		w.wantIDs("n1/b")
		r.wantQuery(orders, 43)
		other := r.watch(unviewed)
		r.wantQuery(orders, 0).with(5, entry("a"))
		other.wantIDs("n1/a")
		if wait := r.wantQuery(orders, 5).URL.Query().Get("wait"); wait != "60000ms" {
			t.Errorf("wait %q", wait)
		}
	})
}

func TestConsistencyIsAskedFor(t *testing.T) {
	for mode, want := range map[string]string{"": "stale", "stale": "stale", "consistent": "consistent", "default": ""} {
		story(t, Options{Consistency: mode}, func(t *testing.T, r *registry) {
			r.watch(Query{Service: "orders"})
			params := r.wantQuery(orders, 0).URL.Query()
			for _, p := range []string{"stale", "consistent"} {
				if params.Has(p) != (p == want) {
					t.Errorf("consistency %q: query %v", mode, params)
				}
			}
		})
	}
}

func TestIndexThatGoesBackwardsIsForgotten(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).with(1000, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 1000).with(7, entry("b")) // restored from a snapshot
		confirm := r.wantQuery(orders, 0)
		w.wantQuiet()
		if params := confirm.URL.Query(); !params.Has("consistent") || params.Has("stale") || params.Has("cached") {
			t.Errorf("confirmed by %s", confirm.URL)
		}
		confirm.with(7, entry("b"))
		w.wantIDs("n1/b")
		r.wantQuery(orders, 0).with(7, entry("b"))
		w.wantIDs("n1/b")
		r.wantQuery(orders, 7).with(8, entry("c"))
		w.wantIDs("n1/c")
	})
}

// What is lost while the index goes backwards is confirmed by the leader. A server that has not
// read its whole log yet, and a follower while there is no leader, claim that all is well.
func TestLossInAnOlderStateIsConfirmedByTheLeader(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).with(1000, entry("a"), entry("b"))
		w.wantIDs("n1/a", "n1/b")
		r.wantQuery(orders, 1000).with(900, entry("a"))
		r.wantQuery(orders, 0).fail(500, "No cluster leader")
		w.wantErr()
		r.wantQuery(orders, 0).with(900, entry("a"))
		r.wantQuery(orders, 0).with(1001, entry("a"), entry("c"))
		w.wantIDs("n1/a", "n1/c")                                               // it was b all the same, but of now
		r.wantQuery(orders, 1001).with(950, entry("a"), entry("c"), entry("d")) // nothing is lost
		w.wantIDs("n1/a", "n1/c", "n1/d")
	})
}

func TestIndexZeroIsAskedAsOne(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).with(0, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 1).with(0, entry("a")) // now it went backwards: once without waiting …
		w.wantIDs("n1/a")
		r.wantQuery(orders, 0).with(0, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 1) // … and then it waits again
	})
}

// Rule 3.1.2: a return is no proof of a change. Whoever listens compares, and learns that the
// source is alive; and nothing is decoded again that was decoded before.
func TestReturnWithoutAChangeIsReportedAllTheSame(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		broken := entry("p", func(e *api.ServiceEntry) { e.Service.Port = 0 })
		r.wantQuery(orders, 0).with(5, entry("a"), entry("b"), broken)
		first := w.wantIDs("n1/a", "n1/b")
		r.wantQuery(orders, 5).with(6, entry("a"), entry("b"), broken)
		again := w.wantIDs("n1/a", "n1/b")
		if &again.Instances[0] != &first.Instances[0] {
			t.Error("the same answer was decoded again")
		}
		if again.Index != 6 || again.States["passing"] != 3 || len(again.Problems) != 1 {
			t.Errorf("update %+v", again)
		}
		r.wantQuery(orders, 6).with(7, entry("b"), entry("a"), broken) // another order is no change either
		if u := w.wantIDs("n1/a", "n1/b"); !discovery.Equal(u.Instances, first.Instances) {
			t.Errorf("update %+v", u)
		}
		// Whether something has changed is seen by what is said, not by the index.
		r.wantQuery(orders, 7).with(7, entry("b", func(e *api.ServiceEntry) { e.Service.Weights.Passing = 9 }))
		if u := w.wantIDs("n1/b"); u.Instances[0].Weight != 9 || len(u.Problems) != 0 {
			t.Errorf("update %+v", u)
		}
	})
}

func TestWaitingQueriesAreAllThatIsAsked(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		set := []*api.ServiceEntry{entry("a"), entry("b"), entry("c"), entry("d"), entry("e")}
		r.wantQuery(orders, 0).with(1, set...)
		w.next(time.Second)
		const changes = 50
		for i := range uint64(changes) {
			set[i%5] = entry(set[i%5].Service.ID + "x")
			r.wantQuery(orders, 1+i).with(2+i, set...)
			w.next(time.Second)
		}
		r.wantQuery(orders, 1+changes)
		if n := r.asked.Load(); n != changes+2 {
			t.Errorf("%d queries for %d changes, want one each, the first and the one that waits", n, changes)
		}
		if n := r.dialled.Load(); n > 2 {
			t.Errorf("%d connections for one watch and the question whether the agent is there", n)
		}
	})
}

func TestEmptyAnswerThatACLsHaveFilteredIsNoRemoval(t *testing.T) {
	story(t, Options{Token: "weak"}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).headed(map[string]string{"X-Consul-Index": "5", "X-Consul-Results-Filtered-By-ACLs": "true"})
		if err := w.wantErr().Err; !strings.Contains(err.Error(), "give the token in consul.token service:read and node:read") {
			t.Errorf("error %v", err)
		}
	})
}

// streaming is the header of an answer from the view that the agent keeps (use_streaming_backend):
// it never knows of a leader.
func streaming(index string) map[string]string {
	return map[string]string{"X-Consul-Index": index, "X-Consul-KnownLeader": "false", "X-Consul-Query-Backend": "streaming"}
}

func TestEmptyAnswerFromTheAgentsViewIsConfirmedByAServer(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 5).headed(streaming("6"), entry("b"))
		w.wantIDs("n1/b")
		r.wantQuery(orders, 6).headed(streaming("7"))
		confirm := r.wantQuery(orders, 0)
		w.wantQuiet()
		confirm.with(8, entry("c")) // it was empty for a moment only
		w.wantIDs("n1/c")
		r.wantQuery(orders, 8).headed(streaming("9"))
		r.wantQuery(orders, 0).with(9)
		if u := w.wantIDs(); u.Unknown {
			t.Error("a service that was there is reported as unknown")
		}
		// It stays empty: that needs no confirmation each time.
		r.wantQuery(orders, 9).headed(streaming("10"))
		w.wantIDs()
		r.wantQuery(orders, 10).headed(streaming("11"))
		w.wantIDs()
		r.wantQuery(orders, 11).headed(streaming("12"), entry("d"))
		w.wantIDs("n1/d")
		r.wantQuery(orders, 12).headed(streaming("13"))
		r.wantQuery(orders, 0).headed(map[string]string{"X-Consul-Index": "13", "X-Consul-KnownLeader": "false"})
		w.wantErr()
	})
}

func TestUnknownServiceIsToldFromAnEmptyOne(t *testing.T) {
	const catalog = "/v1/catalog/service/orders"
	t.Run("nobody has registered it", func(t *testing.T) {
		story(t, Options{}, func(t *testing.T, r *registry) {
			w := r.watch(Query{Service: "orders"})
			r.wantQuery(orders, 0).with(5)
			if u := w.wantIDs(); !u.Unknown {
				t.Error("not reported as unknown")
			}
			r.wantQuery(orders, 5).with(6, entry("a", inState(api.HealthCritical)))
			if u := w.wantIDs(); u.Unknown {
				t.Error("a registered service without a healthy instance is reported as unknown")
			}
			r.wantQuery(orders, 6).with(7)
			if u := w.wantIDs(); u.Unknown {
				t.Error("a service that was there is reported as unknown")
			}
		})
	})
	t.Run("others carry the tag", func(t *testing.T) {
		story(t, Options{}, func(t *testing.T, r *registry) {
			w := r.watch(Query{Service: "orders", Tags: []string{"v9"}})
			r.wantQuery(orders, 0).with(5)
			r.wantQuery(catalog, 0).with(5)
			if u := w.wantIDs(); !u.Unknown {
				t.Error("not reported as unknown")
			}
			r.wantQuery(orders, 5).headed(streaming("6"))
			r.wantQuery(orders, 0).with(6)
			r.wantQuery(catalog, 0).reply <- response{status: 200, body: `[{"Node":"n1","ServiceID":"a"}]`}
			if u := w.wantIDs(); u.Unknown {
				t.Error("a service that has other tags is reported as unknown")
			}
			r.wantQuery(orders, 6).with(7)
			r.wantQuery(orders, 7) // known once and for all: the catalog is not asked again
		})
	})
	t.Run("others meet no filter", func(t *testing.T) {
		story(t, Options{Cached: true}, func(t *testing.T, r *registry) {
			w := r.watch(Query{Service: "orders", Filter: "ID == a"})
			r.wantQuery(orders, 0).with(5) // from the cache
			r.wantQuery(orders, 0).with(5)
			r.wantQuery(catalog, 0).with(5)
			if u := w.wantIDs(); !u.Unknown {
				t.Error("not reported as unknown")
			}
			r.wantQuery(orders, 5).with(6)
			r.wantQuery(orders, 0).with(6)
			r.wantQuery(catalog, 0).reply <- response{status: 200, body: `[{"Node":"n1","ServiceID":"a"}]`}
			if u := w.wantIDs(); u.Unknown {
				t.Error("a service of which the filter leaves nothing is reported as unknown")
			}
		})
	})
}

func TestUnusableInstancesAreLeftOutAndNeverEmptyTheSet(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		portless := entry("p", func(e *api.ServiceEntry) { e.Service.Port = 0 })
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).with(5, entry("a"), portless)
		if u := w.wantIDs("n1/a"); len(u.Problems) != 1 || !strings.HasPrefix(u.Problems[0], "n1/p: port 0 cannot be dialled; register") {
			t.Errorf("problems %q", u.Problems)
		}
		r.wantQuery(orders, 5).with(6, portless)
		if err := w.wantErr().Err; !strings.Contains(err.Error(), `watch "orders": no healthy instance is usable: n1/p: port 0 cannot be dialled; register`) {
			t.Errorf("error %v", err)
		}
		r.wantQuery(orders, 0)
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	for name, prepare := range map[string]func(r *registry, w *watching){
		"while a query waits":   func(r *registry, w *watching) { r.wantQuery(orders, 0) },
		"during a pause":        func(r *registry, w *watching) { r.wantQuery(orders, 0).fail(500, ""); w.wantErr() },
		"before anything":       func(r *registry, w *watching) {},
		"between two answers":   func(r *registry, w *watching) { r.wantQuery(orders, 0).with(1, entry("a")); w.wantIDs("n1/a") },
		"after a wrong name":    func(r *registry, w *watching) {},
		"while it is rate held": func(r *registry, w *watching) { hurry(r, w) },
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, func(t *testing.T, r *registry) {
				service := "orders"
				if name == "after a wrong name" {
					service = "a/b"
				}
				w := r.watch(Query{Service: service})
				prepare(r, w)
				synctest.Wait()
				reported := len(w.updates)
				ended := time.Now()
				w.stop()
				if time.Since(ended) != 0 || len(w.updates) != reported {
					t.Errorf("ended after %v, with %d more updates", time.Since(ended), len(w.updates)-reported)
				}
				if n := r.client.turns.count(); n != 0 {
					t.Errorf("%d watches are counted", n)
				}
			})
		})
	}
}

// hurry answers until the watch has used up its burst.
func hurry(r *registry, w *watching) {
	for i := range uint64(successBurst + 1) {
		r.wantQuery(orders, i).with(i+1, entry(string(rune('a'+i))))
		w.next(time.Second)
	}
}

func TestQueryThatNoAgentCouldAnswerIsReportedOnce(t *testing.T) {
	for want, q := range map[string]Query{
		`watch "": "" is no service's name`:                          {},
		`"a/b" is no service's name`:                                 {Service: "a/b"},
		`".." is no service's name`:                                  {Service: ".."},
		`"../kv/secret" is no service's name`:                        {Service: "../kv/secret"},
		`"a?b" is no service's name`:                                 {Service: "a?b"},
		`"a#b" is no service's name`:                                 {Service: "a#b"},
		`"a%2fb" is no service's name`:                               {Service: "a%2fb"},
		`watch prepared query "a/b": "a/b" is no prepared query's`:   {Service: "a", Prepared: "a/b"},
		`a prepared query takes no filter; define it in the`:         {Prepared: "a", Filter: "x == y"},
		`nearest -1 is not 0 or more; correct it`:                    {Service: "a", Near: "_agent", Nearest: -1},
		`nearest without near has no order to go by; set near to "_`: {Service: "a", Nearest: 1},
	} {
		story(t, Options{}, func(t *testing.T, r *registry) {
			w := r.watch(q)
			if err := w.wantErr().Err; !strings.HasPrefix(err.Error(), "consul: watch ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v", q, err)
			}
			pass(time.Hour)
			w.wantQuiet()
			if n := r.asked.Load() + r.probes.Load(); n != 0 {
				t.Errorf("%+v: asked %d times", q, n)
			}
		})
	}
}
