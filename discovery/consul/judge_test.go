package consul

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	noLeader = "X-Consul-KnownLeader: false"
	behind   = "X-Consul-LastContact: 42000"
)

// Rules 3.2: KnownLeader and LastContact are read, and an empty answer from a server without a
// leader is no removal. Nor is one that lacks something: that is what a server shows that was
// cut off, or has just begun to read its log.
func TestLossIsNotBelievedOfAServerThatIsCutOff(t *testing.T) {
	critical := entry("a", inState(api.HealthCritical))
	for name, c := range map[string]struct {
		header  string
		entries []*api.ServiceEntry
		want    string
	}{
		"empty, no leader":     {noLeader, nil, "the server that answered knows no leader, and an empty answer proves nothing then; restore a quorum"},
		"empty, behind":        {behind, nil, "the server that answered has not heard of its leader for 42s, and an empty answer proves nothing then"},
		"all critical":         {noLeader, []*api.ServiceEntry{critical}, "an empty answer proves nothing then"},
		"one less, no leader":  {noLeader, []*api.ServiceEntry{entry("b")}, "knows no leader, and knows less than was known; restore a quorum"},
		"one less, behind":     {behind, []*api.ServiceEntry{entry("a")}, "has not heard of its leader for 42s, and knows less than was known"},
		"another in its place": {behind, []*api.ServiceEntry{entry("a"), entry("c")}, "knows less than was known"},
	} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, func(t *testing.T, r *registry) {
				w := r.watch(Query{Service: "orders"})
				r.wantQuery(orders, 0).with(5, entry("a"), entry("b"))
				w.wantIDs("n1/a", "n1/b")
				r.wantQuery(orders, 5).headed(headers(6, c.header), c.entries...)
				if c.header == behind {
					r.wantLeader(t).fail(500, "No cluster leader")
				}
				if err := w.wantErr().Err; !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v\nwant %s", err, c.want)
				}
				r.wantQuery(orders, 0).with(6, c.entries...) // it is so all the same
				if u := w.next(time.Second); u.Err != nil || u.Index != 6 {
					t.Errorf("update %+v", u)
				}
			})
		})
	}
}

// What such a server says is taken when it takes nothing away and is not older than what was
// seen: in an outage of all servers it is all there is.
func TestServerThatIsCutOffIsBelievedInTheRest(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).headed(headers(5, noLeader), entry("a")) // nothing else is known
		w.wantIDs("n1/a")
		r.wantQuery(orders, 5).headed(headers(6, noLeader), entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 6).headed(headers(9, behind), entry("a"), entry("b"))
		r.wantLeader(t).fail(500, "No cluster leader")
		w.wantIDs("n1/a", "n1/b")
		r.wantQuery(orders, 9).headed(headers(8, noLeader), entry("a"), entry("b"), entry("c"))
		if err := w.wantErr().Err; !strings.Contains(err.Error(), "knows no leader, and knows less than was known") {
			t.Errorf("of an index that was passed long ago: %v", err)
		}
		// From a server with a leader, a lower index is another history: what counts from now on.
		r.wantQuery(orders, 0).with(3, entry("a"), entry("b"))
		w.wantIDs("n1/a", "n1/b")
		r.wantQuery(orders, 3).headed(headers(4, noLeader), entry("a"), entry("b"), entry("d"))
		w.wantIDs("n1/a", "n1/b", "n1/d")
	})
}

func TestEmptyAnswerOfAServerThatIsCutOffIsNothingToBeginWith(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).headed(headers(5, noLeader))
		w.wantErr()
		r.wantQuery(orders, 0).headed(headers(5, behind), entry("a", inState(api.HealthCritical)))
		w.wantErr()
		r.wantQuery(orders, 0).with(6)
		w.wantIDs()
	})
}

// Rule 3.3: an agent's cache is asked only with ?cached, and what it says to be empty is
// confirmed without it.
func TestEmptyAnswerFromTheCacheIsConfirmedByAServer(t *testing.T) {
	const hit = "X-Cache: HIT"
	story(t, Options{Cached: true}, func(t *testing.T, r *registry) {
		r.outrank()
		w := r.watch(Query{Service: "orders"})
		wantCached := func(index uint64, want bool) *query {
			t.Helper()
			q := r.wantQuery(orders, index)
			if q.URL.Query().Has("cached") != want {
				t.Errorf("cached is not %t: %s", want, q.URL)
			}
			return q
		}
		wantCached(0, true).headed(headers(5, hit, "Age: 0"), entry("a"))
		w.wantIDs("n1/a")
		wantCached(5, true).headed(headers(6, hit, "Age: 0"))
		wantCached(0, false).with(7, entry("b"))
		w.wantIDs("n1/b")
		wantCached(7, true).headed(headers(8, hit, "Age: 0"))
		wantCached(0, false).with(9)
		w.wantIDs()
		wantCached(9, true).headed(headers(10, hit, "Age: 0")) // as empty as before
		w.wantIDs()
		wantCached(10, true).headed(headers(11, hit, "Age: 0"), entry("a"), entry("b"))
		w.wantIDs("n1/a", "n1/b")
		// Age is how long the agent has been without its servers.
		wantCached(11, true).headed(headers(12, hit, "Age: 42"), entry("a"))
		err := w.wantErr().Err
		if !strings.Contains(err.Error(), "the agent has been cut off from the servers for 42s, and knows less than was known; check that it can reach them") {
			t.Errorf("error %v", err)
		}
		wantCached(0, true).headed(headers(11, hit, "Age: 43"), entry("a"), entry("b"))
		w.wantIDs("n1/a", "n1/b")
	})
	story(t, Options{}, func(t *testing.T, r *registry) {
		r.watch(Query{Service: "orders"})
		if q := r.wantQuery(orders, 0); q.URL.Query().Has("cached") {
			t.Errorf("cached: %s", q.URL)
		}
	})
}

// wantLeader returns a query that the leader is to answer at once, once it has asked the others
// whether it still is one.
func (r *registry) wantLeader(t *testing.T) *query {
	t.Helper()
	q := r.wantQuery(orders, 0)
	if p := q.URL.Query(); !p.Has("consistent") || p.Has("stale") || p.Has("cached") {
		t.Fatalf("the leader is not asked: %s", q.URL.RawQuery)
	}
	return q
}
