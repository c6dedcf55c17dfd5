package servertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// etcd keeps its data and its address when it is killed and started again: what tests of an
// outage build on.
func TestEtcdRemembersItsKeysOverARestart(t *testing.T) {
	s := Etcd(t)
	address := s.Address()
	etcdCall(t, s, "put", `{"key":"a2V5","value":"dmFsdWU="}`) // key, value
	s.Stop()
	s.Stop()
	wantRefused(t, address)
	s.Start()
	s.Start()
	if s.Address() != address {
		t.Fatalf("the address has changed from %s to %s", address, s.Address())
	}
	if got := etcdCall(t, s, "range", `{"key":"a2V5"}`); !strings.Contains(got, `"value":"dmFsdWU="`) {
		t.Fatalf("after the restart: %s", got)
	}
}

func TestEtcdTakesFlags(t *testing.T) {
	s := Etcd(t, "--max-txn-ops=1")
	body := `{"success":[{"request_put":{"key":"YQ==","value":"YQ=="}},{"request_put":{"key":"Yg==","value":"Yg=="}}]}`
	if got := etcdCall(t, s, "txn", body); !strings.Contains(got, "too many operations") {
		t.Fatalf("two operations are answered with %s", got)
	}
}

func TestRedisForgetsAndTakesSettings(t *testing.T) {
	s := Redis(t, "--requirepass", "secret", "--notify-keyspace-events", "KEA")
	address := s.Address()
	if got := redisCall(t, s, "PING"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Fatalf("without the password: %q", got)
	}
	if got := redisCall(t, s, "AUTH secret", "SET a b"); got != "+OK" {
		t.Fatalf("SET: %q", got)
	}
	s.Stop()
	wantRefused(t, address)
	s.Start()
	if s.Address() != address {
		t.Fatalf("the address has changed from %s to %s", address, s.Address())
	}
	if got := redisCall(t, s, "AUTH secret", "EXISTS a"); got != ":0" {
		t.Fatalf("EXISTS after the restart: %q", got)
	}
}

// Whoever is paused takes connections in and answers nothing.
func TestPausedServerAnswersWhenItIsResumed(t *testing.T) {
	s := Redis(t)
	c, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.Pause()
	if !s.stopped() {
		t.Fatal("a thread goes on")
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	s.Resume()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || line != "+PONG\r\n" {
		t.Fatalf("after it was resumed: %q, %v", line, err)
	}
	s.Pause()
	s.Stop() // does not hang
}

func TestServerThatCannotStartTellsWhy(t *testing.T) {
	s := Redis(t)
	s.Stop()
	s.args = []string{"--no-such-setting", "1"}
	err := s.run()
	if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Fatalf("error %v", err)
	}
}

func TestFreePortIsFree(t *testing.T) {
	port := FreePort(t)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if free(port, 1) || free(port-1, 2) {
		t.Fatalf("port %d counts as free although somebody listens", port)
	}
}

func etcdCall(t *testing.T, s *Server, call, body string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Address()+"/v3/kv/"+call, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// redisCall returns the answer to the last of some commands.
func redisCall(t *testing.T, s *Server, commands ...string) string {
	t.Helper()
	c, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	answers, line := bufio.NewReader(c), ""
	for _, command := range commands {
		if _, err := io.WriteString(c, command+"\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err = answers.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSpace(line)
}

func wantRefused(t *testing.T, address string) {
	t.Helper()
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Fatalf("%s answers although it was stopped", address)
	}
}
