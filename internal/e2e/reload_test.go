package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var reloads = flag.Int("e2e.reloads", 200, "reloads of the test that reloads under load")

// file is the configuration file of a sidecar.
func (s *sidecar) file() string { return s.cmd.Args[len(s.cmd.Args)-1] }

// rewrite replaces the configuration file, as careful people do.
func (s *sidecar) rewrite(t *testing.T, text string) { t.Helper(); putFile(t, s.file(), []byte(text)) }

// A variant of the configuration, each different from the one before: the changing service is treated
// in another way, keeps its port, or is built anew; the other one comes and goes.
func variant(n int, changing, changingPort, passing string, fixed string) string {
	more := []string{
		"", "timeout = { request = \"9s\" }", "breaker = { consecutive_failures = 9 }", "balancer = { policy = \"least_conn\" }",
		"retry = { attempts = 1 }", "health_check = { type = \"tcp\" }",
	}[n%6]
	text := fixed + strings.Replace(static("changing", more, changing), "127.0.0.1:0", changingPort, 1)
	if n%2 == 0 {
		text += static("passing", "", passing)
	}
	return text
}

// Reloads under load, each changing something: no request fails, neither at the services that
// stay the same nor at the one that changes; a session and a WebSocket live on; nothing grows.
func TestReloadsUnderLoad(t *testing.T) {
	a, b := serveOrigin(t, "a"), serveOrigin(t, "b")
	echo, ws := serveStream(t), serveSwitcher(t)
	fixed := static("steady", "", a.address, b.address) + static("queue", "protocol = \"tcp\"\n", echo.address) + static("socket", "", ws.address)
	// The port of the changing service is the system's choice, and fixed from then on.
	probe := serving(t, static("changing", "", a.address))
	port := probe.address("changing")
	probe.signal(syscall.SIGTERM)
	probe.wait()
	s := serving(t, variant(0, a.address, port, b.address, fixed))

	session := patient(t, s.address("queue"))
	talkOver(t, session)
	tunnel := upgrade(t, s.address("socket"), "")
	tunnel.SetDeadline(time.Time{})
	talkOver(t, tunnel)
	stop := make(chan struct{})
	var load sync.WaitGroup
	var answered atomic.Int64
	for i := range 8 {
		service := []string{"steady", "changing"}[i%2]
		address := s.address(service)
		load.Go(func() {
			w, err := dial(address)
			if err != nil {
				t.Error(err)
				return
			}
			w.SetDeadline(time.Time{}) // as many reloads as were asked for may take
			defer func() { w.Close() }()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if i >= 6 && n%10 == 9 { // two of them come anew all the time
					w.Close()
					if w, err = dial(address); err != nil {
						t.Errorf("%s: %v", service, err)
						return
					}
				}
				got, err := w.get("/")
				if err != nil || got.status != http.StatusOK {
					t.Errorf("%s: request %d: %+v, %v", service, n, got, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	warm := *reloads / 10
	var descriptors, memory int
	for n := 1; n <= *reloads; n++ {
		s.rewrite(t, variant(n, a.address, port, b.address, fixed))
		report, err := s.Reload(t.Context())
		if err != nil || len(report.Changed) == 0 {
			t.Fatalf("reload %d: %+v, %v", n, report, err)
		}
		if n == warm {
			descriptors, memory = s.descriptors(), int(s.memory("VmRSS"))
		}
		if t.Failed() {
			break
		}
	}
	close(stop)
	load.Wait()
	talkOver(t, session)
	talkOver(t, tunnel)
	t.Logf("%d reloads, %d requests; descriptors %d → %d, memory %d → %d KiB", *reloads, answered.Load(), descriptors, s.descriptors(), memory>>10, s.memory("VmRSS")>>10)
	if got := s.descriptors(); got > descriptors+16 {
		t.Errorf("%d descriptors, %d after the first %d reloads", got, descriptors, warm)
	}
	if got := int(s.memory("VmRSS")); got > memory+memory/2 {
		t.Errorf("%d KiB of memory, %d after the first %d reloads", got>>10, memory>>10, warm)
	}
	within(t, patience, "no task is left of what was replaced", func() bool {
		tasks := 0
		for _, l := range s.document().Loops {
			tasks += int(l.Tasks)
		}
		return tasks <= 2
	})
	session.Close()
	tunnel.Close()
}

// patient is connect for as long as the test takes.
func patient(t *testing.T, address string) *wire {
	t.Helper()
	w := connect(t, address)
	if err := w.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return w
}

// talkOver passes a word through a stream and back.
func talkOver(t *testing.T, w *wire) {
	t.Helper()
	if _, err := fmt.Fprint(w, "word"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	for n := 0; n < len(b); {
		m, err := w.r.Read(b[n:])
		if err != nil {
			t.Fatalf("after %q: %v", b[:n], err)
		}
		n += m
	}
	if string(b) != "word" {
		t.Fatalf("%q came back", b)
	}
}

// SIGHUP and a changed file reload too, and a mistake is told everywhere and changes nothing.
func TestAMistakeInAReloadChangesNothing(t *testing.T) {
	t.Parallel()
	o := serveOrigin(t, "a")
	good := "[runtime]\nwatch_config = true\n" + static("orders", "", o.address)
	s := serving(t, good)
	s.rewrite(t, good+"[[service]]\nname = \"stock\"\nlistne = \"127.0.0.1:0\"\n")
	s.signal(syscall.SIGHUP)
	within(t, patience, "the log says what is wrong", func() bool { return len(s.lines("reload failed", "listne", "listen")) > 0 })
	if text := s.statusText(); !strings.Contains(text, "the last reload failed") || !strings.Contains(text, "listne") {
		t.Errorf("the status does not say that the reload failed:\n%s", text)
	}
	r := command(t, "", nil, "reload", "--admin", s.Address)
	if r.code != 1 || !strings.Contains(r.stderr, "listne") {
		t.Errorf("sidecar reload: exit status %d, %q", r.code, r.stderr)
	}
	if a, err := connect(t, s.address("orders")).get("/"); err != nil || a.status != http.StatusOK {
		t.Errorf("%+v, %v", a, err)
	}
	// The file is looked at: what is right is applied without being asked for.
	s.rewrite(t, good+static("stock", "", o.address))
	within(t, patience, "the new service is there", func() bool { return len(s.document().Services) == 2 })
	within(t, patience, "the status is calm again", func() bool { return !strings.Contains(s.statusText(), "reload failed") })
	if left, err := filepath.Glob(s.file() + "*"); err != nil || len(left) != 1 {
		t.Errorf("%q, %v", left, err)
	}
}
