package upstream

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestErrorNotesCoalesce(t *testing.T) {
	var n errorNotes
	if n.last() != "" || len(n.list()) != 0 {
		t.Errorf("without a failure: %q, %v", n.last(), n.list())
	}
	start := time.Unix(1000, 0)
	add := func(second int, r Result) { n.add(start.Add(time.Duration(second)*time.Second), r) }
	add(0, Result{Outcome: ServerError, Status: 500})
	add(1, Result{Outcome: ServerError, Status: 500})
	add(5, Result{Outcome: ServerError, Status: 500, Latency: time.Second})
	add(6, Result{Outcome: ServerError, Status: 502, Err: errors.New("bad gateway")})
	add(7, Result{Outcome: ConnectFailed, Err: errIll})
	add(8, Result{Outcome: ConnectFailed, Err: errors.New(errIll.Error())})
	add(9, Result{Outcome: TimedOut})
	add(10, Result{Outcome: ServerError, Status: 500})
	var got []string
	for _, e := range n.list() {
		got = append(got, fmt.Sprintf("%s ×%d %d-%d", e.What, e.Count, e.First.Unix()-1000, e.Last.Unix()-1000))
	}
	want := "status 500 ×1 10-10 | timed out ×1 9-9 | connect failed: connect: connection refused ×2 7-8 | " +
		"status 502: bad gateway ×1 6-6 | status 500 ×3 0-5"
	if text := strings.Join(got, " | "); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if n.last() != "status 500" {
		t.Errorf("last %q", n.last())
	}
}

func TestErrorsThatDifferInNumbersAreAlike(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"x", "", false},
		{"x", "x1", false},
		{"no answer within 1.001s", "no answer within 2s", true},
		{"read 10.0.0.1:4711->10.0.0.2:80: reset", "read 10.0.0.1:815->10.0.0.2:80: reset", true},
		{"connect: refused", "connect: timed out", false},
		{"x1y", "xy", false},
		{"code 7 of a", "code 8 of b", false},
	} {
		if alike(c.a, c.b) != c.want || alike(c.b, c.a) != c.want {
			t.Errorf("%q and %q are alike: %v", c.a, c.b, !c.want)
		}
	}
	var n errorNotes
	for i := range 3 {
		n.add(time.Unix(int64(i), 0), Result{Outcome: TimedOut, Err: fmt.Errorf("no answer within %d ms", 100+i)})
	}
	if got := n.list(); len(got) != 1 || got[0].Count != 3 || got[0].What != "timed out: no answer within 100 ms" || got[0].Last.Unix() != 2 {
		t.Errorf("notes %+v", got)
	}
}

func (n *errorNotes) kept() (notes int) {
	for e := n.newest.Load(); e != nil; e = e.older {
		notes++
	}
	return notes
}

func TestErrorNotesAreBounded(t *testing.T) {
	var n errorNotes
	for i := range 1000 {
		n.add(time.Unix(int64(i), 0), Result{Outcome: ServerError, Status: 500 + i})
		want := min(i+1, keptErrors)
		list := n.list()
		if len(list) != want || n.kept() > 2*keptErrors {
			t.Fatalf("after %d: %d in the list, %d kept", i+1, len(list), n.kept())
		}
		for j, e := range list {
			if e.What != fmt.Sprintf("status %d", 500+i-j) || e.Count != 1 || e.First.Unix() != int64(i-j) {
				t.Fatalf("after %d, note %d: %+v", i+1, j, e)
			}
		}
	}
}

func TestLongErrorsAreCut(t *testing.T) {
	for _, text := range []string{strings.Repeat("x", 10_000), strings.Repeat("ü", 5_000), "x" + strings.Repeat("ü", 5_000)} {
		var n errorNotes
		for range 2 {
			n.add(time.Unix(0, 0), Result{Outcome: Reset, Err: errors.New(text)})
		}
		got := n.list()
		if len(got) != 1 || got[0].Count != 2 || len(got[0].What) > maxErrorText+40 ||
			!strings.HasPrefix(text, strings.TrimSuffix(strings.TrimPrefix(got[0].What, "connection reset: "), "…")) {
			t.Errorf("%d notes, the first of %d bytes: %+v", len(got), len(got[0].What), got)
		}
	}
}

func TestErrorNotesOfManyThreads(t *testing.T) {
	var n errorNotes
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				n.add(time.Unix(int64(i), 0), Result{Outcome: ServerError, Status: 500 + i/500})
				n.list()
			}
		})
	}
	wg.Wait()
	if n.kept() > 2*keptErrors {
		t.Errorf("%d kept", n.kept())
	}
	n = errorNotes{}
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				n.add(time.Unix(0, 0), Result{Outcome: Reset})
			}
		})
	}
	wg.Wait()
	if got := n.list(); len(got) != 1 || got[0].Count != 8000 {
		t.Errorf("notes %+v", got)
	}
}

// Each decision about an ejection says what it rests on, and is logged in one line.
func TestDecisionsHaveTheirEvidence(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b", "c")
		st.attempt("a", Success, 2)
		for range 3 {
			st.report("a", Result{Outcome: ServerError, Status: 503, Err: errors.New("no workers")})
		}
		ejected := time.Now()
		st.failsAgain("a")
		st.ready("a")
		probe := st.acquires("a")
		probe.Report(Result{Outcome: Success, Latency: 2 * time.Millisecond})
		probe.Release()
		st.wantUsable("a b c")

		history := st.status("a").History
		if got := whats(history); got != "discovered, ejected, probing, ejected again, probing, recovered" {
			t.Fatalf("history %q", got)
		}
		first, again, recovered := history[1], history[3], history[5]
		if first.Attempts != 5 || first.Failures != 3 || first.LastError != "status 503: no workers" ||
			first.LatencySeconds != .001 || !first.At.Equal(ejected) || !first.Until.Equal(history[2].At) {
			t.Errorf("ejected: %+v", first)
		}
		if !strings.HasPrefix(first.Why, "3 failures in a row, the last: status 503: no workers; out for ") {
			t.Errorf("why %q", first.Why)
		}
		if again.LastError != "connection reset" || !again.Until.Equal(history[4].At) {
			t.Errorf("ejected again: %+v", again)
		}
		if recovered.LatencySeconds != .002 || !recovered.Until.IsZero() {
			t.Errorf("recovered: %+v", recovered)
		}
		for _, what := range []string{"ejected", "ejected again", "recovered"} {
			logs := st.logs.FilterMessage("endpoint " + what).All()
			if len(logs) != 1 {
				t.Fatalf("%s: logged %d times", what, len(logs))
			}
			fields := logs[0].ContextMap()
			if fields["service"] != "orders" || fields["endpoint"] != "a" || fields["address"] != "10.0.0.1:80" || fields["why"] == "" {
				t.Errorf("%s: fields %v", what, fields)
			}
		}
	})
}

func TestAGuessIsNoEvidence(t *testing.T) {
	play(t, nil, func(st *stage) {
		st.reports("a", "b")
		st.attempt("a", ConnectFailed, 3)
		history := st.status("a").History
		if d := history[len(history)-1]; d.What != "ejected" || d.LatencySeconds != 0 {
			t.Errorf("decision %+v", d)
		}
	})
}
