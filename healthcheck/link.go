package healthcheck

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A Transport says what comes between a connection and what a probe asks. The zero value is
// plain text.
type Transport struct {
	// Header is sent first, such as that of the PROXY protocol; empty: none. It is sent
	// outside TLS.
	Header []byte
	// TLS returns what the address is spoken to with; nil: plain text. It is asked for each
	// probe, so that new files count, and its config is not changed. A config without a
	// ServerName gets the host of the address, and each prober offers the protocols by ALPN
	// that it speaks. No session is resumed: a probe that resumed one would not see the
	// certificate that is there now.
	TLS func() *tls.Config
	// Explain puts the error of a handshake, as crypto/tls returns it, into words for a
	// reason; nil: they are those of crypto/tls.
	Explain func(error) error
}

// connect returns a connection whose handshake has ended well; whoever calls it closes it.
// Protocols are offered by ALPN; nil: those of the config.
func (t Transport) connect(ctx context.Context, address string, protocols []string) (*link, error) {
	raw, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: raw, raw: raw, explain: t.Explain}
	if err := l.begin(ctx, t, address, protocols); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return l, nil
}

// A link is a probe's connection.
type link struct {
	net.Conn // what the probe speaks on: TLS, or the same as raw
	raw      net.Conn
	tls      *tls.Conn // nil: plain text
	explain  func(error) error
	refused  atomic.Pointer[error] // by the server, when our part of the handshake was over
}

func (l *link) begin(ctx context.Context, t Transport, address string, protocols []string) error {
	// A new socket takes these few bytes at once.
	if _, err := l.raw.Write(t.Header); err != nil {
		return fmt.Errorf("sending the header: %w", err)
	}
	if t.TLS == nil {
		return nil
	}
	config := t.TLS().Clone()
	config.ClientSessionCache = nil
	if host, _, err := net.SplitHostPort(address); err == nil && config.ServerName == "" {
		config.ServerName = host
	}
	if protocols != nil {
		config.NextProtos = slices.Clone(protocols)
	}
	l.tls = tls.Client(l.raw, config)
	if err := l.tls.HandshakeContext(ctx); err != nil {
		return l.inWords(err)
	}
	l.Conn = l.tls
	// A server may take the handshake without having heard of ALPN, but not with HTTP/2
	// (RFC 9113, 3.2).
	if slices.Equal(protocols, []string{"h2"}) && l.tls.ConnectionState().NegotiatedProtocol != "h2" {
		return errNoHTTP2
	}
	return nil
}

var errNoHTTP2 = errors.New("the endpoint speaks none of the protocols that were offered by ALPN")

func (l *link) inWords(err error) error {
	if l.explain == nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return l.explain(err)
}

// Read keeps what the server says against the handshake. In TLS 1.3 it looks at the client's
// certificate only when the client has ended its part.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	var op *net.OpError
	if l.tls != nil && errors.As(err, &op) && op.Op == "remote error" {
		why := l.inWords(err)
		l.refused.CompareAndSwap(nil, &why)
	}
	return n, err
}

// Write reads on when it fails: what the server has said before it closed may be why.
func (l *link) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	if err != nil && l.tls != nil {
		l.drain()
	}
	return n, err
}

// drain reads to the end, within bounds. A connection that cannot be written to is broken, and
// there is nothing to wait for.
func (l *link) drain() {
	b := make([]byte, 1<<10)
	for range maxResponseBytes / len(b) {
		if _, err := l.Read(b); err != nil {
			return
		}
	}
}

// why returns the cause behind err, an error of the probe: the server's refusal, if there is
// one.
func (l *link) why(err error) error {
	if refused := l.refused.Load(); refused != nil {
		return *refused
	}
	return err
}

// interruptedBy ends whatever waits for the connection when ctx ends. The function that it returns
// has to be called when nothing does any more; ctx has no effect on the connection after that.
func (l *link) interruptedBy(ctx context.Context, interrupt func()) (done func()) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		interrupt()
		close(interrupted)
	})
	return func() {
		if !stop() {
			<-interrupted
		}
	}
}

// within sets the deadline of ctx, and interrupts reads and writes when it is cancelled.
func (l *link) within(ctx context.Context) (done func()) {
	if deadline, ok := ctx.Deadline(); ok {
		_ = l.raw.SetDeadline(deadline)
	}
	return l.interruptedBy(ctx, func() { _ = l.raw.SetDeadline(time.Unix(1, 0)) })
}

// confirmed waits until the server has taken the handshake: before TLS 1.3 it has when the
// client's part is over, and afterwards it may still refuse the client's certificate. It is told
// that nothing else comes, and says so too, or why not. If it says nothing in all the time of
// ctx, it has not refused.
func (l *link) confirmed(ctx context.Context) error {
	if l.tls == nil || l.tls.ConnectionState().Version < tls.VersionTLS13 {
		return nil
	}
	defer l.within(ctx)()
	_ = l.tls.CloseWrite() // if the server has closed, reading tells
	if half, ok := l.raw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = l.Read(make([]byte, 1))
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return err
	}
	return l.why(nil)
}

// dial connects to "host:port" or "unix:/path".
func dial(ctx context.Context, address string) (net.Conn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, connectError(err)
	}
	return conn, nil
}

// connectError shortens the usual answers to a dial: whoever reads the reason knows the
// address already.
func connectError(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return &probeError{"connect: " + errno.Error(), err}
	}
	return &probeError{"connect: " + err.Error(), err}
}

// A probeError has a text of its own and keeps the error it came from.
type probeError struct {
	text  string
	cause error
}

func (e *probeError) Error() string { return e.text }
func (e *probeError) Unwrap() error { return e.cause }
