package daemon

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"sidecar/balancer"
	"sidecar/breaker"
	"sidecar/config"
	"sidecar/discovery"
	"sidecar/healthcheck"
	"sidecar/internal/secure"
	"sidecar/limiter"
	"sidecar/proxy/preamble"
	"sidecar/upstream"
)

// upstreamOptions says what a service is made of, but for its source. UpstreamTLS is what its
// endpoints are spoken to with, nil for plain text.
func (b *builder) upstreamOptions(c *config.Service, upstreamTLS func(two bool) *tls.Config) (upstream.Options, error) {
	check, err := endpointCheck(c, upstreamTLS)
	if err != nil {
		return upstream.Options{}, err
	}
	fallback, err := parseInstances(c.Fallback.Instances)
	if err != nil {
		return upstream.Options{}, fmt.Errorf("fallback: %w", err)
	}
	o := upstream.Options{
		Name: c.Name, Policy: b.policy(&c.Balancer), CountInFlight: c.Balancer.Policy == config.PolicyRingHash,
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
		Log:         b.log,
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
func (b *builder) policy(c *config.Balancer) upstream.Policy {
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
	if c.ZoneAware && b.config.Runtime.Zone != "" {
		p = balancer.Zoned(b.config.Runtime.Zone, p)
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

// healthCheck is a check of what is spoken to in plain text.
func healthCheck(c *config.HealthCheck) (*upstream.HealthCheck, error) {
	return checkBy(c, &probing{})
}

// endpointCheck is the check of a service's endpoints, which are probed as they are spoken to.
// UpstreamTLS is for either version of HTTP, and nil for plain text.
func endpointCheck(c *config.Service, upstreamTLS func(two bool) *tls.Config) (*upstream.HealthCheck, error) {
	p := &probing{two: c.UpstreamProtocol == config.UpstreamH2C}
	switch c.SendProxy {
	case config.SendProxyV1:
		p.transport.Header = preamble.AppendV1(nil, netip.AddrPort{}, netip.AddrPort{}) // it can only say that nobody is known
	case config.SendProxyV2:
		p.transport.Header = preamble.AppendLocal(nil)
	}
	if upstreamTLS != nil {
		p.transport.TLS = func() *tls.Config { return upstreamTLS(p.two) }
		p.transport.Explain = func(err error) error { return secure.Explain(err, true) }
	}
	if c.Protocol == config.ProtocolHTTP && c.UpstreamProtocol == config.UpstreamAuto {
		p.protocols = []string{"h2", "http/1.1"} // it may be an endpoint of gRPC, or of anything else
	}
	return checkBy(&c.HealthCheck, p)
}

// A probing is how endpoints are spoken to by probes.
type probing struct {
	transport healthcheck.Transport
	two       bool     // HTTP/2, and not HTTP/1.1
	protocols []string // offered by probes that speak none; nil: that which requests offer
}

func checkBy(c *config.HealthCheck, p *probing) (*upstream.HealthCheck, error) {
	check := &upstream.HealthCheck{
		Settings: healthcheck.Settings{
			Interval: c.Interval, DownInterval: c.DownInterval, Timeout: c.Timeout, Rise: c.Rise, Fall: c.Fall,
		},
		KeepDropped: c.KeepDropped,
	}
	switch c.Type {
	case config.CheckTCP:
		check.Prober = healthcheck.TCP(healthcheck.TCPOptions{Transport: p.transport, Protocols: p.protocols})
	case config.CheckGRPC:
		check.Prober = healthcheck.GRPC(healthcheck.GRPCOptions{Transport: p.transport, Service: c.Service, Authority: c.Host})
	case config.CheckHTTP:
		o := healthcheck.HTTPOptions{
			Transport: p.transport, HTTP2: p.two,
			Method: c.Method, Path: c.Path, Host: c.Host, Header: make(http.Header),
		}
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
