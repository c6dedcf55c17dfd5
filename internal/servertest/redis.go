package servertest

import (
	"bufio"
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Redis returns a Redis server without persistence: what it holds is gone after Stop, as with
// a cache that is restarted. args are further settings as on its command line, each with "--"
// and its values in words of their own: "--requirepass", "secret".
func Redis(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, kind{
		name: "Redis", binary: "redis-server", install: "apt-get install redis-server", ports: 1,
		command: redisCommand, ready: redisReady,
	}, args)
}

func redisCommand(s *Server) []string {
	return []string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1",
		"--save", "", "--appendonly", "no", "--dir", s.data(),
		"--daemonize", "no",
	}
}

// redisReady tells whether it answers, be it that it wants a password first.
func redisReady(s *Server) bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address())
	if err != nil {
		return false
	}
	defer c.Close()
	if c.SetDeadline(time.Now().Add(5*time.Second)) != nil {
		return false
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}
