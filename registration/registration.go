// Package registration announces the local service to the registry, keeps it alive and takes
// it back.
//
// The order of a life: Announce is called when the local service listens. Until its ctx ends
// it keeps the announcement alive and says what Healthy says; what the registry has forgotten
// it says again. When ctx ends it takes the announcement back, in a time bounded by the caller,
// so that a drain can go: announce going, wait for it to spread, stop accepting, drain, leave.
//
// The registries have a package of their own below this one, and are the only users of their
// client libraries; discovery knows nothing of them. None is built yet.
package registration

import (
	"context"
	"time"
)

// An Announcement is what the registry is told of one local service. It is a plain value.
type Announcement struct {
	// ID names the instance, unique on its node.
	ID string
	// Name is the service's name, by which others look it up.
	Name string
	// Address and Port are where others reach it.
	Address string
	Port    int
	// Tags and Meta are passed on as they are; either may be nil.
	Tags []string
	Meta map[string]string
	// Weight is its share of traffic, 1 or more; WarningWeight holds in state warning.
	Weight, WarningWeight int
	// TTL is how long the registry believes in it without hearing of it.
	TTL time.Duration
}

// A Registry announces instances.
//
// Announce blocks until ctx ends and the announcement has been taken back, or leave has passed
// since. healthy says whether the local service works and, if not, why; it is called from
// Announce's goroutine and does not block. A registry that does not answer is no reason to
// return: Announce goes on trying, and report, which does not block either, is told of each
// change between success (nil) and failure. Several announcements may run at once.
type Registry interface {
	Announce(ctx context.Context, a Announcement, leave time.Duration, healthy func() (ok bool, why string), report func(error))
}
