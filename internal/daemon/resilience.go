package daemon

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"sidecar/balancer"
	"sidecar/breaker"
	"sidecar/config"
	"sidecar/discovery"
	"sidecar/healthcheck"
	"sidecar/limiter"
	"sidecar/upstream"
)

// upstreamOptions says what a service is made of, but for its source.
func (d *Daemon) upstreamOptions(c *config.Service) (upstream.Options, error) {
	check, err := healthCheck(&c.HealthCheck)
	if err != nil {
		return upstream.Options{}, err
	}
	fallback, err := parseInstances(c.Fallback.Instances)
	if err != nil {
		return upstream.Options{}, fmt.Errorf("fallback: %w", err)
	}
	o := upstream.Options{
		Name: c.Name, Policy: d.policy(&c.Balancer), CountInFlight: c.Balancer.Policy == config.PolicyRingHash,
		Breaker: breaker.Settings{
			ConsecutiveFailures: c.Breaker.ConsecutiveFailures,
			SuccessRate:         c.Breaker.SuccessRate, MinRequests: c.Breaker.MinRequests, Window: c.Breaker.Window,
			Open: c.Breaker.Open, OpenMax: c.Breaker.OpenMax,
		},
		MaxEjected: c.Breaker.MaxEjected, Panic: c.Balancer.Panic, SlowStart: c.Balancer.SlowStart,
		Endpoint:    upstream.Limits{InFlight: c.Breaker.MaxInFlight, Pending: c.Breaker.MaxPending, Connections: c.Breaker.MaxConnections},
		Limits:      upstream.Limits{InFlight: c.Limit.MaxInFlight, Pending: c.Limit.MaxPending, Connections: c.Limit.MaxConnections},
		Fallback:    fallback,
		Budget:      upstream.BudgetOptions{Ratio: c.Retry.Budget, MinPerSecond: c.Retry.BudgetMin},
		HealthCheck: check,
		Log:         d.log,
	}
	if c.Balancer.Policy == config.PolicyRingHash {
		o.SlowStart = 0 // what belongs to an endpoint by its key belongs to it at once
	}
	if c.Limit.Adaptive {
		o.Adaptive = limiter.New(limiter.Options{Min: c.Limit.AdaptiveMin, Max: c.Limit.AdaptiveMax})
	}
	return o, nil
}

// policy makes the balancing policy. Keys go to their endpoints in whichever zone these are.
func (d *Daemon) policy(c *config.Balancer) upstream.Policy {
	var p upstream.Policy
	switch c.Policy {
	case config.PolicyLeastConn:
		p = balancer.LeastConn()
	case config.PolicyRoundRobin:
		p = balancer.RoundRobin()
	case config.PolicyRandom:
		p = balancer.Random()
	case config.PolicyRingHash:
		return balancer.RingHash(c.HashBalance)
	default:
		p = balancer.P2C()
	}
	if c.ZoneAware && d.config.Runtime.Zone != "" {
		p = balancer.Zoned(d.config.Runtime.Zone, p)
	}
	return p
}

// parseInstances reads instances as they stand in the configuration.
func parseInstances(texts []string) ([]discovery.Instance, error) {
	var instances []discovery.Instance
	for _, text := range texts {
		in, err := discovery.ParseInstance(text)
		if err != nil {
			return nil, err
		}
		instances = append(instances, in)
	}
	return instances, nil
}

// defaultStatuses is what passes an HTTP probe when nothing else is said; a reason need not
// repeat it.
const defaultStatuses = "200-399"

func healthCheck(c *config.HealthCheck) (*upstream.HealthCheck, error) {
	check := &upstream.HealthCheck{
		Settings: healthcheck.Settings{
			Interval: c.Interval, DownInterval: c.DownInterval, Timeout: c.Timeout, Rise: c.Rise, Fall: c.Fall,
		},
		KeepDropped: c.KeepDropped,
	}
	switch c.Type {
	case config.CheckTCP:
		check.Prober = healthcheck.TCP()
	case config.CheckGRPC:
		check.Prober = healthcheck.GRPC(healthcheck.GRPCOptions{Service: c.Service, Authority: c.Host})
	case config.CheckHTTP:
		o := healthcheck.HTTPOptions{Method: c.Method, Path: c.Path, Host: c.Host, Header: make(http.Header)}
		for _, field := range c.Headers {
			name, value, _ := strings.Cut(field, ":")
			o.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
		var err error
		if c.Statuses != defaultStatuses {
			if o.Statuses, err = healthcheck.ParseStatuses(c.Statuses); err != nil {
				return nil, fmt.Errorf("health_check.statuses: %w", err)
			}
		}
		if c.Body != "" {
			if o.Body, err = regexp.Compile(c.Body); err != nil {
				return nil, fmt.Errorf("health_check.body: %w", err)
			}
		}
		check.Prober = healthcheck.HTTP(o)
	default:
		return nil, nil //nolint:nilnil // no check is not a mistake
	}
	return check, nil
}
