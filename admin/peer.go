package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"golang.org/x/sys/unix"
)

// A peer is who has connected.
type peer struct {
	unix bool   // by a unix socket, whose permissions have let it
	name string // for the log
}

type peerKey struct{}

// withPeer remembers who a connection is from.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	p := peer{name: c.RemoteAddr().String()}
	if u, ok := c.(*net.UnixConn); ok {
		p = peer{unix: true, name: "unix, " + owner(u)}
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// owner says whose process is at the other end of a unix socket.
func owner(c *net.UnixConn) string {
	raw, err := c.SyscallConn()
	if err != nil {
		return "uid unknown"
	}
	text := "uid unknown"
	_ = raw.Control(func(fd uintptr) { // it fails when the connection is closed, and then nobody asks
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			text = fmt.Sprintf("uid %d", cred.Uid)
		}
	})
	return text
}

// peerOf is who has sent a request. Without a connection, as in tests, the address decides.
func peerOf(r *http.Request, listen string) peer {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		return p
	}
	return peer{unix: strings.HasPrefix(listen, "unix:"), name: r.RemoteAddr}
}
