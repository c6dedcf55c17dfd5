package healthcheck

import (
	"context"
	"net"
)

// TCPOptions say how a TCP probe connects.
type TCPOptions struct {
	Transport Transport
	// Protocols are offered by ALPN instead of those of the transport's config. None is
	// spoken.
	Protocols []string
}

// TCP returns a Prober that passes an address that accepts a connection, and takes the TLS
// handshake if there is one. It closes the connection without sending anything else.
func TCP(o TCPOptions) Prober { return &tcpProber{o} }

type tcpProber struct{ options TCPOptions }

func (p *tcpProber) Probe(ctx context.Context, address string) error {
	t := p.options.Transport
	l, err := t.connect(ctx, address, p.options.Protocols)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	// A reset spares both sides the TIME_WAIT that each probe would leave otherwise. What was
	// sent would be lost by it, and be an error in the server's log.
	if c, ok := l.raw.(*net.TCPConn); ok && t.TLS == nil && len(t.Header) == 0 {
		_ = c.SetLinger(0)
	}
	return l.confirmed(ctx)
}
