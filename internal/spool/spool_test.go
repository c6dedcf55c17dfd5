package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A pipe is an output whose reader may stop.
type pipe struct {
	mu    sync.Mutex
	text  bytes.Buffer
	gate  chan struct{} // nil: it flows; else each write waits until it is closed
	fail  error
	calls int
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	if gate != nil {
		<-gate
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.fail != nil {
		return 0, p.fail
	}
	return p.text.Write(b)
}

func (p *pipe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func (p *pipe) set(fail error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

func missing(n uint64) []byte { return fmt.Appendf(nil, "[%d missing]\n", n) }

func write(t *testing.T, w *Writer, text string) {
	t.Helper()
	if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
}

func TestEverythingArrivesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipe
		w := New(&p, Options{Missing: missing})
		var want strings.Builder
		line := make([]byte, 0, 20)
		for i := range 1000 {
			line = fmt.Appendf(line[:0], "line %d\n", i) // the memory is the caller's again
			want.Write(line)
			write(t, w, string(line))
			if i%100 == 0 {
				if err := w.Sync(); err != nil || p.String() != want.String() {
					t.Fatalf("after a sync, %v: %q", err, p.String())
				}
			}
		}
		if err := w.Close(); err != nil || p.String() != want.String() || w.Lost() != 0 {
			t.Errorf("%v, %d lost, %q", err, w.Lost(), p.String())
		}
		if err := errors.Join(w.Close(), w.Sync()); err != nil {
			t.Errorf("again: %v", err)
		}
	})
}

func TestNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe{gate: make(chan struct{})}
		w := New(&p, Options{Buffer: 20, Missing: missing})
		write(t, w, "first\n")
		synctest.Wait() // it hangs in the output
		begin := time.Now()
		for i := range 10 {
			write(t, w, fmt.Sprintf("line %d\n", i))
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("writing took %v", took)
		}
		if w.Lost() != 8 {
			t.Errorf("%d are lost, of ten there is room for two", w.Lost())
		}
		write(t, w, "x\n") // for which there is room, but not before what is missing
		if err := w.Sync(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != DefaultPatience {
			t.Errorf("sync: %v after %v", err, time.Since(begin))
		}
		close(p.gate)
		synctest.Wait()
		if got, want := p.String(), "first\nline 0\nline 1\n[9 missing]\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		write(t, w, "later\n")
		if err := w.Close(); err != nil || !strings.HasSuffix(p.String(), "[9 missing]\nlater\n") || w.Lost() != 9 {
			t.Errorf("%v, %d lost, %q", err, w.Lost(), p.String())
		}
	})
}

func TestWhatIsTooLargeIsNotTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipe
		w := New(&p, Options{Buffer: 20, Missing: missing})
		write(t, w, strings.Repeat("x", 21))
		synctest.Wait()
		write(t, w, "small\n")
		if err := w.Close(); err != nil || p.String() != "[1 missing]\nsmall\n" || w.Lost() != 1 {
			t.Errorf("%v, %d lost, %q", err, w.Lost(), p.String())
		}
	})
}

func TestAnOutputThatHangsHoldsUpTheEndForABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipe{gate: make(chan struct{})}
		w := New(&p, Options{Patience: 3 * time.Second})
		write(t, w, "first\n")
		begin := time.Now()
		if err := w.Close(); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		write(t, w, "too late\n")
		close(p.gate)
		if err := w.Close(); err != nil || p.String() != "first\n" || w.Lost() != 1 {
			t.Errorf("%v, %d lost, %q", err, w.Lost(), p.String())
		}
	})
}

func TestAnOutputThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipe
		w := New(&p, Options{Missing: missing})
		p.set(syscall.EPIPE)
		write(t, w, "nobody is there\n")
		if err := w.Sync(); err != nil || w.Lost() != 1 {
			t.Errorf("%v, %d lost", err, w.Lost())
		}
		p.set(nil)
		write(t, w, "somebody is\n")
		if err := w.Close(); err != nil || p.String() != "somebody is\n" || w.Lost() != 1 {
			t.Errorf("%v, %d lost, %q", err, w.Lost(), p.String())
		}
	})
}

func TestAnOutputThatDoesNotWaitIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pipe
		w := New(&p, Options{})
		p.set(syscall.EAGAIN)
		write(t, w, "one\n")
		time.Sleep(10 * retryEvery)
		synctest.Wait()
		p.mu.Lock()
		if p.calls < 9 || p.calls > 11 {
			t.Errorf("asked %d times", p.calls)
		}
		p.mu.Unlock()
		p.set(nil)
		time.Sleep(retryEvery)
		synctest.Wait()
		if p.String() != "one\n" || w.Lost() != 0 {
			t.Errorf("%d lost, %q", w.Lost(), p.String())
		}
		p.set(syscall.EAGAIN)
		write(t, w, "two\n")
		if err := w.Close(); err != nil || p.String() != "one\n" || w.Lost() != 1 {
			t.Errorf("%v, %d lost, %q", err, w.Lost(), p.String())
		}
	})
}

// A real pipe that nobody reads has room for 64 KiB, and none for the writer's second batch.
func TestARealPipe(t *testing.T) {
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w := New(out, Options{Buffer: 256 << 10, Patience: time.Minute, Missing: missing})
	const lines = 20_000
	for i := range lines {
		write(t, w, fmt.Sprintf("this is line %d of those that nobody reads\n", i))
	}
	lost := w.Lost()
	if lost == 0 {
		t.Fatal("nothing is lost: the pipe was read")
	}
	text := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		r.Close()
		text <- string(all)
	}()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	all := <-text
	if n := uint64(strings.Count(all, "this is line")); n+lost != lines {
		t.Errorf("%d lines came and %d are lost, of %d", n, lost, lines)
	}
	// The writer may have found the pipe full more than once.
	told := uint64(0)
	for _, m := range regexp.MustCompile(`\[(\d+) missing\]\n`).FindAllStringSubmatch(all, -1) {
		n, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		told += n
	}
	if told != lost {
		t.Errorf("%d lines are said to be missing, want %d; it ends with %q", told, lost, all[max(0, len(all)-100):])
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	w := New(io.Discard, Options{})
	line := bytes.Repeat([]byte("x"), 200)
	n := testing.AllocsPerRun(10_000, func() { _, _ = w.Write(line) })
	if err := w.Close(); err != nil || n > 0 {
		t.Errorf("%v allocations, %v", n, err)
	}
}
