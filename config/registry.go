package config

import "time"

// Consul is how the registry is reached.
type Consul struct {
	// Address is "host:port" or "unix:///path" once loaded: the scheme went into TLS.Enabled.
	Address    string `key:"address" default:"127.0.0.1:8500" check:"consul" fallback:"CONSUL_HTTP_ADDR" doc:"host:port, http(s)://host:port or unix:///path; default from $CONSUL_HTTP_ADDR"`
	Token      Secret `key:"token" default:"" fallback:"CONSUL_HTTP_TOKEN" doc:"ACL token, better kept in token_file; default from $CONSUL_HTTP_TOKEN"`
	TokenFile  string `key:"token_file" default:"" fallback:"CONSUL_HTTP_TOKEN_FILE" doc:"file with the token, read again on change; default from $CONSUL_HTTP_TOKEN_FILE"`
	Datacenter string `key:"datacenter" default:"" doc:"empty: that of the agent"`
	// Namespace and Partition are for Consul Enterprise; others refuse them.
	Namespace   string `key:"namespace" default:"" check:"text" doc:"of Consul Enterprise; empty: that of the token"`
	Partition   string `key:"partition" default:"" check:"text" doc:"of Consul Enterprise; empty: that of the agent"`
	Consistency string `key:"consistency" default:"stale" allowed:"default|stale|consistent" doc:"stale: any server answers, with or without a leader"`
	// Cached is never true where Consistency is "consistent".
	Cached bool `key:"cached" default:"false" doc:"ask the agent's cache, which serves all who ask on this host; not with consistency = \"consistent\""`
	// Connections bounds what is used without TLS; with TLS all share one.
	Connections int       `key:"connections" default:"100" min:"1" max:"10000" doc:"to the agent, at most, without TLS; the agent allows 200 unless told otherwise"`
	TLS         ClientTLS `key:"tls" doc:"TLS to the agent."`
}

// Etcd is how etcd is reached, and where services are in it.
type Etcd struct {
	// Endpoints are "host:port" once loaded: the scheme went into TLS.Enabled. There is at least one.
	Endpoints    []string  `key:"endpoints" default:"127.0.0.1:2379" check:"server" doc:"host:port or http(s)://host:port, several of one etcd"`
	Prefix       string    `key:"prefix" default:"/services" check:"filled" doc:"where services are: an instance is at PREFIX/SERVICE/ID"`
	Username     string    `key:"username" default:"" check:"text" doc:"empty: without authentication"`
	Password     Secret    `key:"password" default:"" doc:"better kept in password_file"`
	PasswordFile string    `key:"password_file" default:"" doc:"file with the password, read again on change"`
	TLS          ClientTLS `key:"tls" doc:"TLS to etcd."`
}

// Redis is how Redis is reached.
type Redis struct {
	// Address is "host:port" or "unix:/path" once loaded.
	Address      string    `key:"address" default:"127.0.0.1:6379" check:"redis" doc:"host:port or unix:///path"`
	Username     string    `key:"username" default:"" check:"text" doc:"of an ACL; empty: the default user"`
	Password     Secret    `key:"password" default:"" doc:"better kept in password_file"`
	PasswordFile string    `key:"password_file" default:"" doc:"file with the password, read again on change"`
	Database     int       `key:"database" default:"0" min:"0" max:"1000000" doc:"number of the database"`
	TLS          ClientTLS `key:"tls" doc:"TLS to Redis."`
}

// Nacos is how Nacos is reached.
type Nacos struct {
	// Addresses are "host:port" or "host:port/path" once loaded: the scheme went into
	// TLS.Enabled. There is at least one.
	Addresses    []string  `key:"addresses" default:"127.0.0.1:8848" check:"server_path" doc:"host:port or http(s)://host:port, with the path of its API where that is not /nacos"`
	Version      string    `key:"version" default:"auto" allowed:"auto|v1|v2|v3" doc:"of its API; auto: the first of v2, v1 and v3 that the server knows"`
	Namespace    string    `key:"namespace" default:"" check:"text" doc:"ID of a namespace; empty: public"`
	Username     string    `key:"username" default:"" check:"text" doc:"empty: without authentication"`
	Password     Secret    `key:"password" default:"" doc:"better kept in password_file"`
	PasswordFile string    `key:"password_file" default:"" doc:"file with the password, read again on change"`
	TLS          ClientTLS `key:"tls" doc:"TLS to Nacos."`
}

// Kubernetes is how the API server is reached. What is empty is as a pod finds it.
type Kubernetes struct {
	// Address is empty, or "https://host:port" or "http://host:port" once loaded.
	Address   string `key:"address" default:"" check:"kubernetes" doc:"https://host:port of the API server; empty: that of the pod"`
	TokenFile string `key:"token_file" default:"" doc:"file with the token, read again on change; empty: that of the pod's service account"`
	CAFile    string `key:"ca_file" default:"" doc:"PEM file of the authorities to trust; empty: that of the pod's service account"`
	Namespace string `key:"namespace" default:"" check:"label" doc:"empty: that of the pod"`
}

// DNS is how names are looked up for source dns.
type DNS struct {
	// Servers holds "ip" and "ip:port".
	Servers []string `key:"servers" default:"" check:"dns_server" doc:"ip or ip:port, asked in this order; empty: those of /etc/resolv.conf"`
	// MinTTL is at most MaxTTL: of the two a default gives way to what was set.
	MinTTL  time.Duration `key:"min_ttl" default:"1s" min:"1s" doc:"an answer counts at least for this long"`
	MaxTTL  time.Duration `key:"max_ttl" default:"60s" min:"1s" doc:"an answer counts at most for this long"`
	Timeout time.Duration `key:"timeout" default:"2s" min:"1ms" doc:"of one question to one server"`
}

// ClientTLS is TLS to a registry. It is on when enabled is true, when an address begins with
// https://, and when any other key of the table is set, unless enabled is written as false or an
// address begins with http://. Enabled holds the outcome.
type ClientTLS struct {
	Enabled    bool   `key:"enabled" default:"false" doc:"true by itself with https:// or another key of this table"`
	CAFile     string `key:"ca_file" default:"" doc:"PEM file of the authorities to trust; empty: the system's"`
	CertFile   string `key:"cert_file" default:"" doc:"PEM file of the client certificate; needs key_file"`
	KeyFile    string `key:"key_file" default:"" doc:"PEM file of the client certificate's key"`
	ServerName string `key:"server_name" default:"" doc:"name that the server's certificate must have; empty: the host of its address"`
}
