package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// printed is what a command line writes to standard output.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out, problems bytes.Buffer
	if code := main1(args, &out, &problems); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, problems.String())
	}
	return out.String()
}

func TestTheSameSeedGivesTheSameOutput(t *testing.T) {
	t.Parallel()
	args := []string{"-quick", "-scenario", "fast-failing,outage-gone,zone,joining", "-policy", "sidecar,sidecar (zones),sidecar (ring_hash),peak EWMA,as nginx", "-format", "markdown"}
	first := printed(t, args...)
	if again := printed(t, args...); again != first {
		t.Errorf("two runs with the same seed differ:\n%s\n%s", first, again)
	}
	if other := printed(t, append(args, "-seed", "2")...); other == first {
		t.Error("another seed gives the same output")
	}
	if got := strings.Count(first, "\n| peak EWMA"); got != 4 {
		t.Errorf("%d lines for peak EWMA in:\n%s", got, first)
	}
}

func TestMistakesOnTheCommandLineAreNamed(t *testing.T) {
	t.Parallel()
	for args, part := range map[string]string{
		"-scenario nothing": `no scenario "nothing", only healthy, fast-failing`,
		"-policy nothing":   `no policy "nothing", only sidecar,`,
		"-format html":      `-format is "html"`,
		"-sidecars 3":       "go together",
		"extra":             `unexpected argument "extra"`,
	} {
		var problems bytes.Buffer
		if code := main1(strings.Fields(args), io.Discard, &problems); code != 1 || !strings.Contains(problems.String(), part) {
			t.Errorf("%s: exit code %d and %q, %q is wanted", args, code, problems.String(), part)
		}
	}
}

func TestEveryNameIsKnown(t *testing.T) {
	t.Parallel()
	list := printed(t, "-list")
	for _, sc := range scenarios() {
		for _, name := range slices.Concat(sc.policies, sc.large, sc.dense) {
			presetNamed(t, name)
			if !strings.Contains(list, "  "+name+" ") {
				t.Errorf("-list does not say what %q is", name)
			}
		}
	}
}

// TestNothingIsLeftInFlight waits until all is over.
func TestNothingIsLeftInFlight(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"outage-gone", "hanging", "silent", "rolling", "overload", "joining"} {
		for _, policy := range []string{"sidecar", "sidecar (adaptive)", "as HAProxy"} {
			t.Run(name+" "+policy, func(t *testing.T) {
				t.Parallel()
				sc := scenarioNamed(t, name)
				w := newWorld(sc, presetNamed(t, policy), three, 1)
				// The last second is without users, and then they lose their patience.
				w.quiet = sc.length - time.Second
				w.run(sc.length + requestTimeout)
				for i, s := range w.sidecars {
					for _, e := range s.service.Snapshot().Endpoints {
						if n := e.InFlight(); n != 0 {
							t.Errorf("sidecar %d has %d in flight on %s", i, n, e.ID())
						}
					}
					if s.retrying != 0 {
						t.Errorf("sidecar %d has %d retries under way", i, s.retrying)
					}
				}
				if requests, ended := total(w.tally.requests), total(w.tally.ended); requests != ended {
					t.Errorf("%d requests, %d answers", requests, ended)
				}
			})
		}
	}
}

func total(counts []int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

type nobody struct{}

func (nobody) act(int) {}

func TestEventsComeInTheOrderOfTheirTime(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	var q queue
	for i := range 1000 {
		q.put(time.Duration(r.IntN(100)), nobody{}, i)
	}
	last, n := event{at: -1}, 0
	for {
		e, ok := q.take(49)
		if !ok {
			break
		}
		if e.at < last.at || e.at == last.at && e.what < last.what {
			t.Fatalf("%d at %d came after %d at %d", e.what, e.at, last.what, last.at)
		}
		last = e
		n++
		if n == 100 {
			q.put(e.at, nobody{}, 5000) // now is still to come
		}
	}
	if e, ok := q.take(1000); !ok || e.at < 50 || last.at > 49 {
		t.Errorf("the first after 49 is at %d, the last before at %d", e.at, last.at)
	}
}

func TestInstancesWorkAsMuchAsTheyCan(t *testing.T) {
	t.Parallel()
	y := simulated(t, "overload", "sidecar (no retries)", three, 1)
	w := y.scenario.window
	got := float64(sum(y.good, w)) / w.length().Seconds() / 3
	if got < 0.97*capacity || got > 1.03*capacity {
		t.Errorf("an instance with too much to do answers %.0f requests per second, %.0f is wanted", got, capacity)
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	h := newHistogram()
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := h.quantile(q); got < want*99/100 || got > want*101/100 {
			t.Errorf("the %v quantile of 1 to 1000 ms is %v", q, got)
		}
	}
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		bad      []int // grains in which all requests fail
		want     time.Duration
		forever  bool
		wantText string
	}{
		{"never ill", nil, 0, false, "0.0"},
		{"at once", []int{20}, 100 * time.Millisecond, false, "0.1"},
		{"a relapse", []int{20, 35}, 1600 * time.Millisecond, false, "1.6"},
		{"before the watch", []int{5}, 0, false, "0.0"},
		{"at the end", []int{49}, 3 * time.Second, true, "never"},
	} {
		sc := &scenario{length: 5 * time.Second, watch: span{2 * time.Second, 5 * time.Second}}
		y := newTally(sc, three)
		for i := range 50 {
			for range 50 {
				y.answer(time.Duration(i)*grain, time.Millisecond, !slices.Contains(c.bad, i))
			}
		}
		got, never := y.recovery(sc.watch)
		if never != c.forever || !never && got != c.want {
			t.Errorf("%s: recovery %v, %v; %v, %v is wanted", c.name, got, never, c.want, c.forever)
		}
		if text := recovery.cell(y); text != c.wantText {
			t.Errorf("%s: %q is printed, %q is wanted", c.name, text, c.wantText)
		}
	}
}

func TestSharesArePrintedWithTheDigitsTheyNeed(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]string{0: "0", 0.00123: "0.12", 0.5: "50.0", 0.012: "1.2"} {
		if got := percent(share); got != want {
			t.Errorf("%v is %q, %q is wanted", share, got, want)
		}
	}
	if got := millis(9540*time.Microsecond) + " " + millis(1500*time.Millisecond); got != "9.5 1500" {
		t.Errorf("millis: %s", got)
	}
}
