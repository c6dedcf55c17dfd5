package breaker

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// live lets the breaker live through a story: s, f and i are attempts that succeed, fail
// and are ignored, and + is a second that passes. It returns the time since the origin.
func (p *patient) live(story string) time.Duration {
	p.t.Helper()
	var at time.Duration
	for _, r := range story {
		switch r {
		case 's':
			p.allowed().ReportAt(Success, at)
		case 'f':
			p.allowed().ReportAt(Failure, at)
		case 'i':
			p.allowed().ReportAt(Ignored, at)
		case '+':
			at += time.Second
		default:
			p.t.Fatalf("%q in a story", r)
		}
	}
	return at
}

func TestOpensByRate(t *testing.T) {
	rate := func(rate float64) Settings { return Settings{SuccessRate: rate} }
	for _, c := range []struct {
		name               string
		settings           Settings
		story              string
		want               string // the reason, or closed
		attempts, failures uint64
	}{
		{"too few attempts", rate(.8), "ffff", "closed", 4, 4},
		{"enough attempts", rate(.8), "fffff", "success rate", 5, 5},
		{"just the rate", rate(.8), "ssssssssff", "closed", 10, 2},
		{"less than the rate", rate(.8), "ssssssssfff", "success rate", 11, 3},
		{"a rate that is not exact in binary", rate(.07), strings.Repeat("s", 7) + strings.Repeat("f", 93), "closed", 100, 93},
		{"less than that", rate(.07), strings.Repeat("s", 7) + strings.Repeat("f", 94), "success rate", 101, 94},
		{"a success does not open", rate(.8), "ffffs", "closed", 5, 4},
		{"the failure after it does", rate(.8), "ffffsf", "success rate", 6, 5},
		{"ignored attempts say nothing", rate(.8), "ffffiiiiii", "closed", 4, 4},
		{"neither for nor against", rate(.8), "ssssssssiiiiiff", "closed", 10, 2},
		{"all must succeed", rate(1), "ssssf", "success rate", 5, 1},
		{"more than all", rate(1.5), "sssss", "closed", 5, 0},
		{"a rate that is no number", rate(math.NaN()), "ffffffff", "closed", 8, 8},
		{"a negative rate", rate(-1), "ffffffff", "closed", 8, 8},
		{"neither row nor rate", rate(0), "ffffffff", "closed", 8, 8},
		{"in the window", rate(.8), "ffff+++++++++f", "success rate", 5, 5},
		{"out of the window", rate(.8), "ffff++++++++++f", "closed", 1, 1},
		{"some out of the window", rate(.8), "ffff+++++sssss+++++f", "closed", 6, 1},
		{"the successes out of the window", rate(.5), "ssss+++++ff+++++fff", "success rate", 5, 5},
		{"a shorter window", Settings{SuccessRate: .8, Window: time.Second}, "ffff+f", "closed", 1, 1},
		{"at least two", Settings{SuccessRate: .8, MinRequests: 2}, "ff", "success rate", 2, 2},
		{"at least one", Settings{SuccessRate: .8, MinRequests: 1}, "f", "success rate", 1, 1},
		{"at least 20", Settings{SuccessRate: .8, MinRequests: 20}, strings.Repeat("f", 19), "closed", 19, 19},
		{"the row first", Settings{SuccessRate: .8, ConsecutiveFailures: 3}, "fff", "failures in a row", 3, 3},
		{"the rate first", Settings{SuccessRate: .8, ConsecutiveFailures: 3}, "ffsff", "success rate", 5, 4},
		{"both at once", Settings{SuccessRate: .8, ConsecutiveFailures: 5}, "fffff", "failures in a row", 5, 5},
		{"a row that the rate does not mind", Settings{SuccessRate: .2, ConsecutiveFailures: 3}, "sssssssfff", "failures in a row", 10, 3},
		{"a long row without a limit", Settings{SuccessRate: .2}, "ssssssssfffffffff", "closed", 17, 9},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := admit(t, c.settings)
			at := p.live(c.story)
			got := p.State().String()
			if got == "open" {
				got = p.Reason().String()
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			p.counts(at, c.attempts, c.failures)
		})
	}
}

// Threads read the time apart from each other, so reports come out of order.
func TestReportsOutOfOrder(t *testing.T) {
	p := admit(t, Settings{SuccessRate: .8})
	p.allowed().ReportAt(Failure, 20*time.Second)
	p.allowed().ReportAt(Failure, 21*time.Second)
	p.allowed().ReportAt(Failure, 20*time.Second)
	p.allowed().ReportAt(Failure, 21*time.Second)
	p.allowed().ReportAt(Failure, time.Second) // long ago
	p.counts(21*time.Second, 4, 4)
	p.counts(20*time.Second, 4, 4)
	p.is(Closed)
	p.allowed().ReportAt(Failure, 20*time.Second)
	p.is(Open)
}

// A success that nothing has failed before must not reach gobreaker: it would have to wait
// for its lock. Without a limit of a row that is so after failures as well, and without a
// rate for the failures themselves.
func TestLittleReachesGobreaker(t *testing.T) {
	for _, c := range []struct {
		name                string
		settings            Settings
		story               string
		successes, failures uint32 // that gobreaker has been told of
	}{
		{"nothing has failed", Settings{ConsecutiveFailures: 5, SuccessRate: .1}, "ssss", 0, 0},
		{"after a failure the first one does", Settings{ConsecutiveFailures: 5, SuccessRate: .1}, "ssfsss", 1, 1},
		{"the rate alone", Settings{SuccessRate: .1}, "ssfsss", 0, 1},
		{"neither", Settings{}, "ssfsss", 0, 0},
		{"a rate that is no number", Settings{SuccessRate: math.NaN()}, "ssfsss", 0, 0},
		{"a negative rate", Settings{SuccessRate: -1}, "ssfsss", 0, 0},
	} {
		p := admit(t, c.settings)
		p.live(c.story)
		if got := p.machine.Counts(); got.TotalSuccesses != c.successes || got.TotalFailures != c.failures {
			t.Errorf("%s: gobreaker knows of %d successes and %d failures, want %d and %d",
				c.name, got.TotalSuccesses, got.TotalFailures, c.successes, c.failures)
		}
	}
}

func TestMayTripIsAskedOnceForEachFailure(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings Settings
		story    string
		want     string
	}{
		{"row", Settings{ConsecutiveFailures: 2}, "ffsffi", "row row"},
		{"rate", Settings{SuccessRate: .9, MinRequests: 2}, "ffsfi", "rate rate"},
		{"row before rate", Settings{ConsecutiveFailures: 2, SuccessRate: .9, MinRequests: 2}, "ff", "row"},
		{"each as it holds", Settings{ConsecutiveFailures: 2, SuccessRate: .9, MinRequests: 2}, "ffsff", "row rate row"},
		{"neither", Settings{}, "ffffffff", ""},
	} {
		var asked []string
		c.settings.MayTrip = func(r Reason) bool {
			asked = append(asked, map[Reason]string{InARow: "row", ByRate: "rate"}[r])
			return false
		}
		p := admit(t, c.settings)
		p.live(c.story)
		p.is(Closed)
		if got := strings.Join(asked, " "); got != c.want {
			t.Errorf("%s: asked for %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMayTripSeesTheCounts(t *testing.T) {
	var p *patient
	asked := false
	p = admit(t, Settings{SuccessRate: .5, MayTrip: func(Reason) bool {
		asked = true
		p.counts(0, 5, 3)
		return true
	}})
	p.live("ssfff")
	if !asked {
		t.Error("MayTrip was not asked")
	}
}

func TestNewClosedPeriodBeginsWithAnEmptyWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := admit(t, Settings{SuccessRate: .8, Open: time.Second})
		p.attempts(Failure, Failure, Failure, Failure, Failure)
		p.waitOpen()
		p.counts(p.since(), 5, 5)
		p.attempts(Ignored)
		p.counts(p.since(), 5, 5)
		p.attempts(Failure)
		p.counts(p.since(), 6, 6) // the probe as well
		p.waitOpen()
		p.attempts(Success)
		p.counts(p.since(), 0, 0)
		p.attempts(Failure, Failure, Failure, Failure)
		p.is(Closed)
		p.attempts(Failure)
		p.is(Open)
		p.counts(p.since(), 5, 5)
	})
}

func TestOnChangeSeesWhatLedToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *Breaker
		var seen []string
		b = New(Settings{
			ConsecutiveFailures: 3,
			SuccessRate:         .8,
			OnChange: func(_, to State) {
				attempts, failures := b.Counts(b.since())
				seen = append(seen, fmt.Sprintf("%v: %v, %d of %d", to, b.Reason(), failures, attempts))
			},
		})
		attempt := func(outcomes ...Outcome) {
			for _, o := range outcomes {
				permit, ok := b.Allow()
				if !ok {
					t.Fatal("refused")
				}
				permit.Report(o)
			}
		}
		attempt(Success, Failure, Failure, Success, Failure)
		time.Sleep(time.Second)
		attempt(Failure)
		time.Sleep(2 * time.Second)
		attempt(Success, Failure, Failure, Failure)
		want := []string{
			"open: success rate, 3 of 5",
			"half-open: success rate, 3 of 5",
			"open: success rate, 4 of 6",
			"half-open: success rate, 4 of 6",
			"closed: success rate, 0 of 0",
			"open: failures in a row, 3 of 3",
		}
		if !slices.Equal(seen, want) {
			t.Errorf("seen %q, want %q", seen, want)
		}
	})
}

// Report reads the same clock that the caller's durations are of.
func TestReportAgreesWithReportAt(t *testing.T) {
	for _, origin := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			p := admit(t, Settings{SuccessRate: .5, Origin: start.Add(-origin)})
			time.Sleep(5 * time.Second)
			p.allowed().Report(Failure)
			p.allowed().ReportAt(Success, time.Since(start)+origin)
			p.counts(origin+14*time.Second, 2, 1)
			p.counts(origin+15*time.Second, 0, 0)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		p := admit(t, Settings{}) // the origin is now
		time.Sleep(5 * time.Second)
		p.allowed().Report(Failure)
		p.counts(14*time.Second, 1, 1)
		p.counts(15*time.Second, 0, 0)
	})
}

func TestZeroPermitReportsToNobody(*testing.T) {
	Permit{}.Report(Failure)
	Permit{}.ReportAt(Failure, time.Second)
}
