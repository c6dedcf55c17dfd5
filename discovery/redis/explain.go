package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// explain says what failed, in the words of the operator's world, and the next step to take.
// The cause stays in the chain.
func (c *Client) explain(key string, err error) error {
	var file fileError
	var refused redis.Error
	var unusable unusableError
	var wrongType wrongTypeError
	switch {
	case errors.As(err, &file):
		err = file.error
	case errors.As(err, &unusable), errors.As(err, &wrongType), errors.Is(err, errTooMany):
	case errors.Is(err, errTooWide), errors.Is(err, errNotReady):
		err = fmt.Errorf("server at %s: %w", c.options.Address, err)
	case errors.As(err, &refused):
		err = c.explainAnswer(refused)
	default:
		err = c.explainFailure(err)
	}
	return fmt.Errorf("redis: watch %q: %w", key, err)
}

// explainAnswer words an error that Redis has answered with; its first word is its kind.
func (c *Client) explainAnswer(err redis.Error) error {
	text := err.Error()
	if len(text) > 200 {
		text = text[:200] + " …"
	}
	kind, _, _ := strings.Cut(text, " ")
	what, step := "cannot answer", "see the server's log"
	switch kind {
	case "LOADING":
		what, step = "is still loading its data", "it answers when it has done so"
	case "MASTERDOWN":
		what, step = "is a replica that has lost its master and may not answer from old data", "restore the link between them"
	case "NOAUTH":
		what, step = "wants a password", "set redis.password or redis.password_file"
	case "WRONGPASS":
		what, step = "does not accept "+c.password(), "correct it, or redis.username"
	case "NOPERM":
		what, step = "does not let "+c.user()+" read the instances", "ACL SETUSER it +type +smembers +hgetall +scan +mget +role +subscribe +psubscribe, with the keys and &__keyspace@*"
	case "MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN":
		what, step = "is part of a cluster, which is not supported", "name a server outside of it in redis.address"
	case "WRONGTYPE":
		what, step = "has found the key to be of another type than a moment ago", "see who changes it"
	case "DENIED":
		what, step = "is in protected mode", "give it a password, or bind it to addresses that others may reach"
	case "BUSY":
		what, step = "is busy with a script", "see who runs it, or SCRIPT KILL"
	case "ERR":
		switch {
		case strings.Contains(text, "invalid password"):
			what, step = "does not accept "+c.password(), "correct it"
		case strings.Contains(text, "AUTH") && strings.Contains(text, "without any password configured"), strings.Contains(text, "no password is set"):
			what, step = "has no password", "leave redis.password and redis.password_file out, or give it one (requirepass)"
		case strings.Contains(text, "DB index"):
			what, step = fmt.Sprintf("has no database %d", c.options.Database), "correct redis.database"
		case strings.Contains(text, "max number of clients"):
			what, step = "has too many connections", "raise its maxclients, or see who holds them (CLIENT LIST)"
		}
	}
	return fmt.Errorf("server at %s %s (%s); %s%w", c.options.Address, what, text, step, silent{err})
}

// explainFailure words an error of the connection.
func (c *Client) explainFailure(err error) error {
	step := ""
	var timeout net.Error
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("server at %s: %s; start it or correct redis.address%w", c.options.Address, plain(err), silent{err})
	case errors.As(err, &dns):
		step = "correct redis.address, or see to the resolver"
	case errors.As(err, &certificate), errors.As(err, &hostname):
		step = "set ca_file or server_name in [redis.tls]"
	case errors.As(err, &record):
		step = "it does not speak TLS: leave [redis.tls] out, or give it a tls-port"
	case errors.Is(err, errTooLarge):
		step = "see what is kept there: an instance is some 100 bytes, a service at most 10,000 of them"
	case errors.Is(err, errNotRedis), strings.Contains(err.Error(), "can't parse"):
		step = "check what listens there; when it is Redis with TLS, set [redis.tls]"
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("server at %s: no answer in time; it hangs, or the network drops packets%w", c.options.Address, silent{err})
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		step = "it closed the connection, as it does when it restarts; if it goes on, see whether it wants TLS"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		step = "let the sidecar's user connect to it"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		step = "correct redis.address, or the routes to it"
	}
	if step == "" {
		return fmt.Errorf("server at %s: %w", c.options.Address, err)
	}
	return fmt.Errorf("server at %s: %w; %s", c.options.Address, err, step)
}

// plain is the innermost text of a failed dial, whose address has been said already.
func plain(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}

func (c *Client) password() string {
	if c.options.PasswordFile != "" {
		return "the password in " + c.options.PasswordFile
	}
	return "redis.password"
}

func (c *Client) user() string {
	if c.options.Username == "" {
		return "the default user"
	}
	return "user " + c.options.Username
}

// silent keeps an error in the chain whose text has been said already.
type silent struct{ error }

func (s silent) Error() string { return "" }
func (s silent) Unwrap() error { return s.error }
