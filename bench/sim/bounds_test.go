package main

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// The sizes that tests use.
var (
	three   = size{sidecars: 4, instances: 3}
	nine    = size{sidecars: 6, instances: 9}
	hundred = size{sidecars: 5, instances: 100}
	thin    = size{sidecars: 300, instances: 30} // 20 requests per second and sidecar
)

// seeds are enough to tell a rule from luck. With the race detector, which makes a simulation
// ten times as slow and has only to see that runs share nothing, one is.
func seeds() []uint64 {
	if raceEnabled {
		return []uint64{1}
	}
	return []uint64{1, 2, 3}
}

// simulated runs a scenario.
func simulated(t *testing.T, name, policy string, sz size, seed uint64) *tally {
	t.Helper()
	w := newWorld(scenarioNamed(t, name), presetNamed(t, policy), sz, seed)
	w.run(w.scenario.length)
	return w.tally
}

func scenarioNamed(t *testing.T, name string) *scenario {
	t.Helper()
	list := scenarios()
	i := slices.IndexFunc(list, func(sc *scenario) bool { return sc.name == name })
	if i < 0 {
		t.Fatalf("no scenario %q", name)
	}
	return list[i]
}

func presetNamed(t *testing.T, name string) *preset {
	t.Helper()
	list, err := presets()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list, func(p *preset) bool { return p.name == name })
	if i < 0 {
		t.Fatalf("no preset %q", name)
	}
	return list[i]
}

// each has a test for each seed, at once.
func each(t *testing.T, test func(t *testing.T, seed uint64)) {
	t.Parallel()
	for _, seed := range seeds() {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			test(t, seed)
		})
	}
}

func under(t *testing.T, what string, got, bound float64) {
	t.Helper()
	if !(got < bound) {
		t.Errorf("%s is %.4f, below %.4f is wanted", what, got, bound)
	}
}

func atMost(t *testing.T, what string, got, bound float64) {
	t.Helper()
	if !(got <= bound) {
		t.Errorf("%s is %.4f, at most %.4f is wanted", what, got, bound)
	}
}

func atLeast(t *testing.T, what string, got, bound float64) {
	t.Helper()
	if !(got >= bound) {
		t.Errorf("%s is %.4f, at least %.4f is wanted", what, got, bound)
	}
}

func noErrors(t *testing.T, y *tally) {
	t.Helper()
	if w := y.scenario.window; sum(y.good, w) != sum(y.ended, w) {
		t.Errorf("%d of %d requests got an error", sum(y.ended, w)-sum(y.good, w), sum(y.ended, w))
	}
}

func (t *tally) badShare() float64 { return t.share(t.scenario.window, t.scenario.bad(t.size)) }

func TestAnInstanceThatFailsFastGetsNoTraffic(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		y := simulated(t, "fast-failing", "sidecar", three, seed)
		atLeast(t, "requests", float64(sum(y.requests, y.scenario.window)), 10_000)
		under(t, "share", y.badShare(), 0.02)
		y = simulated(t, "fast-failing", "sidecar (500 retried)", three, seed)
		under(t, "share with retries", y.badShare(), 0.02)
		noErrors(t, y)
		// The price of failures alone does it as well.
		under(t, "share without ejection", simulated(t, "fast-failing", "sidecar (no ejection)", three, seed).badShare(), 0.02)
		// And without it, it would not be so.
		atLeast(t, "share of plain peak EWMA", simulated(t, "fast-failing", "peak EWMA", three, seed).badShare(), 0.5)
	})
}

func TestASlowInstanceGetsLittle(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		well := simulated(t, "healthy", "sidecar", three, seed).latencies.quantile(0.99)
		y := simulated(t, "slow", "sidecar", three, seed)
		under(t, "share", y.badShare(), 0.10)
		atMost(t, "p99", y.latencies.quantile(0.99).Seconds(), 2*well.Seconds())
		noErrors(t, y)
		atLeast(t, "p99 of two choices without latency", simulated(t, "slow", "two choices", three, seed).latencies.quantile(0.99).Seconds(), 2*well.Seconds())
	})
}

// afterOutage are the bounds for when all instances have failed.
func afterOutage(t *testing.T, y *tally) {
	t.Helper()
	recovers(t, y)
	atMost(t, "load of the busiest instance", y.peak(y.scenario.rush, nil), 2)
}

func recovers(t *testing.T, y *tally) {
	t.Helper()
	w := y.scenario.window
	allowed := 1.2*float64(sum(y.requests, w)) + 10*w.length().Seconds()*float64(y.size.sidecars)
	// The budget's window slides: a retry that was allowed in a busy second stays in it for
	// as long as that second's requests, and the fluctuations of chance add up to a little.
	atMost(t, "attempts during the outage", float64(sum(y.attempts, w)), 1.005*allowed)
	took, never := y.recovery(y.scenario.watch)
	if never {
		t.Error("it has not recovered")
	}
	under(t, "recovery", took.Seconds(), 5)
}

func TestAnOutageIsNotMadeWorse(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		afterOutage(t, simulated(t, "outage", "sidecar", three, seed))
		afterOutage(t, simulated(t, "outage-gone", "sidecar", three, seed))
		recovers(t, simulated(t, "outage-hanging", "sidecar", three, seed))
		y := simulated(t, "outage", "sidecar (no budget)", three, seed)
		atLeast(t, "attempts for each request without a budget", y.amplification(), 2.9)
	})
}

func TestAnOutageOfAHundredIsNotMadeWorse(t *testing.T) {
	if raceEnabled {
		t.Skip("too slow with the race detector, and one run shares nothing with others")
	}
	t.Parallel()
	afterOutage(t, simulated(t, "outage", "sidecar", hundred, 1))
}

func TestAnInstanceThatHangsOrIsGoneCostsNoRequest(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		well := simulated(t, "healthy", "sidecar", three, seed).latencies.quantile(0.99)
		for _, name := range []string{"hanging", "silent"} {
			y := simulated(t, name, "sidecar", three, seed)
			noErrors(t, y)
			atMost(t, name+": p99", y.latencies.quantile(0.99).Seconds(), (well + connectTimeout).Seconds())
		}
		noErrors(t, simulated(t, "rolling", "sidecar", three, seed))
	})
}

func TestTheOwnZoneIsPreferred(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		y := simulated(t, "zone", "sidecar (zones)", nine, seed)
		w := y.scenario.window
		atLeast(t, "local share before", y.localShare(span{2 * time.Second, w.from}), 0.95)
		atLeast(t, "local share at the end", y.localShare(span{y.scenario.length - 3*time.Second, y.scenario.length}), 0.95)
		noErrors(t, y)
		under(t, "share of the lost zone", y.badShare(), 0.05)
	})
}

func TestTheLimiterKeepsGoodput(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		atLeast(t, "goodput", simulated(t, "overload", "sidecar (adaptive)", three, seed).goodput(), 0.9)
		under(t, "goodput without it", simulated(t, "overload", "sidecar", three, seed).goodput(), 0.1)
	})
}

func TestSomeFailuresCostSomeTraffic(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		y := simulated(t, "flaky-1", "sidecar", three, seed)
		atLeast(t, "share of one that fails 1 %", y.badShare(), 0.8/3)
		noErrors(t, y)
		y = simulated(t, "flaky-50", "sidecar", three, seed)
		under(t, "share of one that fails 50 %", y.badShare(), 0.15)
		noErrors(t, y)
	})
}

func TestNobodyRushesToANewInstance(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		y := simulated(t, "joining", "sidecar", three, seed)
		under(t, "its peak", y.peak(y.scenario.rush, y.scenario.bad(three)), 1.5)
		atLeast(t, "its share", y.badShare(), 0.01)
		slow := simulated(t, "joining", "sidecar (slow start)", three, seed)
		under(t, "its share with slow start", slow.badShare(), y.badShare())
	})
}

func TestThinTrafficLearnsToo(t *testing.T) {
	if raceEnabled {
		t.Skip("too slow with the race detector, and one run shares nothing with others")
	}
	t.Parallel()
	y := simulated(t, "fast-failing", "sidecar", thin, 1)
	under(t, "share", y.badShare(), 0.3/30)
	y = simulated(t, "rolling", "sidecar", thin, 1)
	under(t, "errors in a rolling restart", y.errors(y.scenario.window), 0.005)
}
