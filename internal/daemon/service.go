package daemon

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"go.uber.org/zap"

	"sidecar/config"
	"sidecar/discovery"
	"sidecar/internal/eventloop"
	"sidecar/internal/secure"
	"sidecar/metrics"
	"sidecar/proxy/tcp"
	"sidecar/upstream"
)

// A service is what one [[service]] of the configuration became.
type service struct {
	config   *config.Service
	records  []*discovery.Record // of its sources
	upstream *upstream.Service
	tls      *secure.Termination // nil: in plain text

	upstreamTLS *originated // nil: in plain text
	proxy       proxy
	counts      *metrics.Listener
	listeners   []*eventloop.Listener
}

// A proxy forwards what its listeners accept.
type proxy interface {
	eventloop.Acceptor
	Drain(ctx context.Context) error
}

func (d *Daemon) newService(c *config.Service) (*service, error) {
	source, records, err := d.source(c)
	if err != nil {
		return nil, err
	}
	options, err := d.upstreamOptions(c)
	if err != nil {
		return nil, err
	}
	options.Source = source
	termination, err := d.terminate(c)
	if err != nil {
		return nil, err
	}
	origination, err := d.originate(c)
	if err != nil {
		return nil, err
	}
	up := upstream.New(options)
	s := &service{config: c, upstream: up, records: records, tls: termination, upstreamTLS: origination, counts: d.metrics.Listener(c.Name, c.Protocol)}
	switch c.Protocol {
	case config.ProtocolHTTP:
		s.proxy = d.newHTTP(s)
	case config.ProtocolTCP:
		s.proxy = tcp.New(d.group, tcp.Options{
			Service: up, Log: d.log.With(zap.String("service", c.Name)),
			Sessions: d.metrics.TCP(c.Name), Listener: s.counts,
			ConnectTimeout: c.Timeout.Connect, IdleTimeout: orNone(c.Timeout.Idle), Tries: tcpTries(&c.Retry), Hash: tcpHash(c),
			CloseOnDown: c.OnDown == config.OnDownClose, TLS: terminationConfig(termination), UpstreamTLS: plainUpstreamTLS(origination),
			AcceptFrom: senders(c.AcceptProxyFrom), SendProxy: sendProxy(c.SendProxy),
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
