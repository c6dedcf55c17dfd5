package healthcheck

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
)

// TCP returns a Prober that passes an address that accepts a connection. It closes the
// connection at once, without sending anything.
func TCP() Prober { return tcp{} }

type tcp struct{}

func (tcp) Probe(ctx context.Context, address string) error {
	conn, err := dial(ctx, address)
	if err != nil {
		return err
	}
	// A reset spares both sides the TIME_WAIT that each probe would leave otherwise.
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	_ = conn.Close()
	return nil
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
