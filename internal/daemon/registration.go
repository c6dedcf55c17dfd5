package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"sidecar/config"
	"sidecar/healthcheck"
	"sidecar/registration"
	registerconsul "sidecar/registration/consul"
	registeretcd "sidecar/registration/etcd"
	"sidecar/upstream"
)

// leaveLimit is how long a stop waits for a registry to be told that the local service goes. One
// that does not answer is told nothing; its check runs out.
const leaveLimit = 3 * time.Second

// An announced is a local service that is announced, and its health check.
type announced struct {
	config    *config.Register
	registrar *registration.Registrar
	check     *upstream.HealthCheck // nil: it always passes
	close     func()                // what the registry holds, when the registrar has ended
	unit      *unit
}

// announce makes what a [[register]] asks for.
func (b *builder) announce(c *config.Register) (*announced, error) {
	check, err := healthCheck(&config.HealthCheck{Probe: c.Check.Probe})
	if err != nil {
		return nil, err
	}
	a := &announced{config: c, check: check, close: func() {}}
	meta := make(map[string]string, len(c.Meta))
	for _, item := range c.Meta {
		key, value, _ := strings.Cut(item, "=")
		meta[key] = value
	}
	registry, err := b.registry(c)
	if err != nil {
		return nil, err
	}
	if r, ok := registry.(*registerconsul.Registry); ok {
		a.close = r.Close
	}
	a.registrar = registration.New(registration.Options{
		Announcement: registration.Announcement{
			ID: c.ID, Name: c.Name, Address: c.Address, Port: c.Port, Tags: c.Tags, Meta: meta,
			Weight: c.Weight, WarningWeight: c.WarningWeight, TTL: c.TTL, DeregisterAfter: c.DeregisterAfter,
		},
		Registry: registry, Kind: c.Registry, Log: b.log,
	})
	if check == nil {
		a.registrar.SetHealth(registration.Health{Passing: true, Why: "announced by the sidecar, without a check"})
	}
	a.unit = newUnit(a.run)
	return a, nil
}

// registry is who the local service is announced to.
func (b *builder) registry(c *config.Register) (registration.Registry, error) {
	switch c.Registry {
	case config.RegistryConsul:
		client, err := b.registries.openConsul()
		if err != nil {
			return nil, err
		}
		return registerconsul.New(client), nil
	case config.RegistryEtcd:
		client, err := b.registries.openEtcd()
		if err != nil {
			return nil, err
		}
		return registeretcd.New(client.API(), registeretcd.Options{Prefix: b.config.Etcd.Prefix}), nil
	}
	return nil, fmt.Errorf("registry %q is not built", c.Registry)
}

// run keeps the local service announced until ctx ends, and then takes that back.
func (a *announced) run(ctx context.Context) {
	var checking sync.WaitGroup
	if a.check != nil {
		checking.Go(func() {
			healthcheck.Watch(ctx, a.check.Prober, a.config.Check.Address, a.check.Settings, func(v healthcheck.Verdict) {
				a.registrar.SetHealth(registration.Health{Passing: v.Healthy, Why: v.Reason})
			})
		})
	}
	a.registrar.Run(ctx)
	checking.Wait()
	a.close()
}

// leave tells the registries that the local services go, and waits until others have heard.
func (d *Daemon) leave() {
	announced := d.state.Load().announced
	if len(announced) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveLimit)
	defer cancel()
	waits := make([]time.Duration, len(announced)) // of those that were told
	var all sync.WaitGroup
	for i, a := range announced {
		all.Go(func() {
			if err := a.registrar.Leave(ctx, "the sidecar is being stopped"); err != nil {
				d.log.Warn("the registry was not told that a local service goes; its check will run out",
					zap.String("id", a.config.ID), zap.Error(err))
				return
			}
			waits[i] = a.config.LeaveWait
		})
	}
	all.Wait()
	if wait := slices.Max(waits); wait > 0 {
		d.log.Info("announced that the local services go; waiting for others to hear", zap.Duration("for", wait))
		heard := time.NewTimer(wait) // nothing ends it early but a second signal, which ends the process
		<-heard.C
	}
}
