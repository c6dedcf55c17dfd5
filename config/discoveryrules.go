package config

import (
	"cmp"
	"slices"
	"strings"
)

// The keys that say which sources there are.
const (
	sourceKey  = "discovery.source"
	sourcesKey = "discovery.sources"
)

// discovery settles where a service's instances come from, and what is asked there.
func (r *serviceRuling) discovery() {
	d := &r.svc.Discovery
	if d.Service == "" {
		d.Service = r.svc.Name
	}
	r.sources()
	if r.bad(sourceKey, sourcesKey) {
		return // what depends on them would only be reported as a consequence
	}
	if len(d.Sources) < 2 {
		r.idle("discovery.combine", wrong("belongs to several sources, and there is one; list them in sources, or remove this"))
	}
	r.forSource(SourceConsul, "tags", "warning", "filter", "datacenter", "near", "nearest", "tagged_address", "query", "failover",
		"failover_below", "namespace", "partition")
	r.forSource(SourceStatic, "instances")
	r.forSource(SourceDNS, "dns.name", "dns.type", "dns.port")
	r.forSource(SourceFile, "file.path")
	r.forSource(SourceEtcd, "etcd.prefix")
	r.forSource(SourceRedis, "redis.key", "redis.poll")
	r.forSource(SourceNacos, "nacos.group", "nacos.clusters", "nacos.namespace", "nacos.poll")
	r.forSource(SourceKubernetes, "kubernetes.namespace", "kubernetes.port")

	r.consulQuery()
	r.required(SourceStatic, "discovery.instances", `instances, such as ["10.0.0.1:8080"]`)
	r.required(SourceFile, "discovery.file.path", `a path, such as "/etc/sidecar/instances.json"`)
	r.dnsQuery()
	r.derived()
}

// sources settles which of source and sources holds: the one that was set later. Afterwards both
// say the same.
func (r *serviceRuling) sources() {
	d := &r.svc.Discovery
	_, rankOne, _ := r.layers.find(sourceKey)
	_, rankList, _ := r.layers.find(sourcesKey)
	r.by = sourcesKey
	if len(d.Sources) > 0 && rankOne == rankList && d.Sources[0] != d.Source && !r.bad(sourceKey, sourcesKey) {
		r.reportAt(sourcesKey, wrong("are set, and so is source (%s), which is not the first of them; keep one",
			r.layers.origin(sourceKey).String()))
	}
	if len(d.Sources) == 0 || rankOne > rankList {
		d.Sources, r.by = []string{d.Source}, sourceKey
	}
	d.Source = d.Sources[0]
}

// forSource takes care of keys of discovery that have a meaning only where source is used.
func (r *serviceRuling) forSource(source string, keys ...string) {
	d := &r.svc.Discovery
	if slices.Contains(d.Sources, source) {
		return
	}
	for _, key := range keys {
		path := "discovery." + key
		is, this := r.number(path)
		if len(d.Sources) > 1 {
			r.idle(path, wrong("%s for source %q only, and sources are %s; change them or remove %s", is, source, quoted(d.Sources, "and"), this))
			continue
		}
		r.idle(path, wrong("%s for source = %q only, and source is %q; change it or remove %s", is, source, d.Source, this))
	}
}

// required reports a key that a source cannot do without. Need says what it is, with an example.
func (r *serviceRuling) required(source, path, need string) {
	if !slices.Contains(r.svc.Discovery.Sources, source) || !r.empty(path) || r.incomplete || r.bad(path) {
		return
	}
	o, at := r.layers.origin(r.by), r.by
	if r.own.set(path) {
		o, at = r.layers.origin(path), path
	}
	if o.variable == "" && !r.own.set(at) {
		o = r.scope.start() // [defaults] is right, the service lacks something
	}
	says := "source is"
	if r.by == sourcesKey {
		says = "sources have"
	}
	r.report(r.scope, o, path, wrong("%s %q, which needs %s", says, source, need))
}

// consulQuery checks what is asked of Consul.
func (r *serviceRuling) consulQuery() {
	const query, near, nearest, failover = "discovery.query", "discovery.near", "discovery.nearest", "discovery.failover"
	d := &r.svc.Discovery
	if !slices.Contains(d.Sources, SourceConsul) {
		return
	}
	if d.Query != "" {
		for _, path := range []string{"discovery.tags", "discovery.filter", failover, "discovery.failover_below"} {
			is, this := r.number(path)
			r.idle(path, wrong("%s up to the prepared query of discovery.query (%s); remove %s", is, r.layers.origin(query).String(), this))
		}
	}
	if d.Near == "" && !r.bad(near) {
		r.idle(nearest, wrong(`counts from where near says, and near is not set; set near = "_agent", or remove this`))
	}
	if d.Near != "" && d.Nearest == 0 && !r.bad(nearest) {
		r.reportAt(near, wrong("is set without nearest, which says how many of the nearest instances are used; set both or none"))
	}
	if len(d.Failover) == 0 && !r.bad(failover) {
		r.idle("discovery.failover_below", wrong("belongs to failover, which is not set; set it, or remove this"))
	}
	if own := cmp.Or(d.Datacenter, r.root.Consul.Datacenter); own != "" && slices.Contains(d.Failover, own) {
		r.reportAt(failover, wrong("%q is the datacenter that is looked in first; remove it", own))
	}
}

// dnsQuery checks what is looked up in DNS.
func (r *serviceRuling) dnsQuery() {
	const kind, port, name = "discovery.dns.type", "discovery.dns.port", "discovery.dns.name"
	d := &r.svc.Discovery
	if !slices.Contains(d.Sources, SourceDNS) {
		return
	}
	r.onlyWith(kind, []string{DNSTypeA}, port)
	if d.DNS.Type == DNSTypeA && d.DNS.Port == 0 && !r.bad(kind, port) {
		r.reportAt(kind, wrong(`is "a", which has no ports; set port, that of every instance`))
	}
	if d.DNS.Name == "" && !r.bad(name, "name", "discovery.service") {
		d.DNS.Name = d.Service
		if d.Service != "" && !validHost(d.Service) {
			o := r.layers.origin("discovery.service")
			if !r.layers.set("discovery.service") {
				o = r.layers.origin("name")
			}
			r.report(r.scope, o, name, wrong("%q is not the name of a host; set discovery.dns.name", d.Service))
		}
	}
}

// derived fills in what the name of the service decides, where nothing else is said.
func (r *serviceRuling) derived() {
	d := &r.svc.Discovery
	r.noneOrMore("discovery.nacos.poll", shortestPoll)
	if d.Service == "" { // which is reported elsewhere
		return
	}
	if slices.Contains(d.Sources, SourceEtcd) && d.Etcd.Prefix == "" {
		d.Etcd.Prefix = strings.TrimSuffix(r.root.Etcd.Prefix, "/") + "/" + d.Service + "/"
	}
	if slices.Contains(d.Sources, SourceRedis) && d.Redis.Key == "" {
		d.Redis.Key = "services:" + d.Service + ":"
	}
}
