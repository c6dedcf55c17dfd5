package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"sidecar/discovery"
)

// patience is for busy machines; nothing takes so long.
const patience = 20 * time.Second

// A watching is a Source's Watch that runs.
type watching struct {
	t       *testing.T
	source  discovery.Source
	updates chan discovery.Update
	cancel  context.CancelFunc
	ended   chan struct{}
}

func watchIt(t *testing.T, o Options) *watching {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{t: t, source: New(o), updates: make(chan discovery.Update, 1000), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		w.source.Watch(ctx, func(u discovery.Update) { w.updates <- u })
	}()
	t.Cleanup(w.stop)
	return w
}

func (w *watching) stop() {
	w.cancel()
	<-w.ended
}

// next returns the next update.
func (w *watching) next() discovery.Update {
	w.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case u := <-w.updates:
		if u.At.IsZero() {
			w.t.Errorf("no time: %+v", u)
		}
		return u
	case <-timer.C:
		w.t.Fatal("nothing is reported")
	}
	return discovery.Update{}
}

// until reads updates until one is a set with these addresses, or an error with them in it.
func (w *watching) until(want string) {
	w.t.Helper()
	for {
		u := w.next()
		if u.Err != nil && want != "" && strings.Contains(u.Err.Error(), want) || u.Err == nil && addresses(u) == want {
			return
		}
	}
}

func addresses(u discovery.Update) string {
	var out []string
	for _, i := range u.Instances {
		out = append(out, i.Address)
	}
	return strings.Join(out, " ")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Here nothing but events can tell of the changes: the next look is an hour away.
func TestEachWayToChangeAFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "orders.json"), filepath.Join(dir, "orders.json~")
	write(t, path, `["h:1"]`)
	w := watchIt(t, Options{Path: path, Service: "orders", statEvery: time.Hour})
	w.until("h:1")

	write(t, path, `["h:2"]`) // in place, of the same length
	w.until("h:2")

	write(t, other, `["h:3"]`) // atomically
	do(t, os.Rename(other, path))
	w.until("h:3")

	do(t, os.Rename(path, other)) // as editors save
	write(t, path, `["h:4"]`)
	w.until("h:4")

	do(t, os.Remove(path))
	w.until("no such file or directory; create it or correct discovery.file.path")
	write(t, path, `["h:5"]`)
	w.until("h:5")

	do(t, os.Remove(path))
	do(t, os.Symlink(other, path))
	w.until("h:3")

	f, err := os.OpenFile(other, os.O_WRONLY|os.O_TRUNC, 0) // by a link's other end, in the same folder
	do(t, err)
	_, err = f.WriteString(`["h:6",`)
	do(t, err)
	w.until("unexpected end of JSON input")
	_, err = f.WriteString(`"h:7"]`)
	do(t, err)
	do(t, f.Close())
	w.until("h:6 h:7")
}

func TestASwapOfDataAsInKubernetesIsNoticed(t *testing.T) {
	dir := t.TempDir()
	swap := func(version, text string) {
		t.Helper()
		do(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		write(t, filepath.Join(dir, version, "orders.toml"), text)
		do(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		do(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	swap("..1", `instances = ["h:1"]`)
	path := filepath.Join(dir, "orders.toml")
	do(t, os.Symlink("..data/orders.toml", path))
	w := watchIt(t, Options{Path: path, Service: "orders", statEvery: time.Hour})
	w.until("h:1")
	swap("..2", `instances = ["h:2"]`)
	w.until("h:2")
	do(t, os.RemoveAll(filepath.Join(dir, "..1")))
	swap("..3", `instances = []`)
	w.until("")
}

func TestAFolderThatComesLaterOrIsReplacedIsFollowed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etc")
	path := filepath.Join(dir, "orders.json")
	s := New(Options{Path: path, statEvery: 20 * time.Millisecond}).(*source)
	f := folder{path: dir}
	defer f.leave()
	w := watchIt(t, s.Options)
	w.until("no such file or directory")
	for _, text := range []string{"h:1", "h:2", "h:3"} {
		// What is there is moved away whole, with the watch on it.
		if text != "h:1" {
			do(t, os.Rename(dir, dir+text))
		}
		do(t, os.Mkdir(dir, 0o700))
		write(t, path, `["`+text+`"]`)
		w.until(text)
		f.follow()
		if now, err := stateOf(dir); err != nil || f.watcher == nil || f.ino != now.ino {
			t.Fatalf("another folder is watched: %v", err)
		}
	}
}

func TestTheFolderIsWatchedAgainAfterItWasReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etc")
	do(t, os.Mkdir(dir, 0o700))
	f := folder{path: dir}
	defer f.leave()
	f.follow()
	first := f.watcher
	if f.follow(); first == nil || f.watcher != first {
		t.Fatal("it is watched anew without need")
	}
	do(t, os.Remove(dir))
	for f.watcher != nil {
		f.concerns(<-f.events(), filepath.Join(dir, "orders.json"))
	}
	if f.follow(); f.watcher != nil {
		t.Fatal("there is no folder")
	}
	do(t, os.Mkdir(dir, 0o700))
	if f.follow(); f.watcher == nil {
		t.Fatal("it is not watched")
	}
	write(t, filepath.Join(dir, "orders.json"), "[]")
	if e := <-f.events(); !f.concerns(e, filepath.Join(dir, "orders.json")) {
		t.Errorf("event %v", e)
	}
}

func TestAWatchThatFailsIsMadeAnew(t *testing.T) {
	f := folder{path: t.TempDir()}
	defer f.leave()
	f.follow()
	first := f.watcher
	if f.failed(fsnotify.ErrEventOverflow); f.watcher != first || first == nil {
		t.Error("too many events at once are no reason")
	}
	f.failed(syscall.EIO)
	if f.watcher != nil || f.events() != nil || f.errors() != nil {
		t.Error("it is still trusted")
	}
	if f.follow(); f.watcher == nil {
		t.Error("it is not watched")
	}
}

func TestARefreshReadsAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.json")
	write(t, path, `["h:1"]`)
	w := watchIt(t, Options{Path: path, statEvery: time.Hour, Poll: true})
	w.until("h:1")
	write(t, path, `["h:2"]`)
	discovery.Refresh(w.source)
	w.until("h:2")
	discovery.Refresh(w.source)
	w.until("h:2") // changed or not
}

func TestErrorsNameTheFileTheCauseAndTheNextStep(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large.json")
	write(t, large, "")
	do(t, os.Truncate(large, maxFile+1))
	fifo := filepath.Join(dir, "fifo.json")
	do(t, syscall.Mkfifo(fifo, 0o600))
	loop := filepath.Join(dir, "loop.json")
	do(t, os.Symlink(loop, loop))
	write(t, filepath.Join(dir, "empty.toml"), "")
	for name, want := range map[string]string{
		"none.json":         "no such file or directory; create it or correct discovery.file.path",
		"large.json":        "it is larger than 16 MiB",
		"fifo.json":         "it is no regular file",
		"loop.json":         "too many levels of symbolic links; correct discovery.file.path",
		"large.json/x.json": "not a directory; correct discovery.file.path",
		"empty.toml":        "it is empty",
		"":                  "it is no regular file; name one",
	} {
		path := filepath.Join(dir, name)
		w := watchIt(t, Options{Path: path, Service: "orders", statEvery: time.Hour})
		u := w.next()
		if u.Err == nil || !strings.HasPrefix(u.Err.Error(), `file: watch "orders": `+path+": "+want) || u.Instances != nil {
			t.Errorf("%s: %+v, want %q", name, u, want)
		}
		if errors.Is(u.Err, fs.ErrNotExist) != (name == "none.json") {
			t.Errorf("%s: the cause is lost: %v", name, u.Err)
		}
		w.stop()
	}
}

// A bubble has no inotify: what follows is as on a file system without events.

func TestWithoutEventsAChangeIsNoticedWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "orders.json")
		w := watchIt(t, Options{Path: path, Poll: true})
		w.until("no such file")
		for _, want := range []string{"h:1", "h:22", "h:333"} {
			start := time.Now()
			write(t, path, `["`+want+`"]`)
			w.until(want)
			if took := time.Since(start); took > statEvery+settleFor {
				t.Errorf("%s is noticed after %v", want, took)
			}
		}
		do(t, os.Remove(path))
		w.until("no such file")
	})
}

func TestWhatDoesNotChangeIsReportedEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "orders.json")
		write(t, path, `["h:1"]`)
		w := watchIt(t, Options{Path: path, Poll: true})
		last := w.next()
		for range 5 {
			u := w.next()
			if gap := u.At.Sub(last.At); gap != aliveEvery || u.Err != nil || addresses(u) != "h:1" {
				t.Errorf("after %v %+v", gap, u)
			}
			last = u
		}
		// What cannot be used is an error as long as it stands there.
		write(t, path, `["h:1"`)
		for last = w.next(); last.Err == nil; last = w.next() {
		}
		if u := w.next(); u.Err == nil || u.At.Sub(last.At) < aliveEvery {
			t.Errorf("after %v %+v", u.At.Sub(last.At), u)
		}
	})
}

func TestReadingsAreFewHoweverOftenTheyAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "orders.json")
		write(t, path, `["h:1"]`)
		w := watchIt(t, Options{Path: path, Poll: true})
		start := time.Now()
		for time.Since(start) < 10*time.Second {
			discovery.Refresh(w.source)
			time.Sleep(5 * time.Millisecond)
		}
		w.stop()
		if n := len(w.updates); n < 20 || n > 24 {
			t.Errorf("%d readings in 10 s", n)
		}
	})
}

func TestAFileThatChangedAMomentAgoIsReadOnceMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.json")
	write(t, path, `["h:1"]`)
	w := &watch{source: New(Options{Path: path}).(*source)}
	if _, err := w.content(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !w.changed() {
		t.Error("the clock of a file's times is trusted to tell two changes within one step of it apart")
	}
	w.young = false // it is older now
	if w.changed() {
		t.Error("it has not changed")
	}
	do(t, os.Remove(path))
	if !w.changed() {
		t.Error("it is gone")
	}
}

func TestAFileThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	for changes, want := range map[int]string{1: "h:1", readTries - 1: "h:9", readTries: "it changes while it is read, time and again"} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "orders.json")
			write(t, path, `["h:99"]`)
			n := 0
			w := watchIt(t, Options{Path: path, Poll: true, reader: func(path string) ([]byte, state, error) {
				data, read, err := readFile(path)
				if n++; n <= changes {
					other := path + "~"
					if err := errors.Join(os.WriteFile(other, fmt.Appendf(nil, `["h:%d"]`, n), 0o600), os.Rename(other, path)); err != nil {
						t.Error(err)
					}
				}
				return data, read, err
			}})
			u := w.next()
			if got := addresses(u); got != want && (u.Err == nil || !strings.Contains(u.Err.Error(), want)) {
				t.Errorf("after %d changes %+v, want %s", changes, u, want)
			}
			w.until(fmt.Sprintf("h:%d", changes)) // it is noticed when it is over
		})
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	New(Options{Path: "/nonexistent/orders.json"}).Watch(ctx, func(u discovery.Update) { t.Errorf("reports %+v", u) })
}
