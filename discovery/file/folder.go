package file

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// A state tells one content of a file from the next without reading it: whoever replaces the
// file changes dev and ino, and whoever writes into it ctime. The zero value is that of no file.
type state struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func stateOf(path string) (state, error) {
	info, err := os.Stat(path)
	if err != nil {
		return state{}, err
	}
	return newState(info), nil
}

func newState(info os.FileInfo) state {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return state{size: info.Size(), mtime: syscall.NsecToTimespec(info.ModTime().UnixNano())}
	}
	return state{dev: st.Dev, ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&os.ModeSymlink != 0
}

// A folder tells of what happens to the names in it. It belongs to one goroutine.
type folder struct {
	path    string
	off     bool              // nothing is told
	watcher *fsnotify.Watcher // nil: nothing is told
	dev     uint64            // of the folder that is watched
	ino     uint64
}

// follow watches the folder that is there now, which may not be the one of a moment ago. When
// that cannot be it is tried again with the next call.
func (f *folder) follow() {
	if f.off {
		return
	}
	now, err := stateOf(f.path)
	if err == nil && f.watcher != nil && f.dev == now.dev && f.ino == now.ino {
		return
	}
	f.leave()
	if err != nil {
		return
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return
	}
	if watcher.Add(f.path) != nil {
		_ = watcher.Close()
		return
	}
	f.watcher, f.dev, f.ino = watcher, now.dev, now.ino
}

// leave ends the watching.
func (f *folder) leave() {
	if f.watcher != nil {
		_ = f.watcher.Close() // it has no error that anybody could mend
		f.watcher = nil
	}
}

func (f *folder) events() <-chan fsnotify.Event {
	if f.watcher == nil {
		return nil
	}
	return f.watcher.Events
}

func (f *folder) errors() <-chan error {
	if f.watcher == nil {
		return nil
	}
	return f.watcher.Errors
}

// failed takes in that events were lost. After anything but too many at once the watch is not
// trusted any more.
func (f *folder) failed(err error) {
	if !errors.Is(err, fsnotify.ErrEventOverflow) {
		f.leave()
	}
}

// concerns tells whether an event is about the file. When it is about the folder itself, which
// was moved or deleted, its watch is worth nothing any more.
func (f *folder) concerns(e fsnotify.Event, file string) bool {
	name := filepath.Clean(e.Name)
	if name == filepath.Clean(f.path) && e.Op&(fsnotify.Remove|fsnotify.Rename) != 0 {
		f.leave()
		return true
	}
	return name == filepath.Clean(file)
}
