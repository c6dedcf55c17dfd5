package secure

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is how often files are looked at: what is there for a second is in use then.
	lookEvery = 500 * time.Millisecond
	// settled is the age from which a change that comes after a look cannot bear the same time:
	// file systems' clocks go in steps, the coarsest of two seconds.
	settled = 2 * time.Second
	// remindEvery is how often it is told that a certificate is about to expire.
	remindEvery = 24 * time.Hour
)

// A watch has files loaded again when they change. It belongs to one goroutine, but for status.
type watch struct {
	paths   []string
	load    func() ([]Certificate, error) // puts what is good in the files into use; nil: nothing is
	told    func(error)                   // may be nil
	dueTold func(Certificate)             // may be nil

	states   []fileState
	sum      []byte               // of the contents that are in use
	failing  string               // what is wrong with those that are there now, if they are not in use
	now      Status               // Problem is failing as soon as that has been told
	reminded map[string]time.Time // when, by file

	shown atomic.Pointer[Status] // a copy of now
}

type fileState struct {
	device, inode  uint64
	size           int64
	changed, given unix.Timespec
}

// begin loads for the first time.
func (w *watch) begin() error {
	w.states, _ = w.look()
	w.sum = w.digest()
	var err error
	w.now.Certificates, err = w.load()
	w.show()
	return err
}

func (w *watch) show() {
	copied := w.now
	w.shown.Store(&copied)
}

// status may be called from any goroutine.
func (w *watch) status() Status { return *w.shown.Load() }

func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		w.remind(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.check()
		}
	}
}

// check loads the files if they are others than before. Some files are replaced one after the other,
// and those that do not fit together are no news before the next check.
func (w *watch) check() {
	states, young := w.look()
	if !young && w.failing == "" && slices.Equal(states, w.states) {
		return
	}
	w.states = states
	sum := w.digest()
	if bytes.Equal(sum, w.sum) {
		w.failing = ""
		if w.now.Problem != "" {
			w.tell(nil) // the old ones are back
		}
		return
	}
	list, err := w.load()
	if err != nil && list != nil && !slices.EqualFunc(list, w.now.Certificates, sameCertificate) {
		w.sum = nil // what is in use now is in no files together
		w.now.Certificates = list
		w.now.Reloads++
		w.show()
		if w.told != nil {
			w.told(nil)
		}
	}
	switch {
	case err == nil:
		w.sum, w.failing = sum, ""
		w.now.Certificates = list
		w.now.Reloads++
		w.tell(nil)
	case err.Error() != w.failing:
		w.failing = err.Error()
	case w.failing != w.now.Problem:
		w.now.Failures++
		w.tell(err)
	}
}

func sameCertificate(a, b Certificate) bool { return a.File == b.File && a.sum == b.sum }

func (w *watch) tell(err error) {
	w.now.Problem = w.failing
	w.show()
	if w.told != nil {
		w.told(err)
	}
}

// remind tells of certificates that are about to expire, or have.
func (w *watch) remind(now time.Time) {
	for _, c := range w.now.Certificates {
		switch last, known := w.reminded[c.File]; {
		case !c.Due(now, WarnBefore):
			delete(w.reminded, c.File)
		case !known || now.Sub(last) >= remindEvery:
			if w.reminded == nil {
				w.reminded = map[string]time.Time{}
			}
			w.reminded[c.File] = now
			if w.dueTold != nil {
				w.dueTold(c)
			}
		}
	}
}

// look returns what the kernel knows of the files, and whether one of them has changed only just now.
func (w *watch) look() (states []fileState, young bool) {
	for _, path := range w.paths {
		var st unix.Stat_t
		var s fileState
		if unix.Stat(path, &st) == nil {
			s = fileState{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
			age := time.Since(time.Unix(st.Ctim.Unix()))
			young = young || age > -settled && age < settled // a clock that was set back says nothing for hours
		}
		states = append(states, s)
	}
	return states, young
}

// digest is a sum of what is in the files.
func (w *watch) digest() []byte {
	h := sha256.New()
	for _, path := range w.paths {
		text, err := os.ReadFile(path)
		size := int64(len(text))
		if err != nil {
			size = -1
		}
		_ = binary.Write(h, binary.BigEndian, size) // a hash takes everything
		h.Write(text)
	}
	return h.Sum(nil)
}
