// Package nacos watches services in Nacos through its HTTP API.
//
// One Client serves the whole process; each Source made from it asks for its service's list of
// instances again and again, as often as the server proposes (cacheMillis). The API has three
// versions, which differ in paths and envelopes and not in what they tell:
//
//	v1  GET /nacos/v1/ns/instance/list         up to Nacos 3.1
//	v2  GET /nacos/v2/ns/instance/list         Nacos 2.2 to 3.1
//	v3  GET /nacos/v3/client/ns/instance/list  from Nacos 3.0
//
// What takes traffic is what Nacos' own clients would take: instances that are enabled, healthy,
// and of a weight above 0. When too few of a service are healthy (its protection threshold) the
// server says that all of them are to be taken, and then they are.
//
// Weights are fractions in Nacos, and 1 when nobody has set one. Those of a service are taken
// as they are when all are whole numbers, and else all of them a hundredfold, rounded, so that
// their proportions stay; what is above 65535 then counts as that.
//
// Nacos answers for a name that nobody has registered as for a service without instances, and
// forgets a service soon after its last instance. So an empty list is an unknown service until
// an instance has been listed once.
package nacos

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	dialTimeout   = 2 * time.Second
	answerTimeout = 3 * time.Second // for one server, with its connection
	// impatience, divided by all servers but one, is how long one may be silent before the next is
	// asked, too: the last of them, however many there are, has its time within 4 s.
	impatience = time.Second
	maxAnswer  = 16 << 20 // bytes; 10,000 instances are some 5 MB
	maxConns   = 4        // to each server, however many services are watched
)

// Options say where Nacos is and who asks it.
type Options struct {
	// Addresses are the servers, which know the same: "host:port", "http://host:port",
	// "https://host:port", the latter two also with another path than /nacos. One that answers
	// is asked until it fails or hesitates; then the others are, too.
	Addresses []string
	// Version is "v1", "v2" or "v3". Empty, or "auto", is whichever of v2, v1 and v3 the server has.
	Version string
	// Namespace is the ID of the namespace of services whose Query names none. Empty means public.
	Namespace string
	// Username is that of a login. Empty means that Nacos asks for none.
	Username string
	// PasswordFile holds the password and goes before Password. It is read for every login, which
	// is when a token ends or is refused.
	PasswordFile string
	Password     string
	// TLS has all servers asked through TLS when it is not nil. Those whose address begins with
	// https:// are in any case, without it by what the system trusts.
	TLS *tls.Config

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests; nil: the network
}

// A Client asks the servers of one Nacos. It is for concurrent use by all Sources of the
// process, which share its connections, at most four to each server.
type Client struct {
	servers   []server
	options   Options
	http      *http.Client
	transport *http.Transport
	token     *token

	current atomic.Int64 // the index of the server that answered last
	version atomic.Int64 // the index in versions of what it spoke
}

// A server is one of Nacos'.
type server struct {
	name string // as errors name it
	base string // what paths are appended to: "http://10.0.0.1:8848/nacos"
}

// New returns a Client. It asks nothing: a server that cannot be reached is no error here but
// one of every lookup, until it can be.
func New(o Options) (*Client, error) {
	c := &Client{options: o}
	for _, address := range o.Addresses {
		s, err := newServer(address, o.TLS != nil)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	if len(c.servers) == 0 {
		return nil, errors.New("nacos: no address; name its servers in nacos.addresses")
	}
	if i := slices.IndexFunc(versions, func(v version) bool { return v.name == o.Version }); i >= 0 {
		c.version.Store(int64(i))
	} else if cmp.Or(o.Version, "auto") != "auto" {
		return nil, fmt.Errorf("nacos: version %q is none of auto, v1, v2, v3", o.Version)
	}
	if o.Username == "" && (o.Password != "" || o.PasswordFile != "") {
		return nil, errors.New("nacos: there is a password, and nobody to log in; set nacos.username")
	}
	c.transport = &http.Transport{
		DialContext:         o.dial,
		TLSClientConfig:     o.TLS,
		TLSHandshakeTimeout: dialTimeout,
		MaxConnsPerHost:     maxConns,
		MaxIdleConnsPerHost: maxConns,
		IdleConnTimeout:     30 * time.Second,
		// What is asked for stays in the local network; no Proxy.
	}
	if c.transport.DialContext == nil {
		c.transport.DialContext = (&net.Dialer{
			Timeout:         dialTimeout,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		}).DialContext
	}
	c.http = &http.Client{
		Transport: c.transport,
		// A token goes to whom it was meant for.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.token = &token{client: c, busy: make(chan struct{}, 1)}
	return c, nil
}

func newServer(address string, secure bool) (server, error) {
	text := address
	if !strings.Contains(text, "://") {
		text = "http://" + text
		if secure {
			text = "https://" + address
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Port() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return server{}, fmt.Errorf("nacos: address %q is neither host:port nor http(s)://host:port", address)
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return server{}, fmt.Errorf("nacos: address %q: %q is neither http nor https", address, u.Scheme)
	}
	if secure && u.Scheme == "http" {
		return server{}, fmt.Errorf("nacos: address %q is not for TLS, which is set; write https:// or leave [nacos.tls] out", address)
	}
	path := strings.TrimRight(u.Path, "/")
	if path == "" {
		path = "/nacos"
	}
	return server{name: u.Host, base: u.Scheme + "://" + u.Host + path}, nil
}

// Close closes the connections. No Watch may be running.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
