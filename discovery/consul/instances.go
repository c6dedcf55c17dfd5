package consul

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"sidecar/discovery"
)

// A candidate is an instance that may take traffic.
type candidate struct {
	discovery.Instance
	rank int // its place in the answer, which is by distance when Query.Near is set
}

// convert turns the entries of an answer into what may take traffic. IDs begin with the
// datacenter's name when it is not empty.
func convert(entries []*api.ServiceEntry, q *Query, datacenter string) answer {
	a := answer{entries: len(entries), states: map[string]int{}}
	var candidates []candidate
	for rank, e := range entries {
		if e == nil || e.Service == nil || e.Node == nil {
			a.problems = append(a.problems, "an entry without node or service; see what is registered with consul catalog services")
			continue
		}
		// Some versions of the agent forget to do so when they answer from their own view
		// (hashicorp/consul issue 9695).
		if !tagged(e, q.Tags) {
			a.entries--
			continue
		}
		weight, usable := a.count(e, q.Warning)
		if !usable {
			continue
		}
		// A service's ID is unique on its node only.
		id := e.Node.Node + "/" + e.Service.ID
		if datacenter != "" {
			id = datacenter + "/" + id
		}
		address, err := addressOf(e, q.TaggedAddress)
		if err != nil {
			a.problems = append(a.problems, fmt.Sprintf("%s: %v", id, err))
			continue
		}
		candidates = append(candidates, candidate{discovery.Instance{
			ID: id, Address: address, Weight: weight, Zone: zoneOf(e), Meta: e.Service.Meta,
		}, rank})
	}
	candidates = a.distinct(candidates)
	if q.Nearest > 0 && len(candidates) > q.Nearest {
		slices.SortFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
		candidates = candidates[:q.Nearest]
	}
	a.instances = make([]discovery.Instance, len(candidates))
	for i := range candidates {
		a.instances[i] = candidates[i].Instance
	}
	a.instances = discovery.Canonical(a.instances)
	slices.Sort(a.problems)
	return a
}

// tagged tells whether an entry has all tags.
func tagged(e *api.ServiceEntry, tags []string) bool {
	for _, tag := range tags {
		if !slices.ContainsFunc(e.Service.Tags, func(own string) bool { return strings.EqualFold(own, tag) }) {
			return false
		}
	}
	return true
}

// count counts an entry by its state and returns its weight in it, if it takes traffic.
func (a *answer) count(e *api.ServiceEntry, warning bool) (weight int, usable bool) {
	state := e.Checks.AggregatedStatus()
	a.states[cmp.Or(state, "unknown")]++ // of checks in states that no version has yet
	switch state {
	case api.HealthPassing:
		return e.Service.Weights.Passing, true
	case api.HealthWarning:
		return e.Service.Weights.Warning, warning
	}
	return 0, false // critical, maintenance
}

// distinct sorts candidates by ID and leaves out those whose ID or address another one has:
// one process that is registered twice must not get twice its share. Of those that differ in
// their ID, the lowest stays, whatever the order of the answer.
func (a *answer) distinct(candidates []candidate) []candidate {
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.ID, b.ID) })
	owner := make(map[string]string, len(candidates)) // of an address
	last := ""
	return slices.DeleteFunc(candidates, func(c candidate) bool {
		if c.ID == last {
			a.problems = append(a.problems, c.ID+": the answer has it twice, of which the first counts; deregister the other")
			return true
		}
		last = c.ID
		if id, taken := owner[c.Address]; taken {
			a.problems = append(a.problems, fmt.Sprintf("%s: its address %s is that of %s; deregister one of them", c.ID, c.Address, id))
			return true
		}
		owner[c.Address] = c.ID
		return false
	})
}

// addressOf is where the instance is dialled: its socket, or its own address before its node's.
// An address that is tagged as kind goes before the others, as it does where Consul's DNS
// translates addresses.
func addressOf(e *api.ServiceEntry, kind string) (string, error) {
	if path := e.Service.SocketPath; path != "" {
		if !strings.HasPrefix(path, "/") {
			return "", fmt.Errorf("socket path %q is not absolute; register it with its whole path", path)
		}
		return "unix:" + path, nil
	}
	host, port := cmp.Or(e.Service.Address, e.Node.Address), e.Service.DefaultPort()
	if kind != "" {
		if own := e.Service.TaggedAddresses[kind]; own.Address != "" {
			host, port = own.Address, cmp.Or(own.Port, port)
		} else if node := e.Node.TaggedAddresses[kind]; node != "" && e.Service.Address == "" {
			host = node
		}
	}
	if host == "" {
		return "", errors.New("neither service nor node has an address; register it with one")
	}
	return discovery.HostPort(host, port)
}

// zoneOf prefers what is said of the service to what is said of its node, and either to the
// locality that newer agents register on their own.
func zoneOf(e *api.ServiceEntry) string {
	if zone := e.Service.Meta["zone"]; zone != "" {
		return zone
	}
	if zone := e.Node.Meta["zone"]; zone != "" {
		return zone
	}
	if e.Service.Locality != nil && e.Service.Locality.Zone != "" {
		return e.Service.Locality.Zone
	}
	if e.Node.Locality != nil {
		return e.Node.Locality.Zone
	}
	return ""
}
