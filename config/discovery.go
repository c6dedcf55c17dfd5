package config

import "time"

// Discovery says where a service's instances come from. Keys that belong to none of Sources have
// their defaults.
type Discovery struct {
	// Source is the first of Sources.
	Source string `key:"source" default:"consul" allowed:"consul|static|dns|file|etcd|redis|nacos|kubernetes" doc:"who knows the instances"`
	// Sources has at least one, and each once.
	Sources []string `key:"sources" default:"" allowed:"consul|static|dns|file|etcd|redis|nacos|kubernetes" doc:"several instead of source, such as [\"consul\", \"static\"]"`
	// Combine is CombinePrefer for a single source.
	Combine string `key:"combine" default:"prefer" allowed:"prefer|merge" doc:"for several sources: the first that has instances, or all together"`

	// Service is the service's own name unless it was set.
	Service   string   `key:"service" default:"" check:"text" doc:"name in the registry; the service's own name by default"`
	Tags      []string `key:"tags" default:"" check:"text" doc:"for source consul: only instances that have all of these tags, such as [\"v2\"]"`
	Instances []string `key:"instances" default:"" check:"instance" doc:"for source static, such as [\"10.0.0.1:8080\", \"10.0.0.2:8080 weight=2 zone=b\"]"`
	Warning   bool     `key:"warning" default:"true" doc:"for source consul: instances in state warning take traffic, by their warning weight"`

	ConfirmLoss  float64       `key:"confirm_loss" default:"0.5" min:"0" max:"1" doc:"a loss of more than this share at once is looked up again before it is believed; 1: none is"`
	ConfirmAfter time.Duration `key:"confirm_after" default:"2s" doc:"how long after such a loss it is looked up again"`

	// What follows is for source consul. Query goes without Tags, Filter and Failover, which the
	// prepared query has itself.
	Filter     string `key:"filter" default:"" check:"text" doc:"for source consul: only what its filter language selects, such as 'Node.Meta.rack == \"r1\"'"`
	Datacenter string `key:"datacenter" default:"" check:"text" doc:"for source consul; empty: consul.datacenter"`
	// Near and Nearest go together: both are set, or none.
	Near          string `key:"near" default:"" check:"text" doc:"for source consul: _agent, or the name of the host whose nearest instances are wanted; needs nearest"`
	Nearest       int    `key:"nearest" default:"0" min:"0" max:"100000" doc:"for source consul: how many of the nearest instances are used; 0: all"`
	TaggedAddress string `key:"tagged_address" default:"" check:"text" doc:"for source consul: name of the address that is used, such as lan or wan; empty: the service's own"`
	Query         string `key:"query" default:"" check:"text" doc:"for source consul: a prepared query that is executed instead, by name or ID"`
	// Failover names each datacenter once, and not Datacenter.
	Failover []string `key:"failover" default:"" check:"text" doc:"for source consul: datacenters that are used, in this order, when too few are left"`
	// FailoverBelow counts for each datacenter.
	FailoverBelow int    `key:"failover_below" default:"1" min:"1" max:"10000" doc:"for source consul: fewer usable instances than this are too few"`
	Namespace     string `key:"namespace" default:"" check:"text" doc:"for source consul; empty: consul.namespace"`
	Partition     string `key:"partition" default:"" check:"text" doc:"for source consul; empty: consul.partition"`

	DNS        DNSQuery        `key:"dns" doc:"For source dns."`
	File       FileQuery       `key:"file" doc:"For source file."`
	Etcd       EtcdQuery       `key:"etcd" doc:"For source etcd."`
	Redis      RedisQuery      `key:"redis" doc:"For source redis."`
	Nacos      NacosQuery      `key:"nacos" doc:"For source nacos."`
	Kubernetes KubernetesQuery `key:"kubernetes" doc:"For source kubernetes."`
}

// DNSQuery is what source dns looks up.
type DNSQuery struct {
	// Name is discovery.service unless it was set; empty when dns is not among the sources.
	Name string `key:"name" default:"" check:"host_name" doc:"what is looked up; discovery.service by default"`
	Type string `key:"type" default:"srv" allowed:"a|srv" doc:"a: addresses, IPv4 and IPv6; srv: names, ports and weights"`
	// Port is 1 or more for type a, and 0 for type srv.
	Port int `key:"port" default:"0" min:"0" max:"65535" doc:"for type a, which needs it: the port of every instance"`
}

// FileQuery is what source file reads.
type FileQuery struct {
	// Path is absolute; empty when file is not among the sources.
	Path string `key:"path" default:"" check:"file" doc:"absolute path of a .json or .toml file, read again on change"`
}

// EtcdQuery is what source etcd reads.
type EtcdQuery struct {
	// Prefix is etcd.prefix, discovery.service and a slash unless it was set; empty when etcd is
	// not among the sources.
	Prefix string `key:"prefix" default:"" check:"text" doc:"where the instances are; ETCD.PREFIX/SERVICE/ by default"`
}

// RedisQuery is what source redis reads.
type RedisQuery struct {
	// Key is "services:", discovery.service and ":" unless it was set; empty when redis is not
	// among the sources.
	Key  string        `key:"key" default:"" check:"text" doc:"a set or a hash, or what keys begin with when it ends in : / or *; services:SERVICE: by default"`
	Poll time.Duration `key:"poll" default:"2s" min:"100ms" doc:"between two looks; keyspace notifications make them earlier"`
}

// NacosQuery is what source nacos asks for.
type NacosQuery struct {
	Group     string   `key:"group" default:"DEFAULT_GROUP" check:"filled" doc:"of the service"`
	Clusters  []string `key:"clusters" default:"" check:"text" doc:"only instances of these clusters of Nacos; empty: all"`
	Namespace string   `key:"namespace" default:"" check:"text" doc:"empty: nacos.namespace"`
	// Poll is 0s or at least 100ms.
	Poll time.Duration `key:"poll" default:"0s" doc:"between two looks; 0s: as the server says"`
}

// KubernetesQuery is what source kubernetes asks for.
type KubernetesQuery struct {
	Namespace string `key:"namespace" default:"" check:"label" doc:"empty: kubernetes.namespace"`
	Port      string `key:"port" default:"" check:"port_name" doc:"name or number, such as \"http\" or \"8080\"; empty: the only one"`
}
