package accesslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAFileIsAppendedTo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	for _, want := range []string{"200\n", "200\n200\n"} {
		l := start(t, Options{Path: path, Format: "$status"})
		l.Shard(0).Log(&Record{Status: 200})
		closeIt(t, l)
		if got := read(t, path); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestAFileThatHasBeenMovedAwayIsReplacedByReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l := start(t, Options{Path: path, Format: "$status", Buffer: 1}) // each line at once
	log := func(status int) {
		t.Helper()
		before := l.Counts().Lines
		l.Shard(0).Log(&Record{Status: status})
		for deadline := time.Now().Add(patience); l.Counts().Lines == before; {
			if time.Now().After(deadline) {
				t.Fatal("not written")
			}
		}
	}
	log(200)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	log(201)
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	log(202)
	if first, second := read(t, path+".1"), read(t, path); first != "200\n201\n" || second != "202\n" {
		t.Errorf("%q and %q", first, second)
	}

	// What cannot be opened changes nothing.
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("Reopen returned %v", err)
	}
	log(203)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 3 { // in a row
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
	}
	closeIt(t, l)
	if err := l.Reopen(); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if got := timesOpen(t, path); got != 0 {
		t.Errorf("the file is still open %d times", got)
	}
	if c := l.Counts(); c != (Counts{Lines: 4}) {
		t.Errorf("%+v", c)
	}
}

// timesOpen is how often this process has a file open.
func timesOpen(t *testing.T, path string) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, entry := range list {
		if to, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(to, path) {
			n++
		}
	}
	return n
}

func TestReopenOfWhatIsNoFileDoesNothing(t *testing.T) {
	for _, o := range []Options{{Path: Stdout}, {Path: Stderr}, {Output: &sink{}}} {
		l := start(t, o)
		if err := l.Reopen(); err != nil || l.next.Load() != nil {
			t.Errorf("%s: %v", o.Path, err)
		}
		closeIt(t, l)
	}
}

// A reader of standard output that goes away must not end the process by a signal, which is
// what Go does for the descriptors 1 and 2 themselves.
func TestStandardOutputIsDuplicated(t *testing.T) {
	for path, fd := range map[string]uintptr{Stdout: 1, Stderr: 2} {
		file, err := open(path)
		if err != nil {
			t.Fatal(err)
		}
		own, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		std, err := map[string]*os.File{Stdout: os.Stdout, Stderr: os.Stderr}[path].Stat()
		if err != nil {
			t.Fatal(err)
		}
		if !os.SameFile(own, std) {
			t.Errorf("%s is another file", path)
		}
		if file.Fd() == fd {
			t.Errorf("%s is descriptor %d itself", path, fd)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAPipeThatNobodyEmptiesDoesNotKeepCloseWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Path: path}); !errors.Is(err, syscall.ENXIO) {
		t.Fatalf("without a reader: %v", err)
	}
	reader, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	l := start(t, Options{Path: path, Format: "$user_agent", Buffer: 1 << 20})
	agent := bytes.Repeat([]byte("x"), mostUserAgent)
	for range 1500 { // more than a pipe holds
		l.Shard(0).Log(&Record{UserAgent: agent})
	}
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		held, err := unix.IoctlGetInt(int(reader.Fd()), unix.TIOCINQ) // FIONREAD
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the pipe holds %d bytes, %v", held, err)
		}
		if held > 1<<15 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close returned %v", err)
	}
	closeIt(t, l) // which waits for the goroutine
	if c := l.Counts(); c.Lines == 0 || c.Dropped == 0 || c.Lines+c.Dropped != 1500 || c.WriteErrors == 0 {
		t.Errorf("%+v", c)
	}
}

// A disk takes as many bytes as there is room, and then fails.
type disk struct {
	sink
	room int
}

var errFull = errors.New("no space left on device")

func (d *disk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.sink.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestADiskThatIsFullTearsNoLine(t *testing.T) {
	const text = "line 1\nline 2\nline 3\n"
	for room := range len(text) + 1 {
		d := &disk{room: room}
		o := &output{writer: d, log: zap.NewNop()}
		done, lost := o.write(batch{[]byte(text), 3})
		for range 2 { // still full
			n, gone := o.write(batch{[]byte("line 4\n"), 1})
			done, lost = done+n, lost+gone
		}
		d.room = 2
		n, gone := o.write(batch{})
		done, lost = done+n, lost+gone
		d.room = 1 << 10
		n, gone = o.write(batch{[]byte("line 5\n"), 1})
		done, lost = done+n, lost+gone
		if done+lost != 6 || done != strings.Count(d.String(), "\n") {
			t.Errorf("room for %d: %d written, %d lost: %q", room, done, lost, d.String())
		}
		for got := range strings.Lines(d.String()) {
			if len(got) != len("line 1\n") || !strings.HasPrefix(got, "line ") {
				t.Errorf("room for %d: %q", room, d.String())
			}
		}
		if o.forget() != 0 {
			t.Errorf("room for %d: a rest is left", room)
		}
	}
}

func TestTheRestOfALineGoesToNoOtherFile(t *testing.T) {
	d := &disk{room: 3}
	o := &output{writer: d, log: zap.NewNop()}
	if done, lost := o.write(batch{[]byte("line 1\nline 2\n"), 2}); done != 0 || lost != 1 {
		t.Errorf("%d written, %d lost", done, lost)
	}
	if o.forget() != 1 || o.forget() != 0 {
		t.Error("the rest does not count as one line")
	}
}

func TestWriteErrorsAreCountedAndLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.InfoLevel)
		d := &disk{}
		l := start(t, Options{Output: d, Format: "$status", Buffer: 1, Log: zap.New(core)})
		for range 150 {
			l.Shard(0).Log(&Record{Status: 200})
			time.Sleep(time.Second)
		}
		closeIt(t, l)
		if c := l.Counts(); c != (Counts{Dropped: 150, WriteErrors: 150}) {
			t.Errorf("%+v", c)
		}
		var before []string
		for _, e := range logs.All() {
			before = append(before, fmt.Sprint(e.ContextMap()["errors before, not logged"]))
		}
		if got := strings.Join(before, " "); got != "0 59 59" {
			t.Errorf("logged with %s errors before", got)
		}
	})
}

// A liar is no good io.Writer.
type liar struct{ n int }

func (w liar) Write([]byte) (int, error) { return w.n, nil }

func TestAWriterThatBreaksItsPromises(t *testing.T) {
	for n, want := range map[int]int{-1: 0, 0: 0, 7: 1, 1000: 2} {
		o := &output{writer: liar{n}, log: zap.NewNop()}
		if done, _ := o.write(batch{[]byte("line 1\nline 2\n"), 2}); done != want || (o.errors.Load() == 0) != (want == 2) {
			t.Errorf("%d: %d written, %d errors", n, done, o.errors.Load())
		}
	}
}
