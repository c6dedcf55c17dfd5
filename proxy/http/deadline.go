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

// A waitForm is how a client says how long it will wait. What is left of the time is passed
// on in the same form.
type waitForm uint8

const (
	waitPlain waitForm = iota // milliseconds, 1500
	waitUnit                  // a number with a unit, 1.5s
	waitGRPC                  // 1500m
)

// maxWait is the longest time that is taken for one. Somebody who says more means something
// else.
const maxWait = 365 * 24 * time.Hour

// parseTimeout reads how long a client will wait: milliseconds as a plain number, a number
// with a unit such as 1.5s, or in a field grpc-timeout what gRPC defines. What is none of
// these is not for us.
func parseTimeout(name string, value []byte) (time.Duration, waitForm, bool) {
	if strings.EqualFold(name, grpcTimeout) {
		d, ok := parseGRPCTimeout(value)
		return d, waitGRPC, ok && d <= maxWait
	}
	if ms, ok := parseDigits(value); ok {
		d := time.Duration(ms) * time.Millisecond
		return d, waitPlain, d <= maxWait
	}
	if len(value) > 32 {
		return 0, waitUnit, false
	}
	d, err := time.ParseDuration(string(value))
	return d, waitUnit, err == nil && d >= 0 && d <= maxWait
}

func parseGRPCTimeout(text []byte) (time.Duration, bool) {
	if len(text) < 2 || len(text) > 9 {
		return 0, false
	}
	n, ok := parseDigits(text[:len(text)-1])
	if !ok {
		return 0, false
	}
	var unit time.Duration
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
	if n > math.MaxInt64/int64(unit) {
		return math.MaxInt64, true
	}
	return time.Duration(n) * unit, true
}

// parseDigits reads a number of up to twelve digits. (That of strconv allocates where it is
// none.)
func parseDigits(text []byte) (n int64, ok bool) {
	if len(text) == 0 || len(text) > 12 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// takeDeadline takes in until when the client waits. The field is ours from then on: each
// try is told what is left of the time.
func (x *exchange) takeDeadline() {
	x.deadline = 0
	name := x.shard.set.TimeoutHeader
	if x.grpc {
		name = grpcTimeout // which every server of gRPC knows
	}
	if name == "" {
		return
	}
	i := x.req.Lookup(name)
	if i < 0 {
		return
	}
	d, form, ok := parseTimeout(name, x.req.Value(i))
	if !ok {
		return
	}
	for ; i < len(x.req.Fields); i++ { // a second one would contradict what is sent on
		if strings.EqualFold(string(x.req.Name(i)), name) {
			x.req.Omit(i)
		}
	}
	x.deadline, x.waitForm, x.waitName = max(x.started+d, 1), form, name // 0 would be none
}

// appendDeadline tells the endpoint how much of the client's time is left.
func (x *exchange) appendDeadline(out []byte) []byte {
	if x.deadline == 0 {
		return out
	}
	left := max(x.deadline-x.shard.loop.Now(), time.Microsecond)
	out = append(append(out, x.waitName...), ": "...)
	return append(appendWait(out, left, x.waitForm), "\r\n"...)
}

// appendWait writes a time in a form, rounded down, but for less than the form can say.
func appendWait(out []byte, left time.Duration, form waitForm) []byte {
	ms, us := int64(left/time.Millisecond), int64(left/time.Microsecond)
	switch {
	case form == waitPlain:
		return strconv.AppendInt(out, max(ms, 1), 10)
	case ms == 0 && form == waitUnit:
		return append(strconv.AppendInt(out, us, 10), "us"...)
	case ms == 0:
		return append(strconv.AppendInt(out, us, 10), 'u')
	case form == waitUnit:
		return append(strconv.AppendInt(out, ms, 10), "ms"...)
	case ms > 99_999_999: // eight digits
		return append(strconv.AppendInt(out, ms/1000, 10), 'S')
	}
	return append(strconv.AppendInt(out, ms, 10), 'm')
}

// within is limit, or what is left of the client's time if that is less; 0 is no bound.
func (x *exchange) within(limit time.Duration) time.Duration {
	if x.deadline == 0 {
		return limit
	}
	left := max(x.deadline-x.shard.loop.Now(), 1) // 0 would be no bound at all
	if limit <= 0 || left < limit {
		return left
	}
	return limit
}
