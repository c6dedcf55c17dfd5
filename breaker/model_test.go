package breaker

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A model is the breaker's rules written down without regard to speed or threads: a list of
// everything that has been reported, and plain variables.
type model struct {
	settings   Settings
	now        time.Duration // since the origin
	state      State
	period     int // counts the changes to closed and to open
	closedAt   time.Duration
	readyAt    time.Duration
	held       time.Duration
	row        int
	probing    bool
	reported   []report
	reason     Reason
	mayTrip    bool
	mayDouble  bool
	random     func() uint64
	changes    []string
	tripAsked  []Reason
	doubleAsks int
}

// A report is one outcome in the window.
type report struct {
	slice  int
	failed bool
}

// A ticket is the model's Permit.
type ticket struct {
	period int
	probe  bool
}

func (m *model) change(to State) {
	m.changes = append(m.changes, fmt.Sprintf("%v>%v", m.state, to))
	m.state = to
}

func (m *model) allow() (ticket, bool) {
	if m.state == Closed {
		return ticket{m.period, false}, true
	}
	if m.probing || m.now < m.readyAt {
		return ticket{}, false
	}
	m.probing = true
	if m.state == Open {
		m.change(HalfOpen)
	}
	return ticket{m.period, true}, true
}

func (m *model) report(t ticket, o Outcome, at time.Duration) {
	if t.period != m.period {
		return
	}
	if o != Ignored {
		m.reported = append(m.reported, report{m.slice(at), o == Failure})
	}
	switch {
	case t.probe && o == Ignored:
		m.probing = false
	case t.probe && o == Failure:
		m.eject(true)
	case t.probe:
		m.close()
	case o == Success:
		m.row = 0
	case o == Failure:
		m.row++
		m.consider(at)
	}
}

// consider opens the breaker after a failure, if there is a reason and it may.
func (m *model) consider(at time.Duration) {
	attempts, failures := m.counts(at)
	switch {
	case m.settings.ConsecutiveFailures > 0 && m.row >= m.settings.ConsecutiveFailures:
		m.tripAsked = append(m.tripAsked, InARow)
	case m.settings.SuccessRate > 0 && attempts >= uint64(m.settings.MinRequests) &&
		float64(attempts-failures)/float64(attempts) < m.settings.SuccessRate:
		m.tripAsked = append(m.tripAsked, ByRate)
	default:
		return
	}
	if !m.mayTrip {
		return
	}
	m.reason = m.tripAsked[len(m.tripAsked)-1]
	m.eject(m.held > 0 && m.now-m.closedAt < m.held)
}

func (m *model) eject(again bool) {
	if again {
		m.doubleAsks++
	}
	if again && m.mayDouble {
		m.held = min(2*m.held, m.settings.OpenMax)
	} else {
		m.held = m.settings.Open
	}
	// A quarter and a nanosecond, times what the 64 bits are of 2^64.
	less := new(big.Int).SetUint64(m.random())
	less.Mul(less, big.NewInt(int64(m.held/4)+1))
	less.Rsh(less, 64)
	m.readyAt = m.now + m.held - time.Duration(less.Int64())
	m.probing = false
	m.period++
	m.change(Open)
}

func (m *model) close() {
	m.period++
	m.closedAt = m.now
	m.row = 0
	m.probing = false
	m.reported = nil
	m.change(Closed)
}

func (m *model) reset() {
	if m.state != Closed {
		m.close()
	}
}

func (m *model) slice(at time.Duration) int { return int(at / (m.settings.Window / 10)) }

// counts counts what is not older than nine slices before that of at, nor more than one
// slice after it. A slice is forgotten as soon as anything is reported ten slices after it.
func (m *model) counts(at time.Duration) (attempts, failures uint64) {
	present := m.slice(at)
	for _, r := range m.reported {
		if r.slice < present-9 || r.slice > present+1 {
			continue
		}
		if slices.Contains(m.reported, report{r.slice + 10, r.failed}) {
			continue
		}
		attempts++
		if r.failed {
			failures++
		}
	}
	return attempts, failures
}

// A trial runs a breaker and its model side by side.
type trial struct {
	t       *testing.T
	random  *rand.Rand
	model   model
	breaker *Breaker

	changes    []string
	tripAsked  []Reason
	doubleAsks int
	out        []attempt // attempts that have not been reported
}

// An attempt is allowed by both.
type attempt struct {
	permit Permit
	ticket ticket
}

func newTrial(t *testing.T, seed uint64) *trial {
	random := rand.New(rand.NewPCG(seed, 1))
	r := &trial{t: t, random: random}
	s := Settings{
		ConsecutiveFailures: random.IntN(5),
		SuccessRate:         []float64{0, .2, .5, .8, 1}[random.IntN(5)],
		MinRequests:         1 + random.IntN(8),
		Window:              time.Duration(1+random.IntN(20)) * time.Second,
		Open:                time.Second,
		OpenMax:             time.Duration(1+random.IntN(10)) * time.Second,
	}
	r.model = model{settings: s, mayTrip: true, mayDouble: true, random: rand.NewPCG(seed, 2).Uint64}
	origin := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	s.Origin = origin
	s.Clock = func() time.Time { return origin.Add(r.model.now) }
	s.Random = rand.NewPCG(seed, 2).Uint64
	s.MayTrip = func(why Reason) bool { r.tripAsked = append(r.tripAsked, why); return r.model.mayTrip }
	s.MayDouble = func() bool { r.doubleAsks++; return r.model.mayDouble }
	s.OnChange = func(from, to State) { r.changes = append(r.changes, fmt.Sprintf("%v>%v", from, to)) }
	r.breaker = New(s)
	return r
}

// step does one thing at random to both and returns what.
func (r *trial) step() string {
	switch n := r.random.IntN(100); {
	case n < 40:
		permit, ok := r.breaker.Allow()
		ticket, want := r.model.allow()
		if ok != want || permit.Probe() != ticket.probe {
			r.t.Fatalf("allowed: %t, probe: %t; want %t and %t", ok, permit.Probe(), want, ticket.probe)
		}
		if ok {
			r.out = append(r.out, attempt{permit, ticket})
		}
		return "allow"
	case n < 80:
		return r.report()
	case n < 95:
		d := time.Duration(r.random.ExpFloat64() * float64(100*time.Millisecond))
		if r.random.IntN(20) == 0 {
			d += time.Duration(r.random.Int64N(int64(20 * time.Second)))
		}
		r.model.now += d
		return fmt.Sprintf("%v pass", d)
	case n < 97:
		r.model.mayTrip = r.random.IntN(4) > 0
		return fmt.Sprintf("may trip: %t", r.model.mayTrip)
	case n < 99:
		r.model.mayDouble = r.random.IntN(4) > 0
		return fmt.Sprintf("may double: %t", r.model.mayDouble)
	default:
		r.breaker.Reset()
		r.model.reset()
		return "reset"
	}
}

// report reports one of the attempts, now or with a time that lags by up to a slice.
func (r *trial) report() string {
	if len(r.out) == 0 {
		return "nothing to report"
	}
	i := r.random.IntN(len(r.out))
	a := r.out[i]
	r.out = slices.Delete(r.out, i, i+1)
	outcome := Failure
	switch n := r.random.IntN(10); {
	case n < 5:
		outcome = Success
	case n < 6:
		outcome = Ignored
	}
	at := r.model.now
	if r.random.IntN(2) == 0 {
		a.permit.Report(outcome)
	} else {
		at = max(at-time.Duration(r.random.Int64N(int64(r.model.settings.Window/10))), 0)
		a.permit.ReportAt(outcome, at)
	}
	r.model.report(a.ticket, outcome, at)
	return fmt.Sprintf("%v at %v", outcome, at)
}

// compare checks that both look the same from outside.
func (r *trial) compare() error {
	m, b := &r.model, r.breaker
	if got := b.State(); got != m.state {
		return fmt.Errorf("state %v, want %v", got, m.state)
	}
	ready := time.Time{}
	if m.state != Closed {
		ready = b.origin.Add(m.readyAt)
	}
	if got := b.ReadyAt(); !got.Equal(ready) {
		return fmt.Errorf("ready at %v, want %v", got, ready)
	}
	attempts, failures := b.Counts(m.now)
	if wantAttempts, wantFailures := m.counts(m.now); attempts != wantAttempts || failures != wantFailures {
		return fmt.Errorf("%d attempts, %d failures, want %d and %d", attempts, failures, wantAttempts, wantFailures)
	}
	if got := b.Reason(); got != m.reason {
		return fmt.Errorf("reason %v, want %v", got, m.reason)
	}
	if !slices.Equal(r.changes, m.changes) || !slices.Equal(r.tripAsked, m.tripAsked) || r.doubleAsks != m.doubleAsks {
		return fmt.Errorf("changes %v, want %v; asked for %v, want %v; asked %d times to double, want %d",
			r.changes, m.changes, r.tripAsked, m.tripAsked, r.doubleAsks, m.doubleAsks)
	}
	return nil
}

func TestAgreesWithTheModel(t *testing.T) {
	seen := make(map[string]int)
	for seed := range uint64(150) {
		r := newTrial(t, seed)
		for i := range 2000 {
			what := r.step()
			if err := r.compare(); err != nil {
				t.Fatalf("seed %d, %+v, step %d, %s: %v", seed, r.model.settings, i, what, err)
			}
			for _, c := range r.changes {
				seen[c]++
			}
			for _, why := range r.tripAsked {
				seen[why.String()]++
			}
			r.forget()
		}
	}
	for _, want := range []string{
		"closed>open", "open>half-open", "half-open>open", "half-open>closed", "open>closed",
		InARow.String(), ByRate.String(),
	} {
		if seen[want] < 100 {
			t.Errorf("%s came %d times only, so little was tried", want, seen[want])
		}
	}
}

// forget drops what has been compared, so that the lists stay short.
func (r *trial) forget() {
	r.changes, r.model.changes = r.changes[:0], r.model.changes[:0]
	r.tripAsked, r.model.tripAsked = r.tripAsked[:0], r.model.tripAsked[:0]
	if len(r.model.reported) > 500 {
		r.model.reported = slices.DeleteFunc(r.model.reported, func(old report) bool {
			return old.slice < r.model.slice(r.model.now)-20
		})
	}
}
