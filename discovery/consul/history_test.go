package consul

import (
	"testing"
	"time"
)

// Rule 3.1.3, the case that no index shows: a server that is put back to an older state answers
// what waits at once, with the index it had. Whoever waits for that index again, waits long.
func TestAnswerBeforeItsTimeWithTheSameIndexIsAskedAgainAtOnce(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(unviewed)
		r.wantQuery(orders, 0).with(1000, entry("a"), entry("b"))
		w.wantIDs("n1/a", "n1/b")
		q := r.wantQuery(orders, 1000)
		pass(DefaultWait)
		q.with(1000, entry("a"), entry("b")) // the wait is over
		w.wantIDs("n1/a", "n1/b")
		q = r.wantQuery(orders, 1000)
		pass(DefaultWait / 2)
		q.with(1000, entry("a"), entry("b"))
		w.wantIDs("n1/a", "n1/b")
		r.wantQuery(orders, 0).with(7, entry("a"), entry("b"))
		w.wantIDs("n1/a", "n1/b")
		r.wantQuery(orders, 7)
	})
}

const stock = "/v1/health/service/stock"

// viewing answers the watches of two services until both wait: that of orders, which has the
// higher index, at a server, the other one for the agent's view.
func viewing(t *testing.T, r *registry) (both [2]*watching, waiting map[string]*query) {
	t.Helper()
	waiting = map[string]*query{}
	both[0] = r.watch(Query{Service: "orders"})
	r.wantQuery(orders, 0).with(900, entry("a"))
	both[0].wantIDs("n1/a")
	waiting[orders] = r.wantQuery(orders, 900)
	both[1] = r.watch(Query{Service: "stock"})
	r.wantQuery(stock, 0).with(500, entry("a"))
	both[1].wantIDs("n1/a")
	q := r.wantQuery(stock, 500)
	if got := q.URL.RawQuery; got != "index=500&stale=&wait=3000ms" { // it is not known yet whether there is a view
		t.Fatalf("the first that waits: %s", got)
	}
	q.headed(streaming("500"), entry("a"))
	both[1].wantIDs("n1/a")
	waiting[stock] = r.wantQuery(stock, 500)
	if got := waiting[orders].URL.RawQuery; got != "index=900&near=_agent&stale=&wait=3000ms" {
		t.Fatalf("the service with the highest index: %s", got)
	}
	if got := waiting[stock].URL.RawQuery; got != "index=500&stale=&wait=60000ms" {
		t.Fatalf("the other one: %s", got)
	}
	return both, waiting
}

// wantLook waits for a query for path that does not wait, and leaves others unanswered.
func (r *registry) wantLook(t *testing.T, path string) *query {
	t.Helper()
	for {
		q := r.query(5 * time.Second)
		if q == nil {
			t.Fatalf("nobody asks for %s", path)
		}
		if q.URL.Path == path && !q.URL.Query().Has("index") {
			return q
		}
	}
}

// Rule 3.1.3 where the agent answers from its own view, which it begins anew when the servers
// were put back, without a word to what waits: the service with the highest index is asked for
// at the servers, and finds out for all.
func TestOneWatchFindsOutThatTheRegistryWasPutBack(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		both, waiting := viewing(t, r)
		pass(time.Second)
		waiting[orders].with(900, entry("a")) // before its time
		both[0].wantIDs("n1/a")
		r.wantLook(t, orders).with(12, entry("a"), entry("b"))
		both[0].wantIDs("n1/a", "n1/b")
		waiting[stock].wantGivenUp(t, 0)
		r.wantLook(t, stock).with(12, entry("a"), entry("c"))
		both[1].wantIDs("n1/a", "n1/c")
	})
}

// When the agent has had no servers for a while, it takes a minute and more to bring its views
// up to date. Nobody waits at them until then, and all look for themselves at once.
func TestViewsAreNotReliedUponAfterTheServersWereGone(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		both, waiting := viewing(t, r)
		waiting[orders].fail(500, "rpc error: No known Consul servers")
		both[0].wantErr()
		for gone := time.Now(); time.Since(gone) < time.Minute; {
			r.wantLook(t, orders).fail(500, "rpc error: No known Consul servers")
			both[0].wantErr()
		}
		r.wantLook(t, orders).with(900, entry("a"), entry("b"))
		both[0].wantIDs("n1/a", "n1/b")
		p := &r.client.patrol
		p.mu.Lock()
		if left := time.Until(p.shun); left != shunned {
			t.Errorf("views are not relied upon for %v, want %v from the return of the servers", left, shunned)
		}
		p.mu.Unlock()
		waiting[stock].wantGivenUp(t, 0)
		r.wantLook(t, stock).with(500, entry("a"), entry("b"))
		both[1].wantIDs("n1/a", "n1/b")
		for back := time.Now(); ; {
			q := r.query(time.Minute)
			if q == nil {
				t.Fatal("nobody asks")
			}
			if past := q.URL.Query().Get("near") == "_agent"; q.URL.Path == stock && q.URL.Query().Has("index") && !past {
				if after := time.Since(back); after < 2*time.Minute {
					t.Errorf("it waits at the view again %v after the servers are back", after)
				}
				break
			}
			if time.Since(back) > 5*time.Minute {
				t.Fatal("it never waits at the view again")
			}
			wait, _ := time.ParseDuration(q.URL.Query().Get("wait"))
			go func() {
				select {
				case <-time.After(wait):
				case <-q.Context().Done():
					return
				}
				q.with(map[string]uint64{orders: 900, stock: 500}[q.URL.Path], entry("a"), entry("b"))
			}()
		}
	})
}

// An agent that limits its clients has its servers nevertheless.
func TestAgentThatLimitsTheScoutIsNotTakenForOneWithoutServers(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		both, waiting := viewing(t, r)
		waiting[orders].fail(503, "rate limit exceeded, try again later")
		both[0].wantErr()
		r.wantLook(t, orders).with(900, entry("a"))
		both[0].wantIDs("n1/a")
		pass(time.Second)
		if waiting[stock].Context().Err() != nil || r.client.patrol.shuns() {
			t.Error("all look again, and leave the agent's views")
		}
	})
}

// Servers that hang, or whose packets are dropped, say nothing: the agent's views are as deaf then
// as when there are none.
func TestServersThatDoNotAnswerTheScoutAreTakenForGone(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		both, waiting := viewing(t, r)
		if u := both[0].next(briefly + briefly/16 + answerMargin + time.Second); u.Err == nil {
			t.Fatalf("update %+v", u)
		}
		if !r.client.patrol.shuns() {
			t.Error("the agent's views are relied upon")
		}
		r.wantLook(t, orders).with(900, entry("a"))
		both[0].wantIDs("n1/a")
		waiting[stock].wantGivenUp(t, 0)
		r.wantLook(t, stock).with(501, entry("b"))
		both[1].wantIDs("n1/b")
	})
}

// A view that is older than what a server has said is not believed, nor forgotten.
func TestViewThatIsBehindIsPassedOver(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		both, waiting := viewing(t, r)
		waiting[stock].headed(streaming("499"), entry("old"))
		r.wantLook(t, stock).with(501, entry("b"))
		both[1].wantIDs("n1/b")
	})
}

// The role goes to whoever has the highest index.
func TestWhoeverHasTheHighestIndexIsTheScout(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		both, waiting := viewing(t, r)
		waiting[stock].headed(streaming("901"), entry("b"))
		both[1].wantIDs("n1/b")
		if got := r.wantQuery(stock, 901).URL.RawQuery; got != "index=901&near=_agent&stale=&wait=3000ms" {
			t.Errorf("the highest: %s", got)
		}
		pass(briefly)
		waiting[orders].with(900, entry("a"))
		both[0].wantIDs("n1/a")
		r.wantQuery(orders, 900).headed(streaming("900"), entry("a"))
		both[0].wantIDs("n1/a")
		waiting[orders] = r.wantQuery(orders, 900)
		if got := waiting[orders].URL.RawQuery; got != "index=900&stale=&wait=60000ms" {
			t.Errorf("the other one: %s", got)
		}
		both[1].stop()
		// Else it would wait at its view for up to a minute, with nobody to find out for all.
		waiting[orders].wantGivenUp(t, 0)
		r.wantLook(t, orders).with(900, entry("a"))
		both[0].wantIDs("n1/a")
		if got := r.wantQuery(orders, 900).URL.RawQuery; got != "index=900&near=_agent&stale=&wait=3000ms" {
			t.Errorf("the one that is left: %s", got)
		}
		if scout := r.client.patrol.scout; scout == nil || scout.index != 900 {
			t.Errorf("the other one is gone, but the highest is %+v", scout)
		}
	})
}

func TestWatchThatFailsIsNotReliedUpon(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		both, waiting := viewing(t, r)
		waiting[orders].fail(400, "")
		both[0].wantErr()
		if scout := r.client.patrol.scout; scout == nil || scout.index != 500 {
			t.Errorf("one fails, and the highest of the others is %+v", scout)
		}
	})
}

// A server tells another index of a missing service than the agent's view does: that is no step
// back.
func TestIndexOfTheViewIsNotComparedWithThatOfAServer(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		viewing(t, r)
		w := r.watch(Query{Service: "none"})
		const none = "/v1/health/service/none"
		r.wantQuery(none, 0).with(899)
		w.wantIDs()
		r.wantQuery(none, 899).headed(streaming("300"))
		w.wantIDs()
		r.wantQuery(none, 300).headed(streaming("301"), entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(none, 301)
	})
}

// No scout finds out anything of another datacenter's views: a watch that is answered from one
// asks for itself.
func TestWatchOfAnotherDatacenterIsItsOwnScout(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders", Datacenter: "dc2"})
		r.wantQuery(orders, 0).with(900, entry("a"))
		w.wantIDs("dc2/n1/a")
		q := r.wantQuery(orders, 900)
		if got := q.URL.RawQuery; got != "dc=dc2&index=900&stale=&wait=3000ms" {
			t.Errorf("whether there is a view: %s", got)
		}
		q.headed(streaming("900"), entry("a"))
		w.wantIDs("dc2/n1/a")
		for range 3 {
			q = r.wantQuery(orders, 900)
			if got := q.URL.RawQuery; got != "dc=dc2&index=900&near=_agent&stale=&wait=3000ms" {
				t.Errorf("past the view: %s", got)
			}
			pass(briefly)
			q.with(900, entry("a"))
			w.wantIDs("dc2/n1/a")
		}
		if r.client.patrol.scout != nil {
			t.Error("it is the scout of the agent's own datacenter")
		}
	})
	story(t, Options{}, func(t *testing.T, r *registry) { // an agent that keeps none
		w := r.watch(Query{Service: "orders", Datacenter: "dc2"})
		r.wantQuery(orders, 0).with(900, entry("a"))
		w.wantIDs("dc2/n1/a")
		r.wantQuery(orders, 900).with(901, entry("a"))
		w.wantIDs("dc2/n1/a")
		if got := r.wantQuery(orders, 901).URL.RawQuery; got != "dc=dc2&index=901&stale=&wait=60000ms" {
			t.Errorf("without a view: %s", got)
		}
	})
}

// Rule 3.3: the views of old agents do not stand a filter, so it is left to the servers.
func TestWhatIsFilteredIsNotAskedOfTheAgentsView(t *testing.T) {
	const filter = "filter=ID+%3D%3D+a"
	for name, c := range map[string]struct {
		cached bool
		want   [3]string
	}{
		"not cached": {false, [3]string{filter + "&stale=", filter + "&index=5&near=_agent&stale=&wait=60000ms", filter + "&index=6&near=_agent&stale=&wait=60000ms"}},
		"cached":     {true, [3]string{"cached=&" + filter + "&near=_agent&stale=", "cached=&" + filter + "&index=5&near=_agent&stale=&wait=60000ms", "cached=&" + filter + "&index=6&near=_agent&stale=&wait=60000ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{Cached: c.cached}, func(t *testing.T, r *registry) {
				w := r.watch(Query{Service: "orders", Filter: "ID == a"})
				for i, want := range c.want {
					q := r.query(time.Second)
					if got := q.URL.RawQuery; got != want {
						t.Errorf("query %d: %s\nwant %s", i+1, got, want)
					}
					q.with(uint64(5+i), entry("a"))
					w.wantIDs("n1/a")
				}
			})
		})
	}
}

// The scout asks the servers, neither the agent's views nor its cache.
func TestScoutDoesNotAskTheCache(t *testing.T) {
	story(t, Options{Cached: true}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).headed(streaming("900"), entry("a"))
		w.wantIDs("n1/a")
		for range 3 {
			q := r.query(time.Minute)
			if q.URL.Query().Get("near") == "_agent" {
				if got := q.URL.RawQuery; got != "index=900&near=_agent&stale=&wait=3000ms" {
					t.Errorf("the scout: %s", got)
				}
				return
			}
			q.headed(streaming("900"), entry("a"))
			w.wantIDs("n1/a")
		}
		t.Error("there is no scout")
	})
}
