// Package discovery says what the instances of a service are and how they are watched.
//
// A Source watches one service and reports complete sets of Instances. The sources that
// need a client library or a protocol of their own have a package of their own below this
// one; here is what is the same for all of them:
//
//	Static    a set that never changes
//	Record    keeps account of what a source has said, for status and metrics
//	Guard     believes a sudden loss of most instances only when it is confirmed
//	Merge     the union of several sources
//	Prefer    several sources in order of preference
//	Backoff   how long to wait after a failure
//
// What the daemon puts together for a service is a chain of these, with discovery/lastgood
// at its end, which keeps the last good set on disk.
package discovery

import (
	"context"
	"time"
)

// An Instance is one copy of a service as its source describes it. It is a plain value
// and is never changed after it has been reported.
type Instance struct {
	// ID names the instance within its service and is stable over its life: node and
	// service ID in Consul, the address elsewhere.
	ID string
	// Address is what is dialled: "ip:port", "[ip6]:port", "host:port" or "unix:/path".
	Address string
	// Weight is its share of traffic relative to the others, 1 or more.
	Weight int
	// Zone is where it runs, or empty when the source does not say.
	Zone string
	// Meta is what else the source says of it; it may be nil.
	Meta map[string]string
}

// An Update is what a Source knows at one moment: a complete set, never a difference.
type Update struct {
	// Instances is the whole set, sorted by ID, without duplicates. It is meaningless
	// when Err is set.
	Instances []Instance
	// Unknown tells that the source answered and does not know the service at all;
	// a known service without instances has Unknown false and no Instances.
	Unknown bool
	// Stored tells that no registry has said this now: it is the last good set, from disk, and
	// At is when it was last true.
	Stored bool
	// Partial tells that a source which this one is made of has not answered yet: the set is what
	// the others know, and a set of before, if there is one, is worth more.
	Partial bool
	// Err is why the lookup failed. The last set still stands.
	Err error
	// Index is the registry's own version of the set, 0 where there is none.
	Index uint64
	// States counts what the source knows of the service by state, in the registry's own
	// words, those that take no traffic included ("passing": 3, "critical": 1). Nil where the
	// registry has no states.
	States map[string]int
	// Problems are the entries that were left out of the set because they cannot be used, each
	// with its name, what is wrong and what to do, sorted. They are no reason to drop the rest.
	Problems []string
	// At is when the answer arrived.
	At time.Time
}

// A Source watches the instances of one service.
//
// Watch reports complete sets, never differences: once as soon as the set is known, and again
// after each answer of the registry, changed or not: who listens compares, and learns from
// every report that the source is alive. A failed lookup is reported as an Update with Err,
// after which the last set still stands and Watch goes on trying. An answer that proves nothing
// (empty without a leader, malformed as a whole) is a failed lookup. It blocks until ctx ends,
// and has ended everything it started when it returns. It calls report from one goroutine at a
// time; report does not block. Watch may be called again once it has returned.
type Source interface {
	Watch(ctx context.Context, report func(Update))
}

// A Refresher is a Source that can be asked to look again.
//
// Refresh tells that what was reported last may no longer be so, since connections to it fail.
// The source makes a fresh lookup soon, past caches, and reports its outcome. Refresh may be
// called from any goroutine at any time, also before and after Watch; it does not block, and
// several calls in a row lead to one lookup. Who calls takes care not to call too often.
type Refresher interface {
	Refresh()
}

// Refresh asks a source to look again if it is able to.
func Refresh(s Source) {
	if r, ok := s.(Refresher); ok {
		r.Refresh()
	}
}
