package accesslog

import (
	"sync/atomic"
	"time"
)

// chunkSize is how much is written at once when there is much to write.
const chunkSize = 64 << 10

// slack is room behind a chunk for the line that fills it; a line may be longer.
const slack = 4 << 10

// A Shard takes the lines of one loop. A nil Shard takes none.
type Shard struct {
	logger *Logger
	index  int

	// Touched by the loop only, and by Close when that has ended.
	chunk  []byte
	lines  int // in chunk
	record Record
	stamp  stamp

	full  chan batch  // to the writer
	empty chan []byte // and back

	waiting atomic.Bool // the chunk has lines
	asked   atomic.Bool // a flush has been posted and has not run
	dropped atomic.Uint64
	flushFn func() // flush, made once
}

// A batch is lines on their way to the writer.
type batch struct {
	text  []byte
	count int // of lines
}

func newShard(l *Logger, index, chunks int) *Shard {
	s := &Shard{logger: l, index: index, full: make(chan batch, chunks), empty: make(chan []byte, chunks+1)}
	s.flushFn = s.flush
	return s
}

// Log writes the line of a request. It never blocks: the line is dropped, and counted, when
// as much as may waits to be written already. It is called on the shard's loop only, and not
// after Logger.Close.
func (s *Shard) Log(r *Record) {
	if s == nil {
		return
	}
	if len(s.chunk) >= s.logger.chunk && !s.handOver() {
		s.dropped.Add(1)
		return
	}
	if s.chunk == nil {
		s.chunk = s.spare()
	}
	if s.lines == 0 {
		s.waiting.Store(true)
	}
	s.lines++
	// What formats is called through a table, from which r would escape to the heap.
	s.record = *r
	if s.record.Time.IsZero() {
		s.record.Time = time.Now().Add(-s.record.Duration)
	}
	s.chunk = append(s.logger.format.append(s.chunk, s), '\n')
	s.record = Record{} // and what it points to
	if len(s.chunk) >= s.logger.chunk {
		s.handOver()
	}
}

// handOver gives the chunk to the writer, unless there waits enough.
func (s *Shard) handOver() bool {
	select {
	case s.full <- batch{s.chunk, s.lines}:
	default:
		return false
	}
	s.chunk, s.lines = s.spare(), 0
	s.waiting.Store(false)
	s.logger.nudge()
	return true
}

// spare is an empty chunk.
func (s *Shard) spare() []byte {
	select {
	case b := <-s.empty:
		return b
	default:
		return make([]byte, 0, s.logger.chunk+slack)
	}
}

// recycle takes a chunk back from the writer. One that has grown for long lines goes the way
// of all memory.
func (s *Shard) recycle(b []byte) {
	if cap(b) > 2*(s.logger.chunk+slack) {
		return
	}
	select {
	case s.empty <- b[:0]:
	default:
	}
}

// askFlush has the loop hand over what it has; it is the writer's.
func (s *Shard) askFlush() {
	if s.logger.post == nil || !s.waiting.Load() || !s.asked.CompareAndSwap(false, true) {
		return
	}
	if !s.logger.post(s.index, s.flushFn) {
		s.asked.Store(false) // the loop has ended; Close does it
	}
}

// flush runs on the loop.
func (s *Shard) flush() {
	s.asked.Store(false)
	if s.lines > 0 {
		s.handOver()
	}
}
