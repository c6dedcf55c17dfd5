package http

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// grpcTimeout is the field whose values have gRPC's form: at most eight digits and a unit,
// one of H M S m u n.
const grpcTimeout = "grpc-timeout"

// parseTimeout reads how long a client will wait: milliseconds as a plain number, a number
// with a unit such as 1.5s, or in a field grpc-timeout what gRPC defines. What is none of
// these is not for us.
func parseTimeout(name string, value []byte) (time.Duration, bool) {
	text := strings.TrimSpace(string(value))
	if strings.EqualFold(name, grpcTimeout) {
		return parseGRPCTimeout(text)
	}
	if ms, err := strconv.ParseUint(text, 10, 40); err == nil {
		return time.Duration(ms) * time.Millisecond, true
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}

func parseGRPCTimeout(text string) (time.Duration, bool) {
	if len(text) < 2 || len(text) > 9 {
		return 0, false
	}
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
	if err != nil {
		return 0, false
	}
	unit := time.Duration(0)
	switch text[len(text)-1] {
	case 'H':
		unit = time.Hour
	case 'M':
		unit = time.Minute
	case 'S':
		unit = time.Second
	case 'm':
		unit = time.Millisecond
	case 'u':
		unit = time.Microsecond
	case 'n':
		unit = time.Nanosecond
	default:
		return 0, false
	}
	if n > uint64(math.MaxInt64/int64(unit)) {
		return math.MaxInt64, true
	}
	return time.Duration(n) * unit, true
}

// takeDeadline takes in until when the client waits. The field is ours from then on: each
// try is told what is left of the time.
func (x *exchange) takeDeadline() {
	x.deadline = 0
	name := x.shard.proxy.TimeoutHeader
	if name == "" {
		return
	}
	i := x.req.Lookup(name)
	if i < 0 {
		return
	}
	d, ok := parseTimeout(name, x.req.Value(i))
	if !ok || d > time.Hour*24*365 {
		return
	}
	x.req.Omit(i)
	x.deadline = x.started + d
	if x.deadline == 0 {
		x.deadline = 1
	}
}

// appendDeadline tells the endpoint how much of the client's time is left.
func (x *exchange) appendDeadline(out []byte) []byte {
	if x.deadline == 0 {
		return out
	}
	name := x.shard.proxy.TimeoutHeader
	ms := max((x.deadline-x.shard.loop.Now())/time.Millisecond, 1)
	out = append(append(out, name...), ": "...)
	if strings.EqualFold(name, grpcTimeout) {
		if ms > 99_999_999 { // eight digits
			return append(strconv.AppendInt(out, int64(ms/1000), 10), "S\r\n"...)
		}
		return append(strconv.AppendInt(out, int64(ms), 10), "m\r\n"...)
	}
	return append(strconv.AppendInt(out, int64(ms), 10), "\r\n"...)
}

// within is limit, or what is left of the client's time if that is less; 0 is no bound.
func (x *exchange) within(limit time.Duration) time.Duration {
	if x.deadline == 0 {
		return limit
	}
	left := max(x.deadline-x.shard.loop.Now(), time.Millisecond)
	if limit <= 0 || left < limit {
		return left
	}
	return limit
}
