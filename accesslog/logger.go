package accesslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// Paths that are no files, and formats that are no lines.
const (
	Stdout   = "stdout"
	Stderr   = "stderr"
	JSON     = "json"
	Combined = "combined"
)

// Options make a Logger.
type Options struct {
	// Path is a file that is appended to, Stdout or Stderr.
	Path string
	// Output is where lines go if Path is empty. Only the logger's goroutine calls it.
	Output io.Writer
	// Format is JSON, Combined or a line with variables; empty: JSON.
	Format string

	// Loops is the number of shards; below 1 means 1.
	Loops int
	// Post has fn run on a loop, and returns false if that has ended; it never blocks. Without
	// it a shard's lines are written when a chunk is full, and by Close.
	Post func(loop int, fn func()) bool

	// Buffer is how many bytes of lines may wait per loop; 0: 1 MiB. It is taken as it is
	// needed.
	Buffer int
	// Flush is how long a line may wait for others; 0: 1s.
	Flush time.Duration

	Log *zap.Logger // nil: nothing is logged
}

// A Logger writes the lines of all loops. A nil Logger is one that is off.
type Logger struct {
	format format
	zone   *time.Location
	chunk  int
	flush  time.Duration
	post   func(int, func()) bool
	shards []*Shard
	path   string
	out    *output

	wake  chan struct{} // there is something to do
	stop  chan struct{} // closed: no lines come any more
	done  chan struct{} // closed: the goroutine has ended
	late  atomic.Bool   // nobody waits any more for what is left
	next  atomic.Pointer[os.File]
	lines atomic.Uint64 // written
	lost  atomic.Uint64 // not written, beyond those the shards have dropped

	mu     sync.Mutex
	closed bool // guarded by mu
}

// ErrFormat is why New does not take a format.
var ErrFormat = errors.New("access log format")

// New opens the output and starts the goroutine that writes.
func New(o Options) (*Logger, error) {
	f, err := parseFormat(o.Format)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	buffer := o.Buffer
	if buffer <= 0 {
		buffer = 1 << 20
	}
	l := &Logger{
		format: f, zone: time.Local, chunk: min(chunkSize, max(buffer/4, 1)), flush: o.Flush, post: o.Post, path: o.Path,
		out:  &output{writer: o.Output, log: o.Log},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if l.flush <= 0 {
		l.flush = time.Second
	}
	switch {
	case o.Path != "":
		file, err := open(o.Path)
		if err != nil {
			return nil, err
		}
		l.out.take(file)
	case o.Output == nil:
		return nil, errors.New("access log: neither a path nor an output")
	}
	for i := range max(1, o.Loops) {
		// One chunk is being filled, the others wait.
		l.shards = append(l.shards, newShard(l, i, max(1, buffer/l.chunk-1)))
	}
	go l.run()
	return l, nil
}

// open opens a path. Standard output and error are duplicated: they are the logger's to close
// then, and whoever reads them and goes away leaves an error behind, and no SIGPIPE. A file
// that is a pipe does not wait for its reader.
func open(path string) (*os.File, error) {
	var fd int
	switch path {
	case Stdout:
		fd = syscall.Stdout
	case Stderr:
		fd = syscall.Stderr
	default:
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o640)
		if err != nil {
			return nil, fmt.Errorf("access log: %w", err)
		}
		return file, nil
	}
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("access log: %s: %w", path, os.NewSyscallError("fcntl", err))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Shard returns the shard of a loop, by its index; nil if the logger is off. Ask once and
// keep it.
func (l *Logger) Shard(loop int) *Shard {
	if l == nil {
		return nil
	}
	return l.shards[uint(loop)%uint(len(l.shards))]
}

// Reopen opens the path anew, after its file has been moved away. It does not wait for the
// old one: what is being written to it ends there, everything later goes to the new one. When
// that cannot be opened the old one stays.
func (l *Logger) Reopen() error {
	if l == nil || l.path == "" || l.path == Stdout || l.path == Stderr {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	file, err := open(l.path)
	if err != nil {
		return err
	}
	if older := l.next.Swap(file); older != nil {
		older.Close()
	}
	l.nudge()
	return nil
}

// Close writes what is left, closes the file and ends the goroutine. It is called once no
// loop logs any more. If ctx ends first, because the output takes nothing, what is left
// counts as dropped and ctx's error is returned; the goroutine ends with the call that it
// waits for.
func (l *Logger) Close(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.stop)
	}
	l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		l.late.Store(true)
		l.out.giveUp()
		return ctx.Err()
	}
}

// Counts is what a logger has done.
type Counts struct {
	Lines       uint64 // written
	Dropped     uint64 // not written: there were too many, or the output did not take them
	WriteErrors uint64 // writes that failed
}

// Counts may be called from any goroutine.
func (l *Logger) Counts() Counts {
	if l == nil {
		return Counts{}
	}
	c := Counts{Lines: l.lines.Load(), Dropped: l.lost.Load(), WriteErrors: l.out.errors.Load()}
	for _, s := range l.shards {
		c.Dropped += s.dropped.Load()
	}
	return c
}

// nudge wakes the goroutine.
func (l *Logger) nudge() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run is the goroutine that writes.
func (l *Logger) run() {
	defer close(l.done)
	defer l.out.close()
	tick := time.NewTicker(l.flush)
	defer tick.Stop()
	for {
		select {
		case <-l.wake:
			l.drain()
		case <-tick.C:
			for _, s := range l.shards {
				s.askFlush()
			}
			// What an output that fails has kept back, it may take by now.
			l.write(batch{})
		case <-l.stop:
			l.drain()
			for _, s := range l.shards {
				l.write(batch{s.chunk, s.lines})
			}
			l.lost.Add(uint64(l.out.forget()))
			return
		}
	}
}

// drain writes all that waits, by turns.
func (l *Logger) drain() {
	for more := true; more; {
		more = false
		l.reopened()
		for _, s := range l.shards {
			select {
			case c := <-s.full:
				l.write(c)
				s.recycle(c.text)
				more = true
			default:
			}
		}
	}
}

// reopened takes the new file, if there is one.
func (l *Logger) reopened() {
	if file := l.next.Swap(nil); file != nil {
		l.lost.Add(uint64(l.out.forget()))
		l.out.take(file)
	}
}

func (l *Logger) write(c batch) {
	if l.late.Load() {
		l.lost.Add(uint64(c.count))
		return
	}
	done, lost := l.out.write(c)
	l.lines.Add(uint64(done))
	l.lost.Add(uint64(lost))
}
