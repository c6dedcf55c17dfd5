package lastgood

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecar/discovery"
)

func TestFileNamesStayInTheFolderAndApart(t *testing.T) {
	for service, want := range map[string]string{
		"orders":        "orders.json",
		"Orders-2_x.y":  "Orders-2_x.y.json",
		"":              "%.json",
		".":             "%2E.json",
		"..":            "%2E..json",
		"../etc/passwd": "%2E.%2Fetc%2Fpasswd.json",
		"a/b":           "a%2Fb.json",
		"a%2Fb":         "a%252Fb.json",
		"é\x00\n":       "%C3%A9%00%0A.json",
	} {
		if got := fileName(service); got != want {
			t.Errorf("%q: %q, want %q", service, got, want)
		}
	}
	long := strings.Repeat("x", 300)
	names := map[string]bool{}
	for _, service := range []string{long, long + "y", long[:240], long[:241], strings.Repeat("/", 100)} {
		name := fileName(service)
		if len(name)+len(temporaryPrefix) > 255 || names[name] || !isFileName(name) {
			t.Errorf("%q", name)
		}
		names[name] = true
	}
	for _, name := range []string{"orders", ".json", ".orders.json", "a b.json", "orders.json.bak"} {
		if isFileName(name) {
			t.Errorf("%q is taken for a kept file", name)
		}
	}
}

var errCrash = errors.New("the machine has crashed")

// A memoryDisk is a disk whose machine crashes. What was written is on the disk for sure after
// Sync, what was renamed after syncDir; before, a crash may leave it so or not.
type memoryDisk struct {
	now     map[string]*inode // as processes see it
	durable map[string]*inode // as the folder is on the disk
	left    int               // steps until the crash
	made    int
}

type inode struct {
	name         string
	data, synced []byte
	disk         *memoryDisk
}

func (d *memoryDisk) step() error {
	if d.left--; d.left < 0 {
		return errCrash
	}
	return nil
}

func (d *memoryDisk) create(dir string) (file, error) {
	d.made++
	f := &inode{name: fmt.Sprintf("%s/%s%d%s", dir, temporaryPrefix, d.made, temporarySuffix), disk: d}
	if err := d.step(); err != nil {
		return nil, err
	}
	d.now[f.name] = f
	return f, nil
}

func (d *memoryDisk) rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.now[to] = d.now[from]
	delete(d.now, from)
	return nil
}

func (d *memoryDisk) remove(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	delete(d.now, path)
	return nil
}

func (d *memoryDisk) syncDir(string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.durable = maps.Clone(d.now)
	return nil
}

func (f *inode) Name() string { return f.name }
func (f *inode) Close() error { return f.disk.step() }

func (f *inode) Write(p []byte) (int, error) {
	if err := f.disk.step(); err != nil {
		f.data = append(f.data, p[:len(p)/2]...)
		return len(p) / 2, err
	}
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *inode) Sync() error {
	if err := f.disk.step(); err != nil {
		return err
	}
	f.synced = f.data
	return nil
}

func TestACrashAtAnyStepLeavesTheOldSetOrTheNewOne(t *testing.T) {
	services := []string{"a", "b", "c"}
	older, newer := orders(), orders()
	newer.Instances = newer.Instances[:2]
	newer.Confirmed = saved
	sawOld, sawNew := 0, 0
	for steps := 0; ; steps++ {
		dir := t.TempDir()
		d := &memoryDisk{now: map[string]*inode{}, left: steps}
		s := open(t, dir, Options{disk: d})
		for _, service := range services {
			path := filepath.Join(dir, fileName(service))
			data := encoded(t, service, "consul", older)
			d.now[path] = &inode{name: path, data: data, synced: data, disk: d}
			s.begin(service, "consul", older)
			s.put(service, "consul", discovery.Update{Instances: newer.Instances, At: newer.Confirmed})
		}
		d.durable = maps.Clone(d.now)
		s.write(s.takeAll())
		for _, folder := range []map[string]*inode{d.durable, d.now} {
			for what, content := range map[string]func(*inode) []byte{
				"what was flushed": func(f *inode) []byte { return f.synced },
				"half of the rest": func(f *inode) []byte { return f.data[:max(len(f.synced), len(f.data)/2)] },
				"everything":       func(f *inode) []byte { return f.data },
			} {
				after := t.TempDir()
				for path, f := range folder {
					if err := os.WriteFile(filepath.Join(after, filepath.Base(path)), content(f), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				s := open(t, after, Options{})
				for _, service := range services {
					set, err := s.Load(service, "consul")
					switch {
					case err == nil && reflect.DeepEqual(set.Instances, older.Instances) && set.Confirmed.Equal(older.Confirmed):
						sawOld++
					case err == nil && reflect.DeepEqual(set.Instances, newer.Instances) && set.Confirmed.Equal(newer.Confirmed):
						sawNew++
					default:
						t.Errorf("crash after %d steps, on disk is %s: %s is %+v, %v", steps, what, service, set, err)
					}
				}
				files, err := os.ReadDir(after)
				if err != nil || len(files) != len(services) {
					t.Errorf("crash after %d steps: %d files are left, %v", steps, len(files), err)
				}
			}
		}
		if d.left >= 0 {
			for _, service := range services {
				set, _, err := decode(d.durable[filepath.Join(dir, fileName(service))].synced, service)
				if err != nil || !set.Confirmed.Equal(newer.Confirmed) {
					t.Errorf("all is done, and a crash after that leaves %+v, %v", set, err)
				}
			}
			if st := s.Status(); st.Failing != 0 || st.Waiting != 0 || steps < 5*len(services) {
				t.Errorf("after %d steps %+v", steps, st)
			}
			break
		}
		if st := s.Status(); st.Failing == 0 || !strings.Contains(st.LastError, errCrash.Error()) {
			t.Errorf("crash after %d steps: %+v", steps, st)
		}
	}
	if sawOld == 0 || sawNew == 0 {
		t.Errorf("the old set %d times, the new one %d times", sawOld, sawNew)
	}
}

// A clumsyDisk fails at one step.
type clumsyDisk struct {
	realDisk
	write, sync, dir error
}

type clumsyFile struct {
	file
	disk *clumsyDisk
}

func (d *clumsyDisk) create(dir string) (file, error) {
	f, err := d.realDisk.create(dir)
	return clumsyFile{f, d}, err
}

func (d *clumsyDisk) syncDir(string) error { return d.dir }
func (f clumsyFile) Sync() error           { return f.disk.sync }

func (f clumsyFile) Write(p []byte) (int, error) {
	n, err := f.file.Write(p)
	return n, cmp.Or(f.disk.write, err)
}

func TestAWriteThatFailsLeavesNothingBehind(t *testing.T) {
	for name, d := range map[string]*clumsyDisk{
		"write":  {write: syscall.ENOSPC},
		"flush":  {sync: syscall.EIO},
		"folder": {dir: syscall.EIO},
	} {
		s := open(t, t.TempDir(), Options{disk: d})
		s.begin("orders", "consul", Set{})
		s.put("orders", "consul", discovery.Update{Instances: orders().Instances})
		s.write(s.takeAll())
		if st := s.Status(); st.Failing != 1 || st.Waiting != 1 || !st.LastWrite.IsZero() || st.LastError == "" {
			t.Errorf("%s: status %+v", name, st)
		}
		left, err := filepath.Glob(filepath.Join(s.dir, ".*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left are %v, %v", name, left, err)
		}
	}
}

func TestOneFileThatCannotBeWrittenDoesNotKeepTheOthers(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	// A folder in its place, which no rename replaces.
	if err := os.MkdirAll(filepath.Join(s.dir, "b.json", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"a", "b", "c"} {
		s.begin(service, "consul", Set{})
		s.put(service, "consul", discovery.Update{Instances: orders().Instances})
	}
	s.write(s.takeAll())
	if st := s.Status(); st.Files != 2 || st.Failing != 1 || st.Waiting != 1 || !strings.Contains(st.LastError, "b.json: file exists") {
		t.Errorf("status %+v", st)
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestASetSavedInTheFutureIsWrittenAgain(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	set := orders()
	set.Saved = time.Now().Add(time.Hour) // the clock was set back since
	s.begin("orders", "consul", set)
	s.put("orders", "consul", discovery.Update{Instances: set.Instances})
	if st := s.Status(); st.Waiting != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestOpenSweepsUpAndSaysWhatIsWrong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "sets")
	open(t, dir, Options{})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	for _, name := range []string{".lastgood-123.tmp", "orders.json", "README", ".lastgood-x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("12345"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	st := open(t, dir, Options{}).Status()
	if want := (Status{Dir: dir, Files: 1, Bytes: 5}); st != want {
		t.Errorf("status %+v", st)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("left are %v, %v", files, err)
	}

	for bad, want := range map[string]string{
		"":                                   "no folder is named; set runtime.state_dir",
		filepath.Join(dir, "README"):         "not a directory; make it a folder of the sidecar's user",
		filepath.Join(dir, "README", "sets"): "not a directory; make it",
	} {
		if _, err := Open(bad, Options{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Base(bad)) && bad != "" {
			t.Errorf("Open(%q): %v, want %q", bad, err, want)
		}
	}
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	set := orders()
	s.begin("a/b", "consul", Set{})
	s.put("a/b", "consul", discovery.Update{Instances: set.Instances, At: set.Confirmed, Index: 42})
	before := time.Now()
	s.write(s.takeAll())
	got, err := s.Load("a/b", "consul")
	if err != nil || got.Saved.Before(before) || got.Saved.After(time.Now()) {
		t.Errorf("%+v, %v", got, err)
	}
	if got.Saved = saved; !reflect.DeepEqual(got, set) {
		t.Errorf("%+v", got)
	}
	info, err := os.Stat(filepath.Join(s.dir, "a%2Fb.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if st := s.Status(); st.Files != 1 || st.Bytes != info.Size() || st.Waiting != 0 || st.LastWrite.Before(before) {
		t.Errorf("status %+v", st)
	}
}
