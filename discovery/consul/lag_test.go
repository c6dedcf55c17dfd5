package consul

import (
	"testing"
	"time"
)

// Rule 3.1.9: a server that has not heard of its leader for long is passed over for the leader,
// until a look at it, a minute later, tells that it has caught up.
func TestServerThatLagsIsPassedOverForTheLeader(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(unviewed)
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 5).headed(headers(5, behind), entry("a")) // it lacks nothing that is known
		r.wantLeader(t).with(9, entry("a"), entry("b"))
		w.wantIDs("n1/a", "n1/b")
		begun := time.Now()
		for index := uint64(9); index < 12; index++ { // changes arrive at once
			q := r.wantQuery(orders, index)
			if p := q.URL.Query(); p.Has("stale") || p.Has("consistent") {
				t.Errorf("the leader is not asked: %s", q.URL.RawQuery)
			}
			q.with(index+1, entry("a"))
			w.wantIDs("n1/a")
		}
		q := r.wantQuery(orders, 12)
		pass(ledFor - time.Since(begun))
		q.with(12, entry("a"))
		w.wantIDs("n1/a")
		for range 2 { // the second time it has caught up
			q = r.wantQuery(orders, 0)
			if !q.URL.Query().Has("stale") {
				t.Errorf("no server but the leader is asked any more: %s", q.URL.RawQuery)
			}
			q.headed(headers(12, behind), entry("a"))
			r.wantLeader(t).with(12, entry("a"))
			w.wantIDs("n1/a")
			q = r.wantQuery(orders, 12)
			pass(ledFor)
			q.with(12, entry("a"))
			w.wantIDs("n1/a")
		}
		r.wantQuery(orders, 0).with(12, entry("a"))
		w.wantIDs("n1/a")
		if q = r.wantQuery(orders, 12); !q.URL.Query().Has("stale") {
			t.Errorf("the leader is asked for ever: %s", q.URL.RawQuery)
		}
	})
}

// Rule 3.1.9 without a leader: to ask for it takes 7 s, so that is rare, and what the server
// says counts as far as it may.
func TestLeaderIsRarelyAskedForWhileThereIsNone(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(unviewed)
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		asked, index := 0, uint64(5)
		for start := time.Now(); time.Since(start) < 5*time.Minute; {
			q := r.query(time.Minute)
			if q == nil {
				t.Fatal("nobody asks")
			}
			if q.URL.Query().Has("consistent") {
				asked++
				pass(7 * time.Second)
				q.fail(500, "No cluster leader")
				continue
			}
			if p := q.URL.Query(); !p.Has("stale") || !p.Has("index") {
				t.Fatalf("asked %s", q.URL.RawQuery)
			}
			pass(2 * time.Second)
			index++
			q.headed(headers(index, behind), entry("a"))
		}
		for len(w.updates) > 0 {
			w.wantIDs("n1/a") // what the server has said, and no error
		}
		if asked < 4 || asked > 5 {
			t.Errorf("asked %d times for the leader in 5 minutes, want once a minute", asked)
		}
	})
}

// What a server that lags knows is something to begin with; the leader is asked afterwards.
func TestServerThatLagsIsSomethingToBeginWith(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).headed(headers(5, behind), entry("a"))
		w.wantIDs("n1/a")
		begun := time.Now()
		r.wantQuery(orders, 0).headed(headers(5, behind), entry("a"))
		r.wantLeader(t).with(9, entry("b"))
		w.wantIDs("n1/b")
		if after := time.Since(begun); after != 0 {
			t.Errorf("the leader was asked after %v", after)
		}
	})
}

// When the leader is gone that was asked in place of a server, the server is better than nothing.
func TestServerThatLagsIsAskedAgainWhenTheLeaderFails(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(unviewed)
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 5).headed(headers(5, behind), entry("a"))
		r.wantLeader(t).with(9, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 9).fail(500, "No cluster leader")
		w.wantErr()
		q := r.wantQuery(orders, 0)
		if !q.URL.Query().Has("stale") {
			t.Errorf("asked %s", q.URL.RawQuery)
		}
		q.headed(headers(9, behind), entry("a"))
		w.wantIDs("n1/a")
	})
}
