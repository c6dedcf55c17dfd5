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

// maxContact is how long ago the server that answered may have heard of its leader for a loss
// to be believed: some twenty times what a healthy one ever shows.
const maxContact = 10 * time.Second

// errHidden is why an empty answer was not believed.
var errHidden = errors.New("instances are hidden from the token")

// A doubtError is why an answer was not believed: who gave it is cut off from what is true now.
type doubtError struct {
	who, what string
	agent     bool // it is the agent that is cut off, not the server that it asked
}

func (e doubtError) Error() string { return e.who + ", and " + e.what }

// An answer is what the registry said once, converted.
type answer struct {
	instances []discovery.Instance // canonical
	states    map[string]int       // of all entries
	problems  []string             // what was left out although healthy, sorted
	entries   int                  // in all states
	unknown   bool                 // the registry has never heard of the service
	index     uint64               // X-Consul-Index
	current   bool                 // it comes from who knows what is true now
	viewed    bool                 // from a view that the agent keeps
	early     bool                 // before its wait was over, although the index is the same
	lags      bool                 // it comes from a server that has not heard of its leader for long
}

// ask makes one query for the watch and says what the registry knows, or why that cannot be
// said.
func (w *watch) ask(ctx context.Context, l look) (answer, error) {
	a, meta, err := w.look(ctx, l)
	if err == nil && a.entries == 0 && w.ofAgent(meta, l) {
		// The agent answers waiting queries from a view that it keeps itself (streaming, the
		// default since Consul 1.10). Of such an answer X-Consul-KnownLeader is always false, and
		// what ACLs hide is not told. An immediate query goes to a server, which says both.
		if w.known && len(w.last) == 0 && !(w.unknown && w.query.narrows()) {
			a.unknown, a.current = w.unknown, true
			return a, nil
		}
		a, meta, err = w.look(ctx, look{fresh: true})
	} else if err == nil && a.viewed && a.index < w.index && a.entries+len(w.last) > 0 {
		// The view is older than what is known: it has lost its servers and waits, up to a minute
		// and more, before it asks them again; or they were put back to an older state.
		if w.viewed {
			w.client.patrol.rewound(w.member)
		}
		a, meta, err = w.look(ctx, look{fresh: true})
	}
	if err == nil && a.index < w.highest && !a.viewed && w.known && lost(w.last, a.instances) && w.query.Prepared == "" {
		// That is what servers show for a moment that have just been started and have not read
		// their whole log, and followers while there is no leader; both say that they know one.
		a, meta, err = w.look(ctx, look{fresh: true, sure: true})
	}
	if err != nil {
		return answer{}, err
	}
	// Whoever lags does not know what it lacks, and the leader does. Where there is none, that
	// takes the agent 7 s to say. So it is asked rarely, and not as long as nothing is known.
	if a.lags && w.known && time.Since(w.ledAt) >= ledFor {
		w.ledAt = time.Now()
		if newer, of, err := w.look(ctx, look{fresh: true, sure: true}); err == nil {
			a, meta, w.led = newer, of, true
		}
	}
	return w.judge(ctx, a, meta)
}

// ofAgent tells whether the answer was the agent's own rather than a server's.
func (w *watch) ofAgent(meta *api.QueryMeta, l look) bool {
	return meta.QueryBackend == api.QueryBackendStreaming || w.client.cached && l.cacheable()
}

// look makes one query and converts what comes back, unless it is what came back last.
func (w *watch) look(ctx context.Context, l look) (answer, *api.QueryMeta, error) {
	ctx = context.WithValue(ctx, memoryKey{}, &w.memory)
	var entries []*api.ServiceEntry
	var meta *api.QueryMeta
	var err error
	datacenter := w.query.Datacenter
	if w.query.Prepared == "" {
		entries, meta, err = w.client.health(ctx, w.query, l)
	} else {
		var executed *api.PreparedQueryExecuteResponse
		executed, meta, err = w.client.execute(ctx, w.query, l)
		if err == nil && executed != nil {
			for i := range executed.Nodes {
				entries = append(entries, &executed.Nodes[i])
			}
			if executed.Failovers > 0 || datacenter != "" {
				datacenter = executed.Datacenter
			}
		}
	}
	if err != nil {
		w.memory.size = 0 // it may be the decoding that has failed
		return answer{}, nil, err
	}
	if !w.memory.same {
		w.decoded = convert(entries, w.query, datacenter)
	}
	a := w.decoded
	a.index = meta.LastIndex
	a.viewed = meta.QueryBackend == api.QueryBackendStreaming
	if l.index > 0 && !l.past {
		w.streams, w.learned = a.viewed, true
	}
	a.lags = meta.LastContact > maxContact
	a.early = !a.viewed && l.index > 0 && a.index == l.index && meta.RequestTime < l.wait-10*time.Millisecond
	return a, meta, nil
}

// judge says what an answer means. An empty one is what a fault looks like too, so it is
// believed only from who has a leader and hides nothing.
func (w *watch) judge(ctx context.Context, a answer, meta *api.QueryMeta) (answer, error) {
	if a.entries > 0 && len(a.instances) == 0 && len(a.problems) > 0 {
		// A mistake in the registration, and no reason to drop what worked.
		return answer{}, complete{fmt.Errorf("no healthy instance is usable: %s", first(a.problems))}
	}
	who := cutOff(meta)
	a.current = who == ""
	switch {
	case a.entries == 0 && meta.ResultsFilteredByACLs:
		return answer{}, errHidden
	case a.current:
	case len(a.instances) == 0:
		return answer{}, doubtError{who, "an empty answer proves nothing then", meta.CacheAge > maxContact}
	case w.known && (a.index < w.highest || lost(w.last, a.instances)):
		return answer{}, doubtError{who, "knows less than was known", meta.CacheAge > maxContact}
	}
	if a.entries > 0 || w.query.Prepared != "" {
		w.seen = true
		return a, nil
	}
	// Consul forgets a service with its last instance. One that this watch has seen is known
	// nevertheless: "unknown" is for names that nobody has registered, such as a misspelt one.
	if !w.seen && w.query.narrows() {
		var err error
		if w.seen, err = w.client.registered(ctx, w.query); err != nil {
			return answer{}, err
		}
	}
	a.unknown = !w.seen
	return a, nil
}

// cutOff says of whom the answer is that may not know what is true now, and since when; it is
// empty when the answer is to be believed. A view that the agent keeps says nothing of leaders,
// but how long the agent has been without its servers when it was asked from the cache.
func cutOff(meta *api.QueryMeta) string {
	switch {
	case meta.CacheAge > maxContact:
		return fmt.Sprintf("the agent has been cut off from the servers for %v", meta.CacheAge)
	case meta.QueryBackend == api.QueryBackendStreaming:
		return ""
	case meta.LastContact > maxContact:
		return fmt.Sprintf("the server that answered has not heard of its leader for %v", meta.LastContact.Round(time.Second))
	case !meta.KnownLeader:
		return "the server that answered knows no leader"
	}
	return ""
}

// lost tells whether an instance of last is missing in now; both are sorted.
func lost(last, now []discovery.Instance) bool {
	for _, inst := range last {
		for len(now) > 0 && now[0].ID < inst.ID {
			now = now[1:]
		}
		if len(now) == 0 || now[0].ID != inst.ID {
			return true
		}
	}
	return false
}

// first are the first few problems in one line.
func first(problems []string) string {
	const most = 3
	if len(problems) <= most {
		return strings.Join(problems, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(problems[:most], "; "), len(problems)-most)
}
