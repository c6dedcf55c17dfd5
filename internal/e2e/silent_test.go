package e2e

import (
	"syscall"
	"testing"
	"time"
)

// A victim is one of three instances, with which something happens under load.
type victim struct {
	address string
	name    string        // of its answers
	strike  func()        // from then on it is gone
	heal    func() string // it is back, under this name
	cause   []string      // what explain says of it meanwhile
}

// victimLatency is what all three take to answer.
const victimLatency = latencyVariable + "=20ms"

func killed(t *testing.T) *victim {
	p, address := spawnOrigin(t, "127.0.0.1:0", victimLatency)
	return &victim{address: address, name: p.name(), strike: p.kill, cause: []string{"ejected|probed|it fails", "connection refused"},
		heal: func() string {
			back, _ := spawnOrigin(t, address, victimLatency)
			return back.name()
		}}
}

func stopped(t *testing.T) *victim {
	p, address := spawnOrigin(t, "127.0.0.1:0", victimLatency)
	return &victim{address: address, name: p.name(), cause: []string{"ejected|probed|it fails", "timed out", "it has sent nothing to anyone"},
		strike: func() { p.signal(syscall.SIGSTOP) },
		heal: func() string {
			p.signal(syscall.SIGCONT)
			return p.name()
		}}
}

func TestOneThatIsKilledIsNotMissed(t *testing.T) {
	t.Parallel()
	isGone(t, killed(t), crowd)
}

func TestOneThatStandsStillIsNotMissed(t *testing.T) {
	t.Parallel()
	isGone(t, stopped(t), crowd)
}

// crowd is how many connections ask without a pause while a victim goes and comes back.
const crowd = 32

// isGone has connections ask without a pause while the victim goes and comes back. No request
// fails, and what is slow for it is slow once: at most those requests that were on their way
// to it, and the few by which it is probed.
func isGone(t *testing.T, v *victim, clients int) {
	const (
		connectTimeout, probes = time.Second, 8
		long                   = 500 * time.Millisecond
	)
	_, second := spawnOrigin(t, "127.0.0.1:0", victimLatency)
	_, third := spawnOrigin(t, "127.0.0.1:0", victimLatency)
	s := serving(t, static("orders", "", v.address, second, third))
	l := startLoad(t, s.address("orders"), clients)
	l.more(t, 50*clients)
	within(t, patience, "the victim is in use", func() bool { return l.from(v.name) > 0 })

	v.strike()
	struck := time.Now()
	s.wantExplained("orders", v.address, v.cause...)
	l.more(t, 100*clients)
	name, healed := v.heal(), time.Now()
	within(t, patience, "it gets traffic again", func() bool {
		return len(l.sofar().from(name).between(healed.Add(time.Millisecond), time.Now())) > 0
	})
	back := time.Since(healed)
	within(t, patience, "it has its share again", func() bool {
		return l.sofar().between(time.Now().Add(-time.Second), time.Now()).share(name) > 0.1
	})
	whole := time.Since(healed)
	l.end(t)

	before, after := l.samples.between(struck.Add(-time.Hour), struck), l.samples.between(struck, healed)
	all := l.samples.between(struck, struck.Add(time.Hour))
	slow := all.slower(long)
	t.Logf("before: %v", before)
	t.Logf("while it is gone: %v; over %v: %d", after, long, len(slow))
	t.Logf("back in use %v after it has come back (required: 10s), with a share of 10 %% and more after %v",
		back.Round(time.Millisecond), whole.Round(time.Millisecond))
	// Who has waited for the victim in vain waits for another one then, as anybody does.
	if p99, usual := all.percentile(0.99), before.percentile(0.99); p99 > connectTimeout+2*usual {
		t.Errorf("p99 is %v, and was %v", p99, usual)
	}
	if n := len(slow); n > clients+probes {
		t.Errorf("%d requests took longer than %v, of %d connections", n, long, clients)
	}
	if back > 10*time.Second {
		t.Errorf("it gets traffic only %v after it has come back", back)
	}
	for i := range slow[:min(len(slow), 2*clients)] {
		if !t.Failed() {
			break
		}
		t.Logf("slow: %v after the strike, for %v", slow[i].at.Sub(struck).Round(time.Millisecond), slow[i].took.Round(time.Millisecond))
	}
}
