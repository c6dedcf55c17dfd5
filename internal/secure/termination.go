package secure

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// ClientAuth says what a listener wants of clients' certificates.
type ClientAuth int

// What a listener may want. What is shown is verified in either case.
const (
	Off      ClientAuth = iota // none; what a client has is not asked for
	Optional                   // it may show one
	Required                   // it must show one
)

// TerminationOptions are the TLS of a listener.
type TerminationOptions struct {
	// CertFiles and KeyFiles are pairs of PEM files, in their order: a certificate, followed by those
	// of its issuers up to the root, and its key. The first is for clients that ask for none of the names.
	// Several for one name differ in the kind of key: a client gets the first of ECDSA, Ed25519
	// and RSA that it can use.
	CertFiles, KeyFiles []string
	// ClientCAFile are the authorities that clients' certificates are judged by, in PEM. It is needed
	// unless ClientAuth is Off.
	ClientCAFile string
	ClientAuth   ClientAuth
	// ClientNames are names of which a client's certificate must have one, as DNS name or URI;
	// *.example.com stands for one label. Common names do not count. Empty: every name is good.
	ClientNames []string
	// MinVersion is the lowest version, 0: TLS 1.2.
	MinVersion uint16
	// Protocols are offered by ALPN, the preferred one first. A client that names others only is
	// refused, one that names none is not.
	Protocols []string
	// OnReload is told by Run: nil, new files are in use; an error, some cannot be used, and what was
	// read from these before stays, which is said once. May be nil.
	OnReload func(error)
	// OnExpiry is told by Run of each certificate that is Due within WarnBefore: at once, and then
	// once a day until a renewed one is in use. May be nil.
	OnExpiry func(Certificate)
}

// A Termination is the TLS of a listener, with certificates that are read again when their files
// change. Config and Status may be called from any goroutine.
type Termination struct {
	o       TerminationOptions
	config  *tls.Config
	current atomic.Pointer[termination]
	watch   watch
	pairs   pairs // what was read last of each file that could be; these two are the watch's
	judges  authorities
}

// A termination is what has been read from the files at one time. It does not change.
type termination struct {
	config *tls.Config
	pairs  []*tls.Certificate
	byName map[string][]*tls.Certificate // in order of preference; wildcards as *.example.com
	first  []*tls.Certificate
}

// NewTermination reads the files. Run keeps to them.
func NewTermination(o TerminationOptions) (*Termination, error) {
	switch {
	case len(o.CertFiles) == 0 || len(o.CertFiles) != len(o.KeyFiles):
		return nil, fmt.Errorf("secure: %d certificates and %d keys; there must be one key for each certificate", len(o.CertFiles), len(o.KeyFiles))
	case o.ClientAuth != Off && o.ClientCAFile == "":
		return nil, errors.New("secure: clients' certificates cannot be judged without the file of an authority")
	}
	t := &Termination{o: o}
	t.watch = watch{paths: slices.Concat(o.CertFiles, o.KeyFiles), load: t.load, told: o.OnReload, dueTold: o.OnExpiry}
	if o.ClientAuth != Off {
		t.watch.paths = append(t.watch.paths, o.ClientCAFile)
	}
	if err := t.watch.begin(); err != nil {
		return nil, err
	}
	// The keys of session tickets are this one's, for all loops and all times; crypto/tls changes
	// them daily.
	t.config = &tls.Config{
		MinVersion: atLeast12(o.MinVersion),
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if err := clearServer(hello); err != nil {
				return nil, err
			}
			return t.current.Load().config, nil
		},
	}
	return t, nil
}

// Config is for Server. It stays the same when certificates change.
func (t *Termination) Config() *tls.Config { return t.config }

// Run reads the files again when they change, until ctx ends.
func (t *Termination) Run(ctx context.Context) { t.watch.run(ctx) }

// Status tells of the certificates that are shown to clients.
func (t *Termination) Status() Status { return t.watch.status() }

func (t *Termination) load() ([]Certificate, error) {
	n := &termination{byName: map[string][]*tls.Certificate{}}
	list, err := t.pairs.read(t.o.CertFiles, t.o.KeyFiles)
	if len(list) == 0 {
		return nil, err
	}
	for _, p := range t.pairs {
		n.pairs = append(n.pairs, p.pair)
	}
	first := n.pairs[0]
	slices.SortStableFunc(n.pairs, func(a, b *tls.Certificate) int {
		return cmp.Compare(preference(a.PrivateKey), preference(b.PrivateKey))
	})
	for _, pair := range n.pairs {
		for _, name := range namesOf(pair.Leaf) {
			name = strings.ToLower(name)
			n.byName[name] = append(n.byName[name], pair)
		}
	}
	n.first = []*tls.Certificate{first}
	if names := namesOf(first.Leaf); len(names) > 0 {
		n.first = n.byName[strings.ToLower(names[0])]
	}
	n.config = &tls.Config{
		MinVersion:       atLeast12(t.o.MinVersion),
		NextProtos:       t.o.Protocols,
		GetCertificate:   n.choose,
		VerifyConnection: onlyNames(t.o.ClientNames),
	}
	if t.o.ClientAuth != Off {
		err = both(err, t.judges.read(t.o.ClientCAFile))
		if t.judges.pool == nil {
			return nil, err
		}
		n.config.ClientCAs = t.judges.pool
		n.config.ClientAuth = tls.VerifyClientCertIfGiven
		if t.o.ClientAuth == Required {
			n.config.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	t.current.Store(n)
	return list, err
}

// choose returns the certificate for a client.
func (n *termination) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if err := clearServer(hello); err != nil { // behind a second ClientHello, else it returns at once
		return nil, err
	}
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	exact := n.byName[name]
	var wild []*tls.Certificate
	if _, domain, ok := strings.Cut(name, "."); ok {
		wild = n.byName["*."+domain]
	}
	if len(exact)+len(wild) == 0 {
		exact = n.first
	}
	if len(exact)+len(wild) > 1 {
		asked := *hello
		asked.ServerName = "" // the name is settled; what is asked is the kind of key
		for _, candidates := range [...][]*tls.Certificate{exact, wild} {
			for _, c := range candidates {
				if asked.SupportsCertificate(c) == nil {
					return c, nil
				}
			}
		}
	}
	if len(exact) == 0 {
		exact = wild
	}
	return exact[0], nil
}

// preference is lower for keys that cost less to sign with.
func preference(key crypto.PrivateKey) int {
	switch key.(type) {
	case *ecdsa.PrivateKey:
		return 0
	case *rsa.PrivateKey:
		return 2
	}
	return 1
}

func atLeast12(version uint16) uint16 { return max(version, tls.VersionTLS12) }
