package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// A Prober tries an address once.
//
// Probe returns nil if the address passes, and otherwise an error that says why not, in
// words fit for a status page. It ends soon after ctx does, and has ended everything it
// started when it returns. It may be called from several goroutines at once.
//
// The address is "ip:port", "host:port" or "unix:/path".
type Prober interface {
	Probe(ctx context.Context, address string) error
}

// The settings used where Settings leave them at zero.
const (
	DefaultInterval = 5 * time.Second
	DefaultTimeout  = time.Second
	DefaultRise     = 2
	DefaultFall     = 3
)

// maxStartDelay bounds the random delay before the first probe.
const maxStartDelay = 250 * time.Millisecond

// Settings say how often to probe and how many results make a verdict. Whatever is not
// positive has its default.
type Settings struct {
	// Interval is the time from the start of one probe to the start of the next, give or
	// take a tenth at random.
	Interval time.Duration
	// DownInterval is used instead of Interval while the verdict is "down"; Interval if not
	// positive. Shorter, it brings an address back sooner; longer, it spares one that is gone
	// for good.
	DownInterval time.Duration
	// Timeout is how long one probe may take. One that takes longer has failed.
	Timeout time.Duration
	// Rise is how many passes in a row bring an address up that was down.
	Rise int
	// Fall is how many failures in a row bring an address down that was up.
	Fall int
}

func (s Settings) withDefaults() Settings {
	if s.Interval <= 0 {
		s.Interval = DefaultInterval
	}
	if s.DownInterval <= 0 {
		s.DownInterval = s.Interval
	}
	if s.Timeout <= 0 {
		s.Timeout = DefaultTimeout
	}
	if s.Rise <= 0 {
		s.Rise = DefaultRise
	}
	if s.Fall <= 0 {
		s.Fall = DefaultFall
	}
	return s
}

// A Verdict is what the probes of an address have come to.
type Verdict struct {
	Healthy bool
	// Reason says what led to it, with the last probe's error.
	Reason string
	// At is when the probe that decided ended, and Took how long it took.
	At   time.Time
	Took time.Duration
}

// Watch probes address until ctx ends, and only then returns. It reports the first
// verdict, which a single probe decides, and after that each change of verdict; report is
// called on the caller's goroutine and delays the next probe for as long as it takes. A probe that
// could not be made because this host lacks descriptors, memory or ports does not count.
func Watch(ctx context.Context, p Prober, address string, s Settings, report func(Verdict)) {
	s = s.withDefaults()
	w := watch{settings: s}
	timer := time.NewTimer(rand.N(min(s.Interval/10, maxStartDelay) + 1))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		start := time.Now()
		err := probe(ctx, p, address, s.Timeout)
		if ctx.Err() != nil {
			return // the probe was cut short; its result says nothing
		}
		if !w.tells(err) {
			timer.Reset(jittered(s.Interval))
			continue
		}
		if v, changed := w.observe(err); changed {
			v.At = time.Now()
			v.Took = v.At.Sub(start)
			report(v)
		}
		// A probe that took longer than the interval must not make the next one follow
		// at once: a struggling address would be probed the harder.
		interval := w.interval()
		timer.Reset(max(jittered(interval)-time.Since(start), interval/10))
	}
}

func probe(ctx context.Context, p Prober, address string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := p.Probe(ctx, address)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %v", timeout)
	}
	return err
}

// A watch is what the probes of one address have come to so far.
type watch struct {
	settings Settings
	decided  bool
	healthy  bool
	row      int // results in a row that contradict the verdict
}

// interval is the time between two probes under the present verdict. An address on its way
// up is still down, and one on its way down is still up.
func (w *watch) interval() time.Duration {
	if w.decided && !w.healthy {
		return w.settings.DownInterval
	}
	return w.settings.Interval
}

// tells reports whether the result of a probe says anything of the address. When this host is out of
// descriptors, memory or ports, every address would be down. That there is no port also reads as that
// the host has no address of that kind, which no probe will change: so it spares only who was up.
func (w *watch) tells(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return false
		}
	}
	return !errors.Is(err, syscall.EADDRNOTAVAIL) || !w.healthy
}

// observe takes the result of one probe and tells whether the verdict is new.
func (w *watch) observe(err error) (Verdict, bool) {
	passed := err == nil
	if w.decided && passed == w.healthy {
		w.row = 0
		return Verdict{}, false
	}
	w.row++
	switch {
	case !w.decided:
	case passed && w.row < w.settings.Rise, !passed && w.row < w.settings.Fall:
		return Verdict{}, false
	}
	v := Verdict{Healthy: passed, Reason: reason(w.row, err)}
	w.decided, w.healthy, w.row = true, passed, 0
	return v, true
}

func reason(row int, err error) string {
	switch {
	case err == nil && row == 1:
		return "health check passed"
	case err == nil:
		return fmt.Sprintf("health check passed %d times in a row", row)
	case row == 1:
		return fmt.Sprintf("health check failed: %v", err)
	default:
		return fmt.Sprintf("health check failed %d times in a row, the last time: %v", row, err)
	}
}

// jittered returns a duration within a tenth of d.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
