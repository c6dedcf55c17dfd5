package daemon

import (
	"reflect"

	"sidecar/admin"
	"sidecar/config"
	"sidecar/tracing"
)

// A state is all that runs for one configuration. It is published as a whole and not changed
// any more: a reload makes another one, which shares with it what stays the same.
type state struct {
	config     *config.Config
	values     []config.Value // of the configuration, with where they come from
	registries *registries
	services   []*service
	sockets    []*socket
	announced  []*announced
	tracer     *tracing.Tracer // nil if it is off
	admin      *admin.Server   // nil if it is off
}

// service returns the service of that name, or nil.
func (st *state) service(name string) *service {
	for _, s := range st.services {
		if s.config.Name == name {
			return s
		}
	}
	return nil
}

// announcement returns the announcement of c's ID, or nil.
func (st *state) announcement(c *config.Register) *announced {
	for _, a := range st.announced {
		if a.config.ID == c.ID && a.config.Registry == c.Registry {
			return a
		}
	}
	return nil
}

// units are what runs for the state beside the loops, the sources of things before their users.
func (st *state) units() []*unit {
	var all []*unit
	for _, s := range st.services {
		all = append(all, s.units()...)
	}
	for _, a := range st.announced {
		all = append(all, a.unit)
	}
	return all
}

// A part is what of the configuration something was made by: as long as it stays the same, so does
// what was made.
type part []any

func (p part) equal(o part) bool { return reflect.DeepEqual(p, o) }

// supplyPart is what a service's endpoints and what is known of them depend on.
func supplyPart(cfg *config.Config, c *config.Service) part {
	// Connections that are kept were made in one way of speaking to endpoints, and are for that one only.
	p := part{c.Protocol, c.UpstreamTLS, c.UpstreamProtocol, c.SendProxy, c.Discovery, c.Balancer, c.Breaker, c.Limit, c.HealthCheck, c.Fallback.Instances, c.Retry.Budget, c.Retry.BudgetMin, cfg.Runtime.Zone}
	for _, kind := range c.Discovery.Sources {
		p = append(p, registryPart(cfg, kind))
	}
	return p
}

// discoveryPart is what the set of a service's instances depends on.
func discoveryPart(cfg *config.Config, c *config.Service) part {
	p := part{c.Discovery}
	for _, kind := range c.Discovery.Sources {
		p = append(p, registryPart(cfg, kind))
	}
	return p
}

// registryPart is what a source of that kind shares with others.
func registryPart(cfg *config.Config, kind string) any {
	switch kind {
	case config.SourceConsul:
		return cfg.Consul
	case config.SourceEtcd:
		return cfg.Etcd
	case config.SourceRedis:
		return cfg.Redis
	case config.SourceNacos:
		return cfg.Nacos
	case config.SourceKubernetes:
		return cfg.Kubernetes
	case config.SourceDNS:
		return cfg.DNS
	}
	return nil
}

// servicePart is what everything of a service depends on.
func servicePart(cfg *config.Config, c *config.Service) part {
	return part{*c, supplyPart(cfg, c), cfg.AccessLog, cfg.Tracing}
}

// announcementPart is what an announcement depends on.
func announcementPart(cfg *config.Config, c *config.Register) part {
	return part{*c, registryPart(cfg, c.Registry)}
}
