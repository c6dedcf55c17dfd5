package daemon

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"sidecar/config"
	"sidecar/discovery"
	"sidecar/discovery/consul"
	"sidecar/discovery/dns"
	"sidecar/discovery/etcd"
	"sidecar/discovery/file"
	"sidecar/discovery/kubernetes"
	"sidecar/discovery/nacos"
	"sidecar/discovery/redis"
)

// source puts together what tells of a service's instances:
//
//	each source ─> Guard ─> Record ─┐
//	each source ─> Guard ─> Record ─┴> Prefer or Merge ─> Guard ─> lastgood ─> upstream.Service
//
// With one source the first Guard is left out. It returns the Records too, for status and metrics.
func (b *builder) source(c *config.Service) (discovery.Source, []*discovery.Record, error) {
	sb := &sourceBuilder{builder: b, service: c.Name, discovery: &c.Discovery}
	one, err := sb.combine()
	if err != nil {
		return nil, nil, err
	}
	if len(c.Discovery.Sources) == 1 && c.Discovery.Source == config.SourceStatic {
		return one, sb.records, nil
	}
	return sb.keep(one), sb.records, nil
}

// A sourceBuilder makes the sources of one service.
type sourceBuilder struct {
	*builder
	service   string
	discovery *config.Discovery
	records   []*discovery.Record
	asked     []string // what is asked of whom, for the file of the last good set
}

// combine makes one source of all that the service has.
func (b *sourceBuilder) combine() (discovery.Source, error) {
	var all []discovery.Source
	for _, kind := range b.discovery.Sources {
		s, err := b.open(kind)
		if err != nil {
			return nil, fmt.Errorf("source %s: %w", kind, err)
		}
		all = append(all, s)
		b.asked = append(b.asked, b.whom(kind))
	}
	switch {
	case len(all) == 0:
		return nil, errNoSource
	case len(all) == 1:
		return all[0], nil
	case b.discovery.Combine == config.CombineMerge:
		return discovery.Merge(all...), nil
	}
	return discovery.Prefer(1, all...), nil
}

// fingerprint tells what is asked of whom.
func (b *sourceBuilder) fingerprint() string {
	return strings.Join(append(b.asked, b.discovery.Combine), "; ")
}

// keep adds what stands between all registries and the service.
func (b *sourceBuilder) keep(s discovery.Source) discovery.Source {
	guard := discovery.GuardOptions{Share: b.discovery.ConfirmLoss, After: b.discovery.ConfirmAfter}
	if b.store == nil {
		return discovery.Guard(s, guard)
	}
	fingerprint := b.fingerprint()
	kept, err := b.store.Load(b.service, fingerprint)
	if err != nil {
		b.log.Warn("the last good set of a service cannot be used; it will be written anew", zap.String("service", b.service), zap.Error(err))
	}
	guard.Last = kept.Instances
	return b.store.Source(b.service, fingerprint, kept, discovery.Guard(s, guard))
}

// record adds a source to those that account is kept of. subject is what it is asked for.
func (b *sourceBuilder) record(kind, subject string, s discovery.Source) discovery.Source {
	several := len(b.discovery.Sources) > 1 || len(b.discovery.Failover) > 0
	if several && kind != config.SourceStatic {
		// Each by itself: what another source says would hide a loss, or seem to confirm it.
		s = discovery.Guard(s, discovery.GuardOptions{Share: b.discovery.ConfirmLoss, After: b.discovery.ConfirmAfter})
	}
	r := discovery.NewRecord(kind, subject, s, b.log.With(zap.String("service", b.service)), several)
	b.records = append(b.records, r)
	b.asked = append(b.asked, kind+" "+subject)
	return r
}

// whom tells one registry from another of its kind: what is on disk is of one of them.
func (b *sourceBuilder) whom(kind string) string {
	c := b.config
	switch kind {
	case config.SourceConsul: // whose address is that of whichever agent is near
		return subject("of", "dc", c.Consul.Datacenter, "namespace", c.Consul.Namespace, "partition", c.Consul.Partition)
	case config.SourceStatic:
		return strings.Join(b.discovery.Instances, ",")
	case config.SourceDNS:
		return strings.Join(c.DNS.Servers, ",")
	case config.SourceEtcd:
		return strings.Join(c.Etcd.Endpoints, ",")
	case config.SourceRedis:
		return c.Redis.Address
	case config.SourceNacos:
		return subject(strings.Join(c.Nacos.Addresses, ","), "namespace", c.Nacos.Namespace)
	case config.SourceKubernetes:
		return subject(c.Kubernetes.Address, "namespace", c.Kubernetes.Namespace)
	}
	return ""
}

// open makes the source of a kind.
func (b *sourceBuilder) open(kind string) (discovery.Source, error) {
	c := b.discovery
	switch kind {
	case config.SourceConsul:
		return b.openConsul()
	case config.SourceStatic:
		instances, err := parseInstances(c.Instances)
		if err != nil {
			return nil, err
		}
		return b.record(kind, "", discovery.Static(instances)), nil
	case config.SourceDNS:
		resolver, err := b.registries.openDNS()
		if err != nil {
			return nil, err
		}
		return b.record(kind, subject(c.DNS.Name, "type", c.DNS.Type, "port", positive(c.DNS.Port)),
			resolver.Source(dns.Query{Name: c.DNS.Name, Type: c.DNS.Type, Port: c.DNS.Port})), nil
	case config.SourceFile:
		b.registries.files++
		return b.record(kind, subject(c.File.Path, "service", c.Service),
			file.New(file.Options{Path: c.File.Path, Service: c.Service, Poll: b.registries.files > mostWatched})), nil
	case config.SourceEtcd:
		client, err := b.registries.openEtcd()
		if err != nil {
			return nil, err
		}
		return b.record(kind, c.Etcd.Prefix, client.Source(etcd.Query{Prefix: c.Etcd.Prefix})), nil
	case config.SourceRedis:
		client, err := b.registries.openRedis()
		if err != nil {
			return nil, err
		}
		return b.record(kind, subject(c.Redis.Key, "database", positive(b.config.Redis.Database)),
			client.Source(redis.Query{Key: c.Redis.Key, Poll: c.Redis.Poll})), nil
	case config.SourceNacos:
		client, err := b.registries.openNacos()
		if err != nil {
			return nil, err
		}
		n := &c.Nacos
		return b.record(kind, subject(c.Service, "group", n.Group, "clusters", strings.Join(n.Clusters, ","), "namespace", n.Namespace),
			client.Source(nacos.Query{Service: c.Service, Group: n.Group, Clusters: n.Clusters, Namespace: n.Namespace, Poll: n.Poll})), nil
	case config.SourceKubernetes:
		client, err := b.registries.openKubernetes()
		if err != nil {
			return nil, err
		}
		k := &c.Kubernetes
		return b.record(kind, subject(c.Service, "namespace", k.Namespace, "port", k.Port),
			client.Source(kubernetes.Query{Service: c.Service, Namespace: k.Namespace, Port: k.Port})), nil
	}
	return nil, fmt.Errorf("discovery source %q is not built", kind)
}

// openConsul makes the source of Consul, with the datacenters that stand in when too few are left.
func (b *sourceBuilder) openConsul() (discovery.Source, error) {
	client, err := b.registries.openConsul()
	if err != nil {
		return nil, err
	}
	c := b.discovery
	query := consul.Query{
		Service: c.Service, Tags: c.Tags, Warning: c.Warning, Filter: c.Filter, Datacenter: c.Datacenter,
		Near: c.Near, Nearest: c.Nearest, TaggedAddress: c.TaggedAddress,
		Namespace: c.Namespace, Partition: c.Partition, Prepared: c.Query,
	}
	sources := []discovery.Source{b.record(config.SourceConsul, consulSubject(&query), client.Source(query))}
	for _, dc := range c.Failover {
		query.Datacenter = dc
		sources = append(sources, b.record(config.SourceConsul+"/"+dc, consulSubject(&query), client.Source(query)))
	}
	if len(sources) == 1 {
		return sources[0], nil
	}
	return discovery.Prefer(c.FailoverBelow, sources...), nil
}

func consulSubject(q *consul.Query) string {
	warning := ""
	if !q.Warning {
		warning = "no"
	}
	return subject(q.Service, "query", q.Prepared, "dc", q.Datacenter, "tags", strings.Join(q.Tags, ","), "filter", q.Filter,
		"near", q.Near, "nearest", positive(q.Nearest), "address", q.TaggedAddress, "namespace", q.Namespace, "partition", q.Partition,
		"warning", warning)
}

// subject is a name and what of the settings, names and values in turn, is not empty. The last
// good set of a service is used as long as this is the same: it is not changed lightly.
func subject(name string, settings ...string) string {
	for i := 0; i+1 < len(settings); i += 2 {
		if settings[i+1] != "" {
			name += " " + settings[i] + "=" + settings[i+1]
		}
	}
	return name
}

// positive is a number, or empty if it is 0.
func positive(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
