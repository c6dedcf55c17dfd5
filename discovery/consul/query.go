package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// DefaultPoll is how often a prepared query is executed.
	DefaultPoll = 10 * time.Second
	// leastPoll keeps a mistake from becoming a load.
	leastPoll = time.Second
)

// A Query says which instances of which service are wanted.
type Query struct {
	// Service is the service's name in Consul.
	Service string
	// Tags are what an instance must have all of; none means any. As in Consul, capitals make no
	// difference.
	Tags []string
	// Filter is an expression in Consul's own language that an instance must meet, such as
	// `Service.Meta.version == "2"`. The agent evaluates it.
	Filter string
	// Warning keeps instances in state warning, by their warning weight. Critical ones and those
	// in maintenance are never reported.
	Warning bool
	// Datacenter is asked instead of that of Options. With it, IDs of instances begin with its
	// name and a slash.
	Datacenter string
	// Namespace and Partition are asked instead of those of Options.
	Namespace, Partition string
	// Near sorts by the round trip from a node, by its name or "_agent" for the agent's own. The
	// agent then asks a server for each answer instead of keeping a view of its own (streaming).
	Near string
	// Nearest keeps only so many usable instances, the first by Near; 0 keeps all.
	Nearest int
	// TaggedAddress is which of an instance's addresses is dialled: "lan", "wan", "lan_ipv4" and
	// so on. One that has no such address is dialled as if this were empty.
	TaggedAddress string
	// Prepared is the name or ID of a prepared query, which is executed every Poll instead of
	// watching Service: Consul has no way to wait for its change. Zero means DefaultPoll; less
	// than a second is a second. Some chance is added. IDs of instances that come from a
	// datacenter to which Consul has failed over begin with its name and a slash.
	Prepared string
	Poll     time.Duration
}

// check tells what is wrong with a query that no agent could answer.
func (q *Query) check() error {
	name, kind := q.name(), "service"
	if q.Prepared != "" {
		kind = "prepared query"
	}
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/?#%"):
		// It would be another path of the API; asking again helps nobody.
		return fmt.Errorf("%q is no %s's name; correct it", name, kind)
	case q.Prepared != "" && q.Filter != "":
		return errors.New("a prepared query takes no filter; define it in the prepared query, or leave filter out")
	case q.Nearest < 0:
		return fmt.Errorf("nearest %d is not 0 or more; correct it", q.Nearest)
	case q.Nearest > 0 && q.Near == "":
		return errors.New(`nearest without near has no order to go by; set near to "_agent" or to a node's name`)
	}
	return nil
}

// narrows tells whether q asks for some of a service's instances only.
func (q *Query) narrows() bool { return len(q.Tags) > 0 || q.Filter != "" }

func (q *Query) name() string { return cmp.Or(q.Prepared, q.Service) }

// what names the lookup in errors.
func (q *Query) what() string {
	if q.Prepared != "" {
		return fmt.Sprintf("watch prepared query %q", q.Prepared)
	}
	return fmt.Sprintf("watch %q", q.Service)
}

// poll is how long after an answer a prepared query is executed again, without chance.
func (q *Query) poll() time.Duration { return max(leastPoll, cmp.Or(q.Poll, DefaultPoll)) }

// A look is how a query is made.
type look struct {
	index uint64        // a change after it is waited for; 0: it is answered at once
	wait  time.Duration // for so long; used with an index
	fresh bool          // not from the agent's cache
	past  bool          // not from the agent's view, but from a server
	led   bool          // from the leader
	sure  bool          // from the leader, who asks the others whether it still is
}

// cacheable tells whether the agent's cache may answer.
func (l look) cacheable() bool { return !l.fresh && !l.past && !l.led && !l.sure }

// health makes one query on /v1/health/service.
func (c *Client) health(ctx context.Context, q *Query, l look) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	opts, cancel, err := c.options(ctx, q, l)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	opts.Filter, opts.Near = q.Filter, q.Near
	// Only a server can sort. Agents before 1.12 keep in their view what does not meet the filter
	// any more (hashicorp/consul pull request 12640).
	viewed := l.index > 0 || opts.UseCache
	if (l.past || q.Filter != "" && viewed) && q.Near == "" {
		opts.Near = "_agent"
	}
	// All states are asked for: ?passing would hide warning ones, and with them the difference
	// between a service without a healthy instance and one that nobody knows.
	return c.api.Health().ServiceMultipleTags(q.Service, q.Tags, false, opts)
}

// execute executes the prepared query. The answer is nil when it is remembered.
func (c *Client) execute(ctx context.Context, q *Query, l look) (*api.PreparedQueryExecuteResponse, *api.QueryMeta, error) {
	opts, cancel, err := c.options(ctx, q, l)
	if err != nil {
		return nil, nil, err
	}
	defer cancel()
	opts.Near = q.Near
	return c.api.PreparedQuery().Execute(q.Prepared, opts)
}

// registered asks whether the catalog has the service with any tags at all.
func (c *Client) registered(ctx context.Context, q *Query) (bool, error) {
	opts, cancel, err := c.options(ctx, q, look{fresh: true})
	if err != nil {
		return false, err
	}
	defer cancel()
	found, _, err := c.api.Catalog().Service(q.Service, "", opts)
	return len(found) > 0, err
}

// options are those of one query, with the deadline after which no answer will come: the
// agent adds up to wait/16 of its own so that not all watches return at once.
func (c *Client) options(ctx context.Context, q *Query, l look) (*api.QueryOptions, context.CancelFunc, error) {
	token, err := c.token.current()
	if err != nil {
		return nil, nil, complete{err}
	}
	opts := &api.QueryOptions{
		AllowStale:        c.consistency == "stale" && !l.led && !l.sure,
		RequireConsistent: c.consistency == "consistent" || l.sure,
		UseCache:          c.cached && l.cacheable(),
		Datacenter:        q.Datacenter,
		Namespace:         q.Namespace,
		Partition:         q.Partition,
		Token:             token,
	}
	deadline := answerMargin
	if l.index > 0 {
		opts.WaitIndex, opts.WaitTime = l.index, l.wait
		deadline += l.wait + l.wait/16
	}
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, noAnswerError{deadline})
	return opts.WithContext(ctx), cancel, nil
}
