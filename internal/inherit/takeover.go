package inherit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// ErrNobody is what TakeOver returns where no process offers its sockets.
var ErrNobody = errors.New("no process offers its sockets there")

// A Handover is a takeover from the sockets to its end. Exactly one of Done and Abort is called.
type Handover struct {
	link link
	pid  int
}

// PID is the number of the old process.
func (h *Handover) PID() int { return h.pid }

// TakeOver asks the process that waits in Offer at a path for its listening sockets. From then on
// both have them: what this process accepts is its own, and the other one goes on to accept
// until Handover.Done.
//
// The error wraps ErrNobody if nobody waits there. It says why where the other process refuses:
// another user, another takeover at the same time, another version. Nothing stays open then, and the
// other process goes on. It blocks until ctx ends at most.
func TakeOver(ctx context.Context, path string) (*Sockets, *Handover, error) {
	h, err := call(ctx, path)
	if err != nil {
		return nil, nil, fmt.Errorf("take over from %s: %w", path, err)
	}
	s := &Sockets{}
	err = h.link.send(packet{Step: stepHello, Version: version})
	if err != nil && !hungUp(err) {
		h.Abort()
		return nil, nil, fmt.Errorf("take over from %s: %w", path, err)
	}
	for done := false; !done; {
		if done, err = h.fetch(ctx, s); err != nil {
			s.Close()
			h.Abort()
			if hungUp(err) {
				err = errors.New("the process there has ended meanwhile")
			}
			return nil, nil, fmt.Errorf("take over from %s: %w", path, err)
		}
	}
	return s, h, nil
}

// call connects to the process that offers.
func call(ctx context.Context, path string) (*Handover, error) {
	var d net.Dialer
	conn, err := d.DialUnix(ctx, "unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w: %w", ErrNobody, err)
	case errors.Is(err, syscall.EPROTOTYPE):
		return nil, fmt.Errorf("another kind of socket is there, perhaps that of the admin interface: %w", err)
	case err != nil:
		return nil, err
	}
	h := &Handover{link: link{conn}}
	if h.pid, err = checkPeer(conn, os.Getuid()); err != nil {
		h.Abort()
		return nil, err
	}
	return h, nil
}

// fetch takes the next sockets, until all are here.
func (h *Handover) fetch(ctx context.Context, s *Sockets) (done bool, err error) {
	p, descriptors, err := h.link.expect(ctx, packetPatience, stepSockets, stepAll)
	if err != nil {
		return false, err
	}
	if p.Step == stepAll {
		if p.Total != s.Len() {
			return false, fmt.Errorf("%d sockets were announced and %d have come", p.Total, s.Len())
		}
		return true, nil
	}
	if len(descriptors) == 0 || len(descriptors) != len(p.Names) || s.Len()+len(descriptors) > maxSockets {
		closeEach(descriptors)
		return false, fmt.Errorf("%d sockets have come with %d names; at most %d are taken", len(descriptors), len(p.Names), maxSockets)
	}
	for i, fd := range descriptors {
		k, err := newSocket(fd, p.Names[i])
		if err != nil {
			closeEach(descriptors[i:])
			return false, fmt.Errorf("what has come as a socket %w", err)
		}
		s.waiting = append(s.waiting, k)
	}
	return false, nil
}

// Done tells the old process that this one listens, so that it drains and ends. It returns nil
// when the old one has said that it leaves, or is gone: from then on this process is alone, and may
// offer its sockets at the same path. With an error the old process goes on (it has waited for
// too long, say) and this one should end; but if ctx has ended meanwhile nobody knows.
func (h *Handover) Done(ctx context.Context) error {
	defer h.Abort()
	// If it has hung up there may still be a word about why.
	err := h.link.send(packet{Step: stepTaken})
	if err == nil || hungUp(err) {
		_, _, err = h.link.expect(ctx, packetPatience, stepLeaving)
	}
	if err != nil && !hungUp(err) {
		return fmt.Errorf("take over: %w", err)
	}
	return nil
}

// Abort leaves everything to the old process, which goes on as if nothing had happened. The
// sockets that were taken are for the caller to close. After Done it does nothing.
func (h *Handover) Abort() { _ = h.link.conn.Close() }

// hungUp tells whether the other process has closed its end.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
