package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// How a request is tried again.
const (
	firstWait = time.Second
	mostWait  = 30 * time.Second
	// mostAsked is the longest Retry-After that is believed.
	mostAsked = 5 * time.Minute
	// giveUpAfter is how long a request is tried.
	giveUpAfter = time.Minute
	// answerIn is how long the collector may take for a request.
	answerIn = 10 * time.Second
)

// mostRead is what is read of an answer, in bytes.
const mostRead = 64 << 10

// A sender is the collector's client. Besides its counters it is the tracer's goroutine's.
type sender struct {
	exported, failed atomic.Uint64
	trouble          atomic.Pointer[Trouble]

	url    string
	client http.Client
	idle   func() // closes connections that are not in use
	log    *zap.Logger
	stop   <-chan struct{} // closed: requests are tried once

	ctx    context.Context // of requests
	giveUp context.CancelFunc

	chunks  []chunk // of a request
	zipped  bytes.Buffer
	zip     *gzip.Writer
	head    []byte
	waits   int  // how many in a row ended without success
	partial bool // the last answer was that some were not taken
}

// A chunk is spans of a shard.
type chunk struct {
	spans []byte
	shard *Shard
}

func (s *sender) open(u *url.URL, transport http.RoundTripper, log *zap.Logger, stop <-chan struct{}) {
	s.idle = func() {}
	if transport == nil {
		own := &http.Transport{MaxConnsPerHost: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
		transport, s.idle = own, own.CloseIdleConnections
	}
	s.url, s.log, s.stop = u.String(), log, stop
	s.client = http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // spans go where the configuration says
	}}
	s.ctx, s.giveUp = context.WithCancel(context.Background())
	s.zip, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that exists
}

func (s *sender) close() {
	s.giveUp()
	s.idle()
}

// pack makes the body of a request of the chunks, whose size is that of all.
func (s *sender) pack(e *envelope, size int) []byte {
	s.zipped.Reset()
	s.zip.Reset(&s.zipped)
	s.head = e.appendHead(s.head[:0], size)
	_, _ = s.zip.Write(s.head) // into memory, which does not fail
	for _, c := range s.chunks {
		_, _ = s.zip.Write(c.spans)
	}
	_ = s.zip.Close()
	return s.zipped.Bytes()
}

// deliver sends a body with so many spans until it is taken, or given up.
func (s *sender) deliver(body []byte, count uint64) {
	for began := time.Now(); ; {
		answer, err := s.try(body)
		if err == nil {
			s.taken(answer, count)
			return
		}
		s.fails(err)
		var busy *busyError
		if !errors.As(err, &busy) || time.Since(began) >= giveUpAfter || !s.pause(busy.after) {
			s.failed.Add(count)
			return
		}
	}
}

// fails notes that spans do not reach the collector.
func (s *sender) fails(err error) {
	since := time.Now()
	if was := s.trouble.Load(); was != nil {
		since = was.Since
	} else {
		s.log.Warn("traces do not reach the collector; what does not fit into memory until they do is dropped",
			zap.String("url", s.url), zap.Error(err))
	}
	s.trouble.Store(&Trouble{Since: since, Err: err})
}

// pause waits before the next try: for as long as was asked for, or longer with each failure.
// It is false when there is to be no further one.
func (s *sender) pause(asked time.Duration) bool {
	wait := min(asked, mostAsked)
	if asked == 0 {
		wait = min(firstWait<<min(s.waits, 10), mostWait)
		wait = wait/2 + rand.N(wait/2+1)
	}
	s.waits++
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.stop:
	case <-s.ctx.Done():
	}
	return false
}

// A busyError is one that may pass.
type busyError struct {
	after time.Duration // when to ask again; 0: that was not said
	err   error
}

func (e *busyError) Error() string { return e.err.Error() }
func (e *busyError) Unwrap() error { return e.err }

// try sends a body once and returns what the collector says to it, or a busyError, or another one.
func (s *sender) try(body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.ctx, answerIn)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", "sidecar")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, &busyError{err: err}
	}
	defer resp.Body.Close()
	// What breaks off is not said. The status stands: what was taken must not be sent twice.
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, mostRead))
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return nil, &busyError{retryAfter(resp.Header.Get("Retry-After")), refusal(resp.StatusCode, answer)}
	}
	if resp.StatusCode/100 != 2 {
		return nil, refusal(resp.StatusCode, answer)
	}
	return answer, nil
}

// taken counts the spans of a request that was answered with success.
func (s *sender) taken(answer []byte, count uint64) {
	s.waits = 0
	if was := s.trouble.Swap(nil); was != nil {
		s.log.Info("traces reach the collector again", zap.Time("since_not", was.Since))
	}
	_, partial := find(answer, responsePartial)
	rejected, _ := find(partial, partialRejected)
	rejected = min(rejected, count)
	s.exported.Add(count - rejected)
	s.failed.Add(rejected)
	_, text := find(partial, partialMessage)
	if rejected > 0 && !s.partial {
		s.log.Warn("the collector does not take all spans", zap.Uint64("rejected", rejected), zap.Uint64("of", count),
			zap.String("message", printable(text)))
	}
	s.partial = rejected > 0
}

// refusal is an answer without success as an error.
func refusal(status int, answer []byte) error {
	text := fmt.Sprintf("the collector answers %d %s", status, http.StatusText(status))
	if _, message := find(answer, statusMessage); len(message) > 0 {
		text += ": " + printable(message)
	}
	return errors.New(text)
}

// printable is the beginning of what somebody else has said.
func printable(text []byte) string {
	const most = 200
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text[:min(len(text), most)]))
}

// retryAfter reads a Retry-After (RFC 9110 §10.2.3); 0 is none.
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}
