package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A clinic watches one address with a prober that a test steers.
type clinic struct {
	t      *testing.T
	result func(ctx context.Context) error
	script []bool // results of the first probes, used if result is nil; then all pass

	mu     sync.Mutex
	seen   record
	record // what afterProbes saw last
}

type record struct {
	probes   []time.Time
	verdicts []Verdict
}

func (c *clinic) Probe(ctx context.Context, address string) error {
	if address != "10.0.0.1:80" {
		c.t.Errorf("probes %q", address)
	}
	c.mu.Lock()
	n := len(c.seen.probes)
	c.seen.probes = append(c.seen.probes, time.Now())
	c.mu.Unlock()
	switch {
	case c.result != nil:
		return c.result(ctx)
	case n < len(c.script) && !c.script[n]:
		return errRefused
	default:
		return nil
	}
}

func (c *clinic) report(v Verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.verdicts = append(c.seen.verdicts, v)
}

// watch lets Watch run, and ends it with the test.
func (c *clinic) watch(s Settings) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Watch(ctx, c, "10.0.0.1:80", s, c.report)
	}()
	c.t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// afterProbes lets time pass until there have been n probes.
func (c *clinic) afterProbes(n int) {
	c.t.Helper()
	for range 1000 {
		synctest.Wait()
		c.mu.Lock()
		c.record = record{slices.Clone(c.seen.probes), slices.Clone(c.seen.verdicts)}
		c.mu.Unlock()
		if len(c.probes) >= n {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.t.Fatalf("only %d probes, want %d", len(c.probes), n)
}

// gaps returns the times between the probes that afterProbes saw.
func (c *clinic) gaps() []time.Duration {
	var out []time.Duration
	for i := range c.probes[1:] {
		out = append(out, c.probes[i+1].Sub(c.probes[i]))
	}
	return out
}

func (c *clinic) wantVerdicts(want ...string) {
	c.t.Helper()
	var got []string
	for _, v := range c.verdicts {
		got = append(got, fmt.Sprintf("%v: %s", v.Healthy, v.Reason))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		c.t.Fatalf("verdicts\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

var errRefused = errors.New("connection refused")

func passes(context.Context) error  { return nil }
func refuses(context.Context) error { return errRefused }

var quick = Settings{Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3}

func TestFirstProbeDecidesAlone(t *testing.T) {
	for name, first := range map[string]struct {
		result func(context.Context) error
		want   string
	}{
		"passes": {passes, "true: health check passed"},
		"fails":  {refuses, "false: health check failed: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				c := &clinic{t: t, result: first.result}
				c.watch(quick)
				c.afterProbes(1)
				c.wantVerdicts(first.want)
				if d := c.probes[0].Sub(start); d > maxStartDelay {
					t.Errorf("the first probe came after %v", d)
				}
				if !c.verdicts[0].At.Equal(c.probes[0]) {
					t.Errorf("verdict at %v, probe at %v", c.verdicts[0].At, c.probes[0])
				}
				c.afterProbes(20)
				c.wantVerdicts(first.want)
			})
		})
	}
}

func TestRiseAndFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := []bool{
			true,
			false, false, true, // two failures are not three
			false, false, false, // down
			true, false, true, false, // one pass is not two
			true, true, // up
		}
		c := &clinic{t: t, script: script}
		c.watch(quick)
		c.afterProbes(6)
		c.wantVerdicts("true: health check passed")
		c.afterProbes(12)
		c.wantVerdicts("true: health check passed",
			"false: health check failed 3 times in a row, the last time: connection refused")
		c.afterProbes(len(script) + 10)
		c.wantVerdicts("true: health check passed",
			"false: health check failed 3 times in a row, the last time: connection refused",
			"true: health check passed 2 times in a row")
		if at := c.verdicts[1].At; !at.Equal(c.probes[6]) {
			t.Errorf("down at %v, want at the seventh probe, %v", at, c.probes[6])
		}
	})
}

func TestWhatThisHostLacksSaysNothingOfTheAddress(t *testing.T) {
	const down = "false: health check failed 3 times in a row, the last time: connection refused"
	for _, lack := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		t.Run(lack.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				c := &clinic{t: t, result: func(context.Context) error {
					n++
					switch {
					case n == 1:
						return nil
					case n <= 10, n%2 == 0: // they do not interrupt a row either
						return connectError(lack)
					}
					return errRefused
				}}
				c.watch(quick)
				c.afterProbes(10)
				c.wantVerdicts("true: health check passed")
				c.afterProbes(16) // of which three were refused
				c.wantVerdicts("true: health check passed", down)
			})
		})
	}
	// Where there is no IPv6, say, an address never comes up.
	synctest.Test(t, func(t *testing.T) {
		c := &clinic{t: t, result: func(context.Context) error { return connectError(syscall.EADDRNOTAVAIL) }}
		c.watch(quick)
		c.afterProbes(1)
		c.wantVerdicts("false: health check failed: connect: cannot assign requested address")
	})
}

func TestIntervalIsJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clinic{t: t, result: passes}
		c.watch(quick)
		c.afterProbes(50)
		different := make(map[time.Duration]bool)
		for _, d := range c.gaps() {
			if d < 900*time.Millisecond || d > 1100*time.Millisecond {
				t.Fatalf("%v between two probes", d)
			}
			different[d] = true
		}
		if len(different) < 25 {
			t.Errorf("only %d different intervals out of %d", len(different), len(c.probes)-1)
		}
	})
}

// The verdict decides which interval comes next, not the result of the last probe.
func TestDownIntervalHoldsWhileTheVerdictIsDown(t *testing.T) {
	for name, down := range map[string]time.Duration{
		"shorter": 300 * time.Millisecond,
		"longer":  5 * time.Second,
		"none":    0,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				script := []bool{
					false, true, false, // down from the first on; one pass is not two
					true, true, // up
					false, false, true, // two failures are not three
					false, false, false, // down
					false, true, true, true, // up again
				}
				// The verdict after each probe.
				const verdicts = "ddd" + "du" + "uuu" + "uud" + "dduu"
				s := quick
				s.DownInterval = down
				c := &clinic{t: t, script: script}
				c.watch(s)
				c.afterProbes(len(script))
				for i, gap := range c.gaps()[:len(script)-1] {
					want := time.Second
					if verdicts[i] == 'd' && down > 0 {
						want = down
					}
					if gap < want-want/10 || gap > want+want/10 {
						t.Errorf("%v after probe %d, want %v give or take a tenth", gap, i+1, want)
					}
				}
			})
		})
	}
}

func TestDownIntervalIsJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clinic{t: t, result: refuses}
		c.watch(Settings{Interval: time.Hour, DownInterval: time.Second})
		c.afterProbes(50)
		different := make(map[time.Duration]bool)
		for _, gap := range c.gaps() {
			if gap < 900*time.Millisecond || gap > 1100*time.Millisecond {
				t.Fatalf("%v between two probes", gap)
			}
			different[gap] = true
		}
		if len(different) < 25 {
			t.Errorf("only %d different intervals out of %d", len(different), len(c.probes)-1)
		}
	})
}

func TestSlowProbeOfADownAddressIsNotFollowedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clinic{t: t}
		c.result = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		c.watch(Settings{Interval: time.Minute, DownInterval: time.Second, Timeout: 3 * time.Second})
		c.afterProbes(3)
		for _, gap := range c.gaps() {
			if gap != 3100*time.Millisecond {
				t.Errorf("%v between two probes, want the timeout and a tenth of the down interval", gap)
			}
		}
	})
}

func TestSlowProbeTimesOutAndIsNotFollowedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clinic{t: t}
		c.result = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		c.watch(Settings{Interval: time.Second, Timeout: 3 * time.Second})
		c.afterProbes(2)
		c.wantVerdicts("false: health check failed: no answer within 3s")
		if took := c.verdicts[0].Took; took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		if d := c.probes[1].Sub(c.probes[0]); d != 3100*time.Millisecond {
			t.Errorf("%v between two probes, want the timeout and a tenth of the interval", d)
		}
	})
}

func TestEndingWhileAProbeRunsReportsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clinic{t: t}
		c.result = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Watch(ctx, c, "10.0.0.1:80", Settings{Timeout: time.Minute}, func(v Verdict) {
				t.Errorf("reported %+v", v)
			})
		}()
		c.afterProbes(1)
		cancel()
		<-ended
	})
}

func TestDefaults(t *testing.T) {
	want := Settings{DefaultInterval, DefaultInterval, DefaultTimeout, DefaultRise, DefaultFall}
	for _, s := range []Settings{{}, {-1, -1, -1, -1, -1}} {
		if got := s.withDefaults(); got != want {
			t.Errorf("%+v: got %+v, want %+v", s, got, want)
		}
	}
	s := Settings{time.Second, time.Minute, 2 * time.Second, 4, 5}
	if got := s.withDefaults(); got != s {
		t.Errorf("got %+v, want %+v", got, s)
	}
	s.DownInterval = 0
	if got := s.withDefaults().DownInterval; got != s.Interval {
		t.Errorf("down interval %v, want the interval, %v", got, s.Interval)
	}
}
