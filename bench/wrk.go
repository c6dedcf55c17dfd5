package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// loadResult is what a load generator says about one run.
type loadResult struct {
	requests int64
	rate     float64       // requests per second
	p50, p99 time.Duration // of wrk
	mean     time.Duration // of the others
	errors   int64         // failed sockets and answers other than 2xx and 3xx
}

// wrk loads a URL over keep-alive connections for a while.
func (b *bench) wrk(url string, core, threads, conns int, d time.Duration) (loadResult, time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.ctx, d+15*time.Second)
	defer cancel()
	var out bytes.Buffer
	p, err := startProcess("wrk", core, &out, b.bin.wrk, "--latency", "--timeout", "5s",
		"-t", strconv.Itoa(min(threads, conns)), "-c", strconv.Itoa(conns),
		"-d", strconv.Itoa(int(d.Seconds()))+"s", url)
	if err != nil {
		return loadResult{}, 0, err
	}
	if err := p.finish(ctx); err != nil {
		return loadResult{}, 0, err
	}
	r, err := parseWrk(out.String())
	return r, p.cpuUsed(), err
}

// parseWrk reads what wrk --latency prints.
func parseWrk(out string) (loadResult, error) {
	var r loadResult
	var err error
	found := 0
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "50%":
			r.p50, err = parseWrkTime(f[1])
			found++
		case len(f) == 2 && f[0] == "99%":
			r.p99, err = parseWrkTime(f[1])
			found++
		case len(f) >= 4 && f[1] == "requests" && f[2] == "in":
			r.requests, err = strconv.ParseInt(f[0], 10, 64)
			found++
		case len(f) == 2 && f[0] == "Requests/sec:":
			r.rate, err = strconv.ParseFloat(f[1], 64)
			found++
		case strings.HasPrefix(strings.TrimSpace(line), "Socket errors:"),
			strings.HasPrefix(strings.TrimSpace(line), "Non-2xx or 3xx responses:"):
			r.errors += sumNumbers(f)
		}
		if err != nil {
			return r, fmt.Errorf("wrk said %q: %w", strings.TrimSpace(line), err)
		}
	}
	if found != 4 {
		return r, fmt.Errorf("not an answer of wrk --latency: %q", out)
	}
	if r.requests == 0 {
		return r, errors.New("wrk made no request")
	}
	return r, nil
}

// sumNumbers adds up the numbers of a line like "Socket errors: connect 0, read 2, …".
func sumNumbers(fields []string) int64 {
	var sum int64
	for _, f := range fields {
		if n, err := strconv.ParseInt(strings.Trim(f, ","), 10, 64); err == nil {
			sum += n
		}
	}
	return sum
}

// parseWrkTime reads a time as wrk prints it: 512.00us, 1.02ms, 1.50s, 2.00m, 1.00h.
func parseWrkTime(s string) (time.Duration, error) {
	return time.ParseDuration(s) // the same units
}
