package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"sidecar/balancer"
	"sidecar/breaker"
	"sidecar/config"
	"sidecar/limiter"
	"sidecar/upstream"
)

// A preset is a policy with all that belongs to it: what is compared.
type preset struct {
	name string
	// about says what it is, for the list of presets.
	about string
	retry retries
	// make sets what the service of a sidecar is made of.
	make func(s *sidecar, o *upstream.Options)
	// hashed has the requests bring keys.
	hashed bool
}

// defaults are the values that a service has which sets nothing itself.
func defaults() (config.Service, error) {
	c, err := config.Parse("simulation", []byte("[[service]]\nname = \"simulated\"\nlisten = \"127.0.0.1:7001\"\n"), nil)
	if err != nil {
		return config.Service{}, fmt.Errorf("the defaults: %w", err)
	}
	return c.Services[0], nil
}

// presets returns all that there are, in the order in which they are shown.
func presets() ([]*preset, error) {
	c, err := defaults()
	if err != nil {
		return nil, err
	}
	return slices.Concat(sidecarPresets(&c), textbookPresets(&c), modelPresets(&c)), nil
}

// retriesOf are the retries of a configuration.
func retriesOf(c *config.Retry) retries {
	r := retries{
		attempts: c.Attempts,
		connect:  slices.Contains(c.On, "connect"),
		reset:    slices.Contains(c.On, "reset"),
		budget:   true,
		avoid:    true,
		hurries:  true,
		stalled:  c.Stalled,
		wait:     c.Backoff,
		waitMax:  c.BackoffMax,
	}
	for _, word := range c.On {
		if status, err := strconv.Atoi(word); err == nil {
			r.status = append(r.status, status)
		}
	}
	return r
}

// apply sets what the configuration says of ejection and budget.
func apply(c *config.Service, o *upstream.Options) {
	b := &c.Breaker
	o.Breaker = breaker.Settings{
		ConsecutiveFailures: b.ConsecutiveFailures,
		SuccessRate:         b.SuccessRate,
		MinRequests:         b.MinRequests,
		Window:              b.Window,
		Open:                b.Open,
		OpenMax:             b.OpenMax,
	}
	o.MaxEjected = b.MaxEjected
	o.Panic = c.Balancer.Panic
	o.SlowStart = c.Balancer.SlowStart
	o.Budget = upstream.BudgetOptions{Ratio: c.Retry.Budget, MinPerSecond: c.Retry.BudgetMin}
}

// sidecarPresets are this project's own: the defaults, and what they would be without one
// of their parts, or with another one.
func sidecarPresets(c *config.Service) []*preset {
	own := func(name, about string, change func(s *sidecar, o *upstream.Options)) *preset {
		p := &preset{name: name, about: about, retry: retriesOf(&c.Retry)}
		p.make = func(s *sidecar, o *upstream.Options) {
			o.Policy = balancer.P2C()
			apply(c, o)
			if change != nil {
				change(s, o)
			}
		}
		return p
	}
	retries500 := own("sidecar (500 retried)", "the defaults, with 500 in retry.on", nil)
	retries500.retry.status = append(slices.Clone(retries500.retry.status), 500)
	noRetries := own("sidecar (no retries)", "the defaults, with retry.attempts = 0", nil)
	noRetries.retry.attempts, noRetries.retry.stalled = 0, 0
	noBudget := own("sidecar (no budget)", "the defaults, with as many retries as attempts allow", nil)
	noBudget.retry.budget = false
	hash := own("sidecar (ring_hash)", "the defaults, with ring_hash instead of p2c", func(_ *sidecar, o *upstream.Options) {
		o.Policy = balancer.RingHash(c.Balancer.HashBalance)
		o.CountInFlight = true
	})
	hash.hashed = true
	return []*preset{
		own("sidecar", "the defaults: p2c, failures have a price, ejection, retries with a budget", nil),
		retries500,
		noRetries,
		noBudget,
		own("sidecar (no ejection)", "the defaults, with the breaker off", func(_ *sidecar, o *upstream.Options) {
			o.Breaker, o.MaxEjected = breaker.Settings{}, 0
		}),
		own("sidecar (slow start)", "the defaults, with slow_start = 10s", func(_ *sidecar, o *upstream.Options) {
			o.SlowStart = 10 * time.Second
		}),
		own("sidecar (adaptive)", "the defaults, with limit.adaptive = true", func(_ *sidecar, o *upstream.Options) {
			o.Adaptive = limiter.New(limiter.Options{Min: c.Limit.AdaptiveMin, Max: c.Limit.AdaptiveMax, Random: o.Random})
		}),
		own("sidecar (zones)", "the defaults, with runtime.zone set", func(s *sidecar, o *upstream.Options) {
			o.Policy = balancer.Zoned(zoneName(s.zone), balancer.P2C())
		}),
		own("sidecar (least_conn)", "the defaults, with least_conn instead of p2c", func(_ *sidecar, o *upstream.Options) {
			o.Policy = balancer.LeastConn()
		}),
		own("sidecar (round_robin)", "the defaults, with round_robin instead of p2c", func(_ *sidecar, o *upstream.Options) {
			o.Policy = balancer.RoundRobin()
		}),
		hash,
	}
}
