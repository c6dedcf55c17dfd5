package config

import "time"

// Register is one local service that is announced to a registry, for others to find.
type Register struct {
	// Name may be any text, and is that of no other Register.
	Name string `key:"name" check:"filled" doc:"the name that others look it up by"`
	// ID is unique among those of one registry. Unless it was set it is Name, Address for registry
	// etcd, and Port, with hyphens.
	ID       string `key:"id" default:"" check:"text" doc:"names the instance, uniquely on its host, for registry etcd everywhere; name-port by default, for etcd name-address-port"`
	Registry string `key:"registry" default:"consul" allowed:"consul|etcd" doc:"who is told; etcd: below etcd.prefix"`
	// Address is an IP address without brackets, or the name of a host. It is never empty for
	// registry etcd, which has no agent that could add its own.
	Address string `key:"address" default:"" check:"reachable" doc:"ip or host name that others reach it by; empty: that of the Consul agent"`
	Port    int    `key:"port" min:"1" max:"65535" doc:"the port that others reach it by"`

	Tags []string `key:"tags" default:"" check:"text" doc:"passed on as they are, such as [\"v2\"]"`
	// Meta holds items such as "key=value", each key once.
	Meta          []string `key:"meta" default:"" check:"meta" doc:"passed on, such as [\"version=2.1\"]"`
	Weight        int      `key:"weight" default:"1" min:"1" max:"65535" doc:"its share of traffic relative to the others"`
	WarningWeight int      `key:"warning_weight" default:"1" min:"1" max:"65535" doc:"for registry consul: the same in state warning"`

	TTL time.Duration `key:"ttl" default:"15s" min:"3s" doc:"how long the registry believes in it without hearing of it"`
	// DeregisterAfter is 0s or at least 1m, which is the least that Consul takes.
	DeregisterAfter time.Duration `key:"deregister_after" default:"0s" doc:"for registry consul: removed when it has been critical for this long, 1m or more; 0s: never"`
	LeaveWait       time.Duration `key:"leave_wait" default:"3s" doc:"how long a stop waits, after telling that it goes, until others have heard, which takes their confirm_after if most go at once; 0s: not at all"`

	Check RegisterCheck `key:"check" doc:"The sidecar's own probes of the local service; the registry is told their outcome. Type none: it always passes."`
}

// RegisterCheck is the sidecar's own probe of a local service that it announces.
type RegisterCheck struct {
	Probe
	// Address is "ip:port", "host:port" or "unix:/path", and empty for type none.
	Address string `key:"address" default:"" check:"dialled" doc:"what is probed; empty: port at address, or at 127.0.0.1 without an address"`
}
