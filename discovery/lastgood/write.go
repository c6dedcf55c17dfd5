package lastgood

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"go.uber.org/zap"

	"sidecar/discovery"
)

const (
	// batchMost files are written at once, then comes a pause: when 1,000 services change in one
	// moment, the disk has half a minute for it. Each file costs it one flush.
	batchMost  = 32
	batchEvery = time.Second

	// sweepAfter is when Run looks for files that nobody needs, and sweepEvery how often then. By
	// then every configured service is watched, and the clock is right.
	sweepAfter, sweepEvery = time.Hour, 24 * time.Hour
	// tooOld is the age at which a file that nobody needs is removed.
	tooOld = 30 * 24 * time.Hour
)

// Run writes what the Sources hand over, until ctx ends; then it writes all that waits, and
// returns. End the Sources before, and what they said last is kept. It is called once.
//
// What cannot be written is tried again after 2 s to 1 min and logged once per cause; the sets
// stay in memory meanwhile, and traffic and updates do not wait.
func (s *Store) Run(ctx context.Context) {
	sweep := time.Now().Add(sweepAfter)
	for ctx.Err() == nil {
		now := time.Now()
		if !now.Before(sweep) {
			s.sweep(now)
			sweep = now.Add(sweepEvery)
		}
		jobs, none := s.take(now, batchMost)
		if len(jobs) > 0 {
			s.write(jobs)
			discovery.Sleep(ctx, batchEvery, nil)
			continue
		}
		discovery.Sleep(ctx, min(none, sweep.Sub(now)), s.wake)
	}
	for jobs := range slices.Chunk(s.takeAll(), batchMost) {
		s.write(jobs)
	}
}

// write brings a batch to the disk, in steps: while the first file is flushed, the others are
// on their way already, and the folder is flushed once for all.
func (s *Store) write(jobs []*job) {
	for _, step := range []func(*job) error{s.create, s.flush, s.rename} {
		for _, j := range jobs {
			if j.err != nil {
				continue
			}
			if j.err = step(j); j.err != nil {
				s.discard(j)
			}
		}
	}
	// When nothing was renamed there is nothing to flush, and no harm in it.
	err := s.disk.syncDir(s.dir)
	for _, j := range jobs {
		s.finish(j, cmp.Or(j.err, err))
	}
}

// create writes the temporary file.
func (s *Store) create(j *job) error {
	j.path = filepath.Join(s.dir, fileName(j.service))
	data, err := encode(j.service, j.fingerprint, j.set)
	if err != nil {
		return err
	}
	j.size = int64(len(data))
	if j.temporary, err = s.disk.create(s.dir); err != nil {
		return err
	}
	_, err = j.temporary.Write(data)
	return err
}

// flush waits until the file is on the disk: a rename may get there before what is in the file.
func (*Store) flush(j *job) error { return j.temporary.Sync() }

// rename puts the file where the last one is.
func (s *Store) rename(j *job) error {
	name := j.temporary.Name()
	err := j.temporary.Close()
	if err == nil {
		err = s.disk.rename(name, j.path)
	}
	if err == nil {
		j.temporary = nil
	}
	return err
}

// discard takes back what a failed job has left; what cannot be removed now goes at Open.
func (s *Store) discard(j *job) {
	if j.temporary == nil {
		return
	}
	_ = j.temporary.Close() // closed already, or of no use
	_ = s.disk.remove(j.temporary.Name())
	j.temporary = nil
}

// finish takes account of how a job has ended, and logs what is new about it.
func (s *Store) finish(j *job, err error) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failedLocked(j, err, now)
		return
	}
	s.sizes[filepath.Base(j.path)] = j.size
	s.status.LastWrite = now
	e := j.entry
	e.due = time.Time{}
	e.backoff.Reset()
	s.forget(e)
	if _, ok := s.failing[j.service]; ok {
		delete(s.failing, j.service)
		if len(s.failing) == 0 {
			s.log.Info("the last good sets are kept on disk again", zap.String("dir", s.dir))
		}
	}
}

// failedLocked has the set written again later, if anybody still watches the service.
func (s *Store) failedLocked(j *job, err error, now time.Time) {
	cause := causeOf(err)
	err = fmt.Errorf("lastgood: write %s: %w; %s", j.path, cause, advice(cause))
	s.status.LastError, s.status.LastErrorAt = err.Error(), now
	// A disk that is full is so for all services: that is one thing to say.
	told := slices.Contains(slices.Collect(maps.Values(s.failing)), cause.Error())
	if !told {
		s.log.Warn("the last good set is not kept on disk and tried again; traffic goes on, a start without the registry finds the set before",
			zap.String("service", j.service), zap.Error(err))
	}
	e := j.entry
	if e.watchers == 0 {
		delete(s.failing, j.service)
		e.dirty = false
		s.forget(e)
		return
	}
	s.failing[j.service] = cause.Error()
	e.due = now.Add(e.backoff.Next())
	if !e.dirty {
		e.dirty, e.since = true, now
	}
}

// causeOf is an error without the name of the temporary file, which differs each time.
func causeOf(err error) error {
	var (
		path *fs.PathError
		link *os.LinkError
	)
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}

// advice is the operator's next step.
func advice(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on its file system"
	case errors.Is(err, syscall.EROFS):
		return "mount its file system writable, or set runtime.state_dir to a folder that is (ReadWritePaths= or StateDirectory= under systemd)"
	case errors.Is(err, fs.ErrPermission):
		return "let the sidecar's user write there"
	case errors.Is(err, fs.ErrNotExist):
		return "make the folder again, or correct runtime.state_dir"
	case errors.Is(err, errTooLarge):
		return "it is served from memory only; divide the service"
	}
	return "see what is wrong with its file system, or set runtime.state_dir to a folder elsewhere"
}

// sweep removes the files that are too old and of services that nobody watches.
func (s *Store) sweep(now time.Time) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return // the next write says so
	}
	s.mu.Lock()
	needed := map[string]bool{}
	for service := range s.services {
		needed[fileName(service)] = true
	}
	s.mu.Unlock()
	for _, f := range files {
		path := filepath.Join(s.dir, f.Name())
		info, err := f.Info()
		if err != nil || needed[f.Name()] || !isKept(f) || now.Sub(info.ModTime()) < tooOld || !isOurs(path) {
			continue
		}
		if s.disk.remove(path) != nil {
			continue
		}
		s.log.Info("a kept set is removed: nobody has watched its service for long", zap.String("file", path),
			zap.Duration("age", now.Sub(info.ModTime()).Round(time.Hour)))
		s.mu.Lock()
		delete(s.sizes, f.Name())
		s.mu.Unlock()
	}
}
