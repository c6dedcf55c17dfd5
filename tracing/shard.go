package tracing

import (
	crand "crypto/rand"
	"math/rand/v2"
	"sync/atomic"
)

// chunkSize is how much is handed over at once when there is much.
const chunkSize = 64 << 10

// slack is room behind a chunk for the span that fills it; a span may be longer.
const slack = 4 << 10

// A Shard takes the spans of one loop. Its methods are called on that loop only.
type Shard struct {
	tracer *Tracer
	index  int

	// Touched by the loop only, and by Close when that has ended.
	random  *rand.ChaCha8
	chunk   []byte
	spans   int // in chunk
	record  Record
	retired bool // nothing is taken any more

	full  chan batch  // to the sender
	empty chan []byte // and back

	waiting  atomic.Bool // the chunk has spans
	asked    atomic.Bool // a flush has been posted and has not run
	dropped  atomic.Uint64
	flushFn  func() // flush, made once
	retireFn func()
}

// A batch is spans on their way to the sender.
type batch struct {
	spans []byte // each as a field of a ScopeSpans
	count int
}

func newShard(t *Tracer, index, chunks int) *Shard {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // it never fails
	s := &Shard{
		tracer: t, index: index, random: rand.NewChaCha8(seed),
		full: make(chan batch, chunks), empty: make(chan []byte, chunks+1),
	}
	s.flushFn, s.retireFn = s.flush, s.retire
	return s
}

// Begin returns the context of a request whose traceparent had this value; what cannot be
// read, and nil, is none.
func (s *Shard) Begin(traceparent []byte) Context {
	c, ok := parse(traceparent)
	switch {
	case !ok:
		return s.tracer.sampler.newTrace(s.random)
	case c.Sampled():
		c.Span = newSpanID(s.random)
	default:
		c.Span = c.Parent
	}
	return c
}

// NewSpan returns the id of a span to come.
func (s *Shard) NewSpan() SpanID { return newSpanID(s.random) }

// keep takes a span that has been written. It is dropped, and counted, when as much as may
// waits to be sent already.
func (s *Shard) keep(span []byte) {
	if s.retired || len(s.chunk) >= s.tracer.chunk && !s.handOver() {
		s.dropped.Add(1)
		return
	}
	if s.chunk == nil {
		s.chunk = s.spare()
	}
	if s.spans == 0 {
		s.waiting.Store(true)
	}
	s.spans++
	s.chunk = appendBytes(s.chunk, fieldSpans, span)
	if len(s.chunk) >= s.tracer.chunk && s.handOver() {
		s.tracer.nudge()
	}
}

// handOver gives the chunk to the sender, unless there waits enough.
func (s *Shard) handOver() bool {
	select {
	case s.full <- batch{s.chunk, s.spans}:
	default:
		return false
	}
	s.chunk, s.spans = nil, 0
	s.waiting.Store(false)
	return true
}

// spare is an empty chunk.
func (s *Shard) spare() []byte {
	select {
	case b := <-s.empty:
		return b
	default:
		return make([]byte, 0, s.tracer.chunk+slack)
	}
}

// recycle takes a chunk back from the sender.
func (s *Shard) recycle(b []byte) {
	select {
	case s.empty <- b[:0]:
	default:
	}
}

// askFlush has the loop hand over what it has; it is the sender's.
func (s *Shard) askFlush() {
	if s.tracer.post == nil || !s.waiting.Load() || !s.asked.CompareAndSwap(false, true) {
		return
	}
	if !s.tracer.post(s.index, s.flushFn) {
		s.asked.Store(false) // the loop has ended; Close does it
	}
}

// flush runs on the loop. It does not wake the sender, which looks again before long: or many
// loops with a span each would have it send as many requests.
func (s *Shard) flush() {
	s.asked.Store(false)
	if s.spans > 0 {
		s.handOver()
	}
}

// retire hands over what there is, for good. It runs on the loop, or on nobody's when that has
// ended.
func (s *Shard) retire() {
	if s.spans > 0 && !s.handOver() {
		s.dropped.Add(uint64(s.spans))
		s.chunk, s.spans = nil, 0
	}
	s.retired = true
	s.tracer.retiring.Done()
}
