package daemon

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"go.uber.org/zap"

	"sidecar/config"
	"sidecar/internal/eventloop"
	"sidecar/proxy/tcp"
)

// A socket is an address that is listened on, for one service, or for several of protocol tcp
// that are told apart by the name that a TLS client asks for.
type socket struct {
	address  config.Address
	services []*service
	index    int         // of the address, in the list of the first service
	router   *tcp.Router // nil: all goes to the one service
	listener *eventloop.Listener
}

// plan says which sockets the services need, without opening them.
func plan(services []*service) []*socket {
	var all []*socket
	at := make(map[config.Address]*socket)
	for _, s := range services {
		for i, address := range s.config.Listen {
			k := at[address]
			// The system chooses a port for each.
			if k == nil || strings.HasSuffix(address.Addr, ":0") && address.Network == "tcp" {
				k = &socket{address: address, index: i}
				all, at[address] = append(all, k), k
			}
			k.services = append(k.services, s)
			s.sockets = append(s.sockets, k)
		}
	}
	return all
}

// routed tells whether the socket's connections are told apart by name.
func (k *socket) routed() bool { return len(k.services) > 1 || len(k.services[0].config.SNI) > 0 }

// acceptor is who gets the socket's connections.
func (k *socket) acceptor(d *Daemon) eventloop.Acceptor {
	first := k.services[0]
	if !k.routed() {
		return first.proxy
	}
	k.router = tcp.NewRouter(d.group, tcp.RouterOptions{
		Log:      d.log.With(zap.Stringer("listen", k.address)),
		Unrouted: d.metrics.Unrouted(k.address.String()),
		// The configuration has seen to it that it is the same for all.
		AcceptFrom: senders(first.config.AcceptProxyFrom),
	})
	var table []tcp.Route
	for _, s := range k.services {
		if p, ok := s.proxy.(*tcp.Proxy); ok {
			table = append(table, tcp.Route{Names: s.config.SNI, Proxy: p})
		}
	}
	k.router.SetRoutes(table)
	return k.router
}

// open begins to accept.
func (k *socket) open(d *Daemon) error {
	first := k.services[0]
	var names []string
	for _, s := range k.services {
		names = append(names, s.config.Name)
	}
	if k.address.Network == "systemd" {
		return &ListenError{Service: first.config.Name, Index: k.index, Address: k.address,
			Err: fmt.Errorf("%s: no such socket was handed over", k.address)}
	}
	ln, err := d.group.Listen(k.address.Network, k.address.Addr, k.acceptor(d), eventloop.ListenOptions{OnError: func(err error) {
		first.counts.Shard(0).Errors.Add(1)
		d.log.Warn("accepting pauses; raise LimitNOFILE, or find who holds so many connections",
			zap.Strings("services", names), zap.Error(err))
	}})
	if err != nil {
		return &ListenError{Service: first.config.Name, Index: k.index, Address: k.address, Err: err}
	}
	k.listener = ln
	for _, s := range k.services {
		d.log.Info("listens", zap.String("service", s.config.Name), zap.String("protocol", s.config.Protocol),
			zap.Stringer("address", ln.Addr()), zap.Strings("sni", s.config.SNI))
	}
	return nil
}

// close ends accepting; it may be called again.
func (k *socket) close() {
	if k.listener != nil {
		k.listener.Close()
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
