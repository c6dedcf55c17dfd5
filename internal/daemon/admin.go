package daemon

import (
	"context"
	"fmt"
	"net"
	"os"

	"go.uber.org/zap"

	"sidecar/admin"
	"sidecar/config"
	"sidecar/tap"
)

// openAdmin opens the admin interface, unless it stays where it is.
func (b *builder) openAdmin(st *state) error {
	address := b.config.Admin.Listen
	if b.before.admin != nil && address == b.before.config.Admin.Listen {
		st.admin = b.before.admin
		return nil
	}
	if address.IsZero() {
		return nil
	}
	a := admin.New(admin.Options{
		Listen: address.String(), Listener: b.adminSocket, Version: b.options.Version, Revision: b.options.Revision,
		Healthy: b.healthy, Ready: b.missing, Status: b.Status, Service: b.service, Metrics: b.metrics.Handler(),
		Config:  func() ([]byte, error) { return []byte(b.state.Load().config.Redacted()), nil },
		Origins: b.origins, Diff: b.Compare, Actions: b.config.Admin.Actions,
		Tap:    b.watched,
		Reload: b.Reload, Drain: b.quit, Endpoint: b.operate,
		Log: b.log,
	})
	if err := a.Start(context.Background()); err != nil {
		return &AdminError{Address: address, Err: err}
	}
	st.admin = a
	return nil
}

// findAdmin looks for the admin interface's socket among those that were handed to the process. There
// may be none.
func (b *builder) findAdmin(st *state) error {
	a := st.config.Admin.Listen
	if a.IsZero() || b.before.admin != nil && a == b.before.config.Admin.Listen {
		return nil
	}
	var f *os.File
	if a.Network == "systemd" {
		files := b.inherited.Named(a.Addr)
		if len(files) != 1 {
			return &AdminError{Address: a, Err: fmt.Errorf("%s: %d such sockets were handed over; the socket unit needs FileDescriptorName=%s, for one", a, len(files), a.Addr)}
		}
		f = files[0]
	} else if f = b.inherited.At(a.Network, a.Addr); f == nil {
		return nil
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return &AdminError{Address: a, Err: err}
	}
	b.adminSocket = l
	b.made = append(b.made, func() { l.Close() })
	return nil
}

// shutdown ends an admin interface, in peace if it can.
func shutdown(a *admin.Server, log *zap.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), adminGrace)
	defer cancel()
	if err := a.Shutdown(ctx); err != nil {
		log.Warn("admin interface did not end in time", zap.Error(err))
	}
}

// An AdminError is an admin interface that could not be opened.
type AdminError struct {
	Address config.Address
	Err     error
}

func (e *AdminError) Error() string { return e.Err.Error() }
func (e *AdminError) Unwrap() error { return e.Err }

// origins are the values that hold, with where they come from.
func (d *Daemon) origins() []admin.ConfigValue {
	var all []admin.ConfigValue
	for _, v := range d.state.Load().values {
		all = append(all, admin.ConfigValue{Key: v.Path, Value: v.Text, Origin: v.Origin})
	}
	return all
}

// watched is where the requests of a service can be watched.
func (d *Daemon) watched(service string) (*tap.Point, error) {
	s := d.state.Load().service(service)
	switch {
	case s == nil:
		return nil, fmt.Errorf("%w: %q", admin.ErrNoService, service)
	case s.tap == nil:
		return nil, fmt.Errorf("service %q is of protocol tcp, which has no requests to watch", service)
	}
	return s.tap, nil
}

// operate does with an endpoint what the operator asks for.
func (d *Daemon) operate(service, id, action string) error {
	s := d.state.Load().service(service)
	if s == nil {
		return fmt.Errorf("%w: %q", admin.ErrNoService, service)
	}
	switch action {
	case "drain":
		return s.upstream.SetDrained(id, true)
	case "undrain":
		return s.upstream.SetDrained(id, false)
	case "uneject":
		return s.upstream.Uneject(id)
	}
	return fmt.Errorf("%q is nothing that is done with endpoints; it is drain, undrain or uneject", action)
}
