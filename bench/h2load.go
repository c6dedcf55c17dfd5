package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// h2Streams is how many requests each connection of h2load has under way.
const h2Streams = 32

// An h2Load is what h2load shall ask for.
type h2Load struct {
	args   []string // method, body and header fields
	path   string
	answer int // octets of each answer's body
}

// h2load loads an address with requests of HTTP/2 for a while, from the load's core.
func (b *bench) h2load(what h2Load, addr string, conns int, d time.Duration) (loadResult, time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.ctx, d+15*time.Second)
	defer cancel()
	var out bytes.Buffer
	args := slices.Concat(what.args, []string{
		"-t", "1", "-c", strconv.Itoa(conns), "-m", strconv.Itoa(h2Streams), "-D", strconv.Itoa(int(d.Seconds())),
		"http://" + addr + what.path,
	})
	p, err := startProcess("h2load", b.opts.loadCore, &out, b.bin.h2load, args...)
	if err != nil {
		return loadResult{}, 0, err
	}
	if err := p.finish(ctx); err != nil {
		return loadResult{}, 0, err
	}
	r, err := parseH2load(out.String(), what.answer)
	return r, p.cpuUsed(), err
}

var (
	h2Finished = regexp.MustCompile(`(?m)^finished in [^,]+, ([0-9.]+) req/s`)
	h2Requests = regexp.MustCompile(`(?m)^requests: .* ([0-9]+) done, ([0-9]+) succeeded, .* ([0-9]+) timeout$`)
	h2Traffic  = regexp.MustCompile(`(?m)^traffic: .*\(([0-9]+)\) data$`)
	h2Times    = regexp.MustCompile(`(?m)^time for request: +\S+ +\S+ +(\S+)`)
)

// parseH2load reads what h2load prints. It knows nothing of gRPC, whose failures have status
// 200 as well: answers that are missing in the octets count as errors.
func parseH2load(out string, answer int) (loadResult, error) {
	var r loadResult
	finished, requests := h2Finished.FindStringSubmatch(out), h2Requests.FindStringSubmatch(out)
	traffic, times := h2Traffic.FindStringSubmatch(out), h2Times.FindStringSubmatch(out)
	if finished == nil || requests == nil || traffic == nil || times == nil {
		return r, fmt.Errorf("not an answer of h2load: %q", out)
	}
	number := func(s string) int64 {
		n, _ := strconv.ParseInt(s, 10, 64) // digits; what is too large is the largest
		return n
	}
	var err error
	if r.rate, err = strconv.ParseFloat(finished[1], 64); err != nil {
		return r, fmt.Errorf("h2load said %q: %w", finished[0], err)
	}
	if r.mean, err = time.ParseDuration(strings.TrimSpace(times[1])); err != nil {
		return r, fmt.Errorf("h2load said %q: %w", times[0], err)
	}
	done, succeeded := number(requests[1]), number(requests[2])
	whole := number(traffic[1]) / int64(answer)
	r.requests = done
	r.errors = done - min(succeeded, whole) + number(requests[3])
	if r.requests == 0 {
		return r, errors.New("h2load made no request")
	}
	return r, nil
}
