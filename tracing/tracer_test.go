package tracing

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"sidecar/internal/eventloop"
)

func TestSpansReachACollector(t *testing.T) {
	r := new(receiver)
	server := httptest.NewServer(r)
	defer server.Close()
	group, err := eventloop.NewGroup(eventloop.Options{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	loops := group.Loops()
	tr, err := New(Options{Endpoint: server.URL, Sample: 1, Loops: 2, Post: func(i int, fn func()) bool { return loops[i].Post(fn) }})
	if err != nil {
		t.Fatal(err)
	}
	const each = 300
	if err := group.EachWait(t.Context(), func(l *eventloop.Loop) {
		for i := range each {
			span(tr.Shard(l.Index()), i)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(r.spans()); n != 2*each || tr.Counts() != (Counts{Exported: 2 * each}) {
		t.Errorf("%d spans came, %+v", n, tr.Counts())
	}
	if tr.Trouble() != nil {
		t.Error(tr.Trouble())
	}
}

func TestTheURLIsAsOpenTelemetryHasIt(t *testing.T) {
	for in, want := range map[string]string{
		"http://c:4318":                  "http://c:4318/v1/traces",
		"https://c:4318/":                "https://c:4318/v1/traces",
		"http://c:4318/otlp":             "http://c:4318/otlp/v1/traces",
		"http://c:4318/otlp/v1/traces":   "http://c:4318/otlp/v1/traces",
		"http://[::1]:4318/otlp/v1/logs": "http://[::1]:4318/otlp/v1/logs/v1/traces",
	} {
		if tr := open(t, Options{Endpoint: in}); tr.sender.url != want {
			t.Errorf("%s became %s", in, tr.sender.url)
		}
	}
	for _, in := range []string{"", "c:4318", "ftp://c", "http://", "http://%zz"} {
		if _, err := New(Options{Endpoint: in}); err == nil || !strings.HasPrefix(err.Error(), "tracing: ") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestATracerThatIsOff(t *testing.T) {
	var tr *Tracer
	if tr.Shard(3) != nil || tr.Counts() != (Counts{}) || tr.Trouble() != nil || tr.Close(t.Context()) != nil {
		t.Error("it does something")
	}
}

// story runs a test in virtual time with a tracer of one loop.
func story(t *testing.T, r *receiver, o Options, tell func(t *testing.T, tr *Tracer, l *loop)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t)
		o.Transport, o.Post = r, l.post
		tell(t, open(t, o), l)
	})
}

func TestSpansOfASecondGoTogether(t *testing.T) {
	r := new(receiver)
	story(t, r, Options{}, func(t *testing.T, tr *Tracer, l *loop) {
		start := time.Now()
		for i := range 3 {
			l.do(func() { span(tr.Shard(0), i) })
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := r.tries(start); !slices.Equal(got, []float64{2}) || len(r.spans()) != 3 {
			t.Errorf("requests at %v, %d spans", got, len(r.spans()))
		}
	})
}

func TestAFullChunkGoesAtOnce(t *testing.T) {
	r := new(receiver)
	story(t, r, Options{Flush: time.Hour}, func(t *testing.T, tr *Tracer, l *loop) {
		n := 0
		for len(r.spans()) == 0 {
			l.do(func() { span(tr.Shard(0), n) })
			synctest.Wait()
			if n++; n > chunkSize {
				t.Fatal("nothing came")
			}
		}
		if len(r.spans()) != n {
			t.Errorf("%d of %d came", len(r.spans()), n)
		}
	})
}

func TestACollectorThatIsBusyIsAskedAgain(t *testing.T) {
	busy := func(after string) answer { return answer{status: http.StatusTooManyRequests, retryAfter: after} }
	for name, c := range map[string]struct {
		answers []answer
		want    []float64 // when it is asked, at the earliest
	}{
		"as it wants":           {[]answer{busy("7"), busy("13")}, []float64{2, 9, 22}},
		"more and more slowly":  {[]answer{{status: 502}, {status: 503}, {status: 504}, {broken: true}}, []float64{2, 2.5, 3.5, 5.5, 9.5}},
		"but not for ever":      {[]answer{busy("99999999")}, []float64{2, 302}},
		"what is not a time is": {[]answer{busy("soon"), busy("-1")}, []float64{2, 2.5, 3.5}},
	} {
		t.Run(name, func(t *testing.T) {
			r := &receiver{answers: c.answers}
			story(t, r, Options{}, func(t *testing.T, tr *Tracer, l *loop) {
				start := time.Now()
				l.do(func() { span(tr.Shard(0), 1) })
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				got := r.tries(start)
				if len(got) != len(c.want) || len(r.spans()) != 1 || tr.Counts() != (Counts{Exported: 1}) || tr.Trouble() != nil {
					t.Fatalf("asked at %v, want %v; %+v, trouble %v", got, c.want, tr.Counts(), tr.Trouble())
				}
				for i, at := range got {
					// A wait of our own is between half and all of what the doubling gives.
					if least := c.want[i]; at < least || at > 2+2*(least-2) {
						t.Errorf("asked at %v, want %v", got, c.want)
					}
				}
			})
		})
	}
}

func TestRetryAfterMayBeADate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(90 * time.Second)
		if got := retryAfter(at.UTC().Format(http.TimeFormat)); got != 90*time.Second {
			t.Error(got)
		}
		if got := retryAfter(time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)); got != 0 {
			t.Error(got)
		}
	})
}

func TestWhatIsRefusedIsNotSentAgain(t *testing.T) {
	for _, status := range []int{400, 401, 404, 413, 500, 501, 301, 307} {
		core, logs := observer.New(zap.InfoLevel)
		r := &receiver{answers: []answer{{status: status}}}
		story(t, r, Options{Log: zap.New(core)}, func(t *testing.T, tr *Tracer, l *loop) {
			start := time.Now()
			l.do(func() { span(tr.Shard(0), 1) })
			time.Sleep(time.Minute)
			synctest.Wait()
			if got := r.tries(start); len(got) != 1 || tr.Counts() != (Counts{Failed: 1}) {
				t.Errorf("%d: asked at %v, %+v", status, got, tr.Counts())
			}
			if trouble := tr.Trouble(); trouble == nil || !trouble.Since.Equal(start.Add(2*time.Second)) {
				t.Errorf("%d: %+v", status, trouble)
			}
			l.do(func() { span(tr.Shard(0), 2) })
			time.Sleep(time.Minute)
			synctest.Wait()
			if tr.Counts() != (Counts{Failed: 1, Exported: 1}) || tr.Trouble() != nil {
				t.Errorf("%d: %+v, %v", status, tr.Counts(), tr.Trouble())
			}
		})
		if logs.FilterMessageSnippet("do not reach").Len() != 1 || logs.FilterMessageSnippet("again").Len() != 1 {
			t.Errorf("%d: %v", status, logs.All())
		}
	}
}

func TestACollectorThatIsDownForLong(t *testing.T) {
	r := &receiver{answers: slices.Repeat([]answer{{broken: true}}, 1000)}
	core, logs := observer.New(zap.InfoLevel)
	const buffer = 16 << 10
	story(t, r, Options{Buffer: buffer, Log: zap.New(core)}, func(t *testing.T, tr *Tracer, l *loop) {
		start := time.Now()
		const each, minutes = 2000, 10
		for range minutes {
			l.do(func() {
				for i := range each {
					span(tr.Shard(0), i)
				}
			})
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		c := tr.Counts()
		if c.Exported != 0 || c.Failed == 0 || c.Dropped == 0 {
			t.Errorf("%+v", c)
		}
		waiting := 0
		l.do(func() {
			s := tr.Shard(0)
			waiting = cap(s.chunk) + len(s.full)*s.tracer.chunk + len(s.full)*slack
		})
		if most := buffer + 8*slack; waiting > most {
			t.Errorf("%d bytes wait, %d may", waiting, most)
		}
		if got := r.tries(start); len(got) > 60 {
			t.Errorf("it was asked %d times in %d minutes", len(got), minutes)
		}
		if tr.Trouble() == nil || !tr.Trouble().Since.Before(start.Add(3*time.Second)) {
			t.Errorf("%+v", tr.Trouble())
		}
		r.mu.Lock()
		r.answers = nil
		r.mu.Unlock()
		time.Sleep(2 * time.Minute)
		l.do(func() { span(tr.Shard(0), 7) })
		time.Sleep(time.Minute)
		synctest.Wait()
		spans := r.spans()
		if len(spans) == 0 || spans[len(spans)-1].Name != "7" || tr.Trouble() != nil {
			t.Errorf("%d spans once it was back, trouble %v", len(spans), tr.Trouble())
		}
		if c := tr.Counts(); c.Exported != uint64(len(spans)) || c.Exported+c.Failed+c.Dropped != each*minutes+1 {
			t.Errorf("%+v do not add up to %d", c, each*minutes+1)
		}
	})
	if n := logs.Len(); n != 2 {
		t.Errorf("%d lines: %v", n, logs.All())
	}
}

func TestACollectorThatHangsDoesNotHoldUpTheLoop(t *testing.T) {
	r := &receiver{hang: true}
	story(t, r, Options{Buffer: 8 << 10}, func(t *testing.T, tr *Tracer, l *loop) {
		start := time.Now()
		for range 100 {
			l.do(func() {
				for i := range 100 {
					span(tr.Shard(0), i)
				}
			})
		}
		if time.Since(start) != 0 || tr.Counts().Dropped == 0 {
			t.Errorf("the loop waited %v, %+v", time.Since(start), tr.Counts())
		}
		time.Sleep(answerIn)
		synctest.Wait()
		if trouble := tr.Trouble(); trouble == nil || !errors.Is(trouble.Err, context.DeadlineExceeded) {
			t.Errorf("%+v", trouble)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start = time.Now()
		if err := tr.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("closed after %v: %v", time.Since(start), err)
		}
		if c := tr.Counts(); c.Dropped+c.Failed != 100*100 {
			t.Errorf("%+v", c)
		}
	})
}

func TestCloseSendsWhatIsLeft(t *testing.T) {
	for name, ended := range map[string]bool{"loops run": false, "loops have ended": true} {
		t.Run(name, func(t *testing.T) {
			r := new(receiver)
			story(t, r, Options{Flush: time.Hour}, func(t *testing.T, tr *Tracer, l *loop) {
				const n = 5000
				l.do(func() {
					for i := range n {
						span(tr.Shard(0), i)
					}
				})
				if ended {
					l.end()
				}
				start := time.Now()
				if err := tr.Close(t.Context()); err != nil || time.Since(start) != 0 {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				if c := tr.Counts(); len(r.spans()) != n || c.Exported != n {
					t.Errorf("%d came, %+v", len(r.spans()), c)
				}
				if !ended {
					l.do(func() { span(tr.Shard(0), n) })
					if c := tr.Counts(); c.Dropped != 1 {
						t.Errorf("after the end: %+v", c)
					}
				}
			})
		})
	}
}

func TestCloseTriesOnce(t *testing.T) {
	r := &receiver{answers: slices.Repeat([]answer{{status: 503, retryAfter: "60"}}, 9)}
	story(t, r, Options{Buffer: 4 << 20}, func(t *testing.T, tr *Tracer, l *loop) {
		l.do(func() {
			for i := range 5000 {
				span(tr.Shard(0), i)
			}
		})
		time.Sleep(3 * time.Second)
		start := time.Now()
		if err := tr.Close(t.Context()); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if c := tr.Counts(); c.Failed != 5000 {
			t.Errorf("%+v", c)
		}
	})
}

func TestALoopThatIsStuckDoesNotKeepClose(t *testing.T) {
	r := new(receiver)
	story(t, r, Options{}, func(t *testing.T, tr *Tracer, l *loop) {
		stuck := make(chan struct{})
		l.post(0, func() { <-stuck })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := tr.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(stuck)
		synctest.Wait()
	})
}
