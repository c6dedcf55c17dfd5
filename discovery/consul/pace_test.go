package consul

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func TestHangingQueryIsGivenUpAtItsDeadline(t *testing.T) {
	story(t, Options{Wait: 32 * time.Second}, func(t *testing.T, r *registry) {
		w := r.watch(unviewed)
		first := time.Now()
		r.wantQuery(orders, 0) // never answered
		if err := w.next(time.Minute).Err; err == nil || time.Since(first) != answerMargin {
			t.Fatalf("after %v: %v", time.Since(first), err)
		}
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		r.wantQuery(orders, 5)
		asked := time.Now()
		err := w.next(time.Minute).Err
		if after := time.Since(asked); after != 32*time.Second+2*time.Second+answerMargin {
			t.Errorf("given up after %v", after)
		}
		if err == nil || !strings.Contains(err.Error(), "agent at 127.0.0.1:8500: no answer within 44s; it hangs, or the network drops packets") {
			t.Errorf("error %v", err)
		}
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
	})
}

func TestWithoutAnAgentItIsAskedEverySecondUntilItIsThere(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		r.down.Store(true)
		w := r.watch(Query{Service: "orders"})
		pass(10 * time.Minute)
		if n := r.dialled.Load(); n < 600 || n > 1200 {
			t.Errorf("asked %d times in 10 minutes, want every 0.5 to 1 s", n)
		}
		if err := w.wantErr().Err; !strings.Contains(err.Error(), `consul: watch "orders": agent at 127.0.0.1:8500: dial tcp: connection refused; start it or correct consul.address`) {
			t.Errorf("error %v", err)
		}
		for len(w.updates) > 0 {
			w.wantErr()
		}
		r.down.Store(false)
		up := time.Now()
		r.wantQuery(orders, 0).with(5, entry("a"))
		w.wantIDs("n1/a")
		if after := time.Since(up); after > time.Second {
			t.Errorf("asked %v after the agent is there", after)
		}
	})
}

func TestOutageIsWaitedOutWithGrowingPauses(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		most   time.Duration
	}{"error": {500, pauseMost}, "limited": {429, limitedMost}} {
		t.Run(name, func(t *testing.T) {
			story(t, Options{}, func(t *testing.T, r *registry) {
				w := r.watch(Query{Service: "orders"})
				for range 2 { // the second outage begins with short pauses again
					r.wantQuery(orders, 0).with(5, entry("a"))
					w.wantIDs("n1/a")
					q := r.wantQuery(orders, 5)
					for most := pauseFirst; ; most *= 2 {
						q.fail(c.status, "")
						w.wantErr()
						failed := time.Now()
						q = r.wantQuery(orders, 0)
						capped := min(most, c.most)
						if pause := time.Since(failed); pause < capped/2 || pause > capped {
							t.Fatalf("pause of %v, want %v to %v", pause, capped/2, capped)
						}
						if most > 4*c.most {
							break
						}
					}
					go q.fail(c.status, "") // the story goes on with the query after it
					w.wantErr()
				}
			})
		})
	}
}

// An agent that asks for fewer queries gets fewer, whether something is known or not.
func TestLimitIsHonouredAlsoBeforeAnythingIsKnown(t *testing.T) {
	for _, status := range []int{429, 503} {
		story(t, Options{}, func(t *testing.T, r *registry) {
			w := r.watch(Query{Service: "orders"})
			q := r.wantQuery(orders, 0)
			for most := pauseFirst; most <= 4*limitedMost; most *= 2 {
				q.fail(status, "")
				w.wantErr()
				failed := time.Now()
				q = r.wantQuery(orders, 0)
				if pause := time.Since(failed); pause < min(most, limitedMost)/2 || pause > min(most, limitedMost) {
					t.Errorf("%d: pause of %v, want up to %v", status, pause, min(most, limitedMost))
				}
			}
		})
	}
}

func TestConstantChangeIsCoalescedAndASingleOneIsNotDelayed(t *testing.T) {
	story(t, Options{}, func(t *testing.T, r *registry) {
		w := r.watch(Query{Service: "orders"})
		r.wantQuery(orders, 0).with(1, entry("a"))
		w.wantIDs("n1/a")
		start, n := time.Now(), 0
		for index := uint64(2); time.Since(start) < time.Minute; index++ {
			q := r.query(time.Second)
			if q == nil {
				t.Fatal("not asked for a second")
			}
			q.with(index, entry("a", func(e *api.ServiceEntry) { e.Service.Port = int(index) }))
			n++
		}
		if most := int(time.Minute/successEvery) + successBurst; n > most || n < most-successBurst-1 {
			t.Errorf("%d queries in a minute of constant change, want %d", n, most)
		}
		for len(w.updates) > 0 {
			w.next(time.Second)
		}
		pass(10 * time.Second) // quiet again
		q := r.query(time.Second)
		if q == nil {
			t.Fatal("no query waits")
		}
		asked := time.Now()
		for i := range uint64(successBurst) { // a deployment step: as many changes in a row
			q.with(1000+i, entry(string(rune('a'+i))))
			w.next(time.Second)
			q = r.query(time.Second)
		}
		if after := time.Since(asked); after != 0 {
			t.Errorf("the changes of one step took %v", after)
		}
	})
}
