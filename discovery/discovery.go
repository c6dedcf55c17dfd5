// Package discovery says what the instances of a service are and how they are watched.
//
// A Source watches one service and reports complete sets of Instances. The sources that
// need a client library have a package of their own below this one; Static lives here.
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
	// Err is why the lookup failed. The last set still stands.
	Err error
	// Index is the registry's own version of the set, 0 where there is none.
	Index uint64
	// At is when the answer arrived.
	At time.Time
}

// A Source watches the instances of one service.
//
// Watch reports complete sets, never differences: once as soon as the set is known and
// again after each change. A failed lookup is reported as an Update with Err, after which
// the last set still stands and Watch goes on trying. It blocks until ctx ends, and has
// ended everything it started when it returns. It calls report from one goroutine at a
// time; report does not block.
type Source interface {
	Watch(ctx context.Context, report func(Update))
}
