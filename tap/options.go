package tap

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sidecar/accesslog"
)

// Headers says which header fields are shown.
type Headers uint8

// What may be shown of header fields.
const (
	HeadersNone  Headers = iota
	HeadersPlain         // all, with the values of those hidden that prove who somebody is
	HeadersAll           // all, and these values too
)

// Rates, in records per second.
const (
	UsualRate = 10
	MostRate  = 1000
)

// Options say what a Watch wants to see.
type Options struct {
	Rate    int // records per second, 1 to MostRate; 0 means UsualRate
	Headers Headers
	// Status is codes and classes: "503", "5xx", "4xx,5xx"; "none" is for what was not answered.
	// Empty: any.
	Status StatusFilter
	// Endpoint is the address that a request was tried on; empty: any.
	Endpoint string
}

func (o Options) bounded() Options {
	if o.Rate == 0 {
		o.Rate = UsualRate
	}
	o.Rate = max(1, min(o.Rate, MostRate))
	return o
}

// wants tells whether a request is one of those.
func (o *Options) wants(line *accesslog.Record) bool {
	if !o.Status.has(line.Status) {
		return false
	}
	return o.Endpoint == "" || slices.ContainsFunc(line.Attempts.List(), func(a accesslog.Attempt) bool { return a.Endpoint == o.Endpoint })
}

// A StatusFilter chooses requests by their status; the zero value takes all.
type StatusFilter struct{ ranges []statusRange }

type statusRange struct{ from, to int }

// ParseStatus reads a StatusFilter as Options.Status describes it.
func ParseStatus(text string) (StatusFilter, error) {
	var f StatusFilter
	if text == "" {
		return f, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		word = strings.ToLower(strings.TrimSpace(word))
		if word == "none" {
			f.ranges = append(f.ranges, statusRange{0, 0})
			continue
		}
		if class, ok := strings.CutSuffix(word, "xx"); ok && len(class) == 1 && class[0] >= '1' && class[0] <= '5' {
			from := int(class[0]-'0') * 100
			f.ranges = append(f.ranges, statusRange{from, from + 99})
			continue
		}
		code, err := strconv.Atoi(word)
		if err != nil || code < 100 || code > 599 {
			return StatusFilter{}, fmt.Errorf("status %q is none; want a code such as 503, a class such as 5xx, several with commas, or none", word)
		}
		f.ranges = append(f.ranges, statusRange{code, code})
	}
	return f, nil
}

func (f StatusFilter) has(status int) bool {
	if f.ranges == nil {
		return true
	}
	return slices.ContainsFunc(f.ranges, func(r statusRange) bool { return status >= r.from && status <= r.to })
}
