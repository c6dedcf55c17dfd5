package accesslog

import (
	"bytes"
	"io"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// complainEvery is how often a failing output is logged at the most.
const complainEvery = time.Minute

// An output is where lines go. It is the writing goroutine's, except for errors and giveUp.
type output struct {
	writer io.Writer
	file   atomic.Pointer[os.File] // the writer, if it is ours to close
	rest   []byte                  // of a line whose beginning has been written
	log    *zap.Logger
	errors atomic.Uint64

	complained time.Time // last
	silent     uint64    // errors since
}

// take writes to a file from now on, and closes the one before.
func (o *output) take(file *os.File) {
	o.writer = file
	if old := o.file.Swap(file); old != nil {
		o.closed(old.Close())
	}
}

// close closes the file.
func (o *output) close() {
	if file := o.file.Swap(nil); file != nil {
		o.closed(file.Close())
	}
}

// closed looks at what closing a file returned: on some file systems it is there that a
// write turns out to have failed.
func (o *output) closed(err error) {
	if err != nil {
		o.failed(err)
	}
}

// giveUp ends a write that waits, where the system can do that.
func (o *output) giveUp() {
	if file := o.file.Load(); file != nil {
		_ = file.SetWriteDeadline(time.Unix(1, 0)) // regular files have none, and do not need it
	}
}

// write writes lines, and says how many have been written and how many are lost. A disk that
// is full may take a part of a line: the rest of it is kept, and goes ahead of what is
// written next, so that no line is ever torn.
func (o *output) write(c batch) (done, lost int) {
	if len(o.rest) > 0 {
		n, err := o.call(o.rest)
		o.rest = append(o.rest[:0], o.rest[n:]...)
		if err != nil {
			return 0, c.count
		}
		done = 1
	}
	if len(c.text) == 0 {
		return done, 0
	}
	n, err := o.call(c.text)
	if err == nil {
		return done + c.count, 0
	}
	whole := bytes.Count(c.text[:n], []byte{'\n'})
	done, lost = done+whole, c.count-whole
	if n > 0 && c.text[n-1] != '\n' {
		end := n + bytes.IndexByte(c.text[n:], '\n') + 1
		o.rest = append(o.rest[:0], c.text[n:end]...)
		lost-- // not yet
	}
	return done, lost
}

// forget gives up the rest of a line, and says whether there was one.
func (o *output) forget() int {
	if len(o.rest) == 0 {
		return 0
	}
	o.rest = o.rest[:0]
	return 1
}

// call writes p, and keeps to what io.Writer promises if the writer does not.
func (o *output) call(p []byte) (int, error) {
	n, err := o.writer.Write(p)
	n = max(0, min(n, len(p)))
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		o.failed(err)
	}
	return n, err
}

// failed counts an error, and logs it unless it has done so a moment ago.
func (o *output) failed(err error) {
	o.errors.Add(1)
	if since := time.Since(o.complained); !o.complained.IsZero() && since < complainEvery {
		o.silent++
		return
	}
	o.log.Error("access log cannot be written; its lines are dropped",
		zap.Error(err), zap.Uint64("errors before, not logged", o.silent))
	o.complained, o.silent = time.Now(), 0
}
