package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"sidecar/discovery"
)

// A Query says which instances of which service are wanted.
type Query struct {
	// Service is the service's name in Consul.
	Service string
	// Tags are what an instance must have all of; none means any.
	Tags []string
	// Warning keeps instances in state warning, by their warning weight. Critical ones and those
	// in maintenance are never reported.
	Warning bool
}

// maxContact is how long ago the server that answered may have heard of its leader for an
// empty answer to be believed: some twenty times what a healthy one ever shows.
const maxContact = 10 * time.Second

// errNoLeader is why an empty answer was not believed.
var errNoLeader = errors.New("an empty answer from a server without a leader proves nothing")

// errHidden is why an empty answer was not believed.
var errHidden = errors.New("instances are hidden from the token")

// An answer is what the registry said once, converted.
type answer struct {
	instances []discovery.Instance // canonical
	unusable  []string             // what was left out although healthy, and why
	unknown   bool                 // the registry has never heard of the service
	index     uint64               // X-Consul-Index
}

// health makes one query on /v1/health/service: at once for index 0, else when something has
// changed after index or c.wait is over.
func (c *Client) health(ctx context.Context, q Query, index uint64) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	opts, cancel, err := c.options(ctx, index)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	// All states are asked for: ?passing would hide warning ones, and with them the difference
	// between a service without a healthy instance and one that nobody knows.
	return c.api.Health().ServiceMultipleTags(q.Service, q.Tags, false, opts)
}

// registered asks whether the catalog has the service with any tags at all.
func (c *Client) registered(ctx context.Context, service string) (bool, error) {
	opts, cancel, err := c.options(ctx, 0)
	if err != nil {
		return false, err
	}
	defer cancel()
	found, _, err := c.api.Catalog().Service(service, "", opts)
	return len(found) > 0, err
}

// options are those of one query, with the deadline after which no answer will come: the
// agent adds up to wait/16 of its own so that not all watches return at once.
func (c *Client) options(ctx context.Context, index uint64) (*api.QueryOptions, context.CancelFunc, error) {
	token, err := c.token.current()
	if err != nil {
		return nil, nil, complete{err}
	}
	opts := &api.QueryOptions{
		AllowStale:        c.consistency == "stale",
		RequireConsistent: c.consistency == "consistent",
		Token:             token,
	}
	deadline := answerMargin
	if index > 0 {
		opts.WaitIndex, opts.WaitTime = index, c.wait
		deadline += c.wait + c.wait/16
	}
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, noAnswerError{deadline})
	return opts.WithContext(ctx), cancel, nil
}

// ask makes one query for the watch and says what the registry knows, or why that cannot be
// said. An empty answer is what a fault looks like too, so it is believed only from a server
// that has a leader and hides nothing.
func (w *watch) ask(ctx context.Context) (answer, error) {
	entries, meta, err := w.client.health(ctx, w.query, w.index)
	if err == nil && len(entries) == 0 && meta.QueryBackend == api.QueryBackendStreaming {
		// The agent answers waiting queries from a view that it keeps itself (streaming, the
		// default since Consul 1.10). Of such an answer X-Consul-KnownLeader is always false, and
		// what ACLs hide is not told. An immediate query goes to a server, which says both.
		if w.known && len(w.last) == 0 && !(w.unknown && len(w.query.Tags) > 0) {
			return answer{unknown: w.unknown, index: meta.LastIndex}, nil
		}
		entries, meta, err = w.client.health(ctx, w.query, 0)
	}
	if err != nil {
		return answer{}, err
	}
	if len(entries) > 0 {
		w.seen = true
		a := convert(entries, w.query.Warning)
		a.index = meta.LastIndex
		if len(a.instances) == 0 && len(a.unusable) > 0 {
			// A mistake in the registration, and no reason to drop what worked.
			return answer{}, complete{fmt.Errorf("no healthy instance is usable: %s", strings.Join(a.unusable, "; "))}
		}
		return a, nil
	}

	switch {
	case meta.ResultsFilteredByACLs:
		return answer{}, errHidden
	case !meta.KnownLeader, meta.LastContact > maxContact:
		return answer{}, errNoLeader
	}
	// Consul forgets a service with its last instance. One that this watch has seen is known
	// nevertheless: "unknown" is for names that nobody has registered, such as a misspelt one.
	if !w.seen && len(w.query.Tags) > 0 {
		w.seen, err = w.client.registered(ctx, w.query.Service)
		if err != nil {
			return answer{}, err
		}
	}
	return answer{unknown: !w.seen, index: meta.LastIndex}, nil
}
