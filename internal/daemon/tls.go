package daemon

import (
	"crypto/tls"
	"fmt"

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
		OnExpiry: d.onExpiry(c.Name, sideListener),
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

// Places of the lists of protocols in the Configs of an Origination.
const (
	asksHTTP1 = iota // of the proxy of tcp it is the only one, and names no protocol
	asksHTTP2
)

// originate makes what a service's endpoints are spoken to with, or nil if that is plain text.
func (d *Daemon) originate(c *config.Service) (*secure.Origination, error) {
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
				return
			}
			d.log.Info("new certificates for endpoints are in use", zap.String("service", c.Name))
		},
		OnExpiry: d.onExpiry(c.Name, sideUpstream),
	}
	if c.Protocol == config.ProtocolHTTP {
		o.Protocols = [][]string{asksHTTP1: {"http/1.1"}, asksHTTP2: {"h2"}}
	}
	made, err := secure.NewOrigination(o)
	if err != nil {
		return nil, fmt.Errorf("upstream_tls: %w", err)
	}
	return made, nil
}

// plainUpstreamTLS is for sessions of TCP, of which nobody knows the protocol; nil for plain text.
func plainUpstreamTLS(o *secure.Origination) func() *tls.Config {
	if o == nil {
		return nil
	}
	return func() *tls.Config { return o.Configs()[asksHTTP1] }
}

// upstreamTLS is for requests, which go by HTTP/2 or by HTTP/1.1; nil for plain text.
func upstreamTLS(o *secure.Origination) func(two bool) *tls.Config {
	if o == nil {
		return nil
	}
	return func(two bool) *tls.Config {
		if two {
			return o.Configs()[asksHTTP2]
		}
		return o.Configs()[asksHTTP1]
	}
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
