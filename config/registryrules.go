package config

import (
	"reflect"
	"strings"
	"time"
)

// shortestPoll is how often a registry may be asked at most.
const shortestPoll = 100 * time.Millisecond

// rootRules checks the tables that are not those of a service or an announcement.
func (l *loader) rootRules(cfg *Config, fallback layer) {
	own := layers{l.root.file, l.root.env}
	r := &ruling{l, reflect.ValueOf(cfg).Elem(), &l.root, append(layers{fallback}, own...), own}
	r.consul(&cfg.Consul)
	r.etcd(&cfg.Etcd)
	r.redis(&cfg.Redis)
	r.nacos(&cfg.Nacos)
	r.kubernetes(&cfg.Kubernetes)
	r.inOrder("dns.min_ttl", "dns.max_ttl")
}

func (r *ruling) consul(c *Consul) {
	const address, cached, consistency = "consul.address", "consul.cached", "consul.consistency"
	host, scheme, _ := parseConsul(c.Address)
	r.tls("consul.tls", &c.TLS, address, scheme)
	if !r.bad(address) {
		c.Address = host
	}
	r.onlyOne(consulToken, consulTokenFile)
	if c.Cached && c.Consistency == "consistent" && !r.bad(cached, consistency) {
		r.reportAt(cached, wrong(`is true, and consistency is "consistent" (%s), which no cache is; change one of them`,
			r.layers.origin(consistency).String()))
	}
}

func (r *ruling) etcd(c *Etcd) {
	scheme := r.servers("etcd.endpoints", c.Endpoints)
	r.tls("etcd.tls", &c.TLS, "etcd.endpoints", scheme)
	r.account("etcd", c.Username != "")
}

func (r *ruling) redis(c *Redis) {
	if !r.bad("redis.address") {
		c.Address, _ = parseRedis(c.Address)
	}
	r.tls("redis.tls", &c.TLS, "redis.address", "")
	r.onlyOne("redis.password", "redis.password_file")
}

func (r *ruling) nacos(c *Nacos) {
	scheme := r.servers("nacos.addresses", c.Addresses)
	r.tls("nacos.tls", &c.TLS, "nacos.addresses", scheme)
	r.account("nacos", c.Username != "")
}

func (r *ruling) kubernetes(c *Kubernetes) {
	const address, file = "kubernetes.address", "kubernetes.ca_file"
	if !r.bad(address) {
		c.Address, _ = parseKubernetes(c.Address)
	}
	if strings.HasPrefix(c.Address, "http://") && c.CAFile != "" {
		r.reportAt(file, wrong("is for TLS, but kubernetes.address begins with http://; change one of them"))
	}
}

// servers checks the list at path, takes the schemes out of it, and returns the one that holds.
func (r *ruling) servers(path string, list []string) (scheme string) {
	f, _ := r.value(path)
	if r.bad(path) {
		return ""
	}
	if len(list) == 0 {
		r.reportAt(path, wrong("is an empty list; want at least one address, such as %q", f.standard))
	}
	for i, item := range list {
		address, its, _ := f.parseServer(item)
		if its != "" && scheme != "" && its != scheme {
			r.reportAt(path, wrong("has http:// as well as https://; use one of them for all"))
			return ""
		}
		if its != "" {
			scheme = its
		}
		list[i] = address
	}
	return scheme
}

// account checks that a registry gets a name and a password, or neither.
func (r *ruling) account(table string, named bool) {
	username, password, file := table+".username", table+".password", table+".password_file"
	r.onlyOne(password, file)
	if r.bad(username, password, file) {
		return
	}
	switch {
	case named && r.empty(password) && r.empty(file):
		r.reportAt(username, wrong("is set without password or password_file; set one of these, or none"))
	case !named && !r.empty(password):
		r.reportAt(password, wrong("is set without username; set both or none"))
	case !named && !r.empty(file):
		r.reportAt(file, wrong("is set without username; set both or none"))
	}
}

// tls settles whether a registry is spoken to by TLS, and checks what belongs together. Address is
// the path that the scheme comes from.
func (r *ruling) tls(table string, t *ClientTLS, address, scheme string) {
	enabled, cert, key := table+".enabled", table+".cert_file", table+".key_file"
	if !r.bad(address, enabled) {
		written := r.layers.set(enabled)
		begins := "begins"
		if f, _ := r.value(address); f.list() {
			begins = "begin"
		}
		switch {
		case scheme == "https" && written && !t.Enabled:
			r.reportAt(enabled, wrong("is false, but %s %s with https://; change one of them", address, begins))
		case scheme == "http" && written && t.Enabled:
			r.reportAt(enabled, wrong("is true, but %s %s with http://; change one of them", address, begins))
		}
		keys := t.CAFile != "" || t.CertFile != "" || t.ServerName != ""
		t.Enabled = t.Enabled || scheme == "https" || !written && scheme != "http" && keys
	}
	r.together(cert, key)
}
