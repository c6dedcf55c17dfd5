package daemon

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"sidecar/config"
	"sidecar/internal/secure"
)

// terminate makes what a service's listeners speak TLS with, or nil if they do not.
func (d *Daemon) terminate(c *config.Service) (*secure.Termination, error) {
	if len(c.TLS.CertFiles) == 0 {
		return nil, nil //nolint:nilnil // no TLS is not a mistake
	}
	o := secure.TerminationOptions{
		CertFiles: c.TLS.CertFiles, KeyFiles: c.TLS.KeyFiles, ClientCAFile: c.TLS.ClientCAFile, ClientNames: c.TLS.ClientNames,
		MinVersion: tlsVersion(c.TLS.MinVersion),
		OnReload: func(err error) {
			if err != nil {
				d.log.Warn("new certificates cannot be used, those before them stay", zap.String("service", c.Name), zap.Error(err))
				return
			}
			d.log.Info("new certificates are in use", zap.String("service", c.Name))
		},
	}
	if c.Protocol == config.ProtocolHTTP {
		o.Protocols = []string{"h2", "http/1.1"}
	}
	switch c.TLS.ClientAuth {
	case config.ClientAuthOptional:
		o.ClientAuth = secure.Optional
	case config.ClientAuthRequired:
		o.ClientAuth = secure.Required
	}
	t, err := secure.NewTermination(o)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return t, nil
}

// An originated is TLS to the endpoints of a service, for either protocol.
type originated struct {
	one, two *secure.Origination
}

// originate makes what a service's endpoints are spoken to with, or nil if that is plain text.
func (d *Daemon) originate(c *config.Service) (*originated, error) {
	u := &c.UpstreamTLS
	if !u.Enabled {
		return nil, nil //nolint:nilnil // no TLS is not a mistake
	}
	o := secure.OriginationOptions{
		CAFile: u.CAFile, CertFile: u.CertFile, KeyFile: u.KeyFile, ServerName: u.ServerName,
		MinVersion:                  tlsVersion(u.MinVersion),
		DangerouslySkipVerification: u.DangerouslySkipVerification,
		OnReload: func(err error) {
			if err != nil {
				d.log.Warn("new certificates for endpoints cannot be used, those before them stay", zap.String("service", c.Name), zap.Error(err))
			}
		},
	}
	if c.Protocol == config.ProtocolHTTP {
		o.Protocols = []string{"http/1.1"}
	}
	one, err := secure.NewOrigination(o)
	if err != nil {
		return nil, fmt.Errorf("upstream_tls: %w", err)
	}
	o.Protocols, o.OnReload = []string{"h2"}, nil // the other one tells of the same files
	two, err := secure.NewOrigination(o)
	if err != nil {
		return nil, fmt.Errorf("upstream_tls: %w", err)
	}
	return &originated{one, two}, nil
}

// run reads the files again when they change, until ctx ends.
func (o *originated) run(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { o.one.Run(ctx) })
	both.Go(func() { o.two.Run(ctx) })
	both.Wait()
}

// config is for the next connection to an endpoint.
func (o *originated) config(two bool) *tls.Config {
	if two {
		return o.two.Config()
	}
	return o.one.Config()
}

// plainUpstreamTLS is the same for sessions of TCP, of which nobody knows the protocol.
func plainUpstreamTLS(o *originated) func() *tls.Config {
	if o == nil {
		return nil
	}
	return o.one.Config
}

// upstreamTLS is what the proxy is given, or nil.
func upstreamTLS(o *originated) func(two bool) *tls.Config {
	if o == nil {
		return nil
	}
	return o.config
}

// terminationConfig is what the proxy is given, or nil.
func terminationConfig(t *secure.Termination) *tls.Config {
	if t == nil {
		return nil
	}
	return t.Config()
}

func tlsVersion(word string) uint16 {
	if word == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}
