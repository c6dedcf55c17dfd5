package daemon

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sidecar/admin"
	"sidecar/config"
)

var (
	errNoLoader = errors.New("there is no file to load anew; restart the process to apply another configuration")
	errStopping = errors.New("the sidecar is being stopped; what is started next applies the configuration")
)

// Reload loads the configuration anew and changes over to it:
//
//	plan    what differs from what runs; what does not is not touched
//	open    sources, certificates, sockets, the admin interface; any error ends it here
//	swap    proxies take new settings, sockets other proxies; nothing can fail any more
//	retire  what is not needed any more: connections in peace, for runtime.drain at most
//
// An error leaves everything as it was. The outcome is told in the log, in metrics and to systemd.
// Reload may be called from any goroutine while Run runs; several follow each other.
func (d *Daemon) Reload(ctx context.Context) (admin.Report, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if d.serving.Err() != nil { // systemd knows that, and nothing else shall be told any more
		return admin.Report{}, errStopping
	}
	d.tell(d.systemd.Reloading("reloading the configuration"))
	report, err := d.reload(ctx)
	defer func() { d.tell(d.systemd.Ready(outcome(err))) }()
	d.metrics.Reloads.Count(err == nil)
	switch {
	case err != nil:
		d.log.Error("reload failed, everything stays as it was", zap.Error(err))
	case len(report.Changed) == 0 && len(report.Restart) == 0:
		d.log.Info("reloaded: nothing has changed")
	default:
		d.log.Info("reloaded", zap.Strings("changed", report.Changed))
		if len(report.Restart) > 0 {
			d.log.Warn("what takes effect with the next start only", zap.Strings("changed", report.Restart))
		}
	}
	d.failed.Store(&failure{err})
	return report, err
}

// outcome is what systemd shows of a reload.
func outcome(err error) string {
	if err != nil {
		return "serving; the last reload failed: " + err.Error()
	}
	return "serving; reloaded at " + time.Now().Format(time.TimeOnly)
}

// A failure is what the last reload has failed with, or nil.
type failure struct{ err error }

func (d *Daemon) reload(ctx context.Context) (admin.Report, error) {
	if d.options.Load == nil {
		return admin.Report{}, errNoLoader
	}
	cfg, values, err := d.options.Load()
	if err != nil {
		return admin.Report{}, err
	}
	before := d.state.Load()
	report := d.compare(before.config, cfg)
	if reflect.DeepEqual(before.config, cfg) {
		return report, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(d.serving, cancel)()
	b := &builder{Daemon: d, config: cfg, values: values, before: before, registries: &registries{config: cfg}}
	next, err := b.build(ctx)
	switch {
	case err != nil:
		return admin.Report{}, err
	case d.serving.Err() != nil:
		b.undo()
		return admin.Report{}, errStopping
	}
	d.swap(before, next)
	waiting, stop := context.WithTimeout(d.serving, acceptWait)
	defer stop()
	if err := d.acceptNew(waiting, next); err != nil {
		d.log.Error("a listener does not accept", zap.Error(err))
	}
	d.retiring.Go(func() { d.retire(before, next) })
	return report, nil
}

// Compare says what a reload to a configuration would change.
func (d *Daemon) Compare(text []byte) (admin.Report, error) {
	if d.options.Parse == nil {
		return admin.Report{}, errNoLoader
	}
	cfg, err := d.options.Parse(text)
	if err != nil {
		return admin.Report{}, err
	}
	return d.compare(d.state.Load().config, cfg), nil
}

// compare says what becomes of a change from one configuration to another.
func (d *Daemon) compare(from, to *config.Config) admin.Report {
	var r admin.Report
	for _, c := range config.Diff(from, to) {
		if !atStart(c.Path) {
			r.Changed = append(r.Changed, c.String())
		}
	}
	for _, c := range config.Diff(d.config, to) {
		if atStart(c.Path) {
			r.Restart = append(r.Restart, c.String())
		}
	}
	return r
}

// atStart tells whether a key takes effect when the process starts, and not in a reload.
func atStart(path string) bool {
	switch path {
	case "runtime.loops", "runtime.state_dir", "log.format", "admin.actions", "access_log.path", "access_log.format", "access_log.buffer":
		return true
	}
	return false
}

// swap has what runs go by the next state.
func (d *Daemon) swap(before, next *state) {
	for _, s := range next.services {
		for _, u := range s.units() {
			u.startOnce()
		}
		if was := before.service(s.config.Name); was != nil && was != s && was.proxy == s.proxy {
			configure(s)
		}
	}
	for _, k := range next.sockets {
		if len(k.port.waiting()) == 0 {
			d.pass(k)
		}
	}
	d.state.Store(next)
	for _, k := range before.sockets {
		if next.keeps(k.port) {
			continue
		}
		d.drop(k)
	}
	d.succeed(before, next)
	if d.options.Applied != nil {
		d.options.Applied(next.config)
	}
}

// keeps tells whether a port is in use.
func (st *state) keeps(p *port) bool {
	for _, k := range st.sockets {
		if k.port == p {
			return true
		}
	}
	return false
}

// succeed changes over from one announcement to the next. One that goes on in another form is not
// taken back: others would see the instance go and come.
func (d *Daemon) succeed(before, next *state) {
	for _, a := range before.announced {
		if next.announcement(a.config) == nil {
			d.departing = append(d.departing, a)
		}
	}
	for _, a := range next.announced {
		was := before.announcement(a.config)
		if was == a {
			continue
		}
		d.awaitDeparture(a.config)
		if was != nil {
			if reflect.DeepEqual(registryPart(before.config, a.config.Registry), registryPart(next.config, a.config.Registry)) {
				was.registrar.Keep()
			}
			was.unit.stop() // before the other one begins, which it would take back otherwise
		}
		a.unit.startOnce()
	}
}

// awaitDeparture waits until an announcement of c's ID has been taken back that an earlier reload has
// removed: the registry would hear of it behind the new one.
func (d *Daemon) awaitDeparture(c *config.Register) {
	d.departing = slices.DeleteFunc(d.departing, func(a *announced) bool {
		if a.config.ID == c.ID && a.config.Registry == c.Registry {
			a.unit.stop()
			return true
		}
		select {
		case <-a.unit.ended:
			return true
		default:
			return false
		}
	})
}

// retire ends what the next state does not need any more.
func (d *Daemon) retire(before, next *state) {
	// First, since its address may soon be asked for again.
	if before.admin != nil && before.admin != next.admin {
		shutdown(before.admin, d.log)
	}
	for _, a := range before.announced {
		if next.announcement(a.config) == nil {
			d.takeBack(a)
		}
		if next.announcement(a.config) != a {
			a.unit.stop()
		}
	}
	needed := make(map[*unit]bool)
	for _, u := range next.units() {
		needed[u] = true
	}
	d.emptyHalls(before, next)
	var leaving sync.WaitGroup
	for _, s := range before.services {
		after := next.service(s.config.Name)
		if after == nil || after.proxy != s.proxy {
			leaving.Go(func() { d.runDown(s, before.config.Runtime.Drain) })
			continue
		}
		if !needed[s.supply] {
			s.supply.stop()
			s.upstream.Retire(after.upstream)
			s.proxy.Release()
		}
		for _, u := range s.units() {
			if !needed[u] {
				u.stop()
			}
		}
	}
	leaving.Wait()
	before.registries.close(next.registries)
	if before.tracer != next.tracer {
		d.closeTracer(before.tracer)
	}
}

// emptyHalls waits for connections that have not said yet which of the services they are for, at
// sockets that are closed: each is still some service's.
func (d *Daemon) emptyHalls(before, next *state) {
	ctx, cancel := context.WithTimeout(d.lasting, before.config.Runtime.Drain)
	defer cancel()
	for _, k := range before.sockets {
		if k.port.router != nil && !next.keeps(k.port) {
			_ = k.port.router.Drain(ctx) // whoever is cut has said nothing
		}
	}
}

// runDown lets the connections of a service end that is no longer there, and then the service.
func (d *Daemon) runDown(s *service, limit time.Duration) {
	ctx, cancel := context.WithTimeout(d.lasting, limit)
	defer cancel()
	if err := s.proxy.Drain(ctx); err != nil {
		d.log.Warn("connections of a service that was removed have been cut", zap.String("service", s.config.Name), zap.Duration("after", limit))
	}
	s.unwatch()
	s.supply.stop()
	s.upstream.Retire(nil)
	s.proxy.Release()
	s.tlsUnit.stop()
	s.upstreamKey.stop()
	if d.state.Load().service(s.config.Name) == nil {
		d.metrics.Forget(s.config.Name)
	}
}

// takeBack tells the registry that a local service goes whose announcement was removed.
func (d *Daemon) takeBack(a *announced) {
	ctx, cancel := context.WithTimeout(d.lasting, leaveLimit)
	defer cancel()
	if err := a.registrar.Leave(ctx, "its announcement was removed from the sidecar's configuration"); err != nil {
		d.log.Warn("the registry was not told that a local service goes; its check will run out", zap.String("id", a.config.ID), zap.Error(err))
	}
}
