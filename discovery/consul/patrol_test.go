package consul

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Rule 3.7: the token's file is read again when it changes, and queries that wait are asked
// again with the new one.
func TestNewTokenIsUsedForQueriesUnderWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "old")
	story(t, Options{TokenFile: path}, func(t *testing.T, r *registry) {
		w := r.watch(unviewed)
		wantToken(t, r, "old").with(5, entry("a"))
		w.wantIDs("n1/a")
		waiting := wantToken(t, r, "old")
		pass(5500 * time.Millisecond)
		put(t, path, "new")
		waiting.wantGivenUp(t, patrolEvery)
		q := wantToken(t, r, "new")
		if q.URL.Query().Has("index") {
			t.Errorf("it waits for a change although the token may see others: %s", q.URL)
		}
		w.wantQuiet() // it is no failure
		q.with(5, entry("a"), entry("b"))
		w.wantIDs("n1/a", "n1/b")
		r.wantQuery(orders, 5)
		r.wantNone(30 * time.Second) // once
	})
}

// Rule 3.7: after a 403 the file is read every second, whatever it looks like, and the last set
// stands.
func TestTokenIsFoundWithinASecondOfARefusal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	at := time.Now().Add(-time.Hour)
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	story(t, Options{TokenFile: path}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		wantToken(t, r, "old").with(5, entry("a"))
		w.wantIDs("n1/a")
		for range 10 { // until the pauses are long
			wantToken(t, r, "old").fail(403, "ACL not found")
			w.wantErr()
		}
		write("new") // it looks the same
		written := time.Now()
		wantToken(t, r, "new").with(6, entry("b"))
		if after := time.Since(written); after > patrolEvery {
			t.Errorf("asked with the new token after %v", after)
		}
		w.wantIDs("n1/b")
	})
}

func TestEachSubscriberIsToldOfANewToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	put(t, path, "one")
	story(t, Options{TokenFile: path}, func(t *testing.T, r *registry) {
		ctx, cancel := context.WithCancel(t.Context())
		first, second := r.client.TokenChanged(ctx), r.client.TokenChanged(t.Context())
		pass(10 * time.Second)
		if len(first)+len(second) != 0 {
			t.Error("told of nothing")
		}
		put(t, path, "two")
		pass(patrolEvery)
		synctest.Wait()
		put(t, path, "three")
		pass(patrolEvery)
		synctest.Wait()
		if len(first) != 1 || len(second) != 1 {
			t.Errorf("%d and %d signals, want one each", len(first), len(second))
		}
		<-first
		<-second
		cancel()
		synctest.Wait()
		put(t, path, "four")
		pass(2 * patrolEvery)
		if len(first) != 0 || len(second) != 1 {
			t.Errorf("%d signals after its end, %d for the other", len(first), len(second))
		}
		if n := r.probes.Load(); n != 0 {
			t.Errorf("asked %d times whether the agent is there, with no query that waits", n)
		}
	})
	story(t, Options{Token: "fixed"}, func(t *testing.T, r *registry) {
		if r.client.TokenChanged(t.Context()) == nil {
			t.Error("no channel")
		}
	})
}

// A query that waits does not notice an agent that was stopped, or whose packets are dropped
// (P2): a dead watch is noticed within 6 s.
func TestAgentThatAnswersNothingIsNoticed(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w, first := r.waiting(t, "orders")
		other, second := r.waiting(t, "stock")
		pass(20*time.Second + 100*time.Millisecond)
		r.deaf.Store(true)
		stopped, dialled := time.Now(), r.dialled.Load()
		for _, w := range []*watching{w, other} {
			err := w.next(6 * time.Second).Err
			if err == nil || !strings.Contains(err.Error(), "agent at 127.0.0.1:8500: no answer within 2.5s; it hangs, or the network drops packets") {
				t.Errorf("error %v", err)
			}
		}
		t.Logf("noticed after %v", time.Since(stopped))
		for _, q := range []*query{first, second} {
			q.wantGivenUp(t, 0)
		}
		r.deaf.Store(false)
		back := time.Now()
		for answered := 0; answered < 2; {
			q := r.query(5 * time.Second)
			if q == nil {
				t.Fatal("nobody asks")
			}
			if !q.URL.Query().Has("index") { // else one that waits again already
				q.with(6, entry("b"))
				answered++
			}
		}
		w.wantIDs("n1/b")
		other.wantIDs("n1/b")
		if after := time.Since(back); after > pauseMost {
			t.Errorf("asked again after %v", after)
		}
		if n := r.dialled.Load() - dialled; n < 2 {
			t.Errorf("%d new connections for two queries", n)
		}
	})
}

func TestAgentThatStaysSilentIsNotForgotten(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		r.deaf.Store(true)
		for start := time.Now(); time.Since(start) < 10*time.Minute; {
			r.query(time.Second) // none is answered
		}
		r.deaf.Store(false)
		for back := time.Now(); ; {
			if q := r.query(time.Second); q != nil {
				q.with(6, entry("b"))
			}
			if u := w.latest(); u != nil && u.Err == nil {
				if after := time.Since(back); after > 5*time.Second {
					t.Errorf("updates resume after %v", after)
				}
				return
			}
			if time.Since(back) > time.Minute {
				t.Fatal("no update for a minute")
			}
		}
	})
}

func TestAgentIsAskedLittleBesideTheQueries(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(unviewed)
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		waiting := r.wantQuery(orders, 5)
		pass(30*time.Second + time.Millisecond)
		if n := r.probes.Load(); n != 10 {
			t.Errorf("asked %d times in 30 s whether it is there, want every 3 s", n)
		}
		r.down.Store(true) // further connections are refused: the query goes on
		r.client.connections.close()
		pass(20 * time.Second)
		w.wantQuiet()
		if waiting.Context().Err() != nil {
			t.Error("the query was given up for a refusal")
		}
		w.stop()
		asked := r.probes.Load()
		r.down.Store(false)
		pass(time.Minute)
		if n := r.probes.Load() - asked; n != 0 {
			t.Errorf("asked %d times although nobody watches", n)
		}
	})
}
