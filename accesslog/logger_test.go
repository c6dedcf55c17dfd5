package accesslog

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A gate is an output that takes nothing until it is opened.
type gate struct {
	sink
	entered chan struct{} // a value for each write that has begun
	open    chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 1<<16), open: make(chan struct{})} }

func (g *gate) Write(p []byte) (int, error) {
	g.entered <- struct{}{}
	<-g.open
	return g.sink.Write(p)
}

func TestWhatCannotBeWrittenInTimeIsDroppedAndCounted(t *testing.T) {
	out := newGate()
	// Chunks of 16 bytes hold two lines; one is being written and three wait.
	l := start(t, Options{Output: out, Format: "line $status", Buffer: 64})
	s := l.Shard(0)
	s.Log(&Record{Status: 100})
	s.Log(&Record{Status: 101})
	<-out.entered
	for i := range 20 {
		s.Log(&Record{Status: 200 + i})
	}
	// Three chunks of two lines wait, and two more lines fill the one that cannot be handed over.
	if c := l.Counts(); c != (Counts{Dropped: 12}) {
		t.Errorf("while nothing is written: %+v", c)
	}
	close(out.open)
	closeIt(t, l)
	want := "line 100\nline 101\n"
	for i := range 8 {
		want += fmt.Sprintf("line %d\n", 200+i)
	}
	if got := out.String(); got != want {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
	if c := l.Counts(); c != (Counts{Lines: 10, Dropped: 12}) {
		t.Errorf("in the end: %+v", c)
	}
}

func TestAfterDroppingLinesAreWrittenAgain(t *testing.T) {
	out := newGate()
	// Each line is a chunk: one is being written, three wait, and one cannot be handed over.
	l := start(t, Options{Output: out, Format: "line $status", Buffer: 4})
	s := l.Shard(0)
	s.Log(&Record{Status: 100})
	<-out.entered
	for range 99 {
		s.Log(&Record{Status: 100})
	}
	if c := l.Counts(); c != (Counts{Dropped: 95}) {
		t.Errorf("while nothing is written: %+v", c)
	}
	close(out.open)
	for range 3 {
		<-out.entered
	}
	for deadline := time.Now().Add(patience); l.Counts().Lines < 4 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	s.Log(&Record{Status: 200})
	closeIt(t, l)
	if want := strings.Repeat("line 100\n", 5) + "line 200\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
	if c := l.Counts(); c != (Counts{Lines: 6, Dropped: 95}) {
		t.Errorf("in the end: %+v", c)
	}
}

func TestLinesOfALoopKeepTheirOrder(t *testing.T) {
	const loops, each = 4, 5000
	var out sink
	l := start(t, Options{Output: &out, Format: "$service $bytes_in", Loops: loops, Buffer: 1 << 20})
	var producers sync.WaitGroup
	for i := range loops {
		producers.Go(func() {
			s, name := l.Shard(i), fmt.Sprint("loop", i)
			for n := range each {
				s.Log(&Record{Service: name, BytesIn: int64(n)})
			}
		})
	}
	producers.Wait()
	closeIt(t, l)
	next := map[string]int{}
	for text := range strings.Lines(out.String()) {
		var name string
		var n int
		if _, err := fmt.Sscanf(text, "%s %d\n", &name, &n); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if n != next[name] {
			t.Fatalf("%s: %d comes where %d should", name, n, next[name])
		}
		next[name]++
	}
	if c := l.Counts(); c.Lines != loops*each || c.Dropped != 0 {
		t.Errorf("%+v", c)
	}
}

// A loop runs what is posted to it, and logs meanwhile.
type loop struct {
	posts chan func()
	ended chan struct{}
}

func TestFlushesDoNotDisturbWhoLogs(t *testing.T) {
	const count, each = 3, 20000
	loops := make([]*loop, count)
	for i := range loops {
		loops[i] = &loop{make(chan func(), 1), make(chan struct{})}
	}
	var out sink
	l := start(t, Options{Output: &out, Format: "$service", Loops: count, Flush: 50 * time.Microsecond, Post: func(i int, fn func()) bool {
		select {
		case loops[i].posts <- fn:
			return true
		case <-loops[i].ended:
			return false
		}
	}})
	var producers sync.WaitGroup
	for i := range loops {
		producers.Go(func() {
			defer close(loops[i].ended)
			for n := 0; n < each; {
				select {
				case fn := <-loops[i].posts:
					fn()
				default:
					l.Shard(i).Log(&Record{Service: "orders"})
					n++
				}
			}
		})
	}
	producers.Wait()
	closeIt(t, l)
	c := l.Counts()
	if c.Lines+c.Dropped != count*each || c.Lines != uint64(strings.Count(out.String(), "orders\n")) {
		t.Errorf("%+v, %d lines", c, strings.Count(out.String(), "\n"))
	}
}

func TestALineIsNotKeptForLongerThanTheFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		posts := make(chan func(), 9)
		l := start(t, Options{Output: &out, Format: "$status", Loops: 2, Flush: time.Second, Post: func(i int, fn func()) bool {
			if i != 1 {
				t.Error("a loop that has nothing is woken")
			}
			posts <- fn
			return true
		}})
		time.Sleep(10*time.Second + 500*time.Millisecond)
		for range 2 {
			l.Shard(1).Log(&Record{Status: 200})
			begin := time.Now()
			fn := <-posts
			if waited := time.Since(begin); waited > time.Second {
				t.Errorf("after %v", waited)
			}
			out.text.Reset()
			fn()
			synctest.Wait()
			if got := out.String(); got != "200\n" {
				t.Errorf("%q after the flush", got)
			}
			time.Sleep(10 * time.Second)
			if len(posts) > 0 {
				t.Error("another post for the same line")
			}
		}
		closeIt(t, l)
	})
}

func TestALoopThatHangsIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		posts := make(chan func(), 99)
		l := start(t, Options{Output: &out, Format: "$status", Post: func(_ int, fn func()) bool {
			posts <- fn
			return true
		}})
		l.Shard(0).Log(&Record{Status: 200})
		time.Sleep(time.Minute)
		if len(posts) != 1 {
			t.Fatalf("%d posts", len(posts))
		}
		(<-posts)()
		l.Shard(0).Log(&Record{Status: 201})
		time.Sleep(time.Minute)
		if len(posts) != 1 || out.String() != "200\n" {
			t.Errorf("%d posts, %q", len(posts), out.String())
		}
		closeIt(t, l)
		if out.String() != "200\n201\n" {
			t.Errorf("Close has left %q", out.String())
		}
	})
}

func TestALoopThatHasEndedIsNotAskedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		l := start(t, Options{Output: &out, Format: "$status", Post: func(int, func()) bool { return false }})
		l.Shard(0).Log(&Record{Status: 200})
		time.Sleep(time.Minute)
		closeIt(t, l)
		if out.String() != "200\n" {
			t.Errorf("%q", out.String())
		}
	})
}

func TestCloseDoesNotWaitForEverForAnOutputThatTakesNothing(t *testing.T) {
	out := newGate()
	l := start(t, Options{Output: out, Format: "line $status", Buffer: 64})
	for i := range 5 {
		l.Shard(0).Log(&Record{Status: 200 + i})
	}
	<-out.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close returned %v", err)
	}
	close(out.open)
	closeIt(t, l) // the goroutine has ended
	if c := l.Counts(); c != (Counts{Lines: 2, Dropped: 3}) || out.String() != "line 200\nline 201\n" {
		t.Errorf("%+v, %q", c, out.String())
	}
}

func TestALoggerThatIsOff(t *testing.T) {
	var l *Logger
	l.Shard(3).Log(full())
	if err := errors.Join(l.Reopen(), l.Close(t.Context())); err != nil {
		t.Error(err)
	}
	if c := l.Counts(); c != (Counts{}) {
		t.Errorf("%+v", c)
	}
}

func TestWhatNewDoesNotTake(t *testing.T) {
	for want, o := range map[string]Options{
		"access log: neither a path nor an output":                     {},
		"access log format: unknown variable $x":                       {Output: &sink{}, Format: "$x"},
		"access log: open /none/access.log: no such file or directory": {Path: "/none/access.log"},
	} {
		if l, err := New(o); err == nil || err.Error() != want || l != nil {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
	if _, err := New(Options{Output: &sink{}, Format: "$x"}); !errors.Is(err, ErrFormat) {
		t.Errorf("%v", err)
	}
}
