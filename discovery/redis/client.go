// Package redis watches services that announce their instances in Redis.
//
// A service is one key, or the keys that share a prefix; which of three forms it has is found
// by the type of what is there:
//
//	set      SADD services:orders "10.0.0.1:8080 weight=2 zone=b"
//	hash     HSET services:orders orders-1 "10.0.0.1:8080"
//	strings  SET services:orders:orders-1 "10.0.0.1:8080" EX 15      (Query.Key "services:orders:")
//
// A value is text as discovery.ParseInstance reads it, or JSON:
//
//	{"address": "10.0.0.1:8080", "id": "orders-1", "weight": 2, "zone": "b", "meta": {"v": "7"}, "expires": 1767225600}
//
// The address may also come as "address": "10.0.0.1" with "port": 8080. The ID is the hash's
// field, what follows the prefix, or in a set the "id" of the JSON value, else the address. From
// "expires" on, in Unix seconds by the sidecar's clock, an entry takes no traffic, as if it had
// been deleted; with strings Redis itself sees to that. A clock that is set forward while the
// sidecar runs has nothing expire sooner.
//
// The truth is what a look at the key finds, every Query.Poll. Where the server publishes
// keyspace notifications a change is seen at once (but for FLUSHALL, which it does not tell of);
// these only hasten the next look. They are off by default and cost Redis little when limited
// to what matters here:
//
//	CONFIG SET notify-keyspace-events Kgshx$
//
// A Client has at most two connections for looks and one for notifications, however many
// Sources are made from it. It only reads: TYPE, SMEMBERS, HGETALL, SCAN, MGET, ROLE, and
// (P)SUBSCRIBE to __keyspace@N__:*. Redis Cluster is not supported: who wants to keep instances
// there names a server that holds the key, and not a cluster.
package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// DefaultPoll is how often a service is looked at when its Query does not say.
	DefaultPoll = 2 * time.Second

	dialTimeout = 2 * time.Second // with the TLS handshake
	ioTimeout   = 2 * time.Second // for one command to be written, and for its answer
	lookTimeout = 5 * time.Second // for all commands of one look, a scan has many
	looks       = 2               // connections for looks

	// idleTimeout ends connections that have not been used. Servers do that as well (timeout), and
	// a look on a connection that the server has closed fails.
	idleTimeout = 30 * time.Second
)

// Options say where Redis is and who asks it.
type Options struct {
	// Address is "host:port" or "unix:/path".
	Address string
	// Username is that of an ACL user (Redis 6 and later); empty means the default user.
	Username string
	// PasswordFile holds the password and goes before Password. It is read for every new
	// connection, so that a new password needs no restart: connections that exist stay valid.
	PasswordFile string
	Password     string
	// Database is selected on every connection, 0 or more.
	Database int
	// TLS is used when it is not nil. Without ServerName that of Address is verified.
	TLS *tls.Config

	dial func(ctx context.Context, network, address string) (net.Conn, error) // tests; nil: the network
}

// A Client asks one Redis server. It is for concurrent use by all Sources of the process,
// which share its connections.
type Client struct {
	redis    *redis.Client
	options  Options
	network  string // of the address: "tcp" or "unix"
	address  string // as it is dialled
	notices  *notices
	prefixes string // of the channels of keyspace notifications, up to the key
}

// New returns a Client. It connects to nobody: a server that cannot be reached is an error of
// every lookup, until it can be.
func New(o Options) (*Client, error) {
	c := &Client{options: o, network: "tcp", address: o.Address, prefixes: fmt.Sprintf("__keyspace@%d__:", o.Database)}
	if path, ok := strings.CutPrefix(o.Address, "unix:"); ok {
		c.network, c.address = "unix", "/"+strings.TrimLeft(path, "/")
		if !strings.HasPrefix(path, "/") || c.address == "/" {
			return nil, fmt.Errorf("redis: address %q: a socket's path must be absolute; write unix:/run/redis.sock", o.Address)
		}
	} else if host, port, err := net.SplitHostPort(o.Address); err != nil || host == "" || port == "" {
		return nil, fmt.Errorf("redis: address %q is neither host:port nor unix:/path", o.Address)
	}
	if o.Database < 0 {
		return nil, fmt.Errorf("redis: database %d is not 0 or more", o.Database)
	}
	// The library writes failed dials to standard error, once per attempt; they are errors of
	// lookups and told there. Its logger belongs to the process, which has no other user of it.
	redis.SetLogger(&logging.VoidLogger{})
	c.redis = redis.NewClient(&redis.Options{
		Network: c.network, Addr: c.address, Dialer: c.dial, DB: o.Database,
		CredentialsProviderContext: c.credentials,
		// The older protocol suffices, and every server speaks it; so there is neither a handshake
		// for maintenance notifications nor one for the library's name, which old servers and tight
		// ACLs refuse.
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		PoolSize:                 looks, MaxIdleConns: looks, PipelinePoolSize: -1, ConnMaxIdleTime: idleTimeout,
		DialTimeout: dialTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout,
		PoolTimeout: lookTimeout, ContextTimeoutEnabled: true,
		// Retries are ours, and a failure is told when it happens.
		MaxRetries: -1, DialerRetries: 1,
	})
	c.notices = newNotices(c)
	return c, nil
}

// Close closes the connections. No Watch may be running.
func (c *Client) Close() { _ = c.redis.Close() }

// dial connects within dialTimeout, TLS included, and puts a guard on what is read.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dial := c.options.dial
	if dial == nil {
		dial = (&net.Dialer{
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		}).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil || c.options.TLS == nil {
		return guard(conn), err
	}
	config := c.options.TLS.Clone()
	if host, _, err := net.SplitHostPort(address); err == nil && config.ServerName == "" {
		config.ServerName = host
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return guard(secure), nil
}

// credentials are those of a new connection.
func (c *Client) credentials(context.Context) (username, password string, err error) {
	o := c.options
	if o.PasswordFile == "" {
		return o.Username, o.Password, nil
	}
	data, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return "", "", fileError{fmt.Errorf("password file: %w; create it or correct redis.password_file", err)}
	}
	password = strings.TrimRight(string(data), "\r\n")
	if password == "" {
		return "", "", fileError{fmt.Errorf("password file %s is empty; write the password into it", o.PasswordFile)}
	}
	return o.Username, password, nil
}

// fileError is that of a password file, which says all there is to say.
type fileError struct{ error }

func (e fileError) Unwrap() error { return e.error }
