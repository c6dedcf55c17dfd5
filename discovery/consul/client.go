// Package consul watches services in Consul by blocking queries on /v1/health/service.
//
// One Client serves the whole process; each Source made from it keeps one query waiting at
// the agent. What comes back goes four steps:
//
//	ask       one query, with a hard deadline; an empty answer is confirmed where it proves nothing
//	convert   entries → instances: status, address, weight, zone
//	compare   a return of the query is no proof of a change
//	report    a complete set, or why there is none; then the next query, not too soon
//
// The rules of a correct client are those of Consul's pages on blocking queries, consistency
// modes and agent caching (https://developer.hashicorp.com/consul/api-docs/features); where
// one of them decides something, the code says so.
package consul

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/consul/api"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

const (
	// DefaultAddress is where a local agent listens.
	DefaultAddress = "127.0.0.1:8500"
	// DefaultWait is how long a query waits at the agent for a change. Consul's own default is
	// five minutes. One minute bounds how long a watch may go on that the agent has silently
	// forgotten, and costs one small request per service and minute.
	DefaultWait = time.Minute
	// maxWait is Consul's limit: the agent cuts what is longer, and the deadline would be wrong.
	maxWait = 10 * time.Minute
	// answerMargin is what an answer may take on top of the time it was asked to wait. An agent
	// that has lost its leader holds a query up to 7 s (its rpc_hold_timeout) before it gives up.
	answerMargin = 10 * time.Second
)

// Options say where Consul is and how it is asked. The zero value asks the local agent.
type Options struct {
	// Address is "host:port", "http://host:port", "https://host:port" or "unix:/path". Empty
	// means DefaultAddress.
	Address string
	// TLS is used when it is not the zero value or when Address begins with https://.
	TLS TLS
	// TokenFile holds the ACL token. It is read when it has changed and when Consul refuses the
	// token, and goes before Token. It need not exist yet: until it does, lookups fail with an
	// error that says so. When both are empty, CONSUL_HTTP_TOKEN_FILE and CONSUL_HTTP_TOKEN
	// decide, as for every client of Consul.
	TokenFile string
	Token     string
	// Datacenter is asked; empty means the agent's own.
	Datacenter string
	// Consistency is "stale", "default" or "consistent". Empty means stale: any server may
	// answer, so that answers come even while there is no leader.
	Consistency string
	// Wait is how long a query waits for a change. Zero means DefaultWait.
	Wait time.Duration
	// Logger is told what no error says, such as instances that cannot be used. Nil: nobody.
	Logger *zap.Logger

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests; nil: the network
}

// TLS is how the agent proves who it is, and the client in its turn. Empty fields leave it to
// the system's authorities and to no client certificate.
type TLS struct {
	CAFile, CertFile, KeyFile, ServerName string
}

// A Client asks one Consul agent. It is for concurrent use by all Sources of the process,
// which share its connections: over TLS one HTTP/2 connection serves all queries, without TLS
// each waiting query takes one (agents allow 200, limits.http_max_conns_per_client).
type Client struct {
	api         *api.Client
	transport   *http.Transport
	address     string // as errors name it
	token       *token
	consistency string
	wait        time.Duration
	log         *zap.Logger
	watches     atomic.Int64 // Watch calls that are running, each with a query of its own
}

// New returns a Client. It asks nothing: an agent that cannot be reached is no error here but
// one of every lookup, until it can be.
func New(o Options) (*Client, error) {
	c := &Client{
		address:     o.Address,
		token:       newToken(o),
		consistency: o.Consistency,
		wait:        o.Wait,
		log:         o.Logger,
	}
	if c.address == "" {
		c.address = DefaultAddress
	}
	if c.wait == 0 {
		c.wait = DefaultWait
	}
	if c.wait < time.Second || c.wait > maxWait {
		return nil, fmt.Errorf("consul: wait %v is not from 1s to %v", c.wait, maxWait)
	}
	if c.log == nil {
		c.log = zap.NewNop()
	}
	switch c.consistency {
	case "":
		c.consistency = "stale"
	case "stale", "default", "consistent":
	default:
		return nil, fmt.Errorf("consul: consistency %q is none of stale, default, consistent", c.consistency)
	}
	config, err := c.connect(o)
	if err != nil {
		return nil, err
	}
	c.api, err = api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	return c, nil
}

// connect makes the transport and the configuration of the library around it.
func (c *Client) connect(o Options) (*api.Config, error) {
	scheme, rest, secure := "http", c.address, o.TLS != (TLS{})
	if before, after, ok := strings.Cut(c.address, "://"); ok {
		scheme, rest = before, after
	} else if path, ok := strings.CutPrefix(c.address, "unix:"); ok {
		scheme, rest = "unix", path
	}
	dial := o.dial
	if dial == nil {
		dial = dialer.DialContext
	}
	config := &api.Config{Address: rest, Scheme: "http", Datacenter: o.Datacenter, Token: o.Token}
	if c.token.path != "" {
		// Keeps the library from reading CONSUL_HTTP_TOKEN_FILE itself, once and for all: every
		// query brings its own token.
		config.Token = "read-by-us"
	}
	switch scheme {
	case "http", "https":
		hostport, _, _ := strings.Cut(rest, "/") // what follows is the prefix of a proxy in front of Consul
		if _, port, err := net.SplitHostPort(hostport); err != nil || port == "" {
			return nil, fmt.Errorf("consul: address %q has no port; Consul's is 8500 unless configured otherwise", c.address)
		}
		secure = secure || scheme == "https"
		config.Address = "http://" + rest // names the scheme so that the library splits off the prefix
	case "unix":
		if !strings.HasPrefix(rest, "/") {
			return nil, fmt.Errorf("consul: address %q: a socket's path must be absolute, such as unix:/run/consul.sock", c.address)
		}
		config.Address = "localhost"
		tcp := dial
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return tcp(ctx, "unix", rest) }
	default:
		return nil, fmt.Errorf("consul: address %q: unknown scheme %q; use http, https or unix", c.address, scheme)
	}

	c.transport = &http.Transport{
		DialContext:         dial,
		TLSHandshakeTimeout: 5 * time.Second,
		// No proxy from the environment: a query that waits for minutes is what proxies cut.
		// No limit on idle connections short of the agent's: after each answer all are idle for a
		// moment, and those over the limit would be closed only to be opened again.
		MaxIdleConnsPerHost: 200,
		IdleConnTimeout:     time.Minute,
		DisableCompression:  true, // the agent is on this host as a rule: it would cost both of us CPU
		ForceAttemptHTTP2:   true, // setting DialContext switches it off otherwise
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
	}
	if secure {
		config.Scheme = "https"
		tlsConfig, err := o.TLS.config()
		if err != nil {
			return nil, fmt.Errorf("consul: tls: %w", err)
		}
		c.transport.TLSClientConfig = tlsConfig
	}
	config.HttpClient = &http.Client{
		Transport: bounded{c.transport},
		// An agent does not redirect; whoever does shall not see the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return config, nil
}

func (t TLS) config() (*tls.Config, error) {
	config, err := api.SetupTLSConfig(&api.TLSConfig{Address: t.ServerName, CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile})
	if err != nil {
		return nil, err
	}
	config.MinVersion = tls.VersionTLS12
	return config, nil
}

// Close closes the connections that are idle. The Sources must have ended before.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// dialer notices a peer that has vanished within 20 s although nothing is ever sent while a
// query waits. Without it the kernel gives up after some 15 minutes, and instances that left
// stay in use so long (https://github.com/traefik/traefik/issues/11688).
var dialer = &net.Dialer{
	Timeout:         2 * time.Second, // SYN is sent again after 1 s; then rather a new attempt
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 3},
	Control: func(network, _ string, raw syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return nil
		}
		var err error
		if cerr := raw.Control(func(fd uintptr) {
			err = os.NewSyscallError("setsockopt TCP_USER_TIMEOUT",
				unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 20_000))
		}); cerr != nil {
			return cerr
		}
		return err
	},
}
