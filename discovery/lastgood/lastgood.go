// Package lastgood keeps the last good set of every service on disk, and serves it while the
// registry does not answer at a start.
//
//	Load      what a file holds, if it is whole and answers the same question
//	Source    forwards what its inner source reports; the kept set when that has nothing
//	Run       writes what has changed: coalesced, in batches, each file replaced as a whole
//
// There is one file per service, in JSON, named after it. Its first field is the version of
// its format, its second the SHA-256 of what follows; a file that is not byte for byte what
// was once written is not used. It is replaced by a temporary file that has reached the disk
// before it is renamed, so that a crash at any moment leaves the old set or the new one.
//
// A set that has changed is written within a second or two, when many change at once 32 of them
// each second. One that is only confirmed is written every ten minutes, so that what is served
// from disk was true at most that much longer than it says.
//
// The file of a service that is configured is never too old to be used: instances that answered
// last month are a better guess than none, and the age is in status. The file of a service that
// nobody watches any more is removed 30 days after it was last written.
package lastgood

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"sidecar/discovery"
)

// A Set is what is known of a service: a plain value, never changed after it was handed over.
type Set struct {
	// Instances are canonical, as in discovery.Update.
	Instances []discovery.Instance
	// Unknown tells that the source answered that it does not know the service.
	Unknown bool
	// Saved is when the file was written, and zero when there is none. Confirmed is when the
	// source said last, as far as the file knows, that the set is so.
	Saved, Confirmed time.Time
	// Index is the registry's version of the set, as in discovery.Update.
	Index uint64
	// Problems are instances in the file that cannot be used, as in discovery.Update.
	Problems []string
}

// Options are for Open. The zero value is usable.
type Options struct {
	// Log is told when sets cannot be kept, when they can again, and of files that answer
	// another question. Nil: nobody.
	Log *zap.Logger

	disk disk // tests; nil: the real one
}

// A Store is a folder of sets. Its methods are for concurrent use.
type Store struct {
	dir  string
	log  *zap.Logger
	disk disk
	wake chan struct{} // capacity 1: there is something to write

	mu       sync.Mutex
	services map[string]*entry // guarded by mu; those that are watched or wait to be written
	failing  map[string]string // guarded by mu; services whose writing fails → cause
	sizes    map[string]int64  // guarded by mu; files that are kept → bytes
	status   Status            // guarded by mu; what Status does not count from the others
}

// A Status is how a Store fares.
type Status struct {
	// Dir is the folder.
	Dir string `json:"dir"`
	// Files and Bytes are what it holds, services that are no longer configured included.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Waiting is how many sets are to be written now or after a pause.
	Waiting int `json:"waiting"`
	// Failing is how many services' sets could not be written at the last attempt.
	Failing int `json:"failing"`
	// LastWrite is when a set was written last; zero: never since the start.
	LastWrite time.Time `json:"last_write,omitzero"`
	// LastError is why writing failed last, at LastErrorAt. It stays when writing succeeds again.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// Open opens the folder dir and makes it if need be, for this user only (0700). It removes what
// writes that were interrupted have left, and starts nothing. A folder that cannot be used is an
// error; one that cannot be written to only for now (a full disk, a file system that is read-only)
// is none, since its files can still be read.
//
// Two processes may use one folder, as they do while one replaces the other: whoever writes last
// wins, and what removes the other's temporary file costs it a second attempt.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{
		dir: dir, log: o.Log, disk: o.disk, wake: make(chan struct{}, 1),
		services: map[string]*entry{}, failing: map[string]string{}, sizes: map[string]int64{},
	}
	s.status.Dir = dir
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.disk == nil {
		s.disk = realDisk{}
	}
	if dir == "" {
		return nil, fmt.Errorf("lastgood: no folder is named; set runtime.state_dir")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("lastgood: %w; make it a folder of the sidecar's user or correct runtime.state_dir", err)
	}
	if err := unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK); err != nil && err != unix.EROFS {
		return nil, fmt.Errorf("lastgood: folder %s: %w; let the sidecar's user read and write it, or correct runtime.state_dir", dir, err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("lastgood: %w; repair the folder or correct runtime.state_dir", err)
	}
	for _, f := range files {
		if isTemporary(f.Name()) {
			_ = s.disk.remove(filepath.Join(dir, f.Name())) // it costs its bytes and nothing else
		} else if info, err := f.Info(); err == nil && isKept(f) {
			s.sizes[f.Name()] = info.Size()
		}
	}
	return s, nil
}

// isKept tells whether a file in the folder bears a name that a Store gives.
func isKept(f fs.DirEntry) bool {
	return isFileName(f.Name()) && f.Type().IsRegular()
}

// Load returns the set of a service that is kept. Without a file it returns the zero Set; so it
// does when the set was the answer to another question, that is, when fingerprint is not the
// string it was written with (who is asked, for what, with which filters); that is logged. It
// stands in the file as it is: no secrets.
//
// The error names the file and why it is not used (damaged, of another version, of another
// service, too large, not to be read). It is no reason not to start: the next good set replaces
// the file.
func (s *Store) Load(service, fingerprint string) (Set, error) {
	path := filepath.Join(s.dir, fileName(service))
	data, err := readFile(path)
	if os.IsNotExist(err) {
		return Set{}, nil
	}
	if err != nil {
		return Set{}, fmt.Errorf("lastgood: %w; the set is not used, and written anew with the next good one", err)
	}
	set, kept, err := decode(data, service)
	if err != nil {
		return Set{}, fmt.Errorf("lastgood: %s: %w; it is not used, and written anew with the next good set", path, err)
	}
	if kept != asStored(fingerprint) {
		s.log.Info("the kept set is not used: it was found with other settings of discovery",
			zap.String("service", service), zap.String("file", path), zap.String("then", kept), zap.String("now", fingerprint))
		return Set{}, nil
	}
	// A clock that was set back would make the set younger than nothing.
	if now := time.Now(); set.Confirmed.After(now) {
		set.Confirmed = now
	}
	return set, nil
}

// Status tells how the Store fares.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Files, st.Failing = len(s.sizes), len(s.failing)
	for _, n := range s.sizes {
		st.Bytes += n
	}
	for _, e := range s.services {
		if e.dirty {
			st.Waiting++
		}
	}
	return st
}
