package main

import (
	"strings"
	"testing"
	"time"
)

const h2loadAnswer = `starting benchmark...
Main benchmark duration is over for thread #0. Stopping all clients.

finished in 1.00s, 185504.50 req/s, 28.50MB/s
requests: 185504 total, 185760 started, 185504 done, 185504 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 185504 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 28.50MB (29881572) total, 1.11MB (1160991) headers (space savings 92.64%), 22.11MB (23188000) data
                     min         max         mean         sd        +/- sd
time for request:      827us     10.51ms      1.29ms       545us    95.18%
time for connect:       53us       224us       142us        57us    62.50%
req/s           :   23119.43    23214.89    23171.07       29.11    75.00%
`

func TestParseH2loadReadsTheFigures(t *testing.T) {
	got, err := parseH2load(h2loadAnswer, 125)
	want := loadResult{requests: 185504, rate: 185504.50, mean: 1290 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestParseH2loadCountsErrors(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		want     int64
	}{
		"failed":                       {"185504 succeeded, 0 failed", "185000 succeeded, 504 failed", 504},
		"timeouts":                     {"0 timeout", "7 timeout", 7},
		"a call without its answer":    {"(23188000) data", "(23187875) data", 1},
		"what comes beyond is no gain": {"(23188000) data", "(23198000) data", 0},
	} {
		got, err := parseH2load(strings.Replace(h2loadAnswer, c.old, c.new, 1), 125)
		if err != nil || got.errors != c.want {
			t.Errorf("%s: got %d errors, %v; want %d", name, got.errors, err, c.want)
		}
	}
}

func TestParseH2loadRefusesWhatIsNotAnAnswer(t *testing.T) {
	for name, out := range map[string]string{
		"nothing":    "",
		"a failure":  "client could not connect to host\n",
		"half of it": h2loadAnswer[:len(h2loadAnswer)/2],
		"no request": strings.Replace(h2loadAnswer, "185504 done", "0 done", 1),
		"a bad time": strings.Replace(h2loadAnswer, "1.29ms", "1.29", 1),
	} {
		if got, err := parseH2load(out, 125); err == nil {
			t.Errorf("%s: no error but %+v", name, got)
		}
	}
}
