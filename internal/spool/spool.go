// Package spool writes without ever waiting for who reads.
//
//	any goroutine: Writer.Write ──copies──> buffer ──┐
//	                                                 └──> one goroutine ──> write(2)
//
// A log whose reader has stopped, or whose disk hangs, would otherwise stop whoever has something to
// say: an event loop with all of its connections. Here lines wait in memory, up to Options.Buffer;
// what comes beyond that is dropped and counted, and when the output flows again a line says how much
// is missing, at the place where it is missing.
package spool

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// DefaultBuffer is how much may wait: some thousand lines.
	DefaultBuffer = 1 << 20
	// DefaultPatience is how long Sync and Close wait.
	DefaultPatience = time.Second
	// retryEvery is how often an output is asked that has no room and does not wait for it itself.
	retryEvery = 20 * time.Millisecond
)

// Options configure a Writer. The zero value is useful.
type Options struct {
	// Buffer is how many bytes may wait; 0 or less: DefaultBuffer. As much again may be on its way.
	Buffer int
	// Patience bounds Sync and Close; 0 or less: DefaultPatience.
	Patience time.Duration
	// Missing makes the text that stands where n calls of Write are missing; nil: there is none. It is
	// called by the goroutine that writes, and must not call the Writer.
	Missing func(n uint64) []byte
}

// A Writer writes on a goroutine of its own. Its methods may be called from any goroutine; Write is
// never held up by the output.
type Writer struct {
	out     io.Writer
	options Options
	lost    atomic.Uint64
	wake    chan struct{} // capacity 1: there is something to write
	stop    chan struct{} // closed: the end
	ended   chan struct{} // closed: the goroutine has ended

	mu      sync.Mutex      // guards what follows; never held while something is written
	waiting []byte          //
	missing uint64          // calls of Write that have found no room since the last that has
	calls   uint64          // of Write, in waiting
	syncs   []chan struct{} // to be closed when waiting has been written
	closed  bool
}

// New starts the goroutine that writes to out, which only it calls from now on. Close ends it.
func New(out io.Writer, o Options) *Writer {
	if o.Buffer <= 0 {
		o.Buffer = DefaultBuffer
	}
	if o.Patience <= 0 {
		o.Patience = DefaultPatience
	}
	w := &Writer{out: out, options: o, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	return w
}

// Write takes a copy of p, or drops all of it where there is no room. It does not fail: who logs
// could do nothing about it.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nudge()
	// Where something is missing already, what comes waits until that has been said: lines after a
	// gap must not stand before the word of it.
	if w.closed || w.missing > 0 || len(w.waiting)+len(p) > w.options.Buffer {
		w.missing++
		w.lost.Add(1)
		return len(p), nil
	}
	w.waiting = append(w.waiting, p...)
	w.calls++
	return len(p), nil
}

// Lost is how many calls of Write were dropped so far, for want of room or because the output failed.
func (w *Writer) Lost() uint64 { return w.lost.Load() }

// Sync waits until what was written before has left, for Options.Patience at most: then it returns
// os.ErrDeadlineExceeded.
func (w *Writer) Sync() error {
	done := make(chan struct{})
	w.mu.Lock()
	w.syncs = append(w.syncs, done)
	w.nudge()
	w.mu.Unlock()
	return w.await(done)
}

// Close writes what waits and ends the goroutine, for Options.Patience at most: then it returns
// os.ErrDeadlineExceeded, and the goroutine ends when the output lets it go. What is written later
// is dropped. Closing twice does nothing.
func (w *Writer) Close() error {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.stop)
	}
	w.mu.Unlock()
	return w.await(w.ended)
}

func (w *Writer) await(done <-chan struct{}) error {
	timeout := time.NewTimer(w.options.Patience)
	defer timeout.Stop()
	select {
	case <-done:
		return nil
	case <-w.ended:
		return nil
	case <-timeout.C:
		return os.ErrDeadlineExceeded
	}
}

// nudge has the goroutine look. The lock is held.
func (w *Writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Writer) run() {
	defer close(w.ended)
	var batch []byte
	for {
		stopped := false
		select {
		case <-w.wake:
		case <-w.stop:
			stopped = true
		}
		batch = w.flush(batch)
		if stopped {
			return
		}
	}
}

// flush writes what waits. Batch is memory to be used, and what it returns is again.
func (w *Writer) flush(batch []byte) []byte {
	w.mu.Lock()
	batch, w.waiting = w.waiting, batch[:0]
	calls, missing, syncs := w.calls, w.missing, w.syncs
	w.calls, w.missing, w.syncs = 0, 0, nil
	w.mu.Unlock()
	if missing > 0 && w.options.Missing != nil {
		batch = append(batch, w.options.Missing(missing)...)
	}
	if len(batch) > 0 && !w.put(batch) {
		w.lost.Add(calls)
		w.mu.Lock()
		w.missing += missing // of which nobody has been told
		w.mu.Unlock()
	}
	for _, done := range syncs {
		close(done)
	}
	return batch
}

// put writes p, and tells whether all of it was written.
func (w *Writer) put(p []byte) bool {
	for {
		n, err := w.out.Write(p)
		p = p[min(n, len(p)):]
		if len(p) == 0 {
			return true
		}
		// Somebody else may have made the pipe that all share one that does not wait.
		if !errors.Is(err, syscall.EAGAIN) {
			return false
		}
		retry := time.NewTimer(retryEvery)
		select {
		case <-retry.C:
		case <-w.stop:
			retry.Stop()
			n, _ := w.out.Write(p) // for the last time
			return n == len(p)
		}
	}
}
