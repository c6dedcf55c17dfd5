package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"reflect"

	"sidecar/config"
	"sidecar/discovery/consul"
	"sidecar/discovery/dns"
	"sidecar/discovery/etcd"
	"sidecar/discovery/kubernetes"
	"sidecar/discovery/nacos"
	"sidecar/discovery/redis"
)

// registries are the clients of the registries, one each for all services of a configuration, made
// when the first needs it.
type registries struct {
	config *config.Config

	consul     *consul.Client
	etcd       *etcd.Client
	redis      *redis.Client
	nacos      *nacos.Client
	kubernetes *kubernetes.Client
	dns        *dns.Resolver

	files int // sources of kind file
}

// inherit takes the clients of before whose settings have stayed the same. Before may be nil.
func (r *registries) inherit(before *registries) {
	if before == nil {
		return
	}
	same := func(kind string) bool {
		return reflect.DeepEqual(registryPart(r.config, kind), registryPart(before.config, kind))
	}
	if same(config.SourceConsul) {
		r.consul = before.consul
	}
	if same(config.SourceEtcd) {
		r.etcd = before.etcd
	}
	if same(config.SourceRedis) {
		r.redis = before.redis
	}
	if same(config.SourceNacos) {
		r.nacos = before.nacos
	}
	if same(config.SourceKubernetes) {
		r.kubernetes = before.kubernetes
	}
	if same(config.SourceDNS) {
		r.dns = before.dns
	}
}

// count takes account of the sources of a service that goes on with those it has.
func (r *registries) count(c *config.Service) {
	for _, kind := range c.Discovery.Sources {
		if kind == config.SourceFile {
			r.files++
		}
	}
}

// mostWatched is how many files are watched by inotify. A user has 128 of its instances for all
// processes unless told otherwise; further files are looked at every 2 s.
const mostWatched = 32

// once makes a client unless it is there.
func once[C any](client **C, open func() (*C, error)) (*C, error) {
	if *client == nil {
		c, err := open()
		if err != nil {
			return nil, err
		}
		*client = c
	}
	return *client, nil
}

func (r *registries) openConsul() (*consul.Client, error) {
	return once(&r.consul, func() (*consul.Client, error) {
		c := &r.config.Consul
		address := c.Address
		if c.TLS.Enabled {
			address = "https://" + address
		}
		return consul.New(consul.Options{
			Address: address, Token: string(c.Token), TokenFile: c.TokenFile,
			Datacenter: c.Datacenter, Namespace: c.Namespace, Partition: c.Partition,
			Consistency: c.Consistency, Cached: c.Cached, Connections: c.Connections,
			TLS: consul.TLS{CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile, ServerName: c.TLS.ServerName},
		})
	})
}

func (r *registries) openEtcd() (*etcd.Client, error) {
	return once(&r.etcd, func() (*etcd.Client, error) {
		c := &r.config.Etcd
		secure, err := clientTLS(&c.TLS)
		if err != nil {
			return nil, fmt.Errorf("etcd.tls: %w", err)
		}
		return etcd.New(etcd.Options{Endpoints: c.Endpoints, Username: c.Username, Password: string(c.Password),
			PasswordFile: c.PasswordFile, TLS: secure})
	})
}

func (r *registries) openRedis() (*redis.Client, error) {
	return once(&r.redis, func() (*redis.Client, error) {
		c := &r.config.Redis
		secure, err := clientTLS(&c.TLS)
		if err != nil {
			return nil, fmt.Errorf("redis.tls: %w", err)
		}
		return redis.New(redis.Options{Address: c.Address, Username: c.Username, Password: string(c.Password),
			PasswordFile: c.PasswordFile, Database: c.Database, TLS: secure})
	})
}

func (r *registries) openNacos() (*nacos.Client, error) {
	return once(&r.nacos, func() (*nacos.Client, error) {
		c := &r.config.Nacos
		secure, err := clientTLS(&c.TLS)
		if err != nil {
			return nil, fmt.Errorf("nacos.tls: %w", err)
		}
		addresses := make([]string, len(c.Addresses))
		for i, a := range c.Addresses {
			addresses[i] = a
			if c.TLS.Enabled {
				addresses[i] = "https://" + a
			}
		}
		version := c.Version
		if version == config.NacosAuto {
			version = ""
		}
		return nacos.New(nacos.Options{Addresses: addresses, Version: version, Namespace: c.Namespace,
			Username: c.Username, Password: string(c.Password), PasswordFile: c.PasswordFile, TLS: secure})
	})
}

func (r *registries) openKubernetes() (*kubernetes.Client, error) {
	return once(&r.kubernetes, func() (*kubernetes.Client, error) {
		c := &r.config.Kubernetes
		return kubernetes.New(kubernetes.Options{Address: c.Address, TokenFile: c.TokenFile, CAFile: c.CAFile, Namespace: c.Namespace})
	})
}

func (r *registries) openDNS() (*dns.Resolver, error) {
	return once(&r.dns, func() (*dns.Resolver, error) {
		c := &r.config.DNS
		return dns.New(dns.Options{Servers: c.Servers, MinTTL: c.MinTTL, MaxTTL: c.MaxTTL, Timeout: c.Timeout})
	})
}

// close closes the clients, but for those that others have too, which may be nil; what uses them
// has ended.
func (r *registries) close(others *registries) {
	if others == nil {
		others = &registries{}
	}
	if r.consul != nil && r.consul != others.consul {
		r.consul.Close()
	}
	if r.etcd != nil && r.etcd != others.etcd {
		r.etcd.Close()
	}
	if r.redis != nil && r.redis != others.redis {
		r.redis.Close()
	}
	if r.nacos != nil && r.nacos != others.nacos {
		r.nacos.Close()
	}
	if r.kubernetes != nil && r.kubernetes != others.kubernetes {
		r.kubernetes.Close()
	}
}

// clientTLS makes what a client needs to speak TLS, or nil if it does not.
func clientTLS(c *config.ClientTLS) (*tls.Config, error) {
	if !c.Enabled {
		return nil, nil //nolint:nilnil // no TLS is not a mistake
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.ServerName}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: %s has no certificate in PEM form", c.CAFile)
		}
	}
	if c.CertFile == "" {
		return secure, nil
	}
	// Read for each handshake, so that a renewed certificate is used without a restart.
	load := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file %s and key_file %s: %w", c.CertFile, c.KeyFile, err)
		}
		return &cert, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return secure, nil
}

var errNoSource = errors.New("no source is configured")
