package secure

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
)

// sessionsKept is how many endpoints' sessions an Origination keeps.
const sessionsKept = 1024

// OriginationOptions are the TLS to the endpoints of a service.
type OriginationOptions struct {
	// CAFile are the authorities that endpoints are judged by, in PEM; "": the system's.
	CAFile string
	// CertFile and KeyFile are what is shown to endpoints that ask for a certificate; "": none.
	CertFile, KeyFile string
	// ServerName is the name that endpoints must prove to have, and are asked for (SNI). It may be an IP
	// address. Where it is empty each user of Configs sets that of its endpoint, in a clone.
	ServerName string
	// MinVersion is the lowest version, 0: TLS 1.2.
	MinVersion uint16
	// Protocols are what is asked for by ALPN, the preferred one first: a list for each of Configs. None at
	// all is one config without ALPN.
	Protocols [][]string
	// DangerouslySkipVerification takes every endpoint for the one that is meant: whoever can
	// get between can read and change everything.
	DangerouslySkipVerification bool
	// OnReload and OnExpiry are those of TerminationOptions.
	OnReload func(error)
	OnExpiry func(Certificate)
}

// An Origination is the TLS to a service's endpoints, with files that are read again when they
// change. Configs and Status may be called from any goroutine.
type Origination struct {
	o       OriginationOptions
	current atomic.Pointer[[]*tls.Config]
	watch   watch
	pair    pairs // what was read last; these two are the watch's
	judges  authorities
}

// NewOrigination reads the files. Run keeps to them.
func NewOrigination(o OriginationOptions) (*Origination, error) {
	switch {
	case (o.CertFile == "") != (o.KeyFile == ""):
		return nil, errors.New("secure: a certificate needs its key, and a key its certificate")
	}
	n := &Origination{o: o}
	n.watch = watch{load: n.load, told: o.OnReload, dueTold: o.OnExpiry}
	for _, path := range []string{o.CAFile, o.CertFile, o.KeyFile} {
		if path != "" {
			n.watch.paths = append(n.watch.paths, path)
		}
	}
	if err := n.watch.begin(); err != nil {
		return nil, err
	}
	return n, nil
}

// Configs are for the next Client, one for each list of protocols, in their order. They are others
// when files have changed: sessions that the old ones led to are not resumed. Sessions are theirs in
// common. The slice must not be changed.
func (o *Origination) Configs() []*tls.Config { return *o.current.Load() }

// Run reads the files again when they change, until ctx ends.
func (o *Origination) Run(ctx context.Context) { o.watch.run(ctx) }

// Status tells of the certificate that is shown to endpoints, if there is one.
func (o *Origination) Status() Status { return o.watch.status() }

func (o *Origination) load() (list []Certificate, err error) {
	config := &tls.Config{
		ServerName:         o.o.ServerName,
		MinVersion:         atLeast12(o.o.MinVersion),
		InsecureSkipVerify: o.o.DangerouslySkipVerification,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessionsKept),
	}
	if o.o.CAFile != "" {
		if err = o.judges.read(o.o.CAFile); o.judges.pool == nil {
			return nil, err
		}
		config.RootCAs = o.judges.pool
	}
	if o.o.CertFile != "" {
		var failed error
		list, failed = o.pair.read([]string{o.o.CertFile}, []string{o.o.KeyFile})
		err = both(err, failed)
		if len(list) == 0 {
			return nil, err
		}
		pair := o.pair[0].pair
		// It is shown even if the endpoint's list of authorities lacks its issuer: then the
		// endpoint says what is wrong with it, and not that there is none.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	configs := []*tls.Config{config}
	for i, protocols := range o.o.Protocols {
		if i > 0 {
			configs = append(configs, config.Clone())
		}
		configs[i].NextProtos = protocols
	}
	o.current.Store(&configs)
	return list, err
}
