package inherit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// An Offered is a listening socket that is handed over.
type Offered struct {
	Name string   // for Sockets.Named; "" if it has none
	File *os.File // Offer closes it when it has been sent
}

// OfferOptions say what Offer hands over, and to whom it tells what happens. The functions are
// called from goroutines of Offer, never two at a time.
type OfferOptions struct {
	// Sockets returns all sockets that this process listens at, as duplicates, or an error, of which
	// the new process is told. It is called for each takeover that begins. Unless it returns an
	// error, one of Taken and Failed follows, so that what must not change while a new process is
	// at it can be held back in between.
	Sockets func() ([]Offered, error)
	// Taken is called when the new process, whose number it is, listens: this one shall drain and
	// end. It must not block. May be nil.
	Taken func(pid int)
	// Failed is called when a takeover has come to nothing and this process goes on; nothing has
	// changed for it. May be nil.
	Failed func(error)
	// Listening is called once, when a new process can come. May be nil.
	Listening func()
	// Patience is how long a new process may take from its sockets to Handover.Done; one minute
	// if it is 0.
	Patience time.Duration
}

const defaultPatience = time.Minute

// Offer waits at a unix socket for a process that wants to take over, until one has done so or
// ctx ends; it returns nil in either case. The error is that of a path that cannot be used. The
// socket has mode 0600, and is removed at the end. One that a process has left behind that is gone
// is replaced.
//
// Only processes of the same user and of root are heard, one at a time; another that comes
// meanwhile is told to try later. A takeover that is not complete when ctx ends is: the new process
// is told that this one leaves.
func Offer(ctx context.Context, path string, o OfferOptions) error {
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	f := &offer{options: o, path: path}
	if err := f.open(); err != nil {
		return fmt.Errorf("offer sockets at %s: %w", path, err)
	}
	if o.Listening != nil {
		o.Listening()
	}
	stop := context.AfterFunc(ctx, f.close)
	err := f.accept(ctx)
	stop()
	f.close()
	f.running.Wait()
	if err != nil {
		return fmt.Errorf("offer sockets at %s: %w", path, err)
	}
	return nil
}

// An offer is a running Offer.
type offer struct {
	options  OfferOptions
	path     string
	made     os.FileInfo // what was made at the path
	listener *net.UnixListener
	busy     sync.Mutex   // held by the takeover that is under way
	state    atomic.Int32 // of that one
	running  sync.WaitGroup
	closing  sync.Once
}

// States of a takeover.
const (
	open    int32 = iota
	failing       // it has failed, which is only still to be told
	taken         // it has succeeded, so there is nothing more to offer
)

var (
	errBusy  = errors.New("another process is taking over already; wait until it is done, or end it")
	errTaken = errors.New("another process has taken over; ask that one")
)

// enter begins a takeover. Who comes when one has failed and its end is not complete waits for
// that, so that the other process can try again as soon as it knows.
func (f *offer) enter() error {
	if !f.busy.TryLock() {
		if f.state.Load() == open {
			return errBusy
		}
		f.busy.Lock()
	}
	if f.state.Load() == taken {
		f.busy.Unlock()
		return errTaken
	}
	f.state.Store(open)
	return nil
}

func (f *offer) open() error {
	address := &net.UnixAddr{Name: f.path, Net: "unixpacket"}
	listener, err := net.ListenUnix(address.Net, address)
	if errors.Is(err, syscall.EADDRINUSE) && removeStale(address) {
		listener, err = net.ListenUnix(address.Net, address)
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: another process offers its sockets there, or the file is something else", err)
	}
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false) // the next process may have made its own there by then
	f.listener = listener
	// Whoever connects before this is looked at all the same.
	err = os.Chmod(f.path, 0o600)
	if err == nil {
		f.made, err = os.Lstat(f.path)
	}
	if err != nil {
		f.close()
	}
	return err
}

// removeStale removes a socket that nobody listens at any more.
func removeStale(address *net.UnixAddr) bool {
	if info, err := os.Lstat(address.Name); err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	conn, err := net.DialUnix(address.Net, nil, address)
	if err == nil {
		_ = conn.Close() // nothing was said
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED) && os.Remove(address.Name) == nil
}

// close stops listening and removes the socket, unless something else is there by now.
func (f *offer) close() {
	f.closing.Do(func() {
		if info, err := os.Lstat(f.path); err == nil && f.made != nil && os.SameFile(info, f.made) {
			_ = os.Remove(f.path) // the next one replaces it
		}
		_ = f.listener.Close() // it has nothing to lose
	})
}

// accept lets one process after the other try, until the listener is closed.
func (f *offer) accept(ctx context.Context) error {
	for {
		conn, err := f.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) {
			// There is room again at some time; until then nobody can take over.
			if !pause(ctx, time.Second) {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		f.admit(ctx, link{conn})
	}
}

// pause waits, and reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// admit decides who may talk.
func (f *offer) admit(ctx context.Context, l link) {
	pid, err := checkPeer(l.conn, os.Getuid())
	if err == nil {
		err = f.enter()
	}
	if err != nil {
		f.refuse(l, err)
		return
	}
	f.running.Go(func() {
		defer f.busy.Unlock()
		defer func() { _ = l.conn.Close() }() // all has been said
		f.takeover(ctx, l, pid)
	})
}

// refuse says why, and hangs up.
func (f *offer) refuse(l link, reason error) {
	_ = l.send(packet{Step: stepError, Error: reason.Error()}) // or the other one has gone
	_ = l.last()                                               // a close with something unread would overtake the answer
	_ = l.conn.Close()
}

// takeover is the conversation with one process.
func (f *offer) takeover(ctx context.Context, l link, pid int) {
	sockets, err := f.greet(ctx, l)
	if err != nil {
		f.state.Store(failing)
		f.refuse(l, err)
		return
	}
	err = f.hand(l, sockets)
	if err == nil {
		_, _, err = l.expect(ctx, f.options.Patience, stepTaken)
	}
	if err != nil && l.last().Step != stepTaken {
		f.state.Store(failing)
		f.fail(ctx, l, pid, err)
		return
	}
	f.state.Store(taken)
	// First the path, which the other one offers at as soon as it hears of it.
	f.close()
	_ = l.send(packet{Step: stepLeaving}) // it knows by the end, too
	if f.options.Taken != nil {
		f.options.Taken(pid)
	}
}

// fail ends a takeover that has come to nothing.
func (f *offer) fail(ctx context.Context, l link, pid int, err error) {
	switch {
	case ctx.Err() != nil:
		f.close()
		_ = l.send(packet{Step: stepLeaving}) // or the other one has gone, too
		err = errors.New("this process ends, so the other one has been told to go on alone")
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("process %d has not said within %v that it listens; the old process goes on", pid, f.options.Patience)
		f.refuse(l, err)
	case hungUp(err):
		err = fmt.Errorf("process %d has given up or ended before it listened; this one goes on", pid)
	default:
		f.refuse(l, err)
	}
	if f.options.Failed != nil {
		f.options.Failed(fmt.Errorf("takeover: %w", err))
	}
}

// greet hears what the other process wants, and finds the sockets.
func (f *offer) greet(ctx context.Context, l link) ([]Offered, error) {
	hello, _, err := l.expect(ctx, packetPatience, stepHello)
	if err != nil {
		return nil, err
	}
	if hello.Version != version {
		return nil, fmt.Errorf("the running process hands its sockets over by version %d, and was asked for version %d; stop it and start without --takeover", version, hello.Version)
	}
	return f.options.Sockets()
}

// hand sends the sockets, and closes them here.
func (f *offer) hand(l link, sockets []Offered) error {
	defer func() {
		for _, s := range sockets {
			_ = s.File.Close() // a duplicate
		}
	}()
	for begin := 0; begin < len(sockets); begin += maxRights {
		if err := sendSockets(l, sockets[begin:min(begin+maxRights, len(sockets))]); err != nil {
			return err
		}
	}
	return l.send(packet{Step: stepAll, Total: len(sockets)})
}

func sendSockets(l link, sockets []Offered) error {
	p := packet{Step: stepSockets}
	return withDescriptors(sockets, nil, func(descriptors []int) error {
		for _, s := range sockets {
			p.Names = append(p.Names, s.Name)
		}
		return l.send(p, descriptors...)
	})
}

// withDescriptors calls do with the descriptors of all, none of which is closed meanwhile. (File.Fd
// would make the sockets blocking ones, for every process that has them.)
func withDescriptors(sockets []Offered, open []int, do func([]int) error) error {
	if len(sockets) == 0 {
		return do(open)
	}
	raw, err := sockets[0].File.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	if err := raw.Control(func(fd uintptr) { done = withDescriptors(sockets[1:], append(open, int(fd)), do) }); err != nil {
		return err
	}
	return done
}
