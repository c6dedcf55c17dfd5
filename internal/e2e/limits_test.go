package e2e

import (
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

// wantRefusal asks once and wants the sidecar's own answer, for the cause, at once: what it
// would have had to wait for does not come.
func wantRefusal(t *testing.T, address, cause, text string) {
	t.Helper()
	begin := time.Now()
	a := get(t, address, "/")
	if a.status != http.StatusServiceUnavailable || a.header.Get("Sidecar-Error") != cause || lacking(a.body, []string{text}) != "" {
		t.Errorf("%+v, want 503 %s with %q in it", a, cause, text)
	}
	t.Logf("refused after %v: %s", time.Since(begin).Round(time.Microsecond), a.body)
}

// What is over a limit is refused, and no longer once there is room.
func TestWhatIsOverALimitIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"breaker.max_in_flight":   "limit of requests in flight",
		"breaker.max_connections": "breaker.max_connections",
		"limit.max_in_flight":     "limit.max_in_flight",
		"limit.max_connections":   "limit.max_connections",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := serveOrigin(t, "orders-1")
			s := serving(t, static("orders", name+" = 2", o.address))
			var held []*wire
			for range 2 {
				w := connect(t, s.address("orders"))
				if err := w.send("/wait"); err != nil {
					t.Fatal(err)
				}
				<-o.halves
				held = append(held, w)
			}
			wantRefusal(t, s.address("orders"), "over-limit", text)
			if n := o.served.Load(); n != 2 {
				t.Errorf("the origin was asked %d times", n)
			}
			close(o.hold)
			for _, w := range held {
				if a, err := w.receive(); err != nil || a.status != http.StatusOK {
					t.Errorf("what was within the limit: %+v, %v", a, err)
				}
			}
			within(t, patience, "there is room again", func() bool { return get(t, s.address("orders"), "/").status == http.StatusOK })
			if n := sum(metrics(t, s), "sidecar_http_errors_total"); n < 1 {
				t.Errorf("%v errors are counted", n)
			}
		})
	}
}

// deafAddress neither accepts connections nor refuses them, for as long as the test runs.
func deafAddress(t *testing.T) string {
	t.Helper()
	fd := -1
	address := bound(t, func(n int) error {
		fd = n
		return nil
	})
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	// Its queue takes one connection. After that the kernel does not answer.
	connect(t, address)
	return address
}

func TestNoMoreWaitForAConnectionThanMay(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"breaker.max_pending": "breaker.max_pending", "limit.max_pending": "limit.max_pending"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deaf := deafAddress(t)
			s := serving(t, static("orders", name+" = 1\ntimeout.connect = \"2s\"", deaf))
			w := connect(t, s.address("orders"))
			if err := w.send("/"); err != nil {
				t.Fatal(err)
			}
			within(t, patience, "a connection is being made", func() bool { return s.service("orders").Pending == 1 })
			wantRefusal(t, s.address("orders"), "over-limit", text)
			if a, err := w.receive(); err != nil || a.status != http.StatusGatewayTimeout || a.header.Get("Sidecar-Error") != "connect-timeout" {
				t.Errorf("the one that may wait: %+v, %v", a, err)
			}
			within(t, patience, "nobody waits any more", func() bool { return s.service("orders").Pending == 0 })
		})
	}
}

// serveQueue starts an origin that works on a few requests at a time, and lets the others wait.
func serveQueue(t *testing.T, name string, workers int, work time.Duration) *origin {
	t.Helper()
	o := serveOrigin(t, name)
	o.workers = make(chan struct{}, workers)
	o.latency.Store(int64(work))
	return o
}

// Who is overloaded answers as much as before, only later. A learned limit refuses what is too
// much, so that the rest need not wait, and costs no good answers for it.
func TestALearnedLimitShedsAnOverload(t *testing.T) {
	t.Parallel()
	const (
		workers, work, clients = 8, 10 * time.Millisecond, 96
		every, during          = 40 * time.Millisecond, 4 * time.Second
	)
	with, without := serveQueue(t, "with", workers, work), serveQueue(t, "without", workers, work)
	s := serving(t, static("with", "limit.adaptive = true", with.address)+static("without", "", without.address))
	loads := map[string]*load{}
	for _, service := range []string{"with", "without"} {
		loads[service] = startPaced(t, s.address(service), clients, every)
	}
	begin := time.Now()
	within(t, 2*patience, "it has lasted for long enough", func() bool { return time.Since(begin) > during })
	text := s.explain("with")
	var all sync.WaitGroup
	for _, l := range loads {
		all.Go(l.stop)
	}
	all.Wait()
	// The first second is for learning.
	end := begin.Add(during)
	limited, free := loads["with"].samples.between(begin.Add(during/4), end), loads["without"].samples.between(begin.Add(during/4), end)
	good, usual := limited.good(), free.good()
	t.Logf("with a learned limit: %v; of the good: %v", limited, good)
	t.Logf("without: %v", free)
	t.Logf("explain says:\n%s", text)
	if len(limited) == len(good) {
		t.Error("nothing was shed, which proves nothing")
	}
	for _, one := range limited {
		if one.status != http.StatusOK && one.cause != "shed" {
			t.Fatalf("a request was refused otherwise: %+v", one)
		}
	}
	if ratio := float64(len(good)) / float64(len(usual)); ratio < 0.8 {
		t.Errorf("%.2f of the good answers are left", ratio)
	}
	if good.percentile(0.5) > usual.percentile(0.5)/2 {
		t.Errorf("half of the good answers took %v, and %v without a limit", good.percentile(0.5), usual.percentile(0.5))
	}
	if missing := lacking(text, []string{"learned limit", "shed since the start"}); missing != "" {
		t.Errorf("explain does not say %q", missing)
	}
}
