package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"

	"sidecar/config"
	"sidecar/internal/eventloop"
	"sidecar/internal/inherit"
	"sidecar/proxy/tcp"
)

// A socket is an address that is listened on, for one service, or for several of protocol tcp
// that are told apart by the name that a TLS client asks for. Like its state it is not changed; the
// port, which is what is open, goes from one state to the next.
type socket struct {
	address  config.Address
	services []*service
	index    int // of the address, in the list of the first service
	port     *port
}

// A port is what is open for a socket.
type port struct {
	mu        sync.Mutex            // guards the two that follow
	bound     []*eventloop.Socket   // until accepted from
	listeners []*eventloop.Listener // several where systemd has given several one name

	router *tcp.Router // nil until connections had to be told apart
	socket atomic.Pointer[socket]
}

// open are the listeners.
func (p *port) open() []*eventloop.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.listeners)
}

// waiting are the sockets from which nobody accepts yet.
func (p *port) waiting() []*eventloop.Socket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.bound)
}

// opened takes note of a listener that has come of the first socket.
func (p *port) opened(ln *eventloop.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bound, p.listeners = p.bound[1:], append(p.listeners, ln)
}

// plan says which sockets the services need, without opening them.
func plan(services []*service) []*socket {
	var all []*socket
	at := make(map[config.Address]*socket)
	for _, s := range services {
		for i, address := range s.config.Listen {
			k := at[address]
			if k == nil || k.anonymous() {
				k = &socket{address: address, index: i}
				all, at[address] = append(all, k), k
			}
			k.services = append(k.services, s)
		}
	}
	return all
}

// anonymous tells whether the system chooses the port, another one for each socket.
func (k *socket) anonymous() bool {
	return k.address.Network == "tcp" && strings.HasSuffix(k.address.Addr, ":0")
}

// succeeds tells whether the socket goes on with the port of o.
func (k *socket) succeeds(o *socket) bool {
	if k.anonymous() && (k.index != o.index || k.services[0].config.Name != o.services[0].config.Name) {
		return false
	}
	return k.address == o.address
}

// routed tells whether the socket's connections are told apart by name.
func (k *socket) routed() bool { return len(k.services) > 1 || len(k.services[0].config.SNI) > 0 }

func (k *socket) names() []string {
	var names []string
	for _, s := range k.services {
		names = append(names, s.config.Name)
	}
	return names
}

// sockets opens what the services listen on, and goes on with what is open.
func (b *builder) sockets(st *state) error {
	st.sockets = plan(st.services)
	var missing []*socket
	for _, k := range st.sockets {
		if i := slices.IndexFunc(b.before.sockets, k.succeeds); i >= 0 {
			k.port = b.before.sockets[i].port
			continue
		}
		k.port = &port{}
		b.made = append(b.made, k.port.close)
		var err error
		if k.port.bound, err = b.find(k.address); err != nil {
			return k.failed(err)
		}
		if len(k.port.bound) == 0 {
			missing = append(missing, k)
		}
	}
	if err := b.findAdmin(st); err != nil {
		return err
	}
	// What nobody wants is closed first: it may be in the way of what is wanted instead, such as a port
	// of one address in that of the same port of all.
	for _, what := range b.inherited.Close() {
		b.log.Warn("a socket that was handed over is in no service's listen, and is closed", zap.String("socket", what))
	}
	for _, k := range missing {
		s, err := eventloop.Bind(k.address.Network, k.address.Addr)
		if err != nil {
			return k.failed(b.explain(k, err))
		}
		k.port.bound = []*eventloop.Socket{s}
	}
	return nil
}

// failed is an error that says which socket it was.
func (k *socket) failed(err error) error {
	return &ListenError{Service: k.services[0].config.Name, Index: k.index, Address: k.address, Err: err}
}

// errOurs goes with an address that is in use by this process itself.
var errOurs = errors.New("what this sidecar listens on now is in the way; take that out in one reload and this in with the next, or restart")

// explain says so where a socket that a reload is about to close keeps another from being opened, as
// that of one address does for the same port of all.
func (b *builder) explain(k *socket, err error) error {
	if !errors.Is(err, syscall.EADDRINUSE) || k.address.Network != "tcp" {
		return err
	}
	for _, o := range b.before.sockets {
		for _, ln := range o.port.open() {
			if tcp, ok := ln.Addr().(*net.TCPAddr); ok && tcp.Port == int(k.address.AddrPort().Port()) {
				return fmt.Errorf("%w: %w (%s)", err, errOurs, tcp)
			}
		}
	}
	return err
}

// acceptNew begins to accept from all sockets that are bound, from each as soon as the instances of
// its services are known, or when ctx ends: clients wait in its queue meanwhile, and would be refused
// otherwise.
func (d *Daemon) acceptNew(ctx context.Context, st *state) error {
	errs := make([]error, len(st.sockets))
	var all sync.WaitGroup
	for i, k := range st.sockets {
		if len(k.port.waiting()) == 0 {
			continue
		}
		all.Go(func() {
			for _, s := range k.services {
				select {
				case <-s.upstream.Known():
				case <-ctx.Done():
				}
			}
			if err := d.accept(k); err != nil {
				errs[i] = &ListenError{Service: k.services[0].config.Name, Index: k.index, Address: k.address, Err: err}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// find looks for a socket among those that were handed to the process. There may be none.
func (b *builder) find(a config.Address) (bound []*eventloop.Socket, err error) {
	var files []*os.File
	if a.Network != "systemd" {
		if f := b.inherited.At(a.Network, a.Addr); f != nil {
			files = append(files, f)
		}
	} else if files = b.inherited.Named(a.Addr); len(files) == 0 {
		return nil, fmt.Errorf("%s: no such socket was handed over; the socket unit needs FileDescriptorName=%s, and a socket that a reload has dropped is back after a restart", a, a.Addr)
	}
	for _, f := range files {
		s, e := eventloop.Adopt(f)
		f.Close()
		if e != nil {
			err = e
			continue
		}
		// The file of a unix socket stays: it is a unit's, or systemd's store has the socket as well, or the
		// other process goes on until the handover is done.
		bound = append(bound, s)
	}
	return bound, err
}

// accept begins to accept from a socket that is bound.
func (d *Daemon) accept(k *socket) error {
	p := k.port
	p.socket.Store(k)
	acceptor := d.acceptor(k)
	for _, s := range p.waiting() {
		ln, err := d.group.Accept(s, acceptor, eventloop.ListenOptions{OnError: func(err error) {
			now := p.socket.Load()
			now.services[0].counts.Shard(0).Errors.Add(1)
			d.pauses(now.names(), err)
		}})
		if err != nil {
			return err
		}
		p.opened(ln)
		for _, s := range k.services {
			d.log.Info("listens", zap.String("service", s.config.Name), zap.String("protocol", s.config.Protocol),
				zap.Stringer("address", ln.Addr()), sni(s.config.SNI))
		}
		d.keepSocket(k, ln)
	}
	return nil
}

// acceptor is who gets the socket's connections.
func (d *Daemon) acceptor(k *socket) eventloop.Acceptor {
	first := k.services[0]
	if !k.routed() {
		return first.proxy
	}
	// The configuration has seen to it that it is the same for all.
	from := senders(first.config.AcceptProxyFrom)
	if k.port.router == nil {
		k.port.router = tcp.NewRouter(d.group, tcp.RouterOptions{
			Log: d.log.With(zap.Stringer("listen", k.address)), Unrouted: d.metrics.Unrouted(k.address.String()),
		})
	}
	var table []tcp.Route
	for _, s := range k.services {
		if p, ok := s.proxy.(*tcp.Proxy); ok {
			table = append(table, tcp.Route{Names: s.config.SNI, Proxy: p})
		}
	}
	k.port.router.SetRoutes(from, table)
	return k.port.router
}

// pass gives the connections that are accepted from now on to the socket's services.
func (d *Daemon) pass(k *socket) {
	k.port.socket.Store(k)
	acceptor := d.acceptor(k)
	for _, ln := range k.port.open() {
		ln.SetAcceptor(acceptor)
	}
}

// storable tells whether the process that is started next would look for the socket by its address.
func (k *socket) storable() bool { return k.address.Network != "systemd" && !k.anonymous() }

// keepSocket has systemd keep the socket for the process that is started next.
func (d *Daemon) keepSocket(k *socket, ln *eventloop.Listener) {
	if !k.storable() || !inherit.Stores() {
		return
	}
	f, err := ln.File()
	if err == nil {
		err = inherit.Store(f, inherit.StoreName(k.address.Network, k.address.Addr))
		f.Close()
	}
	if err != nil {
		d.log.Warn("systemd does not keep a listening socket, so that a restart will refuse connections for a moment",
			zap.Stringer("address", k.address), zap.Error(err))
		return
	}
	ln.Keep()
}

// drop ends listening for good: no later process goes on with the socket.
func (d *Daemon) drop(k *socket) {
	k.port.close()
	d.metrics.ForgetSocket(k.address.String())
	if !k.storable() || !inherit.Stores() {
		return
	}
	if k.address.Network == "unix" {
		os.Remove(k.address.Addr)
	}
	if err := inherit.Unstore(inherit.StoreName(k.address.Network, k.address.Addr)); err != nil {
		d.log.Warn("systemd goes on to keep a listening socket that is not needed any more", zap.Stringer("address", k.address), zap.Error(err))
	}
}

// close ends listening; it may be called again.
func (p *port) close() {
	p.mu.Lock()
	bound := p.bound
	p.bound = nil
	p.mu.Unlock()
	for _, s := range bound {
		s.Close()
	}
	for _, ln := range p.open() {
		ln.Close()
	}
}

// A ListenError is a listener that could not be opened.
type ListenError struct {
	Service string
	Index   int // in the service's list
	Address config.Address
	Err     error
}

func (e *ListenError) Error() string {
	text := fmt.Sprintf("service %q: %v", e.Service, e.Err)
	switch {
	case errors.Is(e.Err, errOurs):
	case errors.Is(e.Err, syscall.EADDRINUSE):
		text += "; stop the process that holds it (ss -ltnp shows which), or change the service's listen"
	case errors.Is(e.Err, syscall.EACCES):
		text += "; ports below 1024 need CAP_NET_BIND_SERVICE, a unix socket a folder that may be written"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		text += "; this host has no such address"
	}
	return text
}

func (e *ListenError) Unwrap() error { return e.Err }

// sni is a field of the log, for those who have names.
func sni(names []string) zap.Field {
	if len(names) == 0 {
		return zap.Skip()
	}
	return zap.Strings("sni", names)
}
