// Package kubernetes watches services in Kubernetes by their EndpointSlices, through the API
// server.
//
// One Client serves the whole process; each Source made from it goes round these steps:
//
//	list      all slices of the service, in pages; what it says is the whole truth
//	follow    what changes after that, from one request that stays open for minutes
//	convert   slices → instances: conditions, address, port, zone
//	report    a complete set after each answer, not more often than twice per second
//
// When the stream ends it is taken up where it ended; when the server no longer knows that place
// (410 Gone), or the stream breaks, the slices are listed again.
//
// It takes the service account of the pod, which has to be granted "list" and "watch" on
// endpointslices of the API group discovery.k8s.io in the service's namespace. It speaks plain
// HTTP and JSON: client-go would do this and bring a multiple of the sidecar's own code along.
// For a headless service there is discovery/dns too, which needs no rights.
//
// The rules are those of https://kubernetes.io/docs/reference/using-api/api-concepts and of
// https://kubernetes.io/docs/concepts/services-networking/endpoint-slices.
package kubernetes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// accountFolder is where a pod finds its service account.
	accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

	// A connection whose peer has vanished is noticed within deadAfter: over HTTP/2 by a ping after
	// quietFor without a frame, else by the kernel.
	quietFor  = 3 * time.Second
	pingTime  = 3 * time.Second
	deadAfter = quietFor + pingTime

	dialTime      = 2 * time.Second // SYN is sent again after 1 s; then rather a new attempt
	handshakeTime = 3 * time.Second
)

// Options say where the API server is and who asks it. The zero value is right in a pod.
type Options struct {
	// Address is "https://host:port". Empty means the one that a pod's environment names. Of
	// "http://host:port", such as kubectl proxy serves, no token is told.
	Address string
	// TokenFile holds the service account's token. It is read for each request, since the kubelet
	// writes a new one every hour or so. Empty means the pod's.
	TokenFile string
	// CAFile holds the authority that the server's certificate is checked against. It is read for
	// each connection. Empty means the pod's, or the system's authorities if Address is given and
	// there is none.
	CAFile string
	// Namespace is where services are looked up whose Query names none. Empty means the pod's.
	Namespace string

	account string                                                               // tests: another accountFolder
	dial    func(ctx context.Context, network, address string) (net.Conn, error) // tests; nil: the network
}

// A Client asks one API server. It is for concurrent use by all Sources of the process, which
// share its connections: over TLS one HTTP/2 connection carries all of them.
type Client struct {
	address   string // as errors name it, without a slash at its end
	host      string // for the certificate
	plain     bool   // without TLS, and so without a token
	tokenFile string
	caFile    string
	systemCA  bool // the system's authorities will do when there is no caFile
	namespace string
	account   string
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	transport *http.Transport
	http      *http.Client
}

// New returns a Client. It asks nothing and reads no file: what is missing is an error of every
// lookup, until it is there. The error here is about an address that cannot be one.
func New(o Options) (*Client, error) {
	c := &Client{address: strings.TrimSuffix(o.Address, "/"), namespace: o.Namespace, account: o.account, dial: o.dial, systemCA: o.Address != "" && o.CAFile == ""}
	if c.account == "" {
		c.account = accountFolder
	}
	if c.tokenFile = o.TokenFile; c.tokenFile == "" {
		c.tokenFile = filepath.Join(c.account, "token")
	}
	if c.caFile = o.CAFile; c.caFile == "" {
		c.caFile = filepath.Join(c.account, "ca.crt")
	}
	if c.dial == nil {
		c.dial = dialer.DialContext
	}
	if c.address == "" {
		host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
		if host == "" || port == "" {
			return nil, errors.New("kubernetes: this is no pod, KUBERNETES_SERVICE_HOST and _PORT are not set; set kubernetes.address, token_file and ca_file")
		}
		c.address = "https://" + net.JoinHostPort(host, port)
	}
	u, err := url.Parse(c.address)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("kubernetes: address %q is not https://host:port; correct kubernetes.address", c.address)
	}
	c.host, c.plain = u.Hostname(), u.Scheme == "http"

	c.transport = &http.Transport{
		DialContext:    c.dial,
		DialTLSContext: c.dialTLS,
		// No proxy from the environment: the server is inside.
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        time.Minute,
		ForceAttemptHTTP2:      true, // setting DialContext switches it off otherwise
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: quietFor, PingTimeout: pingTime},
		MaxResponseHeaderBytes: 64 << 10,
	}
	c.http = &http.Client{
		Transport: c.transport,
		// The API server does not redirect; whoever does shall not see the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close closes the connections that are idle. The Sources must have ended before.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// dialTLS connects with the authority that stands in the file now: it is replaced under running
// pods.
func (c *Client) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	roots, err := c.authorities()
	if err != nil {
		return nil, err
	}
	raw, err := c.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: c.host, RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
	ctx, cancel := context.WithTimeoutCause(ctx, handshakeTime, noAnswerError{handshakeTime})
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return conn, nil
}

// authorities are those of the file; nil: the system's.
func (c *Client) authorities() (*x509.CertPool, error) {
	text, err := os.ReadFile(c.caFile)
	if errors.Is(err, fs.ErrNotExist) && c.systemCA {
		return nil, nil
	}
	if err != nil {
		return nil, complete{fmt.Errorf("CA file: %w; correct kubernetes.ca_file", err)}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, complete{fmt.Errorf("CA file %s holds no certificate; write the server's authority into it, as PEM", c.caFile)}
	}
	return roots, nil
}

// token is what the file holds now.
func (c *Client) token() (string, error) {
	text, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", complete{fmt.Errorf("token file: %w; let the pod mount its service account's token, or correct kubernetes.token_file", err)}
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", complete{fmt.Errorf("token file %s holds no token, or more than that; write only the token into it", c.tokenFile)}
	}
	return token, nil
}

// namespaceOf is where the service of q is.
func (c *Client) namespaceOf(q Query) (string, error) {
	if q.Namespace != "" {
		return q.Namespace, nil
	}
	if c.namespace != "" {
		return c.namespace, nil
	}
	text, err := os.ReadFile(filepath.Join(c.account, "namespace"))
	if err != nil {
		return "", complete{fmt.Errorf("no namespace is given, and this pod's is not known: %w; set kubernetes.namespace", err)}
	}
	return strings.TrimSpace(string(text)), nil
}

// dialer notices a peer that has vanished within deadAfter although nothing is ever sent while a
// request stays open. Over HTTP/2 pings do that too, and notice a server that stands still.
var dialer = &net.Dialer{
	Timeout:         dialTime,
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: quietFor, Interval: time.Second, Count: 3},
	Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if cerr := raw.Control(func(fd uintptr) {
			err = os.NewSyscallError("setsockopt TCP_USER_TIMEOUT",
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds())))
		}); cerr != nil {
			return cerr
		}
		return err
	},
}
