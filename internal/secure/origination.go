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
	// address. Where it is empty each user of Config sets that of its endpoint, in a clone.
	ServerName string
	// MinVersion is the lowest version, 0: TLS 1.2.
	MinVersion uint16
	// Protocols are asked for by ALPN, the preferred one first.
	Protocols []string
	// DangerouslySkipVerification takes every endpoint for the one that is meant: whoever can
	// get between can read and change everything.
	DangerouslySkipVerification bool
	// OnReload is that of TerminationOptions.
	OnReload func(error)
}

// An Origination is the TLS to a service's endpoints, with files that are read again when they
// change. Config and Certificates may be called from any goroutine.
type Origination struct {
	o       OriginationOptions
	current atomic.Pointer[origination]
	watch   watch
}

type origination struct {
	config *tls.Config
	list   []Certificate
}

// NewOrigination reads the files. Run keeps to them.
func NewOrigination(o OriginationOptions) (*Origination, error) {
	switch {
	case (o.CertFile == "") != (o.KeyFile == ""):
		return nil, errors.New("secure: a certificate needs its key, and a key its certificate")
	}
	n := &Origination{o: o}
	n.watch = watch{load: n.load, told: o.OnReload}
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

// Config is for the next Client. It is another one when files have changed: sessions that the
// old ones led to are not resumed.
func (o *Origination) Config() *tls.Config { return o.current.Load().config }

// Run reads the files again when they change, until ctx ends.
func (o *Origination) Run(ctx context.Context) { o.watch.run(ctx) }

// Certificates is the one that is shown to endpoints, if there is one. The slice must not be
// changed.
func (o *Origination) Certificates() []Certificate { return o.current.Load().list }

func (o *Origination) load() error {
	n := &origination{config: &tls.Config{
		ServerName:         o.o.ServerName,
		MinVersion:         atLeast12(o.o.MinVersion),
		NextProtos:         o.o.Protocols,
		InsecureSkipVerify: o.o.DangerouslySkipVerification,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessionsKept),
	}}
	if o.o.CAFile != "" {
		pool, err := readAuthorities(o.o.CAFile)
		if err != nil {
			return err
		}
		n.config.RootCAs = pool
	}
	if o.o.CertFile != "" {
		pair, described, err := readPair(o.o.CertFile, o.o.KeyFile)
		if err != nil {
			return err
		}
		n.list = []Certificate{described}
		// It is shown even if the endpoint's list of authorities lacks its issuer: then the
		// endpoint says what is wrong with it, and not that there is none.
		n.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair, nil }
	}
	o.current.Store(n)
	return nil
}
