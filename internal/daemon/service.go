package daemon

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"go.uber.org/zap"

	"sidecar/balancer"
	"sidecar/breaker"
	"sidecar/config"
	"sidecar/discovery"
	"sidecar/discovery/consul"
	"sidecar/healthcheck"
	"sidecar/internal/eventloop"
	"sidecar/metrics"
	"sidecar/proxy/http"
	"sidecar/proxy/http/h1"
	"sidecar/proxy/tcp"
	"sidecar/upstream"
)

// A service is what one [[service]] of the configuration became.
type service struct {
	config    *config.Service
	upstream  *upstream.Service
	proxy     proxy
	counts    *metrics.Listener
	listeners []*eventloop.Listener
}

// A proxy forwards what its listeners accept.
type proxy interface {
	eventloop.Acceptor
	Drain(ctx context.Context) error
}

func (d *Daemon) newService(c *config.Service) (*service, error) {
	source, err := d.source(c)
	if err != nil {
		return nil, err
	}
	up := upstream.New(upstream.Options{
		Name: c.Name, Source: source, Policy: policy(c.Balancer.Policy),
		Breaker: breaker.Settings{
			ConsecutiveFailures: c.Breaker.ConsecutiveFailures, Open: c.Breaker.Open, OpenMax: c.Breaker.OpenMax,
		},
		MaxEjected: c.Breaker.MaxEjected, MaxInFlight: c.Breaker.MaxInFlight,
		Budget:      upstream.BudgetOptions{Ratio: c.Retry.Budget, MinPerSecond: c.Retry.BudgetMin},
		HealthCheck: healthCheck(&c.HealthCheck),
		Log:         d.log,
	})
	s := &service{config: c, upstream: up, counts: d.metrics.Listener(c.Name, c.Protocol)}
	switch c.Protocol {
	case config.ProtocolHTTP:
		s.proxy = d.newHTTP(s)
	case config.ProtocolTCP:
		s.proxy = tcp.New(d.group, tcp.Options{
			Service: up, Log: d.log.With(zap.String("service", c.Name)),
			Sessions: d.metrics.TCP(c.Name), Listener: s.counts,
			ConnectTimeout: c.Timeout.Connect, IdleTimeout: orNone(c.Timeout.Idle),
			CloseOnDown: c.OnDown == config.OnDownClose,
		})
	default:
		return nil, fmt.Errorf("protocol %q is not built", c.Protocol)
	}
	return s, nil
}

// orNone turns the configuration's "0s: no limit" into what proxy/tcp calls no limit.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func (d *Daemon) source(c *config.Service) (discovery.Source, error) {
	switch c.Discovery.Source {
	case config.SourceConsul:
		client, err := d.consulClient()
		if err != nil {
			return nil, err
		}
		return client.Source(consul.Query{Service: c.Discovery.Service, Tags: c.Discovery.Tags, Warning: c.Discovery.Warning}), nil
	case config.SourceStatic:
		var instances []discovery.Instance
		for _, text := range c.Discovery.Instances {
			in, err := discovery.ParseInstance(text)
			if err != nil {
				return nil, err
			}
			instances = append(instances, in)
		}
		return discovery.Static(instances), nil
	}
	return nil, fmt.Errorf("discovery source %q is not built", c.Discovery.Source)
}

// consulClient returns the one client that all services share.
func (d *Daemon) consulClient() (*consul.Client, error) {
	if d.consul != nil {
		return d.consul, nil
	}
	c := &d.config.Consul
	address := c.Address
	if c.TLS.Enabled {
		address = "https://" + address
	}
	client, err := consul.New(consul.Options{
		Address: address, Token: string(c.Token), TokenFile: c.TokenFile,
		Datacenter: c.Datacenter, Consistency: c.Consistency, Logger: d.log,
		TLS: consul.TLS{CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ServerName: c.TLS.ServerName},
	})
	if err != nil {
		return nil, err
	}
	d.consul = client
	return client, nil
}

func policy(name string) upstream.Policy {
	switch name {
	case config.PolicyLeastConn:
		return balancer.LeastConn()
	case config.PolicyRoundRobin:
		return balancer.RoundRobin()
	case config.PolicyRandom:
		return balancer.Random()
	}
	return balancer.P2C()
}

func healthCheck(c *config.HealthCheck) *upstream.HealthCheck {
	settings := healthcheck.Settings{Interval: c.Interval, Timeout: c.Timeout, Rise: c.Rise, Fall: c.Fall}
	switch c.Type {
	case config.CheckTCP:
		return &upstream.HealthCheck{Prober: healthcheck.TCP(), Settings: settings}
	case config.CheckHTTP:
		return &upstream.HealthCheck{Prober: healthcheck.HTTP(healthcheck.HTTPOptions{Path: c.Path}), Settings: settings}
	}
	return nil
}

func (d *Daemon) newHTTP(s *service) *http.Proxy {
	c := s.config
	return http.New(d.group, http.Options{
		Service: s.upstream, Name: c.Name, Log: d.log,
		Requests: d.metrics.HTTP(c.Name), Listener: s.counts, AccessLog: d.accessLog,
		Forward: http.Forwarding{
			For: forwardedFor(c.HTTP.XForwardedFor), Proto: c.HTTP.XForwardedProto, Host: c.HTTP.XForwardedHost,
			Via: c.HTTP.Via, Date: true, Rewrite: c.HTTP.Host,
		},
		Limits:  h1.Limits{MaxHead: c.HTTP.MaxHead, MaxFields: c.HTTP.MaxFields, MaxTarget: c.HTTP.MaxTarget},
		MaxBody: int64(c.HTTP.MaxBody), CloseOnDown: c.OnDown == config.OnDownClose,
		Retry:       retry(&c.Retry),
		HeadTimeout: c.HTTP.HeadTimeout, ClientIdle: c.HTTP.ClientIdle,
		ConnectTimeout: c.Timeout.Connect, RequestTimeout: c.Timeout.Request,
		UpstreamIdle: c.Timeout.UpstreamIdle, StreamIdle: c.Timeout.Idle, PoolPerEndpoint: poolSize(c),
	})
}

// poolSize is 0 also where unused connections are not to be kept for any time.
func poolSize(c *config.Service) int {
	if c.Timeout.UpstreamIdle == 0 {
		return 0
	}
	return c.HTTP.Pool
}

func forwardedFor(word string) http.ForwardedFor {
	switch word {
	case config.ForwardedSet:
		return http.ForwardedSet
	case config.ForwardedOff:
		return http.ForwardedOff
	}
	return http.ForwardedAppend
}

func retry(c *config.Retry) http.Retry {
	r := http.Retry{Attempts: c.Attempts, PerTry: c.PerTry}
	for _, on := range c.On {
		switch on {
		case config.RetryConnect:
			r.Connect = true
		case config.RetryReset:
			r.Reset = true
		case config.RetryTimeout:
			r.Timeout = true
		default:
			if status, err := strconv.Atoi(on); err == nil && status >= 500 && status <= 599 {
				r.Status[status-500] = true
			}
		}
	}
	return r
}

// listen opens the service's listeners.
func (s *service) listen(d *Daemon) error {
	for i, address := range s.config.Listen {
		ln, err := d.group.Listen(address.Network, address.Addr, s.proxy, eventloop.ListenOptions{OnError: func(err error) {
			s.counts.Shard(0).Errors.Add(1)
			d.log.Warn("accepting pauses; raise LimitNOFILE, or find who holds so many connections",
				zap.String("service", s.config.Name), zap.Error(err))
		}})
		if err != nil {
			return &ListenError{Service: s.config.Name, Index: i, Address: address, Err: err}
		}
		s.listeners = append(s.listeners, ln)
		d.log.Info("listens", zap.String("service", s.config.Name), zap.String("protocol", s.config.Protocol),
			zap.Stringer("address", ln.Addr()))
	}
	return nil
}

func (s *service) closeListeners() {
	for _, ln := range s.listeners {
		ln.Close()
	}
}

// A ListenError is a listener that could not be opened.
type ListenError struct {
	Service string
	Index   int // in the service's list
	Address config.Address
	Err     error
}

func (e *ListenError) Error() string {
	text := fmt.Sprintf("service %q: %v", e.Service, e.Err)
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		text += "; stop the process that holds it (ss -ltnp shows which), or change the service's listen"
	case errors.Is(e.Err, syscall.EACCES):
		text += "; ports below 1024 need CAP_NET_BIND_SERVICE, a unix socket a folder that may be written"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		text += "; this host has no such address"
	}
	return text
}

func (e *ListenError) Unwrap() error { return e.Err }
