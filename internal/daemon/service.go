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
	"sidecar/proxy/http"
	"sidecar/proxy/tcp"
	"sidecar/tap"
	"sidecar/tracing"
	"sidecar/upstream"
)

// A service is what one [[service]] of the configuration became. It is not changed any more: a
// reload makes another one, with the same proxy, and with what else has stayed the same.
type service struct {
	config *config.Service
	proxy  proxy
	counts *metrics.Listener
	tap    *tap.Point // of the proxy; nil for protocol tcp

	upstream *upstream.Service
	records  []*discovery.Record // of its sources
	supply   *unit               // runs the upstream
	made     part                // by which the upstream was made

	tls         *secure.Termination // nil: in plain text
	tlsUnit     *unit
	upstreamTLS *secure.Origination // nil: in plain text
	upstreamKey *unit

	tracer *tracing.Tracer // nil if there is no tracing
}

// A proxy forwards what its listeners accept.
type proxy interface {
	eventloop.Acceptor
	// Drain lets what runs end, and cuts it when ctx ends first.
	Drain(ctx context.Context) error
	// Follow has it heed a service that it will be given, before that runs.
	Follow(s *upstream.Service)
	// Release gives up what it keeps for endpoints that are retired.
	Release()
}

// units are what runs for the service beside its proxy.
func (s *service) units() []*unit { return []*unit{s.supply, s.tlsUnit, s.upstreamKey} }

// newService makes a service of a state, of as much of the one before as stays the same; that may be nil.
func (b *builder) newService(st *state, c *config.Service, before *service) (*service, error) {
	s := &service{config: c, counts: b.metrics.Listener(c.Name, c.Protocol), tracer: st.tracer}
	if before == nil {
		before = &service{config: &config.Service{}}
	} else {
		s.proxy, s.tap = before.proxy, before.tap
	}
	if err := b.encrypt(s, before); err != nil {
		return nil, err
	}
	if err := b.furnish(s, before); err != nil {
		return nil, err
	}
	if s.proxy != nil {
		if s.upstream != before.upstream {
			s.proxy.Follow(s.upstream)
		}
		return s, nil
	}
	switch c.Protocol {
	case config.ProtocolHTTP:
		s.tap = new(tap.Point)
		s.proxy = http.New(b.group, http.Options{
			Settings: httpSettings(s), Name: c.Name, Log: b.log, Requests: b.metrics.HTTP(c.Name), Listener: s.counts, AccessLog: b.accessLog, Tap: s.tap,
		})
	case config.ProtocolTCP:
		s.proxy = tcp.New(b.group, tcp.Options{
			Settings: tcpSettings(s), Log: b.log.With(zap.String("service", c.Name)),
			Sessions: b.metrics.TCP(c.Name), Listener: s.counts,
		})
	default:
		return nil, fmt.Errorf("protocol %q is not built", c.Protocol)
	}
	return s, nil
}

// encrypt makes what the service speaks TLS with.
func (b *builder) encrypt(s, before *service) error {
	c, was := s.config, before.config
	var err error
	if before.tls != nil && (part{c.TLS, c.Protocol}).equal(part{was.TLS, was.Protocol}) {
		s.tls, s.tlsUnit = before.tls, before.tlsUnit
	} else if s.tls, err = b.terminate(c); err != nil {
		return err
	} else if s.tls != nil {
		s.tlsUnit = newUnit(s.tls.Run)
	}
	if before.upstreamTLS != nil && (part{c.UpstreamTLS, c.Protocol}).equal(part{was.UpstreamTLS, was.Protocol}) {
		s.upstreamTLS, s.upstreamKey = before.upstreamTLS, before.upstreamKey
	} else if s.upstreamTLS, err = b.originate(c); err != nil {
		return err
	} else if s.upstreamTLS != nil {
		s.upstreamKey = newUnit(s.upstreamTLS.Run)
	}
	return nil
}

// furnish makes the service's upstream, or takes that of before. One that takes the place of another
// begins with its instances, unless others are looked for now.
func (b *builder) furnish(s, before *service) error {
	s.made = supplyPart(b.config, s.config)
	if before.upstream != nil && s.made.equal(before.made) {
		s.upstream, s.records, s.supply = before.upstream, before.records, before.supply
		b.registries.count(s.config)
		return nil
	}
	source, records, err := b.source(s.config)
	if err != nil {
		return err
	}
	options, err := b.upstreamOptions(s.config, upstreamTLS(s.upstreamTLS))
	if err != nil {
		return err
	}
	options.Source = source
	if was := b.before.service(s.config.Name); was != nil {
		options.Drained, options.Before = was.upstream.Drained(), was.upstream
	}
	s.upstream, s.records = upstream.New(options), records
	s.supply = newUnit(s.upstream.Run)
	if before.upstream == nil || !discoveryPart(b.config, s.config).equal(discoveryPart(b.before.config, before.config)) {
		return nil
	}
	if set, known := before.upstream.Instances(); known {
		s.upstream.Feed(discovery.Update{Instances: set, Unknown: before.upstream.Status().Source.Unknown, At: before.upstream.Status().Source.LastSuccess})
	}
	return nil
}

// configure has the proxy take the service's settings.
func configure(s *service) {
	switch p := s.proxy.(type) {
	case *http.Proxy:
		p.Reconfigure(httpSettings(s))
	case *tcp.Proxy:
		p.Reconfigure(tcpSettings(s))
	}
}

func tcpSettings(s *service) tcp.Settings {
	c := s.config
	return tcp.Settings{
		Service: s.upstream, ConnectTimeout: c.Timeout.Connect, IdleTimeout: orNone(c.Timeout.Idle), Tries: tcpTries(&c.Retry), Hash: tcpHash(c),
		CloseOnDown: c.OnDown == config.OnDownClose, TLS: terminationConfig(s.tls), UpstreamTLS: plainUpstreamTLS(s.upstreamTLS),
		AcceptFrom: senders(c.AcceptProxyFrom), SendProxy: sendProxy(c.SendProxy),
	}
}

// orNone turns the configuration's "0s: no limit" into what proxy/tcp calls no limit.
func orNone(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// unwatch ends all watching of the service's requests.
func (s *service) unwatch() {
	if s.tap != nil {
		s.tap.Close()
	}
}
