package accesslog

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = 30 * time.Second

// TestMain fails the package when a goroutine is left.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftover(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "a goroutine is left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftover waits for loggers' goroutines that are on their way out, and shows one that stays.
func leftover() string {
	buf := make([]byte, 1<<20)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		var left string
		for g := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			if bytes.Contains(g, []byte("accesslog.(*Logger).run")) {
				left = string(g)
			}
		}
		if left == "" || time.Now().After(deadline) {
			return left
		}
	}
}

// A sink keeps what is written to it.
type sink struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// start makes a logger, in UTC, that the test closes at its end if not before.
func start(t testing.TB, o Options) *Logger {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l.zone = time.UTC
	t.Cleanup(func() { closeIt(t, l) })
	return l
}

func closeIt(t testing.TB, l *Logger) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if err := l.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// line is what a logger of that format makes of a record, without the end of the line.
func line(t testing.TB, format string, r *Record) string {
	t.Helper()
	var out sink
	l := start(t, Options{Output: &out, Format: format})
	l.Shard(0).Log(r)
	closeIt(t, l)
	text := out.String()
	if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		t.Fatalf("not a line: %q", text)
	}
	return strings.TrimSuffix(text, "\n")
}

// full is a record in which everything is set.
func full() *Record {
	a := &Attempts{}
	a.Add(Attempt{"10.0.0.1:8080", "connect-failed", 0, 1500 * time.Microsecond})
	a.Add(Attempt{"10.0.0.2:8080", OutcomeOK, 200, 20 * time.Millisecond})
	return &Record{
		Time: time.Date(2026, 1, 31, 12, 0, 0, 7e6, time.UTC), Service: "orders", Client: netip.MustParseAddrPort("192.0.2.7:51234"),
		Protocol: HTTP11, Method: []byte("GET"), Target: []byte("/v1/orders?id=7"), Host: []byte("orders.internal"),
		Referer: []byte("https://shop.example/"), UserAgent: []byte("curl/8.5.0 (x86_64)"),
		Traceparent: []byte("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
		Status:      200, BytesIn: 120, BytesOut: 5320, BodyOut: 5120, Duration: 23456789 * time.Nanosecond, FirstByte: 21 * time.Millisecond,
		Attempts: a, Flag: FlagOK, Tunnel: true, GRPC: "5",
	}
}
