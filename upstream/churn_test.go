package upstream

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecar/breaker"
	"sidecar/discovery"
	"sidecar/healthcheck"
)

// A world is a service in virtual time and everything that can happen to it, chosen by a
// seed. It has no goroutine: what the service's goroutine would do happens when the world
// says so, and often too late.
type world struct {
	t *testing.T
	*Service
	rng    *rand.Rand
	now    time.Time
	at     string // the seed and the step, for messages
	leases []*Lease
	links  []*Endpoint // connections that were made
	seen   map[*Endpoint]bool
	taken  int64 // slots, at the last look
	trips  int   // ejections that were possible
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(0, 0), seen: make(map[*Endpoint]bool)}
	o := Options{
		Name:       "orders",
		Policy:     inTurn,
		Breaker:    breaker.Settings{ConsecutiveFailures: 2, SuccessRate: .7, MinRequests: 4, OpenMax: 4 * time.Second},
		MaxEjected: []float64{.1, .3, .5, 1}[w.rng.IntN(4)],
		Panic:      []float64{0, .5}[w.rng.IntN(2)],
		SlowStart:  []time.Duration{0, 5 * time.Second}[w.rng.IntN(2)],
		Endpoint:   Limits{InFlight: 4, Connections: 5, Pending: 2},
		Limits:     Limits{InFlight: 15, Connections: 20},
		Clock:      func() time.Time { return w.now },
		Random:     w.rng.Uint64,
	}
	if w.rng.IntN(3) == 0 {
		o.Fallback = instancesOf("y", "z")
	}
	w.Service = New(o)
	return w
}

func (w *world) failf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf(w.at+": "+format, args...)
}

// happens lets one thing happen.
func (w *world) happens() {
	switch n := w.rng.IntN(100); {
	case n < 40:
		w.acquires()
	case n < 70:
		w.answers()
	case n < 78:
		w.connects()
	case n < 88:
		w.now = w.now.Add(time.Duration(w.rng.ExpFloat64() * float64(300*time.Millisecond)))
	case n < 94:
		w.Step()
	case n < 96:
		w.reports()
	case n < 99:
		w.checks()
	default:
		w.Feed(discovery.Update{Err: errIll, At: w.now})
	}
}

func (w *world) acquires() {
	var avoid []*Endpoint
	if endpoints := w.Snapshot().Endpoints; len(endpoints) > 0 && w.rng.IntN(3) == 0 {
		avoid = append(avoid, endpoints[w.rng.IntN(len(endpoints))])
	}
	before := w.gate.inFlight.Load()
	l, err := w.Acquire(PickKey{Hash: w.rng.Uint64() >> 1, Repeatable: w.rng.IntN(2) == 0}, avoid...)
	if err != nil {
		if w.gate.inFlight.Load() != before {
			w.failf("a refusal is counted: %v", err)
		}
		return
	}
	if contains(avoid, l.Endpoint()) {
		w.failf("%s was to be avoided", l.Endpoint().ID())
	}
	w.seen[l.Endpoint()] = true
	w.leases = append(w.leases, &l)
}

// answers has something happen to one of the leases: what it is on fails more often, the
// earlier in the alphabet it is.
func (w *world) answers() {
	if len(w.leases) == 0 {
		return
	}
	i := w.rng.IntN(len(w.leases))
	l := w.leases[i]
	r := Result{Outcome: Success, Latency: time.Duration(w.rng.IntN(1e8))}
	if w.rng.IntN(12) < int('m'-l.Endpoint().ID()[0]) {
		r.Outcome = Outcome(w.rng.IntN(int(numOutcomes)))
		if r.Outcome == Overloaded {
			r.RetryAfter = time.Duration(w.rng.IntN(10)) * time.Second
		}
	}
	switch w.rng.IntN(4) {
	case 0:
		l.Report(r)
	case 1:
		l.Break(r)
	default:
		l.Report(r)
		l.Release()
		w.leases = slices.Delete(w.leases, i, i+1)
	}
}

func (w *world) connects() {
	if len(w.links) > 0 && w.rng.IntN(2) == 0 {
		i := w.rng.IntN(len(w.links))
		w.links[i].Disconnect()
		w.links = slices.Delete(w.links, i, i+1)
		return
	}
	if endpoints := w.Snapshot().Endpoints; len(endpoints) > 0 {
		e := endpoints[w.rng.IntN(len(endpoints))]
		w.seen[e] = true
		if e.BeginConnect() == nil {
			made := w.rng.IntN(3) > 0
			e.EndConnect(made)
			if made {
				w.links = append(w.links, e)
			}
		}
	}
}

func (w *world) reports() {
	var texts []string
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		if w.rng.IntN(10) < 7 {
			texts = append(texts, fmt.Sprintf("%s %d", id, 1+w.rng.IntN(2)))
		}
	}
	w.Feed(discovery.Update{Instances: instancesOf(texts...), Unknown: len(texts) == 0, At: w.now})
}

func (w *world) checks() {
	if endpoints := w.Snapshot().Endpoints; len(endpoints) > 0 {
		e := endpoints[w.rng.IntN(len(endpoints))]
		w.inbox.putVerdict(e, healthcheck.Verdict{Healthy: w.rng.IntN(3) > 0, Reason: "health check", At: w.now})
	}
}

// holds checks what must be true at any time, also before the service has taken in what has
// happened.
func (w *world) holds() {
	w.t.Helper()
	inFlight := make(map[*Endpoint]int64)
	for _, l := range w.leases {
		inFlight[l.Endpoint()]++
	}
	open := make(map[*Endpoint]int64)
	for _, e := range w.links {
		open[e]++
	}
	for e := range w.seen {
		if e.InFlight() != inFlight[e] || e.Connections() != open[e] || e.connections.pending.Load() != 0 {
			w.failf("%s: %d in flight, want %d, %d connections, want %d", e.ID(), e.InFlight(), inFlight[e], e.Connections(), open[e])
		}
		if inFlight[e] > 4 || open[e] > 5 {
			w.failf("%s: %d in flight, %d connections, over its limits", e.ID(), inFlight[e], open[e])
		}
		if c := e.Counters(); c.Failures()+c.Successes+c.Canceled < c.Attempts-uint64(inFlight[e]) {
			w.failf("%s: counters %+v", e.ID(), c)
		}
	}
	if n := w.gate.inFlight.Load(); n != int64(len(w.leases)) || n > 15 {
		w.failf("%d in flight, want %d", n, len(w.leases))
	}
	if n := w.connections.open.Load(); n != int64(len(w.links)) || n > 20 {
		w.failf("%d connections, want %d", n, len(w.links))
	}
	w.slotsHold()
	w.snapshotHolds()
}

// slotsHold: no more are ejected than may be, and never the last one.
func (w *world) slotsHold() {
	w.t.Helper()
	taken, limit := w.slots.taken.Load(), w.slots.limit.Load()
	if taken < 0 || taken > w.taken && taken > limit {
		w.failf("%d slots taken of %d, a moment ago %d", taken, limit, w.taken)
	}
	if total := int64(len(w.order)); limit >= max(total, 1) {
		w.failf("%d of %d may be ejected", limit, total)
	}
	held, out := int64(0), 0
	for _, e := range w.order {
		if e.ejecting.Load() {
			held++
		}
		if e.BreakerState() != breaker.Closed {
			out++
		}
		if e.ejecting.Load() != (e.BreakerState() != breaker.Closed) {
			w.failf("%s: breaker %v, holds a slot: %v", e.ID(), e.BreakerState(), e.ejecting.Load())
		}
	}
	if held != taken {
		w.failf("%d slots taken, %d held", taken, held)
	}
	if taken > w.taken && out == len(w.order) {
		w.failf("the last one standing was ejected")
	}
	for _, e := range w.spares {
		if e.BreakerState() != breaker.Closed {
			w.failf("fallback instance %s is ejected", e.ID())
		}
	}
	w.trips += int(max(taken-w.taken, 0))
	w.taken = taken
}

func (w *world) snapshotHolds() {
	w.t.Helper()
	snap := w.Snapshot()
	if (len(snap.Usable) == 0) != (snap.Cause != nil) || (len(snap.Usable) == 0) != (snap.Picker == nil) {
		w.failf("%d usable, picker %v, cause %v", len(snap.Usable), snap.Picker, snap.Cause)
	}
	for _, list := range [][]*Endpoint{snap.Endpoints, snap.Usable, snap.due} {
		if !slices.IsSortedFunc(list, func(a, b *Endpoint) int { return strings.Compare(a.id, b.id) }) {
			w.failf("%s are out of order", ids(list))
		}
	}
	for _, e := range snap.Usable {
		if contains(snap.Endpoints, e) == snap.Fallback || e.spare != snap.Fallback {
			w.failf("%s is usable, of %s; fallback: %v", e.ID(), ids(snap.Endpoints), snap.Fallback)
		}
	}
}

// settles lets the service take in everything, and checks what it has made of it.
func (w *world) settles() {
	w.t.Helper()
	w.Step()
	for w.Awake() {
		w.Step()
	}
	w.taken = w.slots.taken.Load()
	snap := w.Snapshot()
	down, sound := 0, ""
	for _, e := range snap.Endpoints {
		switch {
		case e.Down():
			down++
		case e.BreakerState() == breaker.Closed:
			sound += " " + e.ID()
		}
	}
	sound = strings.TrimSpace(sound)
	if sound != "" && snap.FailOpen == "" && ids(snap.Usable) != sound {
		w.failf("usable are %s, want %s", ids(snap.Usable), sound)
	}
	if sound != "" && snap.FailOpen != "" && snap.FailOpen != openPanic {
		w.failf("fails open (%s), but %s are sound", snap.FailOpen, sound)
	}
	if snap.FailOpen == openPanic && (down == 0 || w.options.Panic == 0) {
		w.failf("panic with %d down", down)
	}
	if len(snap.Endpoints) > 0 && len(snap.Usable) == 0 {
		w.failf("nothing of %s is usable", ids(snap.Endpoints))
	}
	for _, e := range w.Status().Endpoints {
		if e.Verdict == "" || e.Why == "" {
			w.failf("no reason: %+v", e)
		}
	}
}

// ends lets all requests end and everybody recover.
func (w *world) ends() {
	w.t.Helper()
	for _, l := range w.leases {
		l.Release()
	}
	for _, e := range w.links {
		e.Disconnect()
	}
	w.leases, w.links = nil, nil
	w.holds()
	w.Feed(discovery.Update{Instances: instancesOf("a", "b", "c")})
	w.Step()
	for _, e := range w.Snapshot().Endpoints {
		w.inbox.putVerdict(e, healthcheck.Verdict{Healthy: true, Reason: "health check", At: w.now})
	}
	for range 300 {
		w.now = w.now.Add(time.Second)
		w.settles()
		l, err := w.Acquire(PickKey{Hash: w.rng.Uint64() >> 1, Repeatable: true})
		if err != nil {
			w.failf("%v", err)
		}
		l.Report(Result{Outcome: Success, Latency: time.Millisecond})
		l.Release()
	}
	w.settles()
	if got := ids(w.Snapshot().Usable); got != "a b c" || w.taken != 0 || w.Snapshot().FailOpen != "" {
		w.failf("usable are %s, %d slots taken", got, w.taken)
	}
}

// Whatever happens in whatever order: counts are right, no more are ejected than may be, and
// there is always something to use.
func TestAnythingMayHappen(t *testing.T) {
	trips := 0
	for seed := range uint64(50) {
		w := newWorld(t, seed)
		w.at = fmt.Sprintf("seed %d", seed)
		w.Feed(discovery.Update{Instances: instancesOf("a", "b", "c", "d")})
		w.Step()
		for step := range 1500 {
			w.at = fmt.Sprintf("seed %d, step %d", seed, step)
			w.happens()
			w.holds()
			if step%10 == 0 {
				w.settles()
			}
		}
		w.ends()
		trips += w.trips
	}
	if trips < 500 {
		t.Errorf("only %d ejections, so little was tried", trips)
	}
}

// A simulation that is run again with the same seed is the same.
func TestASeedRepeatsItself(t *testing.T) {
	run := func() string {
		w := newWorld(t, 7)
		w.Feed(discovery.Update{Instances: instancesOf("a", "b", "c", "d")})
		for range 1000 {
			w.happens()
			w.settles()
		}
		text, err := json.Marshal(w.Status())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if first, second := run(), run(); first != second {
		t.Errorf("once %s\nthen %s", first, second)
	}
}
