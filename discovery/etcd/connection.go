package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// connections dials the members, and remembers why that failed: what a call says of it is
// "deadline exceeded". It is for concurrent use.
type connections struct {
	endpoints []string
	dial      func(ctx context.Context, address string) (net.Conn, error)

	mu     sync.Mutex
	failed map[string]error // by address, until it can be dialled again
}

func dialNetwork(ctx context.Context, address string) (net.Conn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", strings.TrimPrefix(path, "//")
	}
	return (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, network, address)
}

// connect is gRPC's dialer.
func (c *connections) connect(ctx context.Context, address string) (net.Conn, error) {
	conn, err := c.dial(ctx, address)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.failed, address)
	} else if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		c.failed[address] = err
	}
	return conn, err
}

// unary fails a call at once when no member can be reached, and explains the failure.
func (c *connections) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	start := time.Now()
	err := invoker(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
	if method == pb.Auth_Authenticate_FullMethodName {
		return err // it is part of another call, which explains it
	}
	return c.explain(err, time.Since(start))
}

func (c *connections) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	start := time.Now()
	s, err := streamer(ctx, desc, cc, method, append(opts, grpc.WaitForReady(false))...)
	if err != nil {
		return nil, c.explain(err, time.Since(start))
	}
	return explained{s, c, start}, nil
}

// explained is a stream whose errors are explained.
type explained struct {
	grpc.ClientStream
	conns *connections
	start time.Time
}

func (s explained) RecvMsg(m any) error {
	return s.conns.explain(s.ClientStream.RecvMsg(m), time.Since(s.start))
}

// unansweredError says that etcd has not answered, why, and what to do about it.
type unansweredError struct {
	text   string
	causes []error
}

func (e *unansweredError) Error() string   { return e.text }
func (e *unansweredError) Unwrap() []error { return e.causes }

// GRPCStatus keeps the library from taking the explanation for an end of the caller's context,
// for which it would put the bare words "context deadline exceeded".
func (e *unansweredError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.text) }

// explain words the failure of a call that began that long ago, unless it is an answer of etcd
// or the caller's own cancellation.
func (c *connections) explain(err error, after time.Duration) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if isType[rpctypes.EtcdError](rpctypes.Error(err)) || isType[*unansweredError](err) {
		return err
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := s.Message()
	switch {
	case s.Code() == codes.ResourceExhausted && strings.Contains(text, "message larger than max"):
		return fmt.Errorf("%w%w", errTooMuch, silent{err})
	case s.Code() == codes.Canceled:
		return err
	case s.Code() != codes.Unavailable && s.Code() != codes.DeadlineExceeded:
		return fmt.Errorf("etcd at %s answers %v: %s; see its log, and check what listens there%w", c.names(), s.Code(), text, silent{err})
	}
	if text, causes := c.unreachable(); text != "" {
		return &unansweredError{text, append(causes, err)}
	}
	if s.Code() == codes.DeadlineExceeded {
		text = fmt.Sprintf("etcd at %s: no answer within %v; it hangs, or the network drops packets",
			c.names(), after.Round(100*time.Millisecond))
	} else {
		text = connectionText(text)
		text = fmt.Sprintf("etcd at %s: %s; %s", c.names(), text, connectionStep(text))
	}
	return &unansweredError{text, []error{err}}
}

// unreachable tells of the members when none of them could be dialled at the last attempt.
func (c *connections) unreachable() (string, []error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var texts []string
	var causes []error
	for _, endpoint := range c.endpoints {
		address := endpoint
		if scheme, rest, ok := strings.Cut(endpoint, "://"); ok && scheme != "unix" {
			address = rest
		}
		if err := c.failed[address]; err != nil {
			texts, causes = append(texts, address+": "+reason(err)), append(causes, err)
		}
	}
	if len(causes) < len(c.endpoints) {
		return "", nil
	}
	step := "start it or correct etcd.endpoints"
	if d, ok := errors.AsType[*net.DNSError](causes[0]); ok && d.IsNotFound {
		step = "correct etcd.endpoints"
	} else if errors.Is(causes[0], os.ErrDeadlineExceeded) || errors.Is(causes[0], context.DeadlineExceeded) {
		step = "check the network and etcd.endpoints"
	}
	return "no answer of etcd at " + strings.Join(texts, ", ") + "; " + step, causes
}

// reason is a dialling error without what is said around it already.
func reason(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no connection within %v", connectTimeout)
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	return err.Error()
}

// names are the endpoints as errors name them.
func (c *connections) names() string { return strings.Join(c.endpoints, ", ") }

// connectionText is a message of gRPC's about a connection without its wrapping.
func connectionText(text string) string {
	if _, quoted, ok := strings.Cut(text, `desc = "`); ok {
		text = strings.TrimSuffix(quoted, `"`)
	}
	return strings.TrimPrefix(text, "transport: ")
}

// connectionStep is what to do about a connection that was made and then failed. gRPC tells why
// in words only.
func connectionStep(text string) string {
	has := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case has("does not look like a TLS handshake"), has("handshake failed: EOF"), has("handshake failed: read"):
		return "it speaks no TLS: write etcd.endpoints as http://… and leave [etcd.tls] out"
	case has("x509:"), has("failed to verify certificate"):
		return "set ca_file or server_name in [etcd.tls]"
	case has("remote error: tls:"), has("certificate required"), has("bad certificate"):
		return "it wants a client's certificate: set cert_file and key_file in [etcd.tls]"
	case has("connection timed out"), has("keepalive ping failed"):
		return "it hangs, or the network drops packets"
	case has("error reading server preface"):
		return "if it speaks TLS write etcd.endpoints as https://…, else check what listens there"
	}
	return "it closed the connection, as it does when it restarts"
}

// silent keeps an error in the chain whose text has been said already.
type silent struct{ error }

func (s silent) Error() string { return "" }
func (s silent) Unwrap() error { return s.error }

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}
