package lastgood

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A watchedDisk is the real one, in a test that looks on, or breaks it.
type watchedDisk struct {
	realDisk
	renames []rename
	err     func() error  // of create; nil: none
	hangs   chan struct{} // while it is open nothing is created; nil: nothing hangs
	asked   atomic.Int64  // calls of create
}

type rename struct {
	name string
	at   time.Time
}

func (d *watchedDisk) create(dir string) (file, error) {
	d.asked.Add(1)
	if d.hangs != nil {
		<-d.hangs
	}
	if d.err != nil {
		if err := d.err(); err != nil {
			return nil, &os.PathError{Op: "open", Path: filepath.Join(dir, "x.tmp"), Err: err}
		}
	}
	return d.realDisk.create(dir)
}

func (d *watchedDisk) rename(from, to string) error {
	d.renames = append(d.renames, rename{filepath.Base(to), time.Now()})
	return d.realDisk.rename(from, to)
}

// run starts Run, and returns what ends it.
func (s *Store) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// watched is a store of which somebody watches a service.
func watched(t *testing.T, o Options, services ...string) *Store {
	s := open(t, t.TempDir(), o)
	for _, service := range services {
		s.begin(service, "consul", Set{})
	}
	return s
}

func TestAServiceThatChangesAllTheTimeIsWrittenOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &watchedDisk{}
		s := watched(t, Options{disk: d}, "orders")
		stop := s.run(t)
		start := time.Now()
		for i := range 500 {
			s.put("orders", "consul", one(fmt.Sprintf("10.0.0.1:%d", i+1)))
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			if i == 0 && len(d.renames) != 1 {
				t.Errorf("the first change waits")
			}
		}
		stop()
		for i := 1; i < len(d.renames)-1; i++ {
			if gap := d.renames[i].at.Sub(d.renames[i-1].at); gap != batchEvery {
				t.Errorf("write %d comes %v after the last", i, gap)
			}
		}
		if n := len(d.renames); n < 5 || n > 6 || d.renames[n-1].at.Sub(start) > 5*time.Second {
			t.Errorf("%d writes", n)
		}
		if set, err := s.Load("orders", "consul"); err != nil || set.Instances[0].Address != "10.0.0.1:500" {
			t.Errorf("the newest does not win: %+v, %v", set, err)
		}
	})
}

func TestASetThatIsOnlyConfirmedIsWrittenEveryTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &watchedDisk{}
		s := open(t, t.TempDir(), Options{disk: d})
		first := one("10.0.0.1:80")
		// What is kept is as old as half a period: it counts.
		s.begin("orders", "consul", Set{Instances: first.Instances, Saved: time.Now().Add(-confirmEvery / 2), Confirmed: time.Now()})
		s.run(t)
		start := time.Now()
		for range 60 {
			s.put("orders", "consul", one("10.0.0.1:80"))
			time.Sleep(30 * time.Second)
		}
		synctest.Wait()
		want := []time.Duration{5 * time.Minute, 15 * time.Minute, 25 * time.Minute}
		if len(d.renames) != len(want) {
			t.Fatalf("%d writes: %v", len(d.renames), d.renames)
		}
		for i, r := range d.renames {
			if r.at.Sub(start) != want[i] {
				t.Errorf("write %d after %v", i, r.at.Sub(start))
			}
		}
		if set, err := s.Load("orders", "consul"); err != nil || !set.Confirmed.Equal(start.Add(25*time.Minute)) {
			t.Errorf("%+v, %v", set, err)
		}
		// The same answer to another question is another set.
		s.put("orders", "consul tags=v2", one("10.0.0.1:80"))
		synctest.Wait()
		if len(d.renames) != len(want)+1 {
			t.Errorf("%d writes after the settings changed", len(d.renames))
		}
	})
}

func TestAThousandServicesAreWrittenInBatchesWhoWaitsLongestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		d := &watchedDisk{}
		services := make([]string, n)
		for i := range services {
			services[i] = fmt.Sprintf("s%04d", i)
			if i < 100 {
				services[i] = fmt.Sprintf("z%04d", i) // by its name it would be the last
			}
		}
		s := watched(t, Options{disk: d}, services...)
		for i, service := range services {
			if i == 100 {
				time.Sleep(time.Millisecond)
			}
			s.put(service, "consul", one("10.0.0.1:80"))
		}
		stop := s.run(t)
		start := time.Now()
		// While they wait their turn some change again, and lose nothing by it.
		time.Sleep(500 * time.Millisecond)
		for _, service := range services[200:300] {
			s.put(service, "consul", one("10.0.0.2:80"))
		}
		time.Sleep(4500*time.Millisecond - 1)
		synctest.Wait()
		perSecond := map[int64]int{}
		for i, r := range d.renames {
			perSecond[int64(r.at.Sub(start)/time.Second)]++
			if r.name != services[i]+".json" {
				t.Fatalf("write %d is of %s", i, r.name)
			}
		}
		if len(d.renames) != 5*batchMost {
			t.Errorf("%d writes in 5 s", len(d.renames))
		}
		for second, count := range perSecond {
			if count > batchMost {
				t.Errorf("%d writes in second %d", count, second)
			}
		}
		if st := s.Status(); st.Waiting != n-5*batchMost || st.Files != 5*batchMost {
			t.Errorf("status %+v", st)
		}
		stop()
		if st := s.Status(); st.Waiting != 0 || st.Files != n || time.Since(start) > 5*time.Second {
			t.Errorf("the end: after %v %+v", time.Since(start), st)
		}
	})
}

func TestAFullDiskIsToldOncePerCauseAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		var broken atomic.Pointer[error]
		breakIt := func(err error) { broken.Store(&err) }
		d := &watchedDisk{err: func() error { return *broken.Load() }}
		services := []string{"a", "b", "c"}
		s := watched(t, Options{disk: d, Log: zap.New(core)}, services...)
		stop := s.run(t)
		told := func(want ...string) {
			t.Helper()
			synctest.Wait()
			all := logs.TakeAll()
			if len(all) != len(want) {
				t.Fatalf("log %+v, want %q", all, want)
			}
			for i, e := range all {
				if text := fmt.Sprint(e.Message, e.ContextMap()["error"]); !strings.Contains(text, want[i]) {
					t.Errorf("log %q, want %q", text, want[i])
				}
			}
		}
		breakIt(syscall.ENOSPC)
		for _, service := range services {
			s.put(service, "consul", one("10.0.0.1:80"))
		}
		time.Sleep(time.Hour)
		told("a.json: no space left on device; make room on its file system")
		// 2 s, 4 s, … 1 min, half of it left to chance: some 90 attempts an hour, each.
		synctest.Wait()
		if n := d.asked.Load(); n < 3*55 || n > 3*130 {
			t.Errorf("%d attempts", n)
		}
		if st := s.Status(); st.Waiting != 3 || st.Failing != 3 || time.Since(st.LastErrorAt) > time.Minute {
			t.Errorf("status %+v", st)
		}
		breakIt(syscall.EROFS)
		s.put("a", "consul", one("10.0.0.2:80"))
		time.Sleep(5 * time.Minute)
		told("read-only file system; mount its file system writable")
		breakIt(nil)
		time.Sleep(2 * time.Minute)
		told("are kept on disk again")
		if st := s.Status(); st.Waiting != 0 || st.Failing != 0 || st.Files != 3 || !strings.Contains(st.LastError, "read-only") {
			t.Errorf("status %+v", st)
		}
		if set, err := s.Load("a", "consul"); err != nil || set.Instances[0].Address != "10.0.0.2:80" {
			t.Errorf("%+v, %v", set, err)
		}
		breakIt(syscall.ENOSPC)
		s.put("b", "consul", one("10.0.0.3:80"))
		synctest.Wait()
		told("no space left on device")
		// Nobody wants it any more: it is given up with the next attempt.
		for _, service := range services {
			s.end(service)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if st := s.Status(); st.Waiting != 0 || st.Failing != 0 || len(s.services) != 0 {
			t.Errorf("status %+v, %d services", st, len(s.services))
		}
		stop()
	})
}

func TestAtTheEndWhatHasFailedIsTriedOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts atomic.Int64
		d := &watchedDisk{err: func() error {
			if attempts.Add(1) == 1 {
				return syscall.ENOSPC
			}
			return nil
		}}
		s := watched(t, Options{disk: d}, "orders")
		stop := s.run(t)
		s.put("orders", "consul", one("10.0.0.1:80"))
		time.Sleep(time.Millisecond)
		stop()
		if st := s.Status(); st.Files != 1 || st.Waiting != 0 || st.Failing != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestADiskThatHangsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &watchedDisk{hangs: make(chan struct{})}
		s := open(t, t.TempDir(), Options{disk: d})
		s.run(t)
		inner := newScript()
		w := watchIt(t, s.Source("orders", "consul", Set{}, inner))
		for i := range 100 {
			u := one(fmt.Sprintf("10.0.0.1:%d", i+1))
			inner.updates <- u
			w.want(heard{u, time.Duration(i) * time.Second})
			time.Sleep(time.Second)
		}
		if st := s.Status(); st.Waiting != 1 || d.asked.Load() != 1 {
			t.Errorf("status %+v after %d attempts", st, d.asked.Load())
		}
		close(d.hangs)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if set, err := s.Load("orders", "consul"); err != nil || set.Instances[0].Address != "10.0.0.1:100" {
			t.Errorf("%+v, %v", set, err)
		}
		w.stop()
	})
}

func TestFilesOfServicesThatNobodyWatchesGoAfterAMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		data := encoded(t, "x", "consul", orders())
		old := time.Now().Add(-tooOld)
		for name, written := range map[string]time.Time{"watched.json": old, "gone.json": old, "young.json": old.Add(48 * time.Hour), "foreign.json": old, "notes.txt": old} {
			path, content := filepath.Join(dir, name), data
			if name == "foreign.json" {
				content = []byte(`{"version":7,"name":"somebody else's"}`)
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, written, written); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, dir, Options{})
		s.begin("watched", "consul", Set{})
		s.run(t)
		left := func(want string) {
			t.Helper()
			synctest.Wait()
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			for i := range files {
				files[i] = filepath.Base(files[i])
			}
			if got := strings.Join(files, " "); err != nil || got != want {
				t.Errorf("left are %s, %v", got, err)
			}
		}
		time.Sleep(sweepAfter - 1)
		left("foreign.json gone.json notes.txt watched.json young.json")
		time.Sleep(time.Nanosecond)
		left("foreign.json notes.txt watched.json young.json")
		time.Sleep(48 * time.Hour)
		left("foreign.json notes.txt watched.json")
		if st := s.Status(); st.Files != 2 {
			t.Errorf("status %+v", st)
		}
	})
}
