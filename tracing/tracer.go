package tracing

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Options make a Tracer.
type Options struct {
	// Endpoint is the collector's URL, http or https. Unless its path ends with /v1/traces
	// that is added, as OpenTelemetry has it.
	Endpoint string
	// Sample is the share of the traces beginning here that are recorded, from 0 to 1.
	Sample float64

	Service  string // service.name of the spans
	Version  string // service.version; empty: none
	Host     string // host.name; empty: none
	Instance string // service.instance.id; empty: one at random, see Tracer.Instance

	// Loops is the number of shards; below 1 means 1.
	Loops int
	// Post has fn run on a loop, and returns false if that has ended; it never blocks. Without
	// it a shard's spans are sent when a chunk is full, and by Close, which may only be called
	// when nobody uses a shard any more.
	Post func(loop int, fn func()) bool

	// Buffer is how many bytes of spans may wait per loop; 0: 1 MiB. It is taken as it is
	// needed.
	Buffer int
	// Flush is how long a span may wait for others, twice at the most; 0: 1s.
	Flush time.Duration

	Log *zap.Logger // nil: nothing is logged
	// Transport sends the requests; nil: one of the tracer's own.
	Transport http.RoundTripper
}

// A Tracer sends the spans of all loops. A nil Tracer is one that is off.
type Tracer struct {
	sampler  sampler
	envelope envelope
	instance string
	chunk    int
	flush    time.Duration
	post     func(int, func()) bool
	shards   []*Shard
	sender   sender

	wake     chan struct{} // a chunk is full
	stop     chan struct{} // closed: no spans come any more
	done     chan struct{} // closed: the goroutine has ended
	closing  sync.Once
	retiring sync.WaitGroup // shards that have not retired
}

// tracesPath is where a collector takes traces (OTLP/HTTP Request).
const tracesPath = "/v1/traces"

// New starts the goroutine that sends.
func New(o Options) (*Tracer, error) {
	u, err := url.Parse(o.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("tracing: %q is not a URL of http or https", u.Redacted())
	}
	if !strings.HasSuffix(u.Path, tracesPath) {
		u = u.JoinPath(tracesPath)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Instance == "" {
		o.Instance = newInstance()
	}
	buffer := o.Buffer
	if buffer <= 0 {
		buffer = 1 << 20
	}
	t := &Tracer{
		sampler: newSampler(o.Sample), instance: o.Instance,
		envelope: newEnvelope("sidecar", o.Version, "service.name", o.Service, "service.version", o.Version,
			"service.instance.id", o.Instance, "host.name", o.Host),
		chunk: min(chunkSize, max(buffer/4, 1)), flush: o.Flush, post: o.Post,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if t.flush <= 0 {
		t.flush = time.Second
	}
	t.sender.open(u, o.Transport, o.Log, t.stop)
	for i := range max(1, o.Loops) {
		// One chunk is being filled, the others wait.
		t.shards = append(t.shards, newShard(t, i, max(1, buffer/t.chunk-1)))
	}
	t.retiring.Add(len(t.shards))
	go t.run()
	return t, nil
}

// newInstance is a UUID of version 4 (RFC 9562 §5.4).
func newInstance() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // it never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

// Instance is the service.instance.id of the spans, for a Tracer that takes the place of
// this one in the same process.
func (t *Tracer) Instance() string { return t.instance }

// Shard returns the shard of a loop, by its index; nil if the tracer is off. Ask once and
// keep it.
func (t *Tracer) Shard(loop int) *Shard {
	if t == nil {
		return nil
	}
	return t.shards[uint(loop)%uint(len(t.shards))]
}

// Close sends what is left, trying once, and ends the goroutine. It may be called while loops
// run, whose spans are dropped from then on, or when they have ended. If ctx ends first what is
// left counts as failed, and ctx's error is returned.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.closing.Do(func() {
		for i, s := range t.shards {
			if t.post == nil || !t.post(i, s.retireFn) {
				s.retire()
			}
		}
		go t.stopWhenRetired()
	})
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
	}
	t.sender.giveUp()
	select {
	case <-t.stop:
		<-t.done // nothing keeps it any more
	default: // a loop that is stuck; the goroutine ends when that goes on
	}
	return ctx.Err()
}

// stopWhenRetired has the goroutine end once every shard has handed over what it had.
func (t *Tracer) stopWhenRetired() {
	t.retiring.Wait()
	close(t.stop)
}

// Counts is what has become of spans.
type Counts struct {
	Exported uint64 // taken by the collector
	Dropped  uint64 // not sent: there were too many
	Failed   uint64 // sent and not taken, or not sent because the collector was gone for too long
}

// Counts may be called from any goroutine.
func (t *Tracer) Counts() Counts {
	if t == nil {
		return Counts{}
	}
	c := Counts{Exported: t.sender.exported.Load(), Failed: t.sender.failed.Load()}
	for _, s := range t.shards {
		c.Dropped += s.dropped.Load()
	}
	return c
}

// A Trouble is why spans do not reach the collector.
type Trouble struct {
	Since time.Time
	Err   error // the last one
}

// Trouble is nil while spans are taken, or there were none yet. It may be called from any
// goroutine.
func (t *Tracer) Trouble() *Trouble {
	if t == nil {
		return nil
	}
	return t.sender.trouble.Load()
}

// nudge wakes the goroutine.
func (t *Tracer) nudge() {
	select {
	case t.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run is the goroutine that sends.
func (t *Tracer) run() {
	defer close(t.done)
	defer t.sender.close()
	tick := time.NewTicker(t.flush)
	defer tick.Stop()
	for {
		select {
		case <-t.wake:
			t.send()
		case <-tick.C:
			t.send()
			for _, s := range t.shards {
				s.askFlush()
			}
		case <-t.stop:
			t.send()
			return
		}
	}
}

// mostSent is how many bytes of spans go in one request, before they are compressed; by one
// chunk it may be more.
const mostSent = 1 << 20

// send sends all that waits.
func (t *Tracer) send() {
	for {
		size, count, chunks := 0, 0, t.sender.chunks[:0]
		for _, s := range t.shards {
			for more := true; more && size < mostSent; {
				select {
				case b := <-s.full:
					size += len(b.spans)
					count += b.count
					chunks = append(chunks, chunk{b.spans, s})
				default:
					more = false
				}
			}
		}
		t.sender.chunks = chunks
		if count == 0 {
			return
		}
		body := t.sender.pack(&t.envelope, size)
		for i, c := range chunks {
			c.shard.recycle(c.spans)
			chunks[i] = chunk{}
		}
		t.sender.deliver(body, uint64(count))
	}
}
