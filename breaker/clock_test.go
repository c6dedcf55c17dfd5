package breaker

import (
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A timeline is a clock that a test moves.
type timeline struct{ now time.Time }

func newTimeline() *timeline { return &timeline{time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (l *timeline) read() time.Time { return l.now }

// until moves the clock to the end of the ejection and returns how long that took.
func (l *timeline) until(p *patient) time.Duration {
	p.t.Helper()
	p.is(Open)
	left := p.ReadyAt().Sub(l.now)
	l.now = p.ReadyAt().Add(-1)
	p.refused()
	l.now = l.now.Add(1)
	return left
}

func TestClockAndRandom(t *testing.T) {
	for _, c := range []struct {
		random uint64
		open   time.Duration
		want   time.Duration
	}{
		{0, time.Second, time.Second},
		{1 << 63, time.Second, 875 * time.Millisecond},
		{math.MaxUint64, time.Second, 750 * time.Millisecond},
		{math.MaxUint64, 4 * time.Nanosecond, 3 * time.Nanosecond},
		{math.MaxUint64, 3 * time.Nanosecond, 3 * time.Nanosecond},
		{math.MaxUint64, math.MaxInt64, math.MaxInt64 - math.MaxInt64/4},
	} {
		line := newTimeline()
		p := admit(t, Settings{
			ConsecutiveFailures: 1,
			Open:                c.open,
			Clock:               line.read,
			Random:              func() uint64 { return c.random },
		})
		p.attempts(Failure)
		if got := p.ReadyAt().Sub(line.now); got != c.want {
			t.Errorf("%v with %#x: open for %v, want %v", c.open, c.random, got, c.want)
		}
	}
}

// gobreaker reads the real clock, on which an ejection of a virtual hour may last less than
// two nanoseconds. It must not refuse the probe for that.
func TestVirtualTimeDoesNotWaitForTheRealClock(t *testing.T) {
	line := newTimeline()
	p := admit(t, Settings{ConsecutiveFailures: 1, Clock: line.read})
	for range 20000 {
		p.attempts(Failure)
		line.now = p.ReadyAt()
		p.attempts(Ignored, Failure)
		line.now = p.ReadyAt()
		p.attempts(Success)
		p.changes = p.changes[:0]
	}
	p.is(Closed)
}

// The first readings of the real clock may be the same as that at the opening.
func TestGobreakerIsAskedUntilItsClockHasMoved(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		answers []error // the last one stands for all further ones
		asked   int
		want    error
	}{
		{[]error{nil}, 1, nil},
		{[]error{gobreaker.ErrOpenState, gobreaker.ErrOpenState, nil}, 3, nil},
		{[]error{gobreaker.ErrTooManyRequests, nil}, 1, gobreaker.ErrTooManyRequests},
		{[]error{gobreaker.ErrOpenState, other, nil}, 2, other},
		{[]error{gobreaker.ErrOpenState}, maxReadings, gobreaker.ErrOpenState},
	} {
		asked := 0
		_, err := enter(func() (func(error), error) {
			asked++
			return nil, c.answers[min(asked, len(c.answers))-1]
		})
		if !errors.Is(err, c.want) || asked != c.asked {
			t.Errorf("%v: asked %d times and got %v, want %d and %v", c.answers, asked, err, c.asked, c.want)
		}
	}
}

// Where the real clock stands still, gobreaker refuses. The slot is given back then, and a
// Reset is made up for by the next attempt.
func TestRefusedByGobreaker(t *testing.T) {
	for _, ready := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			line := newTimeline()
			p := admit(t, Settings{ConsecutiveFailures: 1, Clock: line.read})
			p.attempts(Failure)
			if ready {
				line.now = p.ReadyAt()
			}
			p.refused()
			p.Reset()
			p.refused()
			p.is(Open)
			time.Sleep(2 * time.Nanosecond)
			if p.allowed().Probe() {
				t.Error("the breaker was reset, and there is a probe")
			}
			p.changed("closed>open", "open>half-open", "half-open>closed")
		})
	}
}

func TestClockThatGoesBack(t *testing.T) {
	line := newTimeline()
	p := admit(t, Settings{ConsecutiveFailures: 1, Clock: line.read, Random: func() uint64 { return 0 }})
	line.now = line.now.Add(-time.Hour)
	p.attempts(Failure)
	if got := line.until(p); got != time.Second {
		t.Errorf("the first ejection lasts %v", got)
	}
}

func TestMayDouble(t *testing.T) {
	// A story of ejections: f is a failure, each + waits for the end of the ejection and . for
	// a second. What is wanted are the lengths of the ejections and how often it was asked.
	for _, c := range []struct {
		name    string
		answers []bool // the last one stands for all further ones
		story   string
		want    []time.Duration
		asked   int
	}{
		{"not for the first", []bool{false}, "f", []time.Duration{1}, 0},
		{"failed probes", []bool{true}, "f+f+f+f+f", []time.Duration{1, 2, 4, 5, 5}, 4},
		{"refused", []bool{false}, "f+f+f", []time.Duration{1, 1, 1}, 2},
		{"refused once", []bool{true, false, true}, "f+f+f+f", []time.Duration{1, 2, 1, 2}, 3},
		{"refused at the longest", []bool{true, true, true, false}, "f+f+f+f+f", []time.Duration{1, 2, 4, 5, 1}, 4},
		{"a relapse", []bool{true}, "f+sf", []time.Duration{1, 2}, 1},
		{"a refused relapse", []bool{false}, "f+sf", []time.Duration{1, 1}, 1},
		{"a recovery", []bool{false}, "f+s.f", []time.Duration{1, 1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := newTimeline()
			asked := 0
			p := admit(t, Settings{
				ConsecutiveFailures: 1,
				OpenMax:             5 * time.Second,
				Clock:               line.read,
				Random:              func() uint64 { return 0 },
				MayDouble: func() bool {
					asked++
					return c.answers[min(asked, len(c.answers))-1]
				},
			})
			var got []time.Duration
			for _, r := range c.story {
				switch r {
				case 'f':
					p.attempts(Failure)
					got = append(got, p.ReadyAt().Sub(line.now)/time.Second)
				case 's':
					p.attempts(Success)
				case '+':
					line.until(p)
				case '.':
					line.now = line.now.Add(time.Second)
				}
			}
			if !slices.Equal(got, c.want) || asked != c.asked {
				t.Errorf("open for %d s, want %d; asked %d times, want %d", got, c.want, asked, c.asked)
			}
		})
	}
}
