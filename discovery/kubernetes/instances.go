package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sidecar/discovery"
)

// The states of an endpoint, as States counts them.
const (
	ready       = "ready"       // takes traffic
	serving     = "serving"     // ends, and still takes traffic: in use when none is ready
	terminating = "terminating" // ends
	notReady    = "not ready"
)

// familyOf ranks the types of addresses in the order of preference: a pod of a service that has
// both kinds of IP addresses stands in slices of both, and is one instance nevertheless.
func familyOf(addressType string) int {
	return slices.Index([]string{"IPv4", "IPv6", "FQDN"}, addressType)
}

// stateOf reads the conditions as their documentation asks: what is not known counts as ready,
// serving defaults to ready, and not known to be terminating is not terminating.
func (e *endpoint) stateOf() string {
	isReady := e.Conditions.Ready == nil || *e.Conditions.Ready
	isServing := isReady
	if e.Conditions.Serving != nil {
		isServing = *e.Conditions.Serving
	}
	ends := e.Conditions.Terminating != nil && *e.Conditions.Terminating
	switch {
	case isReady:
		return ready // also one that ends, where the service publishes those that are not ready
	case ends && isServing:
		return serving
	case ends:
		return terminating
	}
	return notReady
}

// A candidate is one endpoint, of one slice.
type candidate struct {
	discovery.Instance
	state  string
	family int
}

// A conversion gathers what the slices of a service come to.
type conversion struct {
	found    map[string]candidate // by ID
	problems map[string]struct{}
}

// convert turns the slices of a service into what may take traffic. Slices may overlap while the
// control plane moves endpoints between them: an endpoint that is in two is one, and ready if
// either says so.
func convert(all map[string]slice, wanted string) discovery.Update {
	c := conversion{found: map[string]candidate{}, problems: map[string]struct{}{}}
	sorted := slices.SortedFunc(maps.Values(all), func(a, b slice) int {
		return cmp.Or(cmp.Compare(familyOf(a.AddressType), familyOf(b.AddressType)), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	for i := range sorted {
		c.slice(&sorted[i], wanted)
	}
	u := discovery.Update{States: map[string]int{}}
	for _, f := range c.found {
		u.States[f.state]++
	}
	u.Instances = c.taken(u.States)
	u.Problems = few(slices.Sorted(maps.Keys(c.problems)), mostProblems)
	return u
}

// mostProblems is how many problems are worth anybody's time.
const mostProblems = 50

// few keeps the first of the problems and says how many there are besides.
func few(problems []string, most int) []string {
	if len(problems) <= most {
		return problems
	}
	return append(problems[:most:most], fmt.Sprintf("… and %d more", len(problems)-most))
}

// taken are the instances that take traffic: those that are ready, or else, as kube-proxy does
// it, those that end but still serve.
func (c *conversion) taken(states map[string]int) []discovery.Instance {
	take := ready
	if states[ready] == 0 {
		take = serving
	}
	var instances []discovery.Instance
	for _, f := range c.found {
		if f.state == take {
			instances = append(instances, f.Instance)
		}
	}
	instances = discovery.Canonical(instances)
	owners := make(map[string]string, len(instances)) // address → ID
	return slices.DeleteFunc(instances, func(i discovery.Instance) bool {
		owner, taken := owners[i.Address]
		if taken {
			c.problem("%s: its address %s is that of %s too; correct the slices", i.ID, i.Address, owner)
			return true
		}
		owners[i.Address] = i.ID
		return false
	})
}

func (c *conversion) problem(format string, args ...any) {
	c.problems[fmt.Sprintf(format, args...)] = struct{}{}
}

// slice takes in the endpoints of a slice. What takes no traffic anyway is no matter of
// complaint.
func (c *conversion) slice(s *slice, wanted string) {
	number, err := choosePort(s.Ports, wanted)
	if familyOf(s.AddressType) < 0 {
		err = fmt.Errorf("addresses of type %q are not known to the sidecar; use IPv4, IPv6 or FQDN", s.AddressType)
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		switch state := e.stateOf(); {
		case state != ready && state != serving:
			c.add(candidate{discovery.Instance{ID: e.id("")}, state, familyOf(s.AddressType)})
		case err != nil:
			c.problem("slice %s: %v", s.Metadata.Name, err)
		default:
			c.endpoint(s, e, number)
		}
	}
}

// endpoint takes in one endpoint that serves, of which the first address will do.
func (c *conversion) endpoint(s *slice, e *endpoint, number int) {
	host := ""
	if len(e.Addresses) > 0 {
		host = e.Addresses[0]
	}
	address, err := discovery.HostPort(host, number)
	if err == nil && s.AddressType != "FQDN" && !isIP(host) {
		err = fmt.Errorf("%q is no %s address", host, s.AddressType)
	}
	if err != nil {
		c.problem("slice %s: %s: %v; correct the slice", s.Metadata.Name, cmp.Or(e.id(""), "an endpoint"), err)
		return
	}
	instance := discovery.Instance{ID: e.id(address), Address: address, Weight: 1, Zone: e.Zone}
	if e.NodeName != "" {
		instance.Meta = map[string]string{"nodeName": e.NodeName}
	}
	c.add(candidate{instance, e.stateOf(), familyOf(s.AddressType)})
}

// add takes in a candidate unless one of the same ID is preferred: because of its state, then
// because it came first.
func (c *conversion) add(f candidate) {
	before, known := c.found[f.ID]
	if known && !better(f.state, before.state) {
		if f.state == before.state && f.family == before.family && f.Address != before.Address {
			c.problem("%s: it has the addresses %s and %s, of which the second is left out; correct the slices", f.ID, before.Address, f.Address)
		}
		return
	}
	c.found[f.ID] = f
}

// better tells whether one of two opinions on the same endpoint goes before the other.
func better(a, b string) bool {
	order := []string{ready, serving, terminating, notReady}
	return slices.Index(order, a) < slices.Index(order, b)
}

// id is the pod's name, which stays while its readiness comes and goes, or else the address.
func (e *endpoint) id(address string) string {
	if e.TargetRef != nil && e.TargetRef.Kind == "Pod" && e.TargetRef.Name != "" {
		return "pod/" + e.TargetRef.Namespace + "/" + e.TargetRef.Name
	}
	if address == "" && len(e.Addresses) > 0 {
		return e.Addresses[0]
	}
	return address
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// choosePort is the number of the wanted port, which is named, or given as a number, or the only
// one there is.
func choosePort(ports []port, wanted string) (int, error) {
	var tcp []port
	for _, p := range ports {
		if p.Protocol == "" || p.Protocol == "TCP" {
			tcp = append(tcp, p)
		}
	}
	number, err := strconv.Atoi(wanted)
	isNumber := err == nil
	for _, p := range tcp {
		switch {
		case p.Port == nil && isNumber: // "any" in the documentation's words
			return number, nil
		case p.Port == nil:
		case isNumber && *p.Port == number, wanted != "" && p.Name == wanted, wanted == "" && len(tcp) == 1:
			return *p.Port, nil
		}
	}
	switch {
	case len(tcp) == 0 && isNumber: // a headless service without ports
		return number, nil
	case wanted == "" && len(tcp) == 0:
		return 0, fmt.Errorf("it names no TCP port; set port to a number")
	case wanted == "":
		return 0, fmt.Errorf("it has the ports %s; set port to one of them", list(tcp))
	case len(tcp) == 0:
		return 0, fmt.Errorf("it has no TCP port %q, nor any other; set port to a number", wanted)
	}
	return 0, fmt.Errorf("it has no TCP port %q but %s; correct port", wanted, list(tcp))
}

// list names ports for people.
func list(ports []port) string {
	var names []string
	for _, p := range ports {
		number := "any"
		if p.Port != nil {
			number = strconv.Itoa(*p.Port)
		}
		if p.Name != "" {
			number = p.Name + " (" + number + ")"
		}
		names = append(names, number)
	}
	return strings.Join(names, ", ")
}
