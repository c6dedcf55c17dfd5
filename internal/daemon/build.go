package daemon

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"sidecar/config"
)

// DefaultWarming is how long a reload waits for what takes the place of something that serves: a
// source that says nothing for so long is a mistake, or a registry that is down, and no time to change
// over.
const DefaultWarming = 10 * time.Second

// A builder makes a state of a configuration, out of as much of the state before as stays the
// same. Nothing of what runs is touched by it.
type builder struct {
	*Daemon
	config      *config.Config
	values      []config.Value
	before      *state // with nothing in it at the start
	registries  *registries
	adminSocket net.Listener // that was handed over; nil: none
	made        []func()     // undo what was opened, the last first
}

// undo closes what the builder has opened.
func (b *builder) undo() {
	for i := len(b.made) - 1; i >= 0; i-- {
		b.made[i]()
	}
}

// build makes the state of a configuration. If anything cannot be opened, nothing new stays
// open, and the error says which key asked for it.
func (b *builder) build(ctx context.Context) (st *state, err error) {
	defer func() {
		if err != nil {
			b.undo()
		}
	}()
	st = &state{config: b.config, values: b.values, registries: b.registries}
	b.registries.inherit(b.before.registries)
	b.made = append(b.made, func() { b.registries.close(b.before.registries) })
	if err := b.openTracer(st); err != nil {
		return nil, err
	}
	if err := b.services(st); err != nil {
		return nil, err
	}
	if err := b.announcements(st); err != nil {
		return nil, err
	}
	if err := b.warm(ctx, st); err != nil {
		return nil, err
	}
	// The last steps, since who can ask may expect answers.
	if err := b.sockets(st); err != nil {
		return nil, err
	}
	if err := b.openAdmin(st); err != nil {
		return nil, err
	}
	return st, nil
}

func (b *builder) services(st *state) error {
	for i := range b.config.Services {
		c := &b.config.Services[i]
		before := b.before.service(c.Name)
		switch {
		case before != nil && servicePart(b.config, c).equal(servicePart(b.before.config, before.config)):
			b.registries.count(c)
			st.services = append(st.services, before)
			continue
		case before != nil && (before.config.Protocol != c.Protocol || b.displaced(before, c)):
			before = nil // its connections go on with the proxy that they have
		}
		s, err := b.newService(st, c, before)
		if err != nil {
			return fmt.Errorf("service %q: %w", c.Name, err)
		}
		st.services = append(st.services, s)
	}
	return nil
}

func (b *builder) announcements(st *state) error {
	for i := range b.config.Registers {
		c := &b.config.Registers[i]
		before := b.before.announcement(c)
		if before != nil && announcementPart(b.config, c).equal(announcementPart(b.before.config, before.config)) {
			st.announced = append(st.announced, before)
			continue
		}
		a, err := b.announce(c)
		if err != nil {
			return fmt.Errorf("register %q: %w", c.Name, err)
		}
		b.made = append(b.made, a.close)
		st.announced = append(st.announced, a)
	}
	return nil
}

// warm starts what is to take the place of something that serves, and waits until it could. What
// is entirely new has nothing to lose, and is not waited for.
func (b *builder) warm(ctx context.Context, st *state) error {
	limit := b.options.Warming
	if limit <= 0 {
		limit = DefaultWarming
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for _, s := range st.services {
		if b.serves(s) {
			b.starting(s.supply)
		}
	}
	for _, s := range st.services {
		if !b.serves(s) {
			continue
		}
		select {
		case <-s.upstream.Known():
		case <-ctx.Done():
			why := "it has said nothing"
			if st := s.upstream.Status().Source; st.LastError != "" {
				why = st.LastError
			}
			return fmt.Errorf("service %q: its new source does not know its instances within %v: %s; set discovery right, or wait until the registry answers",
				s.config.Name, limit, why)
		}
	}
	return nil
}

// serves tells whether a service with an upstream of its own takes the place of one that serves: by
// its name, or by an address that was another one's.
func (b *builder) serves(s *service) bool {
	if same := b.before.service(s.config.Name); same != nil {
		if same.upstream == s.upstream {
			return false
		}
		if _, known := same.upstream.Instances(); known {
			return true
		}
	}
	for _, k := range b.before.sockets {
		if !slices.Contains(s.config.Listen, k.address) || k.anonymous() {
			continue
		}
		for _, was := range k.services {
			if _, known := was.upstream.Instances(); known && !b.listens(was.config.Name, k.address) {
				return true
			}
		}
	}
	return false
}

// listens tells whether a service of that name is to listen at an address.
func (b *builder) listens(name string, a config.Address) bool {
	return slices.ContainsFunc(b.config.Services, func(c config.Service) bool { return c.Name == name && slices.Contains(c.Listen, a) })
}

// displaced tells whether all of a service's addresses are new, and one that it had is another's now:
// who is connected there has asked for what was there, and must not be given what the name stands for now.
func (b *builder) displaced(before *service, c *config.Service) bool {
	others := false
	for _, a := range before.config.Listen {
		if slices.Contains(c.Listen, a) {
			return false
		}
		others = others || slices.ContainsFunc(b.config.Services, func(o config.Service) bool { return o.Name != c.Name && slices.Contains(o.Listen, a) })
	}
	return others
}

// starting starts a unit, unless it runs.
func (b *builder) starting(u *unit) {
	if u.started() {
		return
	}
	u.startOnce()
	b.made = append(b.made, u.stop)
}
