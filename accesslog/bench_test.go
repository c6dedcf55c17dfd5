package accesslog

import (
	"bytes"
	"io"
	"testing"
	"time"
)

func TestLoggingAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, format := range []string{JSON, Combined, `$client "$request" $status $attempts $duration`} {
		for _, at := range []time.Time{{}, full().Time} {
			l := start(t, Options{Output: io.Discard, Format: format, Buffer: 64 << 10})
			s, r := l.Shard(0), full()
			r.Time = at
			for range 1000 { // until chunks go round
				s.Log(r)
			}
			if n := testing.AllocsPerRun(20000, func() {
				here := *r // as on the stack of a caller
				s.Log(&here)
			}); n != 0 {
				t.Errorf("%s: %v allocations", format, n)
			}
			closeIt(t, l)
		}
	}
}

// benchmark measures what a line costs the loop. Chunks are emptied at once, so that no line
// is dropped, which would be cheaper.
func benchmark(b *testing.B, format string, r *Record) {
	parsed, err := parseFormat(format)
	if err != nil {
		b.Fatal(err)
	}
	l := &Logger{format: parsed, zone: time.UTC, chunk: chunkSize, wake: make(chan struct{}, 1)}
	s := newShard(l, 0, 4)
	written, lines := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		s.Log(r)
		select {
		case c := <-s.full:
			written += len(c.text)
			lines += c.count
			s.recycle(c.text)
		default:
		}
	}
	b.ReportMetric(float64(written)/float64(max(lines, 1)), "B/line")
	if n := s.dropped.Load(); n > 0 {
		b.Errorf("%d are dropped", n)
	}
}

// usual is what most requests look like: of a loop that knows the time.
func usual() *Record {
	r := full()
	r.Attempts = &Attempts{}
	r.Attempts.Add(Attempt{"10.0.0.2:8080", OutcomeOK, 200, 20 * time.Millisecond})
	r.Referer, r.Tunnel = nil, false
	return r
}

func BenchmarkJSON(b *testing.B)     { benchmark(b, JSON, usual()) }
func BenchmarkCombined(b *testing.B) { benchmark(b, Combined, usual()) }

func BenchmarkJSONAsksTheClock(b *testing.B) {
	r := usual()
	r.Time = time.Time{}
	benchmark(b, JSON, r)
}

func BenchmarkJSONOfWhatMustBeEscaped(b *testing.B) {
	r := usual()
	r.UserAgent = bytes.Repeat([]byte("\xff\"\n\u00e4"), 30)
	benchmark(b, JSON, r)
}
