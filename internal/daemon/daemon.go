// Package daemon is the only package that knows all the others: it builds what a Config asks
// for, runs it, and ends it.
//
// Life of the process:
//
//	New    ──────>  loops, metrics, folder of last good sets, and the first state, which a builder makes of the
//	                config: clients of registries
//	                per service: sources -> upstream.Service -> proxy -> sockets, bound
//	                per local service: health check -> registration.Registrar
//	                admin server
//	Run    ──────>  units start (Service.Run, Registrar, certificates), sockets accept when instances are known
//	Reload ──────>  another state, sharing what stays the same: plan, open, swap, retire (reload.go)
//	drain  ──────>  not ready -> registries told -> listeners closed -> running requests and sessions end, up to
//	                runtime.drain -> deregistered, sources end -> loops end -> access log ends -> admin ends;
//	                the sockets may be another process's by then (takeover.go)
//
// Every choice that the configuration has is made by one switch here; no package registers
// itself anywhere.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sidecar/accesslog"
	"sidecar/config"
	"sidecar/discovery/lastgood"
	"sidecar/internal/eventloop"
	"sidecar/internal/inherit"
	systemd "sidecar/internal/notify"
	"sidecar/metrics"
)

// Options say what a Daemon is besides its configuration.
type Options struct {
	Version  string
	Revision string
	Log      *zap.Logger // nil: nothing is logged

	// Load loads the configuration anew, for Reload; nil: it cannot be reloaded. Applied is told of
	// one that runs now; it may be nil.
	Load    func() (*config.Config, []config.Value, error)
	Applied func(*config.Config)
	// Values are those of the configuration that it is started with, and Parse reads one as Load would,
	// from text. Either may be nil.
	Values []config.Value
	Parse  func(text []byte) (*config.Config, error)
	// Warming is how long a reload waits for new sources of services that serve; 0: DefaultWarming.
	Warming time.Duration
	// Stopping is called when a stop begins, whoever has asked for it; it may be nil.
	Stopping func()
	// File is the configuration file, for runtime.watch_config; empty: there is none.
	File string

	// LostLines is how many lines Log could not write so far; nil: nobody knows.
	LostLines func() uint64

	// Inherited are sockets that were handed to the process; nil: none. They are the Daemon's.
	Inherited *inherit.Sockets
	// Handover ends the process that they come from, when this one serves; nil: there is none.
	Handover *inherit.Handover
	// Takeover is the path of the unix socket at which this process waits for one that wants to take
	// over; empty: it does not.
	Takeover string
}

// A Daemon is a running sidecar. New opens it, Run runs and ends it.
type Daemon struct {
	config    *config.Config // that it was started with
	options   Options
	log       *zap.Logger
	started   time.Time
	group     *eventloop.Group
	systemd   *systemd.Systemd
	inherited *inherit.Sockets
	metrics   *metrics.Registry
	draining  atomic.Bool

	accessLog *accesslog.Logger // nil if it is off
	store     *lastgood.Store   // nil if there is no runtime.state_dir
	tracers   tracers

	state     atomic.Pointer[state]
	reloading sync.Mutex   // held by a reload, and by what begins and ends Run
	departing []*announced // removed by reloads, perhaps not taken back yet; guarded by reloading
	failed    atomic.Pointer[failure]
	retiring  sync.WaitGroup  // what the states before still have
	serving   context.Context // ends when a stop begins
	leaving   context.CancelFunc
	ending    context.Context // ends when Run shall, because somebody has asked for it
	quit      context.CancelFunc
	succeeded atomic.Bool // one does
	reserve   reserve
	lasting   context.Context // ends when nothing may last any longer
	cut       context.CancelFunc
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
	d := &Daemon{config: cfg, options: o, log: o.Log, started: time.Now(), systemd: systemd.New(), inherited: o.Inherited}
	if d.inherited == nil {
		d.inherited = new(inherit.Sockets)
	}
	if d.log == nil {
		d.log = zap.NewNop()
	}
	d.ending, d.quit = context.WithCancel(context.Background())
	d.serving, d.leaving = context.WithCancel(context.Background())
	d.lasting, d.cut = context.WithCancel(context.Background())
	d.reloading.Lock() // until Run runs
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
	if d.group, err = eventloop.NewGroup(eventloop.Options{Loops: loops, OnPanic: d.onPanic, Spare: d.spare}); err != nil {
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
	nothing := &state{config: &config.Config{}, registries: &registries{config: &config.Config{}}}
	d.state.Store(nothing)
	b := &builder{Daemon: d, config: d.config, values: d.options.Values, before: nothing, registries: &registries{config: d.config}}
	d.observe()
	st, err := b.build(context.Background())
	if err != nil {
		return err
	}
	d.state.Store(st)
	return nil
}

// close closes what open has opened. What runs has ended.
func (d *Daemon) close() {
	d.quit()
	d.leaving()
	d.cut()
	if st := d.state.Load(); st != nil {
		for _, k := range st.sockets {
			k.port.close()
		}
		for _, a := range st.announced {
			a.close() // again if it has run, which does no harm
		}
	}
	if d.group != nil {
		d.group.Close()
	}
	d.closeAccessLog()
	if st := d.state.Load(); st != nil {
		d.closeTracer(st.tracer)
		st.registries.close(nil)
	}
}

func (d *Daemon) onPanic(value any, stack []byte) {
	d.log.Error("panic on a loop; the connections of its task are closed, please report it",
		zap.Any("panic", value), zap.ByteString("stack", stack))
}

// AdminAddress is where the admin interface answers, with the real port, or empty if it is off.
func (d *Daemon) AdminAddress() string {
	if a := d.state.Load().admin; a != nil {
		return a.Address()
	}
	return ""
}

// Run serves until ctx ends, or another process has taken over, then drains for at most
// runtime.drain and ends everything. The error is ErrCut if something had to be cut. It is called once.
func (d *Daemon) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.ending, cancel)()
	control, stop := context.WithCancel(context.Background())
	defer stop()
	offering, stopOffering := context.WithCancel(control)
	defer stopOffering()
	// The store outlives the sources, so that it writes what they have said last.
	storing, stopStore := context.WithCancel(context.Background())
	defer stopStore()
	var running, store sync.WaitGroup
	if d.store != nil {
		store.Go(func() { d.store.Run(storing) })
	}
	err := d.begin(ctx)
	if err == nil {
		running.Go(func() { d.announceReady(control) })
		running.Go(func() { d.feedWatchdog(control) })
		running.Go(func() { d.watchConfig(control) })
		running.Go(func() { d.offer(offering) })
		<-ctx.Done()
	}
	d.draining.Store(true)
	if d.options.Stopping != nil {
		d.options.Stopping()
	}
	d.leaving()
	stopOffering() // a takeover that is under way, too
	d.settle()
	for _, s := range d.state.Load().services {
		s.unwatch()
	}
	d.tell(d.systemd.Stopping("draining: nothing more is accepted"))
	if e := d.drain(); err == nil {
		err = e
	}
	stop()
	running.Wait()
	d.endUnits()
	stopStore()
	store.Wait()
	admin := d.state.Load().admin
	d.close()
	if admin != nil && !d.succeeded.Load() {
		shutdown(admin, d.log)
	}
	d.log.Info("sidecar has ended")
	return err
}

// acceptWait is how long clients wait in the queues of listening sockets for a registry that does not
// answer, before they are told so.
const acceptWait = 3 * time.Second

// begin starts everything, and returns when the sidecar accepts.
func (d *Daemon) begin(ctx context.Context) (err error) {
	defer d.reloading.Unlock()
	st := d.state.Load()
	defer func() {
		if err != nil && d.options.Handover != nil { // the other process goes on with all of it
			d.succeeded.Store(true)
			d.keep()
		}
	}()
	for _, u := range st.units() {
		u.startOnce()
	}
	waiting, cancel := context.WithTimeout(ctx, acceptWait)
	defer cancel()
	if err := d.acceptNew(waiting, st); err != nil {
		return err
	}
	d.log.Info("sidecar runs", zap.String("version", d.options.Version), zap.Int("services", len(st.services)),
		zap.Int("loops", len(d.group.Loops())), zap.String("admin", d.AdminAddress()))
	d.tell(d.systemd.Ready("serving"))
	return d.handOver(ctx)
}

// tell makes no more of it than a line when systemd could not be told something.
func (d *Daemon) tell(err error) {
	if err != nil {
		d.log.Warn("systemd could not be told how the sidecar is", zap.Error(err))
	}
}

// feedWatchdog tells systemd that the loops turn, until ctx ends.
func (d *Daemon) feedWatchdog(ctx context.Context) {
	err := d.systemd.Watchdog(ctx, d.healthy, func(err error) {
		d.log.Error("systemd is not told that the sidecar is alive, and will restart it", zap.Error(err))
	})
	if err != nil {
		d.log.Warn("there is no watchdog", zap.Error(err))
	}
}

// settle waits for a reload that is under way; there is none after serving has ended.
func (d *Daemon) settle() {
	d.reloading.Lock()
	defer d.reloading.Unlock()
}

// endUnits ends all that runs beside the loops.
func (d *Daemon) endUnits() {
	all := d.state.Load().units()
	for _, u := range all {
		u.end()
	}
	for _, u := range all {
		u.stop()
	}
}

// AwaitReady returns when every service's instances are known, which needs Run to run, or with
// ctx's error. It may be called from any goroutine.
func (d *Daemon) AwaitReady(ctx context.Context) error {
	for _, s := range d.state.Load().services {
		select {
		case <-s.upstream.Known():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// announceReady says once that every service's instances are known.
func (d *Daemon) announceReady(ctx context.Context) {
	if d.AwaitReady(ctx) != nil {
		return
	}
	if d.serving.Err() != nil {
		return
	}
	d.log.Info("ready: the instances of every service are known")
	d.tell(d.systemd.Status("ready: the instances of every service are known"))
}

// drain stops accepting and waits for what is running.
func (d *Daemon) drain() error {
	if !d.succeeded.Load() {
		d.leave()
	} else if a := d.state.Load().admin; a != nil {
		shutdown(a, d.log) // who asks there means the process that goes on
	}
	limit := d.state.Load().config.Runtime.Drain
	d.log.Info("draining: nothing more is accepted", zap.Duration("at most", limit))
	for _, k := range d.state.Load().sockets {
		k.port.close()
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
	st := d.state.Load()
	var all sync.WaitGroup
	// Who has not said a name yet is still to become some service's session.
	unnamed := make([]error, len(st.sockets))
	for i, k := range st.sockets {
		if k.port.router != nil {
			all.Go(func() { unnamed[i] = k.port.router.Drain(ctx) })
		}
	}
	all.Wait()
	errs := make([]error, len(st.services))
	for i, s := range st.services {
		all.Go(func() { errs[i] = s.proxy.Drain(ctx) })
	}
	all.Wait()
	// What reloads have removed has its own limit, and this one.
	context.AfterFunc(ctx, d.cut)
	d.retiring.Wait()
	return errors.Join(errors.Join(unnamed...), errors.Join(errs...))
}

// healthy reports whether every loop still turns.
func (d *Daemon) healthy(ctx context.Context) error {
	if err := d.group.EachWait(ctx, func(*eventloop.Loop) {}); err != nil {
		return fmt.Errorf("an event loop does not answer: %w", err)
	}
	return nil
}
