package daemon

import (
	"context"
	"fmt"
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
	sockets     []*socket
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
