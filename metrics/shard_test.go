package metrics

import (
	"testing"
	"time"
	"unsafe"
)

func TestCountingAllocatesNothing(t *testing.T) {
	r := New(Options{Loops: 2})
	h, s, l := r.HTTP("s").Shard(1), r.TCP("s").Shard(1), r.Listener("s", "tcp").Shard(1)
	if n := testing.AllocsPerRun(100, func() {
		l.Accepted.Add(1)
		h.Started.Add(1)
		h.FirstByte.Observe(time.Millisecond)
		h.Finish(200, time.Millisecond)
		h.Error(CauseOf("all-ejected"))
		h.Retry(Retry503)
		h.Reused.Add(1)
		h.Idle.Add(-1)
		h.Hedges.Add(1)
		h.HedgesWon.Add(1)
		h.HedgesDenied.Add(1)
		h.FallbackAnswers.Add(1)
		s.Started.Add(1)
		s.BytesIn.Add(9)
		s.Connect.Observe(time.Second)
		s.Fail(CauseReset)
		s.Finish(time.Hour)
		l.Closed.Add(1)
	}); n != 0 {
		t.Errorf("counting allocates %v times", n)
	}
}

// Two shards in a row are at least a pair of cache lines apart.
func TestLoopsShareNoCacheLine(t *testing.T) {
	var h HTTPShard
	var s TCPShard
	var l ListenerShard
	for name, gap := range map[string]uintptr{
		"HTTPShard":     unsafe.Sizeof(h) - unsafe.Offsetof(h.retries) - unsafe.Sizeof(h.retries),
		"TCPShard":      unsafe.Sizeof(s) - unsafe.Offsetof(s.failed) - unsafe.Sizeof(s.failed),
		"ListenerShard": unsafe.Sizeof(l) - unsafe.Offsetof(l.Errors) - unsafe.Sizeof(l.Errors),
	} {
		if gap < apart {
			t.Errorf("%s: %d bytes to the next one, want %d", name, gap, apart)
		}
	}
}

func TestStatusesFallIntoTheirClass(t *testing.T) {
	for status, class := range map[int]string{
		0: "none", 99: "none", -1: "none", 101: "1xx", 200: "2xx", 299: "2xx", 304: "3xx", 404: "4xx", 503: "5xx", 599: "5xx", 600: "none", 999: "none",
	} {
		var s HTTPShard
		s.Finish(status, 0)
		for i := range s.finished {
			if got := s.finished[i].Load() == 1; got != (classes[i] == class) {
				t.Errorf("status %d: class %s counted: %v", status, classes[i], got)
			}
		}
	}
}

func TestCausesHaveDistinctNamesThatLeadBack(t *testing.T) {
	seen := map[string]bool{}
	for c := range causeCount {
		name := c.String()
		if seen[name] {
			t.Errorf("cause %d: the name %q is taken", c, name)
		}
		seen[name] = true
		if CauseOf(name) != c {
			t.Errorf("CauseOf(%q) = %v", name, CauseOf(name))
		}
	}
	if CauseOf("no such thing") != CauseOther {
		t.Error("an unknown name is not CauseOther")
	}
	for r := range retryCount {
		if r != RetryOther && r.String() == RetryOther.String() {
			t.Errorf("retry reason %d has no name", r)
		}
	}
}

func TestAStatusIsAReasonToRetry(t *testing.T) {
	for status, want := range map[int]string{200: "other", 499: "other", 500: "5xx", 502: "502", 503: "503", 504: "504", 599: "5xx", 600: "other"} {
		if got := RetryOn(status).String(); got != want {
			t.Errorf("RetryOn(%d) = %s, want %s", status, got, want)
		}
	}
}

func TestValuesOutOfRangeAreCountedAsOther(t *testing.T) {
	var h HTTPShard
	var s TCPShard
	h.Error(causeCount)
	h.Retry(retryCount)
	s.Fail(255)
	if h.errors[CauseOther].Load() != 1 || h.retries[RetryOther].Load() != 1 || s.failed[CauseOther].Load() != 1 {
		t.Error("not counted as other")
	}
}

func BenchmarkRequest(b *testing.B) {
	b.ReportAllocs()
	s := New(Options{Loops: 1}).HTTP("s").Shard(0)
	for b.Loop() {
		s.Started.Add(1)
		s.Reused.Add(1)
		s.FirstByte.Observe(700 * time.Microsecond)
		s.BytesIn.Add(100)
		s.BytesOut.Add(300)
		s.Finish(200, 750*time.Microsecond)
	}
}
