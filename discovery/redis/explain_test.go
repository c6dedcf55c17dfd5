package redis

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestAnswersThatAreErrorsAreExplained(t *testing.T) {
	for answer, want := range map[string]string{
		"LOADING Redis is loading the dataset in memory":                                   `redis: watch "orders": server at redis.test:6379 is still loading its data (LOADING Redis is loading the dataset in memory); it answers when it has done so`,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "restore the link between them",
		"NOAUTH Authentication required.":                                                  "set redis.password or redis.password_file",
		"NOPERM User me has no permissions to run the 'type' command":                      "does not let user me read the instances",
		"MOVED 3999 127.0.0.1:6381":                                                        "is part of a cluster, which is not supported",
		"CLUSTERDOWN The cluster is down":                                                  "is part of a cluster",
		"WRONGTYPE Operation against a key holding the wrong kind of value":                "see who changes it",
		"DENIED Redis is running in protected mode because protected mode is enabled":      "is in protected mode",
		"BUSY Redis is busy running a script.":                                             "is busy with a script",
		"ERR max number of clients reached":                                                "raise its maxclients",
		"ERR unknown command 'TYPE'":                                                       "cannot answer (ERR unknown command 'TYPE'); see the server's log",
	} {
		f := newFake(t, Options{Username: "me"})
		f.answer("TYPE", "-"+answer+"\r\n")
		u := startWatch(t, f.client.Source(Query{Key: "orders"})).next(patience)
		var cause redis.Error
		if u.Err == nil || !strings.Contains(u.Err.Error(), want) || !errors.As(u.Err, &cause) {
			t.Errorf("%s: %v", answer, u.Err)
		}
	}
}

func TestRefusedCredentialsAreExplainedAndNeverTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	put(t, path, "geheim\n")
	for answer, want := range map[string]string{
		"WRONGPASS invalid username-password pair or user is disabled.": "does not accept the password in " + path,
		"ERR invalid password": "does not accept the password in " + path,
		"ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?": "has no password",
		"ERR Client sent AUTH, but no password is set": "leave redis.password and redis.password_file out",
	} {
		f := newFake(t, Options{PasswordFile: path})
		f.answer("AUTH", "-"+answer+"\r\n")
		err := startWatch(t, f.client.Source(Query{Key: "orders"})).next(patience).Err
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v", answer, err)
		}
	}
	f := newFake(t, Options{Database: 99})
	f.answer("SELECT", "-ERR DB index is out of range\r\n")
	startWatch(t, f.client.Source(Query{Key: "orders"})).eventuallyErr("has no database 99 (ERR DB index is out of range); correct redis.database")

	f = newFake(t, Options{PasswordFile: path + "2"})
	w := startWatch(t, f.client.Source(Query{Key: "orders"}))
	w.eventuallyErr(`watch "orders": password file: open ` + path + `2: no such file or directory; create it or correct redis.password_file`)
	put(t, path+"2", "\n")
	w.eventuallyErr("is empty; write the password into it")
	put(t, path+"2", "x")
	w.eventually()
}

func TestBrokenConnectionsAreExplained(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(f *fake)
		want string
	}{
		"refused":   {func(f *fake) { f.down.Store(true) }, "server at redis.test:6379: connection refused; start it or correct redis.address"},
		"not Redis": {func(f *fake) { f.answer("HELLO", "HTTP/1.1 400 Bad Request\r\n\r\n") }, "the answer is not in Redis' protocol; check what listens there"},
		"too large": {func(f *fake) { f.answer("TYPE", "$1000000000\r\n") }, "the answer is larger than 16 MiB"},
		"hangs":     {func(f *fake) { f.answer("TYPE", "") }, "no answer in time; it hangs, or the network drops packets"},
		"handshake": {func(f *fake) { f.answer("HELLO", "") }, "no answer in time"},
	} {
		// Not in virtual time, which does not pass while the library waits for its own lock.
		f := newFake(t, Options{})
		c.harm(f)
		u := startWatch(t, f.client.Source(Query{Key: "orders"})).next(patience)
		if u.Err == nil || !strings.Contains(u.Err.Error(), c.want) {
			t.Errorf("%s: %v", name, u.Err)
		}
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	server := httptest.NewTLSServer(nil) // for its certificate, which is that of example.com
	defer server.Close()
	known := x509.NewCertPool()
	known.AddCert(server.Certificate())
	for name, c := range map[string]struct {
		config *tls.Config
		want   string // of the error; empty: none
	}{
		"known":         {&tls.Config{RootCAs: known, ServerName: "example.com"}, ""},
		"another name":  {&tls.Config{RootCAs: known}, "not redis.test; set ca_file or server_name in [redis.tls]"},
		"not known":     {&tls.Config{RootCAs: x509.NewCertPool(), ServerName: "example.com"}, "set ca_file or server_name in [redis.tls]"},
		"not encrypted": {nil, "TLS"},
	} {
		f := newFake(t, Options{TLS: c.config})
		f.tcp, f.tls = true, server.TLS
		u := startWatch(t, f.client.Source(Query{Key: "orders"})).next(patience)
		if c.want == "" {
			if u.Err != nil {
				t.Errorf("%s: %v", name, u.Err)
			}
		} else if u.Err == nil || !strings.Contains(u.Err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, u.Err, c.want)
		}
	}
	f := newFake(t, Options{TLS: &tls.Config{RootCAs: known}})
	f.tcp = true
	startWatch(t, f.client.Source(Query{Key: "orders"})).eventuallyErr("does not speak TLS")
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, address := range []string{"", "redis", ":6379", "redis:", "unix:run/redis.sock", "unix:/", "redis://h:1"} {
		if c, err := New(Options{Address: address}); err == nil {
			c.Close()
			t.Errorf("address %q is taken", address)
		}
	}
	if _, err := New(Options{Address: "redis:6379", Database: -1}); err == nil {
		t.Error("database -1 is taken")
	}
	for _, address := range []string{"redis:6379", "[::1]:6379", "unix:/run/redis.sock", "unix:///run/redis.sock"} {
		c, err := New(Options{Address: address})
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		c.Close()
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
