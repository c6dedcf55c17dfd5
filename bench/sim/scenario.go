package main

import (
	"slices"
	"time"
)

// A span is a stretch of a scenario's time.
type span struct{ from, to time.Duration }

func (s span) has(at time.Duration) bool { return s.from <= at && at < s.to }

// A scenario is what happens to the instances, and what is told of it.
type scenario struct {
	name  string
	title string
	about string

	load    float64 // of the capacity of all instances
	backlog int     // requests that may wait at an instance
	zones   int     // 0: there is one
	spare   int     // instances that are not listed at first

	length time.Duration
	window span // that errors, latencies, share and amplification are of
	watch  span // in which recovery is looked for; it counts from its beginning
	rush   span // in which the peak is looked for
	happen func(w *world)

	// bad are the instances whose share is told; nil for none.
	bad      func(sz size) []int
	columns  []column
	policies []string // in the small size
	large    []string // in the large one
	dense    []string // with as many instances and few sidecars
}

// fault is the usual course: five seconds of peace, the fault, three seconds after it.
func (sc *scenario) fault(lasts time.Duration, c condition) *scenario {
	sc.window = span{5 * time.Second, 5*time.Second + lasts}
	sc.length = sc.window.to + 3*time.Second
	sc.watch, sc.rush = sc.window, sc.window
	sc.happen = func(w *world) {
		w.change(sc.window.from, c, sc.bad(w.size)...)
		w.change(sc.window.to, condition{}, sc.bad(w.size)...)
	}
	sc.columns = []column{badShare, lastShare, userErrors, median, p99, amplification, peakLoad, recovery}
	return sc
}

const (
	// short is enough to measure by; in long, each of a thousand sidecars meets each of a
	// hundred instances some ten times.
	short = 17 * time.Second
	long  = 45 * time.Second
)

// one is the first instance.
func one(size) []int { return []int{0} }

func all(sz size) []int {
	indices := make([]int, sz.instances)
	for i := range indices {
		indices[i] = i
	}
	return indices
}

const (
	// usual is the load without an overload: two of three instances can carry it.
	usual = 0.5
	// waits is how many requests may wait at an instance: a quarter of a second.
	waits = 100
)

func newScenario(name, title, about string) *scenario {
	return &scenario{name: name, title: title, about: about, load: usual, backlog: waits, bad: one, policies: everyone(), large: mainOnes()}
}

// everyone are the policies that are compared where all have something to say.
func everyone() []string {
	return []string{"sidecar", "sidecar (no ejection)", "sidecar (least_conn)", "sidecar (round_robin)", "sidecar (ring_hash)",
		"round robin", "random", "least connections", "two choices", "peak EWMA", "as Envoy", "as HAProxy", "as nginx"}
}

func mainOnes() []string {
	return []string{"sidecar", "two choices", "peak EWMA", "as Envoy"}
}

// after puts further ones behind the first, which is the sidecar.
func after(list []string, more ...string) []string {
	return slices.Insert(slices.Clone(list), 1, more...)
}

// scenarios returns all, in the order in which they are shown.
func scenarios() []*scenario {
	list := []*scenario{
		newScenario("healthy", "Nothing happens", "For comparison: what chance alone does.").fault(short, condition{}),
		newScenario("fast-failing", "One instance answers 500 within 1 ms", "500 is not among the statuses that are retried by default.").fault(long, condition{fails: 1, status: 500}),
		newScenario("slow", "One instance is 20 times slower", "").fault(long, condition{slow: 20}),
		outage("outage", "All instances fail for 30 s, then all are well again",
			"They answer 503 within 1 ms. Amplification is that of the outage; peak and recovery are counted from its end.", condition{fails: 1, status: 503}, true),
		outage("outage-gone", "All instances are gone for 30 s, then all are back",
			"Connections are refused.", condition{state: gone}, false),
		outage("outage-hanging", "All instances hang for 30 s, then all go on",
			"They accept requests and answer none; then they begin with those that have waited longest.", condition{state: hanging}, false),
		staggered(),
		newScenario("hanging", "One instance hangs", "It accepts requests and answers none, as after SIGSTOP; then it goes on.").fault(short, condition{state: hanging}),
		newScenario("silent", "One instance is not reachable", "Packets to and from it are lost: what it had is never heard of again, and connecting takes the whole second that it may take.").fault(short, condition{state: silent}),
		rolling(),
		zoneLost(),
		overload(),
		newScenario("flaky-1", "One instance fails 1 % of its requests", "It answers 503 within 1 ms.").fault(short, condition{fails: 0.01, status: 503}),
		newScenario("flaky-50", "One instance fails 50 % of its requests", "It answers 503 within 1 ms.").fault(short, condition{fails: 0.5, status: 503}),
		joining(),
	}
	for _, sc := range list[1:3] {
		sc.dense = []string{"sidecar", "peak EWMA"}
	}
	list[1].policies = after(list[1].policies, "sidecar (500 retried)")
	for _, sc := range list {
		// The small size shows as much.
		switch sc.name {
		case "flaky-1", "hanging":
			sc.large = nil
		case "healthy":
			sc.large = []string{"sidecar", "as Envoy"}
		}
	}
	return list
}

func outage(name, title, about string, c condition, large bool) *scenario {
	sc := newScenario(name, title, about)
	sc.bad = all
	sc.length = 50 * time.Second
	sc.window = span{5 * time.Second, 35 * time.Second}
	sc.watch = span{sc.window.to, sc.length}
	sc.rush = span{sc.window.to, sc.window.to + 5*time.Second}
	sc.happen = func(w *world) {
		w.change(sc.window.from, c, all(w.size)...)
		w.change(sc.window.to, condition{}, all(w.size)...)
	}
	sc.columns = []column{amplification, extra, peakLoad, recovery}
	sc.policies = after(sc.policies, "sidecar (no retries)", "sidecar (no budget)")
	sc.large = []string{"sidecar", "sidecar (no budget)", "as Envoy"}
	if !large {
		sc.large = nil
	}
	return sc
}

func staggered() *scenario {
	sc := newScenario("staggered", "All instances fail, and get well one after the other",
		"After 20 s of 503 within 1 ms, evenly spread over 10 s. Errors are those of these 10 s; peak and recovery are counted from the first that is well.")
	sc.bad = all
	sc.length = 50 * time.Second
	sc.window = span{25 * time.Second, 35 * time.Second}
	sc.watch = span{sc.window.from, sc.length}
	sc.rush = span{sc.window.from, sc.window.to + 5*time.Second}
	sc.happen = func(w *world) {
		w.change(5*time.Second, condition{fails: 1, status: 503}, all(w.size)...)
		for i := range w.size.instances {
			step := 10 * time.Second / time.Duration(max(w.size.instances-1, 1))
			w.change(sc.window.from+time.Duration(i)*step, condition{}, i)
		}
	}
	sc.columns = []column{userErrors, median, p99, amplification, peakLoad, recovery}
	sc.large = []string{"sidecar", "two choices", "as Envoy"}
	return sc
}

func rolling() *scenario {
	sc := newScenario("rolling", "Rolling restart of all instances",
		"One after the other, spread over 30 s: each is gone for 5 s (what it had is reset, connections are refused) and then 3 times slower for 5 s. The source goes on listing it.")
	sc.length = 50 * time.Second
	sc.window = span{5 * time.Second, 45 * time.Second}
	sc.rush = sc.window
	sc.happen = func(w *world) {
		for i := range w.size.instances {
			at := 5*time.Second + time.Duration(i)*30*time.Second/time.Duration(w.size.instances)
			w.change(at, condition{state: gone}, i)
			w.change(at+5*time.Second, condition{slow: 3}, i)
			w.change(at+10*time.Second, condition{}, i)
		}
	}
	sc.columns = []column{userErrors, median, p99, amplification, peakLoad}
	return sc
}

func zoneLost() *scenario {
	sc := newScenario("zone", "A zone is lost", "There are three, with as many sidecars and instances each (9 instances in the small size). The instances of one can no longer be reached, from its own sidecars neither. A round trip takes 0.5 ms within a zone and 2 ms between two.")
	// Ejections double as long as it lasts; those that are out at its end come back within
	// the ten seconds that are added.
	sc.fault(12*time.Second, condition{state: silent})
	sc.length += 10 * time.Second
	sc.zones = 3
	sc.bad = func(sz size) []int {
		var indices []int
		for i := 0; i < sz.instances; i += 3 {
			indices = append(indices, i)
		}
		return indices
	}
	sc.columns = []column{localBefore, localDuring, localAfter, badShare, userErrors, median, p99, peakLoad, recovery}
	sc.policies = []string{"sidecar", "sidecar (zones)", "round robin", "two choices", "peak EWMA", "as Envoy", "as HAProxy", "as nginx"}
	sc.large = []string{"sidecar", "sidecar (zones)", "round robin", "as Envoy"}
	return sc
}

func overload() *scenario {
	sc := newScenario("overload", "One and a half times what the instances can answer", "Up to 1,000 requests wait at each, 2.5 s. Goodput is what was answered within 1 s, of what the instances can answer.")
	sc.load, sc.backlog = 1.5, 1000
	sc.bad = nil
	sc.length = 40 * time.Second
	sc.window = span{15 * time.Second, 35 * time.Second}
	sc.rush = sc.window
	sc.happen = func(*world) {}
	sc.columns = []column{goodput, userErrors, median, p99, amplification}
	sc.policies = []string{"sidecar", "sidecar (adaptive)", "sidecar (no budget)", "sidecar (least_conn)", "round robin", "two choices", "as Envoy", "as HAProxy", "as nginx"}
	sc.large = []string{"sidecar", "sidecar (adaptive)"}
	return sc
}

func joining() *scenario {
	sc := newScenario("joining", "An instance joins", "It is 3 times slower for its first 5 s. Every sidecar learns of it within 1 s. Share and peak are those of the new one, in its first 5 s; so are errors and latencies.")
	sc.spare = 1
	sc.length = 25 * time.Second
	sc.window = span{5 * time.Second, 10 * time.Second}
	sc.rush = sc.window
	sc.bad = func(sz size) []int { return []int{sz.instances} }
	sc.happen = func(w *world) {
		joiner := w.size.instances
		w.instances[joiner].become(condition{slow: 3})
		w.at(sc.window.from, func() {
			w.listed = w.listing(joiner + 1)
			for _, s := range w.sidecars {
				w.queue.put(w.now+time.Duration(s.rng.Int64N(int64(time.Second))), s, update)
			}
		})
		w.change(sc.window.to, condition{}, joiner)
	}
	sc.columns = []column{badShare, badPeak, userErrors, median, p99}
	sc.policies = after(sc.policies, "sidecar (slow start)")
	sc.large = after(sc.large, "sidecar (slow start)")
	return sc
}

// A selection is a size with the policies that are shown in it.
type selection struct {
	size     size
	policies []string
}

// selections are what is shown, the small size first.
func (sc *scenario) selections() []selection {
	few := size{sidecars: 4, instances: 3}
	if sc.zones > 0 {
		few = size{sidecars: 6, instances: 9}
	}
	list := []selection{
		{few, sc.policies},
		{size{sidecars: 20, instances: 100}, sc.dense},
		{size{sidecars: 1000, instances: 100}, sc.large},
	}
	return slices.DeleteFunc(list, func(s selection) bool { return len(s.policies) == 0 })
}
func (s span) length() time.Duration { return s.to - s.from }
