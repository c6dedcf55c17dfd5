package consul

import (
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

func TestRefreshGivesUpTheQueryThatWaits(t *testing.T) {
	story(t, Options{Cached: true}, func(t *testing.T, r *registry) {
		r.outrank()
		source := r.client.Source(Query{Service: "orders"})
		w := startWatch(t, source)
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		waiting := r.wantQuery(orders, 5)
		pass(10 * time.Second)
		for range 100 { // several calls in a row lead to one lookup
			discovery.Refresh(source)
		}
		rung := time.Now()
		waiting.wantGivenUp(t, 0)
		q := r.wantQuery(orders, 0)
		if after := time.Since(rung); after > refreshJitter {
			t.Errorf("asked after %v", after)
		}
		if q.URL.Query().Has("cached") {
			t.Errorf("asked the agent's cache: %s", q.URL)
		}
		w.wantQuiet() // it is no failure
		q.with(6, entry("b"))
		w.wantIDs("n1/b")
		if q := r.wantQuery(orders, 6); !q.URL.Query().Has("cached") {
			t.Errorf("went on without the cache: %s", q.URL)
		}
	})
}

func TestRefreshIsOnePerSecondAtTheMost(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		source := r.client.Source(Query{Service: "orders"})
		w := startWatch(t, source)
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 5)
		start, looks := time.Now(), 0
		for time.Since(start) < time.Minute {
			discovery.Refresh(source)
			if q := r.query(50 * time.Millisecond); q != nil && !q.URL.Query().Has("index") {
				looks++
				q.with(5, entry("a"))
			}
		}
		if looks < 50 || looks > 61 {
			t.Errorf("%d lookups in a minute of constant wishes, want some 57", looks)
		}
	})
}

// A lookup that is under way already may have seen what was true before: it is not given up,
// and another one follows.
func TestRefreshDuringALookupLeadsToAnother(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		source := r.client.Source(Query{Service: "orders"})
		discovery.Refresh(source) // before Watch: its first lookup is fresh anyway
		w := startWatch(t, source)
		q := r.wantQuery(orders, 0)
		discovery.Refresh(source)
		synctest.Wait()
		if q.Context().Err() != nil {
			t.Fatal("the lookup was given up")
		}
		q.with(5, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 0).with(6, entry("b"))
		w.wantIDs("n1/b")
		r.wantQuery(orders, 6)
		w.stop()
		discovery.Refresh(source) // after Watch: nobody asks
		r.wantNone(time.Minute)
	})
}

func TestRefreshEndsThePauseAfterAFailureButNotWhatTheAgentHasAskedFor(t *testing.T) {
	for status, most := range map[int]time.Duration{500: refreshEvery + refreshJitter, 429: limitedMost + refreshJitter} {
		story(t, Options{}, func(t *testing.T, r *registry) {
			source := r.client.Source(Query{Service: "orders"})
			w := startWatch(t, source)
			r.wantQuery(orders, 0).with(5, entry("a"))
			w.wantIDs("n1/a")
			q := r.wantQuery(orders, 5)
			for range 10 { // until the pauses are long
				q.fail(status, "")
				w.wantErr()
				q = r.wantQuery(orders, 0)
			}
			q.fail(status, "")
			w.wantErr()
			discovery.Refresh(source)
			failed := time.Now()
			r.wantQuery(orders, 0)
			after := time.Since(failed)
			if early := after < limitedMost/2; after > most || early != (status == 500) {
				t.Errorf("%d: asked again after %v", status, after)
			}
		})
	}
}
