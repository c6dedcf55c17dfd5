package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"sidecar/internal/servertest"
)

// A redisServer is sent one command per connection, as somebody with telnet would.
type redisServer struct {
	*servertest.Server
	t *testing.T
}

func startRedis(t *testing.T, args ...string) redisServer {
	t.Helper()
	return redisServer{servertest.Redis(t, args...), t}
}

// do sends a command, whose words have no spaces in them.
func (r redisServer) do(words ...any) {
	r.t.Helper()
	c, err := net.DialTimeout("tcp", r.Address(), patience)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	command := strings.TrimSuffix(fmt.Sprintln(words...), "\n")
	fmt.Fprintf(c, "%s\r\n", command)
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || strings.HasPrefix(line, "-") {
		r.t.Fatalf("Redis: %s: %q, %v", command, line, err)
	}
}

func (r redisServer) config() string { return fmt.Sprintf("[redis]\naddress = %q\n", r.Address()) }

// A set that outlives a restart of the server.
func TestAServiceInASetOfRedis(t *testing.T) {
	t.Parallel()
	redis := startRedis(t, "--appendonly", "yes")
	one := serveOrigins(t, "first", "second", "third", "fourth")
	redis.do("SADD", "services:orders", one[0].address)
	f := follow(t, redis.config(), "source = \"redis\"\nredis = { key = \"services:orders\" }")

	redis.do("SADD", "services:orders", one[1].address)
	f.wantTraffic(one[1])
	f.wantLine("redis services:orders: 2 instances")
	redis.do("SREM", "services:orders", one[1].address)
	f.wantGone(one[1])

	redis.Stop()
	f.wantFailing("redis", redis.Address(), "refused", "redis.address")
	f.outlast(time.Second)
	redis.Start()
	back := time.Now()
	redis.do("SADD", "services:orders", one[2].address)
	f.wantResumed(one[2], back)

	redis.Pause()
	f.wantFailing("redis", redis.Address())
	f.outlast(time.Second)
	redis.Resume()
	back = time.Now()
	redis.do("SADD", "services:orders", one[3].address)
	f.wantResumed(one[3], back)
	f.end(2)
}

// Each instance is a key that ends unless it is set again. What serves stays a little longer than
// that, so that requests on their way are answered.
func TestAServiceInKeysOfRedisThatEnd(t *testing.T) {
	t.Parallel()
	redis := startRedis(t, "--notify-keyspace-events", "Kgshx$")
	one := serveOrigins(t, "first", "second")
	redis.do("SET", "services:orders:first", one[0].address)
	f := follow(t, redis.config(), `source = "redis"`)
	redis.do("SET", "services:orders:second", one[1].address, "PX", 3000)
	f.wantTraffic(one[1])
	f.wantLine("redis services:orders:: 2 instances")
	f.wantGone(one[1])
	f.end(0)
}

// A server without persistence has forgotten all when it comes back, until those who announce
// themselves do so again. Longer than that is what confirm_after allows for.
func TestARedisThatHasForgottenAll(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	one := serveOrigins(t, "first", "second", "third", "fourth")
	for _, o := range one[:3] {
		redis.do("HSET", "services:orders", o.name, o.address)
	}
	f := follow(t, redis.config(), "source = \"redis\"\nredis = { key = \"services:orders\" }\nconfirm_after = \"1m\"")
	f.waitTotal("orders", 3)
	redis.Stop()
	f.wantFailing("redis", redis.Address(), "refused")
	redis.Start()
	f.wantFailing("3 of 3 instances are gone at once")
	f.outlast(time.Second)
	if n := f.service("orders").Total; n != 3 {
		t.Errorf("%d instances while the loss is not confirmed, want 3", n)
	}
	for _, o := range one {
		redis.do("HSET", "services:orders", o.name, o.address)
	}
	f.wantResumed(one[3], time.Now())
	f.end(2) // the server that is gone, and the loss that is not believed
}
