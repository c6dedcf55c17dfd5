package redis

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecar/discovery"
)

// story runs a test in virtual time, with a server that answers as it says. When it is over,
// the bubble fails if a goroutine is left.
func story(t *testing.T, f func(t *testing.T, f *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newFake(t, Options{})) })
}

// pass lets virtual time go by.
func pass(d time.Duration) { <-time.After(d) }

// drain forgets what has been reported so far.
func (w *watching) drain() {
	synctest.Wait()
	for len(w.updates) > 0 {
		<-w.updates
	}
}

const changed = "__keyspace@0__:orders"

func TestEveryAnswerIsReportedAtThePaceOfPoll(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.hold("10.0.0.1:1")
		w := startWatch(t, f.client.Source(Query{Key: "orders", Poll: 2 * time.Second}))
		pass(5 * time.Second) // the looks at the beginning
		w.drain()
		before := f.count("SMEMBERS")
		pass(time.Minute)
		synctest.Wait()
		// Every 1.8 s to 2.2 s, and each pause settles 50 ms.
		if n := len(w.updates); n < 26 || n > 34 || f.count("SMEMBERS")-before != n {
			t.Errorf("%d updates and %d looks in a minute", n, f.count("SMEMBERS")-before)
		}
		if n := f.dialled.Load(); n > 2 {
			t.Errorf("%d connections for one service, want one for looks and one for notifications", n)
		}
	})
}

func TestOfManyProblemsTheFirstAreReported(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		var members []string
		for i := range discovery.MaxProblems + 7 {
			members = append(members, fmt.Sprintf("10.0.1.%d:0", i))
		}
		f.hold(append(members, "10.0.0.1:1")...)
		w := startWatch(t, f.client.Source(Query{Key: "orders", Poll: 2 * time.Second}))
		if u := w.next(time.Minute); !sameIDs(u, []string{"10.0.0.1:1"}) || len(u.Problems) != discovery.MaxProblems+1 || u.Problems[discovery.MaxProblems] != "and 7 more" {
			t.Errorf("%d problems in %+v", len(u.Problems), u)
		}
		w.drain()
		f.hold(members...)
		u := w.next(time.Minute)
		if u.Err == nil || len(u.Problems) != discovery.MaxProblems+1 || !strings.Contains(u.Err.Error(), "; and 104 more") {
			t.Errorf("%d problems, error %v", len(u.Problems), u.Err)
		}
	})
}

func TestNotificationsHastenTheNextLook(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.hold("10.0.0.1:1")
		w := startWatch(t, f.client.Source(Query{Key: "orders", Poll: time.Hour}))
		pass(10 * time.Second)
		w.drain()
		f.hold("10.0.0.1:1", "10.0.0.2:1")
		f.publish(array("message", changed, "sadd"))
		began := time.Now()
		if u := w.next(time.Minute); !sameIDs(u, []string{"10.0.0.1:1", "10.0.0.2:1"}) || time.Since(began) > 100*time.Millisecond {
			t.Errorf("%+v after %v", u, time.Since(began))
		}
		f.publish(array("message", "__keyspace@0__:stock", "sadd"))
		pass(time.Minute)
		if n := len(w.updates); n != 0 {
			t.Errorf("%d looks because of another key", n)
		}
	})
}

func TestFloodOfNotificationsIsCoalesced(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.hold("10.0.0.1:1")
		w := startWatch(t, f.client.Source(Query{Key: "orders", Poll: time.Hour}))
		pass(10 * time.Second)
		w.drain()
		for range 1000 { // ten seconds
			f.publish(array("message", changed, "sadd"))
			pass(10 * time.Millisecond)
		}
		synctest.Wait()
		if n := len(w.updates); n < 15 || n > 10*2+successBurst+1 {
			t.Errorf("%d looks in 10 s, want 2 per second and a burst of %d", n, successBurst)
		}
	})
}

func TestRefreshLeadsToOneLook(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.answer("SUBSCRIBE", "-NOPERM this user has no permissions to access one of the channels used as arguments\r\n")
		f.hold("10.0.0.1:1")
		w := startWatch(t, f.client.Source(Query{Key: "orders", Poll: time.Hour}))
		pass(10 * time.Second)
		w.drain()
		for range 10 {
			w.source.(*source).Refresh()
		}
		pass(time.Minute)
		if n := len(w.updates); n != 1 {
			t.Errorf("%d looks after ten calls in a row", n)
		}
	})
}

func TestServerThatRefusesSubscriptionsIsLeftAlone(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.answer("SUBSCRIBE", "-NOPERM this user has no permissions to access one of the channels used as arguments\r\n")
		f.hold("10.0.0.1:1")
		w := startWatch(t, f.client.Source(Query{Key: "orders"}))
		pass(10 * time.Minute)
		if n := f.count("SUBSCRIBE"); n < 5 || n > 11 {
			t.Errorf("it was asked %d times in ten minutes", n)
		}
		for len(w.updates) > 0 {
			if u := <-w.updates; u.Err != nil || !sameIDs(u, []string{"10.0.0.1:1"}) {
				t.Fatalf("polling suffers: %+v", u)
			}
		}
	})
}

func TestMalformedNotificationsHarmNobody(t *testing.T) {
	for _, text := range []string{"*1\r\n:1\r\n", "*0\r\n", "*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n", "*2\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n", "$1000000000\r\n", "?\r\n"} {
		story(t, func(t *testing.T, f *fake) {
			f.hold("10.0.0.1:1")
			w := startWatch(t, f.client.Source(Query{Key: "orders", Poll: time.Hour}))
			pass(10 * time.Second)
			w.drain()
			f.publish(text)
			pass(10 * time.Second)
			w.drain() // it subscribes again, and looks for what it has missed
			f.publish(array("message", changed, "sadd"))
			if u := w.next(time.Second); u.Err != nil {
				t.Errorf("%q: %v", text, u.Err)
			}
		})
	}
}

func TestSilentSubscriptionIsReplaced(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.hold("10.0.0.1:1")
		w := startWatch(t, f.client.Source(Query{Key: "orders", Poll: time.Hour}))
		pass(10 * time.Second)
		before := f.count("SUBSCRIBE")
		f.answer("PING", "")
		pass(30 * time.Second)
		f.answer("PING", "+PONG\r\n")
		pass(30 * time.Second)
		if n := f.count("SUBSCRIBE") - before; n < 2 || n > 6 {
			t.Errorf("%d subscriptions in half a minute of silence", n)
		}
		w.drain()
		f.publish(array("message", changed, "sadd"))
		w.next(time.Second)
	})
}

func TestExpiryIsNoticedOnTime(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		expires := time.Now().Add(30 * time.Second)
		f.hold("10.0.0.1:1", fmt.Sprintf(`{"address":"10.0.0.2:1","expires":%d}`, expires.Unix()))
		w := startWatch(t, f.client.Source(Query{Key: "orders", Poll: time.Hour}))
		pass(10 * time.Second)
		w.drain()
		u := w.next(time.Minute)
		if !sameIDs(u, []string{"10.0.0.1:1"}) || u.States["expired"] != 1 || time.Since(expires) > 200*time.Millisecond {
			t.Errorf("%+v, %v after it had expired", u, time.Since(expires))
		}
	})
}

func TestUnknownIsToldFromEmpty(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		w := startWatch(t, f.client.Source(Query{Key: "orders"}))
		if u := w.next(time.Second); u.Err != nil || !u.Unknown {
			t.Errorf("never seen: %+v", u)
		}
		f.hold("10.0.0.1:1")
		pass(5 * time.Second)
		f.answer("TYPE", "+none\r\n")
		pass(5 * time.Second)
		w.drain()
		if u := w.next(5 * time.Second); u.Err != nil || u.Unknown || len(u.Instances) != 0 {
			t.Errorf("seen a moment ago: %+v", u)
		}

		f.hold("10.0.0.1:0") // cannot be used, and is there all the same
		w = startWatch(t, f.client.Source(Query{Key: "orders"}))
		if u := w.next(time.Second); u.Err == nil {
			t.Errorf("%+v", u)
		}
		f.answer("TYPE", "+none\r\n")
		if u := w.next(5 * time.Second); u.Err != nil || u.Unknown {
			t.Errorf("%+v", u)
		}
	})
}

func TestReplicaThatHasNotCaughtUpEmptiesNothing(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		role := func(state string) string {
			return "*5\r\n" + bulk("slave") + bulk("10.0.0.1") + ":6379\r\n" + bulk(state) + ":-1\r\n"
		}
		f.answer("ROLE", role("sync"))
		w := startWatch(t, f.client.Source(Query{Key: "orders"}))
		if u := w.next(time.Second); u.Err == nil || !strings.Contains(u.Err.Error(), "server at redis.test:6379: is a replica that has not caught up") {
			t.Errorf("%+v", u)
		}
		f.answer("ROLE", role("connected"))
		pass(5 * time.Second)
		w.drain()
		if u := w.next(5 * time.Second); u.Err != nil || !u.Unknown {
			t.Errorf("%+v", u)
		}
		f.answer("ROLE", "-NOPERM this user has no permissions to run the 'role' command\r\n")
		pass(5 * time.Second)
		w.drain()
		if u := w.next(5 * time.Second); u.Err != nil || !u.Unknown {
			t.Errorf("%+v", u)
		}
	})
}

func TestSetWithoutOneUsableEntryIsAFailedLookup(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.hold("10.0.0.1:1", "10.0.0.2:0")
		w := startWatch(t, f.client.Source(Query{Key: "orders"}))
		if u := w.next(time.Second); !sameIDs(u, []string{"10.0.0.1:1"}) || len(u.Problems) != 1 {
			t.Errorf("%+v", u)
		}
		f.hold("10.0.0.2:0", "10.0.0.3:0", "10.0.0.4:0", "10.0.0.5:0")
		pass(5 * time.Second)
		w.drain()
		u := w.next(5 * time.Second)
		if u.Err == nil || len(u.Problems) != 4 || !strings.Contains(u.Err.Error(), `watch "orders": no instance is usable: "10.0.0.2:0": port "0" is not`) ||
			!strings.HasSuffix(u.Err.Error(), "; and 1 more") {
			t.Errorf("%+v", u)
		}
	})
}

func TestFailuresAreRetriedSoonAndNotInABusyLoop(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		f.hold("10.0.0.1:1")
		w := startWatch(t, f.client.Source(Query{Key: "orders"}))
		pass(10 * time.Second)
		f.down.Store(true)
		f.drop()
		pass(10 * time.Second)
		w.drain()
		dialled := f.dialled.Load()
		pass(time.Minute)
		synctest.Wait()
		if n := len(w.updates); n < 50 || n > 150 {
			t.Errorf("%d looks while it was down for a minute", n)
		}
		// Those for notifications count, and the library's own.
		if n := f.dialled.Load() - dialled; n > 240 {
			t.Errorf("%d connections were asked for in a minute", n)
		}
		w.drain()
		f.down.Store(false)
		for back := time.Now(); ; {
			u := w.next(5*time.Second - time.Since(back))
			if u.Err == nil {
				t.Logf("back after %v", time.Since(back))
				break
			}
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	story(t, func(t *testing.T, f *fake) {
		w := startWatch(t, f.client.Source(Query{Key: "orders"}))
		other := startWatch(t, f.client.Source(Query{Key: "stock"}))
		pass(time.Second)
		for _, w := range []*watching{w, other} {
			began := time.Now()
			w.stop()
			if time.Since(began) > ioTimeout {
				t.Errorf("ended after %v", time.Since(began))
			}
		}
		again := startWatch(t, f.client.Source(Query{Key: "orders"}))
		f.answer("TYPE", "") // hangs
		pass(5 * time.Second)
		began := time.Now()
		again.stop()
		if time.Since(began) > ioTimeout {
			t.Errorf("ended after %v while the server hung", time.Since(began))
		}
	})
}

func TestKeyThatNamesNoServiceIsReportedOnce(t *testing.T) {
	for _, key := range []string{"", ":", "/", "*", "::*"} {
		story(t, func(t *testing.T, f *fake) {
			w := startWatch(t, f.client.Source(Query{Key: key}))
			if u := w.next(time.Second); u.Err == nil || !strings.Contains(u.Err.Error(), "that names no service; write a key such as services:orders") {
				t.Errorf("%q: %+v", key, u)
			}
			pass(time.Hour)
			if n := len(w.updates); n != 0 || f.dialled.Load() != 0 {
				t.Errorf("%q: %d more updates, %d connections", key, n, f.dialled.Load())
			}
		})
	}
}
