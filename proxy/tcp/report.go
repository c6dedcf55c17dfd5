package tcp

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sidecar/internal/eventloop"
	"sidecar/metrics"
)

// report writes the session's line into the log.
func (s *session) report(lasted time.Duration) {
	if !s.failed {
		if ce := s.lane.proxy.log.Check(zapcore.DebugLevel, "session ended"); ce != nil {
			ce.Write(s.fields(lasted)...)
		}
		return
	}
	log := s.lane.proxy.log
	level := levelOf(s.cause)
	if !log.Core().Enabled(level) {
		return
	}
	more, ok := s.lane.mayLog(s.cause, level)
	if !ok {
		return
	}
	if ce := log.Check(level, "session failed"); ce != nil {
		fields := append(s.fields(lasted), zap.Stringer("cause", s.cause))
		if s.err != nil {
			fields = append(fields, zap.Error(s.err))
		}
		if more > 0 {
			fields = append(fields, zap.Int("more_before", more))
		}
		ce.Write(fields...)
	}
}

// fields say what the session was. They are made for the few sessions that are logged.
func (s *session) fields(lasted time.Duration) []zap.Field {
	f := []zap.Field{
		zap.String("client", clientOf(s.client)),
		zap.Uint64("bytes_in", s.up.moved),
		zap.Uint64("bytes_out", s.down.moved),
		zap.Duration("lasted", lasted),
	}
	if s.endpoint != nil {
		f = append(f, zap.String("endpoint", s.lease.Endpoint().Address()))
	}
	if len(s.tries) > 0 {
		tries := make([]string, len(s.tries))
		for i, t := range s.tries {
			tries[i] = t.endpoint.Address() + ": " + t.err.Error()
		}
		f = append(f, zap.Strings("tried", tries))
	}
	return f
}

func clientOf(c *eventloop.Conn) string {
	if ap := c.RemoteAddrPort(); ap.IsValid() {
		return ap.String()
	}
	return "unix"
}

// levelOf says how much a cause matters. Clients and endpoints reset connections all day;
// what the operator has asked for is worth knowing; the rest should not happen.
func levelOf(c metrics.Cause) zapcore.Level {
	switch c {
	case metrics.CauseClientGone, metrics.CauseReset:
		return zapcore.DebugLevel
	case metrics.CauseIdleTimeout, metrics.CauseEndpointDown, metrics.CauseDraining:
		return zapcore.InfoLevel
	case metrics.CauseInternal:
		return zapcore.ErrorLevel
	}
	return zapcore.WarnLevel
}

// A limiter lets the first few lines of each second pass.
type limiter struct {
	second  int64
	lines   int
	skipped int
}

// Sessions that found nothing usable differ in nothing but the client, and come by the
// thousand. The others say what happened to a certain endpoint.
const (
	linesUnavailable = 1
	linesFailed      = 10
)

// mayLog tells whether a failure may be logged, and how many before it were not. Debug
// lines are for those who want them all.
func (l *lane) mayLog(c metrics.Cause, level zapcore.Level) (skipped int, ok bool) {
	if level == zapcore.DebugLevel {
		return 0, true
	}
	q := l.quiet[c]
	if q == nil {
		q = new(limiter)
		l.quiet[c] = q
	}
	most := linesFailed
	if unavailable(c) {
		most = linesUnavailable
	}
	return q.pass(l.loop.Now(), most)
}

// pass tells whether a line may be written at the loop time now, and how many before it were not.
func (q *limiter) pass(now time.Duration, most int) (skipped int, ok bool) {
	if now := int64(now / time.Second); now != q.second {
		q.second, q.lines = now, 0
	}
	if q.lines == most {
		q.skipped++
		return 0, false
	}
	q.lines++
	skipped, q.skipped = q.skipped, 0
	return skipped, true
}

// unavailable tells whether the service had no endpoint to offer.
func unavailable(c metrics.Cause) bool {
	switch c {
	case metrics.CauseNotDiscovered, metrics.CauseUnknownService, metrics.CauseNoInstances,
		metrics.CauseNoneHealthy, metrics.CauseAllEjected, metrics.CauseOverLimit, metrics.CauseShed, metrics.CauseOther:
		return true
	}
	return false
}
