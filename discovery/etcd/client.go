// Package etcd watches services in etcd: the keys below a prefix, one for each instance.
//
// One Client serves the whole process; all Sources made from it share its connections. Each
// runs in rounds:
//
//	look     all keys below the prefix, from a member that has heard of its leader just now
//	follow   a watch from the revision after that, for as long as it lives
//	report   the complete set after each answer, also of those that bring no change
//
// Whatever ends a watch leads to the next look and never to a resumption: the history it
// belongs to may be gone (compacted, or replaced by that of a snapshot, whose revisions are
// lower, and a watch from a revision that is yet to come is silent). A watch that is quiet is
// asked for its progress, so that it is known to be alive.
//
// The library's own Watcher is not used: it resumes on its own, gives no reason while it waits,
// goes on trying after its context has ended, and buffers without bound.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"sidecar/discovery"
)

const (
	// DefaultEndpoint is where a local member listens.
	DefaultEndpoint = "127.0.0.1:2379"

	// connectTimeout and answerTimeout bound each connection and each call.
	connectTimeout, answerTimeout = 2 * time.Second, 5 * time.Second
	// connectMost is the longest pause between attempts to connect, where gRPC's own is two minutes.
	connectMost = time.Second
	// pingEvery is the least that gRPC allows and more than etcd's own least (5 s), below which it
	// ends the connection. After pingTimeout without an acknowledgement (of a ping by etcd, of any
	// byte by its kernel) the connection is given up. While no call is running no pings are
	// allowed, so there are none.
	pingEvery, pingTimeout = 10 * time.Second, 3 * time.Second
)

// Options say where etcd is and who asks. The zero value asks a local member.
type Options struct {
	// Endpoints are the members: "host:port", "http://host:port", "https://host:port" or
	// "unix:///path", all with TLS or all without. Calls go round among those that answer. None
	// means DefaultEndpoint.
	Endpoints []string
	// TLS is used when it is not nil or when the endpoints begin with https://.
	TLS *tls.Config
	// Username and the password are for etcd's own authentication; empty means none. The password
	// is that in PasswordFile, which is read at each login, or Password. An etcd that wants no
	// authentication is used all the same.
	Username     string
	Password     string
	PasswordFile string

	dial func(ctx context.Context, address string) (net.Conn, error) // tests; nil: the network
}

// A Client asks one etcd. It is for concurrent use by all Sources of the process.
type Client struct {
	api   *clientv3.Client
	watch pb.WatchClient
	login *login
}

// New returns a Client. It asks nothing: members that cannot be reached and a wrong password
// are no errors here but of every lookup, until that changes.
func New(o Options) (*Client, error) {
	endpoints, err := o.endpoints()
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	login, err := newLogin(o)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	conns := &connections{endpoints: endpoints, dial: o.dial, failed: make(map[string]error)}
	if conns.dial == nil {
		conns.dial = dialNetwork
	}
	api, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		TLS:                  o.TLS,
		DialKeepAliveTime:    pingEvery,
		DialKeepAliveTimeout: pingTimeout,
		MaxCallRecvMsgSize:   maxBytes,
		// It tries again a hundred times in silence otherwise. Whoever calls knows better when.
		MaxUnaryRetries: 1,
		// What it has to say is in the errors too.
		Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(conns.connect),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: connectMost},
				MinConnectTimeout: connectTimeout,
			}),
			// Inside of the library's own, in this order.
			grpc.WithChainUnaryInterceptor(conns.unary, login.unary),
			grpc.WithChainStreamInterceptor(conns.stream, login.stream),
			// The channel would close its connections when nothing was asked for half an hour.
			grpc.WithIdleTimeout(0),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("etcd: %w; correct etcd.endpoints", err)
	}
	return &Client{api: api, watch: pb.NewWatchClient(api.ActiveConnection()), login: login}, nil
}

// API is the connection to etcd for those who need other calls than Sources do, such as
// registration/etcd. It logs in, bounds and explains what is called through it. Its calls fail
// at once while no member can be reached, which makes some of the library's that go on by
// themselves spin: Watch, KeepAlive and KeepAliveOnce. It is closed by Close, and by nobody else.
func (c *Client) API() *clientv3.Client { return c.api }

// Close closes all connections. Sources have to have ended before.
func (c *Client) Close() { _ = c.api.Close() } // that its context has ended is all it says

// A Query says which instances are wanted.
type Query struct {
	// Prefix is what the keys of the service's instances begin with, such as "/services/orders/".
	// Without a slash at its end it is taken to have one: "orders" does not match "orders2".
	Prefix string
}

// Source returns the Source of what q asks for; it is a discovery.Refresher too. What a key is
// called below the prefix is the instance's ID. The value is one of
//
//	10.0.0.1:8080 weight=2 zone=b              as discovery.ParseInstance reads it
//	{"address": "10.0.0.1", "port": 8080}      and any of id, weight, zone, meta
//	{"Op": 0, "Addr": "10.0.0.1:8080"}         as etcd's package naming/endpoints writes it
//
// A prefix without keys is Unknown as long as no key was seen below it, since etcd knows keys
// and no services.
func (c *Client) Source(q Query) discovery.Source {
	if q.Prefix != "" && !strings.HasSuffix(q.Prefix, "/") {
		q.Prefix += "/"
	}
	return &source{client: c, prefix: q.Prefix, refresh: make(chan struct{}, 1)}
}

// endpoints are those to ask, checked: gRPC takes whatever it is given and fails much later.
func (o Options) endpoints() ([]string, error) {
	endpoints := slices.Clone(o.Endpoints)
	if len(endpoints) == 0 {
		endpoints = []string{DefaultEndpoint}
	}
	schemes := make(map[string]bool)
	for _, endpoint := range endpoints {
		scheme, address, ok := strings.Cut(endpoint, "://")
		if !ok {
			scheme, address = "", endpoint
		}
		schemes[scheme] = true
		switch scheme {
		case "http":
			if o.TLS != nil {
				return nil, fmt.Errorf("endpoint %q is without TLS; write https:// or leave [etcd.tls] out", endpoint)
			}
		case "unix":
			if strings.HasPrefix(address, "/") {
				continue
			}
			return nil, fmt.Errorf("endpoint %q has no absolute path; write unix:///run/etcd.sock", endpoint)
		case "", "https":
		default:
			return nil, fmt.Errorf("endpoint %q has a scheme that is none of http, https, unix; correct etcd.endpoints", endpoint)
		}
		if _, err := discovery.ParseInstance(address); err != nil || strings.Contains(address, " ") || strings.HasPrefix(address, "unix:") {
			return nil, fmt.Errorf(`endpoint %q is not host:port; write one such as "10.0.0.1:2379"`, endpoint)
		}
	}
	if len(schemes) > 1 {
		return nil, errors.New("endpoints differ in scheme; write all of them alike in etcd.endpoints")
	}
	return endpoints, nil
}
