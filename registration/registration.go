// Package registration announces the local service to a registry, keeps the announcement
// alive, and takes it back.
//
// A Registrar runs the life of one announcement, the same for every registry:
//
//	register   until it succeeds, with jittered pauses
//	renew      three times per TTL, and at once when the health of the local service changes
//	again      when the registry has forgotten it, or the credentials have changed
//	leave      others are told that no traffic is wanted any more
//	deregister when what was running has ended
//
// A Registry is one kind of registry and knows its calls only. Those that need a client
// library have a package of their own below this one; discovery knows nothing of them.
package registration

import (
	"context"
	"errors"
	"time"
)

// An Announcement is what the registry is told of one local service. It is a plain value.
type Announcement struct {
	// ID names the instance, unique on its host.
	ID string
	// Name is the service's name, by which others look it up.
	Name string
	// Address and Port are where others reach it. An empty address is that of the registry's
	// agent on this host.
	Address string
	Port    int
	// Tags and Meta are passed on as they are; either may be nil.
	Tags []string
	Meta map[string]string
	// Weight is its share of traffic, 1 or more; WarningWeight holds in state warning.
	Weight, WarningWeight int
	// TTL is how long the registry believes in it without hearing of it.
	TTL time.Duration
	// DeregisterAfter is how long the registry keeps it after that, critical; 0: for ever.
	DeregisterAfter time.Duration
}

// Health is what the local service's health check has come to. The zero value is critical,
// without a reason.
type Health struct {
	Passing bool
	Why     string // in a sentence, as the registry shows it to people
}

// ErrForgotten is what Renew's error is when the registry does not know the announcement any
// more, or not as it was made: it has to be registered again.
var ErrForgotten = errors.New("the registry has forgotten the announcement")

// A Registry is told of announcements. All calls block until the registry has answered or ctx
// has ended, and may be made for several announcements at once, but for one ID by one
// goroutine at a time. An error names the registry, the cause and the next step.
type Registry interface {
	// Register tells all of the announcement and of its health, replacing what was known of its
	// ID. It ends what Leave has begun.
	Register(ctx context.Context, a Announcement, h Health) error
	// Renew tells that it is still so, and its health. The error is ErrForgotten when that
	// takes Register.
	Renew(ctx context.Context, a Announcement, h Health) error
	// Leave tells that the instance takes no more traffic and why, while it goes on to exist.
	Leave(ctx context.Context, a Announcement, why string) error
	// Deregister takes the announcement back. One that is not there is no error.
	Deregister(ctx context.Context, a Announcement) error
	// Lost is signalled when announcements have to be registered again because of something that
	// Renew does not find out, such as new credentials or a lease that has ended. The channel is
	// the same at each call, may be nil, and is closed never; each Registry value serves one
	// Registrar only, and clients are shared below it.
	Lost() <-chan struct{}
}
