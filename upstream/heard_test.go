package upstream

import (
	"testing"
	"time"
)

func TestWhoHasAnsweredLately(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		a := st.endpoint("a")
		if a.Answered(time.Hour) {
			t.Error("one that was never asked has answered")
		}
		st.report("a", Result{Outcome: Success, Latency: time.Millisecond})
		time.Sleep(time.Second)
		if !a.Answered(2*time.Second) || a.Answered(time.Second/2) {
			t.Error("it has answered a second ago")
		}
		// That it did not answer in time is no answer, and neither is a client that left.
		st.report("a", Result{Outcome: TimedOut, Latency: time.Second})
		st.report("a", Result{Outcome: Canceled, Latency: time.Minute})
		if a.Answered(time.Second / 2) {
			t.Error("a timeout counts as an answer")
		}
		answered, waiting := st.Others(a, time.Hour)
		if answered || waiting {
			t.Errorf("answered %v, waiting %v, though b was not asked", answered, waiting)
		}
		lease, err := st.Acquire(PickKey{}, a)
		if err != nil || lease.Endpoint().ID() != "b" {
			t.Fatal(err)
		}
		if answered, waiting = st.Others(a, time.Hour); answered || !waiting {
			t.Errorf("answered %v, waiting %v, while b is asked", answered, waiting)
		}
		lease.Report(Result{Outcome: ServerError, Status: 500})
		lease.Release()
		if answered, waiting = st.Others(a, time.Hour); !answered || waiting {
			t.Errorf("answered %v, waiting %v, when b has answered", answered, waiting)
		}
	})
}
