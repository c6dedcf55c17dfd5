package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A following is a sidecar that hears of the instances of one service, orders, from something
// other than Consul alone, and clients that ask it all the time.
type following struct {
	*sidecar
	t      *testing.T
	config string
	load   *load
}

// alone and among are how the log tells that a source fails: the only one of a service, and one
// of several.
const (
	alone = "source fails, the last set stands"
	among = "one of the service's sources fails"
)

// follow starts a sidecar and has it asked. top are tables of its configuration, and discovery is
// what stands in the service's table of that name.
func follow(t *testing.T, top, discovery string, env ...string) *following {
	t.Helper()
	f := &following{t: t}
	f.config = top + "\n[[service]]\nname = \"orders\"\nlisten = \"127.0.0.1:0\"\n[service.discovery]\n" + discovery + "\n"
	f.sidecar = serving(t, f.config, env...)
	f.ask()
	return f
}

func (f *following) ask() { f.load = startPaced(f.t, f.address("orders"), askers, askEvery) }

// wantTraffic waits until an instance that the source tells of gets traffic.
func (f *following) wantTraffic(one *origin) {
	f.t.Helper()
	took := within(f.t, soon, one.name+" gets traffic", func() bool { return f.load.from(one.name) > 0 })
	f.t.Logf("%s gets traffic after %v", one.name, took.Round(time.Millisecond))
}

// wantResumed is wantTraffic less than 5 s after the source was back.
func (f *following) wantResumed(one *origin, back time.Time) {
	f.t.Helper()
	within(f.t, resumes-time.Since(back), one.name+" gets traffic", func() bool { return f.load.from(one.name) > 0 })
	f.t.Logf("%s gets traffic %v after the source is back (required: 5s)", one.name, time.Since(back).Round(time.Millisecond))
	within(f.t, patience, "the status says that the source answers", func() bool { return !f.service("orders").Source.Failing })
}

// wantGone waits until an instance that the source does not tell of any more has no connection,
// and sees that it gets none again.
func (f *following) wantGone(one *origin) {
	f.t.Helper()
	took := within(f.t, soon, one.name+" is not known any more", func() bool { return f.endpoint("orders", one.address).Address == "" })
	within(f.t, soon, one.name+" has no connection any more", func() bool { return one.open() == 0 })
	f.t.Logf("%s is not known any more after %v", one.name, took.Round(time.Millisecond))
	served := one.served.Load()
	f.load.more(f.t, 200)
	if n := one.served.Load(); n != served || one.open() != 0 {
		f.t.Errorf("%s has left, got %d more requests, and has %d connections", one.name, n-served, one.open())
	}
}

// wantFailing waits until `sidecar status` and the log say that the source fails, with which
// words.
func (f *following) wantFailing(words ...string) {
	f.t.Helper()
	took := within(f.t, noticed, fmt.Sprintf("the status says that the source fails, with %q", words), func() bool {
		s := f.service("orders").Source
		return s.Failing && hasAll(s.LastError, words)
	})
	f.t.Logf("the status says that the source fails after %v", took.Round(time.Millisecond))
	if text := f.statusText(); !hasAll(text, words) {
		f.t.Errorf("the status does not say %q:\n%s", words, text)
	}
	if n := f.logged(alone); n == 0 {
		f.t.Error("the log does not say that the source fails")
	}
}

// wantLine waits until a line of `sidecar status` tells of a source with all of words.
func (f *following) wantLine(words ...string) {
	f.t.Helper()
	var text string
	defer func() {
		if f.t.Failed() {
			f.t.Logf("the status says:\n%s", text)
		}
	}()
	within(f.t, soon, fmt.Sprintf("a line on a source says %q", words), func() bool {
		text = f.statusText()
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "  source ") && hasAll(line, words) {
				return true
			}
		}
		return false
	})
}

// outlast passes the time until at least d has gone by, in which all is served.
func (f *following) outlast(d time.Duration) {
	f.t.Helper()
	f.load.more(f.t, askers*(int(d/askEvery)+2))
}

// end sees that not one request has failed, and that the log has told each of the outages once.
func (f *following) end(outages int) {
	f.t.Helper()
	f.load.end(f.t)
	if n := f.logged(alone); n != outages {
		f.t.Errorf("the log says %d times that the source fails, want once for each of %d outages", n, outages)
	}
}
