package secure

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is how often files are looked at: what is there for a second is in use then.
	lookEvery = 500 * time.Millisecond
	// settled is the age from which a change that comes after a look cannot bear the same time:
	// file systems' clocks go in steps, the coarsest of two seconds.
	settled = 2 * time.Second
)

// A watch has files loaded again when they change. It belongs to one goroutine.
type watch struct {
	paths []string
	load  func() error // puts what is in the files into use, or changes nothing
	told  func(error)  // may be nil

	states  []fileState
	sum     []byte // of the contents that are in use
	failing string // what is wrong with those that are there now, if they are not in use
	said    bool   // … and it has been told
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
	return w.load()
}

func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
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
		if w.said {
			w.tell(nil) // the old ones are back
		}
		w.failing, w.said = "", false
		return
	}
	err := w.load()
	switch {
	case err == nil:
		w.sum = sum
		w.failing, w.said = "", false
		w.tell(nil)
	case err.Error() != w.failing:
		w.failing, w.said = err.Error(), false
	case !w.said:
		w.said = true
		w.tell(err)
	}
}

func (w *watch) tell(err error) {
	if w.told != nil {
		w.told(err)
	}
}

// look returns what the kernel knows of the files, and whether one of them has changed only just now.
func (w *watch) look() (states []fileState, young bool) {
	for _, path := range w.paths {
		var st unix.Stat_t
		var s fileState
		if unix.Stat(path, &st) == nil {
			s = fileState{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
			young = young || time.Since(time.Unix(st.Ctim.Unix())) < settled
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
