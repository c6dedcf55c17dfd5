package main

import (
	"time"

	"sidecar/config"
	"sidecar/upstream"
)

// modelPresets are models of rules that others document, as far as they go here: how an
// instance is chosen, how failures keep it out, and when a request goes again. They are not
// those programs. All have the sidecar's timeouts, and nobody has health checks.
func modelPresets(c *config.Service) []*preset {
	own := retriesOf(&c.Retry)
	return []*preset{
		{
			name:  "as Envoy",
			about: "round robin; out for 30 s × n after 5 failures in a row, no more than 10 % at once; one retry, at most 3 at once, anywhere",
			// The wait before the retry is up to 25 ms.
			retry: retries{attempts: 1, connect: true, reset: true, status: own.status, atOnce: 3, wait: 25 * time.Millisecond, waitMax: 250 * time.Millisecond},
			make: func(s *sidecar, o *upstream.Options) {
				p := newOutliers(o.Clock)
				p.limit, p.share, p.base, p.most = 5, 0.1, 30*time.Second, 300*time.Second
				s.watcher, o.Policy = p, p.policy
			},
		},
		{
			name:  "as HAProxy",
			about: "of two at random the one with fewer connections; nothing keeps an instance out; three retries, of connections only, the last one elsewhere",
			// It waits before it tries the same instance again.
			retry: retries{attempts: 3, connect: true, sticks: true, wait: time.Second, waitMax: time.Second, exact: true},
			make: func(s *sidecar, o *upstream.Options) {
				o.Policy = func(c upstream.Candidates) upstream.Picker {
					inner := twoChoices(c)
					return choice(func(avoid []*upstream.Endpoint) *upstream.Endpoint {
						if s.pinned != nil {
							return s.pinned
						}
						return inner.Pick(upstream.PickKey{}, avoid)
					})
				}
			},
		},
		{
			name:  "as nginx",
			about: "round robin; out for 10 s after one failed or reset connection; every instance is tried once, errors are answers",
			retry: retries{attempts: 1 << 20, connect: true, reset: true, avoid: true, once: true},
			make: func(s *sidecar, o *upstream.Options) {
				p := newOutliers(o.Clock)
				p.limit, p.share, p.base, p.most, p.connections = 1, 1, 10*time.Second, 10*time.Second, true
				s.watcher, o.Policy = p, p.policy
			},
		},
	}
}

// outliers is round robin past endpoints that are out for a while after failures in a row.
type outliers struct {
	now         func() time.Time
	rows        map[*upstream.Endpoint]*record
	limit       int           // failures in a row
	share       float64       // of the endpoints that may be out at once
	base        time.Duration // times the number of times in a row
	most        time.Duration
	connections bool // answers that are errors are successes
	turns       *turns
	candidates  upstream.Candidates
}

func newOutliers(now func() time.Time) *outliers {
	return &outliers{now: now, rows: make(map[*upstream.Endpoint]*record), turns: newTurns()}
}

// A record is that of an endpoint.
type record struct {
	failures int
	times    int // that it has been out
	until    time.Time
}

func (p *outliers) policy(c upstream.Candidates) upstream.Picker {
	p.candidates = c
	inner := p.turns.policy(c)
	return choice(func(avoid []*upstream.Endpoint) *upstream.Endpoint {
		now := p.now()
		for range c.Endpoints {
			e := inner.Pick(upstream.PickKey{}, avoid)
			if e == nil {
				return nil
			}
			if r := p.rows[e]; r == nil || !r.until.After(now) {
				return e
			}
		}
		// All are out: all are tried, one after the other.
		return inner.Pick(upstream.PickKey{}, avoid)
	})
}

// told counts failures in a row.
func (p *outliers) told(e *upstream.Endpoint, o upstream.Outcome, _ time.Duration) {
	r := p.rows[e]
	if r == nil {
		r = &record{}
		p.rows[e] = r
	}
	now := p.now()
	switch {
	case o == upstream.Canceled:
		return
	case !o.Failure() || p.connections && o == upstream.ServerError:
		r.failures = 0
		return
	}
	r.failures++
	if r.failures < p.limit || r.until.After(now) || !p.room(now) {
		return
	}
	r.failures = 0
	r.times++
	r.until = now.Add(min(p.base*time.Duration(r.times), p.most))
}

// room tells whether another endpoint may be out.
func (p *outliers) room(now time.Time) bool {
	out := 1
	for _, r := range p.rows {
		if r.until.After(now) {
			out++
		}
	}
	return float64(out) <= p.share*float64(len(p.candidates.Endpoints))
}
