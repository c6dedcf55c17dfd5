package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An outage is three instances of which all fail at once, and heal at once.
type outage struct {
	origins  []*origin
	fail     func()
	heal     func()
	attempts func(*sidecar) int // that have been made
}

// answers is an outage of a status.
func answers(t *testing.T, status int64) *outage {
	o := newOutage(t)
	o.fail = func() {
		for _, origin := range o.origins {
			origin.status.Store(status)
		}
	}
	o.heal = func() {
		for _, origin := range o.origins {
			origin.status.Store(http.StatusOK)
		}
	}
	o.attempts = func(*sidecar) (n int) {
		for _, origin := range o.origins {
			n += int(origin.served.Load())
		}
		return n
	}
	return o
}

// refuses is an outage in which connections are cut and refused.
func refuses(t *testing.T) *outage {
	o := newOutage(t)
	o.fail = func() {
		for _, origin := range o.origins {
			origin.leave()
		}
	}
	o.heal = func() {
		for _, origin := range o.origins {
			origin.listen(t, origin.address)
		}
	}
	o.attempts = func(s *sidecar) int { return s.outcomes("orders") }
	return o
}

func newOutage(t *testing.T) *outage {
	o := &outage{origins: serveOrigins(t, "orders-1", "orders-2", "orders-3")}
	for _, origin := range o.origins {
		origin.latency.Store(int64(20 * time.Millisecond))
	}
	return o
}

// When everything fails, nobody makes it worse, and nobody is late when it is over.
func TestAllFailAndHeal(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		status int64 // 0: they refuse
		config string
		cause  string
	}{
		"with status 503": {503, "", "status 503"},
		"with status 500, which is retried on request": {500, `retry.on = ["500"]`, "status 500"},
		"with status 500": {500, "", "status 500"},
		"by refusing":     {0, "", "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := refuses(t)
			if test.status > 0 {
				o = answers(t, test.status)
			}
			failAndHeal(t, o, test.config, test.cause)
		})
	}
}

func failAndHeal(t *testing.T, o *outage, config, cause string) {
	const clients, every, during = 16, 40 * time.Millisecond, 800
	s := serving(t, static("orders", config, addresses(o.origins)...))
	l := startPaced(t, s.address("orders"), clients, every)
	l.more(t, 100)
	before, began, asked := o.attempts(s), time.Now(), l.asked()
	o.fail()
	within(t, patience, "enough requests fail", func() bool { return l.asked() >= asked+during })
	text := s.explain("orders")
	lasted, requests, attempts := time.Since(began), l.asked()-asked, o.attempts(s)-before
	// What the budget promises: in any 10 s a fifth of the requests, here those before the
	// outage too, and 100.
	most := 0.2*float64(l.asked()+clients) + 100*float64(1+int(lasted/(10*time.Second)))
	t.Logf("all fail for %v: %d requests of users, %d attempts (%.2f times; a fifth and 100 in any 10 s are allowed)",
		lasted.Round(time.Millisecond), requests, attempts, float64(attempts)/float64(requests))
	if extra := float64(attempts - requests); extra > most+clients { // those under way at the beginning or the end
		t.Errorf("%.0f attempts more than requests, at most %.0f are allowed", extra, most)
	}
	for _, address := range addresses(o.origins) {
		if missing := lacking(remark(text, s.id("orders", address)), []string{cause}); missing != "" {
			t.Errorf("explain does not say %q of %s", missing, address)
		}
	}
	t.Logf("explain says: %s", text[:strings.Index(text, "\n")])

	o.heal()
	healed := time.Now()
	within(t, patience, "there are good answers for more than a second", func() bool {
		took, ok := l.sofar().streak(healed, 100)
		return ok && time.Since(healed) > took+time.Second
	})
	l.stop()
	took, _ := l.samples.streak(healed, 100)
	good := l.samples.good().between(healed, healed.Add(patience))
	first := good[0].at.Add(good[0].took)
	second := good.between(first, first.Add(time.Second))
	shares := ""
	for _, origin := range o.origins {
		shares += fmt.Sprintf(" %.0f %%", 100*second.share(origin.name))
		if second.share(origin.name) > 2./3 {
			t.Errorf("%s gets %.0f %% of the traffic in the first second, more than twice its share", origin.name, 100*second.share(origin.name))
		}
	}
	t.Logf("the first good answer %v after all have healed, a hundred in a row after %v (required: 5s); shares in the first second:%s",
		first.Sub(healed).Round(time.Millisecond), took.Round(time.Millisecond), shares)
	if took > 5*time.Second {
		t.Errorf("a hundred good answers in a row only after %v", took)
	}
}

// outcomes is how many of the attempts of a service have succeeded or failed.
func (s *sidecar) outcomes(service string) (n int) {
	s.t.Helper()
	for _, e := range s.service(service).Endpoints {
		n += int(e.Counters.Successes + e.Counters.Failures())
	}
	return n
}
