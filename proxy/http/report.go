package http

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sidecar/internal/eventloop"
	"sidecar/proxy/http/h2"
)

// A complaint is a line of the log about a connection rather than a request. Whoever causes one can
// cause thousands.
type complaint uint8

const (
	complaintHandshake complaint = iota // a client's TLS handshake failed
	complaintPreamble                   // a PROXY header is missing
	complaintClient                     // a client abuses HTTP/2
	complaintEndpoint                   // an endpoint does
	complaints
)

// linesPerSecond is how many lines there may be of each complaint, of each loop and service.
const linesPerSecond = 10

// A quota lets the first few lines of each second pass.
type quota struct {
	second  int64
	lines   int
	skipped int
}

// take tells whether a line may be written now, and how many before it were not.
func (q *quota) take(now time.Duration) (skipped int, ok bool) {
	if second := int64(now / time.Second); second != q.second {
		q.second, q.lines = second, 0
	}
	if q.lines == linesPerSecond {
		q.skipped++
		return 0, false
	}
	q.lines++
	skipped, q.skipped = q.skipped, 0
	return skipped, true
}

// complain writes a line, unless there were too many of its kind within this second. fields are only
// asked for if it is written.
func (s *shard) complain(c complaint, level zapcore.Level, text string, fields func() []zap.Field) {
	log := s.proxy.log
	if !log.Core().Enabled(level) {
		return
	}
	skipped, ok := s.quotas[c].take(s.loop.Now())
	if !ok {
		return
	}
	ce := log.Check(level, text)
	if ce == nil {
		return
	}
	all := append([]zap.Field{zap.String("service", s.proxy.name)}, fields()...)
	if skipped > 0 {
		all = append(all, zap.Int("more_before", skipped))
	}
	ce.Write(all...)
}

// refused tells of a client that did not come as far as its first request.
func (s *shard) refused(c complaint, text string, conn *eventloop.Conn, err error) {
	s.complain(c, zapcore.InfoLevel, text, func() []zap.Field {
		return []zap.Field{zap.String("client", addressOf(conn)), zap.Error(err)}
	})
}

// abused tells of a client whose connection was ended because of what it has done on it.
func (s *shard) abused(conn *eventloop.Conn, kind h2.Flood) {
	s.complain(complaintClient, zapcore.WarnLevel, "HTTP/2 connection ended: the client abuses it", func() []zap.Field {
		return []zap.Field{
			zap.String("client", addressOf(conn)), zap.Stringer("kind", kind), zap.String("advice", advice(kind)),
		}
	})
}

// abused is the same of the pool's endpoint.
func (p *pool) abused(kind h2.Flood) {
	p.shard.complain(complaintEndpoint, zapcore.WarnLevel, "HTTP/2 connection ended: the endpoint abuses it", func() []zap.Field {
		return []zap.Field{zap.String("endpoint", p.endpoint.Address()), zap.Stringer("kind", kind)}
	})
}

// advice is what the operator can do about a client.
func advice(kind h2.Flood) string {
	switch kind {
	case h2.FloodResets:
		return "it opens streams and gives them up at once, or has them reset: have it cancel less, or block its address"
	case h2.FloodHeaders:
		return "its header blocks are too large: raise http2.header_list if they are wanted, or block its address"
	case h2.FloodBacklog, h2.FloodStall:
		return "it does not read what it is answered: have it read, or block its address if this goes on"
	}
	return "it sends frames that move nothing: mend it, or block its address"
}

// addressOf is the address of who is at the other end.
func addressOf(conn *eventloop.Conn) string {
	if ap := conn.RemoteAddrPort(); ap.IsValid() {
		return ap.String()
	}
	return "unix"
}
