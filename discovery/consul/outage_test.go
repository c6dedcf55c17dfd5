package consul

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// While the agent cannot be reached, a thousand services cost as little as one, each says why
// it knows nothing new, and all go on as soon as it is back.
func TestOneWatchTriesForAllWhileTheAgentIsGone(t *testing.T) {
	const services = 1000
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, Options{})
		c.down.Store(true)
		watches := make([]*watching, services)
		for i := range watches {
			watches[i] = c.watch(Query{Service: fmt.Sprintf("s%d", i)})
		}
		for _, w := range watches {
			w.wantErr()
		}
		dialled := c.dialled.Load()
		pass(time.Minute)
		if n := c.dialled.Load() - dialled; n < 60 || n > 160 { // the patrol's question is among them
			t.Errorf("%d attempts to connect in a minute", n)
		}
		c.down.Store(false)
		back := time.Now()
		for _, w := range watches {
			w.known(t)
		}
		if after := time.Since(back); after > 2*time.Second {
			t.Errorf("all are known %v after the agent is back", after)
		}

		// Once more, when something is known.
		pass(20 * time.Second)
		for _, w := range watches {
			w.latest()
		}
		c.down.Store(true)
		c.drop()
		pass(10 * time.Second)
		for i, w := range watches {
			if u := w.latest(); u == nil || u.Err == nil {
				t.Fatalf("watch %d reports %+v", i, u)
			}
		}
		dialled = c.dialled.Load()
		pass(time.Minute)
		if n := c.dialled.Load() - dialled; n < 40 || n > 600 {
			t.Errorf("%d attempts to connect in a minute", n)
		}
		c.down.Store(false)
		back = time.Now()
		for _, w := range watches {
			w.known(t)
		}
		if after := time.Since(back); after > 3*time.Second {
			t.Errorf("all are known again %v after the agent is back", after)
		}
		for _, w := range watches {
			w.cancel()
		}
	})
}

// The watch that tries may end: another one takes its place.
func TestOutageEndsAlsoWithoutTheWatchThatHasTried(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		r.down.Store(true)
		first := r.watch(Query{Service: "orders"})
		first.wantErr()
		second := r.watch(Query{Service: "orders"})
		second.wantErr() // what the first has found out
		first.stop()
		r.down.Store(false)
		r.wantQuery(orders, 0).with(5, entry("a"))
		for u := second.next(time.Second); u.Err != nil; u = second.next(time.Second) {
		}
	})
}

// An agent that refuses what the watch that tries has asked for is back nevertheless.
func TestOutageEndsWithAnyAnswer(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		r.down.Store(true)
		first := r.watch(Query{Service: "orders"})
		first.wantErr()
		r.watch(Query{Service: "stock"}).wantErr()
		r.down.Store(false)
		for asked := map[string]bool{}; len(asked) < 2; {
			q := r.query(2 * time.Second)
			if q == nil {
				t.Fatalf("only %v is asked for", asked)
			}
			asked[q.URL.Path] = true
			q.fail(500, "No cluster leader")
		}
	})
}

// known reads updates until one is a set.
func (w *watching) known(t *testing.T) {
	t.Helper()
	for start := time.Now(); ; {
		if u := w.next(time.Minute - time.Since(start)); u.Err == nil {
			return
		}
	}
}
