// Package daemon is the only package that knows all the others: it builds what a Config asks
// for, runs it, and ends it.
//
// Life of the process:
//
//	config ──New──> loops, metrics, clients of registries, folder of last good sets
//	                per service: sources -> upstream.Service -> proxy -> listeners
//	                per local service: health check -> registration.Registrar
//	                admin server
//	Run    ──────>  one goroutine per service (Service.Run) and Registrar, until ctx ends
//	drain  ──────>  not ready -> registries told -> listeners closed -> running requests and sessions end, up to
//	                runtime.drain -> deregistered, sources end -> loops end -> access log ends -> admin ends
//
// Every choice that the configuration has is made by one switch here; no package registers
// itself anywhere.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"

	"sidecar/accesslog"
	"sidecar/admin"
	"sidecar/config"
	"sidecar/discovery/lastgood"
	"sidecar/internal/eventloop"
	"sidecar/metrics"
)

// Options say what a Daemon is besides its configuration.
type Options struct {
	Version  string
	Revision string
	Log      *zap.Logger // nil: nothing is logged
}

// A Daemon is a running sidecar. New opens it, Run runs and ends it.
type Daemon struct {
	config   *config.Config
	options  Options
	log      *zap.Logger
	started  time.Time
	group    *eventloop.Group
	metrics  *metrics.Registry
	services []*service
	sockets  []*socket
	admin    *admin.Server // nil if it is off
	draining atomic.Bool

	accessLog *accesslog.Logger // nil if it is off

	registries registries
	store      *lastgood.Store // nil if there is no runtime.state_dir
	announced  []*announced
}

// ErrCut is what Run returns when the drain took too long, and what was still running has been
// cut.
var ErrCut = errors.New("drain: what was still running has been cut")

// adminGrace is how long running admin requests may take to end.
const adminGrace = 2 * time.Second

// New opens everything that the configuration asks for: loops, listeners, the admin
// interface. If anything cannot be opened, nothing stays open and the error says which key
// asked for it.
func New(cfg *config.Config, o Options) (*Daemon, error) {
	d := &Daemon{config: cfg, options: o, log: o.Log, started: time.Now()}
	if d.log == nil {
		d.log = zap.NewNop()
	}
	d.registries = registries{config: cfg}
	if err := d.open(); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *Daemon) open() (err error) {
	loops := d.config.Runtime.Loops
	if loops == 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	// The loops keep their threads busy; the control plane gets one of its own, so that it
	// need not wait for traffic.
	runtime.GOMAXPROCS(loops + 1)
	d.metrics = metrics.New(metrics.Options{Loops: loops, Version: d.options.Version, Revision: d.options.Revision})
	if d.group, err = eventloop.NewGroup(eventloop.Options{Loops: loops, OnPanic: d.onPanic}); err != nil {
		return err
	}
	if err := d.openAccessLog(); err != nil {
		return err
	}
	if dir := d.config.Runtime.StateDir; dir != "" {
		if d.store, err = lastgood.Open(dir, lastgood.Options{Log: d.log}); err != nil {
			return err
		}
	}
	for i := range d.config.Services {
		s, err := d.newService(&d.config.Services[i])
		if err != nil {
			return fmt.Errorf("service %q: %w", d.config.Services[i].Name, err)
		}
		d.services = append(d.services, s)
	}
	for i := range d.config.Registers {
		a, err := d.announce(&d.config.Registers[i])
		if err != nil {
			return fmt.Errorf("register %q: %w", d.config.Registers[i].Name, err)
		}
		d.announced = append(d.announced, a)
	}
	d.observe()
	// The last step, since who can ask may expect answers.
	d.sockets = plan(d.services)
	for _, k := range d.sockets {
		if err := k.open(d); err != nil {
			return err
		}
	}
	return d.openAdmin()
}

func (d *Daemon) openAdmin() error {
	address := d.config.Admin.Listen
	if address.IsZero() {
		return nil
	}
	a := admin.New(admin.Options{
		Listen: address.String(), Version: d.options.Version, Revision: d.options.Revision,
		Healthy: d.healthy, Ready: d.missing, Status: d.Status, Service: d.service, Metrics: d.metrics.Handler(),
		Config: func() ([]byte, error) { return []byte(d.config.Redacted()), nil },
		Log:    d.log,
	})
	if err := a.Start(context.Background()); err != nil {
		return &AdminError{Address: address, Err: err}
	}
	d.admin = a
	return nil
}

// An AdminError is an admin interface that could not be opened.
type AdminError struct {
	Address config.Address
	Err     error
}

func (e *AdminError) Error() string { return e.Err.Error() }
func (e *AdminError) Unwrap() error { return e.Err }

// close closes what open has opened.
func (d *Daemon) close() {
	for _, k := range d.sockets {
		k.close()
	}
	for _, a := range d.announced {
		a.close() // again if it has run, which does no harm
	}
	if d.group != nil {
		d.group.Close()
	}
	d.closeAccessLog()
	d.registries.close()
}

func (d *Daemon) onPanic(value any, stack []byte) {
	d.log.Error("panic on a loop; the connections of its task are closed, please report it",
		zap.Any("panic", value), zap.ByteString("stack", stack))
}

// AdminAddress is where the admin interface answers, with the real port, or empty if it is off.
func (d *Daemon) AdminAddress() string {
	if d.admin == nil {
		return ""
	}
	return d.admin.Address()
}

// Run serves until ctx ends, then drains for at most runtime.drain and ends everything. The
// error is ErrCut if something had to be cut. It is called once.
func (d *Daemon) Run(ctx context.Context) error {
	control, stop := context.WithCancel(context.Background())
	defer stop()
	// The store outlives the sources, so that it writes what they have said last.
	storing, stopStore := context.WithCancel(context.Background())
	defer stopStore()
	var running, store sync.WaitGroup
	if d.store != nil {
		store.Go(func() { d.store.Run(storing) })
	}
	for _, s := range d.services {
		running.Go(func() { s.upstream.Run(control) })
		if s.tls != nil {
			running.Go(func() { s.tls.Run(control) })
		}
		if s.upstreamTLS != nil {
			running.Go(func() { s.upstreamTLS.run(control) })
		}
	}
	for _, a := range d.announced {
		running.Go(func() { a.run(control) })
	}
	running.Go(func() { d.announceReady(control) })
	d.awaitFixed(ctx)
	d.log.Info("sidecar runs", zap.String("version", d.options.Version), zap.Int("services", len(d.services)),
		zap.Int("loops", len(d.group.Loops())), zap.String("admin", d.AdminAddress()))
	notify(sdnotify.SdNotifyReady)

	<-ctx.Done()
	notify(sdnotify.SdNotifyStopping)
	err := d.drain()
	stop()
	running.Wait()
	stopStore()
	store.Wait()
	d.close()
	if d.admin != nil {
		grace, cancel := context.WithTimeout(context.Background(), adminGrace)
		defer cancel()
		if e := d.admin.Shutdown(grace); e != nil {
			d.log.Warn("admin interface did not end in time", zap.Error(e))
		}
	}
	d.log.Info("sidecar has ended")
	return err
}

// notify tells systemd, if it is there. That it cannot be told is no reason to stop.
func notify(state string) { _, _ = sdnotify.SdNotify(false, state) }

// AwaitReady returns when every service's instances are known, which needs Run to run, or with
// ctx's error. It may be called from any goroutine.
func (d *Daemon) AwaitReady(ctx context.Context) error {
	for _, s := range d.services {
		select {
		case <-s.upstream.Known():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// awaitFixed returns when the instances are known that nobody has to be asked for: whoever waits
// until the sidecar runs finds these services.
func (d *Daemon) awaitFixed(ctx context.Context) {
	for _, s := range d.services {
		if slices.Equal(s.config.Discovery.Sources, []string{config.SourceStatic}) {
			select {
			case <-s.upstream.Known():
			case <-ctx.Done():
			}
		}
	}
}

// announceReady says once that every service's instances are known.
func (d *Daemon) announceReady(ctx context.Context) {
	if d.AwaitReady(ctx) != nil {
		return
	}
	d.log.Info("ready: the instances of every service are known")
	notify("STATUS=ready")
}

// drain stops accepting and waits for what is running.
func (d *Daemon) drain() error {
	d.draining.Store(true)
	d.leave()
	limit := d.config.Runtime.Drain
	d.log.Info("draining: nothing more is accepted", zap.Duration("at most", limit))
	for _, k := range d.sockets {
		k.close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := d.runOut(ctx); err != nil {
		d.log.Warn("drain took too long; what was still running has been cut", zap.Duration("limit", limit))
		return ErrCut
	}
	d.log.Info("drained: nothing was cut")
	return nil
}

// runOut waits for what was accepted to end, and cuts it when ctx ends first.
func (d *Daemon) runOut(ctx context.Context) error {
	var all sync.WaitGroup
	// Who has not said a name yet is still to become some service's session.
	unnamed := make([]error, len(d.sockets))
	for i, k := range d.sockets {
		if k.router != nil {
			all.Go(func() { unnamed[i] = k.router.Drain(ctx) })
		}
	}
	all.Wait()
	errs := make([]error, len(d.services))
	for i, s := range d.services {
		all.Go(func() { errs[i] = s.proxy.Drain(ctx) })
	}
	all.Wait()
	return errors.Join(errors.Join(unnamed...), errors.Join(errs...))
}

// healthy reports whether every loop still turns.
func (d *Daemon) healthy(ctx context.Context) error {
	if err := d.group.EachWait(ctx, func(*eventloop.Loop) {}); err != nil {
		return fmt.Errorf("an event loop does not answer: %w", err)
	}
	return nil
}
