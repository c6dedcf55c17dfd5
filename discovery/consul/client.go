// Package consul watches services in Consul by blocking queries on /v1/health/service, and
// calls its agent for whoever registers something there.
//
// One Client serves the whole process; each Source made from it keeps one query waiting at
// the agent. What comes back goes these steps:
//
//	pass      while the agent cannot be reached one watch tries for all (outage.go)
//	turn      over plain HTTP more services than connections take turns (turns.go)
//	ask       one query, with a hard deadline, unless something interrupts it (bell.go)
//	convert   entries → instances: status, address, weight, zone; what cannot be used is a problem
//	judge     what proves nothing is an error: empty from a cache, less from a server without a leader
//	report    a complete set, changed or not, or why there is none; then the next query, not too soon
//
// Beside them a patrol (patrol.go) looks for a new token, and notices an agent that hangs or
// whose packets are dropped within 6 s, which a query that waits would not. And it makes one of
// the watches the scout, which asks the servers past the views that the agent keeps, and finds
// out for all when those are out of date: the servers were gone, or put back to an older state.
//
// Several datacenters are several Sources, one for each Query.Datacenter, put in an order of
// preference with discovery.Prefer; or a prepared query, where Consul itself fails over.
//
// The rules of a correct client are those of Consul's pages on blocking queries, consistency
// modes and agent caching (https://developer.hashicorp.com/consul/api-docs/features); where
// one of them decides something, the code says so.
package consul

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// DefaultAddress is where a local agent listens.
	DefaultAddress = "127.0.0.1:8500"
	// DefaultWait is how long a query waits at the agent for a change. Consul's own default is
	// five minutes. One minute bounds how long a watch may go on that the agent has silently
	// forgotten, and costs one small request per service and minute. The answer is not decoded
	// when it is the last one again.
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
	// Namespace and Partition are asked; empty means those of the token, or CONSUL_NAMESPACE and
	// CONSUL_PARTITION. Only Consul Enterprise has others than "default".
	Namespace, Partition string
	// Consistency is "stale", "default" or "consistent". Empty means stale: any server may
	// answer, so that answers come even while there is no leader.
	Consistency string
	// Wait is how long a query waits for a change. Zero means DefaultWait.
	Wait time.Duration
	// Cached lets the agent answer from its own cache, which it keeps up to date by one query per
	// service for all processes of the host. It excludes consistent.
	Cached bool
	// Connections bounds how many queries are under way at once where each takes a connection of
	// its own: all but HTTP/2, which agents speak over TLS. Zero means DefaultConnections. With
	// more services than that, each waits at the agent only for a moment at a time (see
	// Client.Crowded). The agent allows 200 per address (limits.http_max_conns_per_client), those
	// of other processes included.
	Connections int

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests; nil: the network
}

// TLS is how the agent proves who it is, and the client in its turn. Empty fields leave it to
// the system's authorities and to no client certificate.
type TLS struct {
	CAFile, CertFile, KeyFile, ServerName string
}

// A Client asks one Consul agent. It is for concurrent use by all Sources of the process,
// which share its connections: an HTTP/2 connection, which takes TLS, serves some hundred
// queries; else each that waits takes one, up to Options.Connections.
type Client struct {
	api         *api.Client
	http        *http.Client // what api uses too
	base        string       // of URLs, without the path of the API
	connections connections
	turns       turns
	patrol      patrol
	outage      outage
	address     string // as errors name it
	token       *token
	consistency string
	cached      bool
	namespace   string
	partition   string
	wait        time.Duration
}

// New returns a Client. It asks nothing: an agent that cannot be reached is no error here but
// one of every lookup, until it can be.
func New(o Options) (*Client, error) {
	c := &Client{
		address:     cmp.Or(o.Address, DefaultAddress),
		token:       newToken(o),
		consistency: cmp.Or(o.Consistency, "stale"),
		cached:      o.Cached,
		wait:        cmp.Or(o.Wait, DefaultWait),
	}
	c.outage.trial = make(chan struct{}, 1)
	c.turns.running = map[*turn]struct{}{}
	c.patrol = patrol{client: c, members: map[*member]struct{}{}}
	switch {
	case c.wait < time.Second || c.wait > maxWait:
		return nil, fmt.Errorf("consul: wait %v is not from 1s to %v", c.wait, maxWait)
	case c.consistency != "stale" && c.consistency != "default" && c.consistency != "consistent":
		return nil, fmt.Errorf("consul: consistency %q is none of stale, default, consistent", c.consistency)
	case c.cached && c.consistency == "consistent":
		return nil, errors.New("consul: cached and consistency \"consistent\" exclude each other; choose one")
	case o.Connections < 0:
		return nil, fmt.Errorf("consul: connections %d is not 1 or more", o.Connections)
	}
	config, err := c.connect(o)
	if err != nil {
		return nil, err
	}
	if config.Scheme == "http" {
		c.turns.limit = cmp.Or(o.Connections, DefaultConnections)
	}
	c.api, err = api.NewClient(config)
	if err != nil {
		return nil, fmt.Errorf("consul: %w", err)
	}
	c.namespace, c.partition = config.Namespace, config.Partition // the environment's, if o has none
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
	config := &api.Config{
		Address: rest, Scheme: "http", Token: o.Token,
		Datacenter: o.Datacenter, Namespace: o.Namespace, Partition: o.Partition,
	}
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

	transport := newTransport(dial)
	if secure {
		config.Scheme = "https"
		tlsConfig, err := o.TLS.config()
		if err != nil {
			return nil, fmt.Errorf("consul: tls: %w", err)
		}
		transport.TLSClientConfig = tlsConfig
	}
	// The turns bound queries. Without this, net/http keeps what it dialled for a query that
	// found another connection idle meanwhile; and over TLS it dials for each query until the
	// first connection is there: a few until it is known whether one carries them all. It bounds
	// connections, not what HTTP/2 carries over each.
	most := cmp.Or(o.Connections, DefaultConnections)
	transport.MaxConnsPerHost = most + spareConnections
	if secure {
		transport.MaxConnsPerHost = min(most, firstConnections) + spareConnections
	}
	c.connections.current.Store(transport)
	through := http.RoundTripper(&c.connections)
	if secure {
		through = sensing{through, func(http2 bool) {
			if http2 {
				c.turns.bound(0)
			} else {
				c.turns.bound(most) // a proxy in front of the agent, as a rule
				c.connections.widen(most + spareConnections)
			}
		}}
	}
	c.http = &http.Client{
		Transport: recalling{bounded{through}},
		// An agent does not redirect; whoever does shall not see the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	config.HttpClient = c.http
	c.base = config.Scheme + "://" + strings.TrimSuffix(strings.TrimPrefix(config.Address, "http://"), "/")
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
func (c *Client) Close() { c.connections.close() }
