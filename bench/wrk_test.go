package main

import (
	"testing"
	"time"
)

const wrkAnswer = `Running 5s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.95ms    1.13ms  17.87ms   94.71%
    Req/Sec    75.80k     3.01k   80.38k    70.00%
  Latency Distribution
     50%  812.00us
     75%    1.02ms
     90%    1.37ms
     99%    1.50s 
  376843 requests in 5.00s, 98.83MB read
Requests/sec:  75353.25
Transfer/sec:     19.76MB
`

func TestParseWrkReadsTheFigures(t *testing.T) {
	got, err := parseWrk(wrkAnswer)
	want := loadResult{requests: 376843, rate: 75353.25, p50: 812 * time.Microsecond, p99: 1500 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestParseWrkAddsUpErrors(t *testing.T) {
	got, err := parseWrk(wrkAnswer + "  Socket errors: connect 1, read 20, write 0, timeout 300\n  Non-2xx or 3xx responses: 4000\n")
	if err != nil || got.errors != 4321 {
		t.Errorf("got %d errors, %v; want 4321", got.errors, err)
	}
}

func TestParseWrkRefusesWhatIsNotAnAnswer(t *testing.T) {
	for name, out := range map[string]string{
		"nothing":    "",
		"a failure":  "unable to connect to 127.0.0.1:1 Connection refused\n",
		"half of it": wrkAnswer[:len(wrkAnswer)/2],
		"no request": "  50%  0.00us\n  99%  0.00us\n  0 requests in 5.00s, 0.00B read\nRequests/sec:      0.00\n",
		"bad number": "Requests/sec:  many\n",
		"bad time":   "     50%  812.00\n",
	} {
		if got, err := parseWrk(out); err == nil {
			t.Errorf("%s: no error but %+v", name, got)
		}
	}
}
