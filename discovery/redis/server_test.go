package redis

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecar/internal/servertest"
)

// An admin changes what a real server holds.
type admin struct {
	t *testing.T
	*redis.Client
}

func newAdmin(t *testing.T, server *servertest.Server, username, password string) admin {
	c := redis.NewClient(&redis.Options{Addr: server.Address(), Username: username, Password: password, PoolSize: 1, PipelinePoolSize: -1})
	t.Cleanup(func() { _ = c.Close() })
	return admin{t, c}
}

// do runs one command, written as on the command line; "quoted" words may have spaces.
func (a admin) do(words ...any) {
	a.t.Helper()
	if err := a.Do(context.Background(), words...).Err(); err != nil {
		a.t.Fatalf("%v: %v", words, err)
	}
}

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRealServerReportsEachChange(t *testing.T) {
	server := servertest.Redis(t, "--notify-keyspace-events", "Kgshx$")
	a := newAdmin(t, server, "", "")
	client := newClient(t, Options{Address: server.Address(), Database: 3})
	a.do("SELECT", 3)

	for name, c := range map[string]struct {
		key                  string
		first, second, third []any
		one, two             string // the IDs
		last                 string // the key that is deleted last
	}{
		"set": {
			"orders", []any{"SADD", "orders", "10.0.0.1:1"}, []any{"SADD", "orders", `{"address":"10.0.0.2:1","id":"two","weight":7}`},
			[]any{"SREM", "orders", "10.0.0.1:1"}, "10.0.0.1:1", "two", "orders",
		},
		"hash": {
			"stock", []any{"HSET", "stock", "one", "10.0.0.1:1"}, []any{"HSET", "stock", "two", `{"address":"10.0.0.2","port":1,"weight":7}`},
			[]any{"HDEL", "stock", "one"}, "one", "two", "stock",
		},
		"strings": {
			"users:[x]*:", []any{"SET", "users:[x]*:one", "10.0.0.1:1", "EX", 600}, []any{"SET", "users:[x]*:two", "10.0.0.2:1 weight=7"},
			[]any{"DEL", "users:[x]*:one"}, "one", "two", "users:[x]*:two",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := admin{t, a.Client}
			// Only notifications can bring a change in the time that is granted.
			w := startWatch(t, client.Source(Query{Key: c.key, Poll: time.Hour}))
			if u := w.eventually(); !u.Unknown || u.At.IsZero() {
				t.Errorf("nobody has written it: %+v", u)
			}
			a.do(c.first...)
			w.eventually(c.one)
			began := time.Now()
			a.do(c.second...)
			u := w.eventually(c.one, c.two)
			t.Logf("seen after %v", time.Since(began).Round(time.Millisecond))
			if two := u.Instances[1]; two.Address != "10.0.0.2:1" || two.Weight != 7 {
				t.Errorf("%+v", u)
			}
			a.do("SET", "users:x:three", "10.0.0.3:1") // what a pattern would match that is not escaped
			a.do("HSET", "users:[x]*:four", "f", "10.0.0.3:1")
			a.do(c.third...)
			w.eventually(c.two)
			a.do("DEL", c.last)
			if u := w.eventually(); u.Unknown {
				t.Errorf("it was there a moment ago: %+v", u)
			}
		})
	}
	if n := len(clients(t, a)); n > looks+2 {
		t.Errorf("%d connections with the one that asks", n)
	}
}

// clients are the lines of CLIENT LIST.
func clients(t *testing.T, a admin) []string {
	list, err := a.ClientList(context.Background()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(list), "\n")
}

func TestRealServerWithoutNotificationsIsPolled(t *testing.T) {
	server := servertest.Redis(t)
	a := newAdmin(t, server, "", "")
	client := newClient(t, Options{Address: server.Address()})
	w := startWatch(t, client.Source(Query{Key: "services/orders/*", Poll: 100 * time.Millisecond}))
	a.do("SET", "services/orders/one", "10.0.0.1:1", "PX", 1500)
	w.eventually("one")
	w.eventually() // it has not been renewed
	a.do("SET", "services/orders/two", "10.0.0.2:1")
	w.eventually("two")
	a.do("FLUSHALL") // of which no notification tells, wherever they are on
	w.eventually()

	a.do("LPUSH", "list", "10.0.0.1:1")
	startWatch(t, client.Source(Query{Key: "list"})).eventuallyErr(
		`redis: watch "list": the key is a list; keep instances in a set, a hash, or in strings`)

	// Many keys, most of which are others'.
	pipe := a.Pipeline()
	for i := range 5000 {
		pipe.Set(t.Context(), fmt.Sprintf("services/stock/%04d", i), fmt.Sprintf("10.1.%d.%d:80", i/250, i%250), 0)
		pipe.Set(t.Context(), fmt.Sprintf("others/%d", i), "x", 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	u := startWatch(t, client.Source(Query{Key: "services/stock/"})).next(patience)
	if u.Err != nil || len(u.Instances) != 5000 || u.Instances[4999].ID != "4999" || len(u.Problems) != 0 {
		t.Errorf("%d instances, %v, problems %v", len(u.Instances), u.Err, u.Problems)
	}
	t.Logf("5,000 of 10,000 keys in %v", time.Since(began).Round(time.Millisecond))

	for i := range maxInstances + 1 {
		pipe.SAdd(t.Context(), "many", fmt.Sprintf("10.1.%d.%d:80", i/250, i%250))
		pipe.HSet(t.Context(), "long", fmt.Sprint(i), "10.0.0.1:80")
		pipe.Set(t.Context(), fmt.Sprintf("far:%d", i), "10.0.0.1:80", 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.do("SET", "large:1", strings.Repeat("x", maxValue+1))
	for key, want := range map[string]string{"many": errTooMany.Error(), "long": errTooMany.Error(), "far:": errTooMany.Error(), "large:": errTooLarge.Error()} {
		startWatch(t, client.Source(Query{Key: key})).eventuallyErr(want)
	}
}

func TestRealServerGoesAwayAndComesBack(t *testing.T) {
	server := servertest.Redis(t, "--notify-keyspace-events", "Kgshx$")
	a := newAdmin(t, server, "", "")
	client := newClient(t, Options{Address: server.Address()})
	w := startWatch(t, client.Source(Query{Key: "orders"}))
	a.do("SADD", "orders", "10.0.0.1:1")
	w.eventually("10.0.0.1:1")

	server.Stop()
	w.eventuallyErr("server at " + server.Address() + ": connection refused; start it or correct redis.address")
	server.Start()
	back := time.Now()
	if u := w.eventually(); u.Unknown { // it keeps nothing over a restart, and that is an answer
		t.Errorf("%+v", u)
	}
	inTime(t, back)
	a.do("SADD", "orders", "10.0.0.2:1")
	w.eventually("10.0.0.2:1")

	// It hangs: connections are accepted, and nothing is answered.
	server.Pause()
	w.eventuallyErr("no answer in time")
	w.eventuallyErr("no answer in time") // a new connection does not help
	server.Resume()
	back = time.Now()
	w.eventually("10.0.0.2:1")
	inTime(t, back)
}

// inTime holds what is promised: updates resume in less than 5 s after the registry is back.
func inTime(t *testing.T, back time.Time) {
	t.Helper()
	d := time.Since(back)
	t.Logf("updates again after %v", d.Round(time.Millisecond))
	if d > 5*time.Second {
		t.Errorf("updates again after %v", d)
	}
}

func TestWatchThatBeginsBeforeTheServerExists(t *testing.T) {
	server := servertest.Redis(t)
	server.Stop()
	w := startWatch(t, newClient(t, Options{Address: server.Address()}).Source(Query{Key: "orders"}))
	w.eventuallyErr("connection refused")
	server.Start()
	back := time.Now()
	w.eventually()
	inTime(t, back)
}

func TestRealServerRefusesAndThenAcceptsAPassword(t *testing.T) {
	server := servertest.Redis(t, "--requirepass", "geheim", "--notify-keyspace-events", "Kgshx$")
	a := newAdmin(t, server, "", "geheim")
	a.do("SADD", "orders", "10.0.0.1:1")

	startWatch(t, newClient(t, Options{Address: server.Address()}).Source(Query{Key: "orders"})).eventuallyErr(
		"wants a password (NOAUTH Authentication required.); set redis.password or redis.password_file")
	startWatch(t, newClient(t, Options{Address: server.Address(), Password: "geheim"}).Source(Query{Key: "orders"})).eventually("10.0.0.1:1")

	path := filepath.Join(t.TempDir(), "password")
	put(t, path, "falsch")
	w := startWatch(t, newClient(t, Options{Address: server.Address(), PasswordFile: path}).Source(Query{Key: "orders"}))
	if u := w.eventuallyErr("does not accept the password in " + path); strings.Contains(u.Err.Error(), "falsch") {
		t.Errorf("the password is told: %v", u.Err)
	}
	put(t, path, "geheim\n")
	w.eventually("10.0.0.1:1")

	// An ACL user, which may do one thing after the other.
	a.do("ACL", "SETUSER", "me", "on", ">mein", "~orders", "+type")
	me := newClient(t, Options{Address: server.Address(), Username: "me", Password: "mein"})
	w = startWatch(t, me.Source(Query{Key: "orders"}))
	w.eventuallyErr("does not let user me read the instances (NOPERM")
	a.do("ACL", "SETUSER", "me", "+smembers")
	w.eventually("10.0.0.1:1")
	startWatch(t, me.Source(Query{Key: "secrets"})).eventuallyErr("NOPERM")

	// It is deleted, with its connections, and comes back with another password.
	a.do("ACL", "DELUSER", "me")
	w.eventuallyErr("does not accept redis.password (WRONGPASS")
	a.do("ACL", "SETUSER", "me", "on", ">mein", "~*", "&*", "+type", "+smembers", "+subscribe")
	w.eventually("10.0.0.1:1")
}

func TestRealReplicaWithoutItsMasterEmptiesNothing(t *testing.T) {
	master := servertest.Redis(t)
	a := newAdmin(t, master, "", "")
	a.do("SADD", "orders", "10.0.0.1:1")
	host, port, err := net.SplitHostPort(master.Address())
	if err != nil {
		t.Fatal(err)
	}
	replica := servertest.Redis(t, "--replicaof", host, port, "--repl-diskless-sync-delay", "0")
	client := newClient(t, Options{Address: replica.Address()})
	w := startWatch(t, client.Source(Query{Key: "orders"}))
	w.eventually("10.0.0.1:1")
	master.Stop()
	// What it has may be believed, what it lacks not.
	startWatch(t, client.Source(Query{Key: "stock"})).eventuallyErr("is a replica that has not caught up with its master")
	w.eventually("10.0.0.1:1")
}

func TestManyServicesNeedFewConnections(t *testing.T) {
	server := servertest.Redis(t, "--notify-keyspace-events", "Kgshx$")
	a := newAdmin(t, server, "", "")
	client := newClient(t, Options{Address: server.Address()})
	const services = 300
	watches := make([]*watching, services)
	for i := range watches {
		a.do("SADD", fmt.Sprintf("s%d", i), "10.0.0.1:1")
		watches[i] = startWatch(t, client.Source(Query{Key: fmt.Sprintf("s%d", i), Poll: time.Hour}))
	}
	for _, w := range watches {
		w.eventually("10.0.0.1:1")
	}
	// The sets are known before all have been subscribed to: each question takes the server's time.
	pattern := 0
	for begin := time.Now(); pattern == 0 && time.Since(begin) < patience; {
		for _, line := range clients(t, a) {
			if strings.Contains(line, fmt.Sprintf(" sub=%d ", services)) {
				pattern++
			}
		}
	}
	if n := len(clients(t, a)); n > looks+2 || pattern != 1 {
		t.Errorf("%d connections with the one that asks, %d of them with all subscriptions", n, pattern)
	}
	began := time.Now()
	for i := range watches {
		a.do("SADD", fmt.Sprintf("s%d", i), "10.0.0.2:1")
	}
	for _, w := range watches {
		w.eventually("10.0.0.1:1", "10.0.0.2:1")
	}
	t.Logf("a change in each of %d services was seen within %v", services, time.Since(began).Round(time.Millisecond))
}

func TestRealServerOnAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "redis.sock")
	server := servertest.Redis(t, "--unixsocket", path)
	newAdmin(t, server, "", "").do("SADD", "orders", "10.0.0.1:1")
	w := startWatch(t, newClient(t, Options{Address: "unix:" + path}).Source(Query{Key: "orders"}))
	w.eventually("10.0.0.1:1")
	startWatch(t, newClient(t, Options{Address: "unix:" + path + "2"}).Source(Query{Key: "orders"})).eventuallyErr(
		"server at unix:" + path + "2: no such file or directory; start it or correct redis.address")
}
