package upstream

import (
	"strings"
	"testing"
	"time"
)

// calm lets the service compare, without any request.
func (st *stage) calm(d time.Duration) {
	st.t.Helper()
	for range d / (time.Second / 2) {
		time.Sleep(time.Second / 2)
		st.wantUsable(ids(st.Snapshot().Usable)) // waits
	}
}

// answers has each of ids answer n times in d each, spread over a second.
func (st *stage) answers(d time.Duration, n int, ids ...string) {
	st.t.Helper()
	for range n {
		time.Sleep(time.Second / time.Duration(n))
		for _, id := range ids {
			st.report(id, Result{Outcome: Success, Latency: d})
		}
	}
}

// tempers returns the verdicts of comparison in an endpoint's history.
func (st *stage) tempers(id string) string {
	st.t.Helper()
	var words []string
	for _, d := range st.status(id).History {
		switch d.What {
		case "slow", "failing", "even":
			words = append(words, d.What)
		}
	}
	return strings.Join(words, ", ")
}

func (st *stage) wantTempers(id, want string) {
	st.t.Helper()
	if got := st.tempers(id); got != want {
		st.t.Fatalf("%s was %q, want %q", id, got, want)
	}
}

func tempered(o *Options) { o.MaxEjected = 0 }

func TestSlowAndEvenAgain(t *testing.T) {
	const ms = time.Millisecond
	play(t, tempered, func(st *stage) {
		st.reports("a", "b", "c")
		st.answers(10*ms, 5, "a", "b", "c")
		st.answers(49*ms, 5, "a") // not yet five times
		st.answers(10*ms, 5, "b", "c")
		st.wantTempers("a", "")
		st.answers(200*ms, 5, "a")
		st.answers(10*ms, 5, "b", "c")
		st.wantTempers("a", "slow")
		d := st.status("a").History
		if why := d[len(d)-1].Why; why != "it answers in 200ms, half of the endpoints in 10ms or less" {
			t.Errorf("why %q", why)
		}
		if n := st.logged("endpoint slow"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		// Time alone makes it no better, and one more slow answer no worse.
		st.calm(time.Minute)
		st.wantTempers("a", "slow")
		st.answers(200*ms, 1, "a")
		st.calm(2 * time.Second)
		st.wantTempers("a", "slow")
		// 30 ms would not have been slow before, and is not even yet either.
		for range 60 {
			st.answers(30*ms, 2, "a")
			st.answers(10*ms, 2, "b", "c")
		}
		st.wantTempers("a", "slow")
		for range 60 {
			st.answers(20*ms, 2, "a")
			st.answers(10*ms, 2, "b", "c")
		}
		st.wantTempers("a", "slow, even")
		if st.logged("endpoint slow") != 1 || st.logged("endpoint even") != 1 || st.tempers("b")+st.tempers("c") != "" {
			t.Error("something else was logged")
		}
	})
}

// Among endpoints that answer within microseconds five times as long is nothing.
func TestAHairSlowerIsNotSlow(t *testing.T) {
	play(t, tempered, func(st *stage) {
		st.reports("a", "b", "c")
		for range 3 {
			st.answers(100*time.Microsecond, 3, "b", "c")
			st.answers(1900*time.Microsecond, 3, "a")
		}
		st.calm(2 * time.Second)
		st.wantTempers("a", "")
	})
}

func TestFailingAndEvenAgain(t *testing.T) {
	play(t, tempered, func(st *stage) {
		st.reports("a", "b", "c")
		st.answers(time.Millisecond, 8, "a", "b", "c")
		st.report("a", Result{Outcome: ServerError, Status: 500}) // 1 of 9
		st.calm(2 * time.Second)
		st.wantTempers("a", "")
		for range 3 {
			st.report("a", Result{Outcome: ServerError, Status: 500}) // 4 of 12
		}
		st.calm(2 * time.Second)
		st.wantTempers("a", "failing")
		history := st.status("a").History
		if d := history[len(history)-1]; d.Attempts != 12 || d.Failures != 4 || d.LastError != "status 500" ||
			d.Why != "4 of its last 12 attempts failed, the last: status 500" {
			t.Errorf("decision %+v", d)
		}
		// The window forgets, but nobody has tried it since.
		st.calm(time.Minute)
		st.wantTempers("a", "failing")
		// One success is too little to say that it has got over it.
		st.answers(time.Millisecond, 1, "a")
		st.calm(2 * time.Second)
		st.wantTempers("a", "failing")
		// And one failure is no news.
		st.report("a", Result{Outcome: ServerError, Status: 500})
		st.calm(2 * time.Second)
		st.wantTempers("a", "failing")
		// Of 10 with one failure it stays, for it is to be below 1 in 20.
		st.answers(time.Millisecond, 8, "a")
		st.calm(2 * time.Second)
		st.wantTempers("a", "failing")
		st.calm(15 * time.Second)
		st.answers(time.Millisecond, 5, "a")
		st.calm(2 * time.Second)
		st.wantTempers("a", "failing, even")
		if st.logged("endpoint failing") != 1 || st.logged("endpoint even") != 1 {
			t.Errorf("logged %d and %d times", st.logged("endpoint failing"), st.logged("endpoint even"))
		}
	})
}

// That a failing endpoint has been seen to work is said once, by what has seen it.
func TestOneThatRecoversIsNoLongerFailing(t *testing.T) {
	play(t, withChecks, func(st *stage) {
		st.reports("a", "b", "c")
		time.Sleep(time.Second)
		fails := func() {
			st.answers(time.Millisecond, 5, "a", "b", "c")
			st.attempt("a", ServerError, 2)
			st.answers(time.Millisecond, 1, "a")
			st.calm(2 * time.Second)
			if temper(st.endpoint("a").temper.Load()) != failing {
				t.Fatal("it does not fail")
			}
		}
		fails()
		st.attempt("a", ServerError, 3)
		st.ready("a")
		probe := st.acquires("a")
		probe.Report(Result{Outcome: Success, Latency: time.Millisecond})
		probe.Release()
		st.calm(2 * time.Second)
		st.says("a", "takes its share of the traffic")
		st.wantTempers("a", "failing")

		st.calm(15 * time.Second)
		fails()
		st.falls(errIll, "a")
		st.calm(15 * time.Second)
		st.falls(nil, "a")
		st.says("a", "takes its share of the traffic")
		st.wantTempers("a", "failing, failing")
	})
}

// An instance that fails for good and gets a request now and then: one verdict, not one for
// each.
func TestFailingForGoodIsOneVerdict(t *testing.T) {
	play(t, tempered, func(st *stage) {
		st.reports("a", "b", "c")
		for i := range 300 {
			st.answers(time.Millisecond, 3, "b", "c")
			if i < 3 || i%7 == 0 {
				st.attempt("a", ServerError, 1)
			}
			if i == 200 {
				st.calm(time.Minute) // night
			}
		}
		st.wantTempers("a", "failing")
	})
}

func TestWithoutEndpointsNothingIsCompared(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports()
		st.calm(5 * time.Second)
		st.reports("a")
		st.calm(5 * time.Second)
		st.wantTempers("a", "")
	})
}

func TestShownHasThreeDigits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999: "999ns", 1234: "1.23µs", 12345678: "12.3ms", 1234567890: "1.23s", 83*time.Second + 456*time.Millisecond: "1m23.5s",
	} {
		if got := shown(d).String(); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}
